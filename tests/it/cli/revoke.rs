//! `holdall revoke` without a store. The tests with a store are in `tests/guard`.

use super::home::{Home, Ran};

const ID: &str = "01890a5d-ac96-774b-bcce-b302099a8057";

#[test]
fn revocation_needs_a_store() {
    let home = Home::new();
    home.run(&["send", "-t", "a", "Repeat one"]).ok("one\n");
    for arguments in [
        &["-t", "a"][..],
        &["--token-id", ID],
        &["--conversation-id", ID, "--json"],
        &["--user", "ada", "--idp", "none"],
    ] {
        home.run(&[&["revoke"], arguments].concat()).fails(
            "error: revocation needs a limits store, and none is configured\n\
             hint: set HOLDALL_REDIS_URL, or guard.redis_url in the file of --config, as on the servers\n",
        );
    }
}

#[test]
fn the_target_must_be_valid() {
    let home = Home::new();
    home.run(&["revoke", "-t", "none"]).fails("error: the file `none` does not exist\n");
    home.run(&["revoke", "--token-id", "1"])
        .fails("error: --token-id: `1` is not an id; ids are UUIDs of version 7 in lower case with hyphens\n");
    home.run(&["revoke", "--conversation-id", &ID.to_uppercase()])
        .fails("error: --conversation-id: `…` is not an id; ids are UUIDs of version 7 in lower case with hyphens\n");
    home.run(&["revoke", "--user", "", "--idp", "none"]).fails("error: --user, --idp: subject is empty\n");
    home.run(&["send", "-t", "a", "Repeat one"]).ok("one\n");
    home.feed(&["revoke", "-t", "-"], "hello").fails("error: the token is not valid: layout: not exactly two dots\n");
}

#[test]
fn an_unreachable_store_is_named_without_its_password() {
    let home = Home::new();
    let revoke = |url: &str| {
        let mut command = home.holdall(&["revoke", "--token-id", ID]);
        Ran::of(command.env("HOLDALL_REDIS_URL", url).output().unwrap(), &home.path(""))
    };
    // A reserved port that no service uses (RFC 6335 §6).
    revoke("redis://:hush@127.0.0.1:0").fails("error: not revoked: limits store: cannot connect: …\n");
    revoke("redis://:hush@host:port").fails("error: not revoked: guard.redis_url: is not a valid URL (…)\n");
    revoke("redis-cluster://:hush@a,b")
        .fails("error: `guard.redis_url` names a Redis Cluster, which is not supported: …\n");
    home.write("holdall.toml", "[guard]\nredis_url = \"redis://127.0.0.1:0\"\nrevocation = false\n");
    home.run(&["revoke", "--config", "holdall.toml", "--token-id", ID])
        .fails("error: not revoked: Revocation is off, so no server would enforce it. Set guard.revocation.\n");
}

/// The error of `revoke` with these settings, up to its hint.
fn refused(home: &Home, arguments: &[&str], variables: &[(&str, &str)]) -> String {
    let mut command = home.holdall(&[&["revoke", "--user", "ada"], arguments].concat());
    let ran = Ran::of(command.envs(variables.iter().copied()).output().unwrap(), &home.path(""));
    assert_eq!((ran.code, ran.out.as_str()), (Some(1), ""), "{}", ran.err);
    ran.err.lines().next().unwrap().to_owned()
}

#[test]
fn a_provider_that_the_settings_never_issue_is_refused() {
    let home = Home::new();
    let no_store = "error: revocation needs a limits store, and none is configured";
    let refusal = |idp: &str, configured: &str| {
        format!("error: no token of these servers has the identity provider `{idp}`: the settings say `{configured}`")
    };
    let (login, slash) = ("jwt:https://login.example", "jwt:https://login.example/");
    let jwt = [("HOLDALL_IDENTITY", "jwt"), ("HOLDALL_JWT_ISSUER", "https://login.example")];
    for idp in ["none", "key", "header", "jwt:x", slash] {
        assert_eq!(refused(&home, &["--idp", idp], &jwt), refusal(idp, login));
    }
    // The provider of the settings is accepted, and needs no flag.
    assert_eq!(refused(&home, &["--idp", login], &jwt), no_store);
    assert_eq!(refused(&home, &[], &jwt), no_store);
    assert_eq!(
        refused(&home, &["--idp", slash, "--identity", "jwt", "--jwt-issuer", "https://login.example/"], &[]),
        no_store
    );
    for (mode, own) in [("api_key", "key"), ("header", "header"), ("none", "none")] {
        home.write("conf", &format!("identity.mode = \"{mode}\"\n"));
        assert_eq!(refused(&home, &["--config", "conf", "--idp", own], &[]), no_store);
        assert_eq!(refused(&home, &["--config", "conf"], &[]), no_store);
        assert_eq!(refused(&home, &["--config", "conf", "--idp", login], &[]), refusal(login, own));
    }
    // A file without a mode authenticates nobody.
    home.write("conf", "ttl = \"1h\"\n");
    assert_eq!(refused(&home, &["--config", "conf", "--idp", "key"], &[]), refusal("key", "none"));
    assert_eq!(refused(&home, &["--idp", "key"], &[]), no_store, "no settings say anything else");
}

#[test]
fn an_unknown_provider_is_an_error() {
    let home = Home::new();
    assert_eq!(refused(&home, &[], &[]), "error: the identity provider of the user `ada` is not known");
    let mode = [("HOLDALL_IDENTITY", "jwt")];
    let no_issuer = "error: `identity.jwt.issuer` is not set; name the issuer of the JWTs";
    assert_eq!(refused(&home, &[], &mode), no_issuer);
    let fault = refused(&home, &[], &[("HOLDALL_IDENTITY", "password")]);
    assert!(fault.starts_with("error: `identity.mode` is `password`; it must be "), "{fault}");
}
