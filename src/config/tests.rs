//! Tests of configurations that can start, and of the errors of others.

mod guard;
mod identity;
mod network;
mod profiles;
mod reload;
mod settings;
mod upstreams;

use std::{collections::HashMap, time::Duration};

use zeroize::Zeroizing;

use super::*;
use crate::proto::{
    chat::{ImageHost, ImageRules},
    deployment::ClientSystem,
};

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

/// Checks the configuration `head`, followed by the built-in model.
fn check(head: &str, sources: &[(&'static str, &'static str)]) -> Result<Config, ConfigError> {
    let text = format!("{head}\n{BUILTIN}");
    RawConfig::parse(&text, toml::Table::new())?.check(&Fixture(sources.iter().copied().collect()))
}

/// The error of the same.
fn error(head: &str, sources: &[(&'static str, &'static str)]) -> String {
    check(head, sources).unwrap_err().to_string()
}

/// The line with a token key.
fn keys() -> String {
    format!("keys = \"k1:{SECRET}\"")
}

#[test]
fn token_keys_are_required() {
    let error = check("", &[]).unwrap_err();
    assert_eq!(error.to_string(), "no token keys are configured");
    assert!(error.hint().unwrap().contains("holdall keys new"));
}

#[test]
fn defaults_are_those_of_the_documents() {
    let config = check(&keys(), &[]).unwrap();
    assert_eq!(config.listen.to_string(), "127.0.0.1:8787");
    assert_eq!(config.deployment.limits, crate::proto::limits::Limits::default());
    assert_eq!((config.deployment.policy.ttl_seconds, config.deployment.policy.max_age_seconds), (604_800, 2_592_000));
    assert!(config.deployment.policy.seal && config.service.loopback_host_only);
    assert_eq!((config.service.concurrent_requests, config.guard.max_concurrent_turns), (1_024, 8));
    assert_eq!((config.service.requests_per_peer, config.server.connections_per_peer), (256, 1_024));
}

#[test]
fn identity_none_listens_beyond_loopback_only_if_allowed() {
    assert_eq!(
        error(&format!("{}\nlisten = \"0.0.0.0:80\"", keys()), &[]),
        "`identity.mode` is `none`, but other machines can reach 0.0.0.0:80: any caller could act as any user"
    );
    assert!(matches!(check(&keys(), &[("PORT", "8080")]), Err(ConfigError::OpenToAll { .. })));
    let open = check(&format!("{}\ndangerous_open = true", keys()), &[("PORT", "8080")]).unwrap();
    assert_eq!(open.listen.to_string(), "0.0.0.0:8080");
    assert!(!open.service.loopback_host_only);
}

#[test]
fn identity_none_runs_on_a_platform_only_if_allowed() {
    let check = |settings: &str| {
        let text = format!("{}\n{settings}\n{BUILTIN}", keys());
        let raw = RawConfig::parse(&text, toml::Table::new()).unwrap();
        raw.with_exposure(Exposure::Platform).check(&Fixture(HashMap::new()))
    };
    let refused = check("").unwrap_err();
    assert!(matches!(refused, ConfigError::OpenToAll { listen: None }));
    assert!(!refused.hint().unwrap().contains("listen"));
    let open = check("dangerous_open = true\nlambda_response = \"buffer\"").unwrap();
    assert_eq!((open.service.loopback_host_only, open.lambda_response), (false, LambdaResponse::Buffer));
    assert_eq!(check("dangerous_open = true").unwrap().lambda_response, LambdaResponse::Auto);
}

#[test]
fn an_error_names_the_key_and_the_rule() {
    for (head, message) in [
        ("keys = \"k1\"", "the token keys are not valid: key 1 is not `kid:secret`"),
        ("keys = \"k1:AQ\"", "the token keys are not valid: the secret of key k1 has 1 bytes"),
        ("keys_file = \"none\"", "`keys_file` names `none`, which cannot be read: no such file"),
        ("\nkyes = 1", "unknown key `kyes` in the configuration, line 2; expected one of `listen`, `keys`, "),
        (
            "[limits]\nbytes = 1",
            "unknown key `limits.bytes` in the configuration, line 2; expected one of `body_bytes`",
        ),
        ("ttl = \"1w\"", "`ttl` in the configuration, line 1: `1w` is not a time span, such as `90s`"),
        ("ttl = 5", "`ttl` in the configuration, line 1: expected a string, found integer `5`"),
        ("timeouts.heartbeat = \"0s\"", "`timeouts.heartbeat` in the configuration, line 1: `0s` is not a time span"),
        ("listen =", "the configuration, line 1: "),
        ("[[upstream]]\nname = \"u\"", "missing key `upstream.kind` in the configuration, line 1"),
    ] {
        assert!(error(head, &[]).starts_with(message), "{head}: {}", error(head, &[]));
    }
    for (line, message) in [
        ("keys_file = \"a\"", "`keys` and `keys_file` are both set; set only one of them"),
        ("listen = \"here\"", "`listen` is `here`; it must be an address and a port, such as `127.0.0.1:8787`"),
        ("issuer = \"\"", "`issuer` has 0 bytes; it must have 1 to 256, without control characters"),
        ("ttl = \"999ms\"", "`ttl` is less than a second; the minimum is `1s`"),
        ("max_age = \"1ms\"", "`max_age` is less than a second; the minimum is `1s`"),
        ("cors_origins = [\"*\"]", "`cors_origins` is not valid: `*` is not an origin"),
        ("identity.mode = \"basic\"", "`identity.mode` is `basic`; it must be `none`, `header`, `jwt` or `api_key`"),
        #[cfg(feature = "jwt")]
        ("identity.mode = \"jwt\"", "`identity.jwt` needs exactly one of `jwks_url`, `jwks_file` and `key_file`"),
        #[cfg(not(feature = "jwt"))]
        ("identity.mode = \"jwt\"", "`identity.mode` is `jwt`, but this build does not have the feature `jwt`"),
        (
            "limits.token_bytes = 5000000",
            "`limits.body_bytes` is 4194304; it must be above `limits.token_bytes` (5000000), because the token \
             travels in the body",
        ),
        ("limits.token_bytes = 1000", "`limits.token_bytes` is 1000; the minimum is 16384"),
        ("limits.history_bytes = 1000", "`limits.history_bytes` is 1000; the minimum is 32768, twice the smaller one"),
        ("limits.reply_bytes = 0", "`limits.reply_bytes` is 0; it must be from 1 to 1073741824"),
        ("limits.image_bytes = 1073741825", "`limits.image_bytes` is 1073741825; it must be from 1 to 1073741824"),
        ("limits.turns_per_user = 0", "`limits.turns_per_user` is 0; the minimum is 1"),
        ("limits.requests_per_peer = 0", "`limits.requests_per_peer` is 0; the minimum is 1"),
        ("limits.connections_per_peer = 0", "`limits.connections_per_peer` is 0; the minimum is 1"),
        ("limits.head_bytes = 100", "`limits.head_bytes` is 100; the minimum is 8192"),
        (
            "system_prompt = \"a\"\nsystem_prompt_file = \"b\"",
            "`system_prompt` and `system_prompt_file` are both set; set only one of them",
        ),
        ("client_history = \"trust\"", "`client_history` is `trust`; it must be `refuse` or `accept`"),
        ("client_system = \"accept\"", "`client_system` is `accept`; it must be `refuse` or `append`"),
        ("responses_stream = \"Live\"", "`responses_stream` is `Live`; it must be `hold` or `live`"),
        ("lambda_response = \"live\"", "`lambda_response` is `live`; it must be `auto`, `buffer` or `stream`"),
        ("retries = 11", "`retries` is 11; it must be from 0 to 10"),
    ] {
        let head = format!("{}\n{line}", keys());
        assert!(error(&head, &[]).starts_with(message), "{line}: {}", error(&head, &[]));
    }
}

#[test]
fn an_error_of_a_flag_or_variable_names_the_key() {
    let overrides = "timeouts.drain = \"soon\"".parse().unwrap();
    let error = RawConfig::parse("", overrides).err().unwrap().to_string();
    assert!(error.starts_with("`timeouts.drain` in the flags and variables: `soon` is not a time span"), "{error}");
    let error = |text: &'static str| {
        let sources = Fixture([("HOLDALL_CONFIG_TEXT", text)].into());
        ConfigBuilder::open(None, &sources).unwrap().build(&sources).unwrap_err().to_string()
    };
    assert!(
        error("kyes = 1").starts_with("unknown key `kyes` in HOLDALL_CONFIG_TEXT, line 1; "),
        "{}",
        error("kyes = 1")
    );
}

#[test]
fn a_key_in_the_place_of_a_path_is_not_shown() {
    let key = format!("k1:{SECRET}");
    let hidden = "`keys_file` names a file that cannot be read: no such file";
    assert_eq!(error(&format!("keys_file = \"{key}\""), &[]), hidden);
    for path in ["/etc/holdall/keys-2.txt", "keys"] {
        let shown = format!("`keys_file` names `{path}`, which cannot be read: no such file");
        assert_eq!(error(&format!("keys_file = \"{path}\""), &[]), shown);
    }
    let open = |path: &str| ConfigBuilder::open(Some(path.as_ref()), &Fixture(HashMap::new())).unwrap_err().to_string();
    assert_eq!(open(&key), "cannot read the configuration file: no such file");
    assert_eq!(open("a.toml"), "cannot read the configuration file `a.toml`: no such file");
}

#[test]
fn an_origin_is_a_scheme_a_host_and_an_optional_port() {
    let with = |origin: &str| check(&format!("{}\ncors_origins = [\"{origin}\"]", keys()), &[]);
    for origin in ["https://app.example", "http://localhost:3000", "https://[::1]:8443", "HTTPS://App.Example"] {
        let origins = with(origin).unwrap().service.cors_origins;
        assert!(origins.contains(&origin.to_ascii_lowercase().parse().unwrap()), "{origin}");
    }
    for origin in
        ["", "app.example", "https://", "://a", "1a://b", "https://app.example/", "https://*", "a://b?c", "a b://c"]
    {
        let error = with(origin).unwrap_err().to_string();
        let rule = "is not an origin; write a scheme and a host without a path, such as";
        assert!(error.starts_with(&format!("`cors_origins` is not valid: `{origin}` {rule}")), "{error}");
    }
    for (origin, short) in [
        ("http://a.test:80", "http://a.test"),
        ("https://c.test:443", "https://c.test"),
        ("HTTPS://[::1]:0443", "HTTPS://[::1]"),
    ] {
        let error = with(origin).unwrap_err().to_string();
        let words = format!(
            "`{origin}` has the default port, which browsers leave out, so no page matches it; write `{short}`"
        );
        assert_eq!(error, format!("`cors_origins` is not valid: {words}"));
    }
    for origin in ["http://a.test:443", "https://c.test:80", "http://a.test:8080", "app://a.test:80", "http://[::80]"] {
        assert!(with(origin).is_ok(), "{origin}");
    }
    let error = with("null").unwrap_err().to_string();
    assert!(error.contains("`null` is the origin of many kinds of pages"), "{error}");
    assert!(with("*").unwrap_err().to_string().contains("there is no wildcard"));
}

#[test]
fn the_origin_of_an_app_is_compared_byte_for_byte() {
    for origin in [
        "app://-",
        "app://obsidian.md",
        "capacitor://localhost",
        "chrome-extension://abcdefghijklmnopabcdefghijklmnop",
        "ionic://localhost",
        "moz-extension://0b9a5c4e-33a1-4c7a-9d5c-6a1f2f0f6d21",
        "ms-appx-web://Our_App",
        "tauri://localhost",
        "vscode-webview://1abc2DEF",
    ] {
        let line = format!("cors_origins = [\"{origin}\"]");
        let origins = check(&format!("{}\n{line}", keys()), &[]).unwrap().service.cors_origins;
        assert!(origins.contains(&origin.parse().unwrap()), "{origin}");
        let (upper, longer) = (origin.to_ascii_uppercase(), format!("{origin}.test"));
        for other in [upper.as_str(), &longer, "null", &format!("{origin}/")] {
            assert!(!origins.contains(&other.parse().unwrap()), "{other}");
        }
    }
}

#[test]
fn a_failed_call_is_retried_twice_by_default() {
    let retries = |line: &str| check(&format!("{}\n{line}", keys()), &[]).map(|config| config.service.retries);
    assert_eq!((retries("").unwrap(), retries("retries = 0").unwrap(), retries("retries = 10").unwrap()), (2, 0, 10));
    assert_eq!(retries("retries = 11").unwrap_err().to_string(), "`retries` is 11; it must be from 0 to 10");
}

#[test]
fn the_apis_are_strict_by_default() {
    let deployment = |lines: &str| check(&format!("{}\n{lines}", keys()), &[]).unwrap().deployment;
    let strict = deployment("");
    assert!(!strict.elides_inline_images && !strict.apis.live_responses);
    let lenient = deployment("elide_inline_images = true\nresponses_stream = \"live\"");
    assert!(lenient.elides_inline_images && lenient.apis.live_responses);
    assert!(!deployment("responses_stream = \"hold\"").apis.live_responses);
    let of_clients = |lines: &str| {
        let deployment = deployment(lines);
        let model = &deployment.models.as_slice()[0];
        (model.accepts_client_history, model.client_system)
    };
    assert_eq!(of_clients(""), (false, ClientSystem::Refuse));
    let lines = "client_history = \"accept\"\nclient_system = \"append\"";
    assert_eq!(of_clients(lines), (true, ClientSystem::Append));
    let lines = "client_history = \"refuse\"\nclient_system = \"refuse\"";
    assert_eq!(of_clients(lines), (false, ClientSystem::Refuse));
}

#[test]
fn images_of_all_public_hosts_are_allowed_by_default() {
    let images = |lines: &str| check(&format!("{}\n{lines}", keys()), &[]).map(|config| config.deployment.images);
    let images = |lines: &str| images(lines).map_err(|error| error.to_string());
    let host = |entry: &str| ImageHost::parse(entry).unwrap();
    let listed = ImageRules::Listed(vec![host("cdn.example"), host("*.b.example"), host("http://10.0.0.5")]);
    for (lines, rules) in [
        ("", ImageRules::Public),
        ("image_urls = \"https\"", ImageRules::Public),
        ("image_urls = \"data\"", ImageRules::Inline),
        ("image_hosts = []", ImageRules::Public),
        ("image_hosts = [\"cdn.example\", \" *.b.example\", \"http://10.0.0.5\"]", listed),
    ] {
        assert_eq!(images(lines), Ok(rules), "{lines}");
    }
    for (lines, fault) in [
        ("image_urls = \"http\"", "`image_urls` is `http`; it must be `https` or `data`"),
        (
            "image_urls = \"data\"\nimage_hosts = [\"cdn.example\"]",
            "`image_hosts` is set, but `image_urls` is `data`; remove one of them",
        ),
        (
            "image_hosts = [\"cdn.example\", \"https://b.example\"]",
            "`image_hosts` has the entry `https://b.example`; an entry must be a host without a port, such as \
             `cdn.example`, `*.cdn.example` or `http://images.internal`",
        ),
    ] {
        assert_eq!(images(lines), Err(fault.to_owned()), "{lines}");
    }
}

#[test]
fn overrides_replace_values_and_join_tables() {
    let overrides = "issuer = \"over\"\n[identity]\nmode = \"none\"".parse().unwrap();
    let raw = RawConfig::parse("issuer = \"under\"\nttl = \"1h\"\n[limits]\nimage_bytes = 5", overrides).unwrap();
    assert_eq!((raw.issuer.as_deref(), raw.ttl), (Some("over"), Some(Duration::from_secs(3_600))));
    assert_eq!((raw.identity.mode.as_deref(), raw.limits.image_bytes), (Some("none"), Some(5)));
}

#[test]
fn neither_debug_nor_errors_show_a_secret() {
    let config = check(&keys(), &[]).unwrap();
    assert!(!format!("{config:?}").contains(&SECRET[..10]));
    for broken in [
        format!("{}\nlisten = \"x\"", keys()),
        format!("keys = \"k1:{SECRET}"),
        format!("keys = [\"k1:{SECRET}\"]"),
        format!("keys = \"k1:{SECRET}\" x"),
        format!("keys = \"{SECRET}\""),
    ] {
        let error = error(&broken, &[]);
        assert!(!error.contains(&SECRET[..10]), "{error}");
    }
}
