//! What must hold between the settings before a server may start.

use std::{net::SocketAddr, time::Duration};

use super::{
    Config, ConfigError, CorsOrigins, RawConfig, ServerConfig, Settings, Sources, Timeouts, UpstreamConfig,
    raw::{RawIdentity, RawLimits, RawModel, RawUpstream},
};
use crate::{
    principal::Authenticator,
    proto::{
        dialect::{
            self,
            door::{Truncation, Ways},
        },
        exchange::{Core, Model, Models},
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
        let authenticator = self.identity.authenticator(sources, &keys, &mut warnings)?;
        let unvouched = matches!(authenticator, Authenticator::None);
        if unvouched && !listen.ip().is_loopback() && !self.dangerous_open {
            return Err(ConfigError::OpenToAll { listen });
        }
        let limits = self.limits.limits()?;
        let policy = self.policy()?;
        let upstreams = self.upstreams(sources)?;
        let models = self.models(&upstreams, sources)?;
        let timeouts = self.timeouts();
        let origins = self.cors_origins.iter().map(String::as_str);
        Ok(Config {
            listen,
            settings: Settings {
                authenticator,
                timeouts,
                cors_origins: CorsOrigins::new(origins)
                    .map_err(|error| ConfigError::invalid("cors_origins", error.to_string()))?,
                concurrent_requests: at_least_one(
                    "limits.concurrent_requests",
                    self.limits.concurrent_requests,
                    1_024,
                )?,
                loopback_host_only: unvouched && listen.ip().is_loopback() && !self.dangerous_open,
            },
            server: ServerConfig {
                head_timeout: self.timeouts.head.unwrap_or(Duration::from_secs(10)),
                write_timeout: self.timeouts.write.unwrap_or(Duration::from_secs(60)),
                head_bytes: self.limits.head_bytes()?,
                connections: at_least_one("limits.connections", self.limits.connections, 4_096)?,
                drain_timeout: self.timeouts.drain.unwrap_or(Duration::from_secs(30)),
            },
            turns_per_user: at_least_one("limits.turns_per_user", self.limits.turns_per_user, 8)?,
            core: Core {
                keys,
                policy,
                limits,
                models,
                ways: Ways {
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

    fn timeouts(&self) -> Timeouts {
        let default = Timeouts::default();
        Timeouts {
            body: self.timeouts.body.unwrap_or(default.body),
            first_byte: self.timeouts.first_byte.unwrap_or(default.first_byte),
            idle: self.timeouts.idle.unwrap_or(default.idle),
            total: self.timeouts.total.unwrap_or(default.total),
            heartbeat: self.timeouts.heartbeat.unwrap_or(default.heartbeat),
        }
    }

    fn upstreams(&self, sources: &impl Sources) -> Result<Vec<UpstreamConfig>, ConfigError> {
        let mut upstreams: Vec<UpstreamConfig> = Vec::new();
        for raw in &self.upstream {
            let upstream = self.upstream(raw, sources)?;
            if upstreams.iter().any(|other| other.name == upstream.name) {
                return Err(ConfigError::invalid("upstream.name", format!("`{}` stands twice", upstream.name)));
            }
            upstreams.push(upstream);
        }
        Ok(upstreams)
    }

    fn upstream(&self, raw: &RawUpstream, sources: &impl Sources) -> Result<UpstreamConfig, ConfigError> {
        let dialect = dialect::by_name(&raw.kind).ok_or_else(|| {
            let kinds: Vec<_> = dialect::DIALECTS.iter().map(|dialect| dialect.name()).collect();
            ConfigError::invalid("upstream.kind", format!("`{}` is none of {}", raw.kind, kinds.join(", ")))
        })?;
        let base_url =
            raw.base_url.as_deref().unwrap_or_else(|| dialect.default_base_url()).trim_end_matches('/').to_owned();
        let networked = !dialect.default_base_url().is_empty();
        if networked {
            check_url(&base_url)?;
        } else if raw.base_url.is_some() {
            return Err(ConfigError::invalid("upstream.base_url", format!("`{}` has no address", raw.kind)));
        }
        let own = base_url == dialect.default_base_url();
        let dialect = dialect.elsewhere().filter(|_| !own).unwrap_or(dialect);
        let api_key = match &raw.api_key_env {
            Some(name) => Some(sources.variable(name).ok_or_else(|| {
                ConfigError::invalid("upstream.api_key_env", format!("the variable {name} is not set"))
            })?),
            None => None,
        };
        if networked && api_key.is_none() && own {
            return Err(ConfigError::invalid("upstream", format!("{base_url} wants a key; set HOLDALL_UPSTREAM_KEY")));
        }
        Ok(UpstreamConfig {
            name: raw.name.clone(),
            dialect,
            provider: if own { dialect.name().to_owned() } else { format!("{}@{}", dialect.name(), host(&base_url)) },
            prompt_cache: raw.prompt_cache.unwrap_or(true),
            base_url,
            api_key,
            connect_timeout: self.timeouts.connect.unwrap_or(Duration::from_secs(5)),
            builtin_pace: Duration::from_millis(self.builtin_pace_ms),
        })
    }

    fn models(&self, upstreams: &[UpstreamConfig], sources: &impl Sources) -> Result<Models, ConfigError> {
        let mut models: Vec<Model> = Vec::new();
        for raw in &self.model {
            let model = self.model(raw, upstreams, sources)?;
            if models.iter().any(|other| other.alias == model.alias) {
                return Err(ConfigError::invalid("model.alias", format!("`{}` stands twice", model.alias)));
            }
            models.push(model);
        }
        Models::new(models).ok_or_else(|| ConfigError::invalid("model", "there is none; name an upstream"))
    }

    fn model(
        &self,
        raw: &RawModel,
        upstreams: &[UpstreamConfig],
        sources: &impl Sources,
    ) -> Result<Model, ConfigError> {
        let named = (1..=256).contains(&raw.alias.len())
            && (raw.alias == "*"
                || raw.alias.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/:._-".contains(&byte)));
        if !named {
            return Err(ConfigError::invalid("model.alias", "is 1 to 256 of A-Z a-z 0-9 / : . _ -, or `*`"));
        }
        let [name] = raw.upstreams.as_slice() else {
            return Err(ConfigError::invalid("model.upstreams", format!("`{}` names exactly one upstream", raw.alias)));
        };
        let upstream = upstreams
            .iter()
            .find(|upstream| upstream.name == *name)
            .ok_or_else(|| ConfigError::invalid("model.upstreams", format!("there is no upstream called `{name}`")))?;
        let own = prompt(raw.system_prompt.as_ref(), raw.system_prompt_file.as_ref(), sources)?;
        let system_prompt = match own {
            Some(own) => Some(own),
            None => prompt(self.system_prompt.as_ref(), self.system_prompt_file.as_ref(), sources)?,
        };
        Ok(Model {
            alias: raw.alias.clone(),
            upstream: name.clone(),
            dialect: upstream.dialect,
            provider: upstream.provider.clone(),
            prompt_cache: upstream.prompt_cache,
            name: raw.model.clone(),
            system_prompt,
            max_output_tokens: raw.max_output_tokens,
            truncation: truncation(raw.truncation.as_deref())?,
        })
    }
}

impl RawIdentity {
    fn authenticator(
        &self,
        sources: &impl Sources,
        keys: &KeyRing,
        warnings: &mut Vec<String>,
    ) -> Result<Authenticator, ConfigError> {
        match self.mode.as_deref() {
            None | Some("none") => Ok(Authenticator::None),
            Some("jwt") => self.jwt(sources, keys, warnings),
            Some(other) => Err(ConfigError::invalid("identity.mode", format!("`{other}` is none of none, jwt"))),
        }
    }

    #[cfg(feature = "jwt")]
    fn jwt(
        &self,
        sources: &impl Sources,
        keys: &KeyRing,
        warnings: &mut Vec<String>,
    ) -> Result<Authenticator, ConfigError> {
        use crate::principal::jwt::{JwtConfig, JwtConfigError, JwtKeys, JwtVerifier, Origin};

        let fault = |error: JwtConfigError| ConfigError::invalid("identity.jwt", format!("{error}; {}", error.hint()));
        let trusted = match (&self.jwt.jwks_file, &self.jwt.key_file) {
            (Some(path), None) => JwtKeys::from_jwks(&read(sources, "identity.jwt.jwks_file", path)?, Origin::File),
            (None, Some(path)) => match read(sources, "identity.jwt.key_file", path)? {
                key if key.trim_start().starts_with("-----BEGIN") => JwtKeys::from_pem(&key),
                // An editor's newline at the end is no part of a secret.
                key => JwtKeys::from_secret(key.trim_end_matches(['\r', '\n']).as_bytes()),
            },
            _ => return Err(ConfigError::invalid("identity.jwt", "set exactly one of jwks_file and key_file")),
        };
        let issuer = self.jwt.issuer.clone().unwrap_or_default();
        let config = JwtConfig { issuer, audience: self.jwt.audience.clone(), keys: trusted.map_err(fault)? };
        let verifier = JwtVerifier::new(config).map_err(fault)?;
        if verifier.hmac_secrets().any(|secret| keys.holds(secret)) {
            let fault =
                "a secret that verifies credentials is also a token key; whoever makes the one could forge the other";
            return Err(ConfigError::invalid("identity.jwt", fault));
        }
        warnings.extend(verifier.skipped_keys().iter().map(|key| format!("identity.jwt: {key}")));
        Ok(Authenticator::Jwt(verifier))
    }

    #[cfg(not(feature = "jwt"))]
    fn jwt(&self, _: &impl Sources, _: &KeyRing, _: &mut Vec<String>) -> Result<Authenticator, ConfigError> {
        Err(ConfigError::invalid("identity.mode", "this build is without the feature `jwt`"))
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

/// No limit may be set beyond this: sizes are added up in memory.
const LIMIT_MOST: usize = 1 << 30;

fn at_least_one(key: &'static str, value: Option<usize>, default: usize) -> Result<usize, ConfigError> {
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

fn truncation(name: Option<&str>) -> Result<Truncation, ConfigError> {
    let Some(name) = name else { return Ok(Truncation::default()) };
    Truncation::from_name(name).ok_or_else(|| {
        ConfigError::invalid("model.truncation", format!("`{name}` is none of refuse, oldest, summarize"))
    })
}

/// Host and port of a URL that was checked.
fn host(url: &str) -> String {
    url.parse::<http::Uri>().ok().and_then(|uri| Some(uri.authority()?.to_string())).unwrap_or_default()
}

fn prompt(text: Option<&String>, file: Option<&String>, sources: &impl Sources) -> Result<Option<String>, ConfigError> {
    match (text, file) {
        (Some(_), Some(_)) => {
            Err(ConfigError::invalid("system_prompt", "set either system_prompt or system_prompt_file, not both"))
        }
        (Some(text), None) => Ok(Some(text.clone())),
        (None, Some(path)) => Ok(Some(read(sources, "system_prompt_file", path)?.trim_end().to_owned())),
        (None, None) => Ok(None),
    }
}

pub(super) fn read(
    sources: &impl Sources,
    key: &'static str,
    path: &str,
) -> Result<zeroize::Zeroizing<String>, ConfigError> {
    sources.file(path).map_err(|fault| ConfigError::Unreadable { key, fault: format!("{path}: {fault}") })
}

/// An upstream is an `http:` or `https:` URL without credentials, query or fragment.
fn check_url(url: &str) -> Result<(), ConfigError> {
    let fault = match url.parse::<http::Uri>() {
        Err(error) => error.to_string(),
        // Left out by the parser, and so not to be found in what it gives.
        Ok(_) if url.contains('#') => "a fragment is not sent".to_owned(),
        Ok(uri) => match (uri.scheme_str(), uri.authority()) {
            (Some("http" | "https"), Some(authority)) if !authority.as_str().contains('@') && uri.query().is_none() => {
                return Ok(());
            }
            _ => "not an http: or https: URL without credentials and query".to_owned(),
        },
    };
    Err(ConfigError::invalid("upstream.base_url", format!("`{url}`: {fault}")))
}
