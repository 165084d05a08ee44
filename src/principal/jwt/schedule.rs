//! The schedule of fetches of an issuer's keys.
//!
//! ```text
//! start ─▶ fetch ─ success ─▶ pause 10 min, or until a credential has an unknown key ─▶ fetch …
//!            └──── failure ─▶ pause 1 s, 2 s, 4 s … 60 s ─▶ fetch …
//! ```
//! One fetch is in flight at a time. Anyone can send a credential with an unknown key, so unknown
//! keys cause at most one fetch in [`COOLDOWN`].

use std::time::Duration;

/// The age at which keys are fetched again.
const MAX_AGE: Duration = Duration::from_secs(600);

/// The least time between two fetches that unknown keys cause.
const COOLDOWN: Duration = Duration::from_secs(60);

/// The longest pause after a failed fetch.
const MAX_PAUSE_SECONDS: u64 = 60;

/// The state of the schedule. All times are since the same fixed moment.
#[derive(Debug, Default)]
pub(super) struct FetchSchedule {
    /// The start of the fetch in flight.
    in_flight_since: Option<Duration>,
    next: Duration,
    failures: u32,
    /// The time of the last fetch that an unknown key has requested.
    requested: Option<Duration>,
}

impl FetchSchedule {
    /// The time until the next fetch; zero if it is due.
    pub(super) fn due_in(&self, now: Duration) -> Duration {
        self.next.saturating_sub(now)
    }

    /// Returns true if a fetch is in flight or due.
    pub(super) fn is_expected(&self, now: Duration) -> bool {
        self.in_flight_since.is_some() || self.due_in(now).is_zero()
    }

    /// Returns true if a fetch should start now: it is due, and no other has been in flight for
    /// less than `limit`. After that, the one in flight counts as abandoned.
    pub(super) fn is_due(&self, now: Duration, limit: Duration) -> bool {
        self.due_in(now).is_zero() && self.in_flight_since.is_none_or(|since| since.saturating_add(limit) <= now)
    }

    /// Makes a fetch due because of an unknown key. Returns false within the cooldown.
    pub(super) fn request(&mut self, now: Duration) -> bool {
        if self.requested.is_some_and(|requested| now < requested.saturating_add(COOLDOWN)) {
            return false;
        }
        self.requested = Some(now);
        self.next = now;
        true
    }

    /// Records the start of a fetch.
    pub(super) fn start(&mut self, now: Duration) {
        self.in_flight_since = Some(now);
    }

    /// Records that the fetch that started at `started` was dropped.
    pub(super) fn abandon(&mut self, started: Duration) {
        // Another fetch may have started since.
        self.in_flight_since = self.in_flight_since.filter(|since| *since != started);
    }

    /// Records the end of the fetch in flight.
    pub(super) fn finish(&mut self, success: bool, now: Duration) {
        self.in_flight_since = None;
        let pause = if success {
            self.failures = 0;
            MAX_AGE
        } else {
            let seconds = 1_u64.checked_shl(self.failures).unwrap_or(MAX_PAUSE_SECONDS).min(MAX_PAUSE_SECONDS);
            self.failures = self.failures.saturating_add(1);
            Duration::from_secs(seconds)
        };
        self.next = now.saturating_add(pause);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn fetched(now: Duration) -> FetchSchedule {
        let mut schedule = FetchSchedule::default();
        schedule.start(at(0));
        schedule.finish(true, now);
        schedule
    }

    #[test]
    fn the_first_fetch_is_due_immediately() {
        let mut schedule = FetchSchedule::default();
        assert!(schedule.due_in(at(0)).is_zero() && schedule.is_expected(at(0)));
        schedule.start(at(0));
        assert!(schedule.is_expected(at(0)));
        schedule.finish(true, at(1));
        assert!(!schedule.is_expected(at(1)));
    }

    #[test]
    fn keys_are_fetched_again_after_ten_minutes() {
        let schedule = fetched(at(100));
        assert_eq!(schedule.due_in(at(100)), at(600));
        assert_eq!(schedule.due_in(at(699)), at(1));
        assert!(!schedule.is_expected(at(699)) && schedule.is_expected(at(700)) && schedule.is_expected(at(10_000)));
    }

    #[test]
    fn pauses_after_failures_double_up_to_a_minute() {
        let mut schedule = fetched(at(0));
        let mut now = at(600);
        let mut pauses = Vec::new();
        for _ in 0..100 {
            schedule.start(at(0));
            schedule.finish(false, now);
            pauses.push(schedule.due_in(now).as_secs());
            now += schedule.due_in(now);
        }
        assert_eq!(pauses[..8], [1, 2, 4, 8, 16, 32, 60, 60]);
        assert!(pauses[8..].iter().all(|pause| *pause == 60));
        schedule.start(at(0));
        schedule.finish(true, now);
        assert_eq!(schedule.due_in(now), at(600));
        schedule.start(at(0));
        schedule.finish(false, now);
        assert_eq!(schedule.due_in(now), at(1));
    }

    #[test]
    fn a_fetch_without_an_end_is_replaced_by_another() {
        let (mut schedule, limit) = (FetchSchedule::default(), at(5));
        assert!(schedule.is_due(at(100), limit));
        schedule.start(at(100));
        assert!(!schedule.is_due(at(104), limit) && schedule.is_due(at(105), limit));
        schedule.start(at(105));
        assert!(!schedule.is_due(at(109), limit));
        schedule.abandon(at(100));
        assert!(!schedule.is_due(at(109), limit), "another fetch is in flight");
        schedule.abandon(at(105));
        assert!(schedule.is_due(at(105), limit));
        schedule.finish(true, at(106));
        assert!(!schedule.is_due(at(705), limit) && schedule.is_due(at(706), limit));
    }

    #[test]
    fn unknown_keys_cause_one_fetch_a_minute() {
        let mut schedule = fetched(at(0));
        assert!(schedule.request(at(5)));
        assert!(schedule.due_in(at(5)).is_zero());
        schedule.start(at(0));
        assert!((0..1_000).all(|_| !schedule.request(at(6))));
        schedule.finish(true, at(7));
        assert!(!schedule.request(at(64)));
        assert_eq!(schedule.due_in(at(64)), at(543));
        assert!(schedule.request(at(65)));
        assert!(schedule.due_in(at(65)).is_zero());
        // A failed fetch counts as well.
        schedule.start(at(0));
        schedule.finish(false, at(65));
        assert!(!schedule.request(at(124)) && schedule.request(at(125)));
    }
}
