//! The limits of a user, each below, at and above its value, and their responses in every API.

use std::time::Duration;

use bytes::Bytes;
use holdall::principal::Peer;
use http::StatusCode;
use http_body_util::Full;
use serde_json::{Value, json};

use crate::support::{
    answer::Answer,
    config,
    events::events,
    hand::{Hand, PendingCall, post},
    upstream,
};

/// The seconds from the start of the test clock to the end of the day.
const TO_MIDNIGHT: u64 = 46_400;

fn quota(limits: &str) -> Hand {
    Hand::new(&format!("[[guard.quota]]\nperiod = \"1d\"\n{limits}"))
}

fn start(hand: &Hand, user: &str) -> PendingCall {
    hand.turn(&json!({ "input": "hi", "user_id": user }))
}

/// A complete turn.
#[track_caller]
fn turn(hand: &Hand, user: &str) -> Answer {
    let mut pending = start(hand, user);
    pending.wait();
    hand.upstream.call().reply("hello");
    let answer = pending.answer();
    answer.json();
    answer
}

/// A turn that is refused. Returns the seconds after which to retry.
#[track_caller]
fn refused(hand: &Hand, user: &str, code: &str) -> u64 {
    let answer = start(hand, user).answer();
    assert_eq!(answer.status, StatusCode::TOO_MANY_REQUESTS);
    assert!(!hand.upstream.is_called());
    answer.problem(code)["retry_after_seconds"].as_u64().unwrap()
}

#[test]
fn turns_are_admitted_up_to_the_rate() {
    let hand = Hand::new("guard = { rate = \"6/1m\", burst = 2 }");
    assert_eq!(turn(&hand, "ada").header("ratelimit"), "\"rate-20\";r=1;t=10");
    assert_eq!(turn(&hand, "ada").header("ratelimit"), "\"rate-20\";r=0;t=20");
    assert_eq!(refused(&hand, "ada", "rate_limited"), 10);
    turn(&hand, "bob");
    hand.clock.advance(Duration::from_millis(9_999));
    assert_eq!(refused(&hand, "ada", "rate_limited"), 1);
    hand.clock.advance(Duration::from_millis(1));
    turn(&hand, "ada");
    assert_eq!(refused(&hand, "ada", "rate_limited"), 10);
}

#[test]
fn each_period_has_its_quota_of_turns() {
    let hand = quota("turns = 2");
    for period in [TO_MIDNIGHT, 86_400] {
        for left in [1, 0] {
            let headers = turn(&hand, "ada").header("ratelimit").to_owned();
            assert!(headers.starts_with(&format!("\"turns-86400\";r={left};t=")), "{headers}");
        }
        assert_eq!(refused(&hand, "ada", "quota_exceeded"), period);
        turn(&hand, "bob");
        hand.clock.advance_seconds(period - 1);
        assert_eq!(refused(&hand, "ada", "quota_exceeded"), 1);
        hand.clock.advance_seconds(1);
    }
}

#[test]
fn a_quota_of_conversations_does_not_limit_their_length() {
    let hand = quota("conversations = 1");
    let mut body = turn(&hand, "ada").json();
    for _ in 0..5 {
        assert_eq!(refused(&hand, "ada", "quota_exceeded"), TO_MIDNIGHT);
        body = hand.whole_turn(&json!({ "input": "and?", "user_id": "ada", "token": body["token"] }), "well");
    }
    hand.clock.advance_seconds(TO_MIDNIGHT);
    turn(&hand, "ada");
}

#[test]
fn the_usage_of_turns_counts_for_the_next_turns() {
    // Each turn uses 5 model tokens, 108 bytes of history and 2 seconds.
    for (limit, per_turn) in [("model_tokens", 5), ("history_bytes", 108), ("upstream_seconds", 2)] {
        for (quantity, turns) in [(per_turn * 2 - 1, 2), (per_turn * 2, 2), (per_turn * 2 + 1, 3)] {
            let hand = quota(&format!("{limit} = {quantity}"));
            for _ in 0..turns {
                let mut pending = start(&hand, "ada");
                pending.wait();
                hand.clock.advance_seconds(2);
                hand.upstream.call().reply("hello");
                assert_eq!(pending.answer().json()["conversation"]["history_bytes"], 108);
            }
            assert_eq!(refused(&hand, "ada", "quota_exceeded"), TO_MIDNIGHT - 2 * turns);
            turn(&hand, "bob");
            hand.clock.advance_seconds(TO_MIDNIGHT - 2 * turns);
            turn(&hand, "ada");
        }
    }
}

#[test]
fn a_failed_turn_is_refunded_and_the_rate_is_not() {
    let hand = Hand::new("[guard]\nrate = \"3/1h\"\n[[guard.quota]]\nperiod = \"1d\"\nturns = 1\nconversations = 1");
    for left in ["2", "1"] {
        let mut pending = start(&hand, "ada");
        pending.wait();
        hand.upstream.call().head(503, &[]);
        assert_eq!(pending.answer().status, StatusCode::BAD_GATEWAY);
        let usage = hand.get("/v1/usage?user_id=ada").answer();
        let rate = format!("\"rate-3600\";r={left};t=");
        assert!(usage.header("ratelimit").starts_with(&rate), "{}", usage.header("ratelimit"));
        assert!(usage.header("ratelimit").contains("\"turns-86400\";r=1;t="));
    }
    turn(&hand, "ada");
    // Both limits are exceeded now. The wait for the next day is longer than the wait of the rate.
    assert_eq!(refused(&hand, "ada", "quota_exceeded"), TO_MIDNIGHT);
}

#[test]
fn an_interrupted_reply_counts_and_so_does_a_turn_whose_client_left() {
    for leaves in [false, true] {
        let hand = quota("turns = 1\nmodel_tokens = 1000");
        let body = json!({ "input": "hi", "user_id": "ada", "stream": true });
        let mut pending = hand.turn(&body);
        pending.wait();
        let mut call = hand.upstream.call();
        call.stream();
        call.say(&"word ".repeat(80));
        let mut incoming = pending.head();
        incoming.text();
        if leaves {
            drop(incoming);
        } else {
            call.break_off();
            incoming.rest();
        }
        let usage = hand.get("/v1/usage?user_id=ada").answer().json();
        let used = |at: usize| usage["limits"][at]["used"].as_u64().unwrap();
        assert!(used(0) == 1 && (100..150).contains(&used(1)), "{usage}");
        refused(&hand, "ada", "quota_exceeded");
    }
}

#[test]
fn a_client_that_leaves_before_any_output_has_used_a_turn() {
    let hand = quota("turns = 2\nmodel_tokens = 1000");
    for streamed in [false, true] {
        let mut pending = hand.turn(&json!({ "input": "hi", "user_id": "ada", "stream": streamed }));
        pending.wait();
        let call = hand.upstream.call();
        drop((pending, call));
    }
    let usage = hand.get("/v1/usage?user_id=ada").answer().json();
    assert!(usage["limits"][0]["used"] == 2 && usage["limits"][1]["used"].as_u64() > Some(0), "{usage}");
    refused(&hand, "ada", "quota_exceeded");
}

#[test]
fn anonymous_callers_count_by_address() {
    let hand = quota("turns = 1");
    let ask = |peer: &str| {
        let request = post("/v1/turns").extension(Peer(peer.parse().unwrap()));
        hand.ask(request.body(Full::<Bytes>::from("{\"input\":\"hi\"}")).unwrap())
    };
    for peer in ["192.0.2.7", "192.0.2.8", "2001:db8:1:2::1", "2001:db8:1:3::1"] {
        let mut pending = ask(peer);
        pending.wait();
        hand.upstream.call().reply("hello");
        pending.answer().json();
    }
    for peer in ["192.0.2.7", "::ffff:192.0.2.8", "2001:db8:1:2:ffff::9"] {
        ask(peer).answer().problem("quota_exceeded");
    }
}

#[test]
fn all_limits_apply_together() {
    let hand = Hand::new(
        "limits.turns_per_user = 1\n[guard]\nrate = \"2/1m\"\n[[guard.quota]]\nperiod = \"1h\"\nturns = 3\n\
         [[guard.quota]]\nperiod = \"1d\"\nturns = 4",
    );
    let mut first = start(&hand, "ada");
    first.wait();
    let mut call = hand.upstream.call();
    assert_eq!(refused(&hand, "ada", "user_busy"), 1);
    call.reply("hello");
    let policy = first.answer().header("ratelimit-policy").to_owned();
    assert_eq!(policy, "\"rate-60\";q=2;w=60, \"turns-3600\";q=3;w=3600, \"turns-86400\";q=4;w=86400");
    turn(&hand, "ada");
    assert_eq!(refused(&hand, "ada", "rate_limited"), 30);
    hand.clock.advance_seconds(30);
    turn(&hand, "ada");
    // 11:07:10; the hour ends at noon.
    assert_eq!(refused(&hand, "ada", "quota_exceeded"), 3_170);
    hand.clock.advance_seconds(3_170);
    turn(&hand, "ada");
    assert_eq!(refused(&hand, "ada", "quota_exceeded"), 43_200);
}

/// The path of each API, with a turn in its format.
fn apis() -> [(&'static str, Value); 4] {
    let messages = json!([{ "role": "user", "content": "hi" }]);
    [
        ("/v1/turns", json!({ "input": "hi", "user_id": "ada" })),
        ("/v1/responses", json!({ "model": "default", "input": "hi", "user": "ada" })),
        ("/v1/chat/completions", json!({ "model": "default", "messages": messages, "user": "ada" })),
        (
            "/v1/messages",
            json!({ "model": "default", "messages": messages, "max_tokens": 10, "metadata": { "user_id": "ada" } }),
        ),
    ]
}

#[test]
fn every_api_reports_limits_buffered_and_streamed() {
    for (path, mut body) in apis() {
        for stream in [false, true] {
            let hand = Hand::new("guard.rate = \"5/s\"");
            body["stream"] = json!(stream);
            let mut pending = hand.post(path, body.to_string());
            pending.wait();
            let mut call = hand.upstream.call();
            let headers = if stream {
                call.stream();
                call.say("hello");
                call.stop();
                pending.head().head.headers
            } else {
                call.reply("hello");
                pending.answer().headers
            };
            assert_eq!(headers["ratelimit-policy"], "\"rate-1\";q=5;w=1", "{path} {stream}");
            assert_eq!(headers["ratelimit"], "\"rate-1\";r=4;t=1");
        }
    }
}

#[test]
fn every_api_refuses_in_its_own_format() {
    for (path, mut body) in apis() {
        for (settings, code) in [
            ("guard = { rate = \"1/1m\" }", "rate_limited"),
            ("[[guard.quota]]\nperiod = \"60s\"\nmodel_tokens = 1", "quota_exceeded"),
        ] {
            for stream in [false, true] {
                let hand = Hand::of(config(&format!(
                    "cors_origins = [\"https://app.test\"]\n{settings}\n{}",
                    upstream("openai", "http://model.test")
                )));
                body["stream"] = json!(false);
                let mut pending = hand.post(path, body.to_string());
                pending.wait();
                hand.upstream.call().reply("hello");
                pending.answer().json();
                body["stream"] = json!(stream);
                let request = post(path).header("origin", "https://app.test");
                let answer = hand.ask(request.body(Full::<Bytes>::from(body.to_string())).unwrap()).answer();
                check_refusal(&answer, path, code);
            }
        }
    }
}

fn check_refusal(answer: &Answer, path: &str, code: &str) {
    assert_eq!((answer.status, answer.header("x-should-retry")), (StatusCode::TOO_MANY_REQUESTS, "true"));
    let wait: u64 = answer.header("retry-after").parse().unwrap();
    assert!((1..=60).contains(&wait));
    let name = if code == "rate_limited" { "rate" } else { "model_tokens" };
    assert_eq!(answer.header("ratelimit-policy"), format!("\"{name}-60\";q=1;w=60"));
    assert_eq!(answer.header("ratelimit"), format!("\"{name}-60\";r=0;t={wait}"));
    let exposed = answer.header("access-control-expose-headers");
    for header in ["retry-after", "ratelimit", "ratelimit-policy", "x-should-retry"] {
        assert!(exposed.split(", ").any(|name| name == header), "{exposed}");
    }
    assert_eq!(answer.header("access-control-allow-origin"), "https://app.test");
    let body: Value = serde_json::from_slice(&answer.body).unwrap();
    let (found, class) = match path {
        "/v1/turns" => {
            assert_eq!(body["retry_after_seconds"], wait);
            (&body["code"], &Value::Null)
        }
        _ => (&body["error"]["code"], &body["error"]["type"]),
    };
    assert_eq!(found, code);
    assert!(path == "/v1/turns" || class == "rate_limit_error", "{class}");
}

#[test]
fn a_refusal_names_the_exceeded_limit() {
    let detail = |settings: &str| {
        let hand = Hand::new(settings);
        turn(&hand, "ada");
        start(&hand, "ada").answer().text()
    };
    assert!(detail("guard.rate = \"1/1m\"").contains("Rate limit exceeded: 1 request per minute."));
    assert!(
        detail("[[guard.quota]]\nperiod = \"1d\"\nmodel_tokens = 4")
            .contains("Quota exceeded: 4 model tokens per day.")
    );
}

#[test]
fn a_stream_is_refused_before_its_head() {
    let hand = quota("turns = 1");
    let body = json!({ "input": "hi", "user_id": "ada", "stream": true });
    let mut pending = hand.turn(&body);
    pending.wait();
    // One turn is in flight. It counts until it fails.
    hand.turn(&body).answer().problem("quota_exceeded");
    let mut call = hand.upstream.call();
    call.stream();
    call.say("hello");
    call.stop();
    let events = events(&pending.head().rest());
    assert_eq!(events.last().unwrap().0, "done");
}
