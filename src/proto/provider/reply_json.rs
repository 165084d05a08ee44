//! Reading the JSON of replies. Errors give the place of a fault and never quote the reply.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer};
use serde_json::{Value, value::RawValue};

use crate::proto::{error::Error, json::Object, sse};

/// The longest error that is read, in bytes. Real errors are much shorter.
pub(super) const MAX_ERROR_BYTES: usize = 64 << 10;

/// The most blocks, entries or parts in one reply that is not a stream.
pub(super) const MAX_BLOCKS: usize = 4_096;

/// Reads JSON that must be an object. Unknown members are ignored.
pub(super) fn parse<'a, T: Deserialize<'a>>(json: &'a str) -> Result<T, Error> {
    serde_json::from_str::<Object<T>>(json).map(|object| object.0).map_err(|error| {
        let fault = if error.is_data() { "has an unexpected shape" } else { "is not valid JSON" };
        let (line, column) = (error.line(), error.column());
        Error::malformed(format!("a value in the reply {fault} (line {line}, column {column})"))
    })
}

/// Reads the answer to a count of input tokens, in the form that several providers use.
pub(super) fn parse_input_tokens(body: &[u8]) -> Result<u64, Error> {
    #[derive(Deserialize)]
    struct InputTokens {
        input_tokens: u64,
    }

    let body = str::from_utf8(body).map_err(|_| Error::malformed("the count is not UTF-8"))?;
    parse::<InputTokens>(body).map(|count| count.input_tokens)
}

/// The `type` member, by which formats tell their objects apart.
pub(super) fn object_type(json: &str) -> Result<Cow<'_, str>, Error> {
    #[derive(Deserialize)]
    struct Tagged<'a> {
        #[serde(borrow, rename = "type")]
        object_type: Cow<'a, str>,
    }

    parse::<Tagged<'_>>(json).map(|tagged| tagged.object_type)
}

/// The type of an event: its `type` member, or the name of the event if it has none. The second
/// value is true in the latter case.
pub(super) fn event_type(event: &sse::Event) -> Result<(Cow<'_, str>, bool), Error> {
    #[derive(Deserialize)]
    struct Tagged<'a> {
        #[serde(borrow, rename = "type")]
        event_type: Option<Cow<'a, str>>,
    }

    match parse::<Tagged<'_>>(&event.data)?.event_type {
        Some(event_type) => Ok((event_type, false)),
        None if event.name.is_empty() => Err(Error::malformed("an event has no type and no name")),
        None => Ok((Cow::Borrowed(&event.name), true)),
    }
}

/// The text of a JSON string. `None` for other JSON.
pub(super) fn text(raw: &RawValue) -> Option<String> {
    Some(raw.get()).filter(|json| json.starts_with('"')).and_then(|json| serde_json::from_str(json).ok())
}

/// The arguments of a call: a text, or JSON instead of a text. The second value is true for JSON.
/// `null` means none.
pub(super) fn arguments(raw: &RawValue) -> (Cow<'_, str>, bool) {
    match (text(raw), raw.get()) {
        (Some(text), _) => (Cow::Owned(text), false),
        (None, "null") => (Cow::Borrowed(""), false),
        (None, json) => (Cow::Borrowed(json), true),
    }
}

/// Reads an error member. One that is too long is read as `null`. One that says nothing, as some
/// services put it next to every reply, is no error.
pub(super) fn error_member<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    let raw: Option<&RawValue> = Option::deserialize(deserializer)?;
    let error = raw.map(|raw| (error_value(raw.get()), raw.get().len() > MAX_ERROR_BYTES));
    Ok(error.filter(|(error, is_too_long)| *is_too_long || !says_nothing(error)).map(|(error, _)| error))
}

/// Returns true for a value such as `""`, `false`, `{}` and `{"code":0,"message":""}`.
pub(super) fn says_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(is_true) => !is_true,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.trim().is_empty(),
        Value::Array(list) => list.iter().all(says_nothing),
        Value::Object(members) => members.values().all(says_nothing),
    }
}

/// Reads the JSON of an error. Text that is not JSON is read as `null`. JSON that is too long is
/// too, because a [`Value`] takes many times the memory of its text.
pub(super) fn error_value(json: &str) -> Value {
    let short = Some(json).filter(|json| json.len() <= MAX_ERROR_BYTES);
    short.and_then(|json| serde_json::from_str(json).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_empty_error_is_no_error() {
        #[derive(Deserialize)]
        struct Reply {
            #[serde(default, deserialize_with = "error_member")]
            error: Option<Value>,
        }

        let error = |json: String| parse::<Reply>(&json).unwrap().error;
        for empty in ["null", r#""""#, r#"" ""#, "{}", "[]", "false", "0", r#"{"code":0,"message":"","param":null}"#] {
            assert_eq!(error(format!(r#"{{"error":{empty}}}"#)), None, "{empty}");
        }
        for given in [json!("no"), json!(true), json!(7), json!({"code": 0, "message": "no"}), json!([[{"code": 1}]])] {
            assert_eq!(error(json!({ "error": given }).to_string()), Some(given));
        }
        let long = "a".repeat(MAX_ERROR_BYTES);
        assert_eq!(error(format!(r#"{{"error":"{long}"}}"#)), Some(Value::Null), "too long to read");
        assert_eq!(error("{}".to_owned()), None);
    }
}
