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

use super::{
    duration::{self, Instant},
    reply_json,
};

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
    /// The time at which the body says that the limit resets.
    pub(super) resets_at: Option<Instant>,
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
        let words = body.message.to_lowercase();
        body.retry_after = body.retry_after.or_else(|| duration::in_words(&words));
        body.resets_at = body.resets_at.or_else(|| Instant::in_words(&words));
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
        // The codes of MiniMax mean something else than the same codes of other services.
        if let Some(code) = error.pointer("/base_resp/status_code") {
            self.add_name(&format!("base_resp_{code}"));
        }
        self.read_waits(error);
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

    /// Reads the members with a wait. The names of members are compared as letters in lower case.
    fn read_waits(&mut self, error: &Value) {
        for (name, value) in error.as_object().into_iter().flatten() {
            let name = letters(name);
            let scale = WAIT_MEMBERS.iter().find(|(member, _)| *member == name).map(|(_, scale)| *scale);
            if let Some(scale) = scale {
                self.retry_after = self.retry_after.or_else(|| wait(value, scale));
            }
            if RESET_MEMBERS.contains(&name.as_str()) {
                let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                self.resets_at = self.resets_at.or_else(|| Instant::parse(&text));
                // A number that is not a point in time.
                self.retry_after = self.retry_after.or_else(|| wait(value, 1.0).filter(|_| self.resets_at.is_none()));
            }
        }
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
        // FastAPI sends such a list for a request that it cannot read, and for nothing else.
        self.names.push("validation".to_owned());
        let fault = format!("{}: {fault}", steps.collect::<Vec<_>>().join("."));
        // Some services send the same list in two members.
        if !self.message.contains(&fault) {
            self.message.push_str(&format!("{separator}{fault}"));
        }
    }

    fn add_name(&mut self, name: &str) {
        let plain = name.len() <= 64 && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        let status = name.parse().ok().filter(|status| (400..600).contains(status));
        self.status = self.status.or(status);
        if plain && !matches!(name, "" | "error") && self.logged.len() < 2 {
            self.logged.push(name.to_owned());
        }
        self.names.push(letters(name));
    }
}

/// The letters and digits of a name, in lower case.
fn letters(name: &str) -> String {
    let letters = name.chars().take(64).filter(char::is_ascii_alphanumeric);
    letters.map(|c| c.to_ascii_lowercase()).collect()
}

/// The wait that a value means: a number of units, each of them `scale` seconds long, a duration in
/// words, or the object of protocol buffers (`{"seconds": 21, "nanos": 5}`).
fn wait(value: &Value, scale: f64) -> Option<Duration> {
    match value {
        Value::String(text) => duration::parse(text).or_else(|| duration::seconds(text, scale)),
        Value::Number(number) => duration::seconds(&number.to_string(), scale),
        Value::Object(parts) => {
            let part = |name: &str, scale| parts.get(name).and_then(|part| wait(part, scale));
            let parts = [part("seconds", 1.0), part("nanos", 1e-9)];
            parts.into_iter().flatten().reduce(Duration::saturating_add)
        }
        _ => None,
    }
}

/// The deepest nesting of an error that is read.
const MAX_DEPTH: usize = 8;
/// The most entries of a list that are read.
const MAX_ENTRIES: usize = 8;

/// The members with names for programs.
const NAME_MEMBERS: &[&str] = &[
    "type",
    "code",
    "status",
    "reason",
    "error_type",
    "error_code",
    "err_code",
    "errorCode",
    "statusCode",
    "__type",
    "errcode",
];

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
    "error_description",
    "err_msg",
    "errmsg",
    "status_msg",
    "base_resp",
    "fault",
    "faultstring",
    "details",
    "violations",
    "metadata",
    "raw",
    "headers",
    "title",
];

/// The members with a wait, as letters in lower case, and the seconds of their unit.
const WAIT_MEMBERS: &[(&str, f64)] = &[
    ("retrydelay", 1.0),
    ("retryafter", 1.0),
    ("retryafterseconds", 1.0),
    ("retryafterms", 1e-3),
    ("estimatedtime", 1.0),
    ("resetsinseconds", 1.0),
    ("waitseconds", 1.0),
];

/// The members with the time of a reset, as letters in lower case. OpenRouter has the headers of
/// its answer in the body as well.
const RESET_MEMBERS: &[&str] = &["resetat", "resetsat", "resettime", "ratelimitreset", "xratelimitreset"];

/// The members with the name of an exhausted quota.
const QUOTA_MEMBERS: &[&str] = &["quotaId", "quotaMetric", "quota_limit"];

/// The message of a gateway that has the error of the service in another member.
const GATEWAY_MESSAGE: &str = "Provider returned error";

#[cfg(test)]
mod tests;
