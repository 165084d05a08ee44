//! The limits on users, and the store that instances share: the table `guard`.

use std::time::Duration;

use super::{
    ConfigError, RawConfig,
    raw::{RawQuota, parse_duration},
};
use crate::{
    guard::{Quota, Rate, Rules, Store},
    proto::{time::LEEWAY_SECONDS, token::TokenPolicy},
};

impl RawConfig {
    /// The rules; `total` bounds an upstream's answer.
    pub(super) fn rules(&self, policy: &TokenPolicy, total: Duration) -> Result<Rules, ConfigError> {
        let guard = &self.guard;
        let shared = guard.redis_url.is_some();
        let single_use = guard.single_use.unwrap_or(false);
        for (key, set) in [
            ("guard.single_use", single_use),
            ("guard.revocation", guard.revocation == Some(true)),
            ("guard.live_conversations", guard.live_conversations.is_some()),
        ] {
            if set && !shared {
                return Err(ConfigError::invalid(
                    key,
                    "takes a store that all instances share; set guard.redis_url (HOLDALL_REDIS_URL)",
                ));
            }
        }
        let revocation = guard.revocation.unwrap_or(shared);
        if guard.live_conversations.is_some() && !revocation {
            return Err(ConfigError::invalid("guard.live_conversations", "revokes, so guard.revocation cannot be off"));
        }
        if guard.live_conversations == Some(0) {
            return Err(ConfigError::invalid("guard.live_conversations", "must be at least 1"));
        }
        let rules = Rules {
            turns_at_once: super::check::at_least_one("limits.turns_per_user", self.limits.turns_per_user, 8)?,
            rate: self.rate()?,
            quotas: guard.quota.iter().map(RawQuota::quota).collect::<Result<_, _>>()?,
            single_use,
            revocation,
            live_conversations: guard.live_conversations,
            lease: total.saturating_add(guard.lease_grace.unwrap_or(Duration::from_secs(60))),
            memory: Duration::from_secs(policy.max_age_seconds.saturating_add(LEEWAY_SECONDS)),
            trusts_empty_store: guard.dangerous_trust_empty_guard,
        };
        let mut periods: Vec<_> = rules.quotas.iter().map(|quota| quota.period_seconds).collect();
        periods.sort_unstable();
        if periods.windows(2).any(|pair| pair.first() == pair.last()) {
            return Err(ConfigError::invalid("guard.quota.period", "one period stands twice; join the two"));
        }
        Ok(rules)
    }

    /// The store, if there is one.
    pub(super) fn store(&self, policy: &TokenPolicy) -> Result<Option<Store>, ConfigError> {
        let Some(url) = &self.guard.redis_url else { return Ok(None) };
        check_url(url)?;
        let timeout = self.guard.timeout.unwrap_or(Duration::from_millis(500));
        Ok(Some(Store { url: url.clone(), timeout, namespace: policy.issuer.clone() }))
    }

    fn rate(&self) -> Result<Option<Rate>, ConfigError> {
        let guard = &self.guard;
        let Some(text) = &guard.rate else {
            return match guard.burst {
                Some(_) => Err(ConfigError::invalid("guard.burst", "goes with guard.rate")),
                None => Ok(None),
            };
        };
        let fault = || ConfigError::invalid("guard.rate", format!("`{text}` is no rate, such as 30/1m or 5/s"));
        let (turns, period) = text.split_once('/').ok_or_else(fault)?;
        let turns: u64 = turns.trim().parse().ok().filter(|turns| *turns > 0).ok_or_else(fault)?;
        let period = period.trim();
        let period = parse_duration(period).or_else(|| parse_duration(&format!("1{period}"))).ok_or_else(fault)?;
        let burst = guard.burst.unwrap_or(turns);
        if burst == 0 {
            return Err(ConfigError::invalid("guard.burst", "must be at least 1"));
        }
        Ok(Some(Rate { turns, period, burst }))
    }
}

impl RawQuota {
    fn quota(&self) -> Result<Quota, ConfigError> {
        let quota = Quota {
            period_seconds: self.period.map_or(0, |period| period.as_secs()),
            turns: self.turns,
            conversations: self.conversations,
            model_tokens: self.model_tokens,
            history_bytes: self.history_bytes,
            upstream_seconds: self.upstream_seconds,
        };
        if quota.period_seconds == 0 {
            return Err(ConfigError::invalid("guard.quota.period", "is a time span of at least 1s, such as 1d"));
        }
        let Quota { turns, conversations, model_tokens, history_bytes, upstream_seconds, .. } = quota;
        if [turns, conversations, model_tokens, history_bytes, upstream_seconds].iter().all(Option::is_none) {
            return Err(ConfigError::invalid(
                "guard.quota",
                "limits nothing; set turns, conversations, model_tokens, history_bytes or upstream_seconds",
            ));
        }
        Ok(quota)
    }
}

/// One server by `redis://` or `rediss://`: what a turn asks for is one script over keys that a cluster would part.
fn check_url(url: &str) -> Result<(), ConfigError> {
    // The URL may hold a password, and is not repeated.
    let scheme = url.split_once("://").map_or("", |(scheme, _)| scheme).to_ascii_lowercase();
    let fault = match scheme.as_str() {
        "redis" | "rediss" | "valkey" | "valkeys" => return Ok(()),
        other if other.contains("cluster") => {
            "Redis Cluster is not supported: a turn is one atomic script over a user's, a conversation's and a token's keys; \
             name one server, or a proxy that stands for the primary"
        }
        other if other.contains("sentinel") => {
            "Redis Sentinel is not supported; name the primary itself, or an address that always leads to it"
        }
        "unix" | "redis+unix" => "Unix sockets are not supported; name the server as redis://host:port",
        _ => "is no redis:// or rediss:// URL",
    };
    Err(ConfigError::invalid("guard.redis_url", fault))
}
