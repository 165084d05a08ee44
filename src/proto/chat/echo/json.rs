//! The comparison of JSON texts by content. Clients parse JSON and write it again, with other
//! whitespace, escapes and orders of members.
//!
//! Parsed JSON takes many times the memory of its text, so long texts that are not strings may
//! differ only in whitespace.

use std::borrow::Cow;

use serde_json::{Map, Value};

/// Returns true if both arguments of a call have the same content. `ours` is from the token.
///
/// Some APIs show arguments as a JSON object. Arguments that are not an object were shown there as
/// an empty object.
pub(super) fn same_args(ours: &str, theirs: &str) -> bool {
    let is_short = ours.len().max(theirs.len()) <= MAX_PARSED_BYTES;
    same_json(ours, theirs)
        || (is_short
            && parse(theirs).is_some_and(|theirs| theirs == Value::Object(Map::new()))
            && !parse(ours).is_some_and(|ours| ours.is_object()))
}

/// Returns true if both JSON texts have the same content.
pub(super) fn same_json(one: &str, other: &str) -> bool {
    if one == other || without_whitespace(one).eq(without_whitespace(other)) {
        return true;
    }
    if let (Some(one), Some(other)) = (text(one), text(other)) {
        return one == other;
    }
    one.len().max(other.len()) <= MAX_PARSED_BYTES
        && parse(one).zip(parse(other)).is_some_and(|(one, other)| same_value(&one, &other))
}

fn parse(json: &str) -> Option<Value> {
    serde_json::from_str(json).ok()
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
