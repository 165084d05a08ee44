//! Errors of model services: classified, and made safe to show.
//!
//! A provider's message can contain anything, even the operator's key. Only the message is passed
//! on, as one line of limited length, without control characters and without anything that looks
//! like a key.

use std::time::Duration;

use http::response;
use serde_json::Value;

use super::{profile::Profile, retry_after::retry_after};
use crate::proto::error::Error;

/// The most characters of a provider's message that are shown.
const MAX_MESSAGE_CHARS: usize = 300;

/// A run of at least this many letters, digits and `_` is treated as a key if it has a digit. A
/// hyphen ends a run, so that model names with a date stay readable.
const MIN_KEY_CHARS: usize = 20;

const REDACTED: &str = "[redacted]";

/// The wait that clients get for a rate limit that names none.
const RATE_LIMIT_WAIT: Duration = Duration::from_secs(5);

/// The error that an answer with a 4xx or 5xx status and this body means.
pub(super) fn from_answer(head: &response::Parts, body: &[u8], _profile: &Profile) -> Error {
    let (status, retry_after) = (head.status.as_u16(), retry_after(&head.headers));
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    classify(status, retry_after, body.get("error").unwrap_or(&Value::Null))
}

/// The error that an `error` member means, inside an answer with a 2xx status.
///
/// Its `code` is a status for some providers and a name for others. The names are those of OpenAI
/// and Anthropic. They are similar, so one word of a name is enough to classify it.
pub(super) fn from_reply(error: &Value) -> Error {
    let code = error.get("code").and_then(Value::as_u64).and_then(|code| u16::try_from(code).ok());
    classify(code.unwrap_or_else(|| status_of(names(error))), None, error)
}

/// Classifies an error by its cause: the request ([`Error::UpstreamRefused`]) or the provider
/// ([`Error::UpstreamUnavailable`]).
fn classify(status: u16, retry_after: Option<Duration>, error: &Value) -> Error {
    let message = message_of(error);
    match status {
        // A caller learns nothing about the operator's credentials.
        401 | 403 | 407 => Error::UpstreamRefused { status, message: None, retry_after: None, overflow: false },
        429 => {
            // A short wait does not help against an exhausted quota.
            let is_quota = names(error).iter().any(|name| name.contains("quota"));
            let wait = retry_after.unwrap_or(RATE_LIMIT_WAIT);
            Error::UpstreamRefused { status, message, retry_after: (!is_quota).then_some(wait), overflow: false }
        }
        400..=499 => {
            let overflow = is_overflow(error);
            Error::UpstreamRefused { status, message, retry_after: None, overflow }
        }
        // The cause is logged, and the provider's message may quote the prompt. So the cause has
        // only the names.
        _ => {
            let [kind, code] = names(error).map(plain_name);
            let cause = format!("status {status} {kind} {code}").trim_end().to_owned();
            Error::UpstreamUnavailable { cause, retry_after }
        }
    }
}

/// Returns true if the error means that the prompt is too long for the model.
///
/// OpenAI has a code for it. Anthropic, and most services with OpenAI's format, report it only in
/// the message.
fn is_overflow(error: &Value) -> bool {
    const PHRASES: [&str; 7] = [
        "context length",
        "context limit",
        "context size",
        "context window",
        "context_length_exceeded",
        "input is too long",
        "prompt is too long",
    ];
    let message = error.as_str().or_else(|| error.get("message")?.as_str()).unwrap_or_default().to_ascii_lowercase();
    names(error).contains(&"context_length_exceeded") || PHRASES.iter().any(|phrase| message.contains(phrase))
}

/// The message of an error, safe to show: the member `message`, or the error itself if it is text.
fn message_of(error: &Value) -> Option<String> {
    error.as_str().or_else(|| error.get("message")?.as_str()).map(safe_text).filter(|text| !text.is_empty())
}

/// The `type` and the `code` of an error, empty if they are not text.
fn names(error: &Value) -> [&str; 2] {
    ["type", "code"].map(|member| error.get(member).and_then(Value::as_str).unwrap_or_default())
}

/// The name, if it has the form of providers' names; else an empty text.
fn plain_name(name: &str) -> &str {
    let plain = name.len() <= 64 && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if plain { name } else { "" }
}

/// The status that an error's names correspond to; 400 for unknown names.
fn status_of(names: [&str; 2]) -> u16 {
    let table: [(u16, &[&str]); 5] = [
        (401, &["authentication", "api_key"]),
        (403, &["permission"]),
        (429, &["rate_limit", "quota"]),
        (503, &["server_error", "overloaded", "unavailable", "internal", "timeout"]),
        (500, &["api_error"]),
    ];
    let occurs = |word: &&str| names.iter().any(|name| name.contains(*word));
    table.into_iter().find(|(_, words)| words.iter().any(occurs)).map_or(400, |(status, _)| status)
}

/// `text` as one line of at most [`MAX_MESSAGE_CHARS`] characters, without control characters and
/// without anything that looks like a key.
fn safe_text(text: &str) -> String {
    let mut safe = String::new();
    let mut after_bearer = false;
    for word in text.split_whitespace().take(MAX_MESSAGE_CHARS) {
        if !safe.is_empty() {
            safe.push(' ');
        }
        if after_bearer {
            safe.push_str(REDACTED);
        } else {
            push_word(&mut safe, word);
        }
        let letters = word.trim_end_matches(|c: char| !c.is_ascii_alphabetic()).as_bytes();
        after_bearer = letters.last_chunk::<6>().is_some_and(|end| end.eq_ignore_ascii_case(b"bearer"));
    }
    match safe.char_indices().nth(MAX_MESSAGE_CHARS) {
        Some((end, _)) => safe.get(..end).unwrap_or_default().to_owned(),
        None => safe,
    }
}

/// Appends a word. Anything that looks like a key is replaced by [`REDACTED`]. After the prefix of
/// a known kind of key, the rest of the word is dropped.
fn push_word(safe: &mut String, word: &str) {
    // Each run ends with one character that is in no key, except the last run.
    for run in word.split_inclusive(|c| !is_key_char(c)) {
        let key = run.trim_end_matches(|c| !is_key_char(c));
        if key.len() > 3 && key.starts_with("sk-") {
            return safe.push_str(REDACTED);
        }
        let is_key =
            key.split('-').any(|part| part.len() >= MIN_KEY_CHARS && part.bytes().any(|byte| byte.is_ascii_digit()));
        safe.push_str(if is_key { REDACTED } else { key });
        let end = run.strip_prefix(key).unwrap_or_default();
        safe.extend(end.chars().map(|c| if is_hidden(c) { char::REPLACEMENT_CHARACTER } else { c }));
    }
}

fn is_key_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '-')
}

/// Returns true for characters that control a terminal or change the direction of text.
fn is_hidden(c: char) -> bool {
    c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::proto::provider::COMPATIBLE;

    /// The error that an answer with this status, wait and body means.
    fn from_answer(status: u16, retry_after: Option<Duration>, body: &[u8]) -> Error {
        let wait = retry_after.map(|wait| (http::header::RETRY_AFTER, wait.as_secs().into()));
        let mut answer = http::Response::builder().status(status).body(()).unwrap();
        answer.headers_mut().extend(wait);
        super::from_answer(&answer.into_parts().0, body, &COMPATIBLE)
    }

    #[test]
    fn keys_are_removed_from_messages() {
        for (message, shown) in [
            ("Incorrect API key provided: sk-ab12***wxyz. See", "Incorrect API key provided: [redacted] See"),
            ("key=sk-ant-api03-XyZ, bad", "key=[redacted] bad"),
            ("sent `Authorization: Bearer abc.def/g=` to", "sent `Authorization: Bearer [redacted] to"),
            ("a BEARER: abc", "a BEARER: [redacted]"),
            ("(gsk_abcdefghij0123456789abcdef)", "([redacted])"),
            ("abcdefghij012345678 is short", "abcdefghij012345678 is short"),
            ("no model claude-sonnet-4-5-20250929", "no model claude-sonnet-4-5-20250929"),
            ("max_completion_tokens_is_too_large", "max_completion_tokens_is_too_large"),
            ("task-list and risk-free sk- stay", "task-list and risk-free sk- stay"),
        ] {
            assert_eq!(safe_text(message), shown);
        }
    }

    #[test]
    fn messages_are_one_short_line() {
        assert_eq!(safe_text(" a\r\n\tb\u{0}c\u{1b}[31m\u{202e} d "), "a b\u{fffd}c\u{fffd}[31m\u{fffd} d");
        assert_eq!(safe_text(&"é".repeat(10_000)), "é".repeat(300));
        assert_eq!(safe_text(&"é ".repeat(10_000)).chars().count(), 300);
        let key_at_the_end = format!("{} {}", "a".repeat(290), "k1".repeat(30));
        assert_eq!(safe_text(&key_at_the_end), format!("{} [redacted", "a".repeat(290)));
    }

    #[test]
    fn messages_are_found_in_error_bodies() {
        for (body, found) in [
            (r#"{"error":{"message":"too long","type":"x"}}"#, Some("too long")),
            (r#"{"type":"error","error":{"type":"x","message":"no"}}"#, Some("no")),
            (r#"{"error":"model not found"}"#, Some("model not found")),
            (r#"{"error":{"message":""}}"#, None),
            (r#"{"error":{"message":{}}}"#, None),
            (r#"{"message":"x"}"#, None),
            ("<html>502</html>", None),
            ("\u{ff}", None),
            ("", None),
        ] {
            let message = found.map(str::to_owned);
            let refused = Error::UpstreamRefused { status: 400, message, retry_after: None, overflow: false };
            assert_eq!(from_answer(400, None, body.as_bytes()), refused, "{body}");
        }
    }

    #[test]
    fn an_unavailable_provider_is_logged_without_its_message() {
        let body = br#"{"error":{"message":"cannot process: my diary","type":"server_error","code":"my diary"}}"#;
        let Error::UpstreamUnavailable { cause, retry_after } = from_answer(503, Some(RATE_LIMIT_WAIT), body) else {
            panic!("another code");
        };
        assert_eq!((cause.as_str(), retry_after), ("status 503 server_error", Some(RATE_LIMIT_WAIT)));
    }

    #[test]
    fn an_exhausted_quota_has_no_wait() {
        let wait = |body: &str| match from_answer(429, None, body.as_bytes()) {
            Error::UpstreamRefused { retry_after, .. } => retry_after,
            _ => None,
        };
        assert_eq!(wait(r#"{"error":{"type":"insufficient_quota"}}"#), None);
        assert_eq!(wait(r#"{"error":{"type":"rate_limit_error"}}"#), Some(RATE_LIMIT_WAIT));
        assert_eq!(wait(""), Some(RATE_LIMIT_WAIT));
    }

    #[test]
    fn a_prompt_that_is_too_long_is_recognized() {
        for (error, is_overflow) in [
            (json!({"message": "m", "type": "invalid_request_error", "code": "context_length_exceeded"}), true),
            (json!({"message": "m", "type": "context_length_exceeded"}), true),
            (json!({"message": "This model's maximum context length is 8192 tokens. However, you"}), true),
            (json!({"message": "Your input exceeds the context window of this model.", "code": null}), true),
            (json!({"type": "invalid_request_error", "message": "prompt is too long: 210000 tokens > 200000"}), true),
            (json!({"message": "input length and `max_tokens` exceed context limit: 188240 + 21333 > 200000"}), true),
            (json!({"message": "Input is too long for requested model."}), true),
            (json!({"code": 400, "message": "the request exceeds the available context size", "type": "x"}), true),
            (json!("Requested tokens (5000) exceed context window of 4096"), true),
            (json!({"message": "max_tokens is too large: 99999", "code": "invalid_value"}), false),
            (json!({"message": "string too long", "code": "string_above_max_length"}), false),
            (json!({"type": "request_too_large", "message": "Request exceeds the maximum size"}), false),
            (json!({"message": 5, "code": []}), false),
            (json!({}), false),
        ] {
            for (status, expected) in
                [(400, is_overflow), (413, is_overflow), (422, is_overflow), (401, false), (429, false)]
            {
                let body = json!({ "error": error }).to_string();
                let Error::UpstreamRefused { overflow, .. } = from_answer(status, None, body.as_bytes()) else {
                    panic!("another code");
                };
                assert_eq!(overflow, expected, "{status} {error}");
            }
            let Error::UpstreamRefused { overflow, .. } = from_reply(&error) else { panic!("another code") };
            assert_eq!(overflow, is_overflow, "{error}");
            let failing = from_answer(500, None, json!({ "error": error }).to_string().as_bytes());
            assert_eq!(failing.code(), "upstream_unavailable", "the provider is at fault");
        }
    }

    #[test]
    fn errors_inside_replies_are_classified() {
        for (error, code, status) in [
            (json!({"type": "overloaded_error", "message": "m"}), "upstream_unavailable", 0),
            (json!({"type": "api_error"}), "upstream_unavailable", 0),
            (json!({"type": "server_error", "code": null}), "upstream_unavailable", 0),
            (json!({"code": 502, "message": "m"}), "upstream_unavailable", 0),
            (json!({"code": "service_unavailable"}), "upstream_unavailable", 0),
            (json!({"type": "invalid_request_error", "message": "m"}), "upstream_refused", 400),
            (json!({"code": 404, "type": "api_error"}), "upstream_refused", 404),
            (json!({"type": "rate_limit_error"}), "upstream_refused", 429),
            (json!({"type": "authentication_error", "message": "m"}), "upstream_refused", 401),
            (json!("just text"), "upstream_refused", 400),
            (json!(null), "upstream_refused", 400),
        ] {
            let found = from_reply(&error);
            assert_eq!(found.code(), code, "{error}");
            if let Error::UpstreamRefused { status: found, message, .. } = found {
                assert_eq!(found, status, "{error}");
                assert!(message.is_none() || found != 401, "messages about credentials are not shown");
            }
        }
    }
}
