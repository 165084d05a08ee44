//! Limits on requests, each tested below, at and above the limit, and the slots for concurrent
//! requests.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::StatusCode;
use http_body::Frame;
use serde_json::json;

use crate::support::hand::{Hand, post};

/// A body that yields its pieces and then never ends.
struct Pieces(Vec<&'static [u8]>);

impl http_body::Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.0.pop() {
            Some(piece) => Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(piece))))),
            None => Poll::Pending,
        }
    }
}

const SMALL: &str = "limits.body_bytes = 17000\nlimits.token_bytes = 16384\nlimits.history_bytes = 20000\n\
    limits.message_bytes = 5000\nlimits.image_bytes = 300\nlimits.reply_reserve_bytes = 1000\n";

/// A turn of exactly this many bytes.
fn padded(bytes: usize) -> String {
    let body = json!({ "input": "hi" }).to_string();
    format!("{body}{}", " ".repeat(bytes - body.len()))
}

#[test]
fn a_body_may_be_as_large_as_its_limit() {
    let hand = Hand::new(SMALL);
    hand.post("/v1/turns", padded(16_999)).wait();
    hand.post("/v1/turns", padded(17_000)).wait();
    let answer = hand.post("/v1/turns", padded(17_001)).answer();
    assert_eq!((answer.status, answer.header("connection")), (StatusCode::PAYLOAD_TOO_LARGE, "close"));
    assert_eq!(
        answer.problem("body_too_large")["detail"],
        "The request body is larger than the limit of 17000 bytes. Send less text, and send images as `https:` URLs."
    );
}

#[test]
fn a_body_that_announces_too_much_is_refused() {
    let hand = Hand::new(SMALL);
    for length in ["17001", "1073741824", "18446744073709551615"] {
        let request = post("/v1/turns").header("content-length", length).body(Pieces(Vec::new())).unwrap();
        let mut asked = hand.ask(request);
        // The server reads on for a moment, since some clients read the response only after
        // sending.
        asked.wait();
        hand.clock.advance_seconds(1);
        asked.answer().problem("body_too_large");
    }
}

#[test]
fn a_body_that_announces_nothing_is_read_up_to_the_limit() {
    let hand = Hand::new(SMALL);
    let request = post("/v1/turns").body(Pieces(vec![&[b' '; 1], &[b' '; 10_000], &[b' '; 7_000]])).unwrap();
    let mut asked = hand.ask(request);
    asked.wait();
    hand.clock.advance_seconds(1);
    asked.answer().problem("body_too_large");
    let request = post("/v1/turns").body(Pieces(vec![&[b' '; 10_000], &[b' '; 7_000]])).unwrap();
    hand.ask(request).wait();
}

#[test]
fn a_slow_body_times_out() {
    let hand = Hand::new("");
    let mut asked = hand.ask(post("/v1/turns").body(Pieces(vec![b"{\"input\":"])).unwrap());
    asked.wait();
    hand.clock.advance_seconds(29);
    asked.wait();
    hand.clock.advance_seconds(1);
    let answer = asked.answer();
    assert_eq!((answer.status, answer.header("connection")), (StatusCode::REQUEST_TIMEOUT, "close"));
    assert_eq!(answer.problem("request_timeout")["retry"], "safe");
    assert_eq!(hand.service.requests_in_flight(), 0);
}

#[test]
fn messages_and_results_may_be_as_large_as_their_limit() {
    let hand = Hand::new(SMALL);
    // The line around the text: {"t":"msg","role":"user","parts":[{"text":""}]} and its end.
    let room = 5_000 - 48;
    for (length, fits) in [(room - 1, true), (room, true), (room + 1, false)] {
        let mut asked = hand.turn(&json!({ "input": "a".repeat(length) }));
        if fits {
            asked.wait();
            hand.upstream.call();
        } else {
            let answer = asked.answer();
            assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
            assert_eq!(
                answer.problem("message_too_large")["detail"],
                "A message or tool result has 5001 bytes; the limit is 5000. Send a shorter one."
            );
        }
    }
    // Escape sequences count with their written length.
    hand.turn(&json!({ "input": "\u{1}".repeat(room / 6 + 1) })).answer().problem("message_too_large");
}

#[test]
fn inline_images_may_be_as_large_as_their_limit() {
    let hand = Hand::new(SMALL);
    let image = |bytes: usize| {
        let padding = ["", "==", "="][bytes % 3];
        let data = format!("{}{padding}", "A".repeat((bytes * 4).div_ceil(3)));
        json!({ "input": [{ "text": "look" }, { "image": format!("data:image/png;base64,{data}") }] })
    };
    for bytes in [298, 299, 300] {
        hand.turn(&image(bytes)).wait();
        hand.upstream.call();
    }
    let answer = hand.turn(&image(301)).answer();
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(
        answer.problem("image_too_large")["detail"],
        "An inline image has 301 bytes; the limit is 300. Send a smaller image, or its `https:` URL."
    );
    // Padding has no content, so it does not count as part of the image.
    let padded = format!("data:image/png;base64,{}", "=".repeat(500));
    hand.turn(&json!({ "input": [{ "image": padded }] })).answer().problem("image_too_large");
    let schemes = ["file:///etc/passwd", "ftp://e.test/a.png", "//e.test/a.png", "DATA:image/png;base64,AA==", ""];
    let hosts = ["http://e.test/", "https://127.1/", "https://localhost./", "https://a:b@e.test/", "https://[::1]/"];
    for url in schemes.into_iter().chain(hosts) {
        hand.turn(&json!({ "input": [{ "image": url }] })).answer().problem("request_invalid");
    }
}

#[test]
fn images_do_not_count_as_words() {
    let hand = Hand::new("limits.message_bytes = 200");
    let image = format!("data:image/png;base64,{}", "A".repeat(4_000));
    hand.turn(&json!({ "input": [{ "text": "a".repeat(100) }, { "image": image }] })).wait();
    let result = json!({ "t": "result", "id": "c", "out": "a".repeat(200) });
    hand.turn(&json!({ "input": [result] })).answer().problem("message_too_large");
}

#[test]
fn a_token_over_its_limit_has_its_own_error() {
    let hand = Hand::new(SMALL);
    let turn = |bytes: usize| hand.turn(&json!({ "input": "hi", "token": "a".repeat(bytes) })).answer();
    turn(16_384).problem("token_invalid");
    let answer = turn(16_385);
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(
        answer.problem("token_too_large")["detail"],
        "The token has 16385 bytes; the limit is 16384. Start a new conversation."
    );
}

#[test]
fn callers_beyond_the_request_slots_are_told_to_retry() {
    let hand = Hand::new("limits.concurrent_requests = 2");
    let (mut first, mut second) = (hand.turn(&json!({ "input": "a" })), hand.turn(&json!({ "input": "b" })));
    first.wait();
    second.wait();
    assert_eq!(hand.service.requests_in_flight(), 2);
    for path in ["/v1/turns", "/v1/history"] {
        let answer = hand.post(path, "{}").answer();
        assert_eq!((answer.status, answer.header("retry-after")), (StatusCode::SERVICE_UNAVAILABLE, "1"));
        answer.problem("overloaded");
    }
    assert_eq!(hand.service.requests_in_flight(), 2);
    // One client leaves, one gets its response: both slots are free.
    drop(first);
    hand.upstream.call();
    hand.upstream.call().reply("hello");
    second.answer().json();
    assert_eq!(hand.service.requests_in_flight(), 0);
    hand.turn(&json!({ "input": "c" })).wait();
}

#[test]
fn concurrent_turns_are_limited_per_user() {
    let hand = Hand::new("limits.turns_per_user = 1");
    let turn = |user: &str| hand.turn(&json!({ "input": "hi", "user_id": user }));
    let mut first = turn("alice");
    first.wait();
    let answer = turn("alice").answer();
    assert_eq!((answer.status, answer.header("retry-after")), (StatusCode::TOO_MANY_REQUESTS, "1"));
    answer.problem("user_busy");
    turn("bob").wait();
    hand.turn(&json!({ "input": "hi" })).wait();
    drop(first);
    turn("alice").wait();
}

#[test]
fn a_streamed_response_keeps_its_slot_until_it_is_read() {
    let hand = Hand::new("limits.turns_per_user = 1");
    let body = json!({ "input": "hi", "user_id": "alice", "stream": true });
    let mut asked = hand.turn(&body);
    asked.wait();
    let mut call = hand.upstream.call();
    call.stream();
    call.say("hello");
    let mut coming = asked.head();
    coming.text();
    hand.turn(&body).answer().problem("user_busy");
    call.stop();
    assert!(coming.rest().contains("event: done"));
    // The user can send the next turn. The slot is free after the last byte is read.
    hand.turn(&body).wait();
    drop(coming);
    assert_eq!(hand.service.requests_in_flight(), 0);
}
