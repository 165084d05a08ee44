//! Tests of the profiles of upstreams, and of their table in docs/compatibility.md.

use std::fs;

use super::upstreams::upstream;
use crate::{
    config::ProfileSource,
    proto::provider::{CallIds, PROFILES, Profile, Seed, ServiceState, TokenLimit},
};

/// The profile of an upstream with these lines, and how it was chosen.
fn chosen(lines: &str) -> (Profile, ProfileSource, Vec<&'static str>) {
    let config = upstream("openai", lines, "").unwrap();
    let upstream = &config.upstreams[0];
    assert_eq!(config.deployment.models.as_slice()[0].target.profile, upstream.profile);
    (upstream.profile, upstream.profile_choice.by, upstream.profile_choice.overrides.clone())
}

#[test]
fn the_host_or_a_setting_chooses_the_profile() {
    for (lines, name, by) in [
        ("base_url = \"https://api.mistral.ai/v1\"", "mistral", ProfileSource::Host),
        ("base_url = \"http://127.0.0.1:8000/v1\"", "compatible", ProfileSource::Default),
        ("base_url = \"http://127.0.0.1:8000/v1\"\nprofile = \"vllm\"", "vllm", ProfileSource::Setting),
        ("base_url = \"https://api.mistral.ai/v1\"\nprofile = \"compatible\"", "compatible", ProfileSource::Setting),
        ("base_url = \"http://gateway.test\"\nprofile = \"kimi\"", "moonshot", ProfileSource::Setting),
        ("base_url = \"http://gateway.test\"\nprofile = \"Kimi\"", "moonshot", ProfileSource::Setting),
        ("base_url = \"http://gateway.test\"\nprofile = \"Moonshot\"", "moonshot", ProfileSource::Setting),
        ("api_key_env = \"KEY\"", "openai", ProfileSource::Host),
    ] {
        let (profile, source, overrides) = chosen(lines);
        assert_eq!((profile.name, source, overrides), (name, by, vec![]), "{lines}");
    }
}

#[test]
fn single_keys_override_members_of_the_profile() {
    let lines = "base_url = \"http://gateway.test\"\ntoken_limit = \"max_completion_tokens\"\nstream_options = false\n\
                 seed = \"random_seed\"\ntext_lists = true\nempty_messages = true\ncall_ids = \"nine_letters\"\n\
                 service_state = \"tool_loop\"\nopaque_members = [\"seal\", \"extra_content\", \"seal\"]";
    let (profile, _, overrides) = chosen(lines);
    let expected = Profile {
        token_limit: TokenLimit::MaxCompletionTokens,
        stream_options: false,
        seed: Seed::RandomSeed,
        text_lists: true,
        empty_messages: true,
        call_ids: CallIds::NineLetters,
        service_state: ServiceState::ToolLoop,
        call_members: &["extra_content", "provider_specific_fields", "signature", "thought_signature", "seal"],
        message_members: &[
            "content",
            "extra_content",
            "provider_specific_fields",
            "reasoning_details",
            "thinking_blocks",
            "seal",
        ],
        ..Profile::by_name("compatible").unwrap()
    };
    assert_eq!(profile, expected);
    let keys = [
        "token_limit",
        "stream_options",
        "seed",
        "text_lists",
        "empty_messages",
        "call_ids",
        "service_state",
        "opaque_members",
    ];
    assert_eq!(overrides, keys);
    // The same names are the same list, so that reloads need no memory.
    assert!(std::ptr::eq(profile.call_members, chosen(lines).0.call_members));
}

#[test]
fn an_unknown_value_is_refused_with_the_list() {
    for (line, error) in [
        ("token_limit = \"n\"", "`upstream.token_limit` is `n`; it must be `max_completion_tokens` or `max_tokens`"),
        ("seed = \"s\"", "`upstream.seed` is `s`; it must be `none`, `random_seed` or `seed`"),
        ("call_ids = \"c\"", "`upstream.call_ids` is `c`; it must be `as_given`, `nine_letters` or `plain`"),
        ("service_state = \"\"", "`upstream.service_state` is ``; it must be `always`, `never` or `tool_loop`"),
    ] {
        let found = upstream("openai", &format!("base_url = \"http://a.test\"\n{line}"), "").unwrap_err();
        assert_eq!(found.to_string(), error);
    }
    let long = format!("[\"{}\"]", "a".repeat(65));
    let many = format!("[{}]", (0..17).map(|name| format!("\"m{name}\"")).collect::<Vec<_>>().join(","));
    for (names, error) in [
        ("[]", "has 0 names; it must have 1 to 16"),
        (&many, "has 17 names; it must have 1 to 16"),
        ("[\"a b\"]", "has `a b`; a name must have 1 to 64 characters of `A-Z a-z 0-9 _ - .`"),
        ("[\"\"]", "has ``; a name must have 1 to 64 characters of `A-Z a-z 0-9 _ - .`"),
        (&long, "a name must have 1 to 64 characters"),
        ("[\"seal\", \"content\"]", "has `content`, a member of the format itself"),
        ("[\"tool_calls\"]", "has `tool_calls`, a member of the format itself"),
    ] {
        let lines = format!("base_url = \"http://a.test\"\nopaque_members = {names}");
        let found = upstream("openai", &lines, "").unwrap_err().to_string();
        assert!(found.starts_with("`upstream.opaque_members` ") && found.contains(error), "{found}");
    }
    let found = upstream("openai", "base_url = \"http://a.test\"\nprofile = \"Kimmy\"", "").unwrap_err().to_string();
    assert!(found.starts_with("`upstream.profile` is `Kimmy`; it must be `compatible`, `anthropic`,"), "{found}");
    let names = PROFILES.iter().flat_map(|profile| [&[profile.name], profile.other_names].concat());
    for name in names {
        assert!(found.contains(&format!("`{name}`")), "{name}: {found}");
    }
}

#[test]
fn a_key_for_the_chat_format_is_refused_at_other_kinds() {
    for line in [
        "token_limit = \"max_tokens\"",
        "stream_options = false",
        "seed = \"none\"",
        "text_lists = true",
        "empty_messages = true",
        "call_ids = \"plain\"",
        "service_state = \"never\"",
        "opaque_members = [\"seal\"]",
    ] {
        let key = line.split(' ').next().unwrap();
        for kind in ["anthropic", "openai-responses"] {
            let error = upstream(kind, &format!("base_url = \"http://a.test\"\n{line}"), "").unwrap_err().to_string();
            let words = "which has no effect at the kind";
            let expected =
                format!("`upstream` of `u` sets `{key}`, {words} `{kind}`; remove it, or use the kind `openai`");
            assert_eq!(error, expected);
        }
        assert!(upstream("builtin", line, "").is_err(), "{line}");
        assert!(upstream("openai", &format!("base_url = \"http://a.test\"\n{line}"), "").is_ok(), "{line}");
    }
}

const PAGE: &str = include_str!("../../../docs/compatibility.md");

#[test]
fn the_page_shows_the_table_of_profiles() {
    let (_, kept, _) = parts(PAGE);
    assert!(
        kept == table(),
        "the table of services in docs/compatibility.md is not that of src/proto/provider/profile/table.rs; renew it:\n    \
         cargo test --lib config::tests::profiles::renew -- --ignored"
    );
}

#[test]
#[ignore = "writes docs/compatibility.md"]
fn renew() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/compatibility.md");
    let page = fs::read_to_string(path).unwrap();
    let (before, _, after) = parts(&page);
    fs::write(path, format!("{before}{}{after}", table())).unwrap();
}

/// The page before the table, the table, and the page after it.
fn parts(page: &str) -> (&str, &str, &str) {
    let start = "<!-- services -->\n";
    let (before, rest) = page.split_at(page.find(start).unwrap() + start.len());
    let (table, after) = rest.split_at(rest.find("<!-- /services -->").unwrap());
    (before, table, after)
}

fn table() -> String {
    let head = "| `profile` | hosts | `token_limit` | `stream_options` | `seed` | `text_lists` | `empty_messages` | `call_ids` | \
                sent back on calls | sent back on messages | on messages with calls |\n|---|---|---|---|---|---|---|---|---|---|---|\n";
    head.to_owned() + &PROFILES.iter().map(row).collect::<String>()
}

fn row(profile: &Profile) -> String {
    let list = |names: &[&str]| names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    let yes = |value: bool| if value { "yes" } else { "no" };
    let names = list(&[&[profile.name], profile.other_names].concat());
    let required = profile.required_with_calls.map_or("", |_| " (required)");
    let cells = [
        names,
        list(profile.hosts),
        format!("`{}`", profile.token_limit.as_str()),
        yes(profile.stream_options).to_owned(),
        format!("`{}`", profile.seed.as_str()),
        yes(profile.text_lists).to_owned(),
        yes(profile.empty_messages).to_owned(),
        format!("`{}`", profile.call_ids.as_str()),
        list(profile.call_members),
        list(profile.message_members) + required,
        list(profile.message_members_with_calls),
    ];
    format!("| {} |\n", cells.join(" | ")).replace("|  |", "| |").replace("|  |", "| |")
}
