//! The bodies of errors, in all the shapes that model services and the proxies before them use.
//!
//! | shape | of |
//! |---|---|
//! | `{"error":{"message","type","code"}}` | OpenAI, Anthropic and most others |
//! | `[{"error":{…}}]` | Gemini |
//! | `{"object":"error","message","type","code"}` | vLLM, SGLang, Mistral |
//! | `{"error":"…"}` | Ollama, TGI |
//! | `{"detail":"…"}`, `{"detail":[{"loc","msg"}]}` | FastAPI |
//! | `{"errors":[…]}` | Cloudflare |
//! | `{"message":"…"}` | Bedrock, Cohere, gateways |
//! | plain text | gateways |
//! | HTML, nothing | proxies; they have no words of the service |
//!
//! A gateway can put the error of the service behind it into its message, as JSON text.

use std::time::Duration;

use serde_json::Value;

use super::{duration, reply_json};

/// The words of an error.
#[derive(Debug, Default)]
pub(super) struct ErrorBody {
    /// The message for people, unchanged. Empty if there is none.
    pub(super) message: String,
    /// The names for programs: letters and digits in lower case.
    pub(super) names: Vec<String>,
    /// The first two names that can be logged: they have the form of services' names.
    pub(super) logged: Vec<String>,
    /// A status that is given as the code of the error.
    pub(super) status: Option<u16>,
    /// The wait that the body asks for.
    pub(super) retry_after: Option<Duration>,
    /// The names of exhausted quotas.
    pub(super) quotas: String,
}

impl ErrorBody {
    /// Reads the body of an answer.
    pub(super) fn of_answer(body: &[u8]) -> Self {
        let Ok(text) = str::from_utf8(body) else { return Self::default() };
        let text = text.trim_start_matches('\u{feff}').trim();
        match serde_json::from_str(text) {
            Ok(value) => Self::of_value(&value),
            // JSON that is cut off, or a page.
            Err(_) if text.starts_with(['<', '{', '[']) => Self::default(),
            Err(_) => Self { message: text.to_owned(), ..Self::default() },
        }
    }

    /// Reads an error that is already JSON: the body of an answer, or an `error` member.
    pub(super) fn of_value(value: &Value) -> Self {
        let mut body = Self::default();
        body.read(value, MAX_DEPTH);
        let in_words = ["try again in ", "retry in ", "retry after "].into_iter().find_map(|phrase| {
            let (_, rest) = body.message.split_once(phrase)?;
            duration::parse(rest)
        });
        body.retry_after = body.retry_after.or(in_words);
        body
    }

    /// Adds the words of a part of an error. The first message stays. Exception: the error of the
    /// service replaces the general message of a gateway.
    fn read(&mut self, value: &Value, depth: usize) {
        let Some(depth) = depth.checked_sub(1) else { return };
        match value {
            Value::Array(list) => list.iter().take(MAX_ENTRIES).for_each(|entry| self.read(entry, depth)),
            Value::Object(_) => self.read_object(value, depth),
            Value::String(text) => self.read_text(text, depth),
            _ => {}
        }
    }

    fn read_object(&mut self, error: &Value, depth: usize) {
        for member in NAME_MEMBERS {
            match error.get(member) {
                Some(Value::String(name)) => self.add_name(name),
                Some(Value::Number(code)) => self.add_name(&code.to_string()),
                _ => {}
            }
        }
        for (member, scale) in WAIT_MEMBERS {
            let wait = error.get(member).map(|wait| match wait {
                Value::String(text) => duration::parse(text).or_else(|| duration::seconds(text, *scale)),
                wait => duration::seconds(&wait.to_string(), *scale),
            });
            self.retry_after = self.retry_after.or_else(|| wait.flatten());
        }
        for member in QUOTA_MEMBERS {
            if let Some(name) = error.get(member).and_then(Value::as_str) {
                self.quotas.push_str(name);
                self.quotas.push(' ');
            }
        }
        if let (Some(place), Some(fault)) = (error.get("loc"), error.get("msg").and_then(Value::as_str)) {
            return self.add_fault(place, fault);
        }
        // A text in `error` may be only the name of the status, with the message next to it.
        let inner = error.get("error");
        let first = inner.filter(|inner| !inner.is_string());
        let last = inner.filter(|inner| inner.is_string());
        let parts = ERROR_MEMBERS.iter().filter_map(|member| error.get(member));
        first.into_iter().chain(parts).chain(last).for_each(|part| self.read(part, depth));
    }

    fn read_text(&mut self, text: &str, depth: usize) {
        let text = text.trim();
        if text.starts_with(['{', '[']) {
            let inner = reply_json::error_value(text);
            if inner.is_object() || inner.is_array() {
                return self.read(&inner, depth);
            }
        }
        if self.message.is_empty() || self.message == GATEWAY_MESSAGE {
            text.clone_into(&mut self.message);
        }
    }

    /// Adds a fault of FastAPI: `body.messages.0: field required`.
    fn add_fault(&mut self, place: &Value, fault: &str) {
        let steps = place.as_array().into_iter().flatten().map(|step| match step {
            Value::String(name) => name.clone(),
            step => step.to_string(),
        });
        let separator = if self.message.is_empty() { "" } else { "; " };
        let place = steps.collect::<Vec<_>>().join(".");
        self.message.push_str(&format!("{separator}{place}: {fault}"));
    }

    fn add_name(&mut self, name: &str) {
        let plain = name.len() <= 64 && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        let status = name.parse().ok().filter(|status| (400..600).contains(status));
        self.status = self.status.or(status);
        if plain && !matches!(name, "" | "error") && self.logged.len() < 2 {
            self.logged.push(name.to_owned());
        }
        let letters = name.chars().take(64).filter(char::is_ascii_alphanumeric);
        self.names.push(letters.map(|c| c.to_ascii_lowercase()).collect());
    }
}

/// The deepest nesting of an error that is read.
const MAX_DEPTH: usize = 8;
/// The most entries of a list that are read.
const MAX_ENTRIES: usize = 8;

/// The members with names for programs.
const NAME_MEMBERS: &[&str] =
    &["type", "code", "status", "reason", "error_type", "error_code", "err_code", "errorCode", "statusCode", "__type"];

/// The members that have the error, or a part of it; the most telling ones first.
const ERROR_MEMBERS: &[&str] = &[
    "errors",
    "message",
    "Message",
    "detail",
    "msg",
    "error_msg",
    "error_message",
    "errorMessage",
    "status_msg",
    "base_resp",
    "fault",
    "faultstring",
    "details",
    "violations",
    "metadata",
    "raw",
    "title",
];

/// The members with a wait, and the seconds of their unit.
const WAIT_MEMBERS: &[(&str, f64)] = &[
    ("retryDelay", 1.0),
    ("retry_after", 1.0),
    ("retry_after_seconds", 1.0),
    ("retry_after_ms", 1e-3),
    ("estimated_time", 1.0),
];

/// The members with the name of an exhausted quota.
const QUOTA_MEMBERS: &[&str] = &["quotaId", "quotaMetric", "quota_limit"];

/// The message of a gateway that has the error of the service in another member.
const GATEWAY_MESSAGE: &str = "Provider returned error";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_message_is_found_in_every_shape() {
        for (body, found) in [
            (r#"{"error":{"message":"no","type":"x"}}"#, "no"),
            (r#"{"type":"error","error":{"type":"x","message":"no"}}"#, "no"),
            (r#"[{"error":{"code":400,"message":"no","status":"INVALID_ARGUMENT"}}]"#, "no"),
            (r#"{"object":"error","message":"no","type":"BadRequestError","param":null,"code":400}"#, "no"),
            (r#"{"error":"no","error_type":"validation"}"#, "no"),
            (r#"{"detail":"no"}"#, "no"),
            (r#"{"detail":{"error":"no"}}"#, "no"),
            (
                r#"{"detail":[{"loc":["body","messages",0],"msg":"field required","type":"value_error"},{"loc":["body"],"msg":"bad"}]}"#,
                "body.messages.0: field required; body: bad",
            ),
            (r#"{"object":"error","message":{"detail":[{"loc":["body"],"msg":"bad"}]}}"#, "body: bad"),
            (r#"{"errors":[{"message":"no","code":7}]}"#, "no"),
            (r#"{"errors":["no","and"]}"#, "no"),
            (r#"{"message":"no"}"#, "no"),
            (r#"{"error":"Bad Request","message":"no"}"#, "no"),
            (r#"{"Message":"no"}"#, "no"),
            (r#"{"error_code":336007,"error_msg":"no"}"#, "no"),
            (r#"{"base_resp":{"status_code":2013,"status_msg":"no"}}"#, "no"),
            (
                r#"{"error":{"message":"Provider returned error","metadata":{"raw":"{\"error\":{\"message\":\"no\"}}"}}}"#,
                "no",
            ),
            (r#"{"error":{"message":"{\"error\":{\"message\":\"no\"}}"}}"#, "no"),
            (r#""no""#, "no"),
            ("\u{feff}no", "no"),
            ("no\n", "no"),
            (r#"{"error":{"message":""}}"#, ""),
            (r#"{"error":{"message":{}}}"#, ""),
            (r#"{"error":{"mess"#, ""),
            ("<html>502</html>", ""),
            ("[]", ""),
            ("5", ""),
            ("", ""),
        ] {
            assert_eq!(ErrorBody::of_answer(body.as_bytes()).message, found, "{body}");
        }
        assert_eq!(ErrorBody::of_answer(b"\xff").message, "");
        let deep = format!("{}\"no\"{}", "{\"error\":".repeat(9), "}".repeat(9));
        assert_eq!(ErrorBody::of_answer(deep.as_bytes()).message, "");
    }

    #[test]
    fn names_waits_and_quotas_are_found() {
        let body = br#"[{"error":{"code":429,"message":"Slow down.","status":"RESOURCE_EXHAUSTED","details":[
            {"@type":"type.googleapis.com/google.rpc.QuotaFailure","violations":[{"quotaMetric":"m/requests","quotaId":"RequestsPerDay"}]},
            {"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"37.5s"}]}}]"#;
        let body = ErrorBody::of_answer(body);
        assert_eq!((body.message.as_str(), body.status), ("Slow down.", Some(429)));
        assert_eq!(body.names, ["429", "resourceexhausted"]);
        assert_eq!(body.logged, ["429", "RESOURCE_EXHAUSTED"]);
        assert_eq!(body.retry_after, Some(Duration::from_millis(37_500)));
        assert_eq!(body.quotas, "RequestsPerDay m/requests ");
    }

    #[test]
    fn a_wait_in_words_is_read() {
        for (message, millis) in [
            ("Rate limit reached. Please try again in 7m12.5s. Visit", Some(432_500)),
            ("Please retry in 20ms", Some(20)),
            ("retry after 20 seconds.", Some(20_000)),
            ("Please try again in a while", None),
            ("20 seconds", None),
        ] {
            let body = ErrorBody::of_value(&serde_json::json!({ "error": { "message": message } }));
            assert_eq!(body.retry_after, millis.map(Duration::from_millis), "{message}");
        }
        for (wait, millis) in [("5", 5_000), ("\"5\"", 5_000), ("\"1m\"", 60_000), ("20.5", 20_500)] {
            let body = format!("{{\"error\":\"loading\",\"estimated_time\":{wait}}}");
            let read = ErrorBody::of_answer(body.as_bytes()).retry_after;
            assert_eq!(read, Some(Duration::from_millis(millis)), "{wait}");
        }
    }
}
