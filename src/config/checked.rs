//! The checked configuration, as the service, the listener and the upstreams need it.

use std::{fmt, net::SocketAddr, time::Duration};

use http::{HeaderName, HeaderValue};
use zeroize::Zeroizing;

use super::{error::ConfigError, service::ServiceConfig, store::StoreConfig};
use crate::{
    guard::Rules,
    principal::Access,
    proto::{deployment::Deployment, provider::Provider},
};

/// A configuration that may start.
#[derive(Debug)]
pub struct Config {
    /// Where to listen.
    pub listen: SocketAddr,
    /// What turns need.
    pub deployment: Deployment,
    /// Who may call.
    pub access: Access,
    /// What the service needs.
    pub service: ServiceConfig,
    /// The model services.
    pub upstreams: Vec<UpstreamConfig>,
    /// How events of AWS Lambda are answered.
    pub lambda_response: LambdaResponse,
    /// What the listener needs.
    pub server: ServerConfig,
    /// What users are held to.
    pub guard: Rules,
    /// Where instances count together, if anywhere.
    pub store: Option<StoreConfig>,
    /// What an operator should know of, though it does not keep the server from starting.
    pub warnings: Vec<String>,
}

/// How events of AWS Lambda are answered; the platform does not tell a function what it makes of its answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LambdaResponse {
    /// Streamed to function URLs, whole to HTTP APIs.
    #[default]
    Auto,
    /// Whole: what function URLs in the invoke mode `BUFFERED` understand.
    Buffer,
    /// Streamed, whoever asks.
    Stream,
}

/// The bounds on connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerConfig {
    /// A request's head, whole, from the connection's first byte or the end of the request before.
    pub head_timeout: Duration,
    /// A pause in which the client takes nothing of its answer.
    pub write_timeout: Duration,
    /// An answer, from its head until the client has taken its last byte.
    pub answer_timeout: Duration,
    /// A request's head, in bytes.
    pub head_bytes: usize,
    /// Connections at once.
    pub connections: usize,
    /// Of these, connections of one peer address.
    pub connections_per_peer: usize,
    /// How long connections are still accepted once the server was asked to stop, and says at `/ready` that it is.
    pub lame_duck: Duration,
    /// How long requests under way may go on once the server was asked to stop.
    pub drain_timeout: Duration,
}

/// One model service.
#[derive(Clone)]
pub struct UpstreamConfig {
    /// What models call it.
    pub name: String,
    /// How it speaks.
    pub provider: &'static dyn Provider,
    /// Whose reasoning its replies hold: the dialect's name, and `@host` where that is not the dialect's own address.
    pub provider_id: String,
    /// Whether to ask for the prompt to be cached, where the provider wants to be asked.
    pub prompt_cache: bool,
    /// `http:` or `https:` URLs that its paths are appended to, without a trailing slash, each as good as the other; one
    /// empty text for the built-in model.
    pub base_urls: Vec<String>,
    /// How many calls it takes at once; none for as many as there are.
    pub concurrency: Option<Concurrency>,
    /// The operator's credential; some need none.
    pub api_key: Option<Zeroizing<String>>,
    /// How long connecting may take.
    pub connect_timeout: Duration,
    /// The pause between two words of the built-in model.
    pub builtin_pace: Duration,
}

impl UpstreamConfig {
    /// Whether it is the built-in model, which needs no network.
    #[must_use]
    pub fn is_builtin(&self) -> bool {
        self.base_urls.iter().all(String::is_empty)
    }

    /// The header that carries the operator's credential, if there is one.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] for a key that no header may hold.
    pub fn credential(&self) -> Result<Option<(HeaderName, HeaderValue)>, ConfigError> {
        let Some(key) = &self.api_key else { return Ok(None) };
        let (name, prefix) = self.provider.credential();
        let is_printable = key.bytes().all(|byte| matches!(byte, b' '..=b'~'));
        let value = is_printable.then(|| HeaderValue::from_str(&format!("{prefix}{}", &**key)).ok()).flatten();
        let mut value = value.ok_or_else(|| {
            ConfigError::invalid(
                "upstream",
                format!("the key of {} holds what is no printable ASCII character", self.name),
            )
        })?;
        value.set_sensitive(true);
        Ok(Some((name, value)))
    }
}

impl fmt::Debug for UpstreamConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = if self.api_key.is_some() { "with a key" } else { "without a key" };
        write!(f, "{} ({} at {}, {key}", self.name, self.provider.name(), self.base_urls.join(", "))?;
        if let Some(Concurrency { calls, queue, .. }) = self.concurrency {
            write!(f, ", {calls} calls at once and {queue} waiting")?;
        }
        f.write_str(")")
    }
}

/// How many calls an upstream takes at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Concurrency {
    /// Calls at once.
    pub calls: usize,
    /// Calls that may wait for one of them to end.
    pub queue: usize,
    /// How long each waits.
    pub wait: Duration,
}
