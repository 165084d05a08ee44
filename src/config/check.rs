//! The check of a configuration: from [`RawConfig`] to [`Config`].

use std::{net::SocketAddr, time::Duration};

use zeroize::Zeroizing;

use super::{
    checked::{Config, LambdaResponse, ServerConfig},
    error::ConfigError,
    network::NetworkReader,
    raw::RawConfig,
    service::{CorsOrigins, ServiceConfig, Timeouts},
    sources::Sources,
};
use crate::{
    principal::{Access, Authenticator},
    proto::{
        chat::{ImageHost, ImageRules},
        deployment::{ApiSettings, Deployment, Models},
        excerpt::excerpt,
        key::KeyRing,
        limits::Limits,
        token::TokenPolicy,
    },
};

impl RawConfig {
    /// Checks the configuration. Reads the files and variables that it names through `sources`.
    ///
    /// # Errors
    /// The first error that prevents a start.
    pub fn check(self, sources: &impl Sources) -> Result<Config, ConfigError> {
        let listen = self.listen(sources)?;
        let mut warnings = Vec::new();
        let keys = self.key_ring(sources, &mut warnings)?;
        let access = self.access(sources, &keys, &mut warnings)?;
        let loopback_host_only = self.check_access(listen, &access)?;
        let limits = self.limits.limits()?;
        let policy = self.policy()?;
        let reader = NetworkReader::new(sources);
        let upstreams = self.upstreams(sources, &reader)?;
        let models = self.models(&upstreams, sources)?;
        let (guard, store) = (self.rules(&policy)?, self.store(&policy, &reader)?);
        if store.is_some() && policy.issuer == TokenPolicy::default().issuer {
            warnings.push(SHARED_ISSUER.to_owned());
        }
        Ok(Config {
            listen,
            access,
            issuer_network: self.issuer_network(&reader)?,
            service: self.service(loopback_host_only)?,
            lambda_response: self.lambda_response()?,
            server: self.server()?,
            guard,
            store,
            deployment: Deployment {
                upstream_keys: upstreams.iter().filter_map(|upstream| upstream.api_key.clone()).collect(),
                ..self.deployment(keys, policy, limits, models)?
            },
            upstreams,
            warnings,
        })
    }

    fn listen(&self, sources: &impl Sources) -> Result<SocketAddr, ConfigError> {
        let text = match (&self.listen, sources.variable("PORT")) {
            (Some(listen), _) => listen.clone(),
            // Container platforms set only a port, and expect a server on all addresses.
            (None, Some(port)) => format!("0.0.0.0:{}", &**port),
            (None, None) => "127.0.0.1:8787".to_owned(),
        };
        let text = text.replace("localhost:", "127.0.0.1:");
        text.parse().map_err(|_| {
            let fault = format!("is `{text}`; it must be an address and a port, such as `127.0.0.1:8787`");
            ConfigError::invalid("listen", fault)
        })
    }

    fn key_ring(&self, sources: &impl Sources, warnings: &mut Vec<String>) -> Result<KeyRing, ConfigError> {
        let text = match (&self.keys, &self.keys_file) {
            (Some(_), Some(_)) => {
                return Err(ConfigError::invalid("keys", "and `keys_file` are both set; set only one of them"));
            }
            (Some(keys), None) => keys.clone(),
            (None, Some(path)) => read_secret(sources, "keys_file", path, warnings)?,
            (None, None) => return Err(ConfigError::NoKeys),
        };
        KeyRing::parse(&text).map_err(ConfigError::Keys)
    }

    /// Checks that callers are authenticated if others can reach the server. Returns true if only
    /// requests for a loopback name may be answered.
    fn check_access(&self, listen: SocketAddr, access: &Access) -> Result<bool, ConfigError> {
        if self.dangerous_open || !matches!(access.authenticator, Authenticator::None) {
            return Ok(false);
        }
        match (self.on_platform, listen.ip().is_loopback()) {
            (true, _) => Err(ConfigError::OpenToAll { listen: None }),
            (false, false) => Err(ConfigError::OpenToAll { listen: Some(listen) }),
            (false, true) => Ok(true),
        }
    }

    fn policy(&self) -> Result<TokenPolicy, ConfigError> {
        let default = TokenPolicy::default();
        let policy = TokenPolicy {
            issuer: self.issuer.clone().unwrap_or(default.issuer),
            ttl_seconds: self.ttl.map_or(default.ttl_seconds, |ttl| ttl.as_secs()),
            max_age_seconds: self.max_age.map_or(default.max_age_seconds, |max_age| max_age.as_secs()),
            seal: self.seal.unwrap_or(default.seal),
        };
        let bytes = policy.issuer.len();
        if !(1..=ISSUER_MAX_BYTES).contains(&bytes) || policy.issuer.chars().any(char::is_control) {
            let fault = format!("has {bytes} bytes; it must have 1 to {ISSUER_MAX_BYTES}, without control characters");
            return Err(ConfigError::invalid("issuer", fault));
        }
        for (key, seconds) in [("ttl", policy.ttl_seconds), ("max_age", policy.max_age_seconds)] {
            if seconds == 0 {
                return Err(ConfigError::invalid(key, "is less than a second; the minimum is `1s`"));
            }
        }
        Ok(policy)
    }

    fn service(&self, loopback_host_only: bool) -> Result<ServiceConfig, ConfigError> {
        let requests = at_least_one("limits.concurrent_requests", self.limits.concurrent_requests, 1_024)?;
        let of_peer = self.limits.requests_per_peer;
        let origins = self.cors_origins.iter().map(String::as_str);
        Ok(ServiceConfig {
            timeouts: self.timeouts(),
            retries: self.retries()?,
            cors_origins: CorsOrigins::new(origins)
                .map_err(|error| ConfigError::invalid("cors_origins", format!("is not valid: {error}")))?,
            concurrent_requests: requests,
            requests_per_peer: at_least_one("limits.requests_per_peer", of_peer, requests.div_ceil(PEER_SHARE))?,
            loopback_host_only,
        })
    }

    /// The timeouts of the service.
    pub(super) fn timeouts(&self) -> Timeouts {
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

    fn retries(&self) -> Result<u32, ConfigError> {
        match self.retries.unwrap_or(2) {
            retries @ 0..=RETRIES_MAX => Ok(retries),
            retries => {
                Err(ConfigError::invalid("retries", format!("is {retries}; it must be from 0 to {RETRIES_MAX}")))
            }
        }
    }

    fn lambda_response(&self) -> Result<LambdaResponse, ConfigError> {
        let modes =
            [("auto", LambdaResponse::Auto), ("buffer", LambdaResponse::Buffer), ("stream", LambdaResponse::Stream)];
        choice("lambda_response", self.lambda_response.as_deref(), modes)
    }

    fn server(&self) -> Result<ServerConfig, ConfigError> {
        let connections = at_least_one("limits.connections", self.limits.connections, 4_096)?;
        let of_peer = self.limits.connections_per_peer;
        let write_timeout = self.timeouts.write.unwrap_or(Duration::from_secs(60));
        Ok(ServerConfig {
            head_timeout: self.timeouts.head.unwrap_or(Duration::from_secs(10)),
            write_timeout,
            answer_timeout: self.timeouts().total.saturating_add(write_timeout),
            head_bytes: self.limits.head_bytes()?,
            connections,
            connections_per_peer: at_least_one(
                "limits.connections_per_peer",
                of_peer,
                connections.div_ceil(PEER_SHARE),
            )?,
            lame_duck: self.timeouts.lame_duck.unwrap_or(Duration::ZERO),
            drain_timeout: self.timeouts.drain.unwrap_or(Duration::from_secs(30)),
        })
    }

    fn images(&self) -> Result<ImageRules, ConfigError> {
        let kinds = [("https", false), ("data", true)];
        match (choice("image_urls", self.image_urls.as_deref(), kinds)?, self.image_hosts.as_slice()) {
            (false, []) => Ok(ImageRules::Public),
            (true, []) => Ok(ImageRules::Inline),
            (true, _) => {
                Err(ConfigError::invalid("image_hosts", "is set, but `image_urls` is `data`; remove one of them"))
            }
            (false, hosts) => {
                hosts.iter().map(|host| image_host(host)).collect::<Result<_, _>>().map(ImageRules::Listed)
            }
        }
    }

    fn deployment(
        &self,
        keys: KeyRing,
        policy: TokenPolicy,
        limits: Limits,
        models: Models,
    ) -> Result<Deployment, ConfigError> {
        let streams = [("hold", false), ("live", true)];
        Ok(Deployment {
            policy,
            limits,
            apis: ApiSettings {
                live_responses: choice("responses_stream", self.responses_stream.as_deref(), streams)?,
            },
            elides_inline_images: self.elide_inline_images,
            images: self.images()?,
            ..Deployment::new(keys, models)
        })
    }
}

/// One address may have a quarter of the connections and of the concurrent requests by default.
const PEER_SHARE: usize = 4;
/// The longest name of a deployment.
const ISSUER_MAX_BYTES: usize = 256;
/// The most retries at one upstream.
const RETRIES_MAX: u32 = 10;
/// The warning of a store with the default issuer.
const SHARED_ISSUER: &str = "`issuer` has its default value: deployments that share a store and an issuer also share \
                             counts and revocations; give each deployment its own `issuer`";

fn image_host(entry: &str) -> Result<ImageHost, ConfigError> {
    ImageHost::parse(entry.trim()).ok_or_else(|| {
        let fault = format!(
            "has the entry `{}`; an entry must be a host without a port, such as `cdn.example`, `*.cdn.example` or \
             `http://images.internal`",
            excerpt(entry)
        );
        ConfigError::invalid("image_hosts", fault)
    })
}

/// The value of a number that must not be zero.
pub(super) fn at_least_one(key: &'static str, value: Option<usize>, default: usize) -> Result<usize, ConfigError> {
    minimum(key, value.unwrap_or(default), 1)
}

/// Refuses a number below `least`.
pub(super) fn minimum(key: &'static str, value: usize, least: usize) -> Result<usize, ConfigError> {
    if value < least {
        return Err(ConfigError::invalid(key, format!("is {value}; the minimum is {least}")));
    }
    Ok(value)
}

/// The value with this name; the first value if no name is set.
pub(super) fn choice<T: Copy, const N: usize>(
    key: &'static str,
    name: Option<&str>,
    values: [(&str, T); N],
) -> Result<T, ConfigError> {
    let found = match name {
        None => values.first(),
        Some(name) => values.iter().find(|(known, _)| *known == name),
    };
    found.map(|(_, value)| *value).ok_or_else(|| {
        let names = values.map(|(known, _)| known);
        ConfigError::invalid(key, unknown(name.unwrap_or_default(), &names))
    })
}

/// The fault of a name that is none of `names`.
pub(super) fn unknown(name: &str, names: &[&str]) -> String {
    let (last, others) = names.split_last().unwrap_or((&"", &[]));
    format!("is `{name}`; it must be `{}` or `{last}`", others.join("`, `"))
}

/// Reads the file that a key names.
pub(super) fn read(sources: &impl Sources, key: &'static str, path: &str) -> Result<Zeroizing<String>, ConfigError> {
    sources.file(path).map_err(|cause| ConfigError::unreadable(key, path, cause, sources))
}

/// Reads the file of a secret that a key names. Adds a warning if other users can read it.
pub(super) fn read_secret(
    sources: &impl Sources,
    key: &'static str,
    path: &str,
    warnings: &mut Vec<String>,
) -> Result<Zeroizing<String>, ConfigError> {
    warnings.extend(readable_warning(sources, &format!("the file of `{key}`"), path));
    read(sources, key, path)
}

/// The warning about a file with a secret that other users can read.
pub(super) fn readable_warning(sources: &impl Sources, subject: &str, path: &str) -> Option<String> {
    let shown = if sources.may_show(path) { format!(" `{path}`") } else { String::new() };
    sources
        .others_can_read(path)
        .then(|| format!("other users can read {subject}{shown}, which holds a secret; run `chmod 600` on it"))
}
