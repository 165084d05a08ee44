//! The rules in the form in which they are counted by.

use std::time::Duration;

use crate::guard::{Rate, Rules, gcra::Gcra};

/// The rules, and the arithmetic of their rate.
#[derive(Clone, Debug)]
pub(super) struct Limits {
    pub(super) rules: Rules,
    pub(super) rate: Option<(Gcra, RatePolicy)>,
}

/// A rate as callers are told it: so many turns for so many seconds, of which at most that many can be left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RatePolicy {
    pub(super) turns: u64,
    pub(super) period_seconds: u64,
}

impl Limits {
    pub(super) fn new(rules: Rules) -> Self {
        let rate = rules.rate.as_ref().map(|rate| (Gcra::new(rate), RatePolicy::of(rate)));
        Self { rules, rate }
    }
}

impl RatePolicy {
    /// The turns of the period; where a burst may be larger, the burst, for the time that it takes to come back.
    fn of(rate: &Rate) -> Self {
        let turns = rate.turns.max(rate.burst);
        let nanos = rate.period.as_nanos().saturating_mul(turns.into()) / u128::from(rate.turns).max(1);
        let period_seconds = nanos.div_ceil(Duration::from_secs(1).as_nanos());
        Self { turns, period_seconds: u64::try_from(period_seconds).unwrap_or(u64::MAX) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_told_as_the_larger_of_its_turns_and_its_burst() {
        for (turns, seconds, burst, told) in [
            (30, 60, 30, (30, 60)),
            (30, 60, 5, (30, 60)),
            (5, 1, 20, (20, 4)),
            (7, 60, 10, (10, 86)),
            (1, 1, 1, (1, 1)),
        ] {
            let policy = RatePolicy::of(&Rate { turns, period: Duration::from_secs(seconds), burst });
            assert_eq!((policy.turns, policy.period_seconds), told, "{turns}/{seconds}s, {burst}");
        }
    }
}
