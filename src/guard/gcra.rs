//! The generic cell rate algorithm, as its virtual schedule (ITU-T I.371, annex A): turns leave evenly, and one may come
//! as much earlier than its place in the schedule as a burst of turns takes.
//!
//! ```text
//!            backlog                     a turn moves the end by one increment; it may come while at least that
//!       ├───────────────┤                much of the room is left
//! ──────┼───────────────┼──────────┼──▶
//!      now             end        now + burst · increment
//! ```
//! Time is counted in parts of a nanosecond, as many as the rate has turns, so that an increment is a whole number and no
//! turn is gained or lost by rounding. No clock is read here.

use std::time::Duration;

use super::Rate;

/// The arithmetic of one rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Gcra {
    /// What one turn adds to the backlog.
    increment: u128,
    /// The most that the backlog may come to.
    room: u128,
    /// Parts in a nanosecond.
    parts: u128,
}

/// The end of one caller's schedule: when all that was taken will have left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Schedule {
    end: u128,
}

impl Gcra {
    /// The arithmetic of `rate`, of which no part may be zero.
    pub(super) fn new(rate: &Rate) -> Self {
        let increment = rate.period.as_nanos();
        Self {
            increment: increment.max(1),
            room: increment.saturating_mul(rate.burst.into()),
            parts: u128::from(rate.turns).max(1),
        }
    }

    /// How long until a turn may come; zero if one may come now.
    pub(super) fn wait(&self, schedule: Schedule, elapsed: Duration) -> Duration {
        let backlog = self.backlog(schedule, elapsed).saturating_add(self.increment);
        self.span(backlog.saturating_sub(self.room))
    }

    /// The schedule with one turn more, which [`Self::wait`] must have allowed.
    pub(super) fn taken(&self, schedule: Schedule, elapsed: Duration) -> Schedule {
        Schedule { end: schedule.end.max(self.time(elapsed)).saturating_add(self.increment) }
    }

    /// How many turns may come at once now.
    pub(super) fn remaining(&self, schedule: Schedule, elapsed: Duration) -> u64 {
        let left = self.room.saturating_sub(self.backlog(schedule, elapsed));
        u64::try_from(left.checked_div(self.increment).unwrap_or(0)).unwrap_or(u64::MAX)
    }

    /// How long until the whole burst may come at once.
    pub(super) fn full_in(&self, schedule: Schedule, elapsed: Duration) -> Duration {
        self.span(self.backlog(schedule, elapsed))
    }

    fn backlog(&self, schedule: Schedule, elapsed: Duration) -> u128 {
        schedule.end.saturating_sub(self.time(elapsed))
    }

    fn time(&self, elapsed: Duration) -> u128 {
        elapsed.as_nanos().saturating_mul(self.parts)
    }

    /// Rounded up: what is due is due then.
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
    fn a_burst_comes_at_once_and_the_rest_evenly() {
        let (gcra, start) = (rate(30, 60, 3), Duration::from_secs(1_000));
        let mut schedule = Schedule::default();
        for left in [3, 2, 1] {
            assert_eq!((gcra.remaining(schedule, start), gcra.wait(schedule, start)), (left, Duration::ZERO));
            schedule = gcra.taken(schedule, start);
        }
        assert_eq!((gcra.remaining(schedule, start), gcra.wait(schedule, start)), (0, Duration::from_secs(2)));
        assert_eq!(gcra.full_in(schedule, start), Duration::from_secs(6));
        let just_before = start + Duration::from_nanos(1_999_999_999);
        assert_eq!((gcra.remaining(schedule, just_before), gcra.wait(schedule, just_before).as_nanos()), (0, 1));
        let then = start + Duration::from_secs(2);
        assert_eq!((gcra.remaining(schedule, then), gcra.wait(schedule, then)), (1, Duration::ZERO));
        // A pause gives back the burst, and no more.
        assert_eq!(gcra.remaining(schedule, start + Duration::from_secs(86_400)), 3);
    }

    #[test]
    fn nothing_is_lost_or_gained_by_rounding() {
        // An increment of a seventh of a second is no whole number of nanoseconds.
        let gcra = rate(7, 1, 1);
        let (mut schedule, mut elapsed, mut turns) = (Schedule::default(), Duration::ZERO, 0);
        while elapsed <= Duration::from_secs(1_000) {
            schedule = gcra.taken(schedule, elapsed);
            elapsed += gcra.wait(schedule, elapsed);
            turns += 1;
        }
        assert_eq!(turns, 7_000);
    }

    #[test]
    fn no_rate_overflows() {
        let gcra = Gcra::new(&Rate { turns: u64::MAX, period: Duration::MAX, burst: u64::MAX });
        let schedule = gcra.taken(Schedule { end: u128::MAX }, Duration::MAX);
        assert_eq!(schedule.end, u128::MAX);
        let _ = (gcra.wait(schedule, Duration::ZERO), gcra.remaining(schedule, Duration::ZERO));
        let none = Gcra::new(&Rate { turns: 0, period: Duration::ZERO, burst: 0 });
        assert_eq!(none.remaining(Schedule::default(), Duration::MAX), 0);
    }
}
