//! Counts of the store, as allowances.

use super::scripts::interval_micros;
use crate::{
    guard::{COUNTS, Quota, Rate, Rules},
    proto::allowance::{Allowance, Exhausted},
};

/// What a caller has had, as scripts count: the rate's debt in microseconds, then for each quota seven numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts(Vec<i64>);

impl Counts {
    pub(super) fn new(numbers: Vec<i64>) -> Self {
        Self(numbers)
    }

    /// The number of the period that the quota with this number, from 0, is in.
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

    /// Where the caller stands under each limit, in the order of the rules.
    pub(super) fn standing(&self, rules: &Rules) -> Vec<Allowance> {
        let rate = rules.rate.iter().map(|rate| self.of_rate(rate));
        let quotas =
            rules.quotas.iter().enumerate().flat_map(|(number, quota)| {
                (0..COUNTS.len()).filter_map(move |count| self.of_quota(number, count, quota))
            });
        rate.chain(quotas).collect()
    }

    /// What to say of a turn that comes this much too fast.
    pub(super) fn too_fast(&self, rules: &Rules, wait_micros: u64) -> Option<Exhausted> {
        let limit = self.of_rate(rules.rate.as_ref()?);
        let retry_after_seconds = wait_micros.div_ceil(MICROS).max(1);
        Some(Exhausted { limit, retry_after_seconds, standing: self.standing(rules) })
    }

    /// What to say where a quota has nothing left.
    pub(super) fn used_up(&self, rules: &Rules, quota: usize, count: usize) -> Option<Exhausted> {
        let of = rules.quotas.get(quota)?;
        let limit = self.of_quota(quota, count, of)?;
        Some(Exhausted { limit, retry_after_seconds: limit.reset_seconds.max(1), standing: self.standing(rules) })
    }

    /// A rate is told as its burst, and the time in which that comes back.
    fn of_rate(&self, rate: &Rate) -> Allowance {
        let interval = interval_micros(rate.turns, rate.period);
        let room = interval.saturating_mul(rate.burst);
        // What was written by another rate, or a clock that ran ahead, is no more than a burst of this one.
        let debt = self.debt_micros().min(room);
        Allowance {
            name: "rate",
            limit: rate.burst,
            remaining: (room - debt) / interval,
            period_seconds: room.div_ceil(MICROS),
            reset_seconds: debt.div_ceil(MICROS),
        }
    }

    fn of_quota(&self, number: usize, count: usize, quota: &Quota) -> Option<Allowance> {
        let had = self.row(number).and_then(|row| u64::try_from(*row.get(2 + count)?).ok()).unwrap_or_default();
        quota.allowance(count, had, self.seconds_left(number))
    }
}

/// The numbers of a quota: the period's, the seconds left, and the counts.
const ROW: usize = 2 + COUNTS.len();
const MICROS: u64 = 1_000_000;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::{guard::Quota, shell::redis::standing::*};

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
    fn counts_become_what_is_left() {
        let counts = Counts::new(vec![3_000_000, 5, 600, 4, 0, 0, 0, 2_500, 2, 7_000, 0, 0, 1_400, 0, 0]);
        let allowance = |name, limit, remaining, period_seconds, reset_seconds| Allowance {
            name,
            limit,
            remaining,
            period_seconds,
            reset_seconds,
        };
        let standing = counts.standing(&rules());
        assert_eq!(
            standing,
            [
                allowance("rate", 5, 3, 10, 3),
                allowance("turns", 10, 6, 3_600, 600),
                allowance("upstream_seconds", 7, 5, 3_600, 600),
                // More than there is: turns under way went over it.
                allowance("model_tokens", 1_000, 0, 86_400, 7_000),
            ]
        );
        assert_eq!((counts.period(0), counts.period(1), counts.period(2)), (Some(5), Some(2), None));
        let fast = counts.too_fast(&rules(), 1_000_001).unwrap();
        assert_eq!((fast.limit, fast.retry_after_seconds, &fast.standing), (standing[0], 2, &standing));
        let short = counts.used_up(&rules(), 1, 2).unwrap();
        assert_eq!((short.limit, short.retry_after_seconds), (standing[3], 7_000));
        assert_eq!(counts.used_up(&rules(), 1, 0), None);
    }

    #[test]
    fn no_debt_is_more_than_a_burst() {
        let standing = Counts::new(vec![86_400_000_000]).standing(&rules());
        assert_eq!((standing[0].remaining, standing[0].reset_seconds), (0, 10));
    }

    #[test]
    fn a_caller_without_counts_has_all_of_it() {
        let left: Vec<_> = Counts::default().standing(&rules()).iter().map(|allowance| allowance.remaining).collect();
        assert_eq!(left, [5, 10, 7, 1_000]);
    }
}
