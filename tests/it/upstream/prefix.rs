//! Promise 7: what is sent upstream for earlier turns is the same bytes, turn after turn, so that prompt caches hit.

use serde_json::{Value, json};

use crate::support::{config, hand::Hand, upstream};

/// A tool call: its id, the tool's name, the arguments.
type Call<'a> = (&'a str, &'a str, Value);

/// Answers a call with this text and these tool calls, in the upstream's own format.
fn reply(kind: &str, text: Option<&str>, calls: &[Call<'_>]) -> String {
    match kind {
        "openai" => {
            let calls: Vec<_> = calls
                .iter()
                .map(|(id, name, args)| json!({ "id": id, "type": "function", "function": { "name": name, "arguments": args.to_string() } }))
                .collect();
            let finish = if calls.is_empty() { "stop" } else { "tool_calls" };
            let message = json!({ "role": "assistant", "content": text, "tool_calls": calls });
            json!({ "choices": [{ "index": 0, "message": message, "finish_reason": finish }] }).to_string()
        }
        _ => {
            let text = text.map(|text| json!({ "type": "text", "text": text }));
            let calls = calls
                .iter()
                .map(|(id, name, args)| json!({ "type": "tool_use", "id": id, "name": name, "input": args }));
            let content: Vec<_> = text.into_iter().chain(calls).collect();
            json!({ "type": "message", "content": content, "stop_reason": "end_turn", "usage": {} }).to_string()
        }
    }
}

#[test]
fn each_request_begins_with_the_one_before() {
    let image = "data:image/png;base64,AAAA";
    let result = |id: &str, out: Value| json!({ "t": "result", "id": id, "out": out });
    let turns: Vec<(Value, Option<&str>, Vec<Call<'_>>)> = vec![
        (json!("Grüß dich \"quoted\" \u{2028} \u{1F44B}\n"), Some("hello"), vec![]),
        (json!([{ "text": "look" }, { "image": image }, { "image": "https://e.test/a.png" }]), Some("I see."), vec![]),
        (json!("add"), Some("Adding."), vec![("c1", "add", json!({ "a": 1 })), ("c2", "add", json!({ "b": [2.50] }))]),
        (
            json!([result("c2", json!("4")), result("c1", json!([{ "text": "3" }, { "image": image }]))]),
            None,
            vec![("c3", "fail", json!({}))],
        ),
        (json!([{ "t": "result", "id": "c3", "out": "", "error": true }, { "text": "never mind" }]), Some(""), vec![]),
        (json!("bye"), Some("bye"), vec![]),
        (json!("bye"), Some("bye"), vec![]),
    ];
    let tools = json!([{ "name": "add", "description": "adds", "parameters": { "type": "object", "b": 1, "a": 2 } }, { "name": "fail" }]);
    for kind in ["openai", "anthropic"] {
        let settings = upstream(kind, "http://model.test");
        let hand = Hand::of(config(&format!("system_prompt = \"Be kind.\"\n{settings}")));
        let (mut token, mut before) = (Value::Null, None::<String>);
        for (input, text, calls) in &turns {
            let mut asked = hand.turn(&json!({ "input": input, "token": token, "tools": tools, "temperature": 0.7 }));
            asked.wait();
            let mut call = hand.upstream.call();
            let body = String::from_utf8(call.request.body().to_vec()).unwrap();
            if let Some(before) = before {
                let shared = before.strip_suffix("]}").unwrap();
                assert!(body.starts_with(&format!("{shared},")), "\n{before}\n{body}");
            }
            before = Some(body);
            call.head(200, &[("content-type", "application/json")]);
            call.send(reply(kind, *text, calls));
            call.end();
            token = asked.answer().json()["token"].clone();
        }
    }
}

#[test]
fn the_prefix_is_the_same_on_another_instance_and_after_a_stream() {
    let ask = |token: &Value, stream: bool| json!({ "input": "go on", "token": token, "stream": stream });
    let one = Hand::new("");
    let first = one.whole_turn(&json!({ "input": "hi" }), "hello");
    let bodies: Vec<_> = [false, true]
        .into_iter()
        .map(|stream| {
            let other = Hand::new("");
            let mut asked = other.turn(&ask(&first["token"], stream));
            asked.wait();
            other.upstream.call().json()["messages"].clone()
        })
        .collect();
    assert_eq!(bodies[0], bodies[1]);
    assert_eq!(bodies[0][1], json!({ "role": "assistant", "content": "hello" }));
}
