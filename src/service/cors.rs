//! Which web pages may call, and read what they are answered (the Fetch standard, "CORS protocol").
//!
//! No origin may by default. A page that may not call cannot send a turn at all: the JSON type asks for a preflight, and
//! that one is not answered.

use std::fmt;

use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header, request};

use super::body::{Body, full};

/// The origins whose pages may call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CorsOrigins(Vec<HeaderValue>);

impl CorsOrigins {
    /// Takes origins as browsers write them, `https://app.example`; no wildcard.
    ///
    /// # Errors
    /// [`OriginError`] with the text that is no origin.
    pub fn new<'a>(origins: impl IntoIterator<Item = &'a str>) -> Result<Self, OriginError> {
        let parse = |origin: &str| {
            let host = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://"));
            let plain = host.is_some_and(|host| {
                !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".:-[]".contains(&byte))
            });
            let value = plain.then(|| HeaderValue::from_str(&origin.to_ascii_lowercase()).ok()).flatten();
            value.ok_or_else(|| OriginError(origin.to_owned()))
        };
        origins.into_iter().map(parse).collect::<Result<_, _>>().map(Self)
    }

    /// The answer to a preflight from a listed origin.
    pub(super) fn preflight(&self, head: &request::Parts) -> Option<Response<Body>> {
        let origin = head.headers.get(header::ORIGIN)?;
        let asked = head.headers.get(header::ACCESS_CONTROL_REQUEST_METHOD)?;
        if !self.0.contains(origin) || ![Method::GET, Method::POST].iter().any(|method| asked == method.as_str()) {
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
        if self.0.is_empty() {
            return;
        }
        // Answers differ by origin, and a cache must know.
        headers.append(header::VARY, HeaderValue::from_static("origin"));
        if let Some(origin) = origin.filter(|origin| self.0.contains(origin)) {
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
            headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED));
        }
    }
}

/// A text that is no origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OriginError(String);

impl std::error::Error for OriginError {}

impl fmt::Display for OriginError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is no origin, such as https://app.example", self.0)
    }
}

/// Stock SDKs add `x-stainless-*` headers, more of them with each release.
fn allowed(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    name.parse::<HeaderName>().is_ok() && (ALLOWED.contains(&name.as_str()) || name.starts_with("x-stainless-"))
}

const ALLOWED: [&str; 8] = [
    "accept",
    "anthropic-version",
    "authorization",
    "content-type",
    "openai-organization",
    "openai-project",
    "user-agent",
    "x-api-key",
];
const EXPOSED: &str = "x-request-id, request-id, x-should-retry, retry-after, ratelimit, ratelimit-policy";
