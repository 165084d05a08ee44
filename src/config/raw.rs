//! The configuration as written: the keys of the TOML file, and the values that flags and variables
//! set instead.

use std::time::Duration;

use serde::{Deserialize, Deserializer, de::Error as _};
use toml::{Table, Value};
use zeroize::Zeroizing;

use super::{error::ConfigError, exposure::Exposure, toml_error::toml_error};

/// A configuration as written. Every key is optional, and an unknown key is an error.
#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawConfig {
    pub(super) listen: Option<String>,
    pub(super) keys: Option<Zeroizing<String>>,
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
    pub(super) client_system: Option<String>,
    pub(super) upstream_words: Option<String>,
    pub(super) elide_inline_images: bool,
    pub(super) image_urls: Option<String>,
    pub(super) image_hosts: Vec<String>,
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
    /// Reads TOML text, and replaces its values by those of `overrides`. Tables are joined.
    ///
    /// # Errors
    /// [`ConfigError::Toml`] with the key, and with the line of an error in `text`.
    pub fn parse(text: &str, overrides: Table) -> Result<Self, ConfigError> {
        Self::parse_file("the configuration", text, overrides)
    }

    /// As [`Self::parse`]. `name` is the name of the text in errors.
    pub(super) fn parse_file(name: &str, text: &str, overrides: Table) -> Result<Self, ConfigError> {
        // The text is first read without the overrides, so that an error in it has a line.
        toml::from_str::<Self>(text).map_err(|error| toml_error(error, name, text))?;
        let mut table: Table = toml::from_str(text).map_err(|error| toml_error(error, name, text))?;
        for (path, alternatives) in ALTERNATIVES {
            let is_set = |above: &Table| alternatives.iter().any(|key| above.contains_key(*key));
            if table_at(&overrides, path).is_some_and(is_set)
                && let Some(below) = table_at_mut(&mut table, path)
            {
                alternatives.iter().for_each(|key| drop(below.remove(*key)));
            }
        }
        merge(&mut table, overrides);
        table.try_into().map_err(|error| toml_error(error, "the flags and variables", ""))
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

/// The default of `limits.concurrent_requests` in an isolate of 128 MB. One address's share of them
/// fits into the memory, with the largest bodies.
const ISOLATE_REQUESTS: usize = 32;

/// Keys of which only one may be set, with the path of their table. A flag or variable for one of
/// them replaces all of them in the file.
const ALTERNATIVES: &[(&[&str], &[&str])] = &[
    (&[], &["keys", "keys_file"]),
    (&[], &["system_prompt", "system_prompt_file"]),
    (&["identity", "header"], &["secret", "secret_file"]),
    (&["identity", "jwt"], &["jwks_file", "jwks_url", "key_file"]),
];

fn table_at<'a>(table: &'a Table, path: &[&str]) -> Option<&'a Table> {
    path.iter().try_fold(table, |table, key| table.get(*key)?.as_table())
}

fn table_at_mut<'a>(table: &'a mut Table, path: &[&str]) -> Option<&'a mut Table> {
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
    pub(super) secret: Option<Zeroizing<String>>,
    pub(super) secret_file: Option<String>,
}

#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawJwt {
    pub(super) issuer: Option<String>,
    pub(super) audience: Vec<String>,
    pub(super) jwks_file: Option<String>,
    pub(super) jwks_url: Option<String>,
    pub(super) key_file: Option<String>,
    pub(super) ca_file: Option<String>,
    pub(super) proxy: Option<Zeroizing<String>>,
}

#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawGuard {
    pub(super) redis_url: Option<Zeroizing<String>>,
    pub(super) redis_ca_file: Option<String>,
    #[serde(deserialize_with = "duration")]
    pub(super) timeout: Option<Duration>,
    pub(super) rate: Option<String>,
    pub(super) burst: Option<u64>,
    pub(super) read_rate: Option<String>,
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

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawUpstream {
    pub(super) name: String,
    pub(super) kind: String,
    pub(super) base_url: Option<String>,
    pub(super) base_urls: Option<Vec<String>>,
    pub(super) api_key_env: Option<String>,
    pub(super) ca_file: Option<String>,
    pub(super) proxy: Option<Zeroizing<String>>,
    pub(super) proxy_env: Option<String>,
    pub(super) max_concurrency: Option<usize>,
    pub(super) queue: Option<usize>,
    pub(super) prompt_cache: Option<bool>,
    pub(super) profile: Option<String>,
    pub(super) token_limit: Option<String>,
    pub(super) stream_options: Option<bool>,
    pub(super) seed: Option<String>,
    pub(super) text_lists: Option<bool>,
    pub(super) empty_messages: Option<bool>,
    pub(super) call_ids: Option<String>,
    pub(super) service_state: Option<String>,
    pub(super) opaque_members: Option<Vec<String>>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawModel {
    pub(super) alias: String,
    pub(super) upstreams: Vec<RawTarget>,
    pub(super) model: String,
    pub(super) system_prompt: Option<String>,
    pub(super) system_prompt_file: Option<String>,
    pub(super) client_history: Option<String>,
    pub(super) client_system: Option<String>,
    pub(super) upstream_words: Option<String>,
    pub(super) max_output_tokens: Option<u32>,
    pub(super) max_output_tokens_most: Option<u32>,
    pub(super) reasoning_effort_most: Option<String>,
    pub(super) truncation: Option<String>,
}

/// An entry of `upstreams`: the name of an upstream, or a table with the model's name there.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged, expecting = "expected the name of an upstream, or { name = …, model = … }")]
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
    /// The name of the upstream, and the model's name there, if it has its own.
    pub(super) fn parts(&self) -> (&str, Option<&str>) {
        match self {
            Self::Name(name) => (name, None),
            Self::Named(RawNamedTarget { name, model }) => (name, model.as_deref()),
        }
    }
}

/// Reads a time span: a whole number above zero, followed by `ms`, `s`, `m`, `h` or `d`.
///
/// Returns `None` for any other text, and for more than 2⁶⁴ − 1 milliseconds.
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
        .ok_or_else(|| D::Error::custom(format!("`{text}` is not a time span, such as `90s`, `15m`, `2h` or `7d`")))
}

/// Merges `overrides` into `table`: tables are joined, any other value replaces the old one.
pub(super) fn merge(table: &mut Table, overrides: Table) {
    for (key, value) in overrides {
        match (table.get_mut(&key), value) {
            (Some(Value::Table(below)), Value::Table(above)) => merge(below, above),
            (_, value) => {
                table.insert(key, value);
            }
        }
    }
}
