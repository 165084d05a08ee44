//! Tests of what may start and what may not.

use std::collections::HashMap;

use super::*;

/// Files and variables by name.
struct Fixture(HashMap<&'static str, &'static str>);

impl Sources for Fixture {
    fn file(&self, path: &str) -> Result<Zeroizing<String>, String> {
        self.0.get(path).map(|text| Zeroizing::new((*text).to_owned())).ok_or_else(|| "no such file".to_owned())
    }

    fn variable(&self, name: &str) -> Option<Zeroizing<String>> {
        self.0.get(name).map(|text| Zeroizing::new((*text).to_owned()))
    }
}

const SECRET: &str = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE";
const BUILTIN: &str = "[[upstream]]\nname = \"builtin\"\nkind = \"builtin\"\n\
    [[model]]\nalias = \"default\"\nupstreams = [\"builtin\"]\nmodel = \"builtin\"\n";

fn check(head: &str, sources: &[(&'static str, &'static str)]) -> Result<Config, ConfigError> {
    let text = format!("{head}\n{BUILTIN}");
    RawConfig::parse(&text, toml::Table::new())?.check(&Fixture(sources.iter().copied().collect()))
}

fn fault(head: &str, sources: &[(&'static str, &'static str)]) -> String {
    check(head, sources).unwrap_err().to_string()
}

fn keys() -> String {
    format!("keys = \"k1:{SECRET}\"")
}

#[test]
fn without_keys_nothing_starts() {
    let error = check("", &[]).unwrap_err();
    assert!(error.hint().unwrap().contains("holdall keys new"));
}

#[test]
fn defaults_are_those_of_the_design() {
    let config = check(&keys(), &[]).unwrap();
    assert_eq!(config.listen.to_string(), "127.0.0.1:8787");
    assert_eq!(config.core.limits, crate::proto::limits::Limits::default());
    assert_eq!((config.core.policy.ttl_seconds, config.core.policy.max_age_seconds), (604_800, 2_592_000));
    assert!(config.core.policy.seal && config.settings.loopback_host_only);
    assert_eq!((config.settings.concurrent_requests, config.guard.turns_at_once), (1_024, 8));
    assert_eq!((config.settings.requests_per_peer, config.server.connections_per_peer), (256, 4_096));
}

#[test]
fn nobody_vouching_stays_on_loopback_unless_told_otherwise() {
    assert!(matches!(check(&format!("{}\nlisten = \"0.0.0.0:80\"", keys()), &[]), Err(ConfigError::OpenToAll { .. })));
    assert!(matches!(check(&keys(), &[("PORT", "8080")]), Err(ConfigError::OpenToAll { .. })));
    let open = check(&format!("{}\ndangerous_open = true", keys()), &[("PORT", "8080")]).unwrap();
    assert_eq!(open.listen.to_string(), "0.0.0.0:8080");
    assert!(!open.settings.loopback_host_only);
}

#[cfg(feature = "jwt")]
#[test]
fn a_secret_of_credentials_is_no_token_key() {
    let jwt = "identity.mode = \"jwt\"\nidentity.jwt = { issuer = \"i\", audience = [\"a\"], key_file = \"secret\" }";
    let secret = "\u{1}\u{1}\u{1}\u{1}\u{1}\u{1}\u{1}\u{1}\u{1}\u{1}\u{1}\u{1}\u{1}\u{1}\u{1}\u{1}\
                  \u{1}\u{1}\u{1}\u{1}\u{1}\u{1}\u{1}\u{1}\u{1}\u{1}\u{1}\u{1}\u{1}\u{1}\u{1}\u{1}";
    let head = format!("{}\n{jwt}", keys());
    assert!(fault(&head, &[("secret", secret)]).contains("also a token key"));
    assert!(fault(&head, &[("secret", "too short")]).contains("identity.jwt"));
    assert!(check(&head, &[("secret", "another secret of more than 32 bytes")]).is_ok());
}

#[test]
fn each_fault_names_its_key() {
    for (head, named) in [
        ("keys = \"k1\"", "keys: key 1"),
        ("keys = \"k1:AQ\"", "keys: the secret of key k1 is 1 bytes"),
        ("keys_file = \"none\"", "keys_file: none: no such file"),
        ("kyes = 1", "unknown field `kyes`"),
        ("ttl = \"1w\"", "`1w` is no time span"),
        ("ttl = 5", "invalid type"),
        ("timeouts.heartbeat = \"0s\"", "`0s` is no time span"),
    ] {
        assert!(fault(head, &[]).contains(named), "{head}: {}", fault(head, &[]));
    }
    for (line, named) in [
        ("listen = \"here\"", "listen: `here` is no address"),
        ("issuer = \"\"", "issuer:"),
        ("cors_origins = [\"*\"]", "cors_origins: `*` is no origin"),
        ("identity.mode = \"basic\"", "identity.mode: `basic`"),
        #[cfg(feature = "jwt")]
        ("identity.mode = \"jwt\"", "identity.jwt: set exactly one"),
        #[cfg(not(feature = "jwt"))]
        ("identity.mode = \"jwt\"", "identity.mode: this build is without the feature"),
        ("limits.token_bytes = 5000000", "limits.body_bytes:"),
        ("limits.history_bytes = 1000", "limits.history_bytes:"),
        ("limits.reply_bytes = 0", "limits:"),
        ("limits.turns_per_user = 0", "limits.turns_per_user:"),
        ("limits.requests_per_peer = 0", "limits.requests_per_peer:"),
        ("limits.connections_per_peer = 0", "limits.connections_per_peer:"),
        ("limits.head_bytes = 100", "limits.head_bytes:"),
        ("system_prompt = \"a\"\nsystem_prompt_file = \"b\"", "system_prompt:"),
        ("client_history = \"trust\"", "client_history: `trust` is none of refuse, accept"),
        ("responses_stream = \"Live\"", "responses_stream: `Live` is none of hold, live"),
    ] {
        let head = format!("{}\n{line}", keys());
        assert!(fault(&head, &[]).starts_with(named), "{line}: {}", fault(&head, &[]));
    }
}

#[test]
fn an_origin_is_a_scheme_a_host_and_perhaps_a_port() {
    let with = |origin: &str| check(&format!("{}\ncors_origins = [\"{origin}\"]", keys()), &[]);
    for origin in ["https://app.example", "http://localhost:3000", "https://[::1]:8443", "https://App.Example"] {
        assert!(with(origin).is_ok(), "{origin}");
    }
    for origin in ["", "null", "app.example", "https://", "ftp://app.example", "https://app.example/", "https://*"] {
        let fault = with(origin).unwrap_err().to_string();
        assert_eq!(fault, format!("cors_origins: `{origin}` is no origin, such as https://app.example"));
    }
}

/// One upstream of a kind, with these lines more, and a model.
fn upstream(kind: &str, lines: &str, model_lines: &str) -> Result<Config, ConfigError> {
    let upstream = format!("[[upstream]]\nname = \"u\"\nkind = \"{kind}\"\n{lines}");
    let model = format!("[[model]]\nalias = \"a\"\nupstreams = [\"u\"]\nmodel = \"m\"\n{model_lines}");
    let text = format!("{}\n{upstream}\n{model}", keys());
    RawConfig::parse(&text, toml::Table::new())?.check(&Fixture([("KEY", "k")].into()))
}

#[test]
fn reasoning_is_a_providers_at_its_address() {
    let key = "api_key_env = \"KEY\"";
    for (kind, lines, provider) in [
        ("anthropic", key.to_owned(), "anthropic"),
        ("anthropic", format!("{key}\nbase_url = \"https://api.anthropic.com/\""), "anthropic"),
        ("anthropic", "base_url = \"https://other.test/v2\"".to_owned(), "anthropic@other.test"),
        ("openai-responses", key.to_owned(), "openai-responses"),
        ("openai-responses", "base_url = \"http://127.0.0.1:11434/v1\"".to_owned(), "openai-responses@127.0.0.1:11434"),
        ("builtin", String::new(), "builtin"),
    ] {
        let config = upstream(kind, &lines, "").unwrap();
        assert_eq!(config.core.models.as_slice()[0].provider, provider);
    }
    let fault = upstream("openai-responses", "", "").unwrap_err().to_string();
    assert!(fault.contains("https://api.openai.com/v1 wants a key"), "{fault}");
    let fault = upstream("responses", "", "").unwrap_err().to_string();
    assert_eq!(fault, "upstream.kind: `responses` is none of anthropic, builtin, openai, openai-responses");
}

#[test]
fn prompts_are_cached_and_nothing_is_trimmed_unless_told_otherwise() {
    use crate::proto::dialect::door::Truncation;

    for (lines, model_lines, prompt_cache, truncation) in [
        ("", "", true, Truncation::Refuse),
        ("prompt_cache = false", "truncation = \"oldest\"", false, Truncation::Oldest),
        ("prompt_cache = true", "truncation = \"summarize\"", true, Truncation::Summarize),
    ] {
        let config = upstream("builtin", lines, model_lines).unwrap();
        let model = &config.core.models.as_slice()[0];
        assert_eq!((model.prompt_cache, model.truncation), (prompt_cache, truncation));
    }
    let fault = upstream("builtin", "", "truncation = \"auto\"").unwrap_err().to_string();
    assert_eq!(fault, "model.truncation: `auto` is none of refuse, oldest, summarize");
}

#[test]
fn doors_are_strict_unless_told_otherwise() {
    let core = check(&keys(), &[]).unwrap().core;
    assert!(!core.accepts_client_history && !core.elides_inline_images && !core.ways.live_responses);
    let lines = "client_history = \"accept\"\nelide_inline_images = true\nresponses_stream = \"live\"";
    let core = check(&format!("{}\n{lines}", keys()), &[]).unwrap().core;
    assert!(core.accepts_client_history && core.elides_inline_images && core.ways.live_responses);
    let lines = "client_history = \"refuse\"\nresponses_stream = \"hold\"";
    let core = check(&format!("{}\n{lines}", keys()), &[]).unwrap().core;
    assert!(!core.accepts_client_history && !core.ways.live_responses);
}

#[test]
fn an_overlay_replaces_values_and_joins_tables() {
    let overlay = "issuer = \"over\"\n[identity]\nmode = \"none\"".parse().unwrap();
    let raw = RawConfig::parse("issuer = \"under\"\nttl = \"1h\"\n[limits]\nimage_bytes = 5", overlay).unwrap();
    assert_eq!((raw.issuer.as_deref(), raw.ttl), (Some("over"), Some(Duration::from_secs(3_600))));
    assert_eq!((raw.identity.mode.as_deref(), raw.limits.image_bytes), (Some("none"), Some(5)));
}

#[test]
fn no_secret_shows_in_debug_or_errors() {
    let config = check(&keys(), &[]).unwrap();
    assert!(!format!("{config:?}").contains(&SECRET[..10]));
    for broken in [
        format!("{}\nlisten = \"x\"", keys()),
        format!("keys = \"k1:{SECRET}"),
        format!("keys = [\"k1:{SECRET}\"]"),
        format!("keys = \"k1:{SECRET}\" x"),
        format!("keys = \"{SECRET}\""),
    ] {
        let fault = fault(&broken, &[]);
        assert!(!fault.contains(&SECRET[..10]), "{fault}");
    }
    let fault = fault("\nkeys = 5", &[]);
    assert!(fault.starts_with("configuration: line 2: "), "{fault}");
}
