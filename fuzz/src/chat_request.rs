//! Bodies of `POST /v1/chat/completions`: the items are exactly those that a second reader finds in
//! the messages, and every error has the shape of the API.

use holdall::{
    problem::Problem,
    proto::{
        api::{Api as _, ParsedRequest, chat_completions::ChatCompletions},
        chat::{Item, Output, Part, Role},
        deployment::ApiSettings,
        error::Error,
    },
};
use serde_json::{Value, json};

/// Takes any bytes. Bytes that are not UTF-8 never reach the API.
pub fn check(input: &[u8]) {
    let Ok(body) = std::str::from_utf8(input) else { return };
    let turn = match ChatCompletions.parse_request(body, &ApiSettings::default()) {
        Ok(ParsedRequest { turn, .. }) => turn,
        Err(error) => return check_error(error),
    };
    for item in &turn.input {
        let mut line = String::new();
        item.write_line(&mut line);
        assert_eq!(&Item::from_line(line.trim_end_matches('\n')).expect("a written line"), item);
    }
    let schemas = turn.options.tools.iter().filter_map(|tool| tool.parameters.as_ref());
    // The function for a custom tool has a schema of the server.
    let is_ours = |schema: &str| schema.contains("\"required\":[\"input\"]");
    assert!(
        schemas
            .map(|schema| schema.get())
            .all(|schema| schema.starts_with('{') && (body.contains(schema) || is_ours(schema)))
    );
    // A member that the API ignores may be too deep, or a number too large, for a value.
    let Ok(value) = serde_json::from_str::<Value>(body) else { return };
    let text = |name: &str| value[name].as_str();
    assert_eq!(turn.model.as_deref(), text("model"));
    assert_eq!(turn.stream, value["stream"] == true);
    assert_eq!(turn.user_id, None);
    let user = [text("safety_identifier"), text("user")].into_iter().flatten().find(|user| !user.is_empty());
    assert_eq!(turn.user_hint.as_deref(), user);
    let messages = value["messages"].as_array().expect("messages are a list");
    let of_model = messages.iter().rev().find(|message| is(message, &["assistant"]));
    let places = of_model.map(|message| [message, &message["provider_specific_fields"]]);
    let in_message = places.into_iter().flatten().filter_map(|place| place["conversation_token"].as_str());
    let mut tokens = text("conversation_token").into_iter().chain(in_message).filter(|token| !token.is_empty());
    assert_eq!(turn.token.as_deref(), tokens.next());
    let first_of_model = messages.iter().position(|message| is(message, &["assistant"])).unwrap_or(messages.len());
    let (before, after) = messages.split_at(first_of_model);
    let items: Vec<_> = before.iter().flat_map(items).chain(after.iter().flat_map(late_items)).collect();
    // A second reader would have to write opaque members in the same form.
    let input: Vec<_> = turn.input.into_iter().filter(|item| !matches!(item, Item::Think { .. })).collect();
    assert_eq!(input, items);
    let system: Vec<_> = before.iter().filter(|message| is_system(message)).flat_map(texts).collect();
    assert_eq!(turn.system, Some(system.join("\n\n")).filter(|system| !system.is_empty()));
    let tools = value["tools"].as_array().map_or(0, Vec::len);
    assert!(turn.options.tools.len() <= tools);
}

/// Every error has a status and a body that SDKs can read.
fn check_error(error: Error) {
    let code = error.code();
    let problem = Problem::new(error, "req_1").shaped(|error| ChatCompletions.error_response(error));
    assert!(problem.status().is_client_error());
    let body: Value = serde_json::from_slice(&problem.into_body()).expect("an error is JSON");
    let error = &body["error"];
    assert_eq!((&error["type"], &error["code"]), (&"invalid_request_error".into(), &code.into()));
    let message = error["message"].as_str().expect("a message");
    assert!(!message.is_empty() && message.chars().count() < 600 && !message.chars().any(char::is_control));
    assert!(error["param"].is_null() || error["param"].is_string());
}

fn is(message: &Value, roles: &[&str]) -> bool {
    message["role"].as_str().is_some_and(|role| roles.contains(&role))
}

fn is_system(message: &Value) -> bool {
    is(message, &["developer", "system"])
}

/// The items of a message after one of the model. A system message is text of the user there.
fn late_items(message: &Value) -> Vec<Item> {
    if !is_system(message) {
        return items(message);
    }
    let parts: Vec<_> = texts(message).into_iter().map(Part::Text).collect();
    if parts.is_empty() { Vec::new() } else { vec![Item::Message { role: Role::User, parts, cut: false }] }
}

/// The items of a message.
fn items(message: &Value) -> Vec<Item> {
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    if is(message, &["user"]) {
        return vec![Item::Message { role: Role::User, parts: parts(&message["content"]), cut: false }];
    }
    if is(message, &["tool"]) {
        let out = match &message["content"] {
            Value::String(text) => Output::Text(text.clone()),
            list => Output::Parts(parts(list)),
        };
        return vec![Item::Result { id: text(&message["tool_call_id"]), out, error: false }];
    }
    if !is(message, &["assistant"]) {
        assert!(is_system(message), "an unknown role");
        return Vec::new();
    }
    let mut content = parts(&message["content"]);
    content.extend(message["refusal"].as_str().map(|refusal| Part::Text(refusal.to_owned())));
    content.retain(|part| *part != Part::Text(String::new()));
    let calls = message["tool_calls"].as_array().map(Vec::as_slice).unwrap_or_default();
    if content.is_empty() && calls.is_empty() {
        content.push(Part::Text(String::new()));
    }
    let message = Item::Message { role: Role::Assistant, parts: content, cut: false };
    let message = Some(message).filter(|message| !matches!(message, Item::Message { parts, .. } if parts.is_empty()));
    let call = |call: &Value| {
        let (name, args) = if call["type"] == "custom" || call["function"].is_null() {
            let input = json!({ "input": call["custom"]["input"] });
            (text(&call["custom"]["name"]), input.to_string())
        } else {
            (text(&call["function"]["name"]), text(&call["function"]["arguments"]))
        };
        Item::Call { id: text(&call["id"]), name, args }
    };
    message.into_iter().chain(calls.iter().map(call)).collect()
}

fn parts(content: &Value) -> Vec<Part> {
    let part = |part: &Value| match part["type"].as_str() {
        Some("image_url") => Part::Image(part["image_url"]["url"].as_str().expect("a URL").to_owned()),
        Some(kind) => Part::Text(part[kind].as_str().expect("text").to_owned()),
        None => panic!("a part without a type was accepted"),
    };
    match content {
        Value::Array(list) => list.iter().map(part).collect(),
        Value::String(text) => vec![Part::Text(text.clone())],
        _ => Vec::new(),
    }
}

/// The texts of a message that are not empty.
fn texts(message: &Value) -> Vec<String> {
    let text = |part| match part {
        Part::Text(text) if !text.is_empty() => Some(text),
        _ => None,
    };
    parts(&message["content"]).into_iter().filter_map(text).collect()
}
