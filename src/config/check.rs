//! What must hold between the settings before a server may start.

use std::{net::SocketAddr, time::Duration};

use super::{
    Config, ConfigError, CorsOrigins, LambdaResponse, RawConfig, ServerConfig, ServiceConfig, Sources, Timeouts,
    raw::RawLimits,
};
use crate::{
    principal::Authenticator,
    proto::{
        deployment::{ApiSettings, Deployment},
        key::KeyRing,
        limits::Limits,
        token::TokenPolicy,
    },
};

impl RawConfig {
    /// Checks the whole, reading what it names through `sources`.
    ///
    /// # Errors
    /// The first thing that keeps it from starting.
    pub fn check(self, sources: &impl Sources) -> Result<Config, ConfigError> {
        let listen = self.listen(sources)?;
        let keys = self.key_ring(sources)?;
        let mut warnings = Vec::new();
        let access = self.access(sources, &keys, &mut warnings)?;
        let unauthenticated = matches!(access.authenticator, Authenticator::None);
        let is_local = listen.ip().is_loopback() && !self.on_platform;
        if unauthenticated && !is_local && !self.dangerous_open {
            return Err(ConfigError::OpenToAll { listen: (!self.on_platform).then_some(listen) });
        }
        let limits = self.limits.limits()?;
        let policy = self.policy()?;
        let upstreams = self.upstreams(sources)?;
        let models = self.models(&upstreams, sources)?;
        let timeouts = self.timeouts();
        let total = timeouts.total;
        let (guard, store) = (self.rules(&policy, total)?, self.store(&policy)?);
        if store.is_some() && policy.issuer == TokenPolicy::default().issuer {
            let named =
                "deployments that share a store and an issuer share counts and revocations; name this one (issuer)";
            warnings.push(named.to_owned());
        }
        let concurrent_requests = at_least_one("limits.concurrent_requests", self.limits.concurrent_requests, 1_024)?;
        let requests_per_peer = concurrent_requests.div_ceil(PEER_SHARE);
        let origins = self.cors_origins.iter().map(String::as_str);
        Ok(Config {
            listen,
            access,
            service: ServiceConfig {
                timeouts,
                retries: self.retries()?,
                cors_origins: CorsOrigins::new(origins)
                    .map_err(|error| ConfigError::invalid("cors_origins", error.to_string()))?,
                concurrent_requests,
                requests_per_peer: at_least_one(
                    "limits.requests_per_peer",
                    self.limits.requests_per_peer,
                    requests_per_peer,
                )?,
                loopback_host_only: unauthenticated && is_local && !self.dangerous_open,
            },
            lambda_response: self.lambda_response()?,
            server: self.server(total)?,
            guard,
            store,
            deployment: Deployment {
                keys,
                policy,
                limits,
                models,
                apis: ApiSettings {
                    live_responses: one_of("responses_stream", self.responses_stream.as_deref(), ["hold", "live"])?,
                },
                accepts_client_history: one_of("client_history", self.client_history.as_deref(), ["refuse", "accept"])?,
                elides_inline_images: self.elide_inline_images,
            },
            upstreams,
            warnings,
        })
    }

    fn listen(&self, sources: &impl Sources) -> Result<SocketAddr, ConfigError> {
        let text = match (&self.listen, sources.variable("PORT")) {
            (Some(listen), _) => listen.clone(),
            // Platforms that run containers name a port alone, and mean all addresses.
            (None, Some(port)) => format!("0.0.0.0:{}", &**port),
            (None, None) => "127.0.0.1:8787".to_owned(),
        };
        let text = text.replace("localhost:", "127.0.0.1:");
        text.parse()
            .map_err(|_| ConfigError::invalid("listen", format!("`{text}` is no address, such as 127.0.0.1:8787")))
    }

    fn key_ring(&self, sources: &impl Sources) -> Result<KeyRing, ConfigError> {
        let text = match (&self.keys, &self.keys_file) {
            (Some(_), Some(_)) => return Err(ConfigError::invalid("keys", "set either keys or keys_file, not both")),
            (Some(keys), None) => keys.clone(),
            (None, Some(path)) => read(sources, "keys_file", path)?,
            (None, None) => return Err(ConfigError::NoKeys),
        };
        KeyRing::parse(&text).map_err(ConfigError::Keys)
    }

    fn policy(&self) -> Result<TokenPolicy, ConfigError> {
        let default = TokenPolicy::default();
        let policy = TokenPolicy {
            issuer: self.issuer.clone().unwrap_or(default.issuer),
            ttl_seconds: self.ttl.map_or(default.ttl_seconds, |ttl| ttl.as_secs()),
            max_age_seconds: self.max_age.map_or(default.max_age_seconds, |max_age| max_age.as_secs()),
            seal: self.seal.unwrap_or(default.seal),
        };
        if policy.issuer.is_empty() || policy.issuer.len() > 256 || policy.issuer.chars().any(char::is_control) {
            return Err(ConfigError::invalid("issuer", "is 1 to 256 bytes without control characters"));
        }
        if policy.ttl_seconds == 0 || policy.max_age_seconds == 0 {
            return Err(ConfigError::invalid("ttl", "ttl and max_age are at least 1s"));
        }
        Ok(policy)
    }

    fn lambda_response(&self) -> Result<LambdaResponse, ConfigError> {
        match self.lambda_response.as_deref() {
            None | Some("auto") => Ok(LambdaResponse::Auto),
            Some("buffer") => Ok(LambdaResponse::Buffer),
            Some("stream") => Ok(LambdaResponse::Stream),
            Some(way) => {
                Err(ConfigError::invalid("lambda_response", format!("`{way}` is none of auto, buffer, stream")))
            }
        }
    }

    fn retries(&self) -> Result<u32, ConfigError> {
        match self.retries.unwrap_or(2) {
            retries @ 0..=10 => Ok(retries),
            retries => Err(ConfigError::invalid("retries", format!("{retries} is not from 0 to 10"))),
        }
    }

    /// What connections are held to; `total` bounds an upstream's answer.
    fn server(&self, total: Duration) -> Result<ServerConfig, ConfigError> {
        let connections = at_least_one("limits.connections", self.limits.connections, 4_096)?;
        let of_peer = self.limits.connections_per_peer;
        let write_timeout = self.timeouts.write.unwrap_or(Duration::from_secs(60));
        Ok(ServerConfig {
            head_timeout: self.timeouts.head.unwrap_or(Duration::from_secs(10)),
            write_timeout,
            answer_timeout: total.saturating_add(write_timeout),
            head_bytes: self.limits.head_bytes()?,
            connections,
            connections_per_peer: at_least_one("limits.connections_per_peer", of_peer, connections)?,
            lame_duck: self.timeouts.lame_duck.unwrap_or(Duration::ZERO),
            drain_timeout: self.timeouts.drain.unwrap_or(Duration::from_secs(30)),
        })
    }

    fn timeouts(&self) -> Timeouts {
        let default = Timeouts::default();
        Timeouts {
            body: self.timeouts.body.unwrap_or(default.body),
            first_byte: self.timeouts.first_byte.unwrap_or(default.first_byte),
            idle: self.timeouts.idle.unwrap_or(default.idle),
            issuer: self.timeouts.issuer.unwrap_or(default.issuer),
            total: self.timeouts.total.unwrap_or(default.total),
            heartbeat: self.timeouts.heartbeat.unwrap_or(default.heartbeat),
        }
    }
}

impl RawLimits {
    fn limits(&self) -> Result<Limits, ConfigError> {
        let mut limits = Limits::default();
        for (limit, set) in [
            (&mut limits.body_bytes, self.body_bytes),
            (&mut limits.token_bytes, self.token_bytes),
            (&mut limits.history_bytes, self.history_bytes),
            (&mut limits.message_bytes, self.message_bytes),
            (&mut limits.image_bytes, self.image_bytes),
            (&mut limits.history_items, self.history_items),
            (&mut limits.reply_bytes, self.reply_bytes),
            (&mut limits.reply_reserve_bytes, self.reply_reserve_bytes),
        ] {
            *limit = set.unwrap_or(*limit);
            if !(1..=LIMIT_MOST).contains(limit) {
                return Err(ConfigError::invalid("limits", format!("{limit} is not from 1 to {LIMIT_MOST}")));
            }
        }
        if limits.body_bytes <= limits.token_bytes {
            return Err(ConfigError::invalid(
                "limits.body_bytes",
                "must be above token_bytes: the token travels in it",
            ));
        }
        if limits.token_bytes < 16 << 10 {
            return Err(ConfigError::invalid("limits.token_bytes", "must be at least 16384"));
        }
        if limits.history_bytes < limits.reply_reserve_bytes.min(limits.reply_bytes).saturating_mul(2) {
            return Err(ConfigError::invalid("limits.history_bytes", "must be at least twice reply_reserve_bytes"));
        }
        Ok(limits)
    }

    fn head_bytes(&self) -> Result<usize, ConfigError> {
        let bytes = self.head_bytes.unwrap_or(16 << 10);
        // hyper reads heads into a buffer of at least this size.
        if bytes < 8 << 10 {
            Err(ConfigError::invalid("limits.head_bytes", "must be at least 8192"))
        } else {
            Ok(bytes)
        }
    }
}

/// The share of the places for requests that one peer may have, unless told otherwise: a quarter.
const PEER_SHARE: usize = 4;

/// No limit may be set beyond this: sizes are added up in memory.
const LIMIT_MOST: usize = 1 << 30;

pub(super) fn at_least_one(key: &'static str, value: Option<usize>, default: usize) -> Result<usize, ConfigError> {
    match value.unwrap_or(default) {
        0 => Err(ConfigError::invalid(key, "must be at least 1")),
        value => Ok(value),
    }
}

/// Whether the second of two ways is set; the first is the default.
fn one_of(key: &'static str, value: Option<&str>, [default, other]: [&str; 2]) -> Result<bool, ConfigError> {
    match value {
        None => Ok(false),
        Some(value) if value == default => Ok(false),
        Some(value) if value == other => Ok(true),
        Some(value) => Err(ConfigError::invalid(key, format!("`{value}` is none of {default}, {other}"))),
    }
}

pub(super) fn read(
    sources: &impl Sources,
    key: &'static str,
    path: &str,
) -> Result<zeroize::Zeroizing<String>, ConfigError> {
    sources.file(path).map_err(|fault| {
        let fault = if sources.may_show(path) { format!("{path}: {fault}") } else { fault };
        ConfigError::Unreadable { key, fault }
    })
}
