//! When an issuer's keys are fetched.
//!
//! ```text
//! start ─▶ fetch ─ whole ──▶ rest 10 min, or until somebody names a key that is not there ─▶ fetch …
//!            └──── failed ─▶ rest 1 s, 2 s, 4 s … 60 s ─▶ fetch …
//! ```
//! There is one fetch at a time. Strangers can name any key, so for their sake there is at most one in [`COOLDOWN`].

use std::time::Duration;

/// The age at which keys are fetched anew.
const MAX_AGE: Duration = Duration::from_secs(600);

/// The time between two fetches that unknown keys cause.
const COOLDOWN: Duration = Duration::from_secs(60);

/// The longest rest after a fetch that failed.
const REST_MAX_SECONDS: u64 = 60;

/// What is known of past fetches; times are since some fixed moment.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    /// Since when a fetch is under way.
    under_way: Option<Duration>,
    next: Duration,
    failures: u32,
    /// When an unknown key was last the cause.
    asked: Option<Duration>,
}

impl Schedule {
    /// How long to wait before the next fetch: not at all if it is due.
    pub(super) fn due_in(&self, now: Duration) -> Duration {
        self.next.saturating_sub(now)
    }

    /// Whether a fetch is under way, or should be.
    pub(super) fn is_coming(&self, now: Duration) -> bool {
        self.under_way.is_some() || self.due_in(now).is_zero()
    }

    /// A credential names a key that is not there; whether that makes a fetch due.
    pub(super) fn ask(&mut self, now: Duration) -> bool {
        if self.asked.is_some_and(|asked| now < asked.saturating_add(COOLDOWN)) {
            return false;
        }
        self.asked = Some(now);
        self.next = now;
        true
    }

    /// Whether somebody should fetch now: nobody is at it, or has been for as long as it may take. Who fetches may be
    /// gone without a word.
    pub(super) fn is_due(&self, now: Duration, limit: Duration) -> bool {
        self.due_in(now).is_zero() && self.under_way.is_none_or(|since| since.saturating_add(limit) <= now)
    }

    /// A fetch begins.
    pub(super) fn begin(&mut self, now: Duration) {
        self.under_way = Some(now);
    }

    /// Who began at `begun` has left, and nothing was fetched.
    pub(super) fn leave(&mut self, begun: Duration) {
        // Another may be at it by now.
        self.under_way = self.under_way.filter(|since| *since != begun);
    }

    /// The fetch under way is over.
    pub(super) fn end(&mut self, whole: bool, now: Duration) {
        self.under_way = None;
        let rest = if whole {
            self.failures = 0;
            MAX_AGE
        } else {
            let seconds = 1_u64.checked_shl(self.failures).unwrap_or(REST_MAX_SECONDS).min(REST_MAX_SECONDS);
            self.failures = self.failures.saturating_add(1);
            Duration::from_secs(seconds)
        };
        self.next = now.saturating_add(rest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn fetched(now: Duration) -> Schedule {
        let mut schedule = Schedule::default();
        schedule.begin(at(0));
        schedule.end(true, now);
        schedule
    }

    #[test]
    fn the_first_fetch_is_due_at_once() {
        let mut schedule = Schedule::default();
        assert!(schedule.due_in(at(0)).is_zero() && schedule.is_coming(at(0)));
        schedule.begin(at(0));
        assert!(schedule.is_coming(at(0)));
        schedule.end(true, at(1));
        assert!(!schedule.is_coming(at(1)));
    }

    #[test]
    fn keys_are_fetched_anew_at_ten_minutes() {
        let schedule = fetched(at(100));
        assert_eq!(schedule.due_in(at(100)), at(600));
        assert_eq!(schedule.due_in(at(699)), at(1));
        assert!(!schedule.is_coming(at(699)) && schedule.is_coming(at(700)) && schedule.is_coming(at(10_000)));
    }

    #[test]
    fn rests_after_failures_double_up_to_a_minute() {
        let mut schedule = fetched(at(0));
        let mut now = at(600);
        let mut rests = Vec::new();
        for _ in 0..100 {
            schedule.begin(at(0));
            schedule.end(false, now);
            rests.push(schedule.due_in(now).as_secs());
            now += schedule.due_in(now);
        }
        assert_eq!(rests[..8], [1, 2, 4, 8, 16, 32, 60, 60]);
        assert!(rests[8..].iter().all(|rest| *rest == 60));
        schedule.begin(at(0));
        schedule.end(true, now);
        assert_eq!(schedule.due_in(now), at(600));
        schedule.begin(at(0));
        schedule.end(false, now);
        assert_eq!(schedule.due_in(now), at(1));
    }

    #[test]
    fn a_fetch_that_nobody_ends_is_made_by_another() {
        let (mut schedule, limit) = (Schedule::default(), at(5));
        assert!(schedule.is_due(at(100), limit));
        schedule.begin(at(100));
        assert!(!schedule.is_due(at(104), limit) && schedule.is_due(at(105), limit));
        schedule.begin(at(105));
        assert!(!schedule.is_due(at(109), limit));
        schedule.leave(at(100));
        assert!(!schedule.is_due(at(109), limit), "the first to leave is not the last to fetch");
        schedule.leave(at(105));
        assert!(schedule.is_due(at(105), limit));
        schedule.end(true, at(106));
        assert!(!schedule.is_due(at(705), limit) && schedule.is_due(at(706), limit));
    }

    #[test]
    fn unknown_keys_cause_one_fetch_a_minute() {
        let mut schedule = fetched(at(0));
        assert!(schedule.ask(at(5)));
        assert!(schedule.due_in(at(5)).is_zero());
        schedule.begin(at(0));
        assert!((0..1_000).all(|_| !schedule.ask(at(6))));
        schedule.end(true, at(7));
        assert!(!schedule.ask(at(64)));
        assert_eq!(schedule.due_in(at(64)), at(543));
        assert!(schedule.ask(at(65)));
        assert!(schedule.due_in(at(65)).is_zero());
        // One that failed counts as well.
        schedule.begin(at(0));
        schedule.end(false, at(65));
        assert!(!schedule.ask(at(124)) && schedule.ask(at(125)));
    }
}
