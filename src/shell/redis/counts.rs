//! Counts of the store, converted to allowances.

use super::lua::turn_micros;
use crate::{
    guard::{GuardPurpose, QUOTA_COUNTS, Quota, Rate, Rules},
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

    /// The caller's allowance under each limit that a response to a request with this purpose
    /// reports: its rate, then the quotas in the order of the rules.
    pub(super) fn allowances(&self, rules: &Rules, purpose: GuardPurpose) -> Vec<Allowance> {
        let rate = rules.rate_of(purpose).into_iter().map(|rate| rate_allowance(rate, self.debt_micros()));
        rate.chain(self.quota_allowances(rules)).collect()
    }

    fn quota_allowances(&self, rules: &Rules) -> impl Iterator<Item = Allowance> {
        rules.quotas.iter().enumerate().flat_map(move |(number, quota)| {
            (0..QUOTA_COUNTS.len()).filter_map(move |count| self.quota_allowance(number, count, quota))
        })
    }

    /// The details of an exceeded rate that admits the next turn in `wait_micros`.
    pub(super) fn rate_exhausted(&self, rules: &Rules, purpose: GuardPurpose, wait_micros: u64) -> Option<Exhausted> {
        let limit = rate_allowance(rules.rate_of(purpose)?, self.debt_micros());
        let retry_after_seconds = wait_micros.div_ceil(MICROS).max(1);
        Some(Exhausted { limit, retry_after_seconds, allowances: self.allowances(rules, purpose) })
    }

    /// The details of an exceeded quota.
    pub(super) fn quota_exhausted(
        &self,
        rules: &Rules,
        purpose: GuardPurpose,
        quota: usize,
        count: usize,
    ) -> Option<Exhausted> {
        let limit = self.quota_allowance(quota, count, rules.quotas.get(quota)?)?;
        let retry_after_seconds = limit.reset_seconds.max(1);
        Some(Exhausted { limit, retry_after_seconds, allowances: self.allowances(rules, purpose) })
    }

    fn quota_allowance(&self, number: usize, count: usize, quota: &Quota) -> Option<Allowance> {
        let used = self.row(number).and_then(|row| u64::try_from(*row.get(2 + count)?).ok()).unwrap_or_default();
        quota.allowance(count, used, self.seconds_left(number))
    }
}

/// The caller's allowance under each limit, from the reply of `allowances.lua`: the debt of the
/// rate of reads, then the numbers of [`Counts`] for turns.
pub(super) fn allowances(rules: &Rules, numbers: &[i64]) -> Vec<Allowance> {
    let (reads, counts) = numbers.split_first().map_or((0, &[][..]), |(reads, counts)| (*reads, counts));
    let reads = Counts(vec![reads]).debt_micros();
    let read_rate = rules.rate_of(GuardPurpose::Read).map(|rate| rate_allowance(rate, reads));
    let turns = Counts(counts.to_vec()).allowances(rules, GuardPurpose::Turn);
    turns.into_iter().chain(read_rate).collect()
}

/// The allowance under a rate for a caller with this debt. A rate is reported as its burst, and the
/// time in which a full burst refills.
fn rate_allowance((name, rate): (&'static str, &Rate), debt_micros: u64) -> Allowance {
    let turn = turn_micros(rate);
    let burst = turn.saturating_mul(rate.burst);
    // Another rate, or a clock that was ahead, may have written a larger debt.
    let debt = debt_micros.min(burst);
    Allowance {
        name,
        limit: rate.burst,
        remaining: (burst - debt) / turn,
        period_seconds: burst.div_ceil(MICROS),
        reset_seconds: debt.div_ceil(MICROS),
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
            read_rate: Some(Rate { turns: 60, period: Duration::from_secs(60), burst: 60 }),
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
        let allowances = counts.allowances(&rules(), GuardPurpose::Turn);
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
        let rate = counts.rate_exhausted(&rules(), GuardPurpose::Turn, 1_000_001).unwrap();
        assert_eq!((rate.limit, rate.retry_after_seconds, &rate.allowances), (allowances[0], 2, &allowances));
        let quota = counts.quota_exhausted(&rules(), GuardPurpose::Turn, 1, 2).unwrap();
        assert_eq!((quota.limit, quota.retry_after_seconds), (allowances[3], 7_000));
        assert_eq!(counts.quota_exhausted(&rules(), GuardPurpose::Turn, 1, 0), None);
    }

    #[test]
    fn a_debt_is_at_most_a_burst() {
        let allowances = Counts::new(vec![86_400_000_000]).allowances(&rules(), GuardPurpose::Turn);
        assert_eq!((allowances[0].remaining, allowances[0].reset_seconds), (0, 10));
    }

    #[test]
    fn a_caller_without_counts_has_full_allowances() {
        let left = |purpose| -> Vec<_> {
            let allowances = Counts::default().allowances(&rules(), purpose);
            allowances.iter().map(|allowance| (allowance.name, allowance.remaining)).collect()
        };
        let quotas = [("turns", 10), ("upstream_seconds", 7), ("model_tokens", 1_000)];
        assert_eq!(left(GuardPurpose::Turn), [&[("rate", 5)][..], &quotas].concat());
        assert_eq!(left(GuardPurpose::Read), [&[("read_rate", 60)][..], &quotas].concat());
    }

    #[test]
    fn all_allowances_have_both_rates() {
        let numbers = [20_000_000, 3_000_000, 5, 600, 4, 0, 0, 0, 2_500, 2, 7_000, 0, 0, 1_400, 0, 0];
        let names: Vec<_> = allowances(&rules(), &numbers).iter().map(|limit| (limit.name, limit.remaining)).collect();
        let quotas = [("turns", 6), ("upstream_seconds", 5), ("model_tokens", 0)];
        assert_eq!(names, [&[("rate", 3)][..], &quotas, &[("read_rate", 40)]].concat());
    }
}
