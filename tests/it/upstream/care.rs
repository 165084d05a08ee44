//! Failed calls: how many calls each upstream gets, which error the client gets, and that a call is
//! never repeated after the client has seen output.

use holdall::{
    guard::{Charge, GuardPurpose, TurnEnd},
    upstream::{UpstreamError, Verdict},
};
use serde_json::{Value, json};

use crate::support::{
    config,
    drive::{Driven, behind_one_alias, drive},
    events::events,
    fake::Call,
    guard::{GuardCall, RecordingGuard},
    hand::{Hand, PendingCall},
    wire::Wire,
};

/// A way to fail a call.
type Fail = fn(&mut Call);

fn status(call: &mut Call, status: u16, headers: &[(&str, &str)], body: &str) {
    call.head(status, headers);
    call.send(body.to_owned());
    call.end();
}

fn body(call: &mut Call, content_type: &str, body: &[u8]) {
    call.head(200, &[("content-type", content_type)]);
    if !body.is_empty() {
        call.send(body.to_vec());
    }
    call.end();
}

const JSON: &str = "application/json";
const SSE: &str = "text/event-stream";
const OVERFLOW: &str = r#"{"error":{"message":"prompt is too long: 210000 tokens"}}"#;
const NO_CREDIT: &str =
    r#"{"type":"error","error":{"type":"invalid_request_error","message":"Your credit balance is too low"}}"#;
const QUOTA: &str = r#"{"error":{"type":"insufficient_quota","message":"no"}}"#;

/// Failures before any output: the name, the failure, the number of calls without and with a second
/// upstream, and the code without one.
const FAULTS: &[(&str, Fail, usize, usize, &str)] = &[
    (
        "no connection",
        |call| call.refuse(UpstreamError::Unreachable { cause: "refused".into() }),
        3,
        3,
        "upstream_unavailable",
    ),
    ("status 500", |call| status(call, 500, &[], "{}"), 3, 3, "upstream_unavailable"),
    (
        "a page with status 502",
        |call| status(call, 502, &[("content-type", "text/html")], "<h1>"),
        3,
        3,
        "upstream_unavailable",
    ),
    ("status 503", |call| status(call, 503, &[], ""), 3, 3, "upstream_unavailable"),
    ("status 529", |call| status(call, 529, &[], ""), 3, 3, "upstream_unavailable"),
    ("503, retry after 1 s", |call| status(call, 503, &[("retry-after", "1")], ""), 3, 3, "upstream_unavailable"),
    ("503, retry after 4 s", |call| status(call, 503, &[("retry-after", "4")], ""), 3, 1, "upstream_unavailable"),
    ("503, retry after 30 s", |call| status(call, 503, &[("retry-after", "30")], ""), 1, 1, "upstream_unavailable"),
    (
        "503 with an endless body",
        |call| {
            call.head(503, &[("content-type", JSON)]);
            call.send("{");
        },
        3,
        3,
        "upstream_unavailable",
    ),
    ("429, retry after 0 s", |call| status(call, 429, &[("retry-after", "0")], ""), 3, 3, "upstream_refused"),
    ("429", |call| status(call, 429, &[], ""), 3, 1, "upstream_refused"),
    ("429, retry after 60 s", |call| status(call, 429, &[("retry-after", "60")], ""), 1, 1, "upstream_refused"),
    ("429, quota used up", |call| status(call, 429, &[], QUOTA), 1, 1, "upstream_unavailable"),
    ("status 401", |call| status(call, 401, &[], ""), 1, 1, "upstream_unavailable"),
    ("status 402", |call| status(call, 402, &[], ""), 1, 1, "upstream_unavailable"),
    ("status 403", |call| status(call, 403, &[], ""), 1, 1, "upstream_unavailable"),
    ("status 404", |call| status(call, 404, &[], ""), 1, 1, "upstream_refused"),
    ("status 400, no credit", |call| status(call, 400, &[], NO_CREDIT), 1, 1, "upstream_unavailable"),
    ("status 408", |call| status(call, 408, &[], ""), 3, 3, "upstream_unavailable"),
    ("a page", |call| body(call, "text/html", b"<h1>Welcome</h1>"), 1, 1, "upstream_malformed"),
    ("not JSON", |call| body(call, JSON, b"<h1>"), 1, 1, "upstream_malformed"),
    ("a redirect", |call| status(call, 302, &[("location", "/elsewhere")], ""), 1, 1, "upstream_malformed"),
    ("an empty stream", |call| body(call, SSE, b""), 3, 3, "upstream_cut"),
    ("an empty reply", |call| body(call, JSON, b""), 3, 3, "upstream_cut"),
    (
        "a cut after the head",
        |call| {
            call.stream();
            call.break_off();
        },
        3,
        3,
        "upstream_cut",
    ),
    ("silence", |_| {}, 1, 1, "upstream_timeout"),
    ("silence after the head", |call| call.stream(), 1, 1, "upstream_timeout"),
    (
        "silence after a comment",
        |call| {
            call.stream();
            call.send(":\n\n");
        },
        1,
        1,
        "upstream_timeout",
    ),
    ("a full queue", |call| call.refuse(UpstreamError::Overloaded), 1, 1, "overloaded"),
    ("an ejected upstream", |call| call.refuse(UpstreamError::Ejected), 2, 1, "upstream_unavailable"),
];

/// The faults of the operator's account.
const ACCOUNT_FAULTS: &[&str] =
    &["429, quota used up", "status 401", "status 402", "status 403", "status 400, no credit"];

/// Failures that another upstream cannot help with.
const FINAL: &[(&str, Fail)] = &[
    ("status 400", |call| status(call, 400, &[], "{}")),
    ("status 413", |call| status(call, 413, &[], "{}")),
    ("status 422", |call| status(call, 422, &[], "{}")),
    ("too long a prompt", |call| status(call, 400, &[], OVERFLOW)),
    ("another format", |call| body(call, JSON, b"{\"choices\":1}")),
    ("an error in the stream", |call| {
        body(call, SSE, b"data: {\"error\":{\"message\":\"no\",\"type\":\"invalid_request_error\"}}\n\n")
    }),
];

/// The form of the client's request.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Form {
    Document,
    Held,
    Streamed,
}

const FORMS: [Form; 3] = [Form::Held, Form::Streamed, Form::Document];

fn ask(hand: &Hand, form: Form, token: &Value, fail: impl FnMut(&mut Call)) -> Driven {
    let asked = match form {
        Form::Held => {
            hand.post("/v1/responses", json!({ "model": "default", "input": "hi", "stream": true }).to_string())
        }
        _ => hand.turn(&json!({ "input": "hi", "token": token, "stream": form == Form::Streamed })),
    };
    drive(hand, asked, fail)
}

/// The code of the error, in the response's head or in its stream. `None` for a successful turn.
fn code(form: Form, driven: &Driven) -> Option<String> {
    let text = driven.answer.text();
    let document = match driven.answer.header("content-type") {
        "text/event-stream" => {
            let events = events(&text);
            match events.iter().find(|(name, _)| name == "error") {
                Some((_, data)) => data.clone(),
                None => {
                    let end = if form == Form::Held { "response.completed" } else { "done" };
                    assert_eq!(events.last().unwrap().0, end, "{text}");
                    return None;
                }
            }
        }
        _ if driven.answer.status == 200 => return None,
        _ if form == Form::Held => serde_json::from_str::<Value>(&text).unwrap()["error"].clone(),
        _ => serde_json::from_str(&text).unwrap(),
    };
    Some(document["code"].as_str().unwrap_or_else(|| panic!("{text}")).to_owned())
}

fn one() -> Hand {
    Hand::of(config(&behind_one_alias(&[("a", "openai")])))
}

fn two() -> Hand {
    Hand::of(config(&behind_one_alias(&[("a", "openai"), ("b", "openai")])))
}

#[test]
fn with_one_upstream_each_fault_has_its_number_of_calls_and_its_code() {
    for (name, fail, calls, _, expected) in FAULTS {
        for form in FORMS {
            let hand = one();
            let driven = ask(&hand, form, &Value::Null, *fail);
            assert_eq!(
                (driven.calls.len(), code(form, &driven).as_deref()),
                (*calls, Some(*expected)),
                "{name}, {form:?}"
            );
            assert_eq!(hand.service.requests_in_flight(), 0);
            let entry = hand.log.take().remove(0);
            assert_eq!((entry.attempts as usize, entry.upstream.as_deref()), (*calls, Some("a")), "{name}");
        }
    }
}

#[test]
fn with_a_second_upstream_the_turn_succeeds() {
    for (name, fail, _, calls, expected) in FAULTS {
        for form in FORMS {
            let hand = two();
            let driven =
                ask(&hand, form, &Value::Null, |call| if call.upstream == "a" { fail(call) } else { say(call) });
            assert_eq!(code(form, &driven), None, "{name}, {form:?}: {}", driven.answer.text());
            assert_eq!((driven.count("a"), driven.count("b")), (*calls, 1), "{name}, {form:?}");
            assert!(driven.calls.iter().all(|call| call.is_last == (call.upstream == "b")), "{name}");
            let entry = hand.log.take().remove(0);
            assert_eq!((entry.attempts as usize, entry.upstream.as_deref()), (calls + 1, Some("b")), "{name}");
            assert_eq!((entry.code, entry.setbacks.len()), (None, *calls), "{name}");
            assert!(entry.setbacks[0].starts_with(&format!("a: {expected}")), "{:?}", entry.setbacks);
        }
    }
}

/// Sends a complete reply, streamed if the request asks for that.
fn say(call: &mut Call) {
    if call.json()["stream"] == true {
        call.stream();
        call.say("hello");
        call.stop();
    } else {
        call.reply("hello");
    }
}

#[test]
fn a_faulty_request_is_not_sent_to_another_upstream() {
    for (name, fail) in FINAL {
        for form in FORMS {
            let hand = two();
            let driven = ask(&hand, form, &Value::Null, *fail);
            assert_eq!((driven.count("a"), driven.count("b")), (1, 0), "{name}, {form:?}");
            assert!(code(form, &driven).is_some(), "{name}");
        }
    }
}

#[test]
fn if_all_upstreams_fail_the_most_helpful_error_is_reported_and_the_token_stays_valid() {
    let hand = two();
    let first = ask(&hand, Form::Document, &Value::Null, say).answer.json();
    for (at_a, at_b, expected, wait) in [
        ((503, ""), (401, ""), "upstream_unavailable", None),
        ((401, ""), (503, ""), "upstream_unavailable", None),
        ((429, "30"), (503, ""), "upstream_refused", Some(30)),
        ((503, "20"), (429, "30"), "upstream_refused", Some(30)),
        ((404, ""), (401, ""), "upstream_unavailable", None),
        ((401, ""), (404, ""), "upstream_refused", None),
    ] {
        let driven = ask(&hand, Form::Document, &first["token"], |call| {
            let (code, wait) = if call.upstream == "a" { at_a } else { at_b };
            status(call, code, &[("retry-after", wait)], "");
        });
        let problem = driven.answer.problem(expected);
        assert_eq!(problem.get("retry_after_seconds").and_then(Value::as_u64), wait, "{at_a:?}, {at_b:?}");
    }
    let again = ask(&hand, Form::Document, &first["token"], say).answer.json();
    assert_eq!(again["conversation"]["turn"], 2);
}

#[test]
fn after_output_there_is_exactly_one_call() {
    let failures: [(&str, Fail, &str); 5] = [
        ("cut", |call| call.break_off(), "upstream_cut"),
        ("end", |call| call.end(), "upstream_cut"),
        ("silence", |_| {}, "upstream_timeout"),
        ("nonsense", |call| call.send("data: {nonsense\n\n"), "upstream_malformed"),
        ("error", |call| call.send("data: {\"error\":{\"type\":\"overloaded_error\"}}\n\n"), "upstream_unavailable"),
    ];
    for (name, fail, expected) in failures {
        for (wire, together) in Wire::ALL.into_iter().flat_map(|wire| [(wire, false), (wire, true)]) {
            let hand = two();
            let mut body = wire.turn(None, None, "hi", true);
            if wire == Wire::Responses {
                body["metadata"] = json!({ "holdall_stream": "live" });
            }
            let mut asked = hand.post(wire.path(), body.to_string());
            asked.wait();
            let mut call = hand.upstream.call();
            call.stream();
            call.say("Once");
            // The failure may also arrive together with the text.
            if together {
                fail(&mut call);
            }
            let mut coming = asked.head();
            let mut shown = coming.text_so_far();
            assert!(shown.contains("Once"), "{name}, {wire:?}: {shown}");
            if !together {
                fail(&mut call);
            }
            while !coming.has_ended() {
                hand.clock.advance_seconds(1);
                shown.push_str(&coming.text_so_far());
            }
            assert!(shown.contains(expected), "{name}, {wire:?}: {shown}");
            if wire == Wire::Native {
                let (event, data) = events(&shown).pop().unwrap();
                assert_eq!((event.as_str(), &data["code"]), ("error", &json!(expected)), "{name}: {data}");
                assert_eq!(data["partial"]["reply"], "Once", "{name}");
            }
            assert!(!hand.upstream.is_called(), "{name}, {wire:?}");
            drop(coming);
            assert_eq!(hand.log.take().remove(0).attempts, 1, "{name}, {wire:?}");
        }
    }
}

#[test]
fn an_interrupted_held_reply_is_requested_again_once() {
    for form in [Form::Held, Form::Document] {
        let part = |call: &mut Call| {
            // A reply may arrive as a stream even if the request did not ask for one.
            call.stream();
            call.say("lost");
            call.break_off();
        };
        let (alone, hand) = (one(), two());
        let driven = ask(&alone, form, &Value::Null, part);
        assert_eq!((driven.calls.len(), code(form, &driven).as_deref()), (2, Some("upstream_cut")), "{form:?}");
        let driven = ask(&hand, form, &Value::Null, part);
        assert_eq!((driven.count("a"), driven.count("b")), (1, 1), "{form:?}");
        let driven = ask(&hand, form, &Value::Null, |call| if call.upstream == "a" { part(call) } else { say(call) });
        let text = driven.answer.text();
        assert!(text.contains("hello") && !text.contains("lost"), "{text}");
    }
}

#[test]
fn a_reply_in_progress_may_take_longer_than_its_share_of_the_time() {
    for form in FORMS {
        let hand = two();
        let mut asked = match form {
            Form::Held => {
                hand.post("/v1/responses", json!({ "model": "default", "input": "hi", "stream": true }).to_string())
            }
            _ => hand.turn(&json!({ "input": "hi", "stream": form == Form::Streamed })),
        };
        asked.wait();
        // Before the head of a held stream is sent.
        hand.clock.advance_seconds(14);
        asked.is_waiting();
        let mut call = hand.upstream.call();
        call.stream();
        // The first share ends after 300 s. It is enough that the reply has started, even without
        // output.
        call.send("data: {\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\n");
        let asked = in_steps(&hand, asked, &call, 8);
        call.stop();
        let driven = drive(&hand, asked, |call| panic!("{} was called", call.upstream));
        assert!(!call.is_cancelled() && driven.calls.is_empty());
        assert_eq!(code(form, &driven), None);
    }
}

/// Sends one piece of a reply every 55 s.
fn in_steps(hand: &Hand, mut asked: PendingCall, call: &Call, steps: usize) -> PendingCall {
    for _ in 0..steps {
        asked.is_waiting();
        hand.clock.advance_seconds(55);
        call.say("a");
    }
    asked
}

#[test]
fn a_reply_that_started_is_paid_for_at_most_once_more() {
    let thinking = "data: {\"choices\":[{\"index\":0,\"delta\":{\"reasoning_content\":\"hm\"}}]}\n\n";
    for form in FORMS {
        let hand = one();
        let driven = ask(&hand, form, &Value::Null, |call| {
            call.stream();
            call.send(thinking);
            call.break_off();
        });
        assert_eq!((driven.calls.len(), code(form, &driven).as_deref()), (2, Some("upstream_cut")), "{form:?}");
    }
}

#[test]
fn a_complete_reply_that_exceeds_its_share_of_the_time_gives_no_verdict() {
    let hand = two();
    let mut asked = hand.turn(&json!({ "input": "hi" }));
    asked.wait();
    hand.clock.advance_seconds(300);
    asked.is_waiting();
    let slow = hand.upstream.call();
    assert!(slow.is_cancelled() && slow.verdict().is_none(), "the share is over, but the address did not fail");
}

#[test]
fn after_a_client_leaves_between_two_calls_there_is_no_call() {
    let hand = one();
    let mut asked = hand.turn(&json!({ "input": "hi" }));
    asked.wait();
    status(&mut hand.upstream.call(), 503, &[], "");
    asked.wait();
    drop(asked);
    hand.clock.advance_seconds(60);
    assert!(!hand.upstream.is_called());
    assert_eq!(hand.service.requests_in_flight(), 0);
}

#[test]
fn after_the_server_stops_between_two_calls_there_is_no_call() {
    let hand = two();
    let mut asked = hand.turn(&json!({ "input": "hi" }));
    asked.wait();
    status(&mut hand.upstream.call(), 503, &[], "");
    asked.wait();
    hand.service.stop();
    asked.answer().problem("internal");
    assert!(!hand.upstream.is_called());
}

#[test]
fn the_turn_ends_within_the_total_timeout() {
    let settings = behind_one_alias(&[("a", "openai"), ("b", "openai"), ("c", "openai")]);
    let hand = Hand::of(config(&format!("timeouts = {{ total = \"90s\", first_byte = \"40s\" }}\n{settings}")));
    for form in FORMS {
        let began = holdall::service::Clock::elapsed(&hand.clock);
        let driven = ask(&hand, form, &Value::Null, |_| {});
        assert_eq!(code(form, &driven).as_deref(), Some("upstream_timeout"), "{form:?}");
        let took = holdall::service::Clock::elapsed(&hand.clock) - began;
        assert!((89..=92).contains(&took.as_secs()), "{form:?}: {took:?}");
        assert_eq!(driven.calls.len(), 3);
        assert!(driven.calls[..2].iter().all(Call::is_cancelled), "{form:?}");
    }
}

#[test]
fn each_fault_gives_its_verdict_on_the_called_address() {
    for (name, fail, _, _, expected) in FAULTS {
        let hand = two();
        let driven =
            ask(&hand, Form::Streamed, &Value::Null, |call| if call.upstream == "a" { fail(call) } else { say(call) });
        let verdict = |at: &str| driven.calls.iter().find(|call| call.upstream == at).unwrap().verdict();
        assert_eq!(verdict("b"), Some(Verdict::Complete), "{name}");
        let reported = match *expected {
            "upstream_refused" => Some(Verdict::Refused),
            "overloaded" => None,
            _ if *name == "an ejected upstream" => None,
            _ if ACCOUNT_FAULTS.contains(name) => Some(Verdict::Refused),
            _ => Some(Verdict::Failed),
        };
        assert_eq!(verdict("a"), reported, "{name}");
    }
}

#[test]
fn a_retry_knows_the_tried_addresses_of_its_target() {
    let (hand, mut seen) = (two(), Vec::new());
    ask(&hand, Form::Streamed, &Value::Null, |call| {
        seen.push((call.upstream.clone(), call.tried.contains(0)));
        if call.upstream == "a" {
            call.refuse(UpstreamError::Unreachable { cause: "down".to_owned() })
        } else {
            say(call)
        }
    });
    let seen: Vec<_> = seen.iter().map(|(upstream, tried)| (upstream.as_str(), *tried)).collect();
    assert_eq!(seen, [("a", false), ("a", true), ("a", true), ("b", false)]);
}

#[test]
fn each_user_has_a_queue_id_of_its_own() {
    let hand = one();
    let mut numbers = Vec::new();
    for user in ["ada", "bob", "ada"] {
        let asked = hand.turn(&json!({ "input": "hi", "user_id": user }));
        numbers.push(drive(&hand, asked, say).calls.remove(0).user);
    }
    assert_eq!(numbers[0], numbers[2]);
    assert_ne!(numbers[0], numbers[1]);
}

#[test]
fn the_guard_admits_and_settles_once_however_many_calls_there_are() {
    for (stream, until_works, ends_well) in [(false, 2, true), (true, 2, true), (false, 99, false), (true, 99, false)] {
        let guard = RecordingGuard::default();
        let hand = Hand::guarded(config(&behind_one_alias(&[("a", "openai")])), guard.clone());
        let mut calls = 0;
        let asked = hand.turn(&json!({ "input": "hi", "stream": stream }));
        drive(&hand, asked, |call| {
            calls += 1;
            if calls > until_works { say(call) } else { status(call, 503, &[], "") }
        });
        assert_eq!(calls, 3);
        let guard_calls = guard.take();
        let well = |call: &GuardCall| matches!(call, GuardCall::Settle(TurnEnd::Complete(_)));
        assert_eq!(guard_calls.first(), Some(&GuardCall::Admit(GuardPurpose::Turn)));
        let settled = guard_calls.iter().filter(|call| matches!(call, GuardCall::Settle(_)));
        assert_eq!(settled.count(), 1, "{guard_calls:?}");
        assert_eq!(guard_calls.last().is_some_and(well), ends_well, "{guard_calls:?}");
        assert!(
            ends_well || guard_calls.last() == Some(&GuardCall::Settle(TurnEnd::Failed(Charge::default()))),
            "{guard_calls:?}"
        );
    }
}
