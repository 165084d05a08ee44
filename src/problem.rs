//! `proto::Error` → RFC 9457: the one place where codes meet statuses.
//!
//! What a caller may read goes into the document; [`Error::cause`] stays behind for the operator's log.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use serde::Serialize;

use crate::proto::{
    allowance::Allowance,
    dialect::door::{Refusal, Told},
    error::{Error, Retry},
};

/// An error as it is told to a caller.
#[derive(Clone, Debug)]
pub struct Problem {
    status: StatusCode,
    error: Error,
    request_id: String,
    /// What a door has made of it.
    refusal: Option<Refusal>,
}

impl Problem {
    /// The problem that `error` is to the caller of request `request_id`.
    #[must_use]
    pub fn new(error: Error, request_id: &str) -> Self {
        Self { status: status(&error), error, request_id: request_id.to_owned(), refusal: None }
    }

    /// The same in the shape that `shape` gives it, if it has one of its own.
    #[must_use]
    pub fn shaped(mut self, shape: impl FnOnce(&Told<'_>) -> Option<Refusal>) -> Self {
        self.refusal = self.tell(shape);
        if let Some(status) = self.refusal.as_ref().and_then(|refusal| StatusCode::from_u16(refusal.status).ok()) {
            self.status = status;
        }
        self
    }

    /// Lets `teller` say it in its own way.
    pub fn tell<T>(&self, teller: impl FnOnce(&Told<'_>) -> T) -> T {
        let problem = self.to_json();
        let (error, status, request_id) = (&self.error, self.status.as_u16(), self.request_id.as_str());
        teller(&Told { error, status, request_id, problem: &problem })
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
    pub fn standing(&self) -> &[Allowance] {
        match &self.error {
            Error::QuotaExceeded(exhausted) | Error::RateLimited(exhausted) => &exhausted.standing,
            _ => &[],
        }
    }

    /// The document, a JSON object.
    #[must_use]
    pub fn to_json(&self) -> String {
        let code = self.error.code();
        let (retry, retry_after) = match self.error.retry() {
            Retry::Safe => ("safe", None),
            Retry::After(wait) => ("after", Some(whole_seconds(wait))),
            Retry::Never => ("never", None),
        };
        let body = Body {
            r#type: format!("urn:holdall:problem:{code}"),
            title: title(&self.error),
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
            headers.insert(header::RETRY_AFTER, HeaderValue::from(whole_seconds(wait)));
        }
        match &self.error {
            Error::Unauthenticated { .. } => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"holdall\""));
            }
            // A 401 has a challenge (RFC 9110 §15.5.2), and this one asks for nothing that the caller itself could send.
            Error::Unvouched { .. } => {
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

#[derive(Serialize)]
struct Body<'a> {
    r#type: String,
    title: &'static str,
    status: u16,
    detail: String,
    code: &'static str,
    retry: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_seconds: Option<u64>,
    request_id: &'a str,
}

/// The status of each code (design §6).
fn status(error: &Error) -> StatusCode {
    match error {
        Error::BodyTooLarge { .. }
        | Error::HistoryTooLarge(_)
        | Error::ImageTooLarge(_)
        | Error::MessageTooLarge(_)
        | Error::TokenTooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
        Error::MethodNotAllowed { .. } => StatusCode::METHOD_NOT_ALLOWED,
        Error::ModelUnknown { .. }
        | Error::RequestInvalid { .. }
        | Error::RoleForbidden { .. }
        | Error::TokenInvalid { .. }
        | Error::Unsupported { .. } => StatusCode::BAD_REQUEST,
        Error::NotFound { .. } => StatusCode::NOT_FOUND,
        Error::GuardUnavailable { .. } | Error::Overloaded | Error::PeerBusy { .. } => StatusCode::SERVICE_UNAVAILABLE,
        Error::QuotaExceeded(_) | Error::RateLimited(_) | Error::UserBusy { .. } => StatusCode::TOO_MANY_REQUESTS,
        Error::RequestTimeout { .. } => StatusCode::REQUEST_TIMEOUT,
        Error::TokenExpired { .. } | Error::TokenRevoked => StatusCode::GONE,
        Error::TokenUsed { .. } => StatusCode::CONFLICT,
        Error::Unauthenticated { .. } | Error::Unvouched { .. } => StatusCode::UNAUTHORIZED,
        Error::UnsupportedMediaType { .. } => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        Error::UpstreamCut
        | Error::UpstreamMalformed { .. }
        | Error::UpstreamRefused { .. }
        | Error::UpstreamUnavailable { .. } => StatusCode::BAD_GATEWAY,
        Error::UpstreamTimeout { .. } => StatusCode::GATEWAY_TIMEOUT,
        Error::Internal { .. } => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// What the code means in a few words, the same for every occurrence (RFC 9457 §3.1.3).
fn title(error: &Error) -> &'static str {
    match error {
        Error::BodyTooLarge { .. } => "Request body too large",
        Error::GuardUnavailable { .. } => "Guard unavailable",
        Error::HistoryTooLarge(_) => "Conversation too long",
        Error::ImageTooLarge(_) => "Image too large",
        Error::Internal { .. } => "Internal error",
        Error::MessageTooLarge(_) => "Message too large",
        Error::MethodNotAllowed { .. } => "Method not allowed",
        Error::ModelUnknown { .. } => "Unknown model",
        Error::NotFound { .. } => "Not found",
        Error::Overloaded | Error::PeerBusy { .. } => "Server overloaded",
        Error::QuotaExceeded(_) => "Quota exceeded",
        Error::RateLimited(_) => "Rate limited",
        Error::RequestInvalid { .. } => "Invalid request",
        Error::RequestTimeout { .. } => "Request timed out",
        Error::RoleForbidden { .. } => "Role not allowed",
        Error::TokenExpired { .. } => "Token expired",
        Error::TokenInvalid { .. } => "Invalid token",
        Error::TokenRevoked => "Token revoked",
        Error::TokenTooLarge(_) => "Token too large",
        Error::TokenUsed { .. } => "Token used",
        Error::Unauthenticated { .. } | Error::Unvouched { .. } => "Not authenticated",
        Error::Unsupported { .. } => "Not supported",
        Error::UnsupportedMediaType { .. } => "Unsupported media type",
        Error::UpstreamCut => "Reply cut short",
        Error::UpstreamMalformed { .. } => "Malformed reply",
        Error::UpstreamRefused { .. } => "Refused by the model service",
        Error::UpstreamTimeout { .. } => "Model service timed out",
        Error::UpstreamUnavailable { .. } => "Model service unavailable",
        Error::UserBusy { .. } => "Too many turns at once",
    }
}

/// `Retry-After` counts whole seconds; less than one would mean at once.
fn whole_seconds(wait: Duration) -> u64 {
    wait.as_secs().saturating_add(u64::from(wait.subsec_nanos() > 0))
}

/// The longest wait after which SDKs are told to try again by themselves: the longest that they sleep for a `Retry-After`.
const WAIT_MOST: Duration = Duration::from_secs(60);

/// Read by the OpenAI and Anthropic SDKs.
const SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::proto::{
        allowance::Exhausted,
        error::{Excess, TokenFault},
        time::UnixSeconds,
    };

    /// Every error with its status and what to do next, as design §6 lists them; `SECRET` is for the operator alone.
    fn all() -> Vec<(Error, u16, &'static str)> {
        let cause = || "SECRET".to_owned();
        let excess = Excess { actual: 2, limit: 1, unit: "bytes" };
        let (second, limit) = (Some(Duration::from_millis(1_001)), Duration::from_secs(60));
        let detail = || "public".to_owned();
        let limit_of = Allowance { name: "turns", limit: 5, remaining: 0, period_seconds: 60, reset_seconds: 30 };
        let exhausted = || Box::new(Exhausted { limit: limit_of, retry_after_seconds: 7, standing: vec![limit_of] });
        let refused =
            |status, retry_after| Error::UpstreamRefused { status, message: None, retry_after, overflow: false };
        vec![
            (Error::BodyTooLarge { limit_bytes: 1 }, 413, "never"),
            (Error::GuardUnavailable { cause: cause(), passes: true }, 503, "after 1"),
            (Error::GuardUnavailable { cause: cause(), passes: false }, 503, "never"),
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
            (Error::TokenUsed { under_way: false }, 409, "never"),
            (Error::TokenUsed { under_way: true }, 409, "after 1"),
            (Error::Unauthenticated { cause: cause() }, 401, "never"),
            (Error::Unvouched { cause: cause() }, 401, "never"),
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
            let exhausted = Exhausted { limit, retry_after_seconds: seconds, standing: vec![limit] };
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
                Error::Unvouched { .. } => Some("Proxied realm=\"holdall\""),
                _ => None,
            };
            assert_eq!(headers.get("www-authenticate").map(|value| value.to_str().unwrap()), challenge);
            assert_eq!(headers.contains_key("allow"), code == "method_not_allowed");
            assert_eq!(headers.contains_key("connection"), ["body_too_large", "request_timeout"].contains(&code));
        }
    }
}
