//! Bodies of `POST /v1/turns`: an accepted body is JSON with only the documented members, and is
//! read as it is written.

use holdall::proto::{
    api::{Api as _, ParsedRequest, native::Native},
    chat::{Item, Role},
    deployment::ApiSettings,
};
use serde_json::Value;

/// Takes any bytes. Bytes that are not UTF-8 never reach the API.
pub fn check(input: &[u8]) {
    let Ok(body) = std::str::from_utf8(input) else { return };
    let Ok(ParsedRequest { turn: request, .. }) = Native.parse_request(body, &ApiSettings::default()) else { return };
    let value: Value = serde_json::from_str(body).expect("an accepted body is JSON");
    let members = value.as_object().expect("an object");
    assert!(members.keys().all(|name| MEMBERS.contains(&name.as_str())), "an unknown member was accepted");
    let text = |name: &str| members.get(name).and_then(Value::as_str);
    assert_eq!(request.token.as_deref(), text("token"));
    assert_eq!(request.user_id.as_deref(), text("user_id"));
    assert_eq!(request.model.as_deref(), text("model"));
    assert_eq!(request.stream, members.get("stream").and_then(Value::as_bool).unwrap_or(false));
    if let Some(text) = text("input") {
        assert_eq!(request.input, [Item::text(Role::User, text)]);
    }
    for item in &request.input {
        let is_user_item = matches!(item, Item::Result { .. } | Item::Message { role: Role::User, cut: false, .. });
        assert!(is_user_item, "an item of the model was accepted: {item:?}");
        let mut line = String::new();
        item.write_line(&mut line);
        assert_eq!(&Item::from_line(line.trim_end_matches('\n')).expect("a written line"), item);
    }
}

const MEMBERS: [&str; 10] = [
    "input",
    "max_output_tokens",
    "model",
    "stream",
    "temperature",
    "token",
    "tool_choice",
    "tools",
    "truncation",
    "user_id",
];
