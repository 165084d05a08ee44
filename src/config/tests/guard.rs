//! Tests of the limits on users, and of the limits store.

use super::*;
use crate::guard::{Rate, Rules};

#[test]
fn limits_on_users_are_read_as_written() {
    let guard = |lines: &str| check(&format!("{}\n{lines}", keys()), &[]).unwrap().guard;
    let read_rate = |turns| Some(Rate { turns, period: Duration::from_secs(60), burst: turns });
    assert_eq!(guard(""), Rules { read_rate: read_rate(60), ..Rules::default() });
    assert_eq!(guard("guard.read_rate = \"7/1m\"").read_rate, read_rate(7));
    assert_eq!(guard("guard.read_rate = \"off\"").read_rate, None);
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

#[track_caller]
fn assert_error(lines: &str, message: &str) {
    let error = error(&format!("{}\n{lines}", keys()), &[]);
    assert!(error.starts_with(message), "{lines}: {error}");
}

#[test]
fn an_error_names_the_rate_and_the_rule() {
    for rate in ["fast", "5", "-5/s", "5/", "5/0s", "5/1w"] {
        let rule = "it must be turns per period, such as `30/1m` or `5/s`";
        assert_error(&format!("guard.rate = \"{rate}\""), &format!("`guard.rate` is `{rate}`; {rule}"));
    }
    for rate in ["0/s", "1000000001/s"] {
        let rule = "the turns must be from 1 to 1000000000";
        assert_error(&format!("guard.rate = \"{rate}\""), &format!("`guard.rate` is `{rate}`; {rule}"));
    }
    for rate in ["5/1500ms", "5/367d"] {
        let rule = "the period must be whole seconds, at most `366d`";
        assert_error(&format!("guard.rate = \"{rate}\""), &format!("`guard.rate` is `{rate}`; {rule}"));
    }
    for (rate, rule) in [
        ("on", "it must be reads per period, such as `30/1m` or `5/s`"),
        ("0/s", "the reads must be from 1 to 1000000000"),
        ("5/367d", "the period must be whole seconds, at most `366d`"),
    ] {
        assert_error(&format!("guard.read_rate = \"{rate}\""), &format!("`guard.read_rate` is `{rate}`; {rule}"));
    }
    assert_error("guard.burst = 5", "`guard.burst` needs `guard.rate`; set both");
    let burst = "guard = { rate = \"5/s\", burst = 0 }";
    assert_error(burst, "`guard.burst` is 0; it must be from 1 to 1000000000");
}

#[test]
fn an_error_names_the_quota_and_the_rule() {
    let quota = |lines: &str| format!("[[guard.quota]]\n{lines}");
    let day = |lines: &str| quota(&format!("period = \"1d\"\n{lines}"));
    let nine = (1..=9).map(|hours| quota(&format!("period = \"{hours}h\"\nturns = 1\n"))).collect::<String>();
    let period = |is: &str| format!("`guard.quota.period` {is}; it must be whole seconds from `1s` to `366d`");
    assert_error(&quota("turns = 5"), &period("is not set"));
    assert_error(&quota("period = \"1500ms\"\nturns = 5"), &period("is 1500 ms"));
    assert_error(&quota("period = \"367d\"\nturns = 5"), &period("is 31708800000 ms"));
    assert_error(&day(""), "`guard.quota` has a table without a limit; set `turns`");
    assert_error(&day("turns = 0"), "`guard.quota.turns` is 0; it must be from 1 to 999999999999999");
    assert_error(
        &day("turns = 1\nmodel_tokens = 1000000000000000"),
        "`guard.quota.model_tokens` is 1000000000000000; it must be from 1 to 999999999999999",
    );
    assert_error(
        &format!("{}\n{}", day("turns = 1"), quota("period = \"24h\"\nmodel_tokens = 1")),
        "`guard.quota.period` is 86400 s in two tables; join the tables",
    );
    assert_error(&nine, "`guard.quota` has 9 tables; the maximum is 8");
}

#[test]
fn settings_of_a_store_need_a_store() {
    for (key, value) in [
        ("single_use", "true"),
        ("revocation", "true"),
        ("live_conversations", "3"),
        ("timeout", "\"1s\""),
        ("lease_grace", "\"1s\""),
        ("dangerous_trust_empty_guard", "true"),
    ] {
        let rule = "needs a store that all instances share; set `guard.redis_url` (HOLDALL_REDIS_URL)";
        assert_error(&format!("guard.{key} = {value}"), &format!("`guard.{key}` {rule}"));
    }
    for line in ["single_use = false", "revocation = false", "dangerous_trust_empty_guard = false"] {
        assert!(check(&format!("{}\nguard.{line}", keys()), &[]).is_ok(), "{line}");
    }
}

#[test]
fn live_conversations_need_revocation() {
    let with = |lines: &str| format!("guard = {{ redis_url = \"redis://store.test\", {lines} }}");
    assert_error(
        &with("live_conversations = 3, revocation = false"),
        "`guard.live_conversations` revokes conversations, but `guard.revocation` is `false`; set only one of them",
    );
    assert_error(&with("live_conversations = 0"), "`guard.live_conversations` is 0; the minimum is 1");
    assert!(check(&format!("{}\n{}", keys(), with("live_conversations = 1")), &[]).unwrap().guard.revocation);
}

#[test]
fn a_store_is_one_server() {
    let with = |url: &str| format!("guard.redis_url = \"{url}\"");
    for url in ["redis://a", "REDISS://a", "valkey://a", "valkeys://a"] {
        assert!(check(&format!("{}\n{}", keys(), with(url)), &[]).is_ok(), "{url}");
    }
    for (url, message) in [
        ("redis-cluster://:hush@a", "`guard.redis_url` names a Redis Cluster, which is not supported: "),
        ("redis+sentinel://:hush@a", "`guard.redis_url` names a Redis Sentinel, which is not supported; "),
        ("unix:///hush", "`guard.redis_url` names a Unix socket, which is not supported; "),
        ("http://:hush@a", "`guard.redis_url` is not a `redis://` or `rediss://` URL"),
    ] {
        assert_error(&with(url), message);
        assert!(!error(&format!("{}\n{}", keys(), with(url)), &[]).contains("hush"), "{url}");
    }
}

#[test]
fn a_store_with_the_default_issuer_is_a_warning() {
    let warnings = |lines: &str| check(&format!("{}\n{lines}", keys()), &[]).unwrap().warnings;
    let url = "guard.redis_url = \"redis://store.test\"";
    for issuer in ["", "issuer = \"holdall\""] {
        let found = warnings(&format!("{issuer}\n{url}"));
        assert!(found.len() == 1 && found[0].ends_with("give each deployment its own `issuer`"), "{found:?}");
    }
    assert!(warnings(&format!("issuer = \"shop\"\n{url}")).is_empty() && warnings("").is_empty());
}
