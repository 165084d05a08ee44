//! The rules that a guard enforces, as configured.

use std::time::Duration;

#[cfg(feature = "redis")]
use super::admit::GuardPurpose;
use crate::proto::allowance::Allowance;

/// The limits on one caller, and the checks of a token's use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// The most turns in flight for one caller.
    pub max_concurrent_turns: usize,
    /// The rate of turns.
    pub rate: Option<Rate>,
    /// The rate of everything else that opens a token: histories, counts of model tokens, and
    /// revocations by users.
    pub read_rate: Option<Rate>,
    /// The quotas, one for each period.
    pub quotas: Vec<Quota>,
    /// True if a token can continue only one turn. Requires a store.
    pub single_use: bool,
    /// True if tokens can be revoked. Requires a store.
    pub revocation: bool,
    /// The most live conversations of one user. One more revokes the conversation whose last turn
    /// is the oldest. Requires a store.
    pub live_conversations: Option<u64>,
    /// How long a turn may hold what it has consumed if its process dies. Changes only at a start.
    pub lease: Duration,
    /// How long a revocation is kept: the longest time that a token can be valid.
    pub revocation_ttl: Duration,
    /// True if tokens that are older than the store are accepted.
    pub trusts_empty_store: bool,
}

impl Default for Rules {
    /// Eight concurrent turns for a user, and no other limit.
    fn default() -> Self {
        Self {
            max_concurrent_turns: 8,
            rate: None,
            read_rate: None,
            quotas: Vec::new(),
            single_use: false,
            revocation: false,
            live_conversations: None,
            lease: Duration::from_secs(660),
            revocation_ttl: Duration::from_secs(30 * 86_400 + 60),
            trusts_empty_store: false,
        }
    }
}

#[cfg(feature = "redis")]
impl Rules {
    /// The rate that a request with this purpose consumes, with its name in allowances.
    pub(crate) fn rate_of(&self, purpose: GuardPurpose) -> Option<(&'static str, &Rate)> {
        match purpose {
            GuardPurpose::Turn => Some(("rate", self.rate.as_ref()?)),
            GuardPurpose::Count | GuardPurpose::Read | GuardPurpose::Revoke => {
                Some(("read_rate", self.read_rate.as_ref()?))
            }
        }
    }
}

/// A rate of turns or reads, enforced by the generic cell rate algorithm (ITU-T I.371).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Turns or reads in a period, evenly spaced.
    pub turns: u64,
    /// The period.
    pub period: Duration,
    /// Turns or reads that may start together after a pause; at least 1.
    pub burst: u64,
}

impl Rate {
    /// The time in which a full burst refills, in seconds, rounded up. A rate is reported as its
    /// burst for this time.
    #[must_use]
    pub fn burst_seconds(&self) -> u64 {
        let nanos = self.period.as_nanos().saturating_mul(self.burst.into()) / u128::from(self.turns).max(1);
        u64::try_from(nanos.div_ceil(1_000_000_000)).unwrap_or(u64::MAX)
    }
}

/// A caller's quotas in one period. Periods are counted from 1970-01-01T00:00:00Z, so a period of
/// one day is a day in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// The length of the period in seconds.
    pub period_seconds: u64,
    /// Turns.
    pub turns: Option<u64>,
    /// Conversations started.
    pub conversations: Option<u64>,
    /// Model tokens, input and output together. The count is known when a turn ends, so turns in
    /// flight can exceed this quota.
    pub model_tokens: Option<u64>,
    /// Bytes of uncompressed history that turns carried. Turns in flight can exceed it as well.
    pub history_bytes: Option<u64>,
    /// Seconds that upstreams worked. Turns in flight can exceed it as well.
    pub upstream_seconds: Option<u64>,
}

impl Quota {
    /// The limits in the order of [`QUOTA_COUNTS`] and in the unit of the counts, which is
    /// milliseconds for upstream time.
    pub(crate) fn limits(&self) -> [Option<u64>; QUOTA_COUNTS.len()] {
        let Self { turns, conversations, model_tokens, history_bytes, upstream_seconds, .. } = *self;
        let upstream_millis = upstream_seconds.map(|seconds| seconds.saturating_mul(1_000));
        [turns, conversations, model_tokens, history_bytes, upstream_millis]
    }

    /// The allowance of a caller that has `used` this much of the count at index `count` of
    /// [`QUOTA_COUNTS`]; `None` if that count has no limit.
    pub(crate) fn allowance(&self, count: usize, used: u64, reset_seconds: u64) -> Option<Allowance> {
        let (name, limit) = (*QUOTA_COUNTS.get(count)?, self.limits().get(count).copied().flatten()?);
        let unit = if name == "upstream_seconds" { 1_000 } else { 1 };
        // Rounded up: a started second still remains, so 0 remains only if a turn is refused.
        let remaining = limit.saturating_sub(used).div_ceil(unit);
        Some(Allowance { name, limit: limit / unit, remaining, period_seconds: self.period_seconds, reset_seconds })
    }
}

/// The names of the counts of a quota.
pub(crate) const QUOTA_COUNTS: [&str; 5] =
    ["turns", "conversations", "model_tokens", "history_bytes", "upstream_seconds"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_remains_only_if_a_turn_is_refused() {
        let quota = Quota {
            period_seconds: 60,
            turns: Some(3),
            conversations: None,
            model_tokens: None,
            history_bytes: None,
            upstream_seconds: Some(7),
        };
        let remaining = |count, used| quota.allowance(count, used, 9).map(|allowance| allowance.remaining);
        assert_eq!((remaining(0, 2), remaining(0, 3), remaining(0, 4)), (Some(1), Some(0), Some(0)));
        assert_eq!((remaining(4, 0), remaining(4, 6_999), remaining(4, 7_000)), (Some(7), Some(1), Some(0)));
        assert_eq!((remaining(1, 0), remaining(5, 0)), (None, None));
    }

    #[test]
    fn a_burst_refills_at_the_rate() {
        for (turns, seconds, burst, refill) in
            [(30, 60, 30, 60), (30, 60, 5, 10), (5, 1, 20, 4), (7, 60, 10, 86), (5, 1, 1, 1), (1, 86_400, 1, 86_400)]
        {
            let rate = Rate { turns, period: Duration::from_secs(seconds), burst };
            assert_eq!(rate.burst_seconds(), refill, "{turns}/{seconds}s, {burst}");
        }
        assert_eq!(Rate { turns: 0, period: Duration::MAX, burst: u64::MAX }.burst_seconds(), u64::MAX);
    }
}
