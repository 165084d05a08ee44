//! The health of one address: after repeated failures it is ejected for a while, then tried by one
//! call.
//!
//! ```text
//!            5 failures in a row            the pause is over
//! healthy ───────────────────────▶ ejected ───────────────────▶ on trial, by one call
//!   ▲                                 ▲                           │
//!   │ it responds                     └── it fails: longer pause ─┤
//!   └─────────────────────────────────────────────────────────────┘
//! ```
//! An address that starts a reply may get more calls, but only a complete reply resets the count of
//! failures: an address that interrupts each reply fails each time.
//!
//! Time and random numbers are arguments.

use std::time::Duration;

/// The calls of one address so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Health {
    /// Failures since the last call that succeeded.
    failures: u32,
    last_failure: Duration,
    /// Calls that were abandoned without a response, since the last response. At most one less than
    /// would eject.
    silences: u32,
    last_silence: Duration,
    /// Successes in a row since the last failure.
    successes: u32,
    /// Ejections since the last run of successes.
    ejections: u32,
    /// The end of the pause, `None` while the address is healthy.
    ejected_until: Option<Duration>,
    on_trial: bool,
}

/// The state of an address, by which calls are assigned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HealthState {
    /// It failed repeatedly, and gets no calls until this time.
    Ejected(Duration),
    /// It is healthy, with this many recent failures and silences.
    Healthy(u32),
    /// Its pause is over, and one call is to try it.
    TrialDue,
}

impl Health {
    /// The state at the time `now`.
    pub(super) fn state(&self, now: Duration) -> HealthState {
        match self.ejected_until {
            None => {
                let recent = |count, last| if now.saturating_sub(last) < FAILURE_MEMORY { count } else { 0 };
                let failures: u32 = recent(self.failures, self.last_failure);
                HealthState::Healthy(failures.saturating_add(recent(self.silences, self.last_silence)))
            }
            Some(until) if until <= now && !self.on_trial => HealthState::TrialDue,
            Some(until) => HealthState::Ejected(until),
        }
    }

    /// Records the start of a call. Returns true if the call is the trial of an ejected address.
    pub(super) fn call(&mut self, now: Duration) -> bool {
        let is_trial = self.state(now) == HealthState::TrialDue;
        self.on_trial |= is_trial;
        is_trial
    }

    /// Records that a part of a response has arrived. `is_trial` is the result of [`Self::call`]
    /// for this call.
    pub(super) fn respond(&mut self, is_trial: bool) {
        self.on_trial &= !is_trial;
        self.ejected_until = None;
        self.silences = 0;
    }

    /// Records that a call succeeded.
    pub(super) fn succeed(&mut self) {
        self.failures = 0;
        self.successes = self.successes.saturating_add(1);
        if self.successes >= RUN {
            self.ejections = 0;
        }
    }

    /// Records that a call failed. `is_trial` is the result of [`Self::call`] for this call, and
    /// `jitter` a random number.
    pub(super) fn fail(&mut self, is_trial: bool, now: Duration, jitter: u32) {
        self.on_trial &= !is_trial;
        self.last_failure = now;
        self.failures = self.failures.saturating_add(1);
        self.successes = 0;
        // While the address is ejected, calls that started before say nothing new.
        let is_healthy = self.ejected_until.is_none();
        if is_trial || (is_healthy && self.failures >= RUN) {
            self.ejected_until = Some(now.saturating_add(pause(self.ejections, jitter)));
            self.ejections = self.ejections.saturating_add(1);
        }
    }

    /// Records that a call ended without a verdict: the client left, after `silence` without a
    /// response. Impatient clients must not eject an address. But an address that does not respond
    /// must not stay the first choice either.
    pub(super) fn abandon(&mut self, is_trial: bool, now: Duration, silence: Duration) {
        self.on_trial &= !is_trial;
        if silence > SILENCE_MIN {
            self.silences = self.silences.saturating_add(1).min(RUN - 1);
            self.last_silence = now;
        }
    }
}

/// The pause after this many earlier ejections. It doubles each time. A random part of up to a
/// quarter keeps addresses that failed together from being tried together.
fn pause(ejections: u32, jitter: u32) -> Duration {
    let pause = PAUSE_FIRST.saturating_mul(1 << ejections.min(16)).min(PAUSE_MAX);
    pause.saturating_add(pause.mul_f64(f64::from(jitter) / f64::from(u32::MAX) / 4.0))
}

/// The failures in a row that eject an address, and the successes in a row after which earlier
/// ejections are forgotten.
const RUN: u32 = 5;
/// The first pause.
const PAUSE_FIRST: Duration = Duration::from_secs(5);
/// The longest pause, without its random part.
const PAUSE_MAX: Duration = Duration::from_secs(300);
/// A call that is abandoned sooner than this says nothing about its address.
const SILENCE_MIN: Duration = Duration::from_secs(1);
/// How long a failure or silence ranks an address below the others of its upstream.
const FAILURE_MEMORY: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const fn at(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    /// Makes a call that fails immediately.
    fn fail(health: &mut Health, now: Duration) {
        let is_trial = health.call(now);
        health.fail(is_trial, now, 0);
    }

    /// Ends a call that succeeds.
    fn succeed(health: &mut Health, is_trial: bool) {
        health.respond(is_trial);
        health.succeed();
    }

    #[test]
    fn five_failures_in_a_row_eject_and_a_success_resets_the_count() {
        let mut health = Health::default();
        for count in 1..=4 {
            fail(&mut health, at(count));
            assert_eq!(health.state(at(count)), HealthState::Healthy(u32::try_from(count).unwrap()));
        }
        succeed(&mut health, false);
        (5..=8).for_each(|count| fail(&mut health, at(count)));
        assert_eq!(health.state(at(8)), HealthState::Healthy(4));
        assert_eq!(health.state(at(10_008)), HealthState::Healthy(0), "not recent");
        fail(&mut health, at(10_009));
        assert_eq!(health.state(at(10_009)), HealthState::Ejected(at(15_009)));
    }

    #[test]
    fn after_the_pause_one_call_is_the_trial() {
        let mut health = Health::default();
        (0..5).for_each(|_| fail(&mut health, at(0)));
        assert_eq!(health.state(at(4_999)), HealthState::Ejected(at(5_000)));
        assert_eq!(health.state(at(5_000)), HealthState::TrialDue);
        assert!(health.call(at(5_000)));
        assert_eq!(health.state(at(5_000)), HealthState::Ejected(at(5_000)), "one call at a time");
        assert!(!health.call(at(5_000)));
        health.abandon(true, at(5_001), at(1));
        assert_eq!(health.state(at(5_001)), HealthState::TrialDue, "an abandoned call is no trial");
        assert!(health.call(at(5_001)));
        health.respond(true);
        assert_eq!(health.state(at(5_002)), HealthState::Healthy(5), "healthy, but not the first choice");
        health.succeed();
        assert_eq!(health.state(at(5_003)), HealthState::Healthy(0));
    }

    #[test]
    fn silence_counts_for_a_while_and_never_ejects() {
        let mut health = Health::default();
        health.abandon(false, at(0), at(1_000));
        assert_eq!(health.state(at(0)), HealthState::Healthy(0), "too short");
        for count in [1, 2, 3, 4, 4, 4] {
            health.abandon(false, at(0), at(1_001));
            assert_eq!(health.state(at(9_999)), HealthState::Healthy(count));
        }
        assert_eq!(health.state(at(10_000)), HealthState::Healthy(0));
        fail(&mut health, at(5));
        assert_eq!(health.state(at(5)), HealthState::Healthy(5), "a failure counts once");
        health.respond(false);
        assert_eq!(health.state(at(5)), HealthState::Healthy(1));
    }

    #[test]
    fn an_address_that_interrupts_each_reply_is_ejected_again_after_its_trial() {
        let mut health = Health::default();
        let cut = |health: &mut Health, now| {
            let is_trial = health.call(now);
            health.respond(is_trial);
            health.fail(false, now, 0);
        };
        (0..4).for_each(|_| cut(&mut health, at(0)));
        assert_eq!(health.state(at(0)), HealthState::Healthy(4));
        cut(&mut health, at(0));
        assert_eq!(health.state(at(0)), HealthState::Ejected(at(5_000)));
        cut(&mut health, at(5_000));
        assert_eq!(health.state(at(5_000)), HealthState::Ejected(at(15_000)), "twice as long");
    }

    #[test]
    fn pauses_double_up_to_their_maximum_and_have_a_random_part() {
        let mut health = Health::default();
        let mut now = at(0);
        (0..5).for_each(|_| fail(&mut health, now));
        for seconds in [5, 10, 20, 40, 80, 160, 300, 300] {
            let until = now + Duration::from_secs(seconds);
            assert_eq!(health.state(now), HealthState::Ejected(until));
            now = until;
            fail(&mut health, now);
        }
        assert_eq!(pause(0, u32::MAX), Duration::from_millis(6_250));
        assert_eq!(pause(99, u32::MAX), Duration::from_secs(375));
    }

    proptest! {
        #[test]
        fn every_ejection_ends_and_one_call_at_a_time_is_the_trial(
            acts in prop::collection::vec((0_u8..5, 0_u64..400_000, any::<u32>()), 1..200),
        ) {
            let (mut health, mut now, mut trial) = (Health::default(), Duration::ZERO, false);
            for (act, millis, jitter) in acts {
                now += at(millis / 100);
                match act {
                    0 => {
                        let tries = health.call(now);
                        prop_assert!(!(tries && trial), "one trial at a time");
                        trial |= tries;
                    }
                    1 => health.respond(std::mem::take(&mut trial)),
                    2 => health.succeed(),
                    3 => health.fail(std::mem::take(&mut trial), now, jitter),
                    _ => health.abandon(std::mem::take(&mut trial), now, at(millis)),
                }
                if let HealthState::Ejected(until) = health.state(now) {
                    prop_assert!(until <= now + PAUSE_MAX + PAUSE_MAX / 4);
                    let later = health.state(until);
                    prop_assert!(trial || later == HealthState::TrialDue, "{later:?}");
                }
            }
            succeed(&mut health, trial);
            prop_assert_eq!(health.state(now), HealthState::Healthy(0));
        }
    }

    #[test]
    fn failures_of_calls_from_before_the_pause_do_not_lengthen_it() {
        let mut health = Health::default();
        (0..5).for_each(|_| fail(&mut health, at(0)));
        for _ in 0..60 {
            health.fail(false, at(100), 0);
        }
        assert_eq!(health.state(at(100)), HealthState::Ejected(at(5_000)));
    }

    #[test]
    fn repeated_ejections_grow_longer_until_a_run_of_successes() {
        let mut health = Health::default();
        let mut now = at(0);
        for seconds in [5, 10, 20] {
            (0..5).for_each(|_| fail(&mut health, now));
            now += Duration::from_secs(seconds);
            assert_eq!(health.state(now), HealthState::TrialDue);
            assert!(health.call(now));
            succeed(&mut health, true);
        }
        (0..4).for_each(|_| succeed(&mut health, false));
        (0..5).for_each(|_| fail(&mut health, now));
        assert_eq!(health.state(now), HealthState::Ejected(now + Duration::from_secs(5)));
    }
}
