//! Errors of model services, as the errors of Holdall that they mean.
//!
//! `error_body.rs` finds the words of an error, `refusal.rs` has the classes, and `safe_text.rs`
//! makes a message safe to show. Only a fault of the request is shown with the service's words.

use std::time::Duration;

use http::response;
use serde_json::Value;

use super::{
    error_body::ErrorBody,
    error_names,
    profile::Profile,
    refusal::{self, Class},
    reply_json,
    retry_after::{MAX_RETRY_AFTER, rate_limit_reset, retry_after},
    safe_text::safe_text,
};
use crate::proto::error::Error;

/// The wait that clients get for a rate limit that names none.
const RATE_LIMIT_WAIT: Duration = Duration::from_secs(5);

/// The error that an answer with a 4xx or 5xx status and this body means. `request` is the body of
/// the request, which the answer may quote.
pub(super) fn from_answer(head: &response::Parts, body: &[u8], profile: &Profile, request: &[u8]) -> Error {
    let error = ErrorBody::of_answer(body);
    let class = refusal::class(Some(head.status.as_u16()), &error, profile, request);
    let wait = match retry_after(&head.headers) {
        None if refusal::is_daily(&error) => Some(MAX_RETRY_AFTER),
        None => {
            let in_headers = Some(()).filter(|()| class == Class::Rate).and_then(|()| rate_limit_reset(&head.headers));
            error.retry_after.or(in_headers)
        }
        wait => wait,
    };
    of_class(class, Some(head.status.as_u16()), wait, &error)
}

/// The error that an `error` member means, inside an answer with a 2xx status. Its `code` is a
/// status for some services and a name for others.
pub(super) fn from_reply(error: &Value, profile: &Profile) -> Error {
    let error = ErrorBody::of_value(error);
    let class = refusal::class(error.status, &error, profile, b"");
    of_class(class, error.status, error.retry_after, &error)
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
    let has_success = object.get("code").is_some_and(|code| matches!(code.to_string().trim_matches('"'), "0" | "200"));
    let is_marked = text("object") == "error" || object.get("success") == Some(&Value::Bool(false));
    // An unknown event may have any members.
    let is_event = !matches!(text("type"), "" | "error");
    let has_words = !text("message").is_empty() || !text("msg").is_empty();
    let has_error = ["error", "errors", "detail"].iter().any(has) || has_words && !has_success;
    (is_marked || has_error && !is_event) && !REPLY_MEMBERS.iter().any(has)
}

/// Members that every error of [`in_place_of_reply`] has one of, so that few texts are read twice.
const ERROR_MARKS: [&str; 6] = ["\"error\"", "\"errors\"", "\"detail\"", "\"code\"", "\"success\"", "\"message\":\""];

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
            let message = Some(safe_text(&error.message)).filter(|text| !text.is_empty());
            let overflow = class == Class::Overflow;
            Error::UpstreamRefused { status, names: String::new(), message, retry_after: None, overflow }
        }
    }
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
        super::from_answer(&answer.into_parts().0, body, &COMPATIBLE, b"{}")
    }

    #[test]
    fn only_a_fault_of_the_request_is_shown_with_its_words() {
        for (status, body, shown) in [
            (400, r#"{"error":{"message":"too hot","type":"x"}}"#, Some("too hot")),
            (422, r#"{"detail":[{"loc":["body"],"msg":"bad"}]}"#, Some("body: bad")),
            (404, r#"{"detail":"Not Found"}"#, None),
            (405, r#"{"error":{"message":"our secret","type":"x"}}"#, None),
            (400, "<html>400</html>", None),
            (400, "", None),
            (429, r#"{"error":{"message":"Limit for org-1"}}"#, None),
        ] {
            let Error::UpstreamRefused { message, .. } = from_answer(status, None, body.as_bytes()) else {
                panic!("another error: {body}");
            };
            assert_eq!(message.as_deref(), shown, "{body}");
        }
    }

    #[test]
    fn an_unknown_fault_is_logged_with_its_names() {
        let error = from_answer(410, None, br#"{"error":{"message":"our secret","code":"model_decommissioned"}}"#);
        assert_eq!(error.cause().as_deref(), Some("status 410 model_decommissioned"));
        // A text of the prompt can have the form of a name.
        let error = from_answer(410, None, br#"{"error":{"message":"our secret","code":"my_diary_says"}}"#);
        assert_eq!(error.cause().as_deref(), Some("status 410 other"));
        assert!(!error.to_string().contains("secret"));
    }

    #[test]
    fn a_fault_of_the_account_is_logged_without_its_words() {
        for (status, body, cause) in [
            (
                400,
                r#"{"type":"error","error":{"type":"invalid_request_error","message":"my diary: Your credit balance is too low"}}"#,
                "status 400 invalid_request_error: credit balance is too low",
            ),
            (
                401,
                r#"{"error":{"message":"Incorrect API key provided: k","code":"invalid_api_key"}}"#,
                "status 401 invalid_api_key: incorrect api key",
            ),
            (403, "<html>403</html>", "status 403"),
            (402, "", "status 402"),
            (402, r#"{"error":{"code":402,"message":"no"}}"#, "status 402"),
        ] {
            let error = from_answer(status, Some(RATE_LIMIT_WAIT), body.as_bytes());
            assert_eq!(error, Error::UpstreamAccount { cause: cause.to_owned() });
            assert_eq!(error.code(), "upstream_unavailable");
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
    fn a_rate_limit_has_a_wait() {
        let google = r#"[{"error":{"code":429,"status":"RESOURCE_EXHAUSTED","details":[{"retryDelay":"37s"},{"violations":[{"quotaId":"X"}]}]}}]"#;
        let daily = google.replace("\"X\"", "\"RequestsPerDayPerProject\"");
        for (header, body, seconds) in [
            (None, "", 5),
            (None, r#"{"error":{"type":"rate_limit_error"}}"#, 5),
            (None, google, 37),
            (Some(9), google, 9),
            (None, daily.as_str(), 3_600),
            (Some(9), daily.as_str(), 9),
            (None, r#"{"error":{"message":"Please try again in 7m12s."}}"#, 432),
            (None, r#"{"error":{"message":"Please try again in 9h."}}"#, 3_600),
        ] {
            let error = from_answer(429, header.map(Duration::from_secs), body.as_bytes());
            let retry_after = Some(Duration::from_secs(seconds));
            let expected = Error::UpstreamRefused {
                status: 429,
                names: String::new(),
                message: None,
                retry_after,
                overflow: false,
            };
            assert_eq!(error, expected, "{header:?} {body}");
        }
    }

    #[test]
    fn an_error_in_the_place_of_a_reply_is_found_in_every_shape() {
        for (json, status) in [
            (r#"[{"error":{"code":429,"message":"m"}}]"#, Some(429)),
            (r#"{"object":"error","message":"m","type":"BadRequestError","code":400}"#, Some(400)),
            (r#"{"detail":"m"}"#, None),
            (r#"{"code":1113,"msg":"m"}"#, None),
            (r#"{"code":"429","message": "m"}"#, Some(429)),
            (r#"{"success":false,"errors":[{"code":1,"message":"m"}]}"#, None),
            (r#"{"error":"m","choices":null}"#, None),
        ] {
            let found = in_place_of_reply(json, &COMPATIBLE).unwrap();
            assert_ne!(found.code(), "upstream_malformed", "{json}");
            let found = Some(found).and_then(|error| match error {
                Error::UpstreamRefused { status, .. } => Some(status),
                _ => None,
            });
            assert_eq!(found, status, "{json}");
        }
        for json in [
            r#"{"choices":[{"delta":{"content":"a"}}],"code":1,"msg":"m"}"#,
            r#"{"code":0,"msg":"ok"}"#,
            r#"{"code":200,"message":"ok"}"#,
            r#"{"error":"","detail":{},"success":true}"#,
            r#"{"type":"response.mystery","detail":"a","message":"m"}"#,
            r#"{"type":"message_start","message":{"content":[],"error":null}}"#,
            r#"{"message":{"code":1}}"#,
            r#"{"detail":"m"#,
            "[]",
            "\"error\"",
        ] {
            assert_eq!(in_place_of_reply(json, &COMPATIBLE), None, "{json}");
        }
    }

    #[test]
    fn errors_inside_replies_are_classified() {
        for (error, code, status) in [
            (json!({"type": "overloaded_error", "message": "m"}), "upstream_unavailable", 0),
            (json!({"type": "api_error"}), "upstream_unavailable", 0),
            (json!({"type": "server_error", "code": null}), "upstream_unavailable", 0),
            (json!({"code": 502, "message": "m"}), "upstream_unavailable", 0),
            (json!({"code": "502", "message": "m"}), "upstream_unavailable", 0),
            (json!({"code": "service_unavailable"}), "upstream_unavailable", 0),
            (json!({"type": "authentication_error", "message": "m"}), "upstream_unavailable", 0),
            (json!({"type": "invalid_request_error", "message": "m"}), "upstream_refused", 400),
            (json!({"code": 404, "type": "api_error"}), "upstream_refused", 404),
            (json!({"type": "rate_limit_error"}), "upstream_refused", 429),
            (json!({"message": "maximum context length is 9"}), "upstream_refused", 400),
            (json!("just text"), "upstream_unavailable", 0),
            (json!(null), "upstream_unavailable", 0),
        ] {
            let found = from_reply(&error, &COMPATIBLE);
            assert_eq!(found.code(), code, "{error}");
            if let Error::UpstreamRefused { status: found, .. } = found {
                assert_eq!(found, status, "{error}");
            }
        }
    }
}
