//! The generic cell rate algorithm in its form as a virtual schedule (ITU-T I.371, annex A).
//!
//! The schedule spaces turns evenly. A turn may come earlier than its time in the schedule, by at
//! most the time of a burst.
//!
//! ```text
//!            backlog             a turn moves the end by one increment; it is admitted
//!       ├───────────────┤        if the backlog then is at most the burst
//! ──────┼───────────────┼──────────┼──▶
//!      now             end        now + burst · increment
//! ```
//! A nanosecond is divided into as many parts as the rate has turns, so an increment is a whole
//! number and rounding never gains or loses a turn. This module reads no clock.

use std::time::Duration;

use super::rules::Rate;

/// The arithmetic of one rate. All times are in parts of a nanosecond.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Gcra {
    /// The backlog that one turn adds.
    increment: u128,
    /// The largest backlog: a full burst.
    burst: u128,
    /// Parts in a nanosecond.
    parts: u128,
}

/// The end of one caller's schedule: the time at which its backlog is zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Schedule {
    end: u128,
}

impl Gcra {
    /// The arithmetic of `rate`, whose fields must not be zero.
    pub(super) fn new(rate: &Rate) -> Self {
        let increment = rate.period.as_nanos();
        Self {
            increment: increment.max(1),
            burst: increment.saturating_mul(rate.burst.into()),
            parts: u128::from(rate.turns).max(1),
        }
    }

    /// The time until the next turn is admitted; zero if it is admitted now.
    pub(super) fn wait(&self, schedule: Schedule, elapsed: Duration) -> Duration {
        let backlog = self.backlog(schedule, elapsed).saturating_add(self.increment);
        self.span(backlog.saturating_sub(self.burst))
    }

    /// The schedule after one more turn. Call it only if [`Self::wait`] is zero.
    pub(super) fn after_turn(&self, schedule: Schedule, elapsed: Duration) -> Schedule {
        Schedule { end: schedule.end.max(self.time(elapsed)).saturating_add(self.increment) }
    }

    /// How many turns are admitted now, one after the other.
    pub(super) fn remaining(&self, schedule: Schedule, elapsed: Duration) -> u64 {
        let left = self.burst.saturating_sub(self.backlog(schedule, elapsed));
        u64::try_from(left.checked_div(self.increment).unwrap_or(0)).unwrap_or(u64::MAX)
    }

    /// The time until a full burst is available.
    pub(super) fn full_in(&self, schedule: Schedule, elapsed: Duration) -> Duration {
        self.span(self.backlog(schedule, elapsed))
    }

    fn backlog(&self, schedule: Schedule, elapsed: Duration) -> u128 {
        schedule.end.saturating_sub(self.time(elapsed))
    }

    fn time(&self, elapsed: Duration) -> u128 {
        elapsed.as_nanos().saturating_mul(self.parts)
    }

    /// Parts as a duration, rounded up, so that the wait is over when the duration is.
    fn span(&self, parts: u128) -> Duration {
        Duration::from_nanos(u64::try_from(parts.div_ceil(self.parts)).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(turns: u64, seconds: u64, burst: u64) -> Gcra {
        Gcra::new(&Rate { turns, period: Duration::from_secs(seconds), burst })
    }

    #[test]
    fn a_burst_is_admitted_together_and_the_rest_evenly() {
        let (gcra, start) = (rate(30, 60, 3), Duration::from_secs(1_000));
        let mut schedule = Schedule::default();
        for left in [3, 2, 1] {
            assert_eq!((gcra.remaining(schedule, start), gcra.wait(schedule, start)), (left, Duration::ZERO));
            schedule = gcra.after_turn(schedule, start);
        }
        assert_eq!((gcra.remaining(schedule, start), gcra.wait(schedule, start)), (0, Duration::from_secs(2)));
        assert_eq!(gcra.full_in(schedule, start), Duration::from_secs(6));
        let just_before = start + Duration::from_nanos(1_999_999_999);
        assert_eq!((gcra.remaining(schedule, just_before), gcra.wait(schedule, just_before).as_nanos()), (0, 1));
        let then = start + Duration::from_secs(2);
        assert_eq!((gcra.remaining(schedule, then), gcra.wait(schedule, then)), (1, Duration::ZERO));
        // A pause refills the burst, and not more than that.
        assert_eq!(gcra.remaining(schedule, start + Duration::from_secs(86_400)), 3);
    }

    #[test]
    fn rounding_loses_and_gains_no_turn() {
        // A seventh of a second is not a whole number of nanoseconds.
        let gcra = rate(7, 1, 1);
        let (mut schedule, mut elapsed, mut turns) = (Schedule::default(), Duration::ZERO, 0);
        while elapsed <= Duration::from_secs(1_000) {
            schedule = gcra.after_turn(schedule, elapsed);
            elapsed += gcra.wait(schedule, elapsed);
            turns += 1;
        }
        assert_eq!(turns, 7_000);
    }

    #[test]
    fn no_rate_overflows() {
        let gcra = Gcra::new(&Rate { turns: u64::MAX, period: Duration::MAX, burst: u64::MAX });
        let schedule = gcra.after_turn(Schedule { end: u128::MAX }, Duration::MAX);
        assert_eq!(schedule.end, u128::MAX);
        let _ = (gcra.wait(schedule, Duration::ZERO), gcra.remaining(schedule, Duration::ZERO));
        let none = Gcra::new(&Rate { turns: 0, period: Duration::ZERO, burst: 0 });
        assert_eq!(none.remaining(Schedule::default(), Duration::MAX), 0);
    }
}
