//! Counts of the store, converted to allowances.

use super::lua::turn_micros;
use crate::{
    guard::{QUOTA_COUNTS, Quota, Rate, Rules},
    proto::allowance::{Allowance, Exhausted},
};

/// The counts of a caller as the scripts return them: the debt of the rate in microseconds, then a
/// row of seven numbers for each quota.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts(Vec<i64>);

impl Counts {
    pub(super) fn new(numbers: Vec<i64>) -> Self {
        Self(numbers)
    }

    /// The number of the current period of the quota at index `quota`.
    pub(super) fn period(&self, quota: usize) -> Option<i64> {
        self.row(quota).and_then(|row| row.first().copied())
    }

    fn debt_micros(&self) -> u64 {
        self.0.first().map_or(0, |debt| u64::try_from(*debt).unwrap_or_default())
    }

    fn row(&self, quota: usize) -> Option<&[i64]> {
        let start = 1 + quota * ROW;
        self.0.get(start..start + ROW)
    }

    fn seconds_left(&self, quota: usize) -> u64 {
        self.row(quota).and_then(|row| u64::try_from(*row.get(1)?).ok()).unwrap_or_default()
    }

    /// The caller's allowance under each limit, in the order of the rules.
    pub(super) fn allowances(&self, rules: &Rules) -> Vec<Allowance> {
        let rate = rules.rate.iter().map(|rate| self.rate_allowance(rate));
        let quotas = rules.quotas.iter().enumerate().flat_map(|(number, quota)| {
            (0..QUOTA_COUNTS.len()).filter_map(move |count| self.quota_allowance(number, count, quota))
        });
        rate.chain(quotas).collect()
    }

    /// The details of an exceeded rate that admits the next turn in `wait_micros`.
    pub(super) fn rate_exhausted(&self, rules: &Rules, wait_micros: u64) -> Option<Exhausted> {
        let limit = self.rate_allowance(rules.rate.as_ref()?);
        let retry_after_seconds = wait_micros.div_ceil(MICROS).max(1);
        Some(Exhausted { limit, retry_after_seconds, allowances: self.allowances(rules) })
    }

    /// The details of an exceeded quota.
    pub(super) fn quota_exhausted(&self, rules: &Rules, quota: usize, count: usize) -> Option<Exhausted> {
        let limit = self.quota_allowance(quota, count, rules.quotas.get(quota)?)?;
        let retry_after_seconds = limit.reset_seconds.max(1);
        Some(Exhausted { limit, retry_after_seconds, allowances: self.allowances(rules) })
    }

    /// A rate is reported as its burst, and the time in which a full burst refills.
    fn rate_allowance(&self, rate: &Rate) -> Allowance {
        let turn = turn_micros(rate);
        let burst = turn.saturating_mul(rate.burst);
        // Another rate, or a clock that was ahead, may have written a larger debt.
        let debt = self.debt_micros().min(burst);
        Allowance {
            name: "rate",
            limit: rate.burst,
            remaining: (burst - debt) / turn,
            period_seconds: burst.div_ceil(MICROS),
            reset_seconds: debt.div_ceil(MICROS),
        }
    }

    fn quota_allowance(&self, number: usize, count: usize, quota: &Quota) -> Option<Allowance> {
        let used = self.row(number).and_then(|row| u64::try_from(*row.get(2 + count)?).ok()).unwrap_or_default();
        quota.allowance(count, used, self.seconds_left(number))
    }
}

/// The length of a quota's row: the number of the period, the seconds left in it, and the counts.
const ROW: usize = 2 + QUOTA_COUNTS.len();
const MICROS: u64 = 1_000_000;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn rules() -> Rules {
        let quota = |period_seconds| Quota {
            period_seconds,
            turns: None,
            conversations: None,
            model_tokens: None,
            history_bytes: None,
            upstream_seconds: None,
        };
        Rules {
            rate: Some(Rate { turns: 30, period: Duration::from_secs(60), burst: 5 }),
            quotas: vec![
                Quota { turns: Some(10), upstream_seconds: Some(7), ..quota(3_600) },
                Quota { model_tokens: Some(1_000), ..quota(86_400) },
            ],
            ..Rules::default()
        }
    }

    #[test]
    fn counts_become_allowances() {
        let counts = Counts::new(vec![3_000_000, 5, 600, 4, 0, 0, 0, 2_500, 2, 7_000, 0, 0, 1_400, 0, 0]);
        let allowance = |name, limit, remaining, period_seconds, reset_seconds| Allowance {
            name,
            limit,
            remaining,
            period_seconds,
            reset_seconds,
        };
        let allowances = counts.allowances(&rules());
        assert_eq!(
            allowances,
            [
                allowance("rate", 5, 3, 10, 3),
                allowance("turns", 10, 6, 3_600, 600),
                allowance("upstream_seconds", 7, 5, 3_600, 600),
                // Exceeded by turns in flight.
                allowance("model_tokens", 1_000, 0, 86_400, 7_000),
            ]
        );
        assert_eq!((counts.period(0), counts.period(1), counts.period(2)), (Some(5), Some(2), None));
        let rate = counts.rate_exhausted(&rules(), 1_000_001).unwrap();
        assert_eq!((rate.limit, rate.retry_after_seconds, &rate.allowances), (allowances[0], 2, &allowances));
        let quota = counts.quota_exhausted(&rules(), 1, 2).unwrap();
        assert_eq!((quota.limit, quota.retry_after_seconds), (allowances[3], 7_000));
        assert_eq!(counts.quota_exhausted(&rules(), 1, 0), None);
    }

    #[test]
    fn a_debt_is_at_most_a_burst() {
        let allowances = Counts::new(vec![86_400_000_000]).allowances(&rules());
        assert_eq!((allowances[0].remaining, allowances[0].reset_seconds), (0, 10));
    }

    #[test]
    fn a_caller_without_counts_has_full_allowances() {
        let left: Vec<_> = Counts::default().allowances(&rules()).iter().map(|allowance| allowance.remaining).collect();
        assert_eq!(left, [5, 10, 7, 1_000]);
    }
}
