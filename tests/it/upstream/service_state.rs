//! Services that refuse a request without the opaque members that they gave before: over two
//! instances, after failover and back, whole and streamed.

use serde_json::{Value, json};

use crate::support::{
    config,
    drive::{behind_one_alias, drive},
    events::events,
    fake::Call,
    hand::Hand,
};

/// Two upstreams behind one alias. The first one has these settings.
fn instance(settings: &str) -> Hand {
    let upstreams = behind_one_alias(&[("first", "openai"), ("second", "openai")]);
    let upstreams = upstreams.replacen("kind = \"openai\"\n", &format!("kind = \"openai\"\n{settings}"), 1);
    Hand::of(config(&upstreams))
}

/// The signature of a call.
const SIGNATURE: &str = r#"{"google":{"thought_signature":"AbC+/=="}}"#;

/// Sends a reply with reasoning, text and a signed call.
fn reason_and_call(call: &mut Call) {
    let signed: Value = serde_json::from_str(SIGNATURE).unwrap();
    let tool = json!({ "index": 0, "id": "functions.look:0", "type": "function",
        "function": { "name": "look", "arguments": "{}" }, "extra_content": signed });
    send(
        call,
        &[
            json!({ "reasoning_content": "I " }),
            json!({ "reasoning_content": "see", "content": "Wait." }),
            json!({ "tool_calls": [tool] }),
        ],
        &json!({ "content": "Wait.", "reasoning_content": "I see", "tool_calls": [tool] }),
    );
}

/// Sends a reply in the form that the request asks for.
fn send(call: &mut Call, deltas: &[Value], message: &Value) {
    let usage = json!({ "prompt_tokens": 3, "completion_tokens": 2 });
    if call.json()["stream"] == true {
        call.stream();
        for delta in deltas {
            call.send(format!("data: {}\n\n", json!({ "choices": [{ "index": 0, "delta": delta }] })));
        }
        let end = json!({ "choices": [{ "index": 0, "delta": {}, "finish_reason": "stop" }], "usage": usage });
        call.send(format!("data: {end}\n\ndata: [DONE]\n\n"));
    } else {
        call.head(200, &[("content-type", "application/json")]);
        call.send(json!({ "choices": [{ "message": message, "finish_reason": "stop" }], "usage": usage }).to_string());
    }
    call.end();
}

fn say(call: &mut Call, text: &str) {
    send(call, &[json!({ "content": text })], &json!({ "content": text }));
}

/// Refuses a request that lacks what this service gave or requires, and says `text` otherwise.
fn strict(call: &mut Call, requires_reasoning: bool, text: &str) {
    let request = call.json();
    let messages = request["messages"].as_array().unwrap();
    let is_complete = messages.iter().filter(|message| message["tool_calls"].is_array()).all(|message| {
        let tool = &message["tool_calls"][0];
        let is_own = tool["id"] == "functions.look:0";
        let signed = serde_json::from_str::<Value>(SIGNATURE).unwrap();
        (!is_own || (message["reasoning_content"] == "I see" && tool["extra_content"] == signed))
            && (!requires_reasoning || message["reasoning_content"].is_string())
    });
    if is_complete {
        say(call, text);
    } else {
        call.head(400, &[("content-type", "application/json")]);
        call.send(r#"{"error":{"message":"reasoning_content is missing"}}"#);
        call.end();
    }
}

/// A turn at this instance. Returns the last request to an upstream, and the answer.
fn turn(hand: &Hand, token: &Value, input: &Value, stream: bool, mut reply: impl FnMut(&mut Call)) -> (String, Value) {
    let body = json!({ "token": token, "input": input, "stream": stream });
    let mut driven = drive(hand, hand.turn(&body), |call| reply(call));
    let text = driven.answer.text();
    assert_eq!(driven.answer.status, 200, "{text}");
    let sent = String::from_utf8(driven.calls.pop().unwrap().request.body().to_vec()).unwrap();
    let answer = if stream { events(&text).pop().unwrap().1 } else { driven.answer.json() };
    (sent, answer)
}

fn messages(request: &str) -> &str {
    request.split_once("\"messages\":[").unwrap().1.strip_suffix("]}").unwrap()
}

#[test]
fn state_comes_back_at_another_instance_and_after_a_failover() {
    let settings = "profile = \"moonshot\"\ncall_ids = \"plain\"\n";
    for (settings, requires_reasoning) in [("", false), (settings, true)] {
        for stream in [false, true] {
            let (one, two) = (instance(settings), instance(settings));
            let result = |id: &str| json!([{ "t": "result", "id": id, "out": "red" }]);
            let keeps_extra = settings.is_empty();
            let answer = |call: &mut Call, text: &str| {
                if keeps_extra { strict(call, requires_reasoning, text) } else { lenient(call, text) }
            };

            let (_, first) = turn(&one, &Value::Null, &json!("look"), stream, reason_and_call);
            assert_eq!(first["reply"], "Wait.");
            let (asked, second) =
                turn(&two, &first["token"], &result("functions.look:0"), stream, |call| answer(call, "Red."));
            assert!(asked.contains(r#""tool_call_id":"functions.look:0""#), "the id is unchanged: {asked}");

            let (failed_over, third) = turn(&one, &second["token"], &json!("and now?"), stream, |call| {
                if call.upstream == "first" {
                    call.head(404, &[]);
                    call.end();
                } else {
                    let tool = json!({ "index": 0, "id": "call_b", "type": "function",
                        "function": { "name": "look", "arguments": "{}" } });
                    send(call, &[json!({ "tool_calls": [tool] })], &json!({ "content": null, "tool_calls": [tool] }));
                }
            });
            assert!(!failed_over.contains("I see") && !failed_over.contains("AbC"), "{failed_over}");

            let (back, fourth) =
                turn(&two, &third["token"], &result("call_b"), stream, |call| answer(call, "Still red."));
            assert_eq!(fourth["reply"], "Still red.");
            assert!(messages(&back).starts_with(messages(&asked)), "the beginning is unchanged\n{asked}\n{back}");
            assert_eq!(back.matches(r#""reasoning_content":".""#).count(), usize::from(requires_reasoning));
        }
    }

    /// A service that wants reasoning back, and knows no signatures.
    fn lenient(call: &mut Call, text: &str) {
        let request = call.json();
        for message in request["messages"].as_array().unwrap() {
            assert!(message["tool_calls"].is_null() || message["reasoning_content"].is_string(), "{message}");
        }
        say(call, text);
    }
}

#[test]
fn a_chat_client_that_drops_the_state_continues() {
    let hand = instance("");
    let path = "/v1/chat/completions";
    let question = json!({ "role": "user", "content": "look" });
    let body = json!({ "model": "default", "messages": [question] });
    let mut driven = drive(&hand, hand.post(path, body.to_string()), reason_and_call);
    let first = driven.answer.json();
    let shown = &first["choices"][0]["message"];
    assert!(shown.get("reasoning_content").is_none() && !shown["content"].to_string().contains("see"), "{shown}");
    let reply = json!({ "role": "assistant", "content": shown["content"], "tool_calls": shown["tool_calls"] });
    let result = json!({ "role": "tool", "tool_call_id": "functions.look:0", "content": "red" });
    let body = json!({ "model": "default", "messages": [question, reply, result],
        "conversation_token": first["conversation_token"] });
    driven = drive(&hand, hand.post(path, body.to_string()), |call| strict(call, false, "Red."));
    assert_eq!(driven.answer.json()["choices"][0]["message"]["content"], "Red.", "{}", driven.answer.text());
}

#[test]
fn a_turn_continues_after_an_empty_reply() {
    let hand = instance("");
    for (message, reason) in
        [(json!({ "content": "", "reasoning_content": "hm" }), "length"), (json!({ "content": null }), "stop")]
    {
        let body = json!({ "input": "hi" });
        let driven = drive(&hand, hand.turn(&body), |call| {
            call.head(200, &[("content-type", "application/json")]);
            call.send(json!({ "choices": [{ "message": message, "finish_reason": reason }] }).to_string());
            call.end();
        });
        let first = driven.answer.json();
        assert_eq!((first["reply"].as_str(), first["finish_reason"].as_str()), (Some(""), Some(reason)), "{first}");
        let (sent, _) = turn(&hand, &first["token"], &json!("again"), false, |call| say(call, "ok"));
        let sent: Value = serde_json::from_str(&sent).unwrap();
        assert!(!sent["messages"][1]["content"].as_str().unwrap().is_empty(), "{sent}");
    }
}
