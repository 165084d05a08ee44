//! Tests of the authentication of callers.

use super::*;
use crate::principal::{Authenticator, KeyDigest};

/// The digest of `abc` (FIPS 180-4), and another.
const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
const ONE: &str = "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed";

const PROXY_SECRET: &str = "a-secret-of-more-than-thirty-two-bytes";

/// Checks these lines, for a server with a token key that listens on all addresses.
fn with(lines: &str, sources: &[(&'static str, &'static str)]) -> Result<Config, ConfigError> {
    check(&format!("{}\nlisten = \"0.0.0.0:80\"\n{lines}", keys()), sources)
}

/// The error of the same.
#[track_caller]
fn refused(lines: &str, sources: &[(&'static str, &'static str)]) -> String {
    with(lines, sources).map(|_| panic!("no error: {lines}")).unwrap_err().to_string()
}

fn header(members: &str) -> String {
    format!("identity = {{ mode = \"header\", header = {{ {members} }} }}")
}

fn api_key(members: &str) -> String {
    format!("identity = {{ mode = \"api_key\", api_key = {{ {members} }} }}")
}

#[test]
fn mode_header_needs_a_name_peers_and_a_secret() {
    let sources = [("secret", "a-secret-of-more-than-thirty-two-bytes\r\n"), ("short", "short")];
    let whole = "name = \"X-User\", peers = [\"10.0.0.0/8\", \"::1\"], secret_file = \"secret\"";
    let config = with(&header(whole), &sources).unwrap();
    assert!(matches!(config.access.authenticator, Authenticator::Header(_)));
    assert!(config.warnings.is_empty() && !config.service.loopback_host_only);
    let inline = whole.replace("secret_file = \"secret\"", &format!("secret = \"{PROXY_SECRET}\""));
    assert!(with(&header(&inline), &[]).is_ok());
    for (members, fault) in [
        ("", "`identity.header.name` is not set; name the header"),
        ("name = \"x y\"", "`identity.header.name` is not the name of a header"),
        ("name = \"\"", "`identity.header.name` is not the name of a header"),
        (
            &whole.replace("\"::1\"", "\"localhost\""),
            "`identity.header.peers` is not valid: `localhost` is not an address",
        ),
        (&whole.replace("[\"10.0.0.0/8\", \"::1\"]", "[]"), "`identity.header` is not valid: no peer is listed"),
        (&whole.replace(", secret_file = \"secret\"", ""), "`identity.header` needs exactly one of `secret_file`"),
        (&format!("{whole}, secret = \"{PROXY_SECRET}\""), "`identity.header` needs exactly one of `secret_file`"),
        (
            &whole.replace("\"secret\"", "\"short\""),
            "`identity.header` has a secret that is not valid; it must have at least 32",
        ),
        (
            &whole.replace("\"secret\"", "\"none\""),
            "`identity.header.secret_file` names `none`, which cannot be read: no such file",
        ),
        (
            &inline.replace(PROXY_SECRET, &PROXY_SECRET.replace('-', " ")),
            "`identity.header` has a secret that is not valid",
        ),
        (
            &format!("{whole}, secret_header = \"x_user\""),
            "`identity.header` is not valid: the user and the secret must be in",
        ),
        (&format!("{whole}, secret_header = \"cookie\""), "`identity.header` is not valid: a standard header"),
        (&format!("{whole}, users = 1"), "unknown key `identity.header.users` in the configuration, line 3"),
    ] {
        let found = refused(&header(members), &sources);
        assert!(found.starts_with(fault), "{members}: {found}");
    }
    let all = whole.replace("\"::1\"", "\"0.0.0.0/0\"");
    assert!(with(&header(&all), &sources).unwrap().warnings[0].contains("lists every address"));
}

#[test]
fn settings_of_another_mode_are_an_error() {
    let tables = [
        ("api_key", "identity.api_key.keys_file = \"file\""),
        ("header", "identity.header.peers = [\"::1\"]"),
        ("header", "identity.header.secret_header = \"x-s\""),
        ("jwt", "identity.jwt.jwks_url = \"https://a\""),
        ("jwt", "identity.jwt.audience = [\"a\"]"),
    ];
    for (of, table) in tables {
        for mode in ["none", "api_key", "header", "jwt"].into_iter().filter(|mode| *mode != of) {
            let found = refused(&format!("identity.mode = \"{mode}\"\n{table}"), &[]);
            let start = format!("`identity.{of}` is set, but `identity.mode` is `{mode}`; set ");
            assert!(found.starts_with(&start), "{found}");
        }
        let found = refused(&format!("dangerous_open = true\n{table}"), &[]);
        let next = format!("`identity.mode` is `none`; set `identity.mode = \"{of}\"` (HOLDALL_IDENTITY={of})");
        assert!(found.contains(&next), "{found}");
        // A server that only this process reaches needs no authentication.
        let text = format!("{}\ndangerous_open = true\nlisten = \"0.0.0.0:80\"\n{table}\n{BUILTIN}", keys());
        let local = RawConfig::parse(&text, toml::Table::new()).unwrap().with_exposure(Exposure::Local);
        let config = local.check(&Fixture(HashMap::new())).unwrap();
        assert!(matches!(config.access.authenticator, Authenticator::None));
        assert!(config.listen.to_string() == "127.0.0.1:0" && config.service.loopback_host_only);
    }
    assert!(with("dangerous_open = true\nidentity.jwt = {}\nidentity.header.peers = []", &[]).is_ok());
}

#[test]
fn the_secret_of_a_header_is_not_a_token_key() {
    let whole = "name = \"x-user\", peers = [\"::1\"], secret_file = \"secret\"";
    for secret in [SECRET, "k1:AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE"] {
        assert!(refused(&header(whole), &[("secret", secret)]).contains("also a token key"), "{secret}");
    }
    let raw = "YS1zZWNyZXQtb2YtbW9yZS10aGFuLXRoaXJ0eS10d28tYnl0ZXM";
    let text = format!("keys = \"k1:{raw}\"\n{}\n{BUILTIN}", header(whole));
    let raw = RawConfig::parse(&text, toml::Table::new()).unwrap();
    let error = raw.check(&Fixture([("secret", PROXY_SECRET)].into())).unwrap_err();
    assert!(error.to_string().contains("also a token key"), "{error}");
}

#[cfg(feature = "jwt")]
#[test]
fn the_shared_secret_of_an_issuer_is_not_a_token_key() {
    let jwt = "identity.mode = \"jwt\"\nidentity.jwt = { issuer = \"i\", audience = [\"a\"], key_file = \"secret\" }";
    let secret = "\u{1}\u{1}\u{1}\u{1}\u{1}\u{1}\u{1}\u{1}\u{1}\u{1}\u{1}\u{1}\u{1}\u{1}\u{1}\u{1}\
                  \u{1}\u{1}\u{1}\u{1}\u{1}\u{1}\u{1}\u{1}\u{1}\u{1}\u{1}\u{1}\u{1}\u{1}\u{1}\u{1}";
    assert!(refused(jwt, &[("secret", secret)]).contains("also a token key"));
    assert!(refused(jwt, &[("secret", "too short")]).starts_with("`identity.jwt` is not valid: "));
    assert!(with(jwt, &[("secret", "another secret of more than 32 bytes")]).is_ok());
}

#[test]
fn the_key_of_a_caller_is_not_a_token_key() {
    let retired = "YS1zZWNyZXQtb2YtbW9yZS10aGFuLXRoaXJ0eS10d28tYnl0ZXM";
    for secret in [SECRET, retired] {
        let hex = KeyDigest::of(secret).to_hex();
        let user = api_key(&format!("keys = [{{ digest = \"{hex}\", user = \"ada\" }}]"));
        let operator = format!(
            "operator_keys = [\"{ONE}\", \"{hex}\"]\n{}",
            api_key(&format!("keys = [{{ digest = \"{ABC}\", user = \"a\" }}]"))
        );
        for (key, lines) in [("identity.api_key", user), ("operator_keys", operator)] {
            let text = format!("keys = \"k1:{SECRET},k2:{retired}\"\n{lines}\n{BUILTIN}");
            let raw = RawConfig::parse(&text, toml::Table::new()).unwrap();
            let found = raw.check(&Fixture(HashMap::new())).unwrap_err().to_string();
            assert!(found.starts_with(&format!("`{key}` contains the digest of a token key's secret")), "{found}");
            assert!(!found.contains(secret));
        }
    }
}

#[test]
fn api_keys_are_in_a_file_or_in_the_configuration() {
    let file = "# ours\nba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad ada\n";
    let sources = [("file", file), ("broken", "# ours\nada\n"), ("empty", "# none\n")];
    let inline = |digest: &str, user: &str| format!("keys = [{{ digest = \"{digest}\", user = \"{user}\" }}]");
    let both = format!("keys_file = \"file\", {}", inline(ONE, "bob"));
    let config = with(&api_key(&both), &sources).unwrap();
    let Authenticator::ApiKey(keys) = &config.access.authenticator else { panic!("{config:?}") };
    let digests: Vec<_> = keys.digests().map(KeyDigest::to_hex).collect();
    assert_eq!(digests, [ABC, ONE]);
    assert!(with(&api_key("keys_file = \"file\""), &sources).is_ok() && with(&api_key(&inline(ABC, "a")), &[]).is_ok());
    for (members, fault) in [
        ("", "`identity.api_key` is not valid: there are no keys"),
        ("keys_file = \"empty\"", "`identity.api_key` is not valid: there are no keys"),
        ("keys_file = \"none\"", "`identity.api_key.keys_file` names `none`, which cannot be read: no such file"),
        ("keys_file = \"broken\"", "`identity.api_key.keys_file` names `broken`; its line 2 is not a digest"),
        (&inline(&ABC[1..], "ada"), "`identity.api_key.keys` has an entry that is not a SHA-256 digest"),
        (&inline("hk_abc", "ada"), "`identity.api_key.keys` has an entry that is not a SHA-256 digest"),
        (&inline(ABC, ""), "`identity.api_key` is not valid: key 1: subject is empty"),
        (
            &format!("keys_file = \"file\", {}", inline(ABC, "bob")),
            "`identity.api_key` is not valid: key 2 repeats key 1",
        ),
        (
            "keys = [{ digest = \"\", user = \"\", key = \"\" }]",
            "unknown key `identity.api_key.keys.key` in the configuration",
        ),
    ] {
        let found = refused(&api_key(members), &sources);
        assert!(found.starts_with(fault), "{members}: {found}");
    }
}

#[test]
fn the_key_of_an_operator_is_not_a_users() {
    let user = api_key(&format!("keys = [{{ digest = \"{ABC}\", user = \"ada\" }}]"));
    let operators = |digests: &str| format!("operator_keys = [{digests}]\n{user}");
    let config = with(&operators(&format!("\"{ONE}\", \" {}\"", ONE.to_uppercase())), &[]).unwrap();
    assert!(config.access.operator_keys.contains(&KeyDigest::from_hex(ONE).unwrap()));
    let found = refused(&operators(&format!("\"{ONE}\", \"{}\"", ABC.to_uppercase())), &[]);
    assert_eq!(found, "`operator_keys` contains a user's API key; make a separate key with `holdall keys operator`");
    assert!(
        refused(&operators("\"abc\""), &[]).starts_with("`operator_keys` has an entry that is not a SHA-256 digest")
    );
}

#[cfg(feature = "jwt")]
#[test]
fn the_keys_of_an_issuer_have_one_source() {
    let jwt = |members: &str| {
        format!("identity = {{ mode = \"jwt\", jwt = {{ issuer = \"i\", audience = [\"a\"], {members} }} }}")
    };
    let config = with(&jwt("jwks_url = \"https://issuer.example/jwks\""), &[]).unwrap();
    assert!(!config.access.authenticator.is_ready());
    let elsewhere = with(&jwt("jwks_url = \"https://issuer.example/other\""), &[]).unwrap();
    assert_eq!(config.reload_snapshot().refused_changes(&elsewhere.reload_snapshot()), ["identity.jwt.jwks_url"]);
    for (members, fault) in [
        ("", "`identity.jwt` needs exactly one of `jwks_url`, `jwks_file` and `key_file`"),
        ("jwks_url = \"https://a\", key_file = \"b\"", "`identity.jwt` needs exactly one"),
        ("jwks_url = \"https://a\", jwks_file = \"b\"", "`identity.jwt` needs exactly one"),
        (
            "jwks_url = \"http://a/jwks\"",
            "`identity.jwt.jwks_url` is `http://a/jwks`, which is not an https: URL; an attacker",
        ),
        (
            "jwks_url = \"a\"",
            "`identity.jwt.jwks_url` is `…` (not shown: it may hold a secret), which is not an https: URL",
        ),
        (
            "jwks_url = \"https://ada:hunter2@a.test/jwks\"",
            "`identity.jwt.jwks_url` is `…` (not shown: it may hold a secret), which is not an https: URL",
        ),
    ] {
        let found = refused(&jwt(members), &[]);
        assert!(found.starts_with(fault), "{members}: {found}");
    }
}

#[test]
fn an_override_replaces_the_alternatives_of_its_key() {
    let header = "mode = \"header\"\nheader = { name = \"x-user\", peers = [\"::1\"], secret_file = \"none\" }";
    let text = format!("{}\n[identity]\n{header}\n{BUILTIN}", keys());
    let overlay = format!("[identity.header]\nsecret = \"{PROXY_SECRET}\"");
    let raw = RawConfig::parse(&text, overlay.parse().unwrap()).unwrap();
    assert!(raw.check(&Fixture(HashMap::new())).is_ok());
    let (below, above) = ("[identity.jwt]\njwks_file = \"none\"", "[identity.jwt]\njwks_url = \"https://a\"");
    let raw = RawConfig::parse(below, above.parse().unwrap()).unwrap();
    assert!(raw.identity.jwt.jwks_file.is_none() && raw.identity.jwt.jwks_url.is_some());
}

#[test]
fn trusted_proxies_are_networks() {
    let config = with("trusted_proxies = [\"10.0.0.0/8\"]\ndangerous_open = true", &[]).unwrap();
    assert!(config.access.trusted_proxies.contains("10.1.1.1".parse().unwrap()));
    let fault = refused("trusted_proxies = [\"10.0.0.1/8\"]\ndangerous_open = true", &[]);
    assert!(fault.starts_with("`trusted_proxies` is not valid: `10.0.0.1/8` is not an address or network"), "{fault}");
    let all = with("trusted_proxies = [\"::/0\"]\ndangerous_open = true", &[]).unwrap();
    assert!(all.warnings[0].starts_with("`trusted_proxies` lists every address"));
}

#[test]
fn a_reload_rejects_another_mode() {
    let snapshot = |lines: &str| with(lines, &[("secret", PROXY_SECRET)]).unwrap().reload_snapshot();
    let key = |digest: &str| api_key(&format!("keys = [{{ digest = \"{digest}\", user = \"ada\" }}]"));
    let changed = |from: &str, to: &str| {
        let (from, to) = (snapshot(from), snapshot(to));
        [from.refused_changes(&to), from.restart_changes(&to)].concat()
    };
    assert!(changed(&key(ABC), &format!("operator_keys = [\"{ABC}\"]\n{}", key(ONE))).is_empty());
    let named = |name: &str| header(&format!("name = \"{name}\", peers = [\"::1\"], secret_file = \"secret\""));
    assert!(changed(&named("x-a"), &named("x-b")).is_empty());
    assert_eq!(changed(&named("x-a"), &key(ABC)), ["identity.mode"]);
    assert_eq!(changed("dangerous_open = true", &key(ABC)), ["identity.mode"]);
}

#[cfg(feature = "jwt")]
#[test]
fn the_examples_of_the_page_are_valid() {
    let text = include_str!("../../../docs/configuration.md");
    let section = text.split("## Who may call").nth(1).unwrap().split("\n## ").next().unwrap();
    let file = "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed ada\n";
    let sources = [("api-keys", file), ("/run/secrets/proxy", PROXY_SECRET)];
    let examples: Vec<_> = section.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    let started = examples.iter().map(|example| with(example, &sources).unwrap().access.authenticator);
    let started: Vec<_> = started.collect();
    let modes: Vec<_> = started.iter().map(Authenticator::mode).collect();
    assert_eq!(modes, ["jwt", "api_key", "header"]);
    assert_eq!(started[0].jwks_url(), Some("https://login.example/.well-known/jwks.json"));
}

#[test]
fn neither_debug_nor_errors_show_a_secret_of_identity() {
    let whole = format!("name = \"x-user\", peers = [\"::1\"], secret = \"{PROXY_SECRET}\"");
    let config = with(&header(&whole), &[]).unwrap();
    assert!(!format!("{config:?}{:?}", config.reload_snapshot()).contains("a-secret"));
    for broken in
        [format!("{whole}, peers = 1"), format!("{whole}, name = 1"), format!("secret = [\"{PROXY_SECRET}\"]")]
    {
        assert!(!refused(&header(&broken), &[]).contains("a-secret"));
    }
}
