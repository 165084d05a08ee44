//! What the guard is asked before a turn and told after it, however the turn goes.

use std::time::Duration;

use holdall::guard::{Charge, GuardPurpose, TurnEnd};
use serde_json::{Value, json};

use crate::support::{
    config,
    fake::Call,
    guard::{
        Heard::{self, Left, PendingCall, Settled, Shown},
        Witness,
    },
    hand::{Hand, PendingCall as Request},
    upstream,
};

/// A service that makes each call once.
fn hand(settings: &str) -> (Hand<Witness>, Witness) {
    let witness = Witness::default();
    let config = config(&format!("retries = 0\n{settings}\n{}", upstream("openai", "http://model.test")));
    (Hand::guarded(config, witness.clone()), witness)
}

/// A turn with its call under way.
fn begun(hand: &Hand<Witness>, path: &str, body: &Value) -> (Request, Call) {
    let mut asked = hand.post(path, body.to_string());
    asked.wait();
    (asked, hand.upstream.call())
}

/// A streamed turn whose upstream has sent its head.
fn streamed(hand: &Hand<Witness>, path: &str, body: Value) -> (Request, Call) {
    let mut body = body;
    body["stream"] = json!(true);
    let (mut asked, mut call) = begun(hand, path, &body);
    call.stream();
    asked.wait();
    (asked, call)
}

const ASKED: Heard = PendingCall(GuardPurpose::Turn);
const FAILED: Heard = Settled(TurnEnd::Failed);

/// The history of a turn `hi` at its end, with a reply of `text`.
fn history_bytes(text: &str, cut: bool) -> u64 {
    let user = "{\"t\":\"msg\",\"role\":\"user\",\"parts\":[{\"text\":\"hi\"}]}\n".len();
    let reply = "{\"t\":\"msg\",\"role\":\"assistant\",\"parts\":[{\"text\":\"\"}]}\n".len();
    // Of a reply that broke off, its text alone.
    (user + text.len() + if cut { 0 } else { reply }) as u64
}

#[test]
fn a_whole_turn_is_asked_for_and_settled_with_what_it_used() {
    let (hand, witness) = hand("");
    let (asked, mut call) = begun(&hand, "/v1/turns", &json!({ "input": "hi", "user_id": "ada" }));
    assert_eq!(witness.take(), [ASKED]);
    hand.clock.advance(Duration::from_millis(2_500));
    call.reply("hello");
    let answer = asked.answer();
    let used = Charge { model_tokens: 5, history_bytes: history_bytes("hello", false), upstream_millis: 2_500 };
    assert_eq!(witness.take(), [Settled(TurnEnd::Complete(used))]);
    let ask = witness.asks().remove(0);
    assert_eq!((ask.principal.subject(), ask.presented, ask.peer), ("ada", None, None));
    // The next one comes with its token, in the same conversation.
    let first = answer.json();
    let body = json!({ "input": "and?", "user_id": "ada", "token": first["token"] });
    let (asked, _) = begun(&hand, "/v1/turns", &body);
    let next = witness.asks().remove(0);
    assert_eq!(next.conversation, ask.conversation);
    assert_eq!(next.conversation.to_string(), first["conversation"]["id"].as_str().unwrap());
    assert!(next.presented.is_some());
    drop(asked);
}

#[test]
fn a_streamed_turn_is_shown_once_and_settled_at_its_end() {
    let (hand, witness) = hand("");
    let (mut asked, mut call) = streamed(&hand, "/v1/turns", json!({ "input": "hi" }));
    call.send(": nothing to see\n\n");
    asked.wait();
    assert_eq!(witness.take(), [ASKED]);
    call.say("hel");
    let mut coming = asked.head();
    coming.text();
    call.say("lo");
    coming.text();
    assert_eq!(witness.take(), [Shown]);
    call.stop();
    coming.rest();
    let used = Charge { model_tokens: 5, history_bytes: history_bytes("hello", false), upstream_millis: 0 };
    assert_eq!(witness.take(), [Settled(TurnEnd::Complete(used))]);
}

#[test]
fn what_a_provider_does_not_count_is_estimated() {
    let (hand, witness) = hand("");
    let text = "word ".repeat(100);
    let image = format!("data:image/png;base64,{}", "A".repeat(40_000));
    let input = json!([{ "text": "say words" }, { "image": image }]);
    let (asked, mut call) = streamed(&hand, "/v1/turns", json!({ "input": input }));
    call.say(&text);
    call.send("data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n");
    call.end();
    asked.head().rest();
    let heard = witness.take();
    let [.., Settled(TurnEnd::Complete(used))] = heard.as_slice() else { panic!("{heard:?}") };
    assert!((125..200).contains(&used.model_tokens), "{used:?}");
    assert!(used.history_bytes > 40_000);
}

#[test]
fn a_turn_that_fails_before_anything_was_shown_has_failed() {
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
            let (hand, witness) = hand("");
            let (asked, mut call) = begun(&hand, "/v1/turns", &json!({ "input": "hi", "stream": stream }));
            fail(&mut call);
            call.end();
            assert!(asked.answer().status.is_server_error());
            assert_eq!(witness.take(), [ASKED, FAILED]);
        }
    }
    // What is refused before is not asked for at all.
    let (hand, witness) = hand("");
    hand.turn(&json!({ "input": "hi", "token": "a.b.c" })).answer().problem("token_invalid");
    assert_eq!(witness.take(), []);
}

#[test]
fn a_reply_that_breaks_off_is_cut_where_it_was_shown_even_with_its_first_bytes() {
    for at_once in [false, true] {
        let (hand, witness) = hand("");
        let (asked, mut call) = streamed(&hand, "/v1/turns", json!({ "input": "hi" }));
        call.say("So far");
        if at_once {
            call.break_off();
            assert!(asked.head().rest().contains("\"partial\""));
        } else {
            let mut coming = asked.head();
            coming.text();
            hand.clock.advance_seconds(3);
            call.break_off();
            assert!(coming.rest().contains("\"partial\""));
        }
        let bytes = history_bytes("So far", true);
        let millis = if at_once { 0 } else { 3_000 };
        let used = Charge { model_tokens: bytes.div_ceil(4), history_bytes: bytes, upstream_millis: millis };
        let heard = witness.take();
        assert_eq!((heard[0], *heard.last().unwrap()), (ASKED, Settled(TurnEnd::Cut(used))));
        assert_eq!(heard.contains(&Shown), !at_once);
    }
}

#[test]
fn a_call_that_breaks_off_with_nothing_said_is_not_shown_and_has_failed() {
    let (hand, witness) = hand("");
    let mut asked = hand.turn(&json!({ "input": "hi", "stream": true }));
    asked.wait();
    hand.clock.advance_seconds(15);
    let mut coming = asked.head();
    coming.text();
    let mut call = hand.upstream.call();
    call.stream();
    let part = json!({ "choices": [{ "delta": { "tool_calls": [{ "index": 0, "id": "c", "function":
        { "name": "n", "arguments": "{}" } }] } }] });
    let next = json!({ "choices": [{ "delta": { "tool_calls": [{ "index": 1, "id": "d", "function":
        { "name": "n", "arguments": "" } }] } }] });
    call.send(format!("data: {part}\n\ndata: {next}\n\n"));
    call.break_off();
    let rest = coming.rest();
    assert!(rest.contains("upstream_cut") && !rest.contains("tool_call") && !rest.contains("partial"), "{rest}");
    assert_eq!(witness.take(), [ASKED, FAILED]);
}

#[test]
fn a_held_reply_that_breaks_off_is_cut_only_where_its_text_is_told() {
    for head_sent in [false, true] {
        let (hand, witness) = hand("");
        let (mut asked, mut call) = streamed(&hand, "/v1/responses", json!({ "model": "default", "input": "hi" }));
        call.say("So far");
        asked.wait();
        if head_sent {
            hand.clock.advance_seconds(15);
            let mut coming = asked.head();
            coming.text();
            call.break_off();
            assert!(coming.rest().contains("\"partial\""));
        } else {
            call.break_off();
            let answer = asked.answer();
            assert!(answer.status.is_server_error() && !answer.text().contains("partial"));
        }
        let heard = witness.take();
        match heard.as_slice() {
            [ASKED, Settled(TurnEnd::Cut(used))] => assert!(head_sent && used.upstream_millis == 15_000),
            [ASKED, FAILED] => assert!(!head_sent),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_client_that_leaves_has_used_what_it_was_shown() {
    // While the upstream is called, between its head and its first word, in mid-stream, and after the end.
    for stage in 0..4 {
        let (hand, witness) = hand("");
        let (mut asked, mut call) = begun(&hand, "/v1/turns", &json!({ "input": "hi", "stream": true }));
        hand.clock.advance_seconds(2);
        if stage > 0 {
            call.stream();
            asked.wait();
        }
        if stage < 2 {
            drop(asked);
            // Nothing was shown; leaving is the client's doing all the same.
            let bytes = history_bytes("", true);
            let used = Charge { model_tokens: bytes.div_ceil(4), history_bytes: bytes, upstream_millis: 2_000 };
            assert_eq!(witness.take(), [ASKED, Left(used)]);
            continue;
        }
        call.say("So far");
        let mut coming = asked.head();
        coming.text();
        if stage == 3 {
            call.stop();
            coming.rest();
            assert!(matches!(witness.take().as_slice(), [ASKED, Shown, Settled(TurnEnd::Complete(_))]));
            drop(coming);
            assert_eq!(witness.take(), []);
            continue;
        }
        drop(coming);
        let bytes = history_bytes("So far", true);
        let used = Charge { model_tokens: bytes.div_ceil(4), history_bytes: bytes, upstream_millis: 2_000 };
        assert_eq!(witness.take(), [ASKED, Shown, Left(used)]);
    }
}

#[test]
fn a_whole_turn_whose_client_leaves_has_been_taken() {
    let (hand, witness) = hand("");
    let (mut asked, mut call) = begun(&hand, "/v1/turns", &json!({ "input": "hi" }));
    call.head(200, &[("content-type", "application/json")]);
    call.send("{\"choices\":");
    asked.wait();
    hand.clock.advance_seconds(3);
    drop(asked);
    let heard = witness.take();
    let [ASKED, Left(used)] = heard.as_slice() else { panic!("{heard:?}") };
    assert!(used.upstream_millis == 3_000 && used.model_tokens > 0 && used.history_bytes > 0, "{used:?}");
}

#[test]
fn a_summary_counts_with_the_turn_that_asked_for_it() {
    let (hand, witness) = hand("limits.history_bytes = 33000\nlimits.reply_reserve_bytes = 1000");
    let long = "word ".repeat(5_000);
    let mut first = hand.turn(&json!({ "input": long, "user_id": "ada" }));
    first.wait();
    hand.upstream.call().reply("hello");
    let token = first.answer().json()["token"].clone();
    witness.take();
    let body = json!({ "input": long, "user_id": "ada", "token": token, "truncation": "summarize" });
    let (left, summary) = begun(&hand, "/v1/turns", &body);
    drop((left, summary));
    assert_eq!(witness.take(), [ASKED, Left(Charge::default())]);
    let (mut asked, mut summary) = begun(&hand, "/v1/turns", &body);
    assert_eq!(witness.take(), [ASKED]);
    hand.clock.advance_seconds(4);
    summary.reply("They said words.");
    asked.wait();
    hand.clock.advance_seconds(3);
    hand.upstream.call().reply("well");
    asked.answer().json();
    let heard = witness.take();
    let [Settled(TurnEnd::Complete(used))] = heard.as_slice() else { panic!("{heard:?}") };
    assert_eq!((used.model_tokens, used.upstream_millis), (10, 7_000));
}

#[test]
fn the_time_in_an_upstreams_line_is_not_the_models() {
    let (hand, witness) = hand("limits.history_bytes = 33000\nlimits.reply_reserve_bytes = 1000");
    let long = "word ".repeat(5_000);
    let (asked, mut call) = begun(&hand, "/v1/turns", &json!({ "input": long, "user_id": "ada" }));
    hand.clock.advance_seconds(9);
    call.outcome.set_waited(Duration::from_secs(8));
    call.reply("hello");
    let token = asked.answer().json()["token"].clone();
    let heard = witness.take();
    let [ASKED, Settled(TurnEnd::Complete(used))] = heard.as_slice() else { panic!("{heard:?}") };
    assert_eq!(used.upstream_millis, 1_000);
    let body = json!({ "input": long, "user_id": "ada", "token": token, "truncation": "summarize" });
    let (mut asked, mut summary) = begun(&hand, "/v1/turns", &body);
    hand.clock.advance_seconds(4);
    summary.outcome.set_waited(Duration::from_secs(1));
    summary.reply("They said words.");
    asked.wait();
    hand.clock.advance_seconds(3);
    let mut call = hand.upstream.call();
    call.outcome.set_waited(Duration::from_secs(2));
    call.reply("well");
    asked.answer().json();
    let heard = witness.take();
    let [ASKED, Settled(TurnEnd::Complete(used))] = heard.as_slice() else { panic!("{heard:?}") };
    assert_eq!(used.upstream_millis, 4_000);
}

#[test]
fn counting_is_asked_for_whether_or_not_the_provider_is() {
    let body = json!({ "model": "default", "messages": [{ "role": "user", "content": "hi" }], "max_tokens": 10 });
    for kind in ["openai", "anthropic"] {
        let witness = Witness::default();
        let hand = Hand::guarded(config(&upstream(kind, "http://model.test")), witness.clone());
        let mut asked = hand.post("/v1/messages/count_tokens", body.to_string());
        if kind == "anthropic" {
            asked.wait();
            assert_eq!(witness.take(), [PendingCall(GuardPurpose::Count)]);
            let mut call = hand.upstream.call();
            call.head(200, &[("content-type", "application/json")]);
            call.send("{\"input_tokens\":7}");
            call.end();
        }
        let answer = asked.answer();
        assert_eq!(answer.header("ratelimit"), "\"turns-60\";r=4;t=30");
        answer.json();
        assert_eq!(witness.take().last(), Some(&FAILED));
        assert_eq!(witness.asks().len(), 1);
    }
}

#[test]
fn reading_a_history_is_asked_for_with_its_token() {
    let (hand, witness) = hand("");
    let (asked, mut call) = begun(&hand, "/v1/turns", &json!({ "input": "hi" }));
    call.reply("hello");
    let token = asked.answer().json()["token"].clone();
    witness.take();
    witness.asks();
    hand.post("/v1/history", json!({ "token": token }).to_string()).answer().json();
    assert_eq!(witness.take(), [PendingCall(GuardPurpose::Read), FAILED]);
    assert!(witness.asks()[0].presented.is_some());
}
