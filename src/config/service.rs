//! The settings of the service, which a reload does not change.
//!
//! They are defined here because the service may import the configuration, but not the reverse.

use std::{fmt, time::Duration};

use http::HeaderValue;

/// The settings of the service.
#[derive(Debug)]
pub struct ServiceConfig {
    /// The timeouts.
    pub timeouts: Timeouts,
    /// The origins whose web pages may call.
    pub cors_origins: CorsOrigins,
    /// Retries of a failed call at the same upstream, before the next upstream is called.
    pub retries: u32,
    /// Concurrent requests of all callers.
    pub concurrent_requests: usize,
    /// Concurrent requests of one address.
    pub requests_per_peer: usize,
    /// True if only requests with a loopback name in `Host` are answered. A web page then cannot
    /// reach a developer's server by its own domain name (DNS rebinding).
    pub loopback_host_only: bool,
}

/// The timeouts of a request. Each starts at the end of the step before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// The complete body of a request.
    pub body: Duration,
    /// The first byte of the upstream's response, including the connection.
    pub first_byte: Duration,
    /// The pause between two parts of the upstream's response.
    pub idle: Duration,
    /// All calls of a turn together.
    pub total: Duration,
    /// The complete key set of a JWT issuer, including the connection.
    pub issuer: Duration,
    /// The silence after which a streaming client gets a comment. It also gets the head of the
    /// response after this time.
    pub heartbeat: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            body: Duration::from_secs(30),
            first_byte: Duration::from_secs(60),
            idle: Duration::from_secs(60),
            total: Duration::from_secs(600),
            issuer: Duration::from_secs(5),
            heartbeat: Duration::from_secs(15),
        }
    }
}

/// The origins whose web pages may call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CorsOrigins(Vec<HeaderValue>);

impl CorsOrigins {
    /// Reads origins as browsers and apps send them, such as `https://app.example` and
    /// `capacitor://localhost`. There is no wildcard.
    ///
    /// # Errors
    /// [`OriginError`] with the first text that is not an origin, or that no browser sends.
    pub fn new<'a>(origins: impl IntoIterator<Item = &'a str>) -> Result<Self, OriginError> {
        let parse = |origin: &str| {
            let parsed = parse_origin(origin).filter(|_| without_default_port(origin).is_none());
            parsed.ok_or_else(|| OriginError(origin.to_owned()))
        };
        origins.into_iter().map(parse).collect::<Result<_, _>>().map(Self)
    }

    /// Returns true if no web page may call.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns true if pages of `origin` may call. `origin` has the form that a browser sends.
    #[must_use]
    pub fn contains(&self, origin: &HeaderValue) -> bool {
        self.0.contains(origin)
    }
}

/// The origin as the `Origin` header has it: a scheme and a host, with an optional port (RFC 6454
/// §6.2). Browsers send web origins in lower case. The origin of an app has a scheme of its own,
/// and is compared byte for byte.
fn parse_origin(origin: &str) -> Option<HeaderValue> {
    let (scheme, host) = origin.split_once("://")?;
    let starts_scheme = scheme.starts_with(|first: char| first.is_ascii_alphabetic());
    let is_scheme = scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
    let is_host = host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._:-[]".contains(&byte));
    if !starts_scheme || !is_scheme || !is_host || host.is_empty() {
        return None;
    }
    let is_web = ["http", "https"].iter().any(|web| scheme.eq_ignore_ascii_case(web));
    let text = if is_web { origin.to_ascii_lowercase() } else { origin.to_owned() };
    HeaderValue::from_str(&text).ok()
}

/// The origin of a page without the default port of its scheme, if it has that port. Browsers never
/// send it (WHATWG HTML, "ASCII serialization of an origin").
fn without_default_port(origin: &str) -> Option<&str> {
    let (scheme, _) = origin.split_once("://")?;
    let (rest, port) = origin.rsplit_once(':')?;
    let is_default = match port.trim_start_matches('0') {
        "80" => scheme.eq_ignore_ascii_case("http"),
        "443" => scheme.eq_ignore_ascii_case("https"),
        _ => false,
    };
    is_default.then_some(rest)
}

/// A text that is not an origin, or that no browser sends as one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OriginError(String);

impl std::error::Error for OriginError {}

impl fmt::Display for OriginError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_str() {
            // Sandboxed frames and local files have this origin, and anyone can make them.
            "null" => f.write_str(
                "`null` is the origin of many kinds of pages, so that any of them could call; load the page from an \
                 origin of its own, such as `https://app.example` or `capacitor://localhost`",
            ),
            "*" => f.write_str(
                "`*` is not an origin, and there is no wildcard; list each one, such as `https://app.example`",
            ),
            origin => match without_default_port(origin).filter(|short| parse_origin(short).is_some()) {
                Some(short) => write!(
                    f,
                    "`{origin}` has the default port, which browsers leave out, so no page matches it; write `{short}`"
                ),
                None => write!(
                    f,
                    "`{origin}` is not an origin; write a scheme and a host without a path, such as `https://app.example` \
                 or `capacitor://localhost`"
                ),
            },
        }
    }
}
