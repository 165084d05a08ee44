//! Which web pages may call, and read what they are answered (the Fetch standard, "CORS protocol").
//!
//! No origin may by default. A page that may not call cannot send a turn at all: the JSON type asks for a preflight, and
//! that one is not answered.

use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header, request};

use super::body::{Body, full};
use crate::config::CorsOrigins;

impl CorsOrigins {
    /// The answer to a preflight from a listed origin.
    pub(super) fn preflight(&self, head: &request::Parts) -> Option<Response<Body>> {
        let origin = head.headers.get(header::ORIGIN)?;
        let asked = head.headers.get(header::ACCESS_CONTROL_REQUEST_METHOD)?;
        if !self.contains(origin) || ![Method::GET, Method::POST].iter().any(|method| asked == method.as_str()) {
            return None;
        }
        let wanted = head.headers.get(header::ACCESS_CONTROL_REQUEST_HEADERS).and_then(|names| names.to_str().ok());
        let granted: Vec<_> =
            wanted.unwrap_or_default().split(',').map(str::trim).filter(|name| allowed(name)).collect();
        let mut response = Response::new(full(""));
        *response.status_mut() = StatusCode::NO_CONTENT;
        let headers = response.headers_mut();
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, POST"));
        headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
        if let Ok(granted) = HeaderValue::from_str(&granted.join(", ")) {
            headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, granted);
        }
        Some(response)
    }

    /// Lets the page of a listed origin read the answer.
    pub(super) fn write_headers(&self, origin: Option<&HeaderValue>, headers: &mut HeaderMap) {
        if self.is_empty() {
            return;
        }
        // Answers differ by origin, and a cache must know.
        headers.append(header::VARY, HeaderValue::from_static("origin"));
        if let Some(origin) = origin.filter(|origin| self.contains(origin)) {
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
            headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED));
        }
    }
}

/// Stock SDKs add `x-stainless-*` headers, more of them with each release.
fn allowed(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    name.parse::<HeaderName>().is_ok() && (ALLOWED.contains(&name.as_str()) || name.starts_with("x-stainless-"))
}

/// What else they send on their own or by an option of theirs; nothing of it is acted on but the credentials.
const ALLOWED: [&str; 14] = [
    "accept",
    "anthropic-beta",
    "anthropic-dangerous-direct-browser-access",
    "anthropic-version",
    "anthropic-workspace-id",
    "authorization",
    "content-type",
    "idempotency-key",
    "openai-beta",
    "openai-organization",
    "openai-project",
    "user-agent",
    "x-api-key",
    "x-client-request-id",
];
const EXPOSED: &str = "x-request-id, request-id, x-should-retry, retry-after, ratelimit, ratelimit-policy";
