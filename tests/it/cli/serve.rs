//! What reaches `serve` as a flag, as a variable and from the file: nothing here gets as far as to listen.

use super::home::{BINARY, Home, Ran};

/// Runs `serve` with a key of its own and these arguments and variables.
fn serve(home: &Home, arguments: &[&str], variables: &[(&str, &str)]) -> Ran {
    let mut command = home.program(BINARY, &[&["serve", "--dev"], arguments].concat());
    Ran::of(command.envs(variables.iter().copied()).output().unwrap(), home.path("").parent().unwrap())
}

/// An address that no machine has (RFC 5737).
const NOWHERE: [&str; 3] = ["--listen=192.0.2.1:1", "--dangerous-open", "--issuer=x"];

#[test]
fn what_doors_do_is_a_flag_a_variable_and_a_key() {
    let home = Home::new();
    let fault = |key: &str, ways: &str| format!("error: {key}: `maybe` is none of {ways}\n");
    for (flag, variable, key, ways) in [
        ("--client-history", "HOLDALL_CLIENT_HISTORY", "client_history", "refuse, accept"),
        ("--responses-stream", "HOLDALL_RESPONSES_STREAM", "responses_stream", "hold, live"),
    ] {
        let good = ways.split(", ").last().unwrap();
        home.write("holdall.toml", &format!("{key} = \"maybe\"\n"));
        serve(&home, &[flag, "maybe"], &[]).fails(&fault(key, ways));
        serve(&home, &[], &[(variable, "maybe")]).fails(&fault(key, ways));
        serve(&home, &["--config", "holdall.toml"], &[]).fails(&fault(key, ways));
        for (arguments, variables) in [
            (&["--config", "holdall.toml", flag, good][..], &[][..]),
            (&["--config", "holdall.toml"], &[(variable, good)]),
            (&[flag, good], &[(variable, "maybe")]),
        ] {
            let ran = serve(&home, &[&NOWHERE, arguments].concat(), variables);
            assert!(ran.err.contains("error: cannot listen on 192.0.2.1:1"), "{}", ran.err);
        }
    }
    home.write("holdall.toml", "elide_inline_images = \"maybe\"\n");
    let from_file = ["--config", "holdall.toml"];
    assert!(serve(&home, &from_file, &[]).err.contains("invalid type"));
    for (value, variable) in [(Some("yes"), "no"), (None, "true"), (None, "0")] {
        let flag = value.map(|value| format!("--elide-inline-images={value}"));
        let arguments: Vec<_> = NOWHERE.into_iter().chain(flag.as_deref()).collect();
        let ran = serve(&home, &arguments, &[("HOLDALL_ELIDE_INLINE_IMAGES", variable)]);
        assert!(ran.err.contains("error: cannot listen on 192.0.2.1:1"), "{}", ran.err);
    }
    let ran = serve(&home, &["--elide-inline-images=maybe"], &[]);
    assert_eq!(ran.code, Some(2), "{}", ran.err);
}

#[test]
fn how_often_an_upstream_is_asked_is_a_flag_a_variable_and_a_key() {
    let home = Home::new();
    let fault = "error: retries: 11 is not from 0 to 10\n";
    home.write("holdall.toml", "retries = 11\n");
    serve(&home, &["--retries", "11"], &[]).fails(fault);
    serve(&home, &[], &[("HOLDALL_RETRIES", "11")]).fails(fault);
    serve(&home, &["--config", "holdall.toml"], &[]).fails(fault);
    let fault = "error: upstream.max_concurrency: is from 1 to 65536\n";
    serve(&home, &["--upstream-concurrency", "0"], &[]).fails(fault);
    serve(&home, &[], &[("HOLDALL_UPSTREAM_CONCURRENCY", "0")]).fails(fault);
    home.write("two.toml", "[[upstream]]\nname = \"a\"\nkind = \"builtin\"\n[[model]]\nalias = \"a\"\nupstreams = [\"a\"]\nmodel = \"m\"\n");
    let ran = serve(&home, &["--config", "two.toml", "--upstream-concurrency", "8"], &[]);
    assert!(ran.err.contains("which of them is to be bounded is not said"), "{}", ran.err);
    for (arguments, variables) in [
        (&["--config", "holdall.toml", "--retries", "0"][..], &[][..]),
        (&["--upstream-concurrency", "8"], &[("HOLDALL_RETRIES", "10")]),
    ] {
        let ran = serve(&home, &[&NOWHERE, arguments].concat(), variables);
        assert!(ran.err.contains("error: cannot listen on 192.0.2.1:1"), "{}", ran.err);
    }
}

#[test]
fn a_providers_key_goes_with_its_own_address() {
    let home = Home::new();
    for (kind, variable, url) in [
        ("openai", "OPENAI_API_KEY", "https://api.openai.com/v1"),
        ("openai-responses", "OPENAI_API_KEY", "https://api.openai.com/v1"),
        ("anthropic", "ANTHROPIC_API_KEY", "https://api.anthropic.com"),
    ] {
        let arguments = [&NOWHERE[..], &["--upstream", kind, "--model", "m"]].concat();
        let wanting = format!("error: upstream: {url} wants a key; set HOLDALL_UPSTREAM_KEY\n");
        serve(&home, &arguments, &[]).fails(&wanting);
        for variable in [variable, "HOLDALL_UPSTREAM_KEY"] {
            let ran = serve(&home, &arguments, &[(variable, "k")]);
            assert!(ran.err.contains("error: cannot listen on 192.0.2.1:1"), "{}", ran.err);
        }
    }
    let arguments = ["--upstream", "responses", "--model", "m"];
    serve(&home, &arguments, &[])
        .fails("error: upstream.kind: `responses` is none of anthropic, builtin, openai, openai-responses\n");
}
