//! Tokens of another Holdall server in the opaque members that a service gives.
//!
//! A service can be LiteLLM in front of another Holdall server. LiteLLM then puts that server's
//! token among the opaque members of the message. A token holds the whole conversation: with
//! another one in each message, it would grow several times as fast.

use std::borrow::Cow;

use serde_json::{Value, value::RawValue};

/// The value without the members named [`NAME`], at any depth. Other values keep their bytes.
///
/// A value with such a member that is too deep to be parsed becomes `null`.
pub(in crate::proto) fn without_tokens(raw: &RawValue) -> Cow<'_, RawValue> {
    let json = raw.get();
    let names_token = json.split(NAME_IN_QUOTES).skip(1).any(|rest| rest.trim_start().starts_with(':'));
    // A name can have escapes.
    if !names_token && !json.contains("\\u") {
        return Cow::Borrowed(raw);
    }
    let stripped = |mut value: Value| remove_tokens(&mut value).then(|| value.to_string());
    match serde_json::from_str(json).map(stripped) {
        Ok(Some(rest)) => RawValue::from_string(rest).map_or(Cow::Borrowed(RawValue::NULL), Cow::Owned),
        Err(_) if names_token => Cow::Borrowed(RawValue::NULL),
        _ => Cow::Borrowed(raw),
    }
}

/// Removes the members. Returns true if there were any. The parser limits the depth.
fn remove_tokens(value: &mut Value) -> bool {
    match value {
        Value::Array(entries) => entries.iter_mut().fold(false, |found, entry| remove_tokens(entry) | found),
        Value::Object(members) => {
            let found = members.remove(NAME).is_some();
            members.values_mut().fold(found, |found, member| remove_tokens(member) | found)
        }
        _ => false,
    }
}

/// The member of a reply in which Holdall gives its token.
const NAME: &str = "conversation_token";
const NAME_IN_QUOTES: &str = "\"conversation_token\"";

#[cfg(test)]
mod tests {
    use super::*;

    fn stripped(json: &str) -> String {
        without_tokens(serde_json::from_str(json).unwrap()).get().to_owned()
    }

    #[test]
    fn tokens_are_removed_at_any_depth() {
        for (json, expected) in [
            (r#"{"conversation_token":"a.b.c"}"#, "{}"),
            (r#"{"conversation_token" : {"x":1}, "s":"AbC"}"#, r#"{"s":"AbC"}"#),
            (r#"{"conversation\u005ftoken":"a.b.c","s":1}"#, r#"{"s":1}"#),
            (r#"[{"a":[{"conversation_token":"a","b":{"conversation_token":null}}]}]"#, r#"[{"a":[{"b":{}}]}]"#),
        ] {
            assert_eq!(stripped(json), expected, "{json}");
        }
        let nested =
            |depth| format!("{}{}{}", r#"{"a":"#.repeat(depth), r#"{"conversation_token":1}"#, "}".repeat(depth));
        assert_eq!(stripped(&nested(100)), nested(100).replace(r#""conversation_token":1"#, ""));
        assert_eq!(stripped(&nested(1_000)), "null");
    }

    #[test]
    fn other_values_keep_their_bytes() {
        let deep = format!("{}\"\\u00e9\"{}", "[".repeat(1_000), "]".repeat(1_000));
        for json in [
            r#"{ "b" : 1.50, "a":"\u00e9"}"#,
            r#"["conversation_token", "\"conversation_token\":1", "conversation_token:"]"#,
            r#"{"conversation_tokens": 1, "half":"\ud83d"}"#,
            &deep,
        ] {
            assert_eq!(stripped(json), json);
        }
    }
}
