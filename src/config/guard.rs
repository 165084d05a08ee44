//! The limits on users, and the store that instances share: the table `guard`.

use std::time::Duration;

use super::{
    ConfigError, RawConfig,
    raw::{RawQuota, parse_duration},
    store::StoreConfig,
};
use crate::{
    guard::{Quota, Rate, Rules},
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
            ("guard.timeout", guard.timeout.is_some()),
            ("guard.lease_grace", guard.lease_grace.is_some()),
            ("guard.dangerous_trust_empty_guard", guard.dangerous_trust_empty_guard),
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
            max_concurrent_turns: super::check::at_least_one("limits.turns_per_user", self.limits.turns_per_user, 8)?,
            rate: self.rate()?,
            quotas: guard.quota.iter().map(RawQuota::quota).collect::<Result<_, _>>()?,
            single_use,
            revocation,
            live_conversations: guard.live_conversations,
            lease: total.saturating_add(guard.lease_grace.unwrap_or(Duration::from_secs(60))),
            revocation_ttl: Duration::from_secs(policy.max_age_seconds.saturating_add(LEEWAY_SECONDS)),
            trusts_empty_store: guard.dangerous_trust_empty_guard,
        };
        if rules.quotas.len() > PERIODS_MOST {
            return Err(ConfigError::invalid("guard.quota", format!("there are more than {PERIODS_MOST}")));
        }
        let mut periods: Vec<_> = rules.quotas.iter().map(|quota| quota.period_seconds).collect();
        periods.sort_unstable();
        if let Some([twice, _]) = periods.array_windows().find(|[one, next]| one == next) {
            let fault = format!("the period of {twice} s stands twice; join the two tables");
            return Err(ConfigError::invalid("guard.quota.period", fault));
        }
        Ok(rules)
    }

    /// The store, if there is one.
    pub(super) fn store(&self, policy: &TokenPolicy) -> Result<Option<StoreConfig>, ConfigError> {
        let Some(url) = &self.guard.redis_url else { return Ok(None) };
        check_url(url)?;
        let timeout = self.guard.timeout.unwrap_or(Duration::from_millis(500));
        Ok(Some(StoreConfig { url: url.clone(), timeout, namespace: policy.issuer.clone() }))
    }

    fn rate(&self) -> Result<Option<Rate>, ConfigError> {
        let guard = &self.guard;
        let Some(text) = &guard.rate else {
            return match guard.burst {
                Some(_) => Err(ConfigError::invalid("guard.burst", "goes with guard.rate")),
                None => Ok(None),
            };
        };
        let fault = |fault: &str| ConfigError::invalid("guard.rate", format!("`{text}` {fault}"));
        let form = || fault("is no rate, such as 30/1m or 5/s");
        let (turns, period) = text.split_once('/').ok_or_else(form)?;
        let (turns, period) = (turns.trim().parse().map_err(|_| form())?, period.trim());
        // A unit alone is one of it.
        let one = if period.starts_with(|character: char| character.is_ascii_digit()) { "" } else { "1" };
        let period = parse_duration(&format!("{one}{period}")).ok_or_else(form)?;
        if !(1..=TURNS_MOST).contains(&turns) {
            return Err(fault("is not from 1 to 1000000000 turns"));
        }
        if whole_seconds(period).is_none() {
            return Err(fault("is not for a period of whole seconds, at most 366d"));
        }
        let burst = guard.burst.unwrap_or(turns);
        if !(1..=TURNS_MOST).contains(&burst) {
            return Err(ConfigError::invalid("guard.burst", format!("{burst} is not from 1 to {TURNS_MOST}")));
        }
        Ok(Some(Rate { turns, period, burst }))
    }
}

impl RawQuota {
    fn quota(&self) -> Result<Quota, ConfigError> {
        let Some(period_seconds) = self.period.and_then(whole_seconds) else {
            return Err(ConfigError::invalid("guard.quota.period", "is whole seconds from 1s to 366d, such as 1d"));
        };
        let Self { turns, conversations, model_tokens, history_bytes, upstream_seconds, .. } = *self;
        let limits = [turns, conversations, model_tokens, history_bytes, upstream_seconds];
        if limits.iter().all(Option::is_none) {
            return Err(ConfigError::invalid(
                "guard.quota",
                "limits nothing; set turns, conversations, model_tokens, history_bytes or upstream_seconds",
            ));
        }
        // Nobody could ever have a turn under a limit of 0, and would still be told when to come back.
        if let Some(limit) = limits.into_iter().flatten().find(|limit| !(1..=QUOTA_MOST).contains(limit)) {
            return Err(ConfigError::invalid("guard.quota", format!("{limit} is not from 1 to {QUOTA_MOST}")));
        }
        Ok(Quota { period_seconds, turns, conversations, model_tokens, history_bytes, upstream_seconds })
    }
}

/// A span in seconds, if it is whole ones, and not so many that it must be a mistake.
fn whole_seconds(span: Duration) -> Option<u64> {
    (span.subsec_nanos() == 0 && (1..=PERIOD_MOST_SECONDS).contains(&span.as_secs())).then_some(span.as_secs())
}

/// As many turns as a rate or a burst may have.
const TURNS_MOST: u64 = 1_000_000_000;
/// The largest limit of a period: the largest integer of a structured header field (RFC 9651 §3.3.1).
const QUOTA_MOST: u64 = 999_999_999_999_999;
/// A leap year.
const PERIOD_MOST_SECONDS: u64 = 366 * 86_400;
/// The most periods: each is counted for each caller, and told in each answer's head.
const PERIODS_MOST: usize = 8;

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
