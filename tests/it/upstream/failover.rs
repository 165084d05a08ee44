//! Failover to another provider in the middle of a conversation: the next provider gets all
//! messages and tool calls, and the conversation continues there, with and without streaming.

use serde_json::{Value, json};

use crate::support::{
    config,
    drive::{behind_one_alias, drive},
    events::events,
    fake::Call,
    hand::Hand,
    kind::Kind,
};

/// A service with two upstreams of these kinds, in this order.
fn hand(first: Kind, second: Kind) -> Hand {
    Hand::of(config(&behind_one_alias(&[("first", first.name()), ("second", second.name())])))
}

/// Fails a call to the upstream `down`. Answers other calls with `answer`.
fn answered(call: &mut Call, down: &str, answer: impl FnOnce(&mut Call)) {
    if call.upstream == down {
        call.head(404, &[]);
        call.end();
    } else {
        answer(call);
    }
}

/// A turn while the upstream `down` fails. Returns the request to the other upstream, and the
/// response.
fn turn(hand: &Hand, body: &Value, down: &str, mut answer: impl FnMut(&mut Call)) -> (Value, Value) {
    let mut driven = drive(hand, hand.turn(body), |call| answered(call, down, &mut answer));
    let text = driven.answer.text();
    assert_eq!(driven.answer.status, 200, "{text}");
    let sent = driven.calls.pop().unwrap().json();
    let told = match body["stream"].as_bool() {
        Some(true) => {
            let (name, done) = events(&text).pop().unwrap();
            assert_eq!(name, "done", "{text}");
            done
        }
        _ => driven.answer.json(),
    };
    (sent, told)
}

#[test]
fn a_conversation_with_tool_calls_continues_between_every_pair_of_providers() {
    for first in Kind::ALL {
        for second in Kind::ALL {
            for stream in [false, true] {
                let hand = hand(first, second);
                let tools = json!([{ "name": "add", "parameters": { "type": "object" } }]);
                let ask = |token: &Value, input: Value| json!({ "token": token, "input": input, "stream": stream, "tools": tools });
                let pair = format!("{first:?}, {second:?}, {stream}");

                let (_, one) = turn(&hand, &ask(&Value::Null, json!("add, please")), "first", |call| {
                    second.call_tool(call, "call-7", r#"{"a":3}"#);
                });
                assert_eq!(
                    (&one["finish_reason"], &one["output"][0]["id"]),
                    (&json!("tool_calls"), &json!("call-7")),
                    "{pair}"
                );

                // The first upstream works again, and gets the tool call of the other.
                let result = json!([{ "t": "result", "id": "call-7", "out": "the-sum" }]);
                let (sent, two) =
                    turn(&hand, &ask(&one["token"], result), "second", |call| first.say(call, "it-is-three"));
                let sent = sent.to_string();
                assert!(["add, please", "call-7", "the-sum"].iter().all(|word| sent.contains(word)), "{pair}: {sent}");
                assert_eq!(two["reply"], "it-is-three", "{pair}");

                let (sent, three) =
                    turn(&hand, &ask(&two["token"], json!("sure?")), "first", |call| second.say(call, "yes"));
                let sent = sent.to_string();
                assert!(
                    ["call-7", "the-sum", "it-is-three", "sure?"].iter().all(|word| sent.contains(word)),
                    "{pair}: {sent}"
                );
                assert_eq!((&three["reply"], &three["conversation"]["turn"]), (&json!("yes"), &json!(3)), "{pair}");
                let history = hand.post("/v1/history", json!({ "token": three["token"] }).to_string()).answer().json();
                let kinds: Vec<_> = history["items"].as_array().unwrap().iter().map(|item| item["t"].clone()).collect();
                assert_eq!(kinds, ["msg", "call", "result", "msg", "msg", "msg"], "{pair}");
            }
        }
    }
}

#[test]
fn reasoning_returns_only_to_its_own_provider() {
    let hand = hand(Kind::OpenAiResponses, Kind::Anthropic);
    let think = |call: &mut Call| {
        call.head(200, &[("content-type", "application/json")]);
        let thought = json!({ "type": "thinking", "thinking": "hm", "signature": "EqQB/w==" });
        let content = json!([thought, { "type": "text", "text": "hello" }]);
        call.send(json!({ "type": "message", "content": content, "stop_reason": "end_turn" }).to_string());
        call.end();
    };
    let (_, one) = turn(&hand, &json!({ "input": "hi" }), "first", think);
    assert_eq!((&one["output"][0]["t"], &one["output"][0]["by"]), (&json!("think"), &json!("anthropic@second.test")));
    let reason = |call: &mut Call| {
        call.head(200, &[("content-type", "application/json")]);
        let reasoning = json!({ "type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAA/8=" });
        let content = json!([{ "type": "output_text", "text": "well", "annotations": [] }]);
        let said = json!({ "type": "message", "id": "msg_1", "role": "assistant", "content": content });
        call.send(json!({ "object": "response", "status": "completed", "output": [reasoning, said] }).to_string());
        call.end();
    };
    let (sent, two) = turn(&hand, &json!({ "input": "and?", "token": one["token"] }), "second", reason);
    assert!(!sent.to_string().contains("EqQB"), "{sent}");
    assert_eq!(two["output"][0]["by"], "openai-responses@first.test");
    let (sent, _) = turn(&hand, &json!({ "input": "so?", "token": two["token"] }), "first", think);
    let sent = sent.to_string();
    assert!(sent.contains("EqQB") && !sent.contains("gAAA"), "{sent}");
}

#[test]
fn each_target_gets_the_same_bytes_for_earlier_turns() {
    let hand = hand(Kind::OpenAi, Kind::OpenAiResponses);
    let mut token = Value::Null;
    let mut before: Vec<(String, String)> = Vec::new();
    for number in 0..6 {
        let ask = json!({ "input": format!("question {number}"), "token": token });
        let mut driven = drive(&hand, hand.turn(&ask), |call| {
            answered(call, "first", |call| Kind::OpenAiResponses.say(call, &format!("answer {number}")));
        });
        for call in driven.calls.drain(..) {
            let body = String::from_utf8(call.request.body().to_vec()).unwrap();
            if let Some((_, last)) = before.iter_mut().find(|(upstream, _)| *upstream == call.upstream) {
                let shared = last.strip_suffix("]}").unwrap();
                assert!(body.starts_with(&format!("{shared},")), "{}:\n{last}\n{body}", call.upstream);
                *last = body;
            } else {
                before.push((call.upstream.clone(), body));
            }
        }
        token = driven.answer.json()["token"].clone();
    }
    assert_eq!(before.len(), 2);
}

#[test]
fn a_model_has_its_own_name_at_each_upstream() {
    let settings = behind_one_alias(&[("a", "openai"), ("b", "anthropic")])
        .replace("upstreams = [\"a\", \"b\"]", "upstreams = [\"a\", { name = \"b\", model = \"claude\" }]");
    let hand = Hand::of(config(&settings));
    let driven = drive(&hand, hand.turn(&json!({ "input": "hi" })), |call| {
        answered(call, "a", |call| Kind::Anthropic.say(call, "hello"));
    });
    let models: Vec<_> = driven.calls.iter().map(|call| call.json()["model"].clone()).collect();
    assert_eq!(models, ["m-1", "claude"]);
}

#[test]
fn a_refused_summary_is_requested_from_the_next_target() {
    let settings = behind_one_alias(&[("first", "openai"), ("second", "anthropic")]);
    let limits = "limits = { history_bytes = 60000, reply_bytes = 4096, reply_reserve_bytes = 4096 }\n";
    let hand = Hand::of(config(&format!("{limits}{settings}")));
    let (mut token, mut summaries) = (Value::Null, 0);
    for number in 0..60 {
        let input = format!("{number} {}", "word ".repeat(400 + number));
        let ask = json!({ "input": input, "token": token, "truncation": "summarize" });
        let driven = drive(&hand, hand.turn(&ask), |call| {
            answered(call, "first", |call| Kind::Anthropic.say(call, "in short"));
        });
        let told = driven.answer.json();
        token = told["token"].clone();
        if driven.calls.len() > 2 {
            summaries += 1;
            let names: Vec<_> = driven.calls.iter().map(|call| call.upstream.as_str()).collect();
            assert_eq!(names, ["first", "second", "second"], "the turn begins where the summary came from");
            assert!(driven.calls[2].json().to_string().contains("in short"));
            break;
        }
    }
    assert_eq!(summaries, 1);
}

#[test]
fn a_failed_count_is_retried() {
    let hand = Hand::of(config(&behind_one_alias(&[("a", "anthropic"), ("b", "openai")])));
    let body = json!({ "model": "default", "max_tokens": 9, "messages": [{ "role": "user", "content": "hi" }] });
    let mut calls = 0;
    let asked = hand.post("/v1/messages/count_tokens", body.to_string());
    let driven = drive(&hand, asked, |call| {
        calls += 1;
        if calls < 3 {
            call.head(529, &[]);
        } else {
            call.head(200, &[("content-type", "application/json")]);
            call.send(json!({ "input_tokens": 12 }).to_string());
        }
        call.end();
    });
    assert_eq!((driven.count("a"), driven.answer.json()["input_tokens"].as_u64()), (3, Some(12)));
}
