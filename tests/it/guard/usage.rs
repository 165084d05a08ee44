//! `GET /v1/usage`: the allowances of a caller, and the users that a caller may ask about.

use std::net::IpAddr;

use bytes::Bytes;
use holdall::principal::Peer;
use http::{Method, Request, StatusCode};
use http_body_util::Full;
use serde_json::{Value, json};

use crate::support::{answer::Answer, config, guard::RecordingGuard, hand::Hand};

const LIMITS: &str = "[guard]\nrate = \"30/1m\"\nburst = 5\n\
    [[guard.quota]]\nperiod = \"1d\"\nturns = 10\nconversations = 3\nmodel_tokens = 100\nhistory_bytes = 1000\n\
    upstream_seconds = 9\n";

fn request(hand: &Hand, method: Method, path: &str, peer: Option<&str>) -> Answer {
    let mut head = Request::builder().method(method).uri(path).header("host", "localhost");
    if let Some(peer) = peer {
        head = head.extension(Peer(peer.parse::<IpAddr>().unwrap()));
    }
    hand.ask(head.body(Full::<Bytes>::default()).unwrap()).answer()
}

fn usage(hand: &Hand, path: &str) -> Value {
    request(hand, Method::GET, path, None).json()
}

/// The remaining amount of each limit, by name.
fn remaining(usage: &Value) -> Vec<(String, u64)> {
    let limits = usage["limits"].as_array().unwrap().iter();
    limits.map(|limit| (limit["name"].as_str().unwrap().to_owned(), limit["remaining"].as_u64().unwrap())).collect()
}

#[test]
fn usage_shows_what_each_limit_has_left() {
    let hand = Hand::new(LIMITS);
    hand.clock.advance_seconds(5);
    let mut pending = hand.turn(&json!({ "input": "hi", "user_id": "ada" }));
    pending.wait();
    hand.clock.advance(std::time::Duration::from_millis(1_500));
    hand.upstream.call().reply("hello");
    let history_bytes = pending.answer().json()["conversation"]["history_bytes"].as_u64().unwrap();
    let answer = request(&hand, Method::GET, "/v1/usage?user_id=ada", None);
    let entry = |name: &str, limit: u64, used: u64, period: u64, resets_at: &str| {
        json!({ "name": name, "limit": limit, "remaining": limit - used, "used": used, "period_seconds": period,
            "resets_at": resets_at })
    };
    let (body, day) = (answer.json(), "2026-11-19T00:00:00Z");
    assert_eq!(
        body,
        json!({
            "user_id": "ada",
            "limits": [
                entry("rate", 5, 1, 10, "2026-11-18T11:06:47Z"),
                entry("turns", 10, 1, 86_400, day),
                entry("conversations", 3, 1, 86_400, day),
                entry("model_tokens", 100, 5, 86_400, day),
                entry("history_bytes", 1_000, history_bytes, 86_400, day),
                entry("upstream_seconds", 9, 1, 86_400, day),
                entry("read_rate", 60, 0, 60, "2026-11-18T11:06:46Z"),
            ],
            "turns_at_once": 8,
        })
    );
    let headers = ["ratelimit-policy", "ratelimit"].map(|name| answer.header(name).to_owned());
    assert!(headers[0].starts_with("\"rate-10\";q=5;w=10, \"turns-86400\";q=10;w=86400, "), "{headers:?}");
    assert!(headers[1].starts_with("\"rate-10\";r=4;t=1, \"turns-86400\";r=9;t="), "{headers:?}");
    // The request consumes nothing, and another user has the full limits.
    assert_eq!(usage(&hand, "/v1/usage?user_id=ada"), body);
    assert_eq!(remaining(&usage(&hand, "/v1/usage?user_id=bob"))[1], ("turns".to_owned(), 10));
}

#[test]
fn without_limits_usage_shows_only_the_concurrent_turns() {
    let hand = Hand::new("limits.turns_per_user = 3\nguard.read_rate = \"off\"");
    let answer = request(&hand, Method::GET, "/v1/usage?user_id=ada", None);
    assert_eq!(answer.json(), json!({ "user_id": "ada", "limits": [], "turns_at_once": 3 }));
    assert_eq!((answer.header("ratelimit"), answer.header("ratelimit-policy")), ("", ""));
}

#[test]
fn names_are_percent_decoded_and_anonymous_callers_count_by_address() {
    let hand = Hand::new(LIMITS);
    hand.whole_turn(&json!({ "input": "hi", "user_id": "ada l@e.test" }), "hello");
    let usage = usage(&hand, "/v1/usage?user_id=ada%20l%40e.test");
    assert_eq!((&usage["user_id"], &remaining(&usage)[1]), (&json!("ada l@e.test"), &("turns".to_owned(), 9)));

    let turn = crate::support::hand::post("/v1/turns").extension(Peer("192.0.2.7".parse().unwrap()));
    let mut pending = hand.ask(turn.body(Full::<Bytes>::from("{\"input\":\"hi\"}")).unwrap());
    pending.wait();
    hand.upstream.call().reply("hello");
    pending.answer().json();
    for (peer, turns) in [(Some("192.0.2.7"), 9), (Some("::ffff:192.0.2.7"), 9), (Some("192.0.2.8"), 10), (None, 10)] {
        let usage = request(&hand, Method::GET, "/v1/usage", peer).json();
        assert_eq!(
            (&usage["user_id"], &remaining(&usage)[1]),
            (&Value::Null, &("turns".to_owned(), turns)),
            "{peer:?}"
        );
    }
    // A named user counts by name, from every address.
    let usage = request(&hand, Method::GET, "/v1/usage?user_id=bob", Some("192.0.2.7")).json();
    assert_eq!(remaining(&usage)[1].1, 10);
}

#[test]
fn invalid_user_ids_are_refused() {
    let hand = Hand::new(LIMITS);
    for (query, detail) in [
        ("user_id=", "subject is empty"),
        ("user_id=a&user_id=b", "more than once"),
        ("user_id=%ff", "percent-encoding"),
        ("user_id=anon-00000000000000000000000000000001", "which marks anonymous callers"),
    ] {
        let answer = request(&hand, Method::GET, &format!("/v1/usage?{query}"), None);
        assert_eq!(answer.status, StatusCode::BAD_REQUEST);
        let problem = answer.problem("request_invalid");
        assert!(problem["detail"].as_str().unwrap().contains(detail), "{problem:?}");
    }
}

#[test]
fn usage_is_read_only() {
    let hand = Hand::new(LIMITS);
    assert_eq!(request(&hand, Method::HEAD, "/v1/usage", None).status, StatusCode::OK);
    for method in [Method::POST, Method::DELETE, Method::PUT] {
        let answer = request(&hand, method, "/v1/usage", None);
        assert_eq!((answer.status, answer.header("allow")), (StatusCode::METHOD_NOT_ALLOWED, "GET, HEAD"));
        answer.problem("method_not_allowed");
    }
    for path in ["/v1/usage/", "/v1/usage/ada", "/v1/usages"] {
        assert_eq!(request(&hand, Method::GET, path, None).status, StatusCode::NOT_FOUND);
    }
}

#[test]
fn usage_shows_the_allowances_of_the_guard() {
    let hand = Hand::guarded(config(""), RecordingGuard::default());
    let usage = hand.get("/v1/usage?user_id=ada").answer().json();
    let entry = json!({ "name": "turns", "limit": 5, "remaining": 4, "used": 1, "period_seconds": 60,
        "resets_at": usage["limits"][0]["resets_at"] });
    assert_eq!(usage, json!({ "user_id": "ada", "limits": [entry], "turns_at_once": 5 }));
}
