//! The settings of `serve` from flags, variables and the file. No test here gets as far as
//! listening.

use super::home::{BINARY, Home, Ran};
use crate::support::SECRET;

/// Runs `serve --dev` with these arguments and variables.
fn serve(home: &Home, arguments: &[&str], variables: &[(&str, &str)]) -> Ran {
    let mut command = home.program(BINARY, &[&["serve", "--dev"], arguments].concat());
    Ran::of(command.envs(variables.iter().copied()).output().unwrap(), home.path("").parent().unwrap())
}

/// An address that no machine has (RFC 5737).
const NOWHERE: [&str; 3] = ["--listen=192.0.2.1:1", "--dangerous-open", "--issuer=x"];

#[test]
fn api_options_are_flags_variables_and_keys() {
    let home = Home::new();
    let fault = |key: &str, modes: &str| format!("error: `{key}` is `maybe`; it must be {modes}\n");
    for (flag, variable, key, modes) in [
        ("--client-history", "HOLDALL_CLIENT_HISTORY", "client_history", "`refuse` or `accept`"),
        ("--client-system", "HOLDALL_CLIENT_SYSTEM", "client_system", "`refuse` or `append`"),
        ("--responses-stream", "HOLDALL_RESPONSES_STREAM", "responses_stream", "`hold` or `live`"),
        ("--lambda-response", "HOLDALL_LAMBDA_RESPONSE", "lambda_response", "`auto`, `buffer` or `stream`"),
    ] {
        let valid = modes.split('`').nth_back(1).unwrap();
        home.write("holdall.toml", &format!("{key} = \"maybe\"\n"));
        serve(&home, &[flag, "maybe"], &[]).fails(&fault(key, modes));
        serve(&home, &[], &[(variable, "maybe")]).fails(&fault(key, modes));
        serve(&home, &["--config", "holdall.toml"], &[]).fails(&fault(key, modes));
        for (arguments, variables) in [
            (&["--config", "holdall.toml", flag, valid][..], &[][..]),
            (&["--config", "holdall.toml"], &[(variable, valid)]),
            (&[flag, valid], &[(variable, "maybe")]),
        ] {
            let ran = serve(&home, &[&NOWHERE, arguments].concat(), variables);
            assert!(ran.err.contains("error: cannot listen on 192.0.2.1:1"), "{}", ran.err);
        }
    }
    home.write("holdall.toml", "elide_inline_images = \"maybe\"\n");
    let from_file = ["--config", "holdall.toml"];
    assert!(serve(&home, &from_file, &[]).err.contains("expected a boolean, found string"));
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
fn an_empty_variable_is_not_set() {
    let home = Home::new();
    home.write("holdall.toml", "responses_stream = \"live\"\n");
    for variable in [
        "HOLDALL_API_KEYS_FILE",
        "HOLDALL_BURST",
        "HOLDALL_CONFIG_TEXT",
        "HOLDALL_CORS_ORIGINS",
        "HOLDALL_DANGEROUS_OPEN",
        "HOLDALL_IDENTITY",
        "HOLDALL_ISSUER",
        "HOLDALL_LISTEN",
        "HOLDALL_RESPONSES_STREAM",
        "HOLDALL_SEAL",
        "HOLDALL_SINGLE_USE",
    ] {
        let ran = serve(&home, &[&NOWHERE[..], &["--config", "holdall.toml"]].concat(), &[(variable, "")]);
        assert!(ran.err.contains("error: cannot listen on 192.0.2.1:1"), "{variable}: {}", ran.err);
    }
}

#[test]
fn without_arguments_the_program_serves_in_lambda() {
    let home = Home::new();
    let start = |arguments: &[&str], variables: &[(&str, &str)]| {
        let mut command = home.program(BINARY, arguments);
        // No server listens on port 0.
        command.env("AWS_LAMBDA_RUNTIME_API", "127.0.0.1:0").env("HOLDALL_KEYS", format!("k1:{SECRET}"));
        Ran::of(command.envs(variables.iter().copied()).output().unwrap(), home.path("").parent().unwrap())
    };
    for arguments in [&[][..], &["serve"]] {
        let ran = start(arguments, &[]);
        assert_eq!(ran.code, Some(1));
        assert!(
            ran.err.starts_with("error: `identity.mode` is `none`: any caller could act as any user\n"),
            "{}",
            ran.err
        );
        let ran = start(arguments, &[("HOLDALL_DANGEROUS_OPEN", "true"), ("HOLDALL_LISTEN", "192.0.2.1:1")]);
        assert_eq!(ran.code, Some(1));
        let lines: Vec<_> = ran.err.lines().collect();
        assert!(lines[0].ends_with(" handles AWS Lambda events"), "{}", ran.err);
        assert!(lines.last().unwrap().starts_with("error: cannot get events: "), "{}", ran.err);
    }
    assert_eq!(start(&["keys"], &[]).code, Some(2), "other commands work as outside Lambda");
}

#[test]
fn a_variable_can_hold_the_configuration() {
    let home = Home::new();
    let text = ("HOLDALL_CONFIG_TEXT", "retries = 11\n");
    let fault = "error: `retries` is 11; it must be from 0 to 10\n";
    serve(&home, &[], &[text]).fails(fault);
    let ran = serve(&home, &[&NOWHERE[..], &["--retries=3"]].concat(), &[text]);
    assert!(ran.err.contains("error: cannot listen on 192.0.2.1:1"), "{}", ran.err);
    let unknown = serve(&home, &[], &[("HOLDALL_CONFIG_TEXT", "issuer = 'a'\nretry = 1")]);
    assert!(
        unknown.err.starts_with("error: unknown key `retry` in HOLDALL_CONFIG_TEXT, line 2; expected one of "),
        "{}",
        unknown.err
    );
    home.write("holdall.toml", "retries = 1\n");
    let both = "error: there are two configurations: the configuration file `holdall.toml` and HOLDALL_CONFIG_TEXT\n\
                hint: remove HOLDALL_CONFIG_TEXT, or the file (--config, HOLDALL_CONFIG)\n";
    serve(&home, &["--config", "holdall.toml"], &[text]).fails(both);
    serve(&home, &[], &[text, ("HOLDALL_CONFIG", "holdall.toml")]).fails(both);
}

#[test]
fn a_flag_and_a_variable_can_close_an_open_server() {
    let home = Home::new();
    home.write("open.toml", "dangerous_open = true\n");
    let (open, closed) = (
        "error: cannot listen on 192.0.2.1:1",
        "error: `identity.mode` is `none`, but other machines can reach 192.0.2.1:1: ",
    );
    for (file, flag, variable, said) in [
        (false, None, None, closed),
        (false, Some("--dangerous-open"), None, open),
        (false, Some("--dangerous-open"), Some("false"), open),
        (false, Some("--dangerous-open=yes"), None, open),
        (false, None, Some("1"), open),
        (false, None, Some("false"), closed),
        (false, Some("--dangerous-open=false"), Some("true"), closed),
        (true, None, None, open),
        (true, None, Some("false"), closed),
        (true, Some("--dangerous-open=false"), None, closed),
        (true, Some("--dangerous-open"), Some("0"), open),
    ] {
        let from_file = if file { &["--config", "open.toml"][..] } else { &[] };
        let flag: Vec<_> = flag.into_iter().collect();
        let variable: Vec<_> = variable.into_iter().map(|value| ("HOLDALL_DANGEROUS_OPEN", value)).collect();
        // The next flag is not the value of this flag.
        let ran = serve(&home, &[from_file, &flag, &["--listen=192.0.2.1:1", "--issuer", "x"]].concat(), &variable);
        assert!(ran.err.contains(said), "{file} {flag:?} {variable:?}: {}", ran.err);
    }
}

#[test]
fn a_proxy_has_exactly_one_secret() {
    let home = Home::new();
    home.write("secret", &"s".repeat(32));
    home.write("held.toml", &format!("identity.header.secret = \"{}\"", "h".repeat(32)));
    let rule = ["--listen=192.0.2.1:1", "--identity=header", "--header-name=x-user", "--header-peers=::1"];
    let (file, variable) = ("--header-secret-file=secret", ("HOLDALL_HEADER_SECRET", "v".repeat(32)));
    let variable = [(variable.0, variable.1.as_str())];
    let both = "error: `identity.header` needs exactly one of `secret_file` and `secret` (HOLDALL_HEADER_SECRET)\n";
    serve(&home, &[&rule[..], &[file]].concat(), &variable).fails(both);
    serve(&home, &rule, &[variable[0], ("HOLDALL_HEADER_SECRET_FILE", "secret")]).fails(both);
    // A secret from a variable or flag replaces the secret of the file.
    let held = ["--config", "held.toml"];
    let alone = [(&[][..], &variable[..]), (&[file], &[]), (&held, &[]), (&[held[0], held[1], file], &[])];
    for (arguments, variables) in alone {
        let ran = serve(&home, &[&rule, arguments].concat(), variables);
        assert!(ran.err.contains("error: cannot listen on 192.0.2.1:1"), "{}", ran.err);
    }
}

#[test]
fn retries_and_concurrency_are_flags_variables_and_keys() {
    let home = Home::new();
    let fault = "error: `retries` is 11; it must be from 0 to 10\n";
    home.write("holdall.toml", "retries = 11\n");
    serve(&home, &["--retries", "11"], &[]).fails(fault);
    serve(&home, &[], &[("HOLDALL_RETRIES", "11")]).fails(fault);
    serve(&home, &["--config", "holdall.toml"], &[]).fails(fault);
    let fault = "error: `upstream.max_concurrency` is 0; it must be from 1 to 65536\n";
    serve(&home, &["--upstream-concurrency", "0"], &[]).fails(fault);
    serve(&home, &[], &[("HOLDALL_UPSTREAM_CONCURRENCY", "0")]).fails(fault);
    home.write("two.toml", "[[upstream]]\nname = \"a\"\nkind = \"builtin\"\n[[model]]\nalias = \"a\"\nupstreams = [\"a\"]\nmodel = \"m\"\n");
    let ran = serve(&home, &["--config", "two.toml", "--upstream-concurrency", "8"], &[]);
    assert!(
        ran.err.contains("`--upstream-concurrency` (HOLDALL_UPSTREAM_CONCURRENCY) is set, but the configuration lists"),
        "{}",
        ran.err
    );
    for (arguments, variables) in [
        (&["--config", "holdall.toml", "--retries", "0"][..], &[][..]),
        (&["--upstream-concurrency", "8"], &[("HOLDALL_RETRIES", "10")]),
    ] {
        let ran = serve(&home, &[&NOWHERE, arguments].concat(), variables);
        assert!(ran.err.contains("error: cannot listen on 192.0.2.1:1"), "{}", ran.err);
    }
}

#[test]
fn a_providers_official_address_needs_a_key() {
    let home = Home::new();
    for (kind, variable, url) in [
        ("openai", "OPENAI_API_KEY", "https://api.openai.com/v1"),
        ("openai-responses", "OPENAI_API_KEY", "https://api.openai.com/v1"),
        ("anthropic", "ANTHROPIC_API_KEY", "https://api.anthropic.com"),
    ] {
        let arguments = [&NOWHERE[..], &["--upstream", kind, "--model", "m"]].concat();
        let wanting = format!(
            "error: `upstream` needs a key for {url}; set HOLDALL_UPSTREAM_KEY, or `api_key_env` in the table\n"
        );
        serve(&home, &arguments, &[]).fails(&wanting);
        for variable in [variable, "HOLDALL_UPSTREAM_KEY"] {
            let ran = serve(&home, &arguments, &[(variable, "k")]);
            assert!(ran.err.contains("error: cannot listen on 192.0.2.1:1"), "{}", ran.err);
        }
    }
    let arguments = ["--upstream", "responses", "--model", "m"];
    serve(&home, &arguments, &[]).fails(
        "error: `upstream.kind` is `responses`; it must be `anthropic`, `builtin`, `openai` or `openai-responses`\n",
    );
}

#[test]
fn identity_settings_are_flags_variables_and_keys() {
    let home = Home::new();
    home.write("secret", &"s".repeat(32));
    home.write("api-keys", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad ada\n");
    let listens = |arguments: &[&str], variables: &[(&str, &str)]| {
        let ran = serve(&home, &[&NOWHERE[..1], arguments].concat(), variables);
        assert!(ran.err.contains("error: cannot listen on 192.0.2.1:1"), "{arguments:?}: {}", ran.err);
    };
    listens(&["--identity", "api_key", "--api-keys-file", "api-keys"], &[]);
    listens(&[], &[("HOLDALL_IDENTITY", "api_key"), ("HOLDALL_API_KEYS_FILE", "api-keys")]);
    let jwt = ["--identity=jwt", "--jwt-issuer=i", "--jwt-audience=a"];
    listens(&[&jwt[..], &["--jwt-jwks-url", "https://issuer.example/jwks"]].concat(), &[]);
    listens(&jwt, &[("HOLDALL_JWT_JWKS_URL", "https://issuer.example/jwks")]);
    let header = ["--identity=header", "--header-name=x-user", "--header-peers=10.0.0.0/8,::1"];
    listens(&[&header[..], &["--header-secret-file=secret", "--header-secret-header=x-s"]].concat(), &[]);
    listens(
        &["--header-secret-file=secret"],
        &[
            ("HOLDALL_IDENTITY", "header"),
            ("HOLDALL_HEADER_NAME", "x-user"),
            ("HOLDALL_HEADER_PEERS", "10.0.0.0/8,::1"),
            ("HOLDALL_HEADER_SECRET_HEADER", "x-s"),
        ],
    );
    // A secret in a variable replaces the secret of the file.
    home.write("conf", "[identity]\nmode = \"header\"\nheader = { secret_file = \"none\" }\n");
    let from_file = [&header[1..], &["--config", "conf"]].concat();
    listens(&from_file, &[("HOLDALL_HEADER_SECRET", &"s".repeat(32))]);
    serve(&home, &from_file, &[]).fails("error: `identity.header.secret_file` names `none`, which cannot be read: …\n");
    let short = serve(&home, &from_file, &[("HOLDALL_HEADER_SECRET", "a short secret")]);
    assert!(short.err.contains("at least 32") && !short.err.contains("a short"), "{}", short.err);
    let many = serve(&home, &["--header-secret=x"], &[]);
    assert_eq!(many.code, Some(2), "secrets have no flags");
    for (flag, variable, fault) in [
        ("--operator-keys", "HOLDALL_OPERATOR_KEYS", "`operator_keys` has an entry that is not a SHA-256 digest; …"),
        (
            "--trusted-proxies",
            "HOLDALL_TRUSTED_PROXIES",
            "`trusted_proxies` is not valid: `x` is not an address or network, …",
        ),
    ] {
        serve(&home, &[flag, "x"], &[]).fails(&format!("error: {fault}\n"));
        serve(&home, &[], &[(variable, "x")]).fails(&format!("error: {fault}\n"));
    }
    let digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    serve(&home, &["--identity=api_key", "--api-keys-file=api-keys", "--operator-keys", digest], &[])
        .fails("error: `operator_keys` contains a user's API key; make a separate key with `holdall keys operator`\n");
}

#[test]
fn limits_on_users_are_flags_variables_and_keys() {
    let home = Home::new();
    for (flag, variable, key, value, fault) in [
        (
            "--rate",
            "HOLDALL_RATE",
            "guard.rate",
            "fast",
            "is `fast`; it must be turns per period, such as `30/1m` or `5/s`",
        ),
        ("--burst", "HOLDALL_BURST", "guard.burst", "5", "needs `guard.rate`; set both"),
        ("--turns-per-user", "HOLDALL_TURNS_PER_USER", "limits.turns_per_user", "0", "is 0; the minimum is 1"),
        ("--single-use", "HOLDALL_SINGLE_USE", "guard.single_use", "true", "needs a store"),
        ("--live-conversations", "HOLDALL_LIVE_CONVERSATIONS", "guard.live_conversations", "3", "needs a store"),
    ] {
        let written = if key == "guard.rate" { format!("\"{value}\"") } else { value.to_owned() };
        home.write("holdall.toml", &format!("{key} = {written}\n"));
        for ran in [
            serve(&home, &[flag, value], &[]),
            serve(&home, &[], &[(variable, value)]),
            serve(&home, &["--config", "holdall.toml"], &[]),
        ] {
            assert!(ran.err.starts_with(&format!("error: `{key}` {fault}")), "{}", ran.err);
        }
    }
    // A flag adds to the other limits of the file.
    for (written, arguments, fault) in [
        ("guard.rate = \"5/s\"", ["--burst", "0"], "`guard.burst` is 0; it must be from 1"),
        (
            "limits.history_bytes = 1000",
            ["--turns-per-user", "1"],
            "`limits.history_bytes` is 1000; the minimum is 32768",
        ),
    ] {
        home.write("holdall.toml", written);
        let ran = serve(&home, &[&["--config", "holdall.toml"], &arguments[..]].concat(), &[]);
        assert!(ran.err.starts_with(&format!("error: {fault}")), "{}", ran.err);
    }
    let ran = serve(&home, &[&NOWHERE[..], &["--rate=30/1m", "--burst=5", "--turns-per-user=2"]].concat(), &[]);
    assert!(ran.err.contains("error: cannot listen on 192.0.2.1:1"), "{}", ran.err);
    // The URL of a store may contain a password: it has no flag, and no error shows it.
    let url = "http://:hunter2@store.test";
    let ran = serve(&home, &[], &[("HOLDALL_REDIS_URL", url)]);
    assert!(ran.err.starts_with("error: `guard.redis_url` is not a ") && !ran.err.contains("hunter2"), "{}", ran.err);
    assert_eq!(serve(&home, &["--redis-url", url], &[]).code, Some(2));
}

#[test]
fn authorities_and_proxies_are_flags_variables_and_keys() {
    let home = Home::new();
    home.write("key.pem", "-----BEGIN PRIVATE KEY-----\n");
    let service = ["--upstream=openai", "--upstream-url=https://model.test", "--model=m"];
    let jwt = ["--identity=jwt", "--jwt-issuer=i", "--jwt-audience=a", "--jwt-jwks-url=https://issuer.test"];
    let store = [("HOLDALL_REDIS_URL", "rediss://store.test")];
    for (key, flag, variable, arguments, variables) in [
        ("upstream.ca_file", "--upstream-ca-file", "HOLDALL_UPSTREAM_CA_FILE", &service[..], &[][..]),
        ("identity.jwt.ca_file", "--jwt-ca-file", "HOLDALL_JWT_CA_FILE", &jwt, &[]),
        ("guard.redis_ca_file", "--redis-ca-file", "HOLDALL_REDIS_CA_FILE", &[], &store),
    ] {
        let fault = format!("error: `{key}` names `key.pem`, which holds a private key; …\n");
        serve(&home, &[arguments, &[flag, "key.pem"]].concat(), variables).fails(&fault);
        serve(&home, arguments, &[variables, &[(variable, "key.pem")]].concat()).fails(&fault);
    }
    let url = "socks5://ada:hunter2@proxy.test:1080";
    for (fault, variable, arguments) in [
        (
            "`upstream.proxy_env` of `openai` names the variable `HOLDALL_UPSTREAM_PROXY`, which is not valid: SOCKS ",
            "HOLDALL_UPSTREAM_PROXY",
            &service[..],
        ),
        ("`identity.jwt.proxy` is not valid: SOCKS ", "HOLDALL_JWT_PROXY", &jwt),
    ] {
        let ran = serve(&home, arguments, &[(variable, url)]);
        assert!(ran.err.starts_with(&format!("error: {fault}")) && !ran.err.contains("hunter2"), "{}", ran.err);
        let ran = serve(&home, &[&NOWHERE[..], arguments].concat(), &[(variable, "environment")]);
        assert!(ran.err.contains("error: cannot listen on 192.0.2.1:1"), "{}", ran.err);
    }
    assert_eq!(serve(&home, &["--upstream-proxy", url], &[]).code, Some(2));
    home.write("two.toml", "[[upstream]]\nname = \"a\"\nkind = \"builtin\"\n[[model]]\nalias = \"a\"\nupstreams = [\"a\"]\nmodel = \"m\"\n");
    let listed = "is set, but the configuration lists its upstreams\nhint: set";
    serve(&home, &["--config", "two.toml", "--upstream-ca-file", "key.pem"], &[]).fails(&format!(
        "error: `--upstream-ca-file` (HOLDALL_UPSTREAM_CA_FILE) {listed} `ca_file` in an `[[upstream]]` table instead\n"
    ));
    serve(&home, &["--config", "two.toml"], &[("HOLDALL_UPSTREAM_PROXY", url)])
        .fails(&format!("error: HOLDALL_UPSTREAM_PROXY {listed} `proxy_env` in an `[[upstream]]` table instead\n"));
}

#[test]
fn the_certificates_of_openssl_are_read_if_a_connection_uses_them() {
    let home = Home::new();
    let service = [&NOWHERE[..], &["--upstream=openai", "--model=m", "--upstream-url=https://model.test"]].concat();
    let gone = "error: `SSL_CERT_FILE` names `gone.pem`, which cannot be read: No such file or directory\n";
    serve(&home, &service, &[("SSL_CERT_FILE", "gone.pem")]).fails(gone);
    home.run(&["send", "-t", "a", "Repeat one"]).ok("one\n");
    let mut command = home.holdall(&["send", "-t", "a", "Repeat one"]);
    Ran::of(command.env("SSL_CERT_FILE", "gone.pem").output().unwrap(), &home.path("")).ok("one\n");
    let mut command = home.holdall(&["send", "-t", "b", "--url", "https://127.0.0.1:0", "hi"]);
    Ran::of(command.env("SSL_CERT_FILE", "gone.pem").output().unwrap(), &home.path("")).fails(gone);
    std::fs::create_dir(home.path("certs")).unwrap();
    home.write("certs/readme", "nothing");
    serve(&home, &service, &[("SSL_CERT_DIR", "certs")])
        .fails("error: `SSL_CERT_DIR` names `certs`, which has no file with a certificate\n");
    home.write("certs/one", "-----BEGIN CERTIFICATE-----\nMAE=\n-----END CERTIFICATE-----\n");
    let ran = serve(&home, &service, &[("SSL_CERT_DIR", "certs")]);
    assert!(ran.err.ends_with("error: SSL_CERT_DIR: no certificate is valid\n"), "{}", ran.err);
    // `*` lists every host, so no proxy is read.
    let variables = [("HOLDALL_UPSTREAM_PROXY", "environment"), ("ALL_PROXY", "socks5://a:1"), ("NO_PROXY", "*")];
    assert!(serve(&home, &service, &variables).err.contains("error: cannot listen on 192.0.2.1:1"));
}

#[test]
fn a_key_file_that_others_can_read_causes_a_warning() {
    let home = Home::new();
    let chmod = |name: &str, mode| {
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::set_permissions(home.path(name), std::fs::Permissions::from_mode(mode)).unwrap();
    };
    home.write("ring", &format!("k1:{SECRET}\n"));
    home.write("conf", &format!("keys = \"k1:{SECRET}\"\n"));
    home.write("plain", "ttl = \"1h\"\n");
    let serve = |arguments: &[&str]| home.run(&[&["serve"], &NOWHERE[..], arguments].concat()).err;
    let warning = |subject: &str, name: &str| {
        format!("warning: other users can read {subject} `{name}`, which holds a secret; run `chmod 600` on it\n")
    };
    for (mode, warns) in [(0o644, true), (0o600, false)] {
        ["ring", "conf"].into_iter().for_each(|name| chmod(name, mode));
        chmod("plain", 0o644);
        let err = serve(&["--keys-file", "ring"]);
        assert_eq!(err.contains(&warning("the file of `keys_file`", "ring")), warns, "{err}");
        let err = serve(&["--config", "conf"]);
        assert_eq!(err.contains(&warning("the configuration file", "conf")), warns, "{err}");
        let err = serve(&["--config", "plain", "--keys-file", "ring"]);
        assert!(!err.contains("the configuration file"), "{err}");
    }
}
