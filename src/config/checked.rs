//! The checked configuration, as the service, the listener and the upstreams need it.

use std::{fmt, net::SocketAddr, time::Duration};

use http::{HeaderName, HeaderValue};
use zeroize::Zeroizing;

use super::{
    error::ConfigError,
    network::{NetworkConfig, ProxyConfig},
    profile::ProfileChoice,
    service::ServiceConfig,
    store::StoreConfig,
};
use crate::{
    guard::Rules,
    principal::Access,
    proto::{
        deployment::Deployment,
        provider::{Profile, Provider},
    },
};

/// A checked configuration, with which a server can start.
#[derive(Debug)]
pub struct Config {
    /// The address to listen on.
    pub listen: SocketAddr,
    /// The token keys, limits and models that turns need.
    pub deployment: Deployment,
    /// How callers are authenticated.
    pub access: Access,
    /// How the key set of a JWT issuer is fetched.
    pub issuer_network: NetworkConfig,
    /// The settings of the service.
    pub service: ServiceConfig,
    /// The upstreams.
    pub upstreams: Vec<UpstreamConfig>,
    /// How AWS Lambda events are answered.
    pub lambda_response: LambdaResponse,
    /// The settings of the listener.
    pub server: ServerConfig,
    /// The limits on users.
    pub guard: Rules,
    /// The limits store, if there is one.
    pub store: Option<StoreConfig>,
    /// Warnings for the operator. The server starts nevertheless.
    pub warnings: Vec<String>,
}

/// How AWS Lambda events are answered. An event does not say whether the platform streams the
/// response.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LambdaResponse {
    /// Streamed to function URLs, complete to HTTP APIs.
    #[default]
    Auto,
    /// Complete. Function URLs with the invoke mode `BUFFERED` need this.
    Buffer,
    /// Streamed.
    Stream,
}

/// The limits on connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerConfig {
    /// The time for the complete head of a request, from the start of the connection or the end of
    /// the request before.
    pub head_timeout: Duration,
    /// The longest pause in which the client reads nothing of its response.
    pub write_timeout: Duration,
    /// The time from the head of a response until the client has read its last byte.
    pub answer_timeout: Duration,
    /// The size of a request's head, in bytes.
    pub head_bytes: usize,
    /// Concurrent connections.
    pub connections: usize,
    /// Concurrent connections of one address.
    pub connections_per_peer: usize,
    /// How long connections are still accepted after a stop signal, while `/ready` returns 503.
    pub lame_duck: Duration,
    /// How long requests in flight may continue after that.
    pub drain_timeout: Duration,
}

/// One upstream.
#[derive(Clone)]
pub struct UpstreamConfig {
    /// The name by which models refer to it.
    pub name: String,
    /// The wire format.
    pub provider: &'static dyn Provider,
    /// The identity of the provider, which owns the reasoning in its replies: the provider's name,
    /// and `@host` at another address than the provider's own.
    pub provider_id: String,
    /// The profile of the service.
    pub profile: Profile,
    /// How the profile was chosen.
    pub profile_choice: ProfileChoice,
    /// True if prompts are to be cached. It matters only for providers that cache on request.
    pub prompt_cache: bool,
    /// The addresses: `http:` or `https:` URLs without a trailing slash, before the provider's
    /// paths. One empty text for the built-in model.
    pub base_urls: Vec<String>,
    /// The limit on concurrent calls, if there is one.
    pub concurrency: Option<Concurrency>,
    /// The operator's key, if the upstream needs one.
    pub api_key: Option<Zeroizing<String>>,
    /// How connections are made.
    pub network: NetworkConfig,
    /// The time for a connection.
    pub connect_timeout: Duration,
    /// The pause between two words of the built-in model.
    pub builtin_pace: Duration,
}

impl UpstreamConfig {
    /// Returns true for the built-in model, which needs no network.
    #[must_use]
    pub fn is_builtin(&self) -> bool {
        self.base_urls.iter().all(String::is_empty)
    }

    /// The header with the operator's key, if there is one.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] for a key with other characters than printable ASCII.
    pub fn credential(&self) -> Result<Option<(HeaderName, HeaderValue)>, ConfigError> {
        let Some(key) = &self.api_key else { return Ok(None) };
        let (name, prefix) = self.provider.credential();
        let is_printable = key.bytes().all(|byte| matches!(byte, b' '..=b'~'));
        let value = is_printable.then(|| HeaderValue::from_str(&format!("{prefix}{}", &**key)).ok()).flatten();
        let mut value = value.ok_or_else(|| {
            let fault = format!("of `{}` names a key with characters that are not printable ASCII", self.name);
            ConfigError::invalid("upstream.api_key_env", fault)
        })?;
        value.set_sensitive(true);
        Ok(Some((name, value)))
    }
}

impl fmt::Debug for UpstreamConfig {
    /// Shows what a reload must not change: another output rejects the reload.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = if self.api_key.is_some() { "with a key" } else { "without a key" };
        write!(f, "{} ({} at {}, {key}", self.name, self.provider.name(), self.base_urls.join(", "))?;
        match &self.network.proxy {
            ProxyConfig::Environment { .. } => f.write_str(", proxy of the environment")?,
            ProxyConfig::Fixed(url) => write!(f, ", proxy {url:?}")?,
            ProxyConfig::None => {}
        }
        if self.network.authorities.own.is_some() {
            f.write_str(", own authorities")?;
        }
        if let Some(Concurrency { calls, queue, .. }) = self.concurrency {
            write!(f, ", {calls} concurrent calls and {queue} waiting")?;
        }
        f.write_str(")")
    }
}

/// The limit on concurrent calls of an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Concurrency {
    /// Concurrent calls, to all addresses together.
    pub calls: usize,
    /// Calls that may wait for a slot.
    pub queue: usize,
    /// The longest wait of a call.
    pub wait: Duration,
}
