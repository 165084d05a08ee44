//! Members of a request that Holdall adds on its own account, and that a service may refuse.
//!
//! A refused member is left out, or gets its other name, in one more call. It is never a part of
//! the messages, so the beginning of the conversation stays the same.

use bytes::Bytes;
use http::Request;
use serde_json::{Value, value::RawValue};

use super::reply_json;
use crate::proto::{chat::Members, escapes::decoded};

/// A member of a request that is not the caller's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OwnMember {
    /// `include`, with which the Responses format asks for reasoning.
    Include,
    /// `max_completion_tokens`. Its other name is `max_tokens`.
    MaxCompletionTokens,
    /// `max_tokens`. Its other name is `max_completion_tokens`.
    MaxTokens,
    /// `stream_options`, which asks for counts of model tokens.
    StreamOptions,
}

/// A member that a service refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RefusedMember {
    /// The member.
    pub member: OwnMember,
    /// True if the service refuses it in every request. Else the words of the error may come from
    /// the request or the model, and say nothing about other requests.
    pub in_every_request: bool,
}

impl OwnMember {
    const ALL: [Self; 4] = [Self::Include, Self::MaxCompletionTokens, Self::MaxTokens, Self::StreamOptions];

    /// The name in requests.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Include => "include",
            Self::MaxCompletionTokens => "max_completion_tokens",
            Self::MaxTokens => "max_tokens",
            Self::StreamOptions => "stream_options",
        }
    }

    /// The member that takes its place, if there is one.
    #[must_use]
    pub fn other_name(self) -> Option<Self> {
        match self {
            Self::MaxCompletionTokens => Some(Self::MaxTokens),
            Self::MaxTokens => Some(Self::MaxCompletionTokens),
            Self::Include | Self::StreamOptions => None,
        }
    }

    /// The member of `request` that an answer with this status and body refuses.
    ///
    /// The answer must name it: in `param` or `loc`, or in its words. Words count only if no other
    /// part of the request has the name, because a service may quote the request.
    pub(in crate::proto) fn refused(status: u16, answer: &[u8], request: &Request<Bytes>) -> Option<RefusedMember> {
        if !(400..500).contains(&status) || matches!(status, 401 | 402 | 403 | 407 | 408 | 413 | 429) {
            return None;
        }
        let answer = str::from_utf8(answer).ok()?;
        let mut words = Words::default();
        match serde_json::from_str::<Value>(answer) {
            Ok(_) => words.read(&reply_json::error_value(answer)),
            Err(_) => words.add(answer),
        }
        Self::ALL.into_iter().find_map(|member| member.refused_by(&words, request))
    }

    fn refused_by(self, words: &Words, request: &Request<Bytes>) -> Option<RefusedMember> {
        let without = self.left_out(request.body())?;
        let name = self.as_str();
        // The value is at fault. It would also be at fault under the other name.
        let is_about_value = |text: &String| VALUE_WORDS.iter().any(|word| text.contains(word));
        if self.other_name().is_some() && words.texts.iter().any(is_about_value) {
            return None;
        }
        let is_param = words.params.iter().any(|param| {
            let rest = param.strip_prefix(name);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        });
        let is_named = || words.texts.iter().any(|text| has_word(text, name)) && !mentions(&without, self);
        let in_every_request = is_param || words.texts.iter().any(|text| self.is_whole(text));
        (is_param || (self != Self::Include && is_named())).then_some(RefusedMember { member: self, in_every_request })
    }

    /// Returns true if `text` is nothing but a known sentence about the member.
    fn is_whole(self, text: &str) -> bool {
        let text = text.trim().trim_end_matches('.');
        let advice = self.other_name().map(|other| format!(". use '{}' instead", other.as_str()));
        let text = advice.and_then(|advice| text.strip_suffix(advice.as_str())).unwrap_or(text);
        SENTENCES.iter().any(|(before, after)| {
            let name = text.strip_prefix(before).and_then(|rest| rest.strip_suffix(after));
            name == Some(self.as_str())
        })
    }

    /// The body of a request without the member, or with its other name. `None` if the body does
    /// not have it.
    fn left_out(self, body: &[u8]) -> Option<Vec<u8>> {
        let mut members: Members<&RawValue> = serde_json::from_str(str::from_utf8(body).ok()?).ok()?;
        let at = members.0.iter().position(|(name, _)| name == self.as_str())?;
        match (self.other_name(), members.0.get_mut(at)) {
            (Some(other), Some((name, _))) => other.as_str().clone_into(name),
            _ => drop(members.0.remove(at)),
        }
        serde_json::to_vec(&members).ok()
    }

    /// Leaves the member out of a request, or gives it its other name. Returns false if the request
    /// does not have it.
    pub(in crate::proto) fn leave_out(self, request: &mut Request<Bytes>) -> bool {
        let body = self.left_out(request.body());
        body.map(|body| *request.body_mut() = Bytes::from(body)).is_some()
    }
}

/// Returns true if the text of a request without the member still has its name.
fn mentions(without: &[u8], member: OwnMember) -> bool {
    let text = str::from_utf8(without).map(|text| decoded(text).to_ascii_lowercase());
    text.is_ok_and(|text| has_word(&text, member.as_str()))
}

/// Returns true if `text` has `name`, and no letter of a name directly before or after it.
fn has_word(text: &str, name: &str) -> bool {
    let is_of_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.match_indices(name).any(|(at, _)| {
        let before = text.get(..at).and_then(|before| before.chars().next_back());
        let after = text.get(at.saturating_add(name.len())..).and_then(|after| after.chars().next());
        !before.is_some_and(is_of_name) && !after.is_some_and(is_of_name)
    })
}

/// The words of an error, in lower case.
#[derive(Default)]
struct Words {
    /// The values of `param` and `loc`.
    params: Vec<String>,
    /// The messages. Other members may have copies of the request or of the model's output.
    texts: Vec<String>,
}

impl Words {
    fn read(&mut self, value: &Value) {
        match value {
            Value::String(text) => match reply_json::error_value(text) {
                inner @ (Value::Array(_) | Value::Object(_)) => self.read(&inner),
                _ => self.add(text),
            },
            Value::Array(entries) => entries.iter().for_each(|entry| self.read(entry)),
            Value::Object(members) => {
                for (name, value) in members {
                    match (name.as_str(), value) {
                        ("param", Value::String(param)) => self.params.push(param.to_ascii_lowercase()),
                        ("loc", Value::Array(steps)) => self.params.push(path(steps)),
                        ("detail" | "error" | "message" | "msg", _) => self.read(value),
                        _ => {}
                    }
                }
            }
            Value::Bool(_) | Value::Null | Value::Number(_) => {}
        }
    }

    fn add(&mut self, text: &str) {
        self.texts.push(text.to_ascii_lowercase());
    }
}

/// A `loc` of FastAPI as a path in the body: `messages.0.content`.
fn path(steps: &[Value]) -> String {
    let steps = steps.iter().map(|step| step.as_str().map_or_else(|| step.to_string(), str::to_ascii_lowercase));
    let steps: Vec<_> = steps.collect();
    steps.strip_prefix(&["body".to_owned()]).unwrap_or(&steps).join(".")
}

/// The sentences of services about a member that they do not know, before and after its name.
const SENTENCES: [(&str, &str); 9] = [
    ("", " is not supported"),
    ("", ": extra inputs are not permitted"),
    ("invalid json payload received. unknown name \"", "\": cannot find field"),
    ("unknown name \"", "\": cannot find field"),
    ("unknown parameter: '", "'"),
    ("unrecognized request argument supplied: ", ""),
    ("unsupported parameter: ", ""),
    ("unsupported parameter: '", "'"),
    ("unsupported parameter: '", "' is not supported with this model"),
];

/// Words of errors about the value of a limit.
const VALUE_WORDS: [&str; 10] = [
    "at least",
    "at most",
    "exceed",
    "greater than",
    "less than",
    "maximum",
    "must be",
    "range",
    "too large",
    "too small",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn request(body: &str) -> Request<Bytes> {
        Request::new(Bytes::from(body.to_owned()))
    }

    const REQUEST: &str =
        r#"{"model":"m","max_tokens":5,"stream":true,"stream_options":{"include_usage":true},"messages":[]}"#;

    fn refused_of(status: u16, answer: &[u8], request: &Request<Bytes>) -> Option<OwnMember> {
        OwnMember::refused(status, answer, request).map(|refused| refused.member)
    }

    #[test]
    fn only_what_holds_for_every_request_is_remembered() {
        for (answer, expected) in [
            (r#"{"error":{"message":"no","param":"stream_options"}}"#, Some(true)),
            (r#"{"detail":[{"loc":["body","stream_options"],"msg":"Extra inputs are not permitted"}]}"#, Some(true)),
            (r#"{"detail":"Unrecognized request argument supplied: stream_options"}"#, Some(true)),
            (r#"[{"error":{"message":"Unknown name \"stream_options\": Cannot find field."}}]"#, Some(true)),
            ("stream_options is not supported", Some(true)),
            (r#"{"error":{"message":"Your tool wrote: stream_options is not supported"}}"#, Some(false)),
            (r#"{"error":{"message":"Failed to call a function: Stream_Options"}}"#, Some(false)),
            (r#"{"error":{"message":"Failed to call a function","failed_generation":"use stream_options"}}"#, None),
            (r#"{"detail":[{"loc":["body","messages",0,"stream_options"],"msg":"no"}]}"#, None),
        ] {
            let found = OwnMember::refused(400, answer.as_bytes(), &request(REQUEST));
            assert_eq!(found.map(|refused| refused.in_every_request), expected, "{answer}");
        }
        let advice = br#"{"error":{"message":"Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."}}"#;
        let expected = RefusedMember { member: OwnMember::MaxTokens, in_every_request: true };
        assert_eq!(OwnMember::refused(400, advice, &request(REQUEST)), Some(expected));
    }

    #[test]
    fn the_case_and_the_escapes_of_the_callers_text_do_not_matter() {
        let words = br#"{"error":{"message":"stream_options is not supported"}}"#;
        for content in ["What is STREAM_OPTIONS?", r"what is \u0073tream_options?"] {
            let quoting = REQUEST.replace("[]", &format!(r#"[{{"role":"user","content":"{content}"}}]"#));
            assert_eq!(refused_of(400, words, &request(&quoting)), None, "{content}");
        }
    }

    #[test]
    fn a_member_that_the_error_names_is_refused() {
        use OwnMember::{MaxTokens, StreamOptions};
        for (status, answer, refused) in [
            (400, r#"{"error":{"message":"no","param":"stream_options"}}"#, Some(StreamOptions)),
            (400, r#"{"error":{"message":"no","param":"stream_options.include_usage"}}"#, Some(StreamOptions)),
            (
                400,
                r#"{"error":{"message":"Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.","param":"max_tokens"}}"#,
                Some(MaxTokens),
            ),
            (
                400,
                r#"{"error":{"message":"Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead.","param":null}}"#,
                Some(MaxTokens),
            ),
            (
                422,
                r#"{"object":"error","message":{"detail":[{"type":"extra_forbidden","loc":["body","stream_options"],"msg":"Extra inputs are not permitted","input":{"include_usage":true}}]}}"#,
                Some(StreamOptions),
            ),
            (422, r#"{"detail":"Unrecognized request argument supplied: stream_options"}"#, Some(StreamOptions)),
            (
                400,
                r#"[{"error":{"message":"Unknown name \"stream_options\": Cannot find field."}}]"#,
                Some(StreamOptions),
            ),
            (400, "stream_options is not supported", Some(StreamOptions)),
            (400, r#"{"error":{"message":"my_stream_options is wrong"}}"#, None),
            (400, r#"{"error":{"message":"no","input":{"stream_options":"stream_options"}}}"#, None),
            (400, r#"{"error":{"message":"max_tokens is too large: 5","param":"max_tokens"}}"#, None),
            (400, r#"{"error":{"message":"no","param":"model"}}"#, None),
            (400, r#"{"error":{"message":"max_completion_tokens is unknown"}}"#, None),
            (429, r#"{"error":{"message":"no","param":"stream_options"}}"#, None),
            (500, r#"{"error":{"message":"no","param":"stream_options"}}"#, None),
            (400, "", None),
        ] {
            assert_eq!(refused_of(status, answer.as_bytes(), &request(REQUEST)), refused, "{answer}");
        }
    }

    #[test]
    fn words_about_the_callers_own_text_do_not_count() {
        let quoting = REQUEST.replace("[]", r#"[{"role":"user","content":"what is stream_options?"}]"#);
        let words = br#"{"error":{"message":"cannot answer: what is stream_options?"}}"#;
        assert_eq!(refused_of(400, words, &request(&quoting)), None);
        let param = br#"{"error":{"message":"no","param":"stream_options"}}"#;
        assert_eq!(refused_of(400, param, &request(&quoting)), Some(OwnMember::StreamOptions));
        let absent = request(r#"{"model":"m","messages":[]}"#);
        assert_eq!(refused_of(400, param, &absent), None);
    }

    #[test]
    fn a_member_is_left_out_or_renamed_in_its_place() {
        let mut changed = request(REQUEST);
        assert!(OwnMember::StreamOptions.leave_out(&mut changed));
        assert_eq!(&changed.body()[..], br#"{"model":"m","max_tokens":5,"stream":true,"messages":[]}"#);
        assert!(OwnMember::MaxTokens.leave_out(&mut changed));
        assert_eq!(&changed.body()[..], br#"{"model":"m","max_completion_tokens":5,"stream":true,"messages":[]}"#);
        assert!(!OwnMember::MaxTokens.leave_out(&mut changed) && !OwnMember::Include.leave_out(&mut changed));
    }
}
