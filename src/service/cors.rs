//! The web pages that may call the server and read its responses (the Fetch standard, "CORS
//! protocol").
//!
//! By default there are none. Another page cannot send a turn: the JSON content type requires a
//! preflight, which is then not granted.

use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header, request};

use super::body::{Body, full};
use crate::config::CorsOrigins;

impl CorsOrigins {
    /// The response to a preflight from a listed origin. `None` if the preflight is not granted.
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

    /// Permits a page of a listed origin to read the response.
    pub(super) fn write_headers(&self, origin: Option<&HeaderValue>, headers: &mut HeaderMap) {
        if self.is_empty() {
            return;
        }
        // Caches must know that responses differ by origin.
        headers.append(header::VARY, HeaderValue::from_static("origin"));
        if let Some(origin) = origin.filter(|origin| self.contains(origin)) {
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
            headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED));
        }
    }
}

/// True if pages may send this header. SDKs add `x-stainless-*` headers, and more of them with each
/// release.
fn allowed(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    name.parse::<HeaderName>().is_ok() && (ALLOWED.contains(&name.as_str()) || name.starts_with("x-stainless-"))
}

/// The other headers that SDKs send. The server uses only the credentials among them.
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
const EXPOSED: &str =
    "x-request-id, request-id, x-should-retry, x-holdall-ignored, retry-after, ratelimit, ratelimit-policy";
