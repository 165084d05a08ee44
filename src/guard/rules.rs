//! What a guard enforces, as configured.

use std::{fmt, time::Duration};

use zeroize::Zeroizing;

use crate::proto::allowance::Allowance;

/// The limits on one user, and what is asked of tokens beyond themselves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Turns at once.
    pub turns_at_once: usize,
    /// How fast turns may follow each other.
    pub rate: Option<Rate>,
    /// How much there is for a period.
    pub quotas: Vec<Quota>,
    /// Whether a token is good for one turn alone. Takes a store.
    pub single_use: bool,
    /// Whether tokens can be revoked. Takes a store.
    pub revocation: bool,
    /// Conversations of one user that are good at once: one more revokes the one whose last turn is longest ago. Takes a
    /// store.
    pub live_conversations: Option<u64>,
    /// How long a turn may hold what it has taken, should its process die. Changes at a start alone.
    pub lease: Duration,
    /// How long a token can be good at the longest, and so a revocation has to be remembered.
    pub memory: Duration,
    /// Whether tokens from before the store's birth are taken on trust.
    pub trusts_empty_store: bool,
}

impl Default for Rules {
    /// Eight turns at once for a user, and no other limit.
    fn default() -> Self {
        Self {
            turns_at_once: 8,
            rate: None,
            quotas: Vec::new(),
            single_use: false,
            revocation: false,
            live_conversations: None,
            lease: Duration::from_secs(660),
            memory: Duration::from_secs(30 * 86_400 + 60),
            trusts_empty_store: false,
        }
    }
}

/// How fast turns may follow each other, by the generic cell rate algorithm (ITU-T I.371).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Turns in a period, evenly.
    pub turns: u64,
    /// The period.
    pub period: Duration,
    /// Turns that may come at once after a pause; at least 1.
    pub burst: u64,
}

impl Rate {
    /// How long it takes for a whole burst to come back, in seconds, rounded up: a rate is told as so many turns, the
    /// burst, for that long.
    #[must_use]
    pub fn burst_seconds(&self) -> u64 {
        let nanos = self.period.as_nanos().saturating_mul(self.burst.into()) / u128::from(self.turns).max(1);
        u64::try_from(nanos.div_ceil(1_000_000_000)).unwrap_or(u64::MAX)
    }
}

/// How much a user may have in each period; periods are counted from 1970, so that a day is a day in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// The period, whole seconds.
    pub period_seconds: u64,
    /// Turns.
    pub turns: Option<u64>,
    /// Conversations begun.
    pub conversations: Option<u64>,
    /// Model tokens, in and out. Known after the fact: the turns under way may go over it.
    pub model_tokens: Option<u64>,
    /// Inflated history that turns carried; likewise.
    pub history_bytes: Option<u64>,
    /// Seconds for which upstreams worked; likewise.
    pub upstream_seconds: Option<u64>,
}

impl Quota {
    /// What it limits, in the order of [`COUNTS`], as it is counted: upstream time in milliseconds.
    pub(crate) fn limits(&self) -> [Option<u64>; COUNTS.len()] {
        let Self { turns, conversations, model_tokens, history_bytes, upstream_seconds, .. } = *self;
        let upstream_millis = upstream_seconds.map(|seconds| seconds.saturating_mul(1_000));
        [turns, conversations, model_tokens, history_bytes, upstream_millis]
    }

    /// Where a caller stands that has `had` so much of the count with this number; none where that has no limit.
    pub(crate) fn allowance(&self, count: usize, had: u64, reset_seconds: u64) -> Option<Allowance> {
        let (name, limit) = (*COUNTS.get(count)?, self.limits().get(count).copied().flatten()?);
        let unit = if name == "upstream_seconds" { 1_000 } else { 1 };
        // A second that has begun is still to be had: nothing is left only where a turn is refused.
        let remaining = limit.saturating_sub(had).div_ceil(unit);
        Some(Allowance { name, limit: limit / unit, remaining, period_seconds: self.period_seconds, reset_seconds })
    }
}

/// What quotas count.
pub(crate) const COUNTS: [&str; 5] = ["turns", "conversations", "model_tokens", "history_bytes", "upstream_seconds"];

/// A server of the Redis protocol that instances share.
#[derive(Clone, PartialEq, Eq)]
pub struct Store {
    /// `redis://` or `rediss://` URL; may hold a password.
    pub url: Zeroizing<String>,
    /// How long it may take to answer.
    pub timeout: Duration,
    /// What its keys begin with: the deployment's name.
    pub namespace: String,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store")
            .field("timeout", &self.timeout)
            .field("namespace", &self.namespace)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_left_only_where_a_turn_is_refused() {
        let quota = Quota {
            period_seconds: 60,
            turns: Some(3),
            conversations: None,
            model_tokens: None,
            history_bytes: None,
            upstream_seconds: Some(7),
        };
        let remaining = |count, had| quota.allowance(count, had, 9).map(|allowance| allowance.remaining);
        assert_eq!((remaining(0, 2), remaining(0, 3), remaining(0, 4)), (Some(1), Some(0), Some(0)));
        assert_eq!((remaining(4, 0), remaining(4, 6_999), remaining(4, 7_000)), (Some(7), Some(1), Some(0)));
        assert_eq!((remaining(1, 0), remaining(5, 0)), (None, None));
    }

    #[test]
    fn a_burst_comes_back_at_the_rate() {
        for (turns, seconds, burst, back) in
            [(30, 60, 30, 60), (30, 60, 5, 10), (5, 1, 20, 4), (7, 60, 10, 86), (5, 1, 1, 1), (1, 86_400, 1, 86_400)]
        {
            let rate = Rate { turns, period: Duration::from_secs(seconds), burst };
            assert_eq!(rate.burst_seconds(), back, "{turns}/{seconds}s, {burst}");
        }
        assert_eq!(Rate { turns: 0, period: Duration::MAX, burst: u64::MAX }.burst_seconds(), u64::MAX);
    }
}
