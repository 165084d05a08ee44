//! Errors as HTTP answers: the one place where a code becomes a status, a body and headers (RFC
//! 9457).
//!
//! The body has what the caller may read. [`Error::cause`] goes only to the operator's log.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use serde::Serialize;

use crate::proto::{
    allowance::Allowance,
    api::{ErrorResponse, PublicError},
    error::{Error, Retry},
    time::seconds_rounded_up,
};

/// An error as the answer to one request.
#[derive(Clone, Debug)]
pub struct Problem {
    status: StatusCode,
    error: Error,
    request_id: String,
    /// The error in the shape of an API that has its own.
    shaped: Option<ErrorResponse>,
}

impl Problem {
    /// The problem document for `error`, as the answer to the request `request_id`.
    #[must_use]
    pub fn new(error: Error, request_id: &str) -> Self {
        let status = StatusCode::from_u16(error.kind().status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Self { status, error, request_id: request_id.to_owned(), shaped: None }
    }

    /// The same error in the shape that `shape` gives it. If `shape` returns `None`, the problem
    /// document remains.
    #[must_use]
    pub fn shaped(mut self, shape: impl FnOnce(&PublicError<'_>) -> Option<ErrorResponse>) -> Self {
        self.shaped = self.with_public_error(shape);
        if let Some(status) = self.shaped.as_ref().and_then(|shaped| StatusCode::from_u16(shaped.status).ok()) {
            self.status = status;
        }
        self
    }

    /// Calls `write` with everything that a caller may read of this error.
    pub fn with_public_error<T>(&self, write: impl FnOnce(&PublicError<'_>) -> T) -> T {
        let problem = self.to_json();
        let (error, status, request_id) = (&self.error, self.status.as_u16(), self.request_id.as_str());
        write(&PublicError { error, status, request_id, problem: &problem })
    }

    /// The body of the answer: the problem document, or the shape of an API that has its own.
    #[must_use]
    pub fn into_body(self) -> Vec<u8> {
        match self.shaped {
            Some(shaped) => shaped.body,
            None => self.to_json().into_bytes(),
        }
    }

    /// The status of the answer. An error inside a stream has no status of its own.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The caller's allowances, if the error is about one of its limits; empty otherwise.
    #[must_use]
    pub fn allowances(&self) -> &[Allowance] {
        match &self.error {
            Error::QuotaExceeded(exhausted) | Error::RateLimited(exhausted) => &exhausted.allowances,
            _ => &[],
        }
    }

    /// The problem document: a JSON object.
    #[must_use]
    pub fn to_json(&self) -> String {
        let (code, retry) = (self.error.kind(), self.error.retry());
        let retry_after_seconds = match retry {
            Retry::After(wait) => Some(seconds_rounded_up(wait)),
            Retry::Never | Retry::Safe => None,
        };
        let body = Body {
            r#type: format!("urn:holdall:problem:{}", code.as_str()),
            title: code.title(),
            status: self.status.as_u16(),
            detail: self.error.to_string(),
            code: code.as_str(),
            retry: retry.as_str(),
            retry_after_seconds,
            request_id: &self.request_id,
        };
        serde_json::to_string(&body).unwrap_or_default()
    }

    /// Adds the content type, the retry headers, and the headers that the status requires.
    pub fn write_headers(&self, headers: &mut HeaderMap) {
        let content_type = if self.shaped.is_some() { "application/json" } else { "application/problem+json" };
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        self.write_retry_headers(headers);
        match &self.error {
            Error::Unauthenticated { .. } => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"holdall\""));
            }
            // A 401 needs a challenge (RFC 9110 §15.5.2). This one asks for nothing that the caller
            // could send.
            Error::UntrustedProxy { .. } => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Proxied realm=\"holdall\""));
            }
            Error::MethodNotAllowed { allow } => {
                headers.insert(header::ALLOW, HeaderValue::from_static(allow));
            }
            // A 426 names the protocol to use (RFC 9110 §15.5.22), and `Connection` says that the
            // header is for this connection (RFC 9110 §7.8).
            Error::WebsocketUnsupported => {
                headers.insert(header::UPGRADE, HeaderValue::from_static("HTTP/1.1"));
                headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
            }
            // The rest of the body was not read. It must not be mistaken for the next request.
            Error::BodyTooLarge { .. } | Error::RequestTimeout { .. } => {
                headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            _ => {}
        }
    }

    fn write_retry_headers(&self, headers: &mut HeaderMap) {
        let retry = self.error.retry();
        // The SDKs obey this header before their own list of statuses. They ignore a `Retry-After`
        // above `SDK_WAIT_MAX` and retry after some seconds.
        let should_retry = match retry {
            Retry::Never => "false",
            Retry::After(wait) if wait > SDK_WAIT_MAX => "false",
            Retry::After(_) | Retry::Safe => "true",
        };
        headers.insert(X_SHOULD_RETRY, HeaderValue::from_static(should_retry));
        if let Retry::After(wait) = retry {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds_rounded_up(wait)));
        }
    }
}

/// An error: what happened, and what to do about it (RFC 9457).
#[derive(Serialize)]
pub(crate) struct Body<'a> {
    /// `urn:holdall:problem:` followed by the code.
    r#type: String,
    /// The code as a short text for people.
    title: &'static str,
    /// The HTTP status. In an event, the status that the response would have had.
    status: u16,
    /// This occurrence and the next step, for people.
    detail: String,
    /// The name of the error, for programs.
    code: &'static str,
    /// The advice for the same request. `safe`: send it again. `after`: send it again after
    /// `retry_after_seconds`. `never`: change it first. The token that it sent stays valid.
    retry: &'static str,
    /// How long to wait; present if `retry` is `after`.
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_seconds: Option<u64>,
    /// The id of the request in the server's log.
    request_id: &'a str,
}

/// The longest `Retry-After` that the SDKs of OpenAI and Anthropic obey.
const SDK_WAIT_MAX: Duration = Duration::from_secs(60);

/// The SDKs of OpenAI and Anthropic read this header.
const X_SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");

#[cfg(test)]
mod page;
#[cfg(test)]
pub(crate) mod tests;
