//! The comparison of JSON texts by content. Clients parse JSON and write it again, with other
//! whitespace, escapes and orders of members.
//!
//! Parsed JSON takes many times the memory of its text, so long texts that are not strings may
//! differ only in whitespace.

use std::borrow::Cow;

use serde_json::{Map, Value};

/// JSON text of a client. It is read once, and can then be compared with many texts of the token.
pub(super) struct Json<'a> {
    without_whitespace: Vec<u8>,
    /// The content, if it is a string.
    text: Option<Cow<'a, str>>,
    /// Only of a text that is short enough.
    value: Option<Value>,
}

impl<'a> Json<'a> {
    pub(super) fn new(json: &'a str) -> Self {
        Self { without_whitespace: without_whitespace(json).collect(), text: text(json), value: short_value(json) }
    }

    /// Returns true if both have the same content. `ours` is from the token.
    fn is_same(&self, ours: &str) -> bool {
        without_whitespace(ours).eq(self.without_whitespace.iter().copied())
            || self.text.is_some() && self.text == text(ours)
            || self.value.as_ref().is_some_and(|value| short_value(ours).is_some_and(|ours| same_value(&ours, value)))
    }

    /// Returns true if these are the arguments `ours` of a call in the token.
    ///
    /// Some APIs show arguments as a JSON object. Arguments that are not an object were shown there
    /// as an empty object.
    pub(super) fn are_args(&self, ours: &str) -> bool {
        let is_empty = self.value.as_ref().is_some_and(|value| *value == Value::Object(Map::new()));
        let is_short = ours.len() <= MAX_PARSED_BYTES;
        self.is_same(ours) || is_empty && is_short && !short_value(ours).is_some_and(|ours| ours.is_object())
    }
}

/// Returns true if both JSON texts have the same content.
pub(super) fn same_json(ours: &str, theirs: &str) -> bool {
    ours == theirs || Json::new(theirs).is_same(ours)
}

fn short_value(json: &str) -> Option<Value> {
    (json.len() <= MAX_PARSED_BYTES).then(|| serde_json::from_str(json).ok()).flatten()
}

/// The content of a JSON string.
fn text(json: &str) -> Option<Cow<'_, str>> {
    serde_json::from_str(json).ok()
}

/// Returns true for equal values. Numbers are compared by value, because JavaScript writes 1.0 as
/// 1.
fn same_value(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| same_value(one, other))
        }
        (Value::Number(one), Value::Number(other)) => one == other || one.as_f64() == other.as_f64(),
        (Value::Object(one), Value::Object(other)) => {
            one.len() == other.len()
                && one.iter().all(|(name, one)| other.get(name).is_some_and(|other| same_value(one, other)))
        }
        _ => one == other,
    }
}

/// JSON text without the whitespace between its tokens (RFC 8259 §2).
fn without_whitespace(json: &str) -> impl Iterator<Item = u8> {
    let (mut in_string, mut escaped) = (false, false);
    json.bytes().filter(move |byte| {
        if in_string {
            in_string = escaped || *byte != b'"';
            escaped = !escaped && *byte == b'\\';
            return true;
        }
        in_string = *byte == b'"';
        !matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
    })
}

/// The longest text that is parsed for a comparison, in bytes.
const MAX_PARSED_BYTES: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    fn same_args(ours: &str, theirs: &str) -> bool {
        Json::new(theirs).are_args(ours)
    }

    #[test]
    fn long_arguments_may_differ_only_in_whitespace() {
        let long = format!(r#"{{"a": "x \\\" y", "b": [{}1]}}"#, "1, ".repeat(50_000));
        let compact = long.replace(", ", ",").replace(": ", ":");
        assert!(same_args(&long, &compact) && same_args(&long, &long));
        assert!(!same_args(&long, &compact.replace("x ", "x  ")) && !same_args(&long, &long.replace("[1", "[2")));
        assert!(same_args(r#"{"a": "\u00e9"}"#, r#"{"a":"é"}"#) && !same_args(r#"{"a": "x y"}"#, r#"{"a":"xy"}"#));
        // JavaScript rewrites numbers like this.
        assert!(same_args(r#"{"x":[1.0,1e3]}"#, r#"{"x":[1,1000]}"#) && !same_args(r#"{"x":1.0}"#, r#"{"x":1.5}"#));
    }
}
