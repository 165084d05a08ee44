//! Services that refuse a member that Holdall added: one more call leaves it out, and the next calls
//! do not send it.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{
    drive::{Driven, drive},
    fake::Call,
    hand::Hand,
};

/// Refuses the request if it has `member`, in the words of the service. Returns true then.
fn refuses(call: &mut Call, member: &str, error: &Value) -> bool {
    let refused = !call.json()[member].is_null();
    if refused {
        call.head(400, &[("content-type", "application/json")]);
        call.send(error.to_string());
        call.end();
    }
    refused
}

fn says(call: &mut Call) {
    if call.json()["stream"] == true {
        call.stream();
        call.say("hi");
        call.send("data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n");
        call.end();
    } else {
        call.reply("hi");
    }
}

fn has(driven: &Driven, member: &str) -> Vec<bool> {
    driven.calls.iter().map(|call| !call.json()[member].is_null()).collect()
}

fn param(name: &str) -> Value {
    json!({ "error": { "message": "Unsupported parameter", "param": name } })
}

#[test]
fn a_refused_member_is_left_out_once_more_and_for_an_hour() {
    let hand = Hand::new("");
    let turn = |text: &str| hand.turn(&json!({ "input": text, "stream": true }));
    let answer = |call: &mut Call| {
        if !refuses(call, "stream_options", &param("stream_options")) {
            says(call);
        }
    };
    let first = drive(&hand, turn("hi"), answer);
    assert_eq!((has(&first, "stream_options"), first.answer.status.as_u16()), (vec![true, false], 200));
    assert_eq!(first.calls[0].json()["messages"], first.calls[1].json()["messages"]);
    let entry = hand.log.take().pop().unwrap();
    assert_eq!((entry.attempts, entry.setbacks.len()), (2, 1));
    assert!(entry.repaired.contains("usage_estimated"), "{entry:?}");
    assert!(first.answer.text().contains("\"output_tokens\":1"), "{}", first.answer.text());

    assert_eq!(has(&drive(&hand, turn("again"), answer), "stream_options"), [false]);
    hand.clock.advance(Duration::from_secs(3_601));
    assert_eq!(has(&drive(&hand, turn("later"), answer), "stream_options"), [true, false]);
}

#[test]
fn a_refused_name_of_the_limit_is_replaced() {
    let words =
        "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.";
    for stream in [false, true] {
        let hand = Hand::new("");
        let body = json!({ "input": "hi", "max_output_tokens": 5, "stream": stream });
        let driven = drive(&hand, hand.turn(&body), |call| {
            if !refuses(call, "max_tokens", &json!({ "error": { "message": words } })) {
                says(call);
            }
        });
        assert_eq!((has(&driven, "max_tokens"), driven.answer.status.as_u16()), (vec![true, false], 200));
        assert_eq!(driven.calls[1].json()["max_completion_tokens"], 5);
    }
}

#[test]
fn a_service_that_refuses_everything_is_called_once_more_at_most() {
    let hand = Hand::new("");
    let body = json!({ "input": "hi", "max_output_tokens": 5, "stream": true });
    let driven = drive(&hand, hand.turn(&body), |call| {
        let name = if call.json()["max_tokens"].is_null() { "max_completion_tokens" } else { "max_tokens" };
        assert!(refuses(call, name, &param(name)));
    });
    assert_eq!((driven.calls.len(), driven.answer.status.is_success()), (2, false));

    // The failed attempt is not remembered.
    let driven = drive(&hand, hand.turn(&body), says);
    assert_eq!(has(&driven, "max_tokens"), [true]);
}

#[test]
fn words_about_the_callers_own_text_change_nothing() {
    let hand = Hand::new("");
    let body = json!({ "input": "what is stream_options?", "stream": true });
    let error = json!({ "error": { "message": "refused: what is stream_options?" } });
    let driven = drive(&hand, hand.turn(&body), |call| assert!(refuses(call, "model", &error)));
    assert_eq!(driven.calls.len(), 1);
}

#[test]
fn a_summary_is_requested_once_more_too() {
    let hand = Hand::new("limits.history_bytes = 40000\nlimits.reply_reserve_bytes = 2000");
    let is_summary = |call: &Call| call.json().to_string().contains("Summarize the following transcript");
    let mut token = Value::Null;
    for _ in 0..60 {
        let text = "filler ".repeat(200);
        let body = json!({ "token": token, "input": text, "truncation": "summarize" });
        let driven = drive(&hand, hand.turn(&body), |call| {
            if !refuses(call, "max_tokens", &param("max_tokens")) {
                call.reply("They talked about filler.");
            }
        });
        let answer = driven.answer.json();
        assert_eq!(driven.answer.status, 200, "{answer}");
        token = answer["token"].clone();
        if driven.calls.iter().any(is_summary) {
            assert_eq!(has(&driven, "max_tokens"), [true, false, false]);
            assert_eq!(driven.calls[1].json()["max_completion_tokens"], 4_096);
            return;
        }
    }
    panic!("no summary was requested");
}
