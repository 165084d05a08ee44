//! Bodies of `POST /v1/messages`: the accepted content is exactly that of the request, each part
//! with its author.

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

/// Takes any bytes. Bytes that are not UTF-8 never reach the API.
pub fn check(input: &[u8]) {
    let Ok(body) = std::str::from_utf8(input) else { return };
    let is_countable = CountTokens.parse_request(body, &ApiSettings::default()).is_ok();
    let ParsedRequest { turn, .. } = match Messages.parse_request(body, &ApiSettings::default()) {
        Err(error) => return check_error(&error),
        Ok(request) => request,
    };
    assert!(is_countable, "a turn that cannot be counted");
    assert!(turn.user_id.is_none() && !turn.input.is_empty());
    for item in &turn.input {
        let mut line = String::new();
        item.write_line(&mut line);
        assert_eq!(&Item::from_line(line.trim_end_matches('\n')).expect("a written line"), item);
    }
    // Arguments and schemas are kept raw. They may be too deep, or a number too large, for a value.
    let Ok(body) = serde_json::from_str::<Value>(body) else { return };
    assert_eq!(
        turn.token.as_deref(),
        body["conversation_token"].as_str().filter(|token| !token.is_empty()).or_else(|| last_token(&body["messages"]))
    );
    assert_eq!(turn.model.as_deref(), body["model"].as_str());
    assert_eq!(turn.stream, body["stream"].as_bool().unwrap_or(false));
    assert_eq!(turn.options.max_output_tokens.map(u64::from), body["max_tokens"].as_u64());
    let (found, expected) = (content_of_items(&turn.input), content_of_body(&body));
    if expected.has_documents {
        // A second reader would have to write documents in the same form.
        assert_eq!((found.model, found.calls), (expected.model, expected.calls));
    } else {
        assert_eq!(found, expected);
    }
}

/// The token in the last message of the model, in itself or in its last block.
fn last_token(messages: &Value) -> Option<&str> {
    let message = messages.as_array()?.iter().rev().find(|message| message["role"] == "assistant")?;
    let block = message["content"].as_array().and_then(|blocks| blocks.last()).unwrap_or(&Value::Null);
    let mut tokens = [message, block].into_iter().filter_map(|place| place["conversation_token"].as_str());
    tokens.find(|token| !token.is_empty())
}

/// Every error is JSON in the shape of the API. It repeats only a name of the request.
fn check_error(error: &Error) {
    let public = PublicError { error, status: 400, request_id: "req_1", problem: "{}" };
    let response = Messages.error_response(&public).expect("the API has its own shape");
    assert_eq!(response.status, 400);
    let body: Value = serde_json::from_slice(&response.body).expect("JSON");
    assert_eq!((&body["type"], &body["request_id"]), (&"error".into(), &"req_1".into()));
    let error = &body["error"];
    assert_eq!(error["type"], "invalid_request_error");
    let message = error["message"].as_str().expect("text");
    assert!(!message.is_empty() && message.chars().count() < 600 && !message.contains(char::is_control), "{message:?}");
}

/// The content of a request: the joined texts of each side, the calls, the results, and the number
/// of images.
#[derive(Debug, Default, PartialEq)]
struct Content {
    user: String,
    model: String,
    calls: Vec<(String, String, Value)>,
    results: Vec<(String, String, bool)>,
    images: usize,
    has_documents: bool,
}

fn content_of_items(items: &[Item]) -> Content {
    let mut all = Content::default();
    for item in items {
        match item {
            Item::Call { id, name, args } => {
                all.calls.push((id.clone(), name.clone(), serde_json::from_str(args).expect("JSON, like the body")));
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
            // A second reader would have to write it in the same form.
            Item::Think { provider_id, blob } => {
                let is_block = provider_id.starts_with("anthropic") && blob.starts_with("{\"type\":\"");
                let is_state = provider_id.starts_with("openai") && blob.starts_with("{\"for\":\"");
                assert!(is_block || is_state, "{provider_id}: {blob}");
            }
        }
    }
    all
}

fn texts(parts: &[Part], images: &mut usize) -> String {
    let mut text = String::new();
    for part in parts {
        match part {
            Part::Image(_) => *images += 1,
            Part::Text(part) => text.push_str(part),
        }
    }
    text
}

/// The content of the body, found by a second reader.
fn content_of_body(body: &Value) -> Content {
    let mut all = Content::default();
    let mut follows_model = false;
    for message in body["messages"].as_array().expect("a list") {
        let mut text = String::new();
        for block in blocks(&message["content"]) {
            match block["type"].as_str() {
                None => text.push_str(block.as_str().expect("text")),
                Some("document" | "search_result") => all.has_documents = true,
                Some("image") => all.images += 1,
                Some("text") => text.push_str(block["text"].as_str().expect("text")),
                Some("thinking" | "redacted_thinking") => assert_eq!(message["role"], "assistant"),
                Some("tool_result") => {
                    assert_eq!(message["role"], "user");
                    let mut result = String::new();
                    for block in blocks(&block["content"]) {
                        let kind = block["type"].as_str().unwrap_or("text");
                        all.has_documents |= !["image", "text"].contains(&kind);
                        let text = if block.is_string() { block } else { &block["text"] };
                        result.push_str(text.as_str().unwrap_or_default());
                        all.images += usize::from(block["type"] == "image");
                    }
                    let failed = block["is_error"].as_bool().unwrap_or(false);
                    all.results.push((text_member(block, "tool_use_id"), result, failed));
                }
                Some("tool_use") => {
                    assert_eq!(message["role"], "assistant");
                    all.calls.push((text_member(block, "id"), text_member(block, "name"), block["input"].clone()));
                }
                // The work of a model service is left out.
                Some(kind) => {
                    let is_hosted =
                        kind == "compaction" || kind.ends_with("_tool_use") || kind.ends_with("_tool_result");
                    assert!(is_hosted && message["role"] == "assistant", "a block of type {kind} was accepted");
                }
            }
        }
        match message["role"].as_str() {
            Some("assistant") => {
                all.model.push_str(&text);
                follows_model = true;
            }
            Some("system") if follows_model => all.user.push_str(&text),
            Some("system") => {}
            Some("user") => all.user.push_str(&text),
            other => panic!("the role {other:?} was accepted"),
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

fn text_member(block: &Value, member: &str) -> String {
    block[member].as_str().expect("text").to_owned()
}
