//! The bytes that an upstream gets for earlier turns stay the same in each turn, so that its prompt
//! cache hits. The marks that tell Anthropic what to cache move. They are not part of the prompt.

use serde_json::{Value, json};

use crate::support::{config, hand::Hand, upstream};

/// A tool call: its id, the tool's name, the arguments.
type Call<'a> = (&'a str, &'a str, Value);

/// A reply with this text and these tool calls, in the format of the upstream's kind.
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
        "openai-responses" => {
            let thought = json!({ "type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAA/+=" });
            let said = text.map(|text| {
                let part = json!({ "type": "output_text", "text": text, "annotations": [] });
                json!({ "type": "message", "id": "msg_1", "role": "assistant", "content": [part] })
            });
            let calls = calls.iter().map(|(id, name, args)| {
                json!({ "type": "function_call", "id": "fc_1", "call_id": id, "name": name, "arguments": args.to_string() })
            });
            let output: Vec<_> = std::iter::once(thought).chain(said).chain(calls).collect();
            json!({ "object": "response", "status": "completed", "output": output, "usage": null }).to_string()
        }
        _ => {
            let thought = json!({ "type": "thinking", "thinking": "hm", "signature": "EqQB/+=" });
            let text = text.map(|text| json!({ "type": "text", "text": text }));
            let calls = calls
                .iter()
                .map(|(id, name, args)| json!({ "type": "tool_use", "id": id, "name": name, "input": args }));
            let content: Vec<_> = std::iter::once(thought).chain(text).chain(calls).collect();
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
    for kind in ["openai", "openai-responses", "anthropic"] {
        let settings = upstream(kind, "http://model.test");
        let hand = Hand::of(config(&format!("system_prompt = \"Be kind.\"\n{settings}")));
        let (mut token, mut before, mut cached) = (Value::Null, None::<String>, None::<String>);
        for (input, text, calls) in &turns {
            let mut asked = hand.turn(&json!({ "input": input, "token": token, "tools": tools, "temperature": 0.7 }));
            asked.wait();
            let mut call = hand.upstream.call();
            let body = String::from_utf8(call.request.body().to_vec()).unwrap();
            if kind == "anthropic" {
                cached = Some(check_marks(&body, cached.as_deref()));
            }
            let body = body.replace(MARK, "");
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

/// The mark that makes Anthropic cache the prompt up to a block.
const MARK: &str = r#","cache_control":{"type":"ephemeral"}"#;

/// Checks the marks of a request: at the system prompt, at the end of the previous request, and at
/// the end of this one. `cached` is the prompt that the previous request marked. Returns the prompt
/// that this one marks.
fn check_marks(body: &str, cached: Option<&str>) -> String {
    let mut marked: Vec<_> = body.match_indices(MARK).map(|(at, _)| body[..at].replace(MARK, "")).collect();
    let end = marked.pop().unwrap();
    assert_eq!(end, body.replace(MARK, "").strip_suffix("}]}]}").unwrap(), "the last block is marked");
    assert!(marked[0].ends_with(r#""system":[{"type":"text","text":"Be kind.""#), "{body}");
    assert_eq!(marked.get(1).map(String::as_str), cached, "the cached prompt is marked again");
    assert!(marked.len() <= 2, "{body}");
    end
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

#[test]
fn there_are_no_marks_if_the_operator_turns_them_off() {
    let settings = upstream("anthropic", "http://model.test").replace("[[model]]", "prompt_cache = false\n[[model]]");
    let hand = Hand::of(config(&format!("system_prompt = \"Be kind.\"\n{settings}")));
    let mut asked = hand.turn(&json!({ "input": "hi" }));
    asked.wait();
    let sent = hand.upstream.call().json();
    assert_eq!((&sent["system"], sent.to_string().contains("cache_control")), (&json!("Be kind."), false));
}
