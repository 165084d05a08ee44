//! The expected outcome of a request, and its comparison with the real one.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};

use super::{
    conditions::{Conditions, diff},
    file::{Members, Mode},
    outcome::{Failure, Outcome},
};
use crate::support::{answer::Answer, wire::Wire};

/// The expected outcome at one API.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Expect {
    /// The text of the reply.
    reply: Option<String>,
    calls: Vec<ExpectedCall>,
    /// The reason for the end, as the native API names it.
    finish: Option<String>,
    /// `null` if the answer must name none.
    #[serde(deserialize_with = "present")]
    stop_sequence: Option<Value>,
    usage: Option<ExpectedUsage>,
    error: Option<ExpectedError>,
    /// The names of all repairs in the log.
    repaired: Option<Vec<String>>,
    /// The names in the header `x-holdall-ignored`.
    ignored: Option<Vec<String>>,
    /// Conditions on the answer, in the API's own words.
    answer: Conditions,
    /// The status, for requests that are not turns.
    status: Option<u16>,
    /// Headers of the response, and parts of their values. `null` for a header that must be
    /// missing.
    headers: BTreeMap<String, Option<String>>,
    /// True if no line of the stream has the token twice.
    token_once_in_a_line: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ExpectedCall {
    /// Without one, any id that no other call of the reply has.
    id: Option<String>,
    name: String,
    arguments: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ExpectedUsage {
    input: u64,
    output: u64,
    cached: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ExpectedError {
    /// The code. `context_length_exceeded` stands for a prompt that is too long, in the words of
    /// each API.
    code: String,
    status: Option<u16>,
    retry: Option<String>,
    /// The seconds of `Retry-After`.
    retry_after: Option<u64>,
    /// Words of the message.
    #[serde(default)]
    says: Vec<String>,
    /// Words that the client must not get.
    #[serde(default)]
    hides: Vec<String>,
    /// The text that a streaming client had got.
    partial: Option<String>,
}

impl Expect {
    /// The expectation at `api`: the members, and those for the API.
    pub(super) fn of(members: &Members, api: Wire) -> Result<Self, String> {
        let mut members = members.clone();
        let at: BTreeMap<Wire, Members> = match members.remove("at") {
            Some(at) => serde_json::from_value(at).map_err(|error| format!("`at`: {error}"))?,
            None => BTreeMap::new(),
        };
        members.extend(at.get(&api).cloned().unwrap_or_default());
        serde_json::from_value(Value::Object(members)).map_err(|error| format!("`expect`: {error}"))
    }

    /// The differences between the expectation and a response. `entry` is the request's line in the
    /// log.
    pub(super) fn faults(
        &self,
        api: Wire,
        mode: Mode,
        answer: &Answer,
        outcome: &Outcome,
        entry: &Value,
    ) -> Vec<String> {
        let mut faults = Vec::new();
        match (&self.error, &outcome.failure) {
            (Some(expected), Some(failure)) => faults.extend(expected.faults(api, mode, answer, failure)),
            (Some(expected), None) => {
                faults.push(differs("error", &expected.code, format!("a reply: {}", outcome.document)));
            }
            (None, Some(failure)) => {
                faults.push(differs("error", "a reply", format!("{}: {failure:?}", answer.status)))
            }
            (None, None) => faults.extend(self.reply_faults(api, outcome)),
        }
        if let Some(expected) = &self.repaired {
            compare(&mut faults, "repaired in the log", &sorted(expected.clone()), &sorted(names(&entry["repaired"])));
        }
        faults.extend(self.head_faults(answer));
        if self.token_once_in_a_line && mode == Mode::Streamed {
            let token = outcome.token.as_deref().unwrap_or("no token");
            let most = answer.text().lines().map(|line| line.matches(token).count()).max();
            compare(&mut faults, "the token in one line", &Some(1), &most);
        }
        faults
    }

    /// The differences in status and headers.
    pub(super) fn head_faults(&self, answer: &Answer) -> Vec<String> {
        let mut faults = Vec::new();
        if let Some(status) = self.status {
            compare(&mut faults, "status", &status, &answer.status.as_u16());
        }
        if let Some(expected) = &self.ignored {
            let names = answer.header("x-holdall-ignored").split(',').map(str::trim).filter(|name| !name.is_empty());
            let found = names.map(str::to_owned).collect();
            compare(&mut faults, "x-holdall-ignored", &sorted(expected.clone()), &sorted(found));
        }
        for (name, expected) in &self.headers {
            let found = answer.header(name);
            match expected {
                Some(part) if found.is_empty() || !found.contains(part) => faults.push(differs(name, part, found)),
                None if answer.headers.contains_key(name) => faults.push(differs(name, "no header", found)),
                _ => {}
            }
        }
        faults.extend(self.answer.faults("answer", &answer_text(answer), &[]));
        faults
    }

    fn reply_faults(&self, api: Wire, outcome: &Outcome) -> Vec<String> {
        let mut faults = Vec::new();
        if let Some(reply) = &self.reply {
            compare(&mut faults, "reply", reply, &outcome.reply);
        }
        // Messages has arguments as a value, without the model's own spaces.
        let written = |text: &str| match serde_json::from_str::<Value>(text) {
            Ok(value) if api == Wire::Messages => value.to_string(),
            _ => text.to_owned(),
        };
        let expected: Vec<_> = self.calls.iter().map(|call| (call.name.clone(), written(&call.arguments))).collect();
        let found: Vec<_> = outcome.calls.iter().map(|[_, name, args]| (name.clone(), written(args))).collect();
        compare(&mut faults, "calls", &expected, &found);
        for (expected, [id, ..]) in self.calls.iter().zip(&outcome.calls) {
            compare(&mut faults, "id of a call", expected.id.as_ref().unwrap_or(id), id);
        }
        let mut ids: Vec<_> = outcome.calls.iter().map(|[id, ..]| id).collect();
        ids.sort_unstable();
        if ids.iter().any(|id| id.is_empty()) || ids.windows(2).any(|pair| pair[0] == pair[1]) {
            faults.push(differs("ids of calls", "different ids", format!("{ids:?}")));
        }
        if let Some(finish) = &self.finish {
            compare(&mut faults, "reason for the end", finish, &outcome.finish);
        }
        if let Some(expected) = &self.stop_sequence {
            compare(&mut faults, "stop_sequence", expected, &outcome.stop_sequence);
        }
        if let Some(ExpectedUsage { input, output, cached }) = self.usage {
            let [.., found] = outcome.usage;
            compare(
                &mut faults,
                "usage (input, output, cached)",
                &[input, output, cached.unwrap_or(found)],
                &outcome.usage,
            );
        }
        faults
    }
}

impl ExpectedError {
    fn faults(&self, api: Wire, mode: Mode, answer: &Answer, failure: &Failure) -> Vec<String> {
        let mut faults = Vec::new();
        if self.is_overflow() {
            faults.extend(overflow_faults(api, failure));
        } else {
            compare(&mut faults, "code", &self.code, &failure.code);
        }
        // The native API has no status of its own for it.
        let status = match (self.is_overflow(), api) {
            (true, Wire::Native) => None,
            (true, _) => Some(400),
            (false, _) => self.status,
        };
        if let Some(status) = status.filter(|_| !failure.in_stream) {
            compare(&mut faults, "status", &status, &answer.status.as_u16());
        }
        if let Some(retry) = &self.retry {
            faults.extend(retry_faults(retry, answer, failure));
        }
        if let Some(seconds) = self.retry_after.filter(|_| !failure.in_stream) {
            compare(&mut faults, "retry-after", &seconds.to_string(), &answer.header("retry-after").to_owned());
        }
        for words in self.says.iter().filter(|words| !failure.message.contains(*words)) {
            faults.push(differs("message", format!("… {words} …"), &failure.message));
        }
        let everything = format!("{} {:?}", answer.text(), answer.headers);
        for words in self.hides.iter().filter(|words| everything.contains(*words)) {
            faults.push(differs("response", format!("nothing with {words}"), &everything));
        }
        let is_live = mode == Mode::Streamed && matches!(api, Wire::Chat | Wire::Messages | Wire::Native);
        if let Some(partial) = self.partial.as_ref().filter(|_| is_live) {
            compare(&mut faults, "partial reply", &Some(partial), &failure.partial.as_ref());
        }
        faults
    }

    fn is_overflow(&self) -> bool {
        self.code == "context_length_exceeded"
    }
}

/// A prompt that is too long, as the clients of each API recognize it.
fn overflow_faults(api: Wire, failure: &Failure) -> Vec<String> {
    let mut faults = Vec::new();
    match api {
        Wire::Chat | Wire::Responses => {
            compare(&mut faults, "code", &"context_length_exceeded", &failure.code.as_str());
        }
        Wire::Messages if !failure.message.starts_with("prompt is too long") => {
            faults.push(differs("message", "prompt is too long …", &failure.message));
        }
        Wire::Messages => {}
        Wire::Native => compare(&mut faults, "code", &"upstream_refused", &failure.code.as_str()),
    }
    faults
}

/// The advice to retry: a member of the native API, and a header everywhere.
fn retry_faults(retry: &str, answer: &Answer, failure: &Failure) -> Vec<String> {
    let mut faults = Vec::new();
    if let Some(found) = &failure.retry {
        compare(&mut faults, "retry", &retry, &found.as_str());
    }
    if !failure.in_stream {
        let wait = answer.header("retry-after").parse::<u64>().unwrap_or_default();
        let expected = if retry == "never" || wait > 60 { "false" } else { "true" };
        compare(&mut faults, "x-should-retry", &expected, &answer.header("x-should-retry"));
        compare(&mut faults, "has retry-after", &(retry == "after"), &!answer.header("retry-after").is_empty());
    }
    faults
}

/// A member that is present, even with the value `null`.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

/// The body of a document, or the data of the last event that has an answer.
fn answer_text(answer: &Answer) -> String {
    let text = answer.text();
    if !answer.header("content-type").starts_with("text/event-stream") {
        return text;
    }
    let data = text.lines().filter_map(|line| line.strip_prefix("data: "));
    let events = data.filter_map(|data| serde_json::from_str::<Value>(data).ok());
    let whole: Vec<_> = events.filter(|event| event["response"].is_object() || event["token"].is_string()).collect();
    whole.last().map_or(text, |event| event.get("response").unwrap_or(event).to_string())
}

/// The names in a member of the log: a list, or a text with commas.
fn names(member: &Value) -> Vec<String> {
    match member {
        Value::Array(names) => names.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        Value::String(names) => names.split(',').map(|name| name.trim().to_owned()).collect(),
        _ => Vec::new(),
    }
}

fn sorted(mut names: Vec<String>) -> Vec<String> {
    names.sort();
    names
}

fn compare<T: PartialEq + serde::Serialize>(faults: &mut Vec<String>, what: &str, expected: &T, found: &T) {
    if expected != found {
        faults.push(differs(what, json!(expected), json!(found)));
    }
}

fn differs(what: &str, expected: impl std::fmt::Display, found: impl std::fmt::Display) -> String {
    format!("{what}:{}", diff(expected, found))
}
