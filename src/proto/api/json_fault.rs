//! The message for JSON that a request parser does not accept. It names the member at fault, the
//! value that it must have, and the value that it has. All APIs use it for all members.
//!
//! A second run of the parser finds the path of the member. Only refused requests pay for it.

use serde::Deserialize;
use serde_path_to_error::{Path, Segment};

use crate::proto::{error::Error, excerpt::excerpt};

/// The error for JSON that is not a `T`. `text` is the value of the member `name`, or the request
/// body if `name` is empty.
pub(super) fn explain<'de, T: Deserialize<'de>>(name: &str, text: &'de str, error: &serde_json::Error) -> Error {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let inner =
        serde_path_to_error::deserialize::<_, T>(&mut deserializer).err().map(|error| member_path(error.path()));
    let path = joined(name, &inner.unwrap_or_default());
    let place = if path.is_empty() { "The request body".to_owned() } else { format!("`{path}`") };
    Error::invalid(if error.is_data() {
        data_fault(&path, &place, &reason(error))
    } else {
        syntax_fault(name, &place, text, error)
    })
}

/// The words for JSON of the wrong shape.
fn data_fault(path: &str, place: &str, reason: &str) -> String {
    let member = |name: &str| joined(path, &excerpt(name));
    if let Some(name) = quoted(reason, "missing field ") {
        return format!("`{}` is missing. Add it.", member(name));
    }
    if let Some(name) = quoted(reason, "duplicate field ") {
        return format!("`{}` appears more than once. Send it once.", member(name));
    }
    if let Some(name) = quoted(reason, "unknown field ") {
        let known = reason.split_once("expected ").map_or("none", |(_, known)| known.trim_start_matches("one of "));
        // The path may end with the unknown member already.
        let path = path.strip_suffix(&*excerpt(name)).map_or(path, |rest| rest.trim_end_matches('.'));
        return format!("`{}` is not a member of this request. Known members: {known}.", joined(path, &excerpt(name)));
    }
    let wrong = reason.strip_prefix("invalid type: ").or_else(|| reason.strip_prefix("invalid value: "));
    match wrong.and_then(|wrong| wrong.rsplit_once(", expected ")) {
        Some((found, expected)) => format!("{place} must be {}, not {}.", wanted(expected), found_kind(found)),
        None => format!("{place} is invalid: {reason}."),
    }
}

/// The words for text that is not JSON.
fn syntax_fault(name: &str, place: &str, text: &str, error: &serde_json::Error) -> String {
    if text.starts_with('\u{feff}') {
        return format!("{place} starts with a byte order mark (U+FEFF). Send JSON without it.");
    }
    if name.is_empty() && text.trim().is_empty() {
        return "The request body is empty. Send a JSON object.".to_owned();
    }
    if let Some((half, at)) = half_surrogate(text, offset(text, error)) {
        return format!(
            "{place} has half of a surrogate pair, `{half}`, as character {at} of its text. Send both halves, or the character \
             in UTF-8."
        );
    }
    let reason = reason(error);
    if name.is_empty() {
        let within = if place.starts_with('`') { format!(", in {place}") } else { String::new() };
        let (line, column) = (error.line(), error.column());
        return format!("The request body is not valid JSON at line {line}, column {column}{within}: {reason}.");
    }
    format!("{place} is not valid JSON: {reason}.")
}

/// The parser's own words, without the position and at most 240 characters, because they can quote
/// text of the caller.
fn reason(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let position = format!(" at line {} column {}", error.line(), error.column());
    let reason = text.strip_suffix(&position).unwrap_or(&text);
    reason.chars().filter(|character| !character.is_control()).take(REASON_CHARS).collect()
}

/// The name in backticks after `prefix`.
fn quoted<'a>(reason: &'a str, prefix: &str) -> Option<&'a str> {
    let (name, _) = reason.strip_prefix(prefix)?.strip_prefix('`')?.split_once('`')?;
    Some(name)
}

/// What a member must be, in the words of the format's users.
fn wanted(expected: &str) -> &str {
    match expected {
        "a borrowed string" | "a string" | "string" => "text",
        "a boolean" => "true or false",
        "a JSON number" | "f64" => "a number",
        "i64" => "a whole number",
        "u32" | "u64" => "a whole number of at least 0",
        "a map" => "an object",
        "a sequence" => "a list",
        expected => expected,
    }
}

/// What a member is. Text of the caller is not repeated.
fn found_kind(found: &str) -> String {
    let value = found.split('`').nth(1).unwrap_or_default();
    match found.split(' ').next().unwrap_or_default() {
        "boolean" => value.to_owned(),
        "floating" | "integer" | "number" => format!("the number {value}"),
        "map" => "an object".to_owned(),
        "null" => "null".to_owned(),
        "sequence" => "a list".to_owned(),
        _ => "text".to_owned(),
    }
}

/// What a JSON text is, in the same words.
pub(super) fn kind(json: &str) -> String {
    match json.bytes().next() {
        Some(b'"') => "text".to_owned(),
        Some(b'[') => "a list".to_owned(),
        Some(b'{') => "an object".to_owned(),
        Some(b'-' | b'0'..=b'9') => format!("the number {}", excerpt(json)),
        _ => excerpt(json).into(),
    }
}

/// A path in the form `messages[2].content`. Names of members can be a caller's text.
fn member_path(path: &Path) -> String {
    let mut text = String::new();
    for segment in path {
        match segment {
            Segment::Seq { index } => text.push_str(&format!("[{index}]")),
            Segment::Map { key } | Segment::Enum { variant: key } => text = joined(&text, &excerpt(key)),
            Segment::Unknown => {}
        }
    }
    text.replace('`', "'").chars().take(PATH_CHARS).collect()
}

/// The path of `inner` below `outer`.
fn joined(outer: &str, inner: &str) -> String {
    let separator = if outer.is_empty() || inner.is_empty() || inner.starts_with('[') { "" } else { "." };
    format!("{outer}{separator}{inner}")
}

/// The byte at which the parser stopped.
fn offset(text: &str, error: &serde_json::Error) -> usize {
    let before: usize = text.split_inclusive('\n').take(error.line().saturating_sub(1)).map(str::len).sum();
    before.saturating_add(error.column())
}

/// The first half of a surrogate pair in the string that the byte at `offset` belongs to: its
/// escape, and its position among the string's characters, counted from 1.
fn half_surrogate(text: &str, offset: usize) -> Option<(&str, usize)> {
    let mut rest = text.get(string_start(text, offset)?..)?;
    for at in 1_usize.. {
        let escape = |from: usize| {
            let digits = rest.get(from..)?.strip_prefix("\\u")?.get(..4)?;
            u32::from_str_radix(digits, 16).ok()
        };
        let length = match (escape(0), escape(6)) {
            (Some(0xd800..=0xdbff), Some(0xdc00..=0xdfff)) => 12,
            (Some(0xd800..=0xdfff), _) => return Some((rest.get(..6)?, at)),
            (Some(_), _) => 6,
            (None, _) if rest.starts_with('\\') => 2,
            (None, _) if rest.starts_with('"') => return None,
            (None, _) => rest.chars().next()?.len_utf8(),
        };
        rest = rest.get(length..)?;
    }
    None
}

/// The start of the last string literal before `offset`.
fn string_start(text: &str, offset: usize) -> Option<usize> {
    let (mut start, mut is_open, mut escaped) = (None, false, false);
    for (at, byte) in text.bytes().enumerate().take(offset) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = is_open,
            b'"' if is_open => is_open = false,
            b'"' => (start, is_open) = (Some(at.saturating_add(1)), true),
            _ => {}
        }
    }
    start
}

const PATH_CHARS: usize = 160;
const REASON_CHARS: usize = 240;

#[cfg(test)]
mod tests {
    use serde_json::value::RawValue;

    use super::*;
    use crate::proto::api::body::{AtLeastOne, List, parse, parse_member};

    #[derive(Debug, Deserialize)]
    struct Inner {
        #[serde(rename = "text")]
        _text: String,
        #[serde(rename = "flag")]
        _flag: Option<bool>,
    }

    #[derive(Deserialize)]
    struct Outer<'a> {
        #[serde(rename = "count")]
        _count: Option<AtLeastOne>,
        #[serde(rename = "list")]
        _list: Option<List<Inner, 2>>,
        #[serde(borrow)]
        raw: Option<&'a RawValue>,
    }

    fn detail(body: &str) -> String {
        let fault = match parse::<Outer<'_>>(body) {
            Err(error) => error,
            Ok(Outer { raw: Some(raw), .. }) => parse_member::<List<Inner, 2>>("raw", raw).err().unwrap(),
            Ok(_) => panic!("{body} was accepted"),
        };
        assert_eq!(fault.code(), "request_invalid");
        fault.to_string()
    }

    #[test]
    fn a_fault_of_shape_names_the_member_and_the_right_shape() {
        for (body, words) in [
            ("[]", "The request body must be an object, not a list."),
            ("5", "The request body must be an object, not the number 5."),
            ("null", "The request body must be an object, not null."),
            (r#"{"count":"9"}"#, "`count` must be a whole number of at least 1, not text."),
            (r#"{"count":0}"#, "`count` must be a whole number of at least 1, not the number 0."),
            (r#"{"count":-3}"#, "`count` must be a whole number of at least 1, not the number -3."),
            (r#"{"count":1.5}"#, "`count` must be a whole number of at least 1, not the number 1.5."),
            (r#"{"count":[1]}"#, "`count` must be a whole number of at least 1, not a list."),
            (r#"{"count":1,"count":1}"#, "`count` appears more than once. Send it once."),
            (r#"{"list":{}}"#, "`list` must be a list, not an object."),
            (r#"{"list":[{"text":"a"},{"text":5}]}"#, "`list[1].text` must be text, not the number 5."),
            (r#"{"list":[{"text":"a"},{}]}"#, "`list[1].text` is missing. Add it."),
            (
                r#"{"list":[{"text":"a","flag":"secret, expected x"}]}"#,
                "`list[0].flag` must be true or false, not text.",
            ),
            (r#"{"list":[{"text":""},{"text":""},{"text":""}]}"#, "`list` is invalid: more than 2 entries in a list."),
            (r#"{"raw":[{"text":true}]}"#, "`raw[0].text` must be text, not true."),
            (r#"{"raw":7}"#, "`raw` must be a list, not the number 7."),
        ] {
            assert_eq!(detail(body), words, "{body}");
        }
    }

    #[test]
    fn text_that_is_not_json_is_explained() {
        for (body, words) in [
            ("", "The request body is empty. Send a JSON object."),
            (" \n", "The request body is empty. Send a JSON object."),
            ("\u{feff}{}", "The request body starts with a byte order mark (U+FEFF). Send JSON without it."),
            ("{\"count\":1\n,}", "The request body is not valid JSON at line 2, column 2: trailing comma."),
            ("{} x", "The request body is not valid JSON at line 1, column 4: trailing characters."),
            (
                r#"{"list":[{"text":x"#,
                "The request body is not valid JSON at line 1, column 18, in `list[0].text`: expected value.",
            ),
        ] {
            assert_eq!(detail(body), words, "{body}");
        }
    }

    #[test]
    fn half_of_a_surrogate_pair_is_named_with_its_position() {
        let words = |place: &str, half: &str, at: usize| {
            format!(
                "`{place}` has half of a surrogate pair, `{half}`, as character {at} of its text. Send both halves, or the \
                 character in UTF-8."
            )
        };
        for (text, half, at) in [
            (r"\ud83d", r"\ud83d", 1),
            (r"ab\ud83d", r"\ud83d", 3),
            (r"\ud83dx", r"\ud83d", 1),
            (r"\ud83d\n", r"\ud83d", 1),
            (r"\ud83d\u0041", r"\ud83d", 1),
            (r"\udc4b", r"\udc4b", 1),
            (r"é\\\u00e9\ud83d\udc4b\uDC4B!", r"\uDC4B", 5),
            (r#"\"\ud83d\ud83d\udc4b"#, r"\ud83d", 2),
        ] {
            assert_eq!(
                detail(&format!("{{\"list\":\n[{{\"text\":\"{text}\"}}]}}")),
                words("list[0].text", half, at),
                "{text}"
            );
            assert_eq!(
                detail(&format!("{{\"raw\": [{{\"text\":\"{text}\"}}]}}")),
                words("raw[0].text", half, at),
                "{text}"
            );
        }
    }

    #[test]
    fn what_a_caller_wrote_is_cut_and_made_safe() {
        let name = format!("a`\u{1b}{}", "x".repeat(1_000));
        let words = detail(&format!("{{\"list\":[{{\"text\":\"{}\"", "y".repeat(1_000)));
        assert!(words.len() < 400 && !words.contains("yyy"), "{words}");
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Strict {}
        let error = parse::<Strict>(&format!("{{{}:1}}", serde_json::to_string(&name).unwrap())).err().unwrap();
        let words = error.to_string();
        assert!(words.len() < 400 && !words.contains('\u{1b}'), "{words}");
    }
}
