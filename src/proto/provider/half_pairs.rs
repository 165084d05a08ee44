//! Halves of surrogate pairs in JSON: `\ud83d` without `\udc4b` after it (RFC 8259 §8.2).
//!
//! Some services split a character outside the basic plane between two events of a stream. The JSON
//! parser refuses the halves, so this module replaces them first. Two halves become one character,
//! also over events without text between them. A half without the other becomes U+FFFD.

use std::borrow::Cow;

use serde_json::Value;

/// A half in a JSON text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Half {
    /// The position of its escape.
    at: usize,
    unit: u16,
    /// True at the start of a string.
    starts: bool,
    /// True at the end of a string.
    ends: bool,
}

impl Half {
    /// Returns true if the other half may come with the next event.
    pub(super) fn is_open(&self) -> bool {
        self.ends && (0xd800..0xdc00).contains(&self.unit)
    }

    /// The character that this half and the next one are together, if they are one.
    pub(super) fn join(&self, next: &Self) -> Option<char> {
        let pair = [self.unit, next.unit];
        let mut chars = char::decode_utf16(pair).map(Result::ok);
        match (chars.next()?, chars.next()) {
            (Some(character), None) if next.starts => Some(character),
            _ => None,
        }
    }

    /// Replaces the escape in `json`.
    pub(super) fn replace(&self, json: &mut String, with: &str) {
        let end = self.at.saturating_add(ESCAPE_BYTES);
        if json.is_char_boundary(self.at) && json.is_char_boundary(end) && end <= json.len() {
            json.replace_range(self.at..end, with);
        }
    }
}

/// The halves in a JSON text, in order.
pub(super) fn find(json: &str) -> Vec<Half> {
    let mut halves = Vec::new();
    // Most texts have no such escape.
    if !json.contains("\\ud") && !json.contains("\\uD") {
        return halves;
    }
    let bytes = json.as_bytes();
    let (mut at, mut in_string, mut string_start) = (0_usize, false, 0_usize);
    while let Some(byte) = bytes.get(at) {
        let mut step = 1_usize;
        match byte {
            b'"' => {
                in_string = !in_string;
                string_start = at.saturating_add(1);
            }
            b'\\' if in_string => match unit_at(bytes, at) {
                Some(unit) if (0xd800..0xe000).contains(&unit) => {
                    let after = at.saturating_add(ESCAPE_BYTES);
                    let is_pair =
                        unit < 0xdc00 && unit_at(bytes, after).is_some_and(|next| (0xdc00..0xe000).contains(&next));
                    step = if is_pair { ESCAPE_BYTES.saturating_mul(2) } else { ESCAPE_BYTES };
                    if !is_pair {
                        let ends = bytes.get(after) == Some(&b'"');
                        halves.push(Half { at, unit, starts: at == string_start, ends });
                    }
                }
                _ => step = 2,
            },
            _ => {}
        }
        at = at.saturating_add(step);
    }
    halves
}

/// The UTF-16 unit of the escape at this position.
fn unit_at(bytes: &[u8], at: usize) -> Option<u16> {
    let escape = bytes.get(at..at.checked_add(ESCAPE_BYTES)?)?;
    let digits = escape.strip_prefix(b"\\u")?;
    digits.iter().try_fold(0_u16, |unit, digit| {
        let digit = char::from(*digit).to_digit(16).and_then(|digit| u16::try_from(digit).ok())?;
        unit.checked_mul(16)?.checked_add(digit)
    })
}

/// The JSON text with U+FFFD in the place of these halves, which are in order.
pub(super) fn replace_all<'a>(json: &'a str, halves: &[Half]) -> Cow<'a, str> {
    if halves.is_empty() {
        return Cow::Borrowed(json);
    }
    let (mut replaced, mut from) = (String::with_capacity(json.len()), 0);
    for half in halves {
        replaced.push_str(json.get(from..half.at).unwrap_or_default());
        replaced.push(char::REPLACEMENT_CHARACTER);
        from = half.at.saturating_add(ESCAPE_BYTES);
    }
    replaced.push_str(json.get(from..).unwrap_or_default());
    Cow::Owned(replaced)
}

/// Returns true for an event without text and without an end: a ping, or an empty piece. It can
/// stand between two halves of a character.
pub(super) fn is_silent(json: &str) -> bool {
    let Some(event) = Some(json).filter(|json| json.len() <= MAX_SILENT_BYTES) else { return false };
    let Ok(event @ Value::Object(_)) = serde_json::from_str(event) else { return false };
    let is_piece = match event.get("type").and_then(Value::as_str) {
        Some(kind) => kind == "ping" || kind.ends_with("delta") && kind != "message_delta",
        None => event.get("choices").is_some(),
    };
    is_piece && says_nothing(&event)
}

fn says_nothing(value: &Value) -> bool {
    match value {
        Value::Array(list) => list.iter().all(says_nothing),
        Value::Object(members) => members.iter().all(|(name, value)| {
            let is_empty = value.is_null() || value.as_str().is_some_and(str::is_empty);
            is_empty || !(SPEAKING.contains(&name.as_str()) && value.is_string()) && says_nothing(value)
        }),
        _ => true,
    }
}

/// The longest event that can be silent.
const MAX_SILENT_BYTES: usize = 4_096;

/// Members with text of the reply, or with the reason for its end.
const SPEAKING: [&str; 12] = [
    "arguments",
    "content",
    "delta",
    "finish_reason",
    "name",
    "partial_json",
    "reasoning",
    "reasoning_content",
    "refusal",
    "signature",
    "text",
    "thinking",
];

/// The bytes of an escape: `\ud83d`.
const ESCAPE_BYTES: usize = 6;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_halves_without_their_other_half_are_found() {
        for (json, replaced) in [
            (r#"{"a":"\ud83d\udc4b"}"#, r#"{"a":"\ud83d\udc4b"}"#),
            (r#"{"a":"\\ud83d"}"#, r#"{"a":"\\ud83d"}"#),
            (r#"{"a":"\\\ud83d"}"#, "{\"a\":\"\\\\\u{fffd}\"}"),
            (r#"{"a":"x\ud83dy"}"#, "{\"a\":\"x\u{fffd}y\"}"),
            (r#"{"a":"\uDC4B\uD83D","b":"\uD83D"}"#, "{\"a\":\"\u{fffd}\u{fffd}\",\"b\":\"\u{fffd}\"}"),
            (r#"{"a":"\ud83d\ud83d\udc4b"}"#, "{\"a\":\"\u{fffd}\\ud83d\\udc4b\"}"),
            (r#"{"a":"\ud8"}"#, r#"{"a":"\ud8"}"#),
            (r#"{"a":"\ud83"#, r#"{"a":"\ud83"#),
        ] {
            assert_eq!(replace_all(json, &find(json)), replaced, "{json}");
        }
    }

    #[test]
    fn only_an_event_without_text_and_end_is_silent() {
        for silent in [
            r#"{"type":"ping"}"#,
            r#"{"choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}"#,
            r#"{"choices":[]}"#,
            r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":""}}"#,
            r#"{"type":"response.output_text.delta","delta":""}"#,
        ] {
            assert!(is_silent(silent), "{silent}");
        }
        for other in [
            r#"{"choices":[{"delta":{"content":"a"}}]}"#,
            r#"{"choices":[{"delta":{"tool_calls":[{"function":{"name":"a"}}]}}]}"#,
            r#"{"choices":[{"delta":{},"finish_reason":"stop"}]}"#,
            r#"{"type":"response.output_text.delta","delta":"a"}"#,
            r#"{"type":"message_delta","delta":{}}"#,
            r#"{"type":"message_stop"}"#,
            "{}",
            "[DONE]",
        ] {
            assert!(!is_silent(other), "{other}");
        }
        let of_bytes = |bytes: usize| format!("{}{}", r#"{"type":"ping"}"#, " ".repeat(bytes - 15));
        assert!(is_silent(&of_bytes(MAX_SILENT_BYTES)) && !is_silent(&of_bytes(MAX_SILENT_BYTES + 1)));
    }

    #[test]
    fn two_halves_are_joined_over_the_end_of_a_string() {
        let (first, second) = (r#"{"a":"Hi \ud83d"}"#, r#"{"a":"\udc4b!"}"#);
        let (high, low) = (find(first)[0], find(second)[0]);
        assert_eq!((high.is_open(), low.is_open(), high.join(&low)), (true, false, Some('👋')));
        let mut json = first.to_owned();
        high.replace(&mut json, "👋");
        assert_eq!(json, r#"{"a":"Hi 👋"}"#);
        let inside = find(r#"{"a":"x\udc4b"}"#)[0];
        assert_eq!((high.join(&inside), high.join(&high), low.join(&high)), (None, None, None));
    }
}
