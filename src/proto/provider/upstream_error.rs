//! Errors of model services, as the errors of Holdall that they mean.
//!
//! `error_body.rs` finds the words of an error, `refusal.rs` has the classes, and `safe_text.rs`
//! makes one line of a message. Only a fault of the request is shown with the service's words, from
//! which the exchange cuts the operator's secrets.

use std::time::Duration;

use http::response;
use serde_json::Value;

use super::{
    error_body::ErrorBody,
    error_names,
    profile::Profile,
    refusal::{self, Class},
    reply_json,
    retry_after::{MAX_RETRY_AFTER, rate_limit_reset, retry_after, wait_until},
    safe_text::one_line,
};
use crate::proto::error::Error;

/// The wait that clients get for a rate limit that names none.
const RATE_LIMIT_WAIT: Duration = Duration::from_secs(5);

/// The error that an answer with a 4xx or 5xx status and this body means. `request` is the body of
/// the request, which the answer may quote.
pub(super) fn from_answer(head: &response::Parts, body: &[u8], profile: &Profile, request: &[u8]) -> Error {
    let error = ErrorBody::of_answer(body);
    let class = refusal::class(Some(head.status.as_u16()), &error, profile, request);
    let wait = retry_after(&head.headers)
        .or_else(|| wait_until(error.resets_at?, &head.headers))
        .or_else(|| body_wait(&error, class))
        .or_else(|| rate_limit_reset(&head.headers).filter(|_| class == Class::Rate));
    of_class(class, Some(head.status.as_u16()), wait, &error)
}

/// The error that an `error` member means, inside an answer with a 2xx status. Its `code` is a
/// status for some services and a name for others.
pub(super) fn from_reply(error: &Value, profile: &Profile) -> Error {
    inside_reply(&ErrorBody::of_value(error), profile)
}

/// The error that an event with the name `error` means: JSON in every shape, or text.
pub(super) fn from_event(data: &str, profile: &Profile) -> Error {
    let is_short = data.len() <= reply_json::MAX_ERROR_BYTES;
    let error = if is_short { ErrorBody::of_answer(data.as_bytes()) } else { ErrorBody::default() };
    inside_reply(&error, profile)
}

fn inside_reply(error: &ErrorBody, profile: &Profile) -> Error {
    let class = refusal::class(error.status, error, profile, b"");
    of_class(class, error.status, body_wait(error, class), error)
}

/// The wait that the body of an error asks for.
fn body_wait(error: &ErrorBody, class: Class) -> Option<Duration> {
    if class == Class::Rate && refusal::is_long_quota(error) { Some(MAX_RETRY_AFTER) } else { error.retry_after }
}

/// The error that a JSON text means that came in the place of a reply or of an event, with a 2xx
/// status and without the members of a reply. `None` if it is not plainly an error.
pub(super) fn in_place_of_reply(json: &str, profile: &Profile) -> Option<Error> {
    if !ERROR_MARKS.iter().any(|mark| json.contains(mark)) {
        return None;
    }
    let value = reply_json::error_value(json);
    let error = value.as_array().map_or(Some(&value), |list| list.first())?;
    is_error(error).then(|| from_reply(&value, profile))
}

/// Returns true for an object that has the members of an error, and none of a reply.
fn is_error(object: &Value) -> bool {
    let has = |name: &&str| object.get(name).is_some_and(|value| !reply_json::says_nothing(value));
    let text = |name: &str| object.get(name).and_then(Value::as_str).unwrap_or_default();
    let code = object.get("code").map(|code| code.to_string().trim_matches('"').to_ascii_lowercase());
    let has_success = code.as_deref().is_some_and(|code| SUCCESS_CODES.contains(&code));
    let is_marked = text("object").eq_ignore_ascii_case("error")
        || object.get("success") == Some(&Value::Bool(false))
        || object.pointer("/base_resp/status_code").is_some_and(|code| !reply_json::says_nothing(code));
    // An unknown event may have any members.
    let is_event = !text("type").is_empty() && !text("type").to_ascii_lowercase().contains("error");
    let has_words = ["message", "msg", "error_msg", "error_message", "errorMessage", "Message"];
    let has_words = has_words.iter().any(|name| !text(name).is_empty());
    let has_error = ["error", "errors", "detail"].iter().any(has) || has_words && !has_success;
    (is_marked || has_error && !is_event) && !REPLY_MEMBERS.iter().any(has)
}

/// Members that every error of [`in_place_of_reply`] has one of, so that few texts are read twice.
const ERROR_MARKS: [&str; 12] = [
    "\"error\"",
    "\"errors\"",
    "\"detail\"",
    "\"code\"",
    "\"success\"",
    "\"message\"",
    "\"msg\"",
    "\"base_resp\"",
    "\"error_msg\"",
    "\"error_message\"",
    "\"errorMessage\"",
    "\"Message\"",
];

/// Codes of a success, in lower case.
const SUCCESS_CODES: [&str; 4] = ["0", "200", "ok", "success"];

/// Members of replies and of their events.
const REPLY_MEMBERS: [&str; 8] =
    ["choices", "content", "content_block", "delta", "item", "output", "response", "usage"];

fn of_class(class: Class, status: Option<u16>, wait: Option<Duration>, error: &ErrorBody) -> Error {
    let wait = wait.map(|wait| wait.min(MAX_RETRY_AFTER));
    // The cause is logged, and the service's message may quote the prompt. So the cause has only
    // the names.
    let place = status.map_or_else(|| "an error inside the reply".to_owned(), |status| format!("status {status}"));
    // Some services repeat the status as a name.
    let given = status.map(|status| status.to_string());
    let names: Vec<_> = error.logged.iter().filter(|name| Some(*name) != given.as_ref()).collect();
    let names = names.into_iter().map(|name| error_names::logged(name)).collect::<Vec<_>>().join(" ");
    let cause = || format!("{place} {names}").trim_end().to_owned();
    let status = status.unwrap_or(if class == Class::Rate { 429 } else { 400 });
    match class {
        Class::Account => {
            let reason = refusal::account_reason(error).map(|reason| format!(": {reason}")).unwrap_or_default();
            Error::UpstreamAccount { cause: format!("{}{reason}", cause()) }
        }
        Class::Load => Error::UpstreamUnavailable { cause: cause(), retry_after: wait },
        Class::Rate => {
            let retry_after = Some(wait.unwrap_or(RATE_LIMIT_WAIT));
            Error::UpstreamRefused { status, names: String::new(), message: None, retry_after, overflow: false }
        }
        // Nothing says that the caller may read the words.
        Class::Unknown => Error::UpstreamRefused { status, names, message: None, retry_after: None, overflow: false },
        Class::Overflow | Class::Request => {
            let message = Some(one_line(&error.message)).filter(|text| !text.is_empty());
            let overflow = class == Class::Overflow;
            Error::UpstreamRefused { status, names: String::new(), message, retry_after: None, overflow }
        }
    }
}

#[cfg(test)]
mod tests;
