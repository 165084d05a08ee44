//! Members of a request that Holdall adds on its own account, and that a service may refuse.
//!
//! A refused member is left out, or gets its other name, in one more call. It is never a part of
//! the messages, so the beginning of the conversation stays the same.

use bytes::Bytes;
use http::Request;
use serde_json::{Value, value::RawValue};

use super::{reply_json, service_state::Members};

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
    /// The answer must name it: in `param`, or in its words. Words count only if no other part of
    /// the request has the name, because a service may quote the request.
    pub(in crate::proto) fn refused(status: u16, answer: &[u8], request: &Request<Bytes>) -> Option<Self> {
        if !(400..500).contains(&status) || matches!(status, 401 | 402 | 403 | 407 | 408 | 413 | 429) {
            return None;
        }
        let answer = str::from_utf8(answer).ok()?;
        let mut words = Words::default();
        match serde_json::from_str::<Value>(answer) {
            Ok(_) => words.read(&reply_json::error_value(answer)),
            Err(_) => words.text.push_str(answer),
        }
        Self::ALL.into_iter().find(|member| member.is_refused_by(&words, request))
    }

    fn is_refused_by(self, words: &Words, request: &Request<Bytes>) -> bool {
        let Some(without) = self.left_out(request.body()) else { return false };
        let name = self.as_str();
        // The value is at fault. It would also be at fault under the other name.
        if self.other_name().is_some() && VALUE_WORDS.iter().any(|word| words.text.contains(word)) {
            return false;
        }
        let is_param = words.params.iter().any(|param| {
            let rest = param.strip_prefix(name);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        });
        is_param || (self != Self::Include && has_word(&words.text, name) && !mentions(&without, self))
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
    str::from_utf8(without).is_ok_and(|text| has_word(text, member.as_str()))
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

/// The words of an error.
#[derive(Default)]
struct Words {
    /// The values of `param`.
    params: Vec<String>,
    /// All texts, in lower case. Copies of the request are left out.
    text: String,
}

impl Words {
    fn read(&mut self, value: &Value) {
        match value {
            Value::String(text) => {
                self.text.push_str(&text.to_ascii_lowercase());
                self.text.push('\n');
            }
            Value::Array(entries) => entries.iter().for_each(|entry| self.read(entry)),
            Value::Object(members) => {
                for (name, value) in members {
                    match (name.as_str(), value) {
                        ("param", Value::String(param)) => self.params.push(param.clone()),
                        ("body" | "ctx" | "input" | "request", _) => {}
                        _ => self.read(value),
                    }
                }
            }
            Value::Bool(_) | Value::Null | Value::Number(_) => {}
        }
    }
}

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
            assert_eq!(OwnMember::refused(status, answer.as_bytes(), &request(REQUEST)), refused, "{answer}");
        }
    }

    #[test]
    fn words_about_the_callers_own_text_do_not_count() {
        let quoting = REQUEST.replace("[]", r#"[{"role":"user","content":"what is stream_options?"}]"#);
        let words = br#"{"error":{"message":"cannot answer: what is stream_options?"}}"#;
        assert_eq!(OwnMember::refused(400, words, &request(&quoting)), None);
        let param = br#"{"error":{"message":"no","param":"stream_options"}}"#;
        assert_eq!(OwnMember::refused(400, param, &request(&quoting)), Some(OwnMember::StreamOptions));
        let absent = request(r#"{"model":"m","messages":[]}"#);
        assert_eq!(OwnMember::refused(400, param, &absent), None);
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
