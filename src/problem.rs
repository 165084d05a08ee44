//! `proto::Error` → RFC 9457: the one place where codes meet statuses.
//!
//! What a caller may read goes into the document; [`Error::cause`] stays behind for the operator's log.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use serde::Serialize;

use crate::proto::{
    allowance::Allowance,
    api::{ErrorResponse, PublicError},
    error::{Code, Error, Retry},
    time::seconds_rounded_up,
};

/// An error as it is told to a caller.
#[derive(Clone, Debug)]
pub struct Problem {
    status: StatusCode,
    error: Error,
    request_id: String,
    /// What a door has made of it.
    refusal: Option<ErrorResponse>,
}

impl Problem {
    /// The problem that `error` is to the caller of request `request_id`.
    #[must_use]
    pub fn new(error: Error, request_id: &str) -> Self {
        Self { status: status(error.kind()), error, request_id: request_id.to_owned(), refusal: None }
    }

    /// The same in the shape that `shape` gives it, if it has one of its own.
    #[must_use]
    pub fn shaped(mut self, shape: impl FnOnce(&PublicError<'_>) -> Option<ErrorResponse>) -> Self {
        self.refusal = self.tell(shape);
        if let Some(status) = self.refusal.as_ref().and_then(|refusal| StatusCode::from_u16(refusal.status).ok()) {
            self.status = status;
        }
        self
    }

    /// Lets `teller` say it in its own way.
    pub fn tell<T>(&self, teller: impl FnOnce(&PublicError<'_>) -> T) -> T {
        let problem = self.to_json();
        let (error, status, request_id) = (&self.error, self.status.as_u16(), self.request_id.as_str());
        teller(&PublicError { error, status, request_id, problem: &problem })
    }

    /// The body of the answer: the document, or what a door has made of it.
    #[must_use]
    pub fn into_body(self) -> Vec<u8> {
        match self.refusal {
            Some(refusal) => refusal.body,
            None => self.to_json().into_bytes(),
        }
    }

    /// The status of the answer; once a stream has begun there is none to send.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// Where the caller stands, if it was refused for its limits.
    #[must_use]
    pub fn allowances(&self) -> &[Allowance] {
        match &self.error {
            Error::QuotaExceeded(exhausted) | Error::RateLimited(exhausted) => &exhausted.allowances,
            _ => &[],
        }
    }

    /// The document, a JSON object.
    #[must_use]
    pub fn to_json(&self) -> String {
        let code = self.error.code();
        let (retry, retry_after) = match self.error.retry() {
            Retry::Safe => ("safe", None),
            Retry::After(wait) => ("after", Some(seconds_rounded_up(wait))),
            Retry::Never => ("never", None),
        };
        let body = Body {
            r#type: format!("urn:holdall:problem:{code}"),
            title: title(self.error.kind()),
            status: self.status.as_u16(),
            detail: self.error.to_string(),
            code,
            retry,
            retry_after_seconds: retry_after,
            request_id: &self.request_id,
        };
        serde_json::to_string(&body).unwrap_or_default()
    }

    /// Adds the headers that tell clients what to do next.
    pub fn write_headers(&self, headers: &mut HeaderMap) {
        let shape = if self.refusal.is_some() { "application/json" } else { "application/problem+json" };
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(shape));
        let retry = self.error.retry();
        // Stock SDKs obey this header before their own list of statuses, and wait for seconds, whatever `Retry-After` says.
        let should_retry = match retry {
            Retry::Never => "false",
            Retry::After(wait) if wait > WAIT_MOST => "false",
            Retry::After(_) | Retry::Safe => "true",
        };
        headers.insert(SHOULD_RETRY, HeaderValue::from_static(should_retry));
        if let Retry::After(wait) = retry {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds_rounded_up(wait)));
        }
        match &self.error {
            Error::Unauthenticated { .. } => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"holdall\""));
            }
            // A 401 has a challenge (RFC 9110 §15.5.2), and this one asks for nothing that the caller itself could send.
            Error::UntrustedProxy { .. } => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Proxied realm=\"holdall\""));
            }
            Error::MethodNotAllowed { allow } => {
                headers.insert(header::ALLOW, HeaderValue::from_static(allow));
            }
            // What was not read of the body must not be taken for the next request.
            Error::BodyTooLarge { .. } | Error::RequestTimeout { .. } => {
                headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            _ => {}
        }
    }
}

/// Why a request was refused or failed (RFC 9457), and what to do about it.
#[derive(Serialize)]
pub(crate) struct Body<'a> {
    /// `urn:holdall:problem:` and the code.
    r#type: String,
    /// What the code means in a few words.
    title: &'static str,
    /// The HTTP status; in an event, the one that it would have been.
    status: u16,
    /// What happened this time, for people.
    detail: String,
    /// What happened, for programs.
    code: &'static str,
    /// Whether the same request may be sent again: at once, after the wait, or not without a change. The token is as good
    /// as before.
    retry: &'static str,
    /// How long to wait; there where `retry` is `after`.
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_seconds: Option<u64>,
    /// The id under which the server's log has the request.
    request_id: &'a str,
}

/// The status of each code (design §6).
pub(crate) fn status(code: Code) -> StatusCode {
    match code {
        Code::BodyTooLarge
        | Code::HistoryTooLarge
        | Code::ImageTooLarge
        | Code::MessageTooLarge
        | Code::TokenTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Code::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
        Code::ModelUnknown | Code::RequestInvalid | Code::RoleForbidden | Code::TokenInvalid | Code::Unsupported => {
            StatusCode::BAD_REQUEST
        }
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::GuardUnavailable | Code::Overloaded => StatusCode::SERVICE_UNAVAILABLE,
        Code::QuotaExceeded | Code::RateLimited | Code::UserBusy => StatusCode::TOO_MANY_REQUESTS,
        Code::RequestTimeout => StatusCode::REQUEST_TIMEOUT,
        Code::TokenExpired | Code::TokenRevoked => StatusCode::GONE,
        Code::TokenUsed => StatusCode::CONFLICT,
        Code::Unauthenticated => StatusCode::UNAUTHORIZED,
        Code::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        Code::UpstreamCut | Code::UpstreamMalformed | Code::UpstreamRefused | Code::UpstreamUnavailable => {
            StatusCode::BAD_GATEWAY
        }
        Code::UpstreamTimeout => StatusCode::GATEWAY_TIMEOUT,
        Code::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// What the code means in a few words, the same for every occurrence (RFC 9457 §3.1.3).
fn title(code: Code) -> &'static str {
    match code {
        Code::BodyTooLarge => "Request body too large",
        Code::GuardUnavailable => "Guard unavailable",
        Code::HistoryTooLarge => "Conversation too long",
        Code::ImageTooLarge => "Image too large",
        Code::Internal => "Internal error",
        Code::MessageTooLarge => "Message too large",
        Code::MethodNotAllowed => "Method not allowed",
        Code::ModelUnknown => "Unknown model",
        Code::NotFound => "Not found",
        Code::Overloaded => "Server overloaded",
        Code::QuotaExceeded => "Quota exceeded",
        Code::RateLimited => "Rate limited",
        Code::RequestInvalid => "Invalid request",
        Code::RequestTimeout => "Request timed out",
        Code::RoleForbidden => "Role not allowed",
        Code::TokenExpired => "Token expired",
        Code::TokenInvalid => "Invalid token",
        Code::TokenRevoked => "Token revoked",
        Code::TokenTooLarge => "Token too large",
        Code::TokenUsed => "Token used",
        Code::Unauthenticated => "Not authenticated",
        Code::Unsupported => "Not supported",
        Code::UnsupportedMediaType => "Unsupported media type",
        Code::UpstreamCut => "Reply cut short",
        Code::UpstreamMalformed => "Malformed reply",
        Code::UpstreamRefused => "Refused by the model service",
        Code::UpstreamTimeout => "Model service timed out",
        Code::UpstreamUnavailable => "Model service unavailable",
        Code::UserBusy => "Too many turns at once",
    }
}

/// The longest wait after which SDKs are told to try again by themselves: the longest that they sleep for a `Retry-After`.
const WAIT_MOST: Duration = Duration::from_secs(60);

/// Read by the OpenAI and Anthropic SDKs.
const SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");

#[cfg(test)]
pub(crate) mod tests {
    use serde_json::Value;

    use super::*;
    use crate::proto::{
        allowance::Exhausted,
        error::{Excess, TokenFault},
        time::UnixSeconds,
    };

    /// Every error with its status and what to do next, as design §6 lists them; `SECRET` is for the operator alone.
    pub(crate) fn all() -> Vec<(Error, u16, &'static str)> {
        let cause = || "SECRET".to_owned();
        let excess = Excess { actual: 2, limit: 1, unit: "bytes" };
        let (second, limit) = (Some(Duration::from_millis(1_001)), Duration::from_secs(60));
        let detail = || "public".to_owned();
        let limit_of = Allowance { name: "turns", limit: 5, remaining: 0, period_seconds: 60, reset_seconds: 30 };
        let exhausted = || Box::new(Exhausted { limit: limit_of, retry_after_seconds: 7, allowances: vec![limit_of] });
        let refused =
            |status, retry_after| Error::UpstreamRefused { status, message: None, retry_after, overflow: false };
        vec![
            (Error::BodyTooLarge { limit_bytes: 1 }, 413, "never"),
            (Error::GuardUnavailable { cause: cause(), retryable: true }, 503, "after 1"),
            (Error::GuardUnavailable { cause: cause(), retryable: false }, 503, "never"),
            (Error::HistoryTooLarge(excess), 413, "never"),
            (Error::ImageTooLarge(excess), 413, "never"),
            (Error::Internal { cause: cause() }, 500, "safe"),
            (Error::MessageTooLarge(excess), 413, "never"),
            (Error::MethodNotAllowed { allow: "GET" }, 405, "never"),
            (Error::ModelUnknown { alias: detail(), known: vec![detail()] }, 400, "never"),
            (Error::NotFound { hint: "look elsewhere" }, 404, "never"),
            (Error::Overloaded, 503, "after 1"),
            (Error::PeerBusy { limit: 256 }, 503, "after 1"),
            (Error::QuotaExceeded(exhausted()), 429, "after 7"),
            (Error::RateLimited(exhausted()), 429, "after 7"),
            (Error::RequestInvalid { detail: detail() }, 400, "never"),
            (Error::RequestTimeout { limit }, 408, "safe"),
            (Error::RoleForbidden { role: detail() }, 400, "never"),
            (Error::TokenExpired { expires_at: UnixSeconds(0), now: UnixSeconds(1) }, 410, "never"),
            (Error::TokenInvalid { fault: TokenFault::Tag }, 400, "never"),
            (Error::TokenRevoked, 410, "never"),
            (Error::TokenTooLarge(excess), 413, "never"),
            (Error::TokenUsed { in_progress: false }, 409, "never"),
            (Error::TokenUsed { in_progress: true }, 409, "after 1"),
            (Error::Unauthenticated { cause: cause() }, 401, "never"),
            (Error::UntrustedProxy { cause: cause() }, 401, "never"),
            (Error::Unsupported { detail: detail() }, 400, "never"),
            (Error::UnsupportedMediaType { detail: detail() }, 415, "never"),
            (Error::UpstreamCut, 502, "safe"),
            (Error::UpstreamMalformed { cause: cause() }, 502, "safe"),
            (refused(400, None), 502, "never"),
            (refused(429, second), 502, "after 2"),
            (Error::UpstreamTimeout { phase: "first byte", limit }, 504, "safe"),
            (Error::UpstreamUnavailable { cause: cause(), retry_after: None }, 502, "safe"),
            (Error::UpstreamUnavailable { cause: cause(), retry_after: second }, 502, "after 2"),
            (Error::UserBusy { limit: 8 }, 429, "after 1"),
        ]
    }

    #[test]
    fn every_code_has_the_status_of_the_design() {
        for (error, status, retry) in all() {
            let code = error.code();
            let problem = Problem::new(error, "req_1");
            assert_eq!(problem.status().as_u16(), status, "{code}");
            let document: Value = serde_json::from_str(&problem.to_json()).unwrap();
            assert_eq!((&document["code"], &document["status"]), (&Value::from(code), &Value::from(status)));
            assert_eq!(document["request_id"], "req_1");
            let after = document["retry_after_seconds"].as_u64().map(|seconds| format!(" {seconds}"));
            assert_eq!(format!("{}{}", document["retry"].as_str().unwrap(), after.unwrap_or_default()), retry);
        }
    }

    #[test]
    fn what_the_operator_alone_may_know_stays_behind() {
        for (error, ..) in all() {
            assert!(!Problem::new(error, "req_1").to_json().contains("SECRET"));
        }
    }

    #[test]
    fn nobody_is_told_to_try_again_by_itself_after_a_long_wait() {
        for (seconds, should_retry) in [(1, "true"), (60, "true"), (61, "false"), (86_400, "false")] {
            let limit = Allowance { name: "turns", limit: 5, remaining: 0, period_seconds: 60, reset_seconds: seconds };
            let exhausted = Exhausted { limit, retry_after_seconds: seconds, allowances: vec![limit] };
            let problem = Problem::new(Error::QuotaExceeded(Box::new(exhausted)), "req_1");
            let mut headers = HeaderMap::new();
            problem.write_headers(&mut headers);
            assert_eq!(
                (&headers["x-should-retry"], &headers["retry-after"]),
                (&HeaderValue::from_static(should_retry), &HeaderValue::from(seconds))
            );
            let document: Value = serde_json::from_str(&problem.to_json()).unwrap();
            assert_eq!(
                (&document["retry"], document["retry_after_seconds"].as_u64()),
                (&Value::from("after"), Some(seconds))
            );
        }
    }

    #[test]
    fn headers_say_what_to_do_next() {
        for (error, _, retry) in all() {
            let code = error.code();
            let mut headers = HeaderMap::new();
            let problem = Problem::new(error, "req_1");
            problem.write_headers(&mut headers);
            assert_eq!(headers["content-type"], "application/problem+json");
            assert_eq!(headers["x-should-retry"], if retry == "never" { "false" } else { "true" });
            let after = headers.get("retry-after").map(|wait| wait.to_str().unwrap());
            assert_eq!(after, retry.strip_prefix("after "));
            let challenge = match problem.error {
                Error::Unauthenticated { .. } => Some("Bearer realm=\"holdall\""),
                Error::UntrustedProxy { .. } => Some("Proxied realm=\"holdall\""),
                _ => None,
            };
            assert_eq!(headers.get("www-authenticate").map(|value| value.to_str().unwrap()), challenge);
            assert_eq!(headers.contains_key("allow"), code == "method_not_allowed");
            assert_eq!(headers.contains_key("connection"), ["body_too_large", "request_timeout"].contains(&code));
        }
    }
}
