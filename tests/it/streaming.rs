//! Streamed turns: when the head is sent, which output is sent together, how a stream ends, and
//! streams that the client does not read.

use std::time::Duration;

use bytes::Bytes;
use holdall::service::TimeLeft;
use http::StatusCode;
use http_body_util::{BodyExt as _, Full};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::support::{
    answer::check_problem,
    client::{Client, json_request},
    config,
    events::{events, text_of},
    fake::Call,
    hand::{Hand, PendingCall, post},
    model::{Model, Step},
    server::Running,
    upstream,
};

const COMMENT: &str = ": still working\n\n";

/// A streamed turn whose upstream has sent the head of its response.
fn begun(hand: &Hand) -> (PendingCall, Call) {
    let mut asked = hand.turn(&json!({ "input": "hi", "stream": true }));
    asked.wait();
    let mut call = hand.upstream.call();
    call.stream();
    asked.wait();
    (asked, call)
}

#[test]
fn the_head_waits_for_the_first_delta() {
    let hand = Hand::new("");
    let (mut asked, call) = begun(&hand);
    // Bytes without output are not enough.
    call.send(": comment\n\ndata: {\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\n");
    asked.wait();
    hand.clock.advance(Duration::from_millis(14_999));
    asked.wait();
    call.say("Hel");
    let mut coming = asked.head();
    assert_eq!(coming.head.status, StatusCode::OK);
    for (name, value) in
        [("content-type", "text/event-stream"), ("cache-control", "no-store"), ("x-accel-buffering", "no")]
    {
        assert_eq!(coming.head.headers[name], value);
    }
    assert!(coming.head.headers.contains_key("x-request-id"));
    assert_eq!(coming.text(), "event: delta\ndata: {\"text\":\"Hel\"}\n\n");
}

#[test]
fn a_turn_ends_before_the_time_limit_of_the_platform() {
    let hand = Hand::new("");
    let turn = |stream: bool| {
        let body = json!({ "input": "hi", "stream": stream }).to_string();
        let request = post("/v1/turns").extension(TimeLeft(Duration::from_secs(4)));
        hand.ask(request.body(Full::<Bytes>::from(body)).unwrap())
    };
    let mut asked = turn(true);
    asked.wait();
    let mut call = hand.upstream.call();
    call.stream();
    call.say("Half of");
    let mut coming = asked.head();
    assert_eq!(text_of(&events(&coming.text())), "Half of");
    hand.clock.advance(Duration::from_millis(3_999));
    assert_eq!(coming.text(), "");
    hand.clock.advance(Duration::from_millis(1));
    let (name, error) = events(&coming.rest()).pop().unwrap();
    assert_eq!((name.as_str(), &error["code"]), ("error", &json!("upstream_timeout")));
    assert_eq!(error["detail"], "The model service did not send the end of its reply within 4 s. Retry the request.");
    assert_eq!(error["partial"]["reply"], "Half of");
    assert!(error["partial"]["token"].is_string());
    // Without streaming, the error has a status. A longer limit than the configured one has no
    // effect.
    let mut asked = turn(false);
    asked.wait();
    hand.clock.advance_seconds(4);
    let answer = asked.answer();
    assert_eq!(answer.status, StatusCode::GATEWAY_TIMEOUT);
    answer.problem("upstream_timeout");
}

#[test]
fn a_failure_before_the_head_has_a_status() {
    type Fail = fn(&mut Call);
    let cases: [(Fail, &str, StatusCode); 4] = [
        (|call| call.break_off(), "upstream_cut", StatusCode::BAD_GATEWAY),
        (|call| call.end(), "upstream_cut", StatusCode::BAD_GATEWAY),
        (|call| call.send("data: {nonsense\n\n"), "upstream_malformed", StatusCode::BAD_GATEWAY),
        (
            |call| call.send("data: {\"error\":{\"message\":\"slow down\",\"code\":429}}\n\n"),
            "upstream_refused",
            StatusCode::BAD_GATEWAY,
        ),
    ];
    for (fail, code, status) in cases {
        let hand = Hand::new("");
        let (asked, mut call) = begun(&hand);
        fail(&mut call);
        let answer = asked.answer();
        assert_eq!(answer.status, status);
        answer.problem(code);
        assert_eq!(hand.service.requests_in_flight(), 0);
    }
}

#[test]
fn after_15_seconds_the_head_is_sent_with_a_comment() {
    let hand = Hand::new("");
    let mut asked = hand.turn(&json!({ "input": "hi", "stream": true }));
    asked.wait();
    hand.clock.advance_seconds(15);
    let mut coming = asked.head();
    assert_eq!(coming.head.status, StatusCode::OK);
    assert_eq!(coming.text(), COMMENT);
    // More comments follow: before the upstream's head, after it, and between deltas.
    hand.clock.advance_seconds(14);
    assert_eq!(coming.text(), "");
    hand.clock.advance_seconds(1);
    assert_eq!(coming.text(), COMMENT);
    let mut call = hand.upstream.call();
    call.stream();
    hand.clock.advance_seconds(15);
    assert_eq!(coming.text(), COMMENT);
    call.say("Hel");
    assert_eq!(text_of(&events(&coming.text())), "Hel");
    hand.clock.advance_seconds(14);
    assert_eq!(coming.text(), "");
    hand.clock.advance_seconds(1);
    assert_eq!(coming.text(), COMMENT);
    call.say("lo");
    assert_eq!(text_of(&events(&coming.text())), "lo");
    call.stop();
    assert!(coming.rest().starts_with("event: done\n"));
}

#[test]
fn comments_are_sent_while_there_are_only_bytes_without_output() {
    let hand = Hand::new("");
    let (asked, call) = begun(&hand);
    call.say("a");
    let mut coming = asked.head();
    coming.text();
    let part = json!({ "choices": [{ "delta": { "tool_calls": [{ "index": 0, "id": "c", "function":
        { "name": "n", "arguments": "1" } }] } }] });
    let mut comments = 0;
    for _ in 0..60 {
        hand.clock.advance_seconds(1);
        call.send(format!("data: {part}\n\n"));
        comments += coming.text().matches(COMMENT).count();
    }
    assert_eq!(comments, 4);
}

#[test]
fn a_failure_after_the_head_is_an_event() {
    let hand = Hand::new("");
    let mut asked = hand.turn(&json!({ "input": "hi", "stream": true }));
    asked.wait();
    hand.clock.advance_seconds(15);
    let mut coming = asked.head();
    coming.text();
    let mut call = hand.upstream.call();
    call.head(429, &[("retry-after", "7")]);
    call.send("{\"error\":{\"message\":\"slow down\"}}");
    call.end();
    let events = events(&coming.rest());
    let [(name, problem)] = events.as_slice() else { panic!("{events:?}") };
    check_problem(problem);
    assert_eq!(
        (name.as_str(), &problem["code"], &problem["retry_after_seconds"]),
        ("error", &json!("upstream_refused"), &json!(7))
    );
    assert_eq!(problem.get("partial"), None);
    let id = coming.head.headers["x-request-id"].clone();
    assert_eq!(problem["request_id"], *id.to_str().unwrap());
    drop(coming);
    let entry = hand.log.take().remove(0);
    assert_eq!((entry.status, entry.code), (200, Some("upstream_refused")));
    assert_eq!(id, entry.request_id);
}

#[test]
fn deltas_that_arrive_together_are_sent_together() {
    let hand = Hand::new("");
    let (asked, call) = begun(&hand);
    call.say("a");
    let mut coming = asked.head();
    coming.text();
    for text in ["b", "c", "d"] {
        call.say(text);
    }
    let (chunks, _) = coming.chunks();
    assert_eq!(chunks.len(), 1);
    let events = events(str::from_utf8(&chunks[0]).unwrap());
    assert_eq!((events.len(), text_of(&events).as_str()), (3, "bcd"));
    // A large amount is sent in parts, so that the client does not wait for all of it.
    let word = "x".repeat(8_000);
    (0..20).for_each(|_| call.say(&word));
    assert!((2..=4).contains(&coming.chunks().0.len()));
}

#[test]
fn a_stream_ends_with_the_answer_of_a_turn_without_streaming() {
    let told = [json!({ "input": "hi", "user_id": "ada", "stream": true }), json!({ "input": "hi", "user_id": "ada" })];
    let [streamed, whole] = told.map(|body| {
        let hand = Hand::new("");
        let mut asked = hand.turn(&body);
        asked.wait();
        let mut call = hand.upstream.call();
        if body["stream"] == true {
            call.stream();
            call.say("Hel");
            call.say("lo\n\u{2028}é");
            call.stop();
            let events = events(&asked.head().rest());
            assert_eq!(text_of(&events), "Hello\n\u{2028}é");
            assert_eq!(events.last().unwrap().0, "done");
            events.last().unwrap().1.clone()
        } else {
            call.reply("Hello\n\u{2028}é");
            asked.answer().json()
        }
    });
    assert_eq!(streamed, whole);
    assert_eq!(
        whole["output"],
        json!([{ "t": "msg", "role": "assistant", "parts": [{ "text": "Hello\n\u{2028}é" }] }])
    );
}

#[test]
fn tool_calls_are_events_of_their_own() {
    let hand = Hand::new("");
    let (asked, mut call) = begun(&hand);
    let delta = |delta: Value| json!({ "choices": [{ "delta": delta }] });
    call.say("Adding. ");
    call.send(format!(
        "data: {}\n\n",
        delta(
            json!({ "tool_calls": [{ "index": 0, "id": "c1", "function": { "name": "add", "arguments": "{\"a\"" } }] })
        )
    ));
    call.send(format!(
        "data: {}\n\n",
        delta(json!({ "tool_calls": [{ "index": 0, "function": { "arguments": ": 1}" } }] }))
    ));
    call.stop();
    let events = events(&asked.head().rest());
    let names: Vec<_> = events.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["delta", "tool_call", "done"]);
    assert_eq!(events[1].1, json!({ "id": "c1", "name": "add", "args": "{\"a\": 1}" }));
    assert_eq!(events[2].1["finish_reason"], "tool_calls");
    assert_eq!(events[2].1["output"][1], json!({ "t": "call", "id": "c1", "name": "add", "args": "{\"a\": 1}" }));
}

#[test]
fn an_interrupted_reply_is_returned_as_partial() {
    let hand = Hand::new("");
    let before = hand.whole_turn(&json!({ "input": "hi" }), "hello");
    let ask = |token: &Value| json!({ "input": "go on", "token": token, "stream": true });
    let mut asked = hand.turn(&ask(&before["token"]));
    asked.wait();
    let mut call = hand.upstream.call();
    call.stream();
    call.say("So f");
    call.say("ar");
    let mut coming = asked.head();
    coming.text();
    call.break_off();
    let events = events(&coming.rest());
    let problem = &events[0].1;
    check_problem(problem);
    assert_eq!((&problem["code"], &problem["retry"]), (&json!("upstream_cut"), &json!("safe")));
    assert_eq!(problem["partial"]["reply"], "So far");
    let token = &problem["partial"]["token"];

    let history = hand.post("/v1/history", json!({ "token": token }).to_string()).answer().json();
    let items = history["items"].as_array().unwrap();
    let cut = json!({ "t": "msg", "role": "assistant", "parts": [{ "text": "So far" }], "cut": true });
    assert_eq!((items.len(), &items[3], &history["conversation"]["turn"]), (4, &cut, &json!(2)));
    // The client can continue from there, or from its old token.
    for token in [token, &before["token"]] {
        hand.whole_turn(&json!({ "input": "and?", "token": token }), "well");
    }
}

#[test]
fn text_that_arrives_together_with_a_failure_is_partial_as_well() {
    let hand = Hand::new("");
    let (asked, mut call) = begun(&hand);
    call.say("So far");
    call.break_off();
    let events = events(&asked.head().rest());
    assert_eq!((text_of(&events).as_str(), events[1].1["partial"]["reply"].as_str()), ("So far", Some("So far")));
}

#[test]
fn a_client_that_leaves_ends_the_call_and_frees_its_slot() {
    for stage in 0..4 {
        let hand = Hand::new("limits.turns_per_user = 1");
        let body = json!({ "input": "hi", "user_id": "ada", "stream": stage > 0 });
        let mut asked = hand.turn(&body);
        asked.wait();
        let mut call = hand.upstream.call();
        if stage >= 2 {
            call.stream();
            call.say("a");
        }
        assert!(!call.is_cancelled());
        if stage == 3 {
            let mut coming = asked.head();
            coming.text();
            drop(coming);
        } else {
            drop(asked);
        }
        assert!(call.is_cancelled(), "stage {stage}");
        assert_eq!(hand.service.requests_in_flight(), 0);
        assert_eq!(hand.log.take()[0].status, 499);
        hand.turn(&body).wait();
    }
}

#[test]
fn a_silent_upstream_times_out() {
    for stream in [false, true] {
        let hand = Hand::new("timeouts = { first_byte = \"10s\", idle = \"12s\", heartbeat = \"1h\" }");
        let body = json!({ "input": "hi", "stream": stream });
        // No head, or a head without a byte of the body: both have no first byte.
        for with_head in [false, true] {
            let mut asked = hand.turn(&body);
            asked.wait();
            let mut call = hand.upstream.call();
            if with_head {
                call.stream();
            }
            // Without streaming, the first byte is sent after the model has finished.
            let limit = if stream { 10 } else { 600 };
            hand.clock.advance_seconds(limit - 1);
            asked.wait();
            hand.clock.advance_seconds(1);
            let answer = asked.answer();
            assert_eq!(answer.status, StatusCode::GATEWAY_TIMEOUT);
            assert_eq!(answer.problem("upstream_timeout")["retry"], "safe");
            assert!(call.is_cancelled());
        }
        // Each byte restarts the idle timeout.
        let mut asked = hand.turn(&body);
        asked.wait();
        let mut call = hand.upstream.call();
        call.stream();
        for _ in 0..5 {
            call.send(":\n\n");
            asked.wait();
            hand.clock.advance_seconds(11);
            asked.wait();
        }
        hand.clock.advance_seconds(1);
        if stream {
            assert!(asked.head().rest().contains("upstream_timeout"));
        } else {
            asked.answer().problem("upstream_timeout");
        }
        assert!(call.is_cancelled());
    }
}

#[test]
fn an_upstream_that_never_ends_its_reply_times_out() {
    let hand = Hand::new("timeouts.total = \"100s\"");
    let mut asked = hand.turn(&json!({ "input": "hi" }));
    asked.wait();
    let mut call = hand.upstream.call();
    call.stream();
    for _ in 0..10 {
        // Always more than is read together, so that the body never runs dry before the clock is
        // checked.
        (0..20).for_each(|_| call.send(event_without_output()));
        asked.wait();
        hand.clock.advance_seconds(10);
    }
    (0..20).for_each(|_| call.send(event_without_output()));
    asked.answer().problem("upstream_timeout");
    assert!(call.is_cancelled());
}

fn event_without_output() -> Vec<u8> {
    let choice = json!({ "index": 0, "delta": {}, "padding": "x".repeat(10_000) });
    format!("data: {}\n\n", json!({ "choices": [choice] })).into_bytes()
}

#[test]
fn a_client_that_does_not_read_leaves_the_upstream_unread() {
    let hand = Hand::new("");
    let (asked, call) = begun(&hand);
    call.say("a");
    let mut coming = asked.head();
    for _ in 0..1_000 {
        call.say(&"x".repeat(1_000));
    }
    // Nothing is read ahead. A client that resumes reading late does not get a timeout because of
    // its own pause.
    hand.clock.advance_seconds(300);
    let (chunks, _) = coming.chunks();
    let bytes: usize = chunks.iter().map(|chunk| chunk.len()).sum();
    assert!(bytes > 1_000_000 && chunks.iter().all(|chunk| chunk.len() < 200_000), "{bytes}");
    assert!(!call.is_cancelled());
}

#[tokio::test]
async fn a_client_that_leaves_is_noticed_through_real_sockets() {
    let hello = "data: {\"choices\":[{\"delta\":{\"content\":\"hello\"}}]}\n\n";
    for (stream, http2) in [(true, false), (false, false), (true, true), (false, true)] {
        let model = Model::start(move |_| {
            let mut steps = vec![Step::send("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n")];
            steps.extend([Step::send(hello), Step::Wait]);
            steps
        })
        .await;
        let server = Running::start(config(&upstream("openai", &model.url()))).await;
        let mut client =
            if http2 { Client::connect_http2(server.address).await } else { Client::connect(server.address).await };
        let mut ask = json_request("/v1/turns", &json!({ "input": "hi", "stream": stream }));
        *ask.uri_mut() = format!("http://{}/v1/turns", server.address).parse().unwrap();
        if stream {
            let mut answer = client.open(ask).await.unwrap();
            let first = answer.frame().await.unwrap().unwrap().into_data().unwrap();
            assert_eq!(text_of(&events(str::from_utf8(&first).unwrap())), "hello");
            assert_eq!(server.service.requests_in_flight(), 1);
        } else {
            // The client leaves while it waits for the head.
            let waiting = timeout(Duration::from_millis(200), client.open(ask)).await;
            assert!(waiting.is_err() && server.service.requests_in_flight() == 1);
        }
        drop(client);
        model.left().await;
        let freed = async {
            while server.service.requests_in_flight() > 0 {
                tokio::task::yield_now().await;
            }
        };
        timeout(Duration::from_secs(10), freed).await.expect("the slot is not free");
    }
}
