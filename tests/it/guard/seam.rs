//! The calls of the guard before and after a turn, for each way in which a turn can end.

use std::time::Duration;

use holdall::guard::{Charge, GuardPurpose, TurnEnd};
use serde_json::{Value, json};

use crate::support::{
    config,
    fake::Call,
    guard::{
        GuardCall::{self, Admit, Settle, SettleLater},
        RecordingGuard,
    },
    hand::{Hand, PendingCall},
    upstream,
};

/// A service without retries.
fn hand(settings: &str) -> (Hand<RecordingGuard>, RecordingGuard) {
    let guard = RecordingGuard::default();
    let config = config(&format!("retries = 0\n{settings}\n{}", upstream("openai", "http://model.test")));
    (Hand::guarded(config, guard.clone()), guard)
}

/// A turn with its call in flight.
fn start(hand: &Hand<RecordingGuard>, path: &str, body: &Value) -> (PendingCall, Call) {
    let mut pending = hand.post(path, body.to_string());
    pending.wait();
    (pending, hand.upstream.call())
}

/// A streamed turn whose upstream has sent its head.
fn streamed(hand: &Hand<RecordingGuard>, path: &str, body: Value) -> (PendingCall, Call) {
    let mut body = body;
    body["stream"] = json!(true);
    let (mut pending, mut call) = start(hand, path, &body);
    call.stream();
    pending.wait();
    (pending, call)
}

const ADMIT: GuardCall = Admit(GuardPurpose::Turn);
/// The end of a turn that failed without a call that the operator pays for.
const FAILED: GuardCall = Settle(TurnEnd::Failed(Charge { model_tokens: 0, history_bytes: 0, upstream_millis: 0 }));

/// An estimate of the model tokens that a call sent.
fn sent_tokens(call: &Call) -> u64 {
    tokens(call.request.body().len())
}

/// An estimate of the model tokens in this many bytes.
fn tokens(bytes: usize) -> u64 {
    bytes.div_ceil(4) as u64
}

/// The size of the history after a turn `hi` with the reply `text`.
fn history_bytes(text: &str, cut: bool) -> u64 {
    let user = "{\"t\":\"msg\",\"role\":\"user\",\"parts\":[{\"text\":\"hi\"}]}\n".len();
    let reply = "{\"t\":\"msg\",\"role\":\"assistant\",\"parts\":[{\"text\":\"\"}]}\n".len();
    // Of an interrupted reply, only the text counts.
    (user + text.len() + if cut { 0 } else { reply }) as u64
}

#[test]
fn a_complete_turn_is_admitted_and_settled_with_its_charge() {
    let (hand, guard) = hand("");
    let (pending, mut call) = start(&hand, "/v1/turns", &json!({ "input": "hi", "user_id": "ada" }));
    assert_eq!(guard.take(), [ADMIT]);
    hand.clock.advance(Duration::from_millis(2_500));
    call.reply("hello");
    let answer = pending.answer();
    let charge = Charge { model_tokens: 5, history_bytes: history_bytes("hello", false), upstream_millis: 2_500 };
    assert_eq!(guard.take(), [Settle(TurnEnd::Complete(charge))]);
    let first_request = guard.requests().remove(0);
    assert_eq!((first_request.principal.subject(), first_request.presented, first_request.peer), ("ada", None, None));
    // The next turn presents the token and is in the same conversation.
    let first = answer.json();
    let body = json!({ "input": "and?", "user_id": "ada", "token": first["token"] });
    let (pending, _) = start(&hand, "/v1/turns", &body);
    let next = guard.requests().remove(0);
    assert_eq!(next.conversation, first_request.conversation);
    assert_eq!(next.conversation.to_string(), first["conversation"]["id"].as_str().unwrap());
    assert!(next.presented.is_some());
    drop(pending);
}

#[test]
fn a_streamed_turn_is_settled_after_its_end() {
    let (hand, guard) = hand("");
    let (mut pending, mut call) = streamed(&hand, "/v1/turns", json!({ "input": "hi" }));
    call.send(": nothing to see\n\n");
    pending.wait();
    assert_eq!(guard.take(), [ADMIT]);
    call.say("hel");
    let mut incoming = pending.head();
    incoming.text();
    call.say("lo");
    incoming.text();
    assert_eq!(guard.take(), []);
    call.stop();
    incoming.rest();
    let charge = Charge { model_tokens: 5, history_bytes: history_bytes("hello", false), upstream_millis: 0 };
    assert_eq!(guard.take(), [Settle(TurnEnd::Complete(charge))]);
}

#[test]
fn model_tokens_that_a_provider_does_not_count_are_estimated() {
    let (hand, guard) = hand("");
    let text = "word ".repeat(100);
    let image = format!("data:image/png;base64,{}", "A".repeat(40_000));
    let input = json!([{ "text": "say words" }, { "image": image }]);
    let (pending, mut call) = streamed(&hand, "/v1/turns", json!({ "input": input }));
    call.say(&text);
    call.send("data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n");
    call.end();
    pending.head().rest();
    let calls = guard.take();
    let [.., Settle(TurnEnd::Complete(charge))] = calls.as_slice() else { panic!("{calls:?}") };
    // An image counts as 1,000 model tokens, however long its data is.
    let sent = tokens(call.request.body().len() - image.len()) + 1_000;
    assert_eq!(charge.model_tokens, sent + tokens(text.len()));
    assert!(charge.history_bytes > 40_000);
}

#[test]
fn a_turn_that_fails_before_any_output_has_failed() {
    type Fail = fn(&mut Call);
    let cases: [Fail; 3] = [
        |call| call.head(503, &[]),
        |call| call.head(200, &[("content-type", "text/html")]),
        |call| {
            call.stream();
            call.break_off();
        },
    ];
    for fail in cases {
        for stream in [false, true] {
            let (hand, guard) = hand("");
            let (pending, mut call) = start(&hand, "/v1/turns", &json!({ "input": "hi", "stream": stream }));
            fail(&mut call);
            call.end();
            assert!(pending.answer().status.is_server_error());
            assert_eq!(guard.take(), [ADMIT, FAILED]);
        }
    }
    // A request that is refused before does not reach the guard.
    let (hand, guard) = hand("");
    hand.turn(&json!({ "input": "hi", "token": "a.b.c" })).answer().problem("token_invalid");
    assert_eq!(guard.take(), []);
}

#[test]
fn an_interrupted_reply_is_cut_even_if_it_breaks_off_with_its_first_bytes() {
    for immediately in [false, true] {
        let (hand, guard) = hand("");
        let (pending, mut call) = streamed(&hand, "/v1/turns", json!({ "input": "hi" }));
        call.say("So far");
        if immediately {
            call.break_off();
            assert!(pending.head().rest().contains("\"partial\""));
        } else {
            let mut incoming = pending.head();
            incoming.text();
            hand.clock.advance_seconds(3);
            call.break_off();
            assert!(incoming.rest().contains("\"partial\""));
        }
        let upstream_millis = if immediately { 0 } else { 3_000 };
        let model_tokens = sent_tokens(&call) + tokens("So far".len());
        let charge = Charge { model_tokens, history_bytes: history_bytes("So far", true), upstream_millis };
        assert_eq!(guard.take(), [ADMIT, Settle(TurnEnd::Cut(charge))]);
    }
}

#[test]
fn an_interrupted_call_without_text_has_failed() {
    let (hand, guard) = hand("");
    let mut pending = hand.turn(&json!({ "input": "hi", "stream": true }));
    pending.wait();
    hand.clock.advance_seconds(15);
    let mut incoming = pending.head();
    incoming.text();
    let mut call = hand.upstream.call();
    call.stream();
    let part = json!({ "choices": [{ "delta": { "tool_calls": [{ "index": 0, "id": "c", "function":
        { "name": "n", "arguments": "{}" } }] } }] });
    let next = json!({ "choices": [{ "delta": { "tool_calls": [{ "index": 1, "id": "d", "function":
        { "name": "n", "arguments": "" } }] } }] });
    call.send(format!("data: {part}\n\ndata: {next}\n\n"));
    call.break_off();
    let rest = incoming.rest();
    assert!(rest.contains("upstream_cut") && !rest.contains("tool_call") && !rest.contains("partial"), "{rest}");
    // The calls were paid for: their ids, names and arguments.
    let model_tokens = sent_tokens(&call) + tokens("cn{}dn".len());
    let charge = Charge { model_tokens, history_bytes: 0, upstream_millis: 15_000 };
    assert_eq!(guard.take(), [ADMIT, Settle(TurnEnd::Failed(charge))]);
}

#[test]
fn an_interrupted_held_reply_is_cut_only_if_its_text_is_sent() {
    for head_sent in [false, true] {
        let (hand, guard) = hand("");
        let (mut pending, mut call) = streamed(&hand, "/v1/responses", json!({ "model": "default", "input": "hi" }));
        call.say("So far");
        pending.wait();
        if head_sent {
            hand.clock.advance_seconds(15);
            let mut incoming = pending.head();
            incoming.text();
            call.break_off();
            assert!(incoming.rest().contains("\"partial\""));
        } else {
            call.break_off();
            let answer = pending.answer();
            assert!(answer.status.is_server_error() && !answer.text().contains("partial"));
        }
        let calls = guard.take();
        match calls.as_slice() {
            [ADMIT, Settle(TurnEnd::Cut(charge))] => assert!(head_sent && charge.upstream_millis == 15_000),
            [ADMIT, Settle(TurnEnd::Failed(charge))] => {
                assert!(!head_sent);
                assert_eq!(charge.model_tokens, sent_tokens(&call) + tokens("So far".len()));
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_client_that_leaves_is_charged_for_its_output() {
    // The client leaves during the call, between the head and the first word, in the middle of the
    // stream, and after its end.
    for stage in 0..4 {
        let (hand, guard) = hand("");
        let (mut pending, mut call) = start(&hand, "/v1/turns", &json!({ "input": "hi", "stream": true }));
        hand.clock.advance_seconds(2);
        if stage > 0 {
            call.stream();
            pending.wait();
        }
        if stage < 2 {
            drop(pending);
            // The client has received no output, but it is charged because it chose to leave.
            let history_bytes = history_bytes("", true);
            let charge = Charge { model_tokens: sent_tokens(&call), history_bytes, upstream_millis: 2_000 };
            assert_eq!(guard.take(), [ADMIT, SettleLater(TurnEnd::ClientLeft(charge))]);
            continue;
        }
        call.say("So far");
        let mut incoming = pending.head();
        incoming.text();
        if stage == 3 {
            call.stop();
            incoming.rest();
            assert!(matches!(guard.take().as_slice(), [ADMIT, Settle(TurnEnd::Complete(_))]));
            drop(incoming);
            assert_eq!(guard.take(), []);
            continue;
        }
        drop(incoming);
        let model_tokens = sent_tokens(&call) + tokens("So far".len());
        let charge = Charge { model_tokens, history_bytes: history_bytes("So far", true), upstream_millis: 2_000 };
        assert_eq!(guard.take(), [ADMIT, SettleLater(TurnEnd::Cut(charge))]);
    }
}

#[test]
fn a_turn_without_streaming_counts_if_its_client_leaves() {
    let (hand, guard) = hand("");
    let (mut pending, mut call) = start(&hand, "/v1/turns", &json!({ "input": "hi" }));
    call.head(200, &[("content-type", "application/json")]);
    call.send("{\"choices\":");
    pending.wait();
    hand.clock.advance_seconds(3);
    drop(pending);
    let calls = guard.take();
    let [ADMIT, SettleLater(TurnEnd::ClientLeft(charge))] = calls.as_slice() else { panic!("{calls:?}") };
    // Bytes of a document that has not ended count as they are.
    let model_tokens = sent_tokens(&call) + tokens("{\"choices\":".len());
    let expected = Charge { model_tokens, history_bytes: history_bytes("", true), upstream_millis: 3_000 };
    assert_eq!(*charge, expected);
}

#[test]
fn a_summary_is_charged_with_its_turn_and_is_in_its_answer() {
    let (hand, guard) = hand("limits.history_bytes = 33000\nlimits.reply_reserve_bytes = 1000");
    let long = "word ".repeat(5_000);
    let mut first = hand.turn(&json!({ "input": long, "user_id": "ada" }));
    first.wait();
    hand.upstream.call().reply("hello");
    let token = first.answer().json()["token"].clone();
    guard.take();
    let body = json!({ "input": long, "user_id": "ada", "token": token, "truncation": "summarize" });
    let (mut pending, mut summary) = start(&hand, "/v1/turns", &body);
    assert_eq!(guard.take(), [ADMIT]);
    hand.clock.advance_seconds(4);
    summary.reply("They said words.");
    pending.wait();
    hand.clock.advance_seconds(3);
    hand.upstream.call().reply("well");
    let answer = pending.answer().json();
    let calls = guard.take();
    let [Settle(TurnEnd::Complete(charge))] = calls.as_slice() else { panic!("{calls:?}") };
    assert_eq!((charge.model_tokens, charge.upstream_millis), (10, 7_000));
    assert_eq!(answer["usage"], json!({ "input_tokens": 6, "output_tokens": 4, "cached_tokens": 0 }));
}

#[test]
fn the_time_in_the_queue_of_an_upstream_is_not_charged() {
    let (hand, guard) = hand("limits.history_bytes = 33000\nlimits.reply_reserve_bytes = 1000");
    hand.upstream.queue_calls();
    let long = "word ".repeat(5_000);
    let (mut pending, mut call) = start(&hand, "/v1/turns", &json!({ "input": long, "user_id": "ada" }));
    hand.clock.advance_seconds(8);
    call.grant_slot();
    pending.wait();
    hand.clock.advance_seconds(1);
    call.reply("hello");
    let token = pending.answer().json()["token"].clone();
    let calls = guard.take();
    let [ADMIT, Settle(TurnEnd::Complete(charge))] = calls.as_slice() else { panic!("{calls:?}") };
    assert_eq!(charge.upstream_millis, 1_000);
    let body = json!({ "input": long, "user_id": "ada", "token": token, "truncation": "summarize" });
    let (mut pending, mut summary) = start(&hand, "/v1/turns", &body);
    hand.clock.advance_seconds(1);
    summary.grant_slot();
    pending.wait();
    hand.clock.advance_seconds(3);
    summary.reply("They said words.");
    pending.wait();
    hand.clock.advance_seconds(2);
    let mut call = hand.upstream.call();
    call.grant_slot();
    pending.wait();
    hand.clock.advance_seconds(1);
    call.reply("well");
    pending.answer().json();
    let calls = guard.take();
    let [ADMIT, Settle(TurnEnd::Complete(charge))] = calls.as_slice() else { panic!("{calls:?}") };
    assert_eq!(charge.upstream_millis, 4_000);
}

#[test]
fn a_count_is_admitted_whether_or_not_the_provider_is_called() {
    let body = json!({ "model": "default", "messages": [{ "role": "user", "content": "hi" }], "max_tokens": 10 });
    for kind in ["openai", "anthropic"] {
        let guard = RecordingGuard::default();
        let hand = Hand::guarded(config(&upstream(kind, "http://model.test")), guard.clone());
        let mut pending = hand.post("/v1/messages/count_tokens", body.to_string());
        if kind == "anthropic" {
            pending.wait();
            assert_eq!(guard.take(), [Admit(GuardPurpose::Count)]);
            let mut call = hand.upstream.call();
            call.head(200, &[("content-type", "application/json")]);
            call.send("{\"input_tokens\":7}");
            call.end();
        }
        let answer = pending.answer();
        assert_eq!(answer.header("ratelimit"), "\"turns-60\";r=4;t=30");
        answer.json();
        assert_eq!(guard.take().last(), Some(&FAILED));
        assert_eq!(guard.requests().len(), 1);
    }
}

#[test]
fn reading_a_history_is_admitted_with_its_token() {
    let (hand, guard) = hand("");
    let (pending, mut call) = start(&hand, "/v1/turns", &json!({ "input": "hi" }));
    call.reply("hello");
    let token = pending.answer().json()["token"].clone();
    guard.take();
    guard.requests();
    hand.post("/v1/history", json!({ "token": token }).to_string()).answer().json();
    assert_eq!(guard.take(), [Admit(GuardPurpose::Read), FAILED]);
    assert!(guard.requests()[0].presented.is_some());
}
