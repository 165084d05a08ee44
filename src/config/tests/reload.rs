//! Tests of the changes that a reload rejects, and of those that take effect at a restart.

use super::{upstreams::upstream, *};

fn snapshot(lines: &str) -> ReloadSnapshot {
    check(&format!("{}\n{lines}", keys()), &[]).unwrap().reload_snapshot()
}

#[test]
fn a_change_that_needs_a_restart_is_named() {
    for (line, named) in [
        ("listen = \"127.0.0.1:1\"", &["listen"][..]),
        ("dangerous_open = true", &["dangerous_open"]),
        ("cors_origins = [\"https://app.test\"]", &["cors_origins"]),
        ("lambda_response = \"stream\"", &["lambda_response"]),
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
        ("timeouts.lame_duck = \"9s\"", &["timeouts.lame_duck"]),
        ("timeouts.drain = \"9s\"", &["timeouts.drain"]),
        ("timeouts.issuer = \"9s\"", &["timeouts.issuer"]),
    ] {
        let (old, new) = (snapshot(""), snapshot(line));
        assert_eq!((old.restart_changes(&new), old.refused_changes(&new)), (named.to_vec(), vec![]), "{line}");
    }
}

#[test]
fn another_store_is_rejected() {
    let store = |password: &str| snapshot(&format!("guard.redis_url = \"redis://:{password}@store.test\""));
    assert!(store("secret").refused_changes(&store("secret")).is_empty());
    assert_eq!(store("secret").refused_changes(&store("other")), ["guard.redis_url"]);
    assert_eq!(snapshot("").refused_changes(&store("secret")), ["guard.redis_url"]);
    assert!(!format!("{:?}", store("secret")).contains("secret"));
}

#[test]
fn another_issuer_is_rejected_only_with_a_store() {
    let url = "guard.redis_url = \"redis://:secret@store.test\"";
    let renamed = "issuer = \"other\"";
    assert_eq!(snapshot(url).refused_changes(&snapshot(&format!("{url}\n{renamed}"))), ["issuer"]);
    assert!(snapshot("").refused_changes(&snapshot(renamed)).is_empty());
    assert!(snapshot("").restart_changes(&snapshot(renamed)).is_empty());
}

#[test]
fn a_timeout_of_the_store_needs_a_restart() {
    let url = "guard.redis_url = \"redis://:secret@store.test\"";
    for key in ["guard.timeout", "guard.lease_grace"] {
        let slower = snapshot(&format!("{url}\n{key} = \"1s\""));
        assert!(snapshot(url).refused_changes(&slower).is_empty());
        assert_eq!(snapshot(url).restart_changes(&slower), [key]);
    }
}

#[test]
fn limits_on_users_and_of_tokens_are_applied() {
    let limits = "guard.rate = \"5/s\"\nlimits.turns_per_user = 1\nlimits.image_bytes = 7\nttl = \"1h\"";
    let (old, new) = (snapshot(""), snapshot(limits));
    assert!(old.refused_changes(&new).is_empty() && old.restart_changes(&new).is_empty());
}

#[test]
fn another_upstream_is_rejected() {
    let snapshot = |kind, lines| upstream(kind, lines, "").unwrap().reload_snapshot();
    let url = "base_url = \"http://one.test\"";
    for (kind, old, new) in [
        ("builtin", "max_concurrency = 8", "max_concurrency = 9"),
        ("builtin", "max_concurrency = 8", "max_concurrency = 8\nqueue = 1"),
        ("openai", url, "base_url = \"http://two.test\""),
        ("openai", url, "base_url = \"http://one.test\"\napi_key_env = \"KEY\""),
    ] {
        assert_eq!(snapshot(kind, old).refused_changes(&snapshot(kind, new)), ["upstream"], "{new}");
    }
}

#[test]
fn another_key_of_an_upstream_needs_a_restart() {
    let snapshot = |key: &str| {
        let lines = format!("base_url = \"http://one.test\"\napi_key_env = \"{key}\"");
        upstream("openai", &lines, "").unwrap().reload_snapshot()
    };
    assert_eq!(snapshot("KEY").restart_changes(&snapshot("BROKEN")), ["upstream.api_key_env"]);
    assert!(snapshot("KEY").restart_changes(&snapshot("FILED")).is_empty());
}

#[test]
fn prompt_cache_is_applied() {
    let config = |lines| upstream("anthropic", &format!("base_url = \"http://one.test\"\n{lines}"), "").unwrap();
    let (old, new) = (config("prompt_cache = true"), config("prompt_cache = false"));
    let caches = |config: &Config| config.deployment.models.as_slice()[0].target.prompt_cache;
    assert_eq!((caches(&old), caches(&new)), (true, false));
    let (old, new) = (old.reload_snapshot(), new.reload_snapshot());
    assert!(old.refused_changes(&new).is_empty() && old.restart_changes(&new).is_empty());
}
