//! What the service is told once, at its start: which pages may call, how long things may take.
//!
//! These stand here because the service may read the configuration, and not the other way round.

use std::{fmt, time::Duration};

use http::HeaderValue;

/// What a service is told once, at its start.
#[derive(Debug)]
pub struct ServiceConfig {
    /// How long things may take.
    pub timeouts: Timeouts,
    /// Which web pages may call.
    pub cors_origins: CorsOrigins,
    /// How often a call that failed is made again at the same upstream, before the next one is asked.
    pub retries: u32,
    /// Requests at once, over all callers.
    pub concurrent_requests: usize,
    /// Of these, requests of one peer address.
    pub requests_per_peer: usize,
    /// Whether to answer only where the request's `Host` names the loopback, so that no web page can exposure a
    /// developer's server by a name of its own (DNS rebinding).
    pub loopback_host_only: bool,
}

/// How long things may take; each is from the end of the step before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// A request's body, whole.
    pub body: Duration,
    /// The upstream's first byte, connecting included.
    pub first_byte: Duration,
    /// The pause between two pieces of an upstream's answer.
    pub idle: Duration,
    /// An upstream's answer, whole.
    pub total: Duration,
    /// An identity issuer's key set, whole, connecting included.
    pub issuer: Duration,
    /// The silence after which a streaming client gets a comment, and by which it gets a head at the latest.
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

    /// Whether no page may call.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether pages of `origin`, as a browser sends it, may call.
    #[must_use]
    pub fn contains(&self, origin: &HeaderValue) -> bool {
        self.0.contains(origin)
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
