//! What a turn has spent reaches the guard and the log, however the turn ends: model tokens and
//! time of all calls that the operator pays for.

use std::time::Duration;

use holdall::{
    guard::{Charge, GuardPurpose, TurnEnd},
    service::Entry,
    upstream::{UpstreamError, Verdict},
};
use serde_json::{Value, json};

use crate::support::{
    config,
    drive::behind_one_alias,
    events::events,
    fake::Call,
    guard::{
        GuardCall::{self, Admit, Settle, SettleLater},
        RecordingGuard,
    },
    hand::{Hand, PendingCall},
    upstream,
};

const ADMIT: GuardCall = Admit(GuardPurpose::Turn);

/// A turn, with the guard that admits it.
struct Fixture {
    hand: Hand<RecordingGuard>,
    guard: RecordingGuard,
}

impl Fixture {
    fn new(settings: &str) -> Self {
        let guard = RecordingGuard::default();
        Self { hand: Hand::guarded(config(settings), guard.clone()), guard }
    }

    /// One upstream, and calls that are repeated `retries` times.
    fn one(retries: u32) -> Self {
        Self::new(&format!("retries = {retries}\n{}", upstream("openai", "http://model.test")))
    }

    /// A conversation that needs a summary, and its next turn.
    fn before_summary(members: &Value) -> (Self, Value) {
        let limits = "limits.history_bytes = 33000\nlimits.reply_reserve_bytes = 1000\nretries = 0\n";
        let fixture = Self::new(&format!("{limits}{}", upstream("openai", "http://model.test")));
        let long = "word ".repeat(5_000);
        let token = fixture.hand.whole_turn(&json!({ "input": long, "user_id": "ada" }), "hello")["token"].clone();
        fixture.guard.take();
        fixture.hand.log.take();
        let mut body = json!({ "input": long, "user_id": "ada", "token": token, "truncation": "summarize" });
        body.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        (fixture, body)
    }

    /// Sends a request, which must wait for an upstream call.
    fn start(&self, path: &str, body: &Value) -> (PendingCall, Call) {
        let mut pending = self.hand.post(path, body.to_string());
        pending.wait();
        (pending, self.hand.upstream.call())
    }

    fn turn(&self, body: &Value) -> (PendingCall, Call) {
        self.start("/v1/turns", body)
    }

    /// The next call of a turn that waits.
    fn next_call(&self, pending: &mut PendingCall) -> Call {
        pending.wait();
        if !self.hand.upstream.is_called() {
            // The pause before a retry is at most 2 seconds.
            self.hand.clock.advance_seconds(2);
            pending.wait();
        }
        self.hand.upstream.call()
    }

    /// The end of the turn, which must be the only one.
    #[track_caller]
    fn end(&self) -> GuardCall {
        match self.guard.take().as_slice() {
            [ADMIT, end] => *end,
            other => panic!("{other:?}"),
        }
    }

    /// The record of the last request.
    fn entry(&self) -> Entry {
        self.hand.log.take().pop().unwrap()
    }
}

/// An estimate of the model tokens in this many bytes.
fn tokens(bytes: usize) -> u64 {
    bytes.div_ceil(4) as u64
}

/// An estimate of the model tokens that a call sent.
fn sent(call: &Call) -> u64 {
    tokens(call.request.body().len())
}

fn refuse(call: &mut Call, status: u16) {
    call.head(status, &[("content-type", "application/json")]);
    call.send("{\"error\":{\"message\":\"Invalid schema for function `f`\",\"type\":\"invalid_request_error\"}}");
    call.end();
}

/// Model tokens and milliseconds of an end that is of the expected kind.
#[track_caller]
fn cost(end: GuardCall, kind: fn(Charge) -> TurnEnd) -> (u64, u64) {
    let (Settle(end) | SettleLater(end)) = end else { panic!("{end:?}") };
    let charge = end.charge();
    assert_eq!(end, kind(charge));
    (charge.model_tokens, charge.upstream_millis)
}

#[test]
fn a_client_that_leaves_during_the_summary_is_charged_for_it() {
    for arrived in ["", "{\"choices\":[{\"message\":"] {
        let (fixture, body) = Fixture::before_summary(&json!({}));
        let (mut pending, mut summary) = fixture.turn(&body);
        assert!(sent(&summary) > 6_000);
        if !arrived.is_empty() {
            summary.head(200, &[("content-type", "application/json")]);
            summary.send(arrived);
            pending.wait();
        }
        fixture.hand.clock.advance_seconds(4);
        drop(pending);
        let expected = (sent(&summary) + tokens(arrived.len()), 4_000);
        let end = fixture.end();
        assert!(matches!(end, SettleLater(_)), "{end:?}");
        assert_eq!(cost(end, TurnEnd::ClientLeft), expected);
        let entry = fixture.entry();
        assert_eq!((entry.input_tokens + entry.output_tokens, entry.upstream_millis), expected);
        assert!(entry.usage_estimated && entry.status == 499, "{entry:?}");
    }
}

#[test]
fn a_turn_that_is_refused_after_its_summary_is_charged_for_the_summary() {
    let schema = json!({ "tools": [{ "name": "f", "parameters": { "type": "nonsense" } }] });
    for stream in [false, true] {
        let (fixture, mut body) = Fixture::before_summary(&schema);
        body["stream"] = json!(stream);
        let (mut pending, mut summary) = fixture.turn(&body);
        fixture.hand.clock.advance_seconds(4);
        summary.reply("They said words.");
        let mut call = fixture.next_call(&mut pending);
        fixture.hand.clock.advance_seconds(1);
        refuse(&mut call, 400);
        pending.answer().problem("upstream_refused");
        assert_eq!(cost(fixture.end(), TurnEnd::Failed), (5, 4_000));
        let entry = fixture.entry();
        assert_eq!((entry.input_tokens, entry.output_tokens, entry.usage_estimated), (3, 2, false));
        assert_eq!((entry.upstream_millis, entry.attempts), (4_000, 2));
    }
}

#[test]
fn a_client_that_leaves_after_the_summary_is_charged_for_both_calls() {
    let (fixture, body) = Fixture::before_summary(&json!({}));
    let (mut pending, mut summary) = fixture.turn(&body);
    fixture.hand.clock.advance_seconds(4);
    summary.reply("They said words.");
    let call = fixture.next_call(&mut pending);
    fixture.hand.clock.advance_seconds(2);
    drop(pending);
    assert_eq!(cost(fixture.end(), TurnEnd::ClientLeft), (5 + sent(&call), 6_000));
}

#[test]
fn a_summary_that_cannot_be_used_is_charged_and_one_that_is_refused_is_not() {
    for (status, expected) in [(200, (5, 4_000)), (400, (0, 0)), (503, (0, 0))] {
        let (fixture, body) = Fixture::before_summary(&json!({}));
        let (pending, mut summary) = fixture.turn(&body);
        fixture.hand.clock.advance_seconds(4);
        if status == 200 {
            summary.reply(" ")
        } else {
            refuse(&mut summary, status)
        }
        assert!(pending.answer().status.as_u16() >= 400);
        assert_eq!(cost(fixture.end(), TurnEnd::Failed), expected, "{status}");
    }
}

#[test]
fn the_estimate_follows_the_request_and_not_the_history() {
    let long = "x".repeat(300_000);
    let message = json!({ "role": "user", "content": "hi" });
    let schema = json!({ "type": "object", "description": long });
    let tool = json!({ "type": "function", "function": { "name": "f", "parameters": schema } });
    let format = json!({ "type": "json_schema", "json_schema": { "name": "r", "schema": schema } });
    for body in [
        json!({ "messages": [message], "tools": [tool] }),
        json!({ "messages": [{ "role": "system", "content": long }, message] }),
        json!({ "messages": [message], "response_format": format }),
    ] {
        for stream in [false, true] {
            let fixture = Fixture::one(0);
            let mut body = body.clone();
            (body["model"], body["stream"]) = (json!("default"), json!(stream));
            let (pending, call) = fixture.start("/v1/chat/completions", &body);
            drop(pending);
            let (model_tokens, _) = cost(fixture.end(), TurnEnd::ClientLeft);
            assert_eq!(model_tokens, sent(&call));
            assert!(model_tokens > 75_000);
        }
    }
}

#[test]
fn images_are_estimated_at_a_flat_price() {
    let fixture = Fixture::one(0);
    let inline = format!("data:image/png;base64,{}", "A".repeat(300_000));
    let address = "https://images.test/a.png";
    let body = json!({ "input": [{ "text": "look" }, { "image": inline }, { "image": address }] });
    let (pending, call) = fixture.turn(&body);
    drop(pending);
    let text_bytes = call.request.body().len() - inline.len() - address.len();
    assert_eq!(cost(fixture.end(), TurnEnd::ClientLeft).0, tokens(text_bytes) + 2_000);
}

/// A streamed turn whose reply has outgrown its room, and the bytes of its text.
fn outgrown(fixture: &Fixture) -> (PendingCall, Call, usize) {
    let (pending, mut call) = fixture.turn(&json!({ "input": "hi", "stream": true }));
    call.stream();
    let text = "word ".repeat(400);
    call.say(&text);
    (pending, call, text.len())
}

fn small_replies() -> Fixture {
    Fixture::new(&format!("retries = 0\nlimits.reply_bytes = 1000\n{}", upstream("openai", "http://model.test")))
}

fn done(text: &str) -> Value {
    let (name, done) = events(text).pop().unwrap();
    assert_eq!((name.as_str(), &done["finish_reason"]), ("done", &json!("length")), "{text}");
    done
}

#[test]
fn a_reply_that_is_cut_for_room_is_read_on_for_its_counts() {
    let fixture = small_replies();
    let (pending, mut call, _) = outgrown(&fixture);
    let mut incoming = pending.head();
    assert!(incoming.text().contains("word") && !call.is_cancelled());
    call.say(&"more ".repeat(1_000));
    assert_eq!(incoming.text(), "", "the client waits for the counts, and sees no more text");
    fixture.hand.clock.advance(Duration::from_millis(1_900));
    call.stop();
    let done = done(&incoming.rest());
    assert_eq!(done["usage"], json!({ "input_tokens": 3, "output_tokens": 2, "cached_tokens": 0 }));
    assert_eq!(cost(fixture.end(), TurnEnd::Complete), (5, 1_900));
    assert_eq!(call.verdict(), Some(Verdict::Complete));
}

#[test]
fn a_reply_that_is_cut_for_room_is_cancelled_after_two_seconds_and_estimated() {
    let fixture = small_replies();
    let (pending, call, text_bytes) = outgrown(&fixture);
    let mut incoming = pending.head();
    incoming.text();
    fixture.hand.clock.advance(Duration::from_millis(1_999));
    assert_eq!(incoming.text(), "");
    fixture.hand.clock.advance(Duration::from_millis(1));
    let usage = done(&incoming.rest())["usage"].clone();
    let (input, output) = (sent(&call), tokens(text_bytes));
    let expected = json!({ "input_tokens": input, "output_tokens": output, "cached_tokens": 0, "estimated": true });
    assert_eq!(usage, expected);
    assert!(call.is_cancelled() && call.verdict() == Some(Verdict::Cancelled));
    assert_eq!(cost(fixture.end(), TurnEnd::Complete), (input + output, 2_000));
    drop(incoming);
    let entry = fixture.entry();
    assert_eq!((entry.input_tokens, entry.output_tokens, entry.usage_estimated), (input, output, true));
    assert!(!entry.repaired.contains("usage_estimated"), "the service could not report them: {entry:?}");
}

#[test]
fn a_reply_that_is_cut_for_room_is_read_on_for_256_kib() {
    let piece = "more ".repeat(2_000);
    for ends_before in [true, false] {
        let fixture = small_replies();
        let (pending, mut call, text_bytes) = outgrown(&fixture);
        let mut incoming = pending.head();
        incoming.text();
        // Each event is a little over 10,000 bytes.
        let pieces = if ends_before { 26 } else { 27 };
        (0..pieces).for_each(|_| call.say(&piece));
        if ends_before {
            assert_eq!(incoming.text(), "");
            call.stop();
        }
        let usage = done(&incoming.rest())["usage"].clone();
        assert_eq!(usage["estimated"], if ends_before { Value::Null } else { json!(true) });
        let output = if ends_before { 2 } else { tokens(text_bytes + 27 * piece.len()) };
        assert_eq!(usage["output_tokens"], output);
        assert_eq!(call.is_cancelled(), !ends_before);
    }
}

#[test]
fn the_end_of_the_body_ends_the_wait_for_the_counts() {
    for breaks_off in [false, true] {
        let fixture = small_replies();
        let (pending, mut call, text_bytes) = outgrown(&fixture);
        let mut incoming = pending.head();
        incoming.text();
        if breaks_off {
            call.break_off()
        } else {
            call.end()
        }
        assert_eq!(done(&incoming.rest())["usage"]["output_tokens"], tokens(text_bytes));
        assert!(cost(fixture.end(), TurnEnd::Complete).0 > tokens(text_bytes));
    }
}

#[test]
fn a_client_that_leaves_while_the_counts_are_awaited_is_charged() {
    let fixture = small_replies();
    let (pending, call, text_bytes) = outgrown(&fixture);
    let mut incoming = pending.head();
    incoming.text();
    fixture.hand.clock.advance_seconds(1);
    drop(incoming);
    assert_eq!(cost(fixture.end(), TurnEnd::Cut), (sent(&call) + tokens(text_bytes), 1_000));
}

#[test]
fn a_repeated_reply_counts_as_often_as_it_was_begun() {
    let fixture = Fixture::one(2);
    let (mut pending, mut first) = fixture.turn(&json!({ "input": "hi", "user_id": "ada" }));
    first.stream();
    first.say("So far");
    pending.wait();
    fixture.hand.clock.advance_seconds(3);
    first.break_off();
    let mut second = fixture.next_call(&mut pending);
    fixture.hand.clock.advance_seconds(4);
    second.reply("hello");
    let answer = pending.answer().json();
    let (input, output) = (sent(&first) + 3, tokens("So far".len()) + 2);
    let usage = json!({ "input_tokens": input, "output_tokens": output, "cached_tokens": 0, "estimated": true });
    assert_eq!(answer["usage"], usage);
    assert_eq!(cost(fixture.end(), TurnEnd::Complete), (input + output, 7_000));
}

#[test]
fn calls_that_the_service_did_not_take_cost_nothing() {
    type Fail = fn(&mut Call);
    let fails: [Fail; 6] = [
        |call| call.refuse(UpstreamError::Unreachable { cause: "down".to_owned() }),
        |call| refuse(call, 503),
        |call| {
            call.stream();
            call.break_off();
        },
        |call| {
            call.stream();
            call.send("data: {\"error\":{\"message\":\"overloaded\",\"code\":503}}\n\n");
            call.end();
        },
        |call| {
            call.head(200, &[("content-type", "application/json")]);
            call.send("{\"error\":{\"message\":\"overloaded\",\"code\":503}}");
            call.end();
        },
        |call| {
            call.stream();
            call.send(": wait\n\n");
            call.break_off();
        },
    ];
    for (number, fail) in fails.into_iter().enumerate() {
        let fixture = Fixture::one(1);
        let (mut pending, mut first) = fixture.turn(&json!({ "input": "hi", "user_id": "ada" }));
        fixture.hand.clock.advance_seconds(3);
        fail(&mut first);
        let mut second = fixture.next_call(&mut pending);
        fixture.hand.clock.advance_seconds(1);
        second.reply("hello");
        assert_eq!(pending.answer().json()["usage"]["estimated"], Value::Null, "{number}");
        assert_eq!(cost(fixture.end(), TurnEnd::Complete), (5, 1_000), "{number}");
    }
}

#[test]
fn a_client_that_leaves_during_a_refusal_is_not_charged_for_it() {
    let (summarizing, body) = Fixture::before_summary(&json!({}));
    for (fixture, body) in [(Fixture::one(0), json!({ "input": "hi" })), (summarizing, body)] {
        let (mut pending, mut call) = fixture.turn(&body);
        fixture.hand.clock.advance_seconds(1);
        call.head(503, &[("content-type", "application/json")]);
        call.send("{");
        pending.wait();
        drop(pending);
        assert_eq!(cost(fixture.end(), TurnEnd::ClientLeft), (0, 0));
    }
}

#[test]
fn a_failed_document_counts_as_reported() {
    let fixture = Fixture::one(0);
    let (pending, mut call) = fixture.turn(&json!({ "input": "hi" }));
    let choice = json!({ "index": 0, "message": { "content": "hello" }, "finish_reason": "error" });
    let usage = json!({ "prompt_tokens": 700, "completion_tokens": 30 });
    call.head(200, &[("content-type", "application/json")]);
    call.send(json!({ "choices": [choice], "usage": usage }).to_string());
    call.end();
    assert!(pending.answer().status.is_server_error());
    assert_eq!(cost(fixture.end(), TurnEnd::Failed).0, 730);
}

#[test]
fn a_refused_member_does_not_count_twice() {
    let fixture = Fixture::one(0);
    let (mut pending, mut first) = fixture.turn(&json!({ "input": "hi", "stream": true }));
    fixture.hand.clock.advance_seconds(3);
    first.head(400, &[("content-type", "application/json")]);
    first.send("{\"error\":{\"message\":\"Unsupported parameter\",\"param\":\"stream_options\"}}");
    first.end();
    let mut second = fixture.next_call(&mut pending);
    second.stream();
    second.say("hello");
    fixture.hand.clock.advance_seconds(1);
    second.stop();
    pending.head().rest();
    assert_eq!(cost(fixture.end(), TurnEnd::Complete).0, 5);
}

#[test]
fn a_fallback_after_a_reply_that_was_begun_counts_both() {
    let fixture = Fixture::new(&format!("retries = 0\n{}", behind_one_alias(&[("a", "openai"), ("b", "anthropic")])));
    let (mut pending, mut first) = fixture.turn(&json!({ "input": "hi", "user_id": "ada" }));
    first.head(200, &[("content-type", "application/json")]);
    first.send("{\"choices\":[{\"message\":{\"content\":\"Hel");
    pending.wait();
    fixture.hand.clock.advance_seconds(3);
    first.break_off();
    let second = fixture.next_call(&mut pending);
    assert_eq!(second.upstream, "b");
    fixture.hand.clock.advance_seconds(2);
    drop(pending);
    let output = tokens("{\"choices\":[{\"message\":{\"content\":\"Hel".len());
    let (model_tokens, millis) = cost(fixture.end(), TurnEnd::ClientLeft);
    assert_eq!(model_tokens, sent(&first) + output + sent(&second));
    assert_eq!(millis, 5_000);
}

#[test]
fn a_client_that_leaves_between_two_calls_is_charged_for_the_first() {
    let fixture = Fixture::one(1);
    let (mut pending, mut first) = fixture.turn(&json!({ "input": "hi", "user_id": "ada" }));
    first.stream();
    first.say("So far");
    pending.wait();
    fixture.hand.clock.advance_seconds(3);
    first.break_off();
    pending.wait();
    assert!(!fixture.hand.upstream.is_called(), "it pauses");
    fixture.hand.clock.advance(Duration::from_millis(1));
    drop(pending);
    assert_eq!(cost(fixture.end(), TurnEnd::ClientLeft), (sent(&first) + tokens("So far".len()), 3_000));
}

#[test]
fn a_call_that_this_server_cancels_counts_as_far_as_it_came() {
    // It takes too long, or the server stops.
    for stops in [false, true] {
        let fixture = Fixture::one(0);
        let (mut pending, call) = fixture.turn(&json!({ "input": "hi", "stream": true }));
        fixture.hand.clock.advance_seconds(if stops { 7 } else { 60 });
        if stops {
            pending.wait();
            fixture.hand.service.stop();
        }
        assert!(pending.answer().status.is_server_error());
        let millis = if stops { 7_000 } else { 60_000 };
        assert_eq!(cost(fixture.end(), TurnEnd::Failed), (sent(&call), millis));
    }
}

#[test]
fn a_call_in_the_queue_of_an_upstream_has_cost_nothing() {
    let fixture = Fixture::one(0);
    fixture.hand.upstream.queue_calls();
    let (pending, call) = fixture.turn(&json!({ "input": "hi" }));
    fixture.hand.clock.advance_seconds(5);
    drop((pending, call));
    assert_eq!(cost(fixture.end(), TurnEnd::ClientLeft), (0, 0));
}

#[test]
fn an_unfinished_tool_call_counts_as_far_as_it_has_arrived() {
    let fixture = Fixture::one(0);
    let (mut pending, mut call) = fixture.turn(&json!({ "input": "hi", "stream": true }));
    call.stream();
    let args = "a".repeat(40_000);
    let function = json!({ "name": "f", "arguments": args });
    let delta =
        json!({ "choices": [{ "delta": { "tool_calls": [{ "index": 0, "id": "c", "function": function }] } }] });
    call.send(format!("data: {delta}\n\n"));
    pending.wait();
    drop(pending);
    let (model_tokens, _) = cost(fixture.end(), TurnEnd::ClientLeft);
    assert_eq!(model_tokens, sent(&call) + tokens(args.len() + "cf".len()));
}

#[test]
fn counts_that_a_service_reports_at_the_start_replace_the_estimate() {
    let fixture = Fixture::new(&format!("retries = 0\n{}", upstream("anthropic", "http://model.test")));
    let (pending, mut call) = fixture.turn(&json!({ "input": "hi", "stream": true }));
    call.stream();
    let start = json!({ "type": "message_start", "message": { "usage": { "input_tokens": 900, "output_tokens": 1 } } });
    let delta = json!({ "type": "text_delta", "text": "word ".repeat(40) });
    let delta = json!({ "type": "content_block_delta", "index": 0, "delta": delta });
    let block = json!({ "type": "content_block_start", "index": 0, "content_block": { "type": "text", "text": "" } });
    for event in [start, block, delta] {
        call.send(format!("data: {event}\n\n"));
    }
    let mut incoming = pending.head();
    incoming.text();
    drop(incoming);
    assert_eq!(cost(fixture.end(), TurnEnd::Cut).0, 900 + 50);
}

#[test]
fn a_count_of_model_tokens_costs_only_its_time() {
    let body = json!({ "model": "default", "messages": [{ "role": "user", "content": "hi" }], "max_tokens": 10 });
    for leaves in [false, true] {
        let fixture = Fixture::new(&upstream("anthropic", "http://model.test"));
        let (pending, mut call) = fixture.start("/v1/messages/count_tokens", &body);
        fixture.hand.clock.advance_seconds(2);
        if leaves {
            drop(pending);
        } else {
            call.head(200, &[("content-type", "application/json")]);
            call.send("{\"input_tokens\":7}");
            call.end();
            pending.answer().json();
        }
        let calls = fixture.guard.take();
        let [Admit(GuardPurpose::Count), end] = calls.as_slice() else { panic!("{calls:?}") };
        let kind = if leaves { TurnEnd::ClientLeft } else { TurnEnd::Failed };
        assert_eq!(cost(*end, kind), (0, 2_000));
        assert_eq!(fixture.entry().upstream_millis, 2_000);
    }
}

#[test]
fn compatible_apis_mark_estimates_as_well() {
    let chat = json!({ "model": "default", "messages": [{ "role": "user", "content": "hi" }] });
    let messages = json!({ "model": "default", "max_tokens": 9, "messages": [{ "role": "user", "content": "hi" }] });
    let responses = json!({ "model": "default", "input": "hi" });
    for (path, body) in [("/v1/chat/completions", chat), ("/v1/messages", messages), ("/v1/responses", responses)] {
        for reports in [false, true] {
            let fixture = Fixture::one(0);
            let (pending, mut call) = fixture.start(path, &body);
            let usage = if reports { json!({ "prompt_tokens": 3, "completion_tokens": 2 }) } else { Value::Null };
            let choice = json!({ "index": 0, "message": { "content": "hello" }, "finish_reason": "stop" });
            call.head(200, &[("content-type", "application/json")]);
            call.send(json!({ "choices": [choice], "usage": usage }).to_string());
            call.end();
            let estimated = if reports { Value::Null } else { json!(true) };
            assert_eq!(pending.answer().json()["holdall"]["usage_estimated"], estimated, "{path}");
        }
    }
}
