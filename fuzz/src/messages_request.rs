//! Bodies of `POST /v1/messages`: what is taken is what was said, by whom it was said, and nothing else.

use holdall::proto::{
    api::{
        Api as _, ParsedRequest, PublicError,
        messages::{CountTokens, Messages},
    },
    chat::{Item, Output, Part, Role},
    deployment::ApiSettings,
    error::Error,
};
use serde_json::Value;

/// Takes any bytes; what is not UTF-8 is refused before the door.
pub fn check(input: &[u8]) {
    let Ok(body) = std::str::from_utf8(input) else { return };
    let counts = CountTokens.parse_request(body, &ApiSettings::default()).is_ok();
    let ParsedRequest { turn, .. } = match Messages.parse_request(body, &ApiSettings::default()) {
        Err(error) => return check_refusal(&error),
        Ok(asked) => asked,
    };
    assert!(counts, "a turn that cannot be counted");
    assert!(turn.user_id.is_none() && !turn.input.is_empty());
    for item in &turn.input {
        let mut line = String::new();
        item.write_line(&mut line);
        assert_eq!(&Item::from_line(line.trim_end_matches('\n')).expect("our own line"), item);
    }
    // What is kept raw, arguments and schemas, may be nested deeper and hold more than a reader of values follows.
    let Ok(body) = serde_json::from_str::<Value>(body) else { return };
    assert_eq!(turn.token.as_deref(), body["conversation_token"].as_str());
    assert_eq!(turn.model.as_deref(), body["model"].as_str());
    assert_eq!(turn.stream, body["stream"].as_bool().unwrap_or(false));
    assert_eq!(turn.options.max_output_tokens.map(u64::from), body["max_tokens"].as_u64());
    assert_eq!(said(&turn.input), said_in(&body));
}

/// A refusal is the API's own JSON, and says no more of the request than a name.
fn check_refusal(error: &Error) {
    let told = PublicError { error, status: 400, request_id: "req_1", problem: "{}" };
    let refusal = Messages.error_response(&told).expect("the door has a shape of its own");
    assert_eq!(refusal.status, 400);
    let body: Value = serde_json::from_slice(&refusal.body).expect("JSON");
    assert_eq!((&body["type"], &body["request_id"]), (&"error".into(), &"req_1".into()));
    let error = &body["error"];
    assert_eq!(error["type"], "invalid_request_error");
    let message = error["message"].as_str().expect("text");
    assert!(!message.is_empty() && message.chars().count() < 600 && !message.contains(char::is_control), "{message:?}");
}

/// Who said what: the texts of a side joined, the ids and arguments of calls, the ids and texts of results, images.
#[derive(Debug, Default, PartialEq)]
struct Said {
    user: String,
    model: String,
    calls: Vec<(String, String, Value)>,
    results: Vec<(String, String, bool)>,
    images: usize,
}

fn said(items: &[Item]) -> Said {
    let mut all = Said::default();
    for item in items {
        match item {
            Item::Call { id, name, args } => {
                all.calls.push((id.clone(), name.clone(), serde_json::from_str(args).expect("JSON, as in the body")));
            }
            Item::Message { role, parts, cut } => {
                assert!(!cut && !parts.is_empty(), "{item:?}");
                let side = if *role == Role::User { &mut all.user } else { &mut all.model };
                side.push_str(&texts(parts, &mut all.images));
            }
            Item::Result { id, out, error } => {
                let text = match out {
                    Output::Parts(parts) => texts(parts, &mut all.images),
                    Output::Text(text) => text.clone(),
                };
                all.results.push((id.clone(), text, *error));
            }
            Item::Think { .. } => panic!("a client brought reasoning"),
        }
    }
    all
}

fn texts(parts: &[Part], images: &mut usize) -> String {
    let mut text = String::new();
    for part in parts {
        match part {
            Part::Image(_) => *images += 1,
            Part::Text(said) => text.push_str(said),
        }
    }
    text
}

/// The same, read from the request by itself.
fn said_in(body: &Value) -> Said {
    let mut all = Said::default();
    for message in body["messages"].as_array().expect("a list") {
        let mut text = String::new();
        for block in blocks(&message["content"]) {
            match block["type"].as_str() {
                None => text.push_str(block.as_str().expect("text")),
                Some("image") => all.images += 1,
                Some("text") => text.push_str(block["text"].as_str().expect("text")),
                Some("thinking" | "redacted_thinking") => assert_eq!(message["role"], "assistant"),
                Some("tool_result") => {
                    assert_eq!(message["role"], "user");
                    let mut result = String::new();
                    for block in blocks(&block["content"]) {
                        let text = if block.is_string() { block } else { &block["text"] };
                        result.push_str(text.as_str().unwrap_or_default());
                        all.images += usize::from(block["type"] == "image");
                    }
                    let failed = block["is_error"].as_bool().unwrap_or(false);
                    all.results.push((of(block, "tool_use_id"), result, failed));
                }
                Some("tool_use") => {
                    assert_eq!(message["role"], "assistant");
                    all.calls.push((of(block, "id"), of(block, "name"), block["input"].clone()));
                }
                Some(other) => panic!("a block of type {other} was taken"),
            }
        }
        match message["role"].as_str() {
            Some("assistant") => all.model.push_str(&text),
            Some("system") => {}
            Some("user") => all.user.push_str(&text),
            other => panic!("{other:?} has spoken"),
        }
    }
    all
}

fn blocks(content: &Value) -> &[Value] {
    match content {
        Value::Array(blocks) => blocks,
        Value::Null => &[],
        text => std::slice::from_ref(text),
    }
}

fn of(block: &Value, member: &str) -> String {
    block[member].as_str().expect("text").to_owned()
}
