//! The configuration as it is written: TOML, with what environment and flags lay over it.

use std::time::Duration;

use serde::{Deserialize, Deserializer, de::Error as _};

use super::{error::ConfigError, exposure::Exposure};

/// A configuration as written; every key may be left out.
#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawConfig {
    pub(super) listen: Option<String>,
    pub(super) keys: Option<zeroize::Zeroizing<String>>,
    pub(super) keys_file: Option<String>,
    pub(super) issuer: Option<String>,
    #[serde(deserialize_with = "duration")]
    pub(super) ttl: Option<Duration>,
    #[serde(deserialize_with = "duration")]
    pub(super) max_age: Option<Duration>,
    pub(super) seal: Option<bool>,
    pub(super) dangerous_open: bool,
    pub(super) cors_origins: Vec<String>,
    pub(super) system_prompt: Option<String>,
    pub(super) system_prompt_file: Option<String>,
    pub(super) builtin_pace_ms: u64,
    pub(super) client_history: Option<String>,
    pub(super) elide_inline_images: bool,
    pub(super) responses_stream: Option<String>,
    pub(super) lambda_response: Option<String>,
    pub(super) retries: Option<u32>,
    pub(super) operator_keys: Vec<String>,
    pub(super) trusted_proxies: Vec<String>,
    pub(super) guard: RawGuard,
    pub(super) identity: RawIdentity,
    pub(super) limits: RawLimits,
    pub(super) timeouts: RawTimeouts,
    pub(super) upstream: Vec<RawUpstream>,
    pub(super) model: Vec<RawModel>,
    /// True if a platform passes requests on, so that there is no listener.
    #[serde(skip)]
    pub(super) on_platform: bool,
}

impl RawConfig {
    /// Reads TOML with `overlay` laid over it: a table of the overlay is joined with the file's, any other value
    /// replaces the file's.
    ///
    /// # Errors
    /// [`ConfigError::Toml`], with line and column where the text has them.
    pub fn parse(text: &str, overlay: toml::Table) -> Result<Self, ConfigError> {
        // Read once alone, for errors that point into the file.
        toml::from_str::<Self>(text).map_err(|error| fault(&error, text))?;
        let mut table: toml::Table = toml::from_str(text).map_err(|error| fault(&error, text))?;
        // What is set above takes the place of its alternative below.
        for (path, alternatives) in ALTERNATIVES {
            if table_at(&overlay, path).is_some_and(|above| alternatives.iter().any(|key| above.contains_key(*key)))
                && let Some(below) = table_at_mut(&mut table, path)
            {
                alternatives.iter().for_each(|key| drop(below.remove(*key)));
            }
        }
        merge(&mut table, overlay);
        table.try_into().map_err(|error| fault(&error, ""))
    }

    /// Adapts the configuration to the clients that can reach the proxy.
    ///
    /// [`Exposure::Local`] overrides `listen`, `identity` and `dangerous_open`.
    #[must_use]
    pub fn with_exposure(mut self, exposure: Exposure) -> Self {
        self.on_platform = matches!(exposure, Exposure::Platform | Exposure::Isolate);
        match exposure {
            Exposure::Listener | Exposure::Platform => self,
            Exposure::Isolate => {
                self.limits.concurrent_requests.get_or_insert(ISOLATE_REQUESTS);
                self
            }
            Exposure::Local => Self {
                listen: Some("127.0.0.1:0".to_owned()),
                dangerous_open: false,
                identity: RawIdentity::default(),
                ..self
            },
        }
    }
}

/// Requests at once that an isolate of 128 MB answers by default; a peer's share of them fits with the largest bodies.
const ISOLATE_REQUESTS: usize = 32;

/// Keys of one table, given by its path, of which one is set.
const ALTERNATIVES: &[(&[&str], &[&str])] = &[
    (&[], &["keys", "keys_file"]),
    (&[], &["system_prompt", "system_prompt_file"]),
    (&["identity", "header"], &["secret", "secret_file"]),
    (&["identity", "jwt"], &["jwks_file", "jwks_url", "key_file"]),
];

fn table_at<'a>(table: &'a toml::Table, path: &[&str]) -> Option<&'a toml::Table> {
    path.iter().try_fold(table, |table, key| table.get(*key)?.as_table())
}

fn table_at_mut<'a>(table: &'a mut toml::Table, path: &[&str]) -> Option<&'a mut toml::Table> {
    path.iter().try_fold(table, |table, key| table.get_mut(*key)?.as_table_mut())
}

#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawIdentity {
    pub(super) mode: Option<String>,
    pub(super) api_key: RawApiKeys,
    pub(super) header: RawHeader,
    pub(super) jwt: RawJwt,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawApiKeys {
    pub(super) keys_file: Option<String>,
    pub(super) keys: Vec<RawApiKey>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawApiKey {
    pub(super) digest: String,
    pub(super) user: String,
}

#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawHeader {
    pub(super) name: Option<String>,
    pub(super) peers: Vec<String>,
    pub(super) secret_header: Option<String>,
    pub(super) secret: Option<zeroize::Zeroizing<String>>,
    pub(super) secret_file: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawJwt {
    pub(super) issuer: Option<String>,
    pub(super) audience: Vec<String>,
    pub(super) jwks_file: Option<String>,
    pub(super) jwks_url: Option<String>,
    pub(super) key_file: Option<String>,
}

#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawGuard {
    pub(super) redis_url: Option<zeroize::Zeroizing<String>>,
    #[serde(deserialize_with = "duration")]
    pub(super) timeout: Option<Duration>,
    pub(super) rate: Option<String>,
    pub(super) burst: Option<u64>,
    pub(super) quota: Vec<RawQuota>,
    pub(super) single_use: Option<bool>,
    pub(super) revocation: Option<bool>,
    pub(super) live_conversations: Option<u64>,
    #[serde(deserialize_with = "duration")]
    pub(super) lease_grace: Option<Duration>,
    pub(super) dangerous_trust_empty_guard: bool,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawQuota {
    #[serde(deserialize_with = "duration")]
    pub(super) period: Option<Duration>,
    pub(super) turns: Option<u64>,
    pub(super) conversations: Option<u64>,
    pub(super) model_tokens: Option<u64>,
    pub(super) history_bytes: Option<u64>,
    pub(super) upstream_seconds: Option<u64>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawLimits {
    pub(super) body_bytes: Option<usize>,
    pub(super) token_bytes: Option<usize>,
    pub(super) history_bytes: Option<usize>,
    pub(super) message_bytes: Option<usize>,
    pub(super) image_bytes: Option<usize>,
    pub(super) history_items: Option<usize>,
    pub(super) reply_bytes: Option<usize>,
    pub(super) reply_reserve_bytes: Option<usize>,
    pub(super) head_bytes: Option<usize>,
    pub(super) connections: Option<usize>,
    pub(super) connections_per_peer: Option<usize>,
    pub(super) concurrent_requests: Option<usize>,
    pub(super) requests_per_peer: Option<usize>,
    pub(super) turns_per_user: Option<usize>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawTimeouts {
    #[serde(deserialize_with = "duration")]
    pub(super) head: Option<Duration>,
    #[serde(deserialize_with = "duration")]
    pub(super) body: Option<Duration>,
    #[serde(deserialize_with = "duration")]
    pub(super) write: Option<Duration>,
    #[serde(deserialize_with = "duration")]
    pub(super) connect: Option<Duration>,
    #[serde(deserialize_with = "duration")]
    pub(super) queue: Option<Duration>,
    #[serde(deserialize_with = "duration")]
    pub(super) first_byte: Option<Duration>,
    #[serde(deserialize_with = "duration")]
    pub(super) idle: Option<Duration>,
    #[serde(deserialize_with = "duration")]
    pub(super) total: Option<Duration>,
    #[serde(deserialize_with = "duration")]
    pub(super) heartbeat: Option<Duration>,
    #[serde(deserialize_with = "duration")]
    pub(super) drain: Option<Duration>,
    #[serde(deserialize_with = "duration")]
    pub(super) lame_duck: Option<Duration>,
    #[serde(deserialize_with = "duration")]
    pub(super) issuer: Option<Duration>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawUpstream {
    pub(super) name: String,
    pub(super) kind: String,
    pub(super) base_url: Option<String>,
    pub(super) base_urls: Option<Vec<String>>,
    pub(super) api_key_env: Option<String>,
    pub(super) max_concurrency: Option<usize>,
    pub(super) queue: Option<usize>,
    pub(super) prompt_cache: Option<bool>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawModel {
    pub(super) alias: String,
    pub(super) upstreams: Vec<RawTarget>,
    pub(super) model: String,
    pub(super) system_prompt: Option<String>,
    pub(super) system_prompt_file: Option<String>,
    pub(super) max_output_tokens: Option<u32>,
    pub(super) truncation: Option<String>,
}

/// An upstream by its name, or with the name that the model has there.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged, expecting = "the name of an upstream, or { name = …, model = … }")]
pub(super) enum RawTarget {
    Name(String),
    Named(RawNamedTarget),
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawNamedTarget {
    pub(super) name: String,
    pub(super) model: Option<String>,
}

impl RawTarget {
    /// The upstream, and the model's own name there.
    pub(super) fn parts(&self) -> (&str, Option<&str>) {
        match self {
            Self::Name(name) => (name, None),
            Self::Named(RawNamedTarget { name, model }) => (name, model.as_deref()),
        }
    }
}

/// Reads a time span: digits and one of `ms`, `s`, `m`, `h`, `d`; not zero, which would be over before it began.
#[must_use]
pub fn parse_duration(text: &str) -> Option<Duration> {
    let unit_at = text.find(|character: char| !character.is_ascii_digit())?;
    let (count, unit) = text.split_at(unit_at);
    let count: u64 = count.parse().ok()?;
    let millis = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    count.checked_mul(millis).filter(|millis| *millis > 0).map(Duration::from_millis)
}

fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    let text = String::deserialize(deserializer)?;
    parse_duration(&text)
        .map(Some)
        .ok_or_else(|| D::Error::custom(format!("`{text}` is no time span, such as 90s, 15m, 2h or 7d")))
}

/// What is wrong and in which line, without quoting the line: it may hold a key.
fn fault(error: &toml::de::Error, text: &str) -> ConfigError {
    let line = error.span().and_then(|span| text.get(..span.start)).map(|before| before.matches('\n').count());
    let place = line.map_or_else(String::new, |line| format!("line {}: ", line.saturating_add(1)));
    ConfigError::Toml(format!("{place}{}", error.message()))
}

/// Merges `overrides` into `table`: tables are joined, any other value replaces the old one.
pub(super) fn merge(table: &mut toml::Table, overlay: toml::Table) {
    for (key, value) in overlay {
        match (table.get_mut(&key), value) {
            (Some(toml::Value::Table(below)), toml::Value::Table(above)) => merge(below, above),
            (_, value) => {
                table.insert(key, value);
            }
        }
    }
}
