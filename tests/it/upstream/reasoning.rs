//! A conversation that changes its model between turns: every provider gets the messages, and none
//! gets the reasoning of another.

use serde_json::{Value, json};

use crate::support::{config, hand::Hand};

/// Two Anthropic services and two OpenAI services, each with an alias of the same name.
fn four_models() -> Hand {
    let entry = |name: &str, kind: &str| {
        format!(
            "[[upstream]]\nname = \"{name}\"\nkind = \"{kind}\"\nbase_url = \"http://{name}.test\"\nprompt_cache = false\n\
             [[model]]\nalias = \"{name}\"\nupstreams = [\"{name}\"]\nmodel = \"m-1\"\n"
        )
    };
    let kinds = [("a", "anthropic"), ("a2", "anthropic"), ("r", "openai-responses"), ("c", "openai")];
    Hand::of(config(&kinds.map(|(name, kind)| entry(name, kind)).concat()))
}

const THINKING: &str = r#"{"type":"thinking","thinking":"h\"m","signature":"EqQB/w=="}"#;
const REDACTED: &str = r#"{"data":"EmwK+/8=","type":"redacted_thinking"}"#;
const REASONING: &str = r#"{"encrypted_content":"gAAAAABp+/8=","id":"rs_1","summary":[],"type":"reasoning"}"#;

/// A turn with this model, which replies with `reply`, as a stream if that is a list of events.
/// Returns the request to the model, and the response.
fn turn(hand: &Hand, model: &str, token: &Value, input: &Value, reply: &str) -> (String, Value) {
    let stream = reply.starts_with("data: ");
    let mut asked = hand.turn(&json!({ "model": model, "token": token, "input": input, "stream": stream }));
    asked.wait();
    let mut call = hand.upstream.call();
    let sent = String::from_utf8(call.request.body().to_vec()).unwrap();
    let content_type = if stream { "text/event-stream" } else { "application/json" };
    call.head(200, &[("content-type", content_type)]);
    call.send(reply.to_owned());
    call.end();
    let answer = asked.answer();
    let whole = if stream { crate::support::events::events(&answer.text()).pop().unwrap().1 } else { answer.json() };
    (sent, whole)
}

fn data(events: &[Value]) -> String {
    events.iter().map(|event| format!("data: {event}\n\n")).collect()
}

fn value(json: &str) -> Value {
    serde_json::from_str(json).unwrap()
}

/// An Anthropic stream with thinking in pieces, text, a tool call, and more thinking.
fn thought_and_call() -> String {
    let delta = |index: u32, delta: Value| json!({ "type": "content_block_delta", "index": index, "delta": delta });
    let start =
        |index: u32, block: Value| json!({ "type": "content_block_start", "index": index, "content_block": block });
    let stop = |index: u32| json!({ "type": "content_block_stop", "index": index });
    data(&[
        json!({ "type": "message_start", "message": { "usage": { "input_tokens": 3, "output_tokens": 1 } } }),
        start(0, json!({ "type": "thinking", "thinking": "", "signature": "" })),
        delta(0, json!({ "type": "thinking_delta", "thinking": "h\"" })),
        delta(0, json!({ "type": "thinking_delta", "thinking": "m" })),
        delta(0, json!({ "type": "signature_delta", "signature": "EqQB/w==" })),
        stop(0),
        start(1, json!({ "type": "text", "text": "" })),
        delta(1, json!({ "type": "text_delta", "text": "Adding." })),
        stop(1),
        start(2, json!({ "type": "tool_use", "id": "toolu_1", "name": "add", "input": {} })),
        stop(2),
        start(3, json!({ "type": "redacted_thinking", "data": "EmwK+/8=" })),
        stop(3),
        start(4, json!({ "type": "tool_use", "id": "toolu_2", "name": "now", "input": {} })),
        stop(4),
        json!({ "type": "message_delta", "delta": { "stop_reason": "tool_use" }, "usage": { "output_tokens": 9 } }),
        json!({ "type": "message_stop" }),
    ])
}

#[test]
fn reasoning_is_sent_only_to_its_own_provider() {
    let hand = four_models();
    let (_, first) = turn(&hand, "a", &Value::Null, &json!("add"), &thought_and_call());
    let kinds = |items: &Value| -> Vec<String> {
        items.as_array().unwrap().iter().map(|item| item["t"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(kinds(&first["output"]), ["think", "msg", "call", "think", "call"]);
    assert_eq!(first["output"][0], json!({ "t": "think", "by": "anthropic@a.test", "blob": THINKING }));

    // The conversation continues at OpenAI in the middle of its tool calls. The model reasons
    // before its next call.
    let results =
        json!([{ "t": "result", "id": "toolu_1", "out": "3" }, { "t": "result", "id": "toolu_2", "out": "noon" }]);
    let call = json!({ "type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "add", "arguments": "{}" });
    let output = json!([value(REASONING), call]);
    let body = json!({ "object": "response", "status": "completed", "output": output }).to_string();
    let (sent, second) = turn(&hand, "r", &first["token"], &results, &body);
    assert!(!sent.contains("EqQB") && !sent.contains("EmwK") && sent.contains("toolu_1"), "{sent}");
    assert_eq!(kinds(&second["output"]), ["think", "call"]);

    // In its next turn it gets its own reasoning back, immediately before the items that followed
    // it.
    let result = json!([{ "t": "result", "id": "call_1", "out": "4" }]);
    let said = json!({ "type": "response.output_text.delta", "output_index": 0, "delta": "Four." });
    let ended = json!({ "type": "response.completed", "response": { "status": "completed" } });
    let (sent, third) = turn(&hand, "r", &second["token"], &result, &data(&[said, ended]));
    assert!(sent.contains(&format!(r#"{REASONING},{{"type":"function_call","call_id":"call_1""#)), "{sent}");
    assert!(!sent.contains("EqQB") && !sent.contains("EmwK"), "{sent}");

    // Chat Completions has no format for reasoning. The same kind of service at another address is
    // another provider.
    let reply = json!({ "choices": [{ "message": { "content": "Yes." }, "finish_reason": "stop" }] }).to_string();
    let (sent, fourth) = turn(&hand, "c", &third["token"], &json!("sure?"), &reply);
    assert!(["EqQB", "EmwK", "gAAA"].iter().all(|secret| !sent.contains(secret)), "{sent}");
    let reply =
        json!({ "type": "message", "content": [{ "type": "text", "text": "Yes." }], "stop_reason": "end_turn" });
    let (sent, fifth) = turn(&hand, "a2", &fourth["token"], &json!("sure?"), &reply.to_string());
    assert!(["EqQB", "EmwK", "gAAA"].iter().all(|secret| !sent.contains(secret)), "{sent}");

    // The first provider gets all of its own reasoning back, in order.
    let (sent, last) = turn(&hand, "a", &fifth["token"], &json!("sure?"), &reply.to_string());
    let order = [THINKING, "Adding.", "toolu_1", REDACTED, "toolu_2", "Four."];
    let positions: Vec<_> =
        order.iter().map(|text| sent.find(text).unwrap_or_else(|| panic!("{text}: {sent}"))).collect();
    assert!(positions.is_sorted() && !sent.contains("gAAA"), "{sent}");

    let history = hand.post("/v1/history", json!({ "token": last["token"] }).to_string()).answer().json();
    let by: Vec<_> = history["items"].as_array().unwrap().iter().filter_map(|item| item.get("by")).collect();
    assert_eq!(by, ["anthropic@a.test", "anthropic@a.test", "openai-responses@r.test"]);
}
