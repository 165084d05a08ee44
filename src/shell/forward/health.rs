//! Whether an address is worth a call: one that fails again and again is left alone for a while, then tried by one call.
//!
//! ```text
//!         5 failures in a row            the pause is over
//! well ───────────────────────▶ ejected ───────────────────▶ on trial, by one call
//!   ▲                              ▲                           │
//!   │ it answers                   └── it fails: longer pause ─┤
//!   └──────────────────────────────────────────────────────────┘
//! ```
//! An answer that has begun is worth another call, but only a whole one makes good for failures: what cuts each reply
//! half-way fails each time.
//!
//! Time and chance are arguments.

use std::time::Duration;

/// What is known of one address.
#[derive(Clone, Debug, Default)]
pub(super) struct Health {
    /// Since the last call that worked.
    failures: u32,
    last_failure: Duration,
    /// Calls that were left before anything was heard, since the last answer; so many at most as do not yet eject.
    silences: u32,
    last_silence: Duration,
    /// In a row since the last failure.
    successes: u32,
    /// How often it was ejected since it last worked for a while.
    ejections: u32,
    /// Until when it is left alone; none while it is well.
    ejected_until: Option<Duration>,
    on_trial: bool,
}

/// Whether a call should go to an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HealthState {
    /// It has been failing, and is to be left alone until then.
    Ejected(Duration),
    /// It was left alone for long enough, and one call is to show what has become of it.
    Due,
    /// It works, as far as is known, but for so many failures and silences that were not long ago.
    Well(u32),
}

impl Health {
    /// How it stands at `now`.
    pub(super) fn standing(&self, now: Duration) -> HealthState {
        match self.ejected_until {
            None => {
                let of_late = |count, last| if now.saturating_sub(last) < FAILURE_FADES { count } else { 0 };
                let failures: u32 = of_late(self.failures, self.last_failure);
                HealthState::Well(failures.saturating_add(of_late(self.silences, self.last_silence)))
            }
            Some(until) if until <= now && !self.on_trial => HealthState::Due,
            Some(until) => HealthState::Ejected(until),
        }
    }

    /// A call goes there; says whether it is the one that tries it.
    pub(super) fn call(&mut self, now: Duration) -> bool {
        let tries = self.standing(now) == HealthState::Due;
        self.on_trial |= tries;
        tries
    }

    /// Something of an answer has come; `tried` is what [`Self::call`] said of its call.
    pub(super) fn answers(&mut self, tried: bool) {
        self.on_trial &= !tried;
        self.ejected_until = None;
        self.silences = 0;
    }

    /// A call has worked, to its end.
    pub(super) fn worked(&mut self) {
        self.failures = 0;
        self.successes = self.successes.saturating_add(1);
        if self.successes >= RUN {
            self.ejections = 0;
        }
    }

    /// A call has failed; `tried` is what [`Self::call`] said of it, `chance` any number.
    pub(super) fn failed(&mut self, tried: bool, now: Duration, chance: u32) {
        self.on_trial &= !tried;
        self.last_failure = now;
        self.failures = self.failures.saturating_add(1);
        self.successes = 0;
        // While it is left alone, calls that had begun before say nothing new.
        let is_well = self.ejected_until.is_none();
        if tried || (is_well && self.failures >= RUN) {
            self.ejected_until = Some(now.saturating_add(pause(self.ejections, chance)));
            self.ejections = self.ejections.saturating_add(1);
        }
    }

    /// A call has ended without telling: the client left, after nothing was heard for `waited`. Clients may be impatient,
    /// and so that ejects nobody; but one that hangs is not to be everyone's first choice for that.
    pub(super) fn untold(&mut self, tried: bool, now: Duration, waited: Duration) {
        self.on_trial &= !tried;
        if waited > SILENCE {
            self.silences = self.silences.saturating_add(1).min(RUN - 1);
            self.last_silence = now;
        }
    }
}

/// How long an address is left alone that was ejected so often before: twice as long each time, and up to a quarter
/// longer, so that what failed together is not tried together.
fn pause(ejections: u32, chance: u32) -> Duration {
    let pause = PAUSE.saturating_mul(1 << ejections.min(16)).min(PAUSE_MOST);
    pause.saturating_add(pause.mul_f64(f64::from(chance) / f64::from(u32::MAX) / 4.0))
}

/// As many failures in a row eject, as many successes make good for earlier pauses.
const RUN: u32 = 5;
/// The first pause.
const PAUSE: Duration = Duration::from_secs(5);
/// The longest, chance aside.
const PAUSE_MOST: Duration = Duration::from_secs(300);
/// A call that is left sooner says nothing of an address.
const SILENCE: Duration = Duration::from_secs(1);
/// After this a failure does not count against an address that has others beside it.
const FAILURE_FADES: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const fn at(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    /// Fails as a call that is made now.
    fn fail(health: &mut Health, now: Duration) {
        let tried = health.call(now);
        health.failed(tried, now, 0);
    }

    /// Works as a call of which that was said.
    fn work(health: &mut Health, tried: bool) {
        health.answers(tried);
        health.worked();
    }

    #[test]
    fn five_failures_in_a_row_eject_and_a_success_between_forgives() {
        let mut health = Health::default();
        for count in 1..=4 {
            fail(&mut health, at(count));
            assert_eq!(health.standing(at(count)), HealthState::Well(u32::try_from(count).unwrap()));
        }
        work(&mut health, false);
        (5..=8).for_each(|count| fail(&mut health, at(count)));
        assert_eq!(health.standing(at(8)), HealthState::Well(4));
        assert_eq!(health.standing(at(10_008)), HealthState::Well(0), "long ago");
        fail(&mut health, at(10_009));
        assert_eq!(health.standing(at(10_009)), HealthState::Ejected(at(15_009)));
    }

    #[test]
    fn after_its_pause_one_call_tries_it() {
        let mut health = Health::default();
        (0..5).for_each(|_| fail(&mut health, at(0)));
        assert_eq!(health.standing(at(4_999)), HealthState::Ejected(at(5_000)));
        assert_eq!(health.standing(at(5_000)), HealthState::Due);
        assert!(health.call(at(5_000)));
        assert_eq!(health.standing(at(5_000)), HealthState::Ejected(at(5_000)), "one call at a time");
        assert!(!health.call(at(5_000)));
        health.untold(true, at(5_001), at(1));
        assert_eq!(health.standing(at(5_001)), HealthState::Due, "who left has not tried it");
        assert!(health.call(at(5_001)));
        health.answers(true);
        assert_eq!(health.standing(at(5_002)), HealthState::Well(5), "more calls, but not the first choice");
        health.worked();
        assert_eq!(health.standing(at(5_003)), HealthState::Well(0));
    }

    #[test]
    fn silence_counts_against_it_for_a_while_and_never_ejects() {
        let mut health = Health::default();
        health.untold(false, at(0), at(1_000));
        assert_eq!(health.standing(at(0)), HealthState::Well(0), "it had no time to answer");
        for count in [1, 2, 3, 4, 4, 4] {
            health.untold(false, at(0), at(1_001));
            assert_eq!(health.standing(at(9_999)), HealthState::Well(count));
        }
        assert_eq!(health.standing(at(10_000)), HealthState::Well(0));
        fail(&mut health, at(5));
        assert_eq!(health.standing(at(5)), HealthState::Well(5), "a failure is but one");
        health.answers(false);
        assert_eq!(health.standing(at(5)), HealthState::Well(1));
    }

    #[test]
    fn what_cuts_each_reply_half_way_is_ejected_and_again_after_its_trial() {
        let mut health = Health::default();
        let cut = |health: &mut Health, now| {
            let tried = health.call(now);
            health.answers(tried);
            health.failed(false, now, 0);
        };
        (0..4).for_each(|_| cut(&mut health, at(0)));
        assert_eq!(health.standing(at(0)), HealthState::Well(4));
        cut(&mut health, at(0));
        assert_eq!(health.standing(at(0)), HealthState::Ejected(at(5_000)));
        cut(&mut health, at(5_000));
        assert_eq!(health.standing(at(5_000)), HealthState::Ejected(at(15_000)), "for twice as long");
    }

    #[test]
    fn pauses_double_up_to_their_bound_and_chance_makes_them_longer() {
        let mut health = Health::default();
        let mut now = at(0);
        (0..5).for_each(|_| fail(&mut health, now));
        for seconds in [5, 10, 20, 40, 80, 160, 300, 300] {
            let until = now + Duration::from_secs(seconds);
            assert_eq!(health.standing(now), HealthState::Ejected(until));
            now = until;
            fail(&mut health, now);
        }
        assert_eq!(pause(0, u32::MAX), Duration::from_millis(6_250));
        assert_eq!(pause(99, u32::MAX), Duration::from_secs(375));
    }

    proptest! {
        #[test]
        fn nobody_is_left_alone_for_good_and_one_call_at_a_time_tries(
            acts in prop::collection::vec((0_u8..5, 0_u64..400_000, any::<u32>()), 1..200),
        ) {
            let (mut health, mut now, mut trial) = (Health::default(), Duration::ZERO, false);
            for (act, millis, chance) in acts {
                now += at(millis / 100);
                match act {
                    0 => {
                        let tries = health.call(now);
                        prop_assert!(!(tries && trial), "one at a time");
                        trial |= tries;
                    }
                    1 => health.answers(std::mem::take(&mut trial)),
                    2 => health.worked(),
                    3 => health.failed(std::mem::take(&mut trial), now, chance),
                    _ => health.untold(std::mem::take(&mut trial), now, at(millis)),
                }
                if let HealthState::Ejected(until) = health.standing(now) {
                    prop_assert!(until <= now + PAUSE_MOST + PAUSE_MOST / 4);
                    let later = health.standing(until);
                    prop_assert!(trial || later == HealthState::Due, "{later:?}");
                }
            }
            work(&mut health, trial);
            prop_assert_eq!(health.standing(now), HealthState::Well(0));
        }
    }

    #[test]
    fn what_began_before_the_pause_does_not_lengthen_it() {
        let mut health = Health::default();
        (0..5).for_each(|_| fail(&mut health, at(0)));
        for _ in 0..60 {
            health.failed(false, at(100), 0);
        }
        assert_eq!(health.standing(at(100)), HealthState::Ejected(at(5_000)));
    }

    #[test]
    fn one_that_flaps_is_left_alone_for_longer_each_time_and_forgiven_after_a_run() {
        let mut health = Health::default();
        let mut now = at(0);
        for seconds in [5, 10, 20] {
            (0..5).for_each(|_| fail(&mut health, now));
            now += Duration::from_secs(seconds);
            assert_eq!(health.standing(now), HealthState::Due);
            assert!(health.call(now));
            work(&mut health, true);
        }
        (0..4).for_each(|_| work(&mut health, false));
        (0..5).for_each(|_| fail(&mut health, now));
        assert_eq!(health.standing(now), HealthState::Ejected(now + Duration::from_secs(5)));
    }
}
