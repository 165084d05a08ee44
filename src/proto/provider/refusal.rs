//! What providers say when they refuse, made safe to show, and told apart by whose fault it is.
//!
//! A provider's message may echo the operator's key back, or hold anything else: it becomes one line of bounded length
//! without control characters, and what looks like a key is taken out. Nothing but the message is ever passed on.

use std::time::Duration;

use serde_json::Value;

use crate::proto::error::Error;

/// The most characters of a provider's message that are shown.
const MESSAGE_CHARS: usize = 300;

/// A run of letters, digits and `_` from this length on is taken for a key, if it has a digit. Hyphens part runs, so that
/// the dated names of models can be read.
const KEY_CHARS: usize = 20;

const REDACTED: &str = "[redacted]";

/// The wait that is told where a limit on rates names none.
const RATE_WAIT: Duration = Duration::from_secs(5);

/// The answer to a 4xx or 5xx status with this body.
pub(super) fn from_answer(status: u16, retry_after: Option<Duration>, body: &[u8]) -> Error {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    classify(status, retry_after, body.get("error").unwrap_or(&Value::Null))
}

/// The answer to an `error` member found inside a reply that had begun with a 2xx status.
///
/// Its `code` is a status with some providers and a name with others; the names are those of OpenAI and Anthropic, and
/// close enough to each other to be told apart by a word.
pub(super) fn from_reply(error: &Value) -> Error {
    let code = error.get("code").and_then(Value::as_u64).and_then(|code| u16::try_from(code).ok());
    classify(code.unwrap_or_else(|| status_of(names(error))), None, error)
}

/// Tells by whose fault: the provider's own is [`Error::UpstreamUnavailable`], the request's [`Error::UpstreamRefused`].
fn classify(status: u16, retry_after: Option<Duration>, error: &Value) -> Error {
    let message = message_of(error);
    match status {
        // The operator's own credentials are nothing to tell a caller about.
        401 | 403 | 407 => Error::UpstreamRefused { status, message: None, retry_after: None, overflow: false },
        429 => {
            // A quota that is used up does not come back by waiting a little.
            let passes = !names(error).iter().any(|name| name.contains("quota"));
            let wait = retry_after.unwrap_or(RATE_WAIT);
            Error::UpstreamRefused { status, message, retry_after: passes.then_some(wait), overflow: false }
        }
        400..=499 => {
            let overflow = is_overflow(error);
            Error::UpstreamRefused { status, message, retry_after: None, overflow }
        }
        // What the provider says of its own fault may quote the prompt, and this goes to a log: its names must do.
        _ => {
            let [kind, code] = names(error).map(plain_name);
            let cause = format!("status {status} {kind} {code}").trim_end().to_owned();
            Error::UpstreamUnavailable { cause, retry_after }
        }
    }
}

/// Whether the provider says that the prompt is longer than the model can take in.
///
/// OpenAI has a code for it; Anthropic, and most who speak like OpenAI, say so in their message alone.
fn is_overflow(error: &Value) -> bool {
    const SAYINGS: [&str; 7] = [
        "context length",
        "context limit",
        "context size",
        "context window",
        "context_length_exceeded",
        "input is too long",
        "prompt is too long",
    ];
    let message = error.as_str().or_else(|| error.get("message")?.as_str()).unwrap_or_default().to_ascii_lowercase();
    names(error).contains(&"context_length_exceeded") || SAYINGS.iter().any(|saying| message.contains(saying))
}

/// The message of an error, safe to show: `message`, or the error itself where that is text.
fn message_of(error: &Value) -> Option<String> {
    error.as_str().or_else(|| error.get("message")?.as_str()).map(safe_text).filter(|text| !text.is_empty())
}

fn names(error: &Value) -> [&str; 2] {
    ["type", "code"].map(|member| error.get(member).and_then(Value::as_str).unwrap_or_default())
}

/// A name as providers write them, or nothing.
fn plain_name(name: &str) -> &str {
    let plain = name.len() <= 64 && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if plain { name } else { "" }
}

fn status_of(names: [&str; 2]) -> u16 {
    let table: [(u16, &[&str]); 5] = [
        (401, &["authentication", "api_key"]),
        (403, &["permission"]),
        (429, &["rate_limit", "quota"]),
        (503, &["server_error", "overloaded", "unavailable", "internal", "timeout"]),
        (500, &["api_error"]),
    ];
    let said = |word: &&str| names.iter().any(|name| name.contains(*word));
    table.into_iter().find(|(_, words)| words.iter().any(said)).map_or(400, |(status, _)| status)
}

/// One line of at most [`MESSAGE_CHARS`] characters, without control characters and without what looks like a key.
fn safe_text(text: &str) -> String {
    let mut safe = String::new();
    let mut after_bearer = false;
    for word in text.split_whitespace().take(MESSAGE_CHARS) {
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
    match safe.char_indices().nth(MESSAGE_CHARS) {
        Some((end, _)) => safe.get(..end).unwrap_or_default().to_owned(),
        None => safe,
    }
}

/// Appends a word; what looks like a key becomes [`REDACTED`], and with a key's known prefix all that follows it.
fn push_word(safe: &mut String, word: &str) {
    // Each run but the last ends with one character that no key has.
    for run in word.split_inclusive(|c| !is_key_char(c)) {
        let key = run.trim_end_matches(|c| !is_key_char(c));
        if key.len() > 3 && key.starts_with("sk-") {
            return safe.push_str(REDACTED);
        }
        let is_key =
            key.split('-').any(|part| part.len() >= KEY_CHARS && part.bytes().any(|byte| byte.is_ascii_digit()));
        safe.push_str(if is_key { REDACTED } else { key });
        let end = run.strip_prefix(key).unwrap_or_default();
        safe.extend(end.chars().map(|c| if is_hidden(c) { char::REPLACEMENT_CHARACTER } else { c }));
    }
}

fn is_key_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '-')
}

/// Characters that steer a terminal or turn the direction of text.
fn is_hidden(c: char) -> bool {
    c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn keys_are_taken_out_of_messages() {
        for (said, shown) in [
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
            assert_eq!(safe_text(said), shown);
        }
    }

    #[test]
    fn messages_are_one_short_line() {
        assert_eq!(safe_text(" a\r\n\tb\u{0}c\u{1b}[31m\u{202e} d "), "a b\u{fffd}c\u{fffd}[31m\u{fffd} d");
        assert_eq!(safe_text(&"é".repeat(10_000)), "é".repeat(300));
        assert_eq!(safe_text(&"é ".repeat(10_000)).chars().count(), 300);
        let key_at_the_cut = format!("{} {}", "a".repeat(290), "k1".repeat(30));
        assert_eq!(safe_text(&key_at_the_cut), format!("{} [redacted", "a".repeat(290)));
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
    fn a_providers_own_fault_is_logged_without_its_words() {
        let body = br#"{"error":{"message":"cannot process: my diary","type":"server_error","code":"my diary"}}"#;
        let Error::UpstreamUnavailable { cause, retry_after } = from_answer(503, Some(RATE_WAIT), body) else {
            panic!("another code");
        };
        assert_eq!((cause.as_str(), retry_after), ("status 503 server_error", Some(RATE_WAIT)));
    }

    #[test]
    fn only_what_passes_with_time_says_how_long_to_wait() {
        let wait = |body: &str| match from_answer(429, None, body.as_bytes()) {
            Error::UpstreamRefused { retry_after, .. } => retry_after,
            _ => None,
        };
        assert_eq!(wait(r#"{"error":{"type":"insufficient_quota"}}"#), None);
        assert_eq!(wait(r#"{"error":{"type":"rate_limit_error"}}"#), Some(RATE_WAIT));
        assert_eq!(wait(""), Some(RATE_WAIT));
    }

    #[test]
    fn a_prompt_that_is_too_long_is_told_from_other_refusals() {
        for (error, is) in [
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
            for (status, expected) in [(400, is), (413, is), (422, is), (401, false), (429, false)] {
                let body = json!({ "error": error }).to_string();
                let Error::UpstreamRefused { overflow, .. } = from_answer(status, None, body.as_bytes()) else {
                    panic!("another code");
                };
                assert_eq!(overflow, expected, "{status} {error}");
            }
            let Error::UpstreamRefused { overflow, .. } = from_reply(&error) else { panic!("another code") };
            assert_eq!(overflow, is, "{error}");
            let failing = from_answer(500, None, json!({ "error": error }).to_string().as_bytes());
            assert_eq!(failing.code(), "upstream_unavailable", "an own fault of the provider");
        }
    }

    #[test]
    fn errors_inside_replies_are_laid_at_the_right_api() {
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
                assert!(message.is_none() || found != 401, "a message about credentials is not passed on");
            }
        }
    }
}
