//! Tests of what may start and what may not.

mod identity;
mod settings;

use std::{collections::HashMap, time::Duration};

use zeroize::Zeroizing;

use super::*;
use crate::guard::Rules;

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
    assert_eq!(config.deployment.limits, crate::proto::limits::Limits::default());
    assert_eq!((config.deployment.policy.ttl_seconds, config.deployment.policy.max_age_seconds), (604_800, 2_592_000));
    assert!(config.deployment.policy.seal && config.service.loopback_host_only);
    assert_eq!((config.service.concurrent_requests, config.guard.max_concurrent_turns), (1_024, 8));
    assert_eq!((config.service.requests_per_peer, config.server.connections_per_peer), (256, 4_096));
}

#[test]
fn nobody_vouching_stays_on_loopback_unless_told_otherwise() {
    assert!(matches!(check(&format!("{}\nlisten = \"0.0.0.0:80\"", keys()), &[]), Err(ConfigError::OpenToAll { .. })));
    assert!(matches!(check(&keys(), &[("PORT", "8080")]), Err(ConfigError::OpenToAll { .. })));
    let open = check(&format!("{}\ndangerous_open = true", keys()), &[("PORT", "8080")]).unwrap();
    assert_eq!(open.listen.to_string(), "0.0.0.0:8080");
    assert!(!open.service.loopback_host_only);
}

#[test]
fn a_function_is_open_wherever_it_would_listen() {
    let check = |settings: &str| {
        let text = format!("{}\n{settings}\n{BUILTIN}", keys());
        RawConfig::parse(&text, toml::Table::new())
            .unwrap()
            .with_exposure(Exposure::Platform)
            .check(&Fixture(HashMap::new()))
    };
    let refused = check("").unwrap_err();
    assert!(matches!(refused, ConfigError::OpenToAll { listen: None }));
    assert!(!refused.hint().unwrap().contains("listen"));
    let open = check("dangerous_open = true\nlambda_response = \"buffer\"").unwrap();
    assert_eq!((open.service.loopback_host_only, open.lambda_response), (false, LambdaResponse::Buffer));
    assert_eq!(check("dangerous_open = true").unwrap().lambda_response, LambdaResponse::Auto);
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
        ("keys = \"k1:AQ\"", "keys: the secret of key k1 has 1 bytes"),
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
fn a_key_in_the_place_of_its_file_is_not_shown() {
    let key = format!("k1:{SECRET}");
    assert_eq!(fault(&format!("keys_file = \"{key}\""), &[]), "keys_file: no such file");
    for path in ["/etc/holdall/keys-2.txt", "keys"] {
        assert_eq!(fault(&format!("keys_file = \"{path}\""), &[]), format!("keys_file: {path}: no such file"));
    }
    let builder = ConfigBuilder::open(Some(key.as_ref()), &Fixture(HashMap::new()));
    assert_eq!(builder.unwrap_err().to_string(), "cannot read the configuration: no such file");
}

#[test]
fn an_upstreams_key_is_printable_ascii() {
    let credential = |key| {
        let head = format!(
            "{}\n[[upstream]]\nname = \"own\"\nkind = \"openai\"\napi_key_env = \"KEY\"\n\
             base_url = \"http://127.0.0.1\"",
            keys()
        );
        check(&head, &[("KEY", key)]).unwrap().upstreams[0].credential()
    };
    for key in ["sk-1", "a key of words"] {
        assert_eq!(credential(key).unwrap().unwrap().1, format!("Bearer {key}"));
    }
    for key in ["sk-\u{e9}", "sk-\u{1f511}", "sk\t1", "sk\u{7}"] {
        let fault = credential(key).unwrap_err().to_string();
        assert_eq!(fault, "upstream: the key of own holds what is no printable ASCII character");
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
    let variables = [("KEY", "k"), ("FILED", " k\r\n"), ("BLANK", "\n"), ("BROKEN", "k\nl")];
    RawConfig::parse(&text, toml::Table::new())?.check(&Fixture(variables.into()))
}

#[test]
fn an_upstreams_key_may_come_from_a_file_that_ends_in_a_line_end() {
    let of = |name: &str| upstream("openai", &format!("api_key_env = \"{name}\""), "");
    for name in ["KEY", "FILED"] {
        let (_, value) = of(name).unwrap().upstreams[0].credential().unwrap().unwrap();
        assert_eq!(value, "Bearer k", "{name}");
    }
    let fault = of("BLANK").unwrap_err().to_string();
    assert_eq!(fault, "upstream.api_key_env: the variable BLANK is not set");
    let fault = of("BROKEN").unwrap().upstreams[0].credential().unwrap_err().to_string();
    assert_eq!(fault, "upstream: the key of u holds what is no printable ASCII character");
}

#[test]
fn reasoning_is_a_providers_at_its_address() {
    let key = "api_key_env = \"KEY\"";
    for (kind, lines, provider_id) in [
        ("anthropic", key.to_owned(), "anthropic"),
        ("anthropic", format!("{key}\nbase_url = \"https://api.anthropic.com/\""), "anthropic"),
        ("anthropic", "base_url = \"https://other.test/v2\"".to_owned(), "anthropic@other.test"),
        ("openai-responses", key.to_owned(), "openai-responses"),
        ("openai-responses", "base_url = \"http://127.0.0.1:11434/v1\"".to_owned(), "openai-responses@127.0.0.1:11434"),
        ("builtin", String::new(), "builtin"),
    ] {
        let config = upstream(kind, &lines, "").unwrap();
        assert_eq!(config.deployment.models.as_slice()[0].target.provider_id, provider_id);
    }
    let fault = upstream("openai-responses", "", "").unwrap_err().to_string();
    assert!(fault.contains("https://api.openai.com/v1 wants a key"), "{fault}");
    let fault = upstream("responses", "", "").unwrap_err().to_string();
    assert_eq!(fault, "upstream.kind: `responses` is none of anthropic, builtin, openai, openai-responses");
}

#[test]
fn prompts_are_cached_and_nothing_is_trimmed_unless_told_otherwise() {
    use crate::proto::turn::Truncation;

    for (lines, model_lines, prompt_cache, truncation) in [
        ("", "", true, Truncation::Refuse),
        ("prompt_cache = false", "truncation = \"oldest\"", false, Truncation::Oldest),
        ("prompt_cache = true", "truncation = \"summarize\"", true, Truncation::Summarize),
    ] {
        let config = upstream("builtin", lines, model_lines).unwrap();
        let model = &config.deployment.models.as_slice()[0];
        assert_eq!((model.target.prompt_cache, model.truncation), (prompt_cache, truncation));
        // A reload replaces the models, and so applies both.
        let (old, new) = (upstream("builtin", "", "").unwrap().reload_snapshot(), config.reload_snapshot());
        assert!(old.refused_changes(&new).is_empty() && old.restart_changes(&new).is_empty());
    }
    let fault = upstream("builtin", "", "truncation = \"auto\"").unwrap_err().to_string();
    assert_eq!(fault, "model.truncation: `auto` is none of refuse, oldest, summarize");
}

/// Three upstreams, `a` to `c`, and a model that names these.
fn targets(upstreams: &str) -> Result<Config, ConfigError> {
    let services = ["a", "b", "c"].map(|name| format!("[[upstream]]\nname = \"{name}\"\nkind = \"builtin\"\n"));
    let model = format!("[[model]]\nalias = \"m\"\nmodel = \"own\"\nupstreams = {upstreams}\n");
    check(&format!("{}\n{}{model}", keys(), services.concat()), &[])
}

#[test]
fn a_model_names_upstreams_in_order_each_with_its_own_name_for_it() {
    let config =
        targets(r#"["b", { name = "a", model = "other" }, { name = "c" }, { name = "b", model = "more" }]"#).unwrap();
    let model = &config.deployment.models.as_slice()[0];
    let named: Vec<_> = model.targets().map(|target| (target.upstream.as_str(), target.name.as_str())).collect();
    assert_eq!(named, [("b", "own"), ("a", "other"), ("c", "own"), ("b", "more")]);
    for (upstreams, fault) in [
        ("[]", "model.upstreams: `m` names no upstream"),
        (r#"["d"]"#, "model.upstreams: there is no upstream called `d`"),
        (r#"["a", "a"]"#, "model.upstreams: `m` names `a` twice"),
        (r#"["a", { name = "a", model = "own" }]"#, "model.upstreams: `m` names `a` twice"),
        (r#"["a","a","a","a","a","a","a","a","a"]"#, "model.upstreams: `m` names more than 8 upstreams"),
        (
            r#"[{ name = "a", modle = "x" }]"#,
            "configuration: line 14: the name of an upstream, or { name = …, model = … }",
        ),
        ("[5]", "configuration: line 14: the name of an upstream, or { name = …, model = … }"),
    ] {
        assert_eq!(targets(upstreams).unwrap_err().to_string(), fault, "{upstreams}");
    }
}

#[test]
fn several_addresses_are_one_upstream() {
    let of = |lines: &str| upstream("openai", lines, "").map(|config| config.upstreams[0].clone());
    let two = of("base_urls = [\"http://one.test/v1/\", \"http://two.test/v1\"]").unwrap();
    assert_eq!(two.base_urls, ["http://one.test/v1", "http://two.test/v1"]);
    assert_eq!(two.provider_id, "openai@one.test");
    assert_eq!(of("base_url = \"http://one.test\"").unwrap().base_urls, ["http://one.test"]);
    assert_eq!(upstream("builtin", "", "").unwrap().upstreams[0].base_urls, [""]);
    let many: Vec<_> = (0..65).map(|number| format!("\"http://{number}.test\"")).collect();
    for (lines, fault) in [
        ("base_urls = []".to_owned(), "upstream.base_urls: names 0 addresses; 1 to 64 are allowed"),
        (format!("base_urls = [{}]", many.join(", ")), "upstream.base_urls: names 65 addresses; 1 to 64 are allowed"),
        (
            "base_url = \"http://a.test\"\nbase_urls = [\"http://b.test\"]".to_owned(),
            "upstream.base_urls: set either base_url or base_urls, not both",
        ),
        (
            "base_urls = [\"http://a.test\", \"http://a.test/\"]".to_owned(),
            "upstream.base_urls: `http://a.test` stands twice",
        ),
        (
            "api_key_env = \"KEY\"\nbase_urls = [\"https://api.openai.com/v1\", \"http://a.test\"]".to_owned(),
            "upstream.base_urls: https://api.openai.com/v1 is a provider's own address, and goes with no other",
        ),
        (
            "base_urls = [\"http://a.test\", \"ftp://a.test\"]".to_owned(),
            "upstream.base_url: `ftp://a.test`: not an http: or https: URL without credentials and query",
        ),
    ] {
        assert_eq!(of(&lines).unwrap_err().to_string(), fault);
    }
    let fault = upstream("builtin", "base_urls = [\"http://a.test\"]", "").unwrap_err().to_string();
    assert_eq!(fault, "upstream.base_url: `builtin` has no address");
}

#[test]
fn calls_at_once_are_bounded_where_a_bound_is_set() {
    let of = |lines: &str| upstream("builtin", lines, "").map(|config| config.upstreams[0].concurrency);
    let wait = Duration::from_secs(10);
    assert_eq!(of("").unwrap(), None);
    assert_eq!(of("max_concurrency = 8").unwrap(), Some(Concurrency { calls: 8, queue: 32, wait }));
    assert_eq!(of("max_concurrency = 8\nqueue = 0").unwrap(), Some(Concurrency { calls: 8, queue: 0, wait }));
    let lines = format!("{}\n[timeouts]\nqueue = \"3s\"\n", keys());
    let model = "[[upstream]]\nname = \"u\"\nkind = \"builtin\"\nmax_concurrency = 1\n[[model]]\nalias = \"a\"\nupstreams = [\"u\"]\nmodel = \"m\"";
    let config = check(&format!("{lines}{model}"), &[]).unwrap();
    assert_eq!(config.upstreams[0].concurrency.unwrap().wait, Duration::from_secs(3));
    for (lines, fault) in [
        ("max_concurrency = 0", "upstream.max_concurrency: is from 1 to 65536"),
        ("max_concurrency = 65537", "upstream.max_concurrency: is from 1 to 65536"),
        ("max_concurrency = 1\nqueue = 262145", "upstream.queue: is at most 262144"),
        ("queue = 5", "upstream.queue: goes with upstream.max_concurrency"),
    ] {
        assert_eq!(of(lines).unwrap_err().to_string(), fault);
    }
    // What a reload cannot change shows in what it compares.
    let (eight, nine) =
        (upstream("builtin", "max_concurrency = 8", ""), upstream("builtin", "max_concurrency = 9", ""));
    assert_eq!(eight.unwrap().reload_snapshot().refused_changes(&nine.unwrap().reload_snapshot()), ["upstream"]);
}

#[test]
fn calls_are_made_twice_again_unless_told_otherwise() {
    let retries = |line: &str| check(&format!("{}\n{line}", keys()), &[]).map(|config| config.service.retries);
    assert_eq!((retries("").unwrap(), retries("retries = 0").unwrap(), retries("retries = 10").unwrap()), (2, 0, 10));
    assert_eq!(retries("retries = 11").unwrap_err().to_string(), "retries: 11 is not from 0 to 10");
}

#[test]
fn doors_are_strict_unless_told_otherwise() {
    let deployment = check(&keys(), &[]).unwrap().deployment;
    assert!(!deployment.accepts_client_history && !deployment.elides_inline_images && !deployment.apis.live_responses);
    let lines = "client_history = \"accept\"\nelide_inline_images = true\nresponses_stream = \"live\"";
    let deployment = check(&format!("{}\n{lines}", keys()), &[]).unwrap().deployment;
    assert!(deployment.accepts_client_history && deployment.elides_inline_images && deployment.apis.live_responses);
    let lines = "client_history = \"refuse\"\nresponses_stream = \"hold\"";
    let deployment = check(&format!("{}\n{lines}", keys()), &[]).unwrap().deployment;
    assert!(!deployment.accepts_client_history && !deployment.apis.live_responses);
}

#[test]
fn limits_on_users_are_read_as_they_are_written() {
    let guard = |lines: &str| check(&format!("{}\n{lines}", keys()), &[]).unwrap().guard;
    assert_eq!(guard(""), Rules::default());
    for (lines, turns, seconds, burst) in [
        ("guard.rate = \"30/1m\"", 30, 60, 30),
        ("guard.rate = \" 5 / s \"", 5, 1, 5),
        ("guard.rate = \"1000/d\"", 1_000, 86_400, 1_000),
        ("guard = { rate = \"5/s\", burst = 20 }", 5, 1, 20),
        ("guard = { rate = \"1000000000/366d\", burst = 1 }", 1_000_000_000, 366 * 86_400, 1),
    ] {
        let rate = guard(lines).rate.unwrap();
        assert_eq!((rate.turns, rate.period.as_secs(), rate.burst), (turns, seconds, burst), "{lines}");
    }
    let lines = "limits.turns_per_user = 3\n[[guard.quota]]\nperiod = \"1h\"\nturns = 1\nconversations = 2\n\
        [[guard.quota]]\nperiod = \"1d\"\nmodel_tokens = 3\nhistory_bytes = 4\nupstream_seconds = 999999999999999";
    let Rules { max_concurrent_turns, rate, quotas, .. } = guard(lines);
    assert_eq!((max_concurrent_turns, rate, quotas.len()), (3, None, 2));
    assert_eq!((quotas[0].period_seconds, quotas[0].turns, quotas[0].conversations), (3_600, Some(1), Some(2)));
    assert_eq!((quotas[0].model_tokens, quotas[0].history_bytes, quotas[0].upstream_seconds), (None, None, None));
    assert_eq!((quotas[1].period_seconds, quotas[1].turns, quotas[1].model_tokens), (86_400, None, Some(3)));
    assert_eq!((quotas[1].history_bytes, quotas[1].upstream_seconds), (Some(4), Some(999_999_999_999_999)));
}

#[test]
fn limits_that_limit_nothing_or_everything_do_not_start() {
    let quota = |lines: &str| format!("[[guard.quota]]\n{lines}");
    let day = |lines: &str| quota(&format!("period = \"1d\"\n{lines}"));
    let nine = (1..=9).map(|hours| quota(&format!("period = \"{hours}h\"\nturns = 1\n"))).collect::<String>();
    for (lines, named) in [
        ("guard.rate = \"fast\"".to_owned(), "guard.rate: `fast` is no rate, such as 30/1m or 5/s"),
        ("guard.rate = \"5\"".to_owned(), "guard.rate: `5` is no rate"),
        ("guard.rate = \"-5/s\"".to_owned(), "guard.rate: `-5/s` is no rate"),
        ("guard.rate = \"5/\"".to_owned(), "guard.rate: `5/` is no rate"),
        ("guard.rate = \"5/0s\"".to_owned(), "guard.rate: `5/0s` is no rate"),
        ("guard.rate = \"5/1w\"".to_owned(), "guard.rate: `5/1w` is no rate"),
        ("guard.rate = \"0/s\"".to_owned(), "guard.rate: `0/s` is not from 1 to 1000000000 turns"),
        ("guard.rate = \"1000000001/s\"".to_owned(), "guard.rate: `1000000001/s` is not from 1 to"),
        ("guard.rate = \"5/1500ms\"".to_owned(), "guard.rate: `5/1500ms` is not for a period of whole seconds"),
        (
            "guard.rate = \"5/367d\"".to_owned(),
            "guard.rate: `5/367d` is not for a period of whole seconds, at most 366d",
        ),
        ("guard.burst = 5".to_owned(), "guard.burst: goes with guard.rate"),
        ("guard = { rate = \"5/s\", burst = 0 }".to_owned(), "guard.burst: 0 is not from 1 to 1000000000"),
        (quota("turns = 5"), "guard.quota.period: is whole seconds from 1s to 366d"),
        (quota("period = \"1500ms\"\nturns = 5"), "guard.quota.period: is whole seconds"),
        (quota("period = \"367d\"\nturns = 5"), "guard.quota.period: is whole seconds"),
        (day(""), "guard.quota: limits nothing; set turns"),
        (day("turns = 0"), "guard.quota: 0 is not from 1 to 999999999999999"),
        (day("turns = 1\nmodel_tokens = 1000000000000000"), "guard.quota: 1000000000000000 is not from 1"),
        (
            format!("{}\n{}", day("turns = 1"), quota("period = \"24h\"\nmodel_tokens = 1")),
            "guard.quota.period: the period of 86400 s",
        ),
        (nine, "guard.quota: there are more than 8"),
        ("guard.single_use = true".to_owned(), "guard.single_use: takes a store"),
        ("guard.live_conversations = 3".to_owned(), "guard.live_conversations: takes a store"),
        ("guard.timeout = \"1s\"".to_owned(), "guard.timeout: takes a store"),
        ("guard.lease_grace = \"1s\"".to_owned(), "guard.lease_grace: takes a store"),
        ("guard.dangerous_trust_empty_guard = true".to_owned(), "guard.dangerous_trust_empty_guard: takes a store"),
    ] {
        let fault = fault(&format!("{}\n{lines}", keys()), &[]);
        assert!(fault.starts_with(named), "{lines}: {fault}");
    }
}

#[test]
fn another_store_takes_a_restart_and_other_limits_do_not() {
    let fixed = |lines: &str| check(&format!("{}\n{lines}", keys()), &[]).unwrap().reload_snapshot();
    let store = |password: &str| fixed(&format!("guard.redis_url = \"redis://:{password}@store.test\""));
    let limits =
        "guard.rate = \"5/s\"\nlimits.turns_per_user = 1\nlimits.image_bytes = 7\nissuer = \"other\"\nttl = \"1h\"";
    assert!(
        fixed("").refused_changes(&fixed(limits)).is_empty() && fixed("").restart_changes(&fixed(limits)).is_empty()
    );
    assert!(store("secret").refused_changes(&store("secret")).is_empty());
    assert_eq!(store("secret").refused_changes(&store("other")), ["guard.redis_url"]);
    assert_eq!(fixed("").refused_changes(&store("secret")), ["guard.redis_url"]);
    let url = "guard.redis_url = \"redis://:secret@store.test\"";
    let renamed = fixed(&format!("{url}\nissuer = \"other\""));
    assert_eq!(store("secret").refused_changes(&renamed), ["issuer"]);
    let slower = fixed(&format!("{url}\nguard.timeout = \"1s\""));
    assert!(store("secret").refused_changes(&slower).is_empty());
    assert_eq!(store("secret").restart_changes(&slower), ["guard.timeout"]);
    assert!(!format!("{:?}", store("secret")).contains("secret"));
}

#[test]
fn a_store_wants_a_deployment_with_a_name_of_its_own() {
    let warnings = |lines: &str| check(&format!("{}\n{lines}", keys()), &[]).unwrap().warnings;
    let url = "guard.redis_url = \"redis://store.test\"";
    for issuer in ["", "issuer = \"holdall\""] {
        let found = warnings(&format!("{issuer}\n{url}"));
        assert!(found.len() == 1 && found[0].ends_with("name this one (issuer)"), "{found:?}");
    }
    assert!(warnings(&format!("issuer = \"shop\"\n{url}")).is_empty() && warnings("").is_empty());
}

#[test]
fn what_takes_a_restart_is_named_by_its_key() {
    let fixed = |lines: &str| check(&format!("{}\n{lines}", keys()), &[]).unwrap().reload_snapshot();
    for (line, named) in [
        ("listen = \"127.0.0.1:1\"", &["listen"][..]),
        ("dangerous_open = true", &["dangerous_open"]),
        ("cors_origins = [\"https://app.test\"]", &["cors_origins"]),
        ("retries = 0", &["retries"]),
        ("builtin_pace_ms = 1", &["builtin_pace_ms"]),
        ("limits.concurrent_requests = 9", &["limits.concurrent_requests", "limits.requests_per_peer"]),
        ("limits.requests_per_peer = 9", &["limits.requests_per_peer"]),
        ("limits.connections = 9", &["limits.connections", "limits.connections_per_peer"]),
        ("limits.connections_per_peer = 9", &["limits.connections_per_peer"]),
        ("limits.head_bytes = 9000", &["limits.head_bytes"]),
        ("timeouts.head = \"9s\"", &["timeouts.head"]),
        ("timeouts.body = \"9s\"", &["timeouts.body"]),
        ("timeouts.write = \"9s\"", &["timeouts.write"]),
        ("timeouts.connect = \"9s\"", &["timeouts.connect"]),
        ("timeouts.first_byte = \"9s\"", &["timeouts.first_byte"]),
        ("timeouts.idle = \"9s\"", &["timeouts.idle"]),
        ("timeouts.total = \"9s\"", &["timeouts.total"]),
        ("timeouts.heartbeat = \"9s\"", &["timeouts.heartbeat"]),
        ("timeouts.drain = \"9s\"", &["timeouts.drain"]),
        ("timeouts.issuer = \"9s\"", &["timeouts.issuer"]),
    ] {
        let (before, after) = (fixed(""), fixed(line));
        assert_eq!(
            (before.restart_changes(&after), before.refused_changes(&after)),
            (named.to_vec(), vec![]),
            "{line}"
        );
    }
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
