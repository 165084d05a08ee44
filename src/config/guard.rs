//! The limits on users, and the limits store: the table `guard`.

use std::time::Duration;

use super::{
    check::at_least_one,
    error::ConfigError,
    network::NetworkReader,
    raw::{RawConfig, RawGuard, RawQuota, parse_duration},
    sources::Sources,
    store::StoreConfig,
};
use crate::{
    guard::{Quota, Rate, Rules},
    proto::{time::LEEWAY_SECONDS, token::TokenPolicy},
};

impl RawConfig {
    /// The limits on users.
    pub(super) fn rules(&self, policy: &TokenPolicy) -> Result<Rules, ConfigError> {
        let guard = &self.guard;
        guard.check_store_keys()?;
        let revocation = guard.revocation()?;
        Ok(Rules {
            max_concurrent_turns: at_least_one("limits.turns_per_user", self.limits.turns_per_user, 8)?,
            rate: guard.rate()?,
            read_rate: guard.read_rate()?,
            quotas: guard.quotas()?,
            single_use: guard.single_use.unwrap_or(false),
            revocation,
            live_conversations: guard.live_conversations,
            lease: self.timeouts().total.saturating_add(guard.lease_grace.unwrap_or(Duration::from_secs(60))),
            revocation_ttl: Duration::from_secs(policy.max_age_seconds.saturating_add(LEEWAY_SECONDS)),
            trusts_empty_store: guard.dangerous_trust_empty_guard,
        })
    }

    /// The limits store, if there is one.
    pub(super) fn store(
        &self,
        policy: &TokenPolicy,
        reader: &NetworkReader<'_, impl Sources>,
    ) -> Result<Option<StoreConfig>, ConfigError> {
        let Some(url) = &self.guard.redis_url else { return Ok(None) };
        check_url(url)?;
        let timeout = self.guard.timeout.unwrap_or(Duration::from_millis(500));
        let authorities =
            reader.authorities("guard.redis_ca_file", self.guard.redis_ca_file.as_deref(), uses_tls(url))?;
        Ok(Some(StoreConfig { url: url.clone(), authorities, timeout, namespace: policy.issuer.clone() }))
    }
}

impl RawGuard {
    /// Refuses keys that need a store if there is no store.
    fn check_store_keys(&self) -> Result<(), ConfigError> {
        let keys = [
            ("guard.single_use", self.single_use == Some(true)),
            ("guard.revocation", self.revocation == Some(true)),
            ("guard.live_conversations", self.live_conversations.is_some()),
            ("guard.redis_ca_file", self.redis_ca_file.is_some()),
            ("guard.timeout", self.timeout.is_some()),
            ("guard.lease_grace", self.lease_grace.is_some()),
            ("guard.dangerous_trust_empty_guard", self.dangerous_trust_empty_guard),
        ];
        match keys.into_iter().find(|(_, is_set)| *is_set && self.redis_url.is_none()) {
            Some((key, _)) => {
                let fault = "needs a store that all instances share; set `guard.redis_url` (HOLDALL_REDIS_URL)";
                Err(ConfigError::invalid(key, fault))
            }
            None => Ok(()),
        }
    }

    /// Returns true if tokens can be revoked.
    fn revocation(&self) -> Result<bool, ConfigError> {
        let revocation = self.revocation.unwrap_or_else(|| self.redis_url.is_some());
        match self.live_conversations {
            Some(_) if !revocation => {
                let fault = "revokes conversations, but `guard.revocation` is `false`; set only one of them";
                Err(ConfigError::invalid("guard.live_conversations", fault))
            }
            Some(0) => Err(ConfigError::invalid("guard.live_conversations", "is 0; the minimum is 1")),
            _ => Ok(revocation),
        }
    }

    fn rate(&self) -> Result<Option<Rate>, ConfigError> {
        let Some(text) = &self.rate else {
            return match self.burst {
                Some(_) => Err(ConfigError::invalid("guard.burst", "needs `guard.rate`; set both")),
                None => Ok(None),
            };
        };
        let rate = parse_rate("guard.rate", "turns", text)?;
        let burst = self.burst.unwrap_or(rate.turns);
        if !(1..=TURNS_MAX).contains(&burst) {
            return Err(ConfigError::invalid("guard.burst", format!("is {burst}; it must be from 1 to {TURNS_MAX}")));
        }
        Ok(Some(Rate { burst, ..rate }))
    }

    fn read_rate(&self) -> Result<Option<Rate>, ConfigError> {
        match self.read_rate.as_deref().unwrap_or("60/1m") {
            "off" => Ok(None),
            text => parse_rate("guard.read_rate", "reads", text).map(Some),
        }
    }

    fn quotas(&self) -> Result<Vec<Quota>, ConfigError> {
        let quotas = self.quota.iter().map(RawQuota::quota).collect::<Result<Vec<_>, _>>()?;
        if quotas.len() > QUOTAS_MAX {
            let fault = format!("has {} tables; the maximum is {QUOTAS_MAX}", quotas.len());
            return Err(ConfigError::invalid("guard.quota", fault));
        }
        let mut periods: Vec<_> = quotas.iter().map(|quota| quota.period_seconds).collect();
        periods.sort_unstable();
        if let Some([repeated, _]) = periods.array_windows().find(|[one, next]| one == next) {
            let fault = format!("is {repeated} s in two tables; join the tables");
            return Err(ConfigError::invalid("guard.quota.period", fault));
        }
        Ok(quotas)
    }
}

/// Parses a rate, such as `30/1m`. All `units` of a period may start together.
fn parse_rate(key: &'static str, units: &str, text: &str) -> Result<Rate, ConfigError> {
    let invalid = |rule: &str| ConfigError::invalid(key, format!("is `{text}`; {rule}"));
    let form = || invalid(&format!("it must be {units} per period, such as `30/1m` or `5/s`"));
    let (turns, period) = text.split_once('/').ok_or_else(form)?;
    let (turns, period) = (turns.trim().parse().map_err(|_| form())?, period.trim());
    // A unit without a number means one: `5/s`.
    let number = if period.starts_with(|character: char| character.is_ascii_digit()) { "" } else { "1" };
    let period = parse_duration(&format!("{number}{period}")).ok_or_else(form)?;
    if !(1..=TURNS_MAX).contains(&turns) {
        return Err(invalid(&format!("the {units} must be from 1 to {TURNS_MAX}")));
    }
    if whole_seconds(period).is_none() {
        return Err(invalid("the period must be whole seconds, at most `366d`"));
    }
    Ok(Rate { turns, period, burst: turns })
}

impl RawQuota {
    fn quota(&self) -> Result<Quota, ConfigError> {
        let period_seconds = self.period_seconds()?;
        let Self { turns, conversations, model_tokens, history_bytes, upstream_seconds, .. } = *self;
        let limits = [
            ("guard.quota.turns", turns),
            ("guard.quota.conversations", conversations),
            ("guard.quota.model_tokens", model_tokens),
            ("guard.quota.history_bytes", history_bytes),
            ("guard.quota.upstream_seconds", upstream_seconds),
        ];
        if limits.iter().all(|(_, limit)| limit.is_none()) {
            return Err(ConfigError::invalid(
                "guard.quota",
                "has a table without a limit; set `turns`, `conversations`, `model_tokens`, `history_bytes` or \
                 `upstream_seconds`",
            ));
        }
        for (key, limit) in limits.into_iter().filter_map(|(key, limit)| Some((key, limit?))) {
            // A limit of 0 would refuse every turn, with a time at which to try again.
            if !(1..=QUOTA_MAX).contains(&limit) {
                return Err(ConfigError::invalid(key, format!("is {limit}; it must be from 1 to {QUOTA_MAX}")));
            }
        }
        Ok(Quota { period_seconds, turns, conversations, model_tokens, history_bytes, upstream_seconds })
    }

    fn period_seconds(&self) -> Result<u64, ConfigError> {
        let rule = "it must be whole seconds from `1s` to `366d`, such as `1d`";
        let fault = match self.period {
            None => format!("is not set; {rule}"),
            Some(period) => match whole_seconds(period) {
                Some(seconds) => return Ok(seconds),
                None => format!("is {} ms; {rule}", period.as_millis()),
            },
        };
        Err(ConfigError::invalid("guard.quota.period", fault))
    }
}

/// The seconds of a period; `None` if it has a fraction of a second, or is longer than a leap year.
fn whole_seconds(period: Duration) -> Option<u64> {
    (period.subsec_nanos() == 0 && (1..=PERIOD_MAX_SECONDS).contains(&period.as_secs())).then_some(period.as_secs())
}

/// The most turns or reads of a rate, and the most turns of a burst.
const TURNS_MAX: u64 = 1_000_000_000;
/// The largest limit of a quota: the largest integer of a structured header field (RFC 9651
/// §3.3.1).
const QUOTA_MAX: u64 = 999_999_999_999_999;
/// A leap year.
const PERIOD_MAX_SECONDS: u64 = 366 * 86_400;
/// The most quotas. Each is counted for each caller, and reported in the head of each response.
const QUOTAS_MAX: usize = 8;

/// Accepts the URL of one server: `redis://`, `rediss://`, or the same with `valkey`. One script
/// admits a turn, over keys that a cluster would distribute.
fn check_url(url: &str) -> Result<(), ConfigError> {
    // The error does not show the URL, which may contain a password.
    let fault = match scheme(url).as_str() {
        "redis" | "rediss" | "valkey" | "valkeys" => return Ok(()),
        other if other.contains("cluster") => {
            "names a Redis Cluster, which is not supported: one script uses a user's, a conversation's and a token's \
             keys together; name one server, or a proxy that represents the primary"
        }
        other if other.contains("sentinel") => {
            "names a Redis Sentinel, which is not supported; name the primary, or an address that always leads to it"
        }
        "unix" | "redis+unix" => "names a Unix socket, which is not supported; name the server as `redis://host:port`",
        _ => "is not a `redis://` or `rediss://` URL",
    };
    Err(ConfigError::invalid("guard.redis_url", fault))
}

/// Returns true if the connection to the store uses TLS.
fn uses_tls(url: &str) -> bool {
    matches!(scheme(url).as_str(), "rediss" | "valkeys")
}

fn scheme(url: &str) -> String {
    url.split_once("://").map_or("", |(scheme, _)| scheme).to_ascii_lowercase()
}
