//! Tests of the tables `upstream` and `model`.

use super::*;
use crate::proto::{
    deployment::{ClientSystem, Model},
    turn::{Ceilings, Truncation},
};

/// One upstream of a kind with these additional lines, and a model with these.
pub(super) fn upstream(kind: &str, lines: &str, model_lines: &str) -> Result<Config, ConfigError> {
    let upstream = format!("[[upstream]]\nname = \"u\"\nkind = \"{kind}\"\n{lines}");
    let model = format!("[[model]]\nalias = \"a\"\nupstreams = [\"u\"]\nmodel = \"m\"\n{model_lines}");
    let text = format!("{}\n{upstream}\n{model}", keys());
    let variables = [("KEY", "k"), ("FILED", " k\r\n"), ("BLANK", "\n"), ("BROKEN", "k\nl")];
    RawConfig::parse(&text, toml::Table::new())?.check(&Fixture(variables.into()))
}

#[test]
fn the_key_of_an_upstream_is_printable_ascii() {
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
        let error = credential(key).unwrap_err().to_string();
        assert_eq!(error, "`upstream.api_key_env` of `own` names a key with characters that are not printable ASCII");
    }
}

#[test]
fn white_space_around_the_key_of_an_upstream_is_removed() {
    let of = |name: &str| upstream("openai", &format!("api_key_env = \"{name}\""), "");
    for name in ["KEY", "FILED"] {
        let (_, value) = of(name).unwrap().upstreams[0].credential().unwrap().unwrap();
        assert_eq!(value, "Bearer k", "{name}");
    }
    let error = of("BLANK").unwrap_err().to_string();
    assert_eq!(error, "`upstream.api_key_env` names the variable `BLANK`, which is not set");
    let error = of("BROKEN").unwrap().upstreams[0].credential().unwrap_err().to_string();
    assert_eq!(error, "`upstream.api_key_env` of `u` names a key with characters that are not printable ASCII");
}

#[test]
fn reasoning_belongs_to_a_provider_at_an_address() {
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
}

#[test]
fn a_provider_at_its_own_address_needs_a_key() {
    let error = upstream("openai-responses", "", "").unwrap_err().to_string();
    assert_eq!(
        error,
        "`upstream` needs a key for https://api.openai.com/v1; set HOLDALL_UPSTREAM_KEY, or `api_key_env` in the table"
    );
}

#[test]
fn an_unknown_kind_is_an_error() {
    let error = upstream("responses", "", "").unwrap_err().to_string();
    assert_eq!(
        error,
        "`upstream.kind` is `responses`; it must be `anthropic`, `builtin`, `openai` or `openai-responses`"
    );
}

#[test]
fn names_and_aliases_are_unique() {
    let error = error(&format!("{}\n{BUILTIN}", keys()), &[]);
    assert_eq!(error, "`upstream.name` is `builtin` in two tables; give each upstream its own name");
    let twice = upstream("builtin", "", "[[model]]\nalias = \"a\"\nupstreams = [\"u\"]\nmodel = \"m\"\n");
    assert_eq!(twice.unwrap_err().to_string(), "`model.alias` is `a` in two tables; give each model its own alias");
    let text = format!("{}\n[[upstream]]\nname = \"u\"\nkind = \"builtin\"\n", keys());
    let none = RawConfig::parse(&text, toml::Table::new()).unwrap().check(&Fixture(HashMap::new()));
    let rule = "`model` is not set; add a `[[model]]` table that names an upstream";
    assert_eq!(none.unwrap_err().to_string(), rule);
}

#[test]
fn an_alias_has_the_characters_of_model_names() {
    let with = |alias: &str| {
        upstream("builtin", "", &format!("[[model]]\nalias = \"{alias}\"\nupstreams = [\"u\"]\nmodel = \"m\""))
    };
    for alias in ["vendor/gpt-5:mini_1.0", "*", "b", &"b".repeat(256)] {
        assert!(with(alias).is_ok(), "{alias}");
    }
    for alias in ["", "a b", "**", "\u{e9}"] {
        let rule = "it must be 1 to 256 of A-Z a-z 0-9 / : . _ -, or `*`";
        assert_eq!(with(alias).unwrap_err().to_string(), format!("`model.alias` is `{alias}`; {rule}"));
    }
    assert!(with(&"b".repeat(257)).is_err());
}

#[test]
fn prompts_are_cached_and_conversations_not_truncated_by_default() {
    for (lines, model_lines, prompt_cache, truncation) in [
        ("", "", true, Truncation::Refuse),
        ("prompt_cache = false", "truncation = \"oldest\"", false, Truncation::Oldest),
        ("prompt_cache = true", "truncation = \"summarize\"", true, Truncation::Summarize),
    ] {
        let config = upstream("builtin", lines, model_lines).unwrap();
        let model = &config.deployment.models.as_slice()[0];
        assert_eq!((model.target.prompt_cache, model.truncation), (prompt_cache, truncation));
    }
    let error = upstream("builtin", "", "truncation = \"auto\"").unwrap_err().to_string();
    assert_eq!(error, "`model.truncation` is `auto`; it must be `refuse`, `oldest` or `summarize`");
}

/// Three upstreams, `a` to `c`, and a model with these targets.
fn targets(upstreams: &str) -> Result<Config, ConfigError> {
    let services = ["a", "b", "c"].map(|name| format!("[[upstream]]\nname = \"{name}\"\nkind = \"builtin\"\n"));
    let model = format!("[[model]]\nalias = \"m\"\nmodel = \"own\"\nupstreams = {upstreams}\n");
    check(&format!("{}\n{}{model}", keys(), services.concat()), &[])
}

#[test]
fn targets_keep_their_order_and_their_own_model_names() {
    let config =
        targets(r#"["b", { name = "a", model = "other" }, { name = "c" }, { name = "b", model = "more" }]"#).unwrap();
    let model = &config.deployment.models.as_slice()[0];
    let named: Vec<_> = model.targets().map(|target| (target.upstream.as_str(), target.name.as_str())).collect();
    assert_eq!(named, [("b", "own"), ("a", "other"), ("c", "own"), ("b", "more")]);
}

#[test]
fn an_error_names_the_target_and_the_rule() {
    let entry = "`model.upstreams` in the configuration, line 14: expected the name of an upstream, or \
                 { name = …, model = … }";
    for (upstreams, message) in [
        ("[]", "`model.upstreams` is empty for the alias `m`; name 1 to 8 upstreams"),
        (r#"["d"]"#, "`model.upstreams` names `d` for the alias `m`, but the upstreams are: a, b, c, builtin"),
        (r#"["a", "a"]"#, "`model.upstreams` names `a` twice for the alias `m`; remove one of them"),
        (
            r#"["a", { name = "a", model = "own" }]"#,
            "`model.upstreams` names `a` twice for the alias `m`; remove one of them",
        ),
        (
            r#"["a","a","a","a","a","a","a","a","a"]"#,
            "`model.upstreams` has 9 entries for the alias `m`; the maximum is 8",
        ),
        (r#"[{ name = "a", modle = "x" }]"#, entry),
        ("[5]", entry),
    ] {
        assert_eq!(targets(upstreams).unwrap_err().to_string(), message, "{upstreams}");
    }
}

#[test]
fn one_upstream_can_have_several_addresses() {
    let of = |lines: &str| upstream("openai", lines, "").map(|config| config.upstreams[0].clone());
    let two = of("base_urls = [\"http://one.test/v1/\", \"http://two.test/v1\"]").unwrap();
    assert_eq!(two.base_urls, ["http://one.test/v1", "http://two.test/v1"]);
    assert_eq!(two.provider_id, "openai@one.test");
    assert_eq!(of("base_url = \"http://one.test\"").unwrap().base_urls, ["http://one.test"]);
    assert_eq!(upstream("builtin", "", "").unwrap().upstreams[0].base_urls, [""]);
}

#[test]
fn an_error_names_the_address_and_the_rule() {
    let many: Vec<_> = (0..65).map(|number| format!("\"http://{number}.test\"")).collect();
    for (lines, message) in [
        ("base_urls = []".to_owned(), "`upstream.base_urls` has 0 addresses; it must have 1 to 64"),
        (format!("base_urls = [{}]", many.join(", ")), "`upstream.base_urls` has 65 addresses; it must have 1 to 64"),
        (
            "base_url = \"http://a.test\"\nbase_urls = [\"http://b.test\"]".to_owned(),
            "`upstream.base_urls` and `base_url` are both set; set only one of them",
        ),
        (
            "base_urls = [\"http://a.test\", \"http://a.test/\"]".to_owned(),
            "`upstream.base_urls` has `http://a.test` twice; remove one of them",
        ),
        (
            "api_key_env = \"KEY\"\nbase_urls = [\"https://api.openai.com/v1\", \"http://a.test\"]".to_owned(),
            "`upstream.base_urls` mixes the provider's own address https://api.openai.com/v1 with others; use a \
             separate `[[upstream]]`",
        ),
        (
            "base_urls = [\"http://a.test\", \"ftp://a.test\"]".to_owned(),
            "`upstream.base_url` is `ftp://a.test`; it must be an `http:` or `https:` URL without credentials and query",
        ),
        (
            "base_url = \"http://a.test/#b\"".to_owned(),
            "`upstream.base_url` is `…` (not shown: it may hold a secret); remove the fragment, which is never sent",
        ),
    ] {
        assert_eq!(upstream("openai", &lines, "").unwrap_err().to_string(), message);
    }
    let error = upstream("builtin", "base_urls = [\"http://a.test\"]", "").unwrap_err().to_string();
    assert_eq!(error, "`upstream.base_url` is set, but the kind `builtin` has no address; remove it");
}

#[test]
fn concurrent_calls_are_limited_on_request() {
    let of = |lines: &str| upstream("builtin", lines, "").map(|config| config.upstreams[0].concurrency);
    let wait = Duration::from_secs(10);
    assert_eq!(of("").unwrap(), None);
    assert_eq!(of("max_concurrency = 8").unwrap(), Some(Concurrency { calls: 8, queue: 32, wait }));
    assert_eq!(of("max_concurrency = 8\nqueue = 0").unwrap(), Some(Concurrency { calls: 8, queue: 0, wait }));
    let lines = format!("{}\n[timeouts]\nqueue = \"3s\"\n", keys());
    let limited = "[[upstream]]\nname = \"u\"\nkind = \"builtin\"\nmax_concurrency = 1\n";
    let config = check(&format!("{lines}{limited}"), &[]).unwrap();
    assert_eq!(config.upstreams[0].concurrency.unwrap().wait, Duration::from_secs(3));
    for (lines, message) in [
        ("max_concurrency = 0", "`upstream.max_concurrency` is 0; it must be from 1 to 65536"),
        ("max_concurrency = 65537", "`upstream.max_concurrency` is 65537; it must be from 1 to 65536"),
        ("max_concurrency = 1\nqueue = 262145", "`upstream.queue` is 262145; it must be from 0 to 262144"),
        ("queue = 5", "`upstream.queue` needs `upstream.max_concurrency`; set both"),
    ] {
        assert_eq!(of(lines).unwrap_err().to_string(), message);
    }
}

#[test]
fn an_alias_can_hide_the_words_of_upstreams() {
    let shows = |top: &str, own: &str| {
        let model = "[[model]]\nupstreams = [\"u\"]\nmodel = \"m\"\n";
        let head = format!("{}\n{top}\n[[upstream]]\nname = \"u\"\nkind = \"builtin\"\n", keys());
        let text = format!("{head}{model}alias = \"a\"\n{own}\n{model}alias = \"b\"");
        check(&text, &[]).map_err(|error| error.to_string()).map(|config| {
            let models = config.deployment.models.as_slice();
            (models[0].shows_upstream_words, models[1].shows_upstream_words)
        })
    };
    let (show, hide) = ("upstream_words = \"show\"", "upstream_words = \"hide\"");
    assert_eq!(shows("", ""), Ok((true, true)));
    assert_eq!(shows("", hide), Ok((false, true)));
    assert_eq!(shows(hide, show), Ok((true, false)));
    let fault = shows("", "upstream_words = \"cut\"").unwrap_err();
    assert_eq!(fault, "`model.upstream_words` is `cut`; it must be `show` or `hide`");
}

#[test]
fn an_alias_can_have_its_own_rules_for_clients() {
    let rules = |top: &str, own: &str| {
        let model = "[[model]]\nupstreams = [\"u\"]\nmodel = \"m\"\n";
        let head = format!("{}\n{top}\n[[upstream]]\nname = \"u\"\nkind = \"builtin\"\n", keys());
        let text = format!("{head}{model}alias = \"a\"\n{own}\n{model}alias = \"b\"");
        check(&text, &[]).map_err(|error| error.to_string()).map(|config| {
            let rules = |model: &Model| (model.accepts_client_history, model.client_system);
            config.deployment.models.as_slice()[..2].iter().map(rules).collect::<Vec<_>>()
        })
    };
    let (accept, append) = ("client_history = \"accept\"", "client_system = \"append\"");
    let strict = (false, ClientSystem::Refuse);
    assert_eq!(rules("", "").unwrap(), [strict, strict]);
    assert_eq!(rules("", accept).unwrap(), [(true, ClientSystem::Refuse), strict]);
    assert_eq!(rules("", append).unwrap(), [(false, ClientSystem::Append), strict]);
    let both = format!("{accept}\n{append}");
    let refuse_both = "client_history = \"refuse\"\nclient_system = \"refuse\"";
    assert_eq!(rules(&both, refuse_both).unwrap(), [strict, (true, ClientSystem::Append)]);
    for (top, own, error) in [
        ("", "client_history = \"trust\"", "`model.client_history` is `trust`; it must be `refuse` or `accept`"),
        ("", "client_system = \"accept\"", "`model.client_system` is `accept`; it must be `refuse` or `append`"),
        // The default is checked even if no alias uses it.
        ("client_history = \"x\"", accept, "`client_history` is `x`; it must be `refuse` or `accept`"),
    ] {
        assert_eq!(rules(top, own).unwrap_err(), error);
    }
}

#[test]
fn the_ceilings_of_an_alias_are_checked() {
    let with =
        |lines: &str| upstream("builtin", "", lines).map(|config| config.deployment.models.as_slice()[0].ceilings);
    let ceilings = |max_output_tokens, reasoning_effort| Ceilings { max_output_tokens, reasoning_effort };
    assert_eq!(with("").unwrap(), ceilings(None, None));
    assert_eq!(
        with("max_output_tokens_most = 1\nreasoning_effort_most = \"none\"").unwrap(),
        ceilings(Some(1), Some("none"))
    );
    assert_eq!(with("max_output_tokens_most = 9\nmax_output_tokens = 9").unwrap(), ceilings(Some(9), None));
    for (lines, fault) in [
        ("max_output_tokens_most = 0", "`model.max_output_tokens_most` is 0; the minimum is 1"),
        (
            "max_output_tokens_most = 9\nmax_output_tokens = 10",
            "`model.max_output_tokens_most` is 9 for the alias `a`, below its `max_output_tokens` (10)",
        ),
        (
            "reasoning_effort_most = \"huge\"",
            "`model.reasoning_effort_most` is `huge`; it must be `none`, `minimal`, `low`, `medium`, `high`, `xhigh`, `max` \
             or `ultra`",
        ),
    ] {
        assert_eq!(with(lines).unwrap_err().to_string(), fault);
    }
}

#[test]
fn a_key_in_the_place_of_a_name_is_never_quoted() {
    let secret = "sk-proj-4f9a1c7e2b8d4f9a1c7e2b8d";
    for lines in [
        format!("api_key_env = \"{secret}\""),
        format!("proxy_env = \"{secret}\""),
        format!("ca_file = \"{secret}\"\nbase_url = \"https://a.test\""),
        format!("base_url = \"{secret}\""),
        format!("base_url = \"https://ada:{secret}@a.test\""),
        format!("base_url = \"https://{secret}@a.test\""),
        format!("base_url = \"https://a.test/v1?key={secret}\""),
        format!("base_url = \"https://a.test/v1#{secret}\""),
        format!("base_urls = [\"https://a.test/{secret}\", \"https://a.test/{secret}\"]"),
        format!("base_urls = \"{secret}\""),
        format!("max_concurrency = \"{secret}\""),
        format!("prompt_cache = \"{secret}\""),
    ] {
        let error = upstream("openai", &lines, "").unwrap_err().to_string();
        assert!(!error.contains(secret) && !error.contains("4f9a1c7e"), "{error}");
    }
    let error = upstream("openai", &format!("api_key_env = \"{secret}\""), "").unwrap_err().to_string();
    assert_eq!(
        error,
        "`upstream.api_key_env` names a variable, which is not set; write the name of a variable, such as `MODEL_KEY`, \
         and not its value"
    );
}
