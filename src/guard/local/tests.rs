//! Tests of the guard in this process: admission, counts and expiry.

use std::time::Duration;

use futures_util::FutureExt as _;

use super::*;
use crate::{
    guard::rules::{Quota, Rate},
    proto::{exchange::PresentedToken, principal::Principal, time::UnixSeconds, token::Id},
};

/// 2026-11-21T00:00:00Z, the start of a day and of an hour.
const DAY: u64 = 1_795_219_200;

fn at(seconds: u64) -> Moment {
    Moment { now: UnixSeconds(DAY + seconds), elapsed: Duration::from_secs(seconds) }
}

fn request(name: &str, moment: Moment) -> AdmitRequest {
    AdmitRequest {
        purpose: GuardPurpose::Turn,
        principal: Principal::new(name, "none").unwrap(),
        peer: None,
        conversation: Id::new(UnixSeconds(0), [0; 16]),
        presented: None,
        brings_history: false,
        moment,
    }
}

/// A turn that continues a conversation.
fn continuing(name: &str, moment: Moment) -> AdmitRequest {
    let presented = PresentedToken {
        token_id: Id::new(UnixSeconds(0), [0; 16]),
        issued_at: UnixSeconds(0),
        expires_at: UnixSeconds(1),
        request: [0; 16],
    };
    AdmitRequest { presented: Some(presented), ..request(name, moment) }
}

fn admit(guard: &LocalGuard, request: AdmitRequest) -> Result<LocalPermit, Error> {
    guard.admit(request).now_or_never().unwrap()
}

fn settle(permit: LocalPermit, end: TurnEnd) {
    permit.settle(end).now_or_never().unwrap();
}

fn refused(guard: &LocalGuard, request: AdmitRequest) -> (&'static str, Exhausted) {
    match admit(guard, request).unwrap_err() {
        error @ (Error::RateLimited(_) | Error::QuotaExceeded(_)) => {
            let code = error.code();
            let (Error::RateLimited(exhausted) | Error::QuotaExceeded(exhausted)) = error else { unreachable!() };
            (code, *exhausted)
        }
        other => panic!("{other}"),
    }
}

fn allowances(guard: &LocalGuard, name: &str, moment: Moment) -> Vec<Allowance> {
    let subject = LimitSubject::User(Principal::new(name, "none").unwrap());
    guard.allowances(subject, moment).now_or_never().unwrap().unwrap()
}

fn quota(period_seconds: u64) -> Quota {
    Quota {
        period_seconds,
        turns: None,
        conversations: None,
        model_tokens: None,
        history_bytes: None,
        upstream_seconds: None,
    }
}

fn hash() -> KeyedHash {
    KeyedHash::new([7; 32])
}

fn quotas(quotas: &[Quota]) -> LocalGuard {
    LocalGuard::new(Rules { quotas: quotas.to_vec(), max_concurrent_turns: 1_000, ..Rules::default() }, hash())
}

fn rated(turns: u64, seconds: u64, burst: u64) -> LocalGuard {
    let rate = Some(Rate { turns, period: Duration::from_secs(seconds), burst });
    LocalGuard::new(Rules { rate, max_concurrent_turns: 1_000, ..Rules::default() }, hash())
}

const fn used(model_tokens: u64, history_bytes: u64, upstream_millis: u64) -> Charge {
    Charge { model_tokens, history_bytes, upstream_millis }
}

/// The end of a turn that failed before any upstream call.
const FAILED: TurnEnd = TurnEnd::Failed(used(0, 0, 0));

#[test]
fn one_user_does_not_count_against_another() {
    let guard = LocalGuard::new(Rules { max_concurrent_turns: 2, ..Rules::default() }, hash());
    let admit = |name: &str| admit(&guard, request(name, Moment::default()));
    let (first, second) = (admit("alice").unwrap(), admit("alice").unwrap());
    assert_eq!(admit("alice").unwrap_err(), Error::UserBusy { limit: 2 });
    assert!(admit("bob").is_ok());
    drop(first);
    assert!(admit("alice").is_ok());
    drop(second);
    // No turn is in flight, and each lookup drops the callers that have no other counts.
    assert!(admit("carol").is_ok() && admit("carol").is_ok());
    assert_eq!(guard.lock().callers.len(), 1);
}

#[test]
fn the_rate_reports_when_the_next_turn_is_admitted() {
    let guard = rated(6, 60, 2);
    let first = admit(&guard, request("ada", at(0))).unwrap();
    let expected = Allowance { name: "rate", limit: 2, remaining: 1, period_seconds: 20, reset_seconds: 10 };
    assert_eq!(first.allowances(), [expected]);
    // The rate is not refunded, however the turn ends.
    settle(first, FAILED);
    drop(admit(&guard, request("ada", at(0))).unwrap());
    let (code, exhausted) = refused(&guard, request("ada", at(1)));
    let expected = Allowance { remaining: 0, reset_seconds: 19, ..expected };
    assert_eq!((code, exhausted.limit, exhausted.retry_after_seconds), ("rate_limited", expected, 9));
    assert_eq!(exhausted.allowances, [expected]);
    refused(&guard, request("ada", at(9)));
    assert!(admit(&guard, request("bob", at(9))).is_ok());
    assert!(admit(&guard, request("ada", at(10))).is_ok());
}

const READS: [GuardPurpose; 3] = [GuardPurpose::Count, GuardPurpose::Read, GuardPurpose::Revoke];

#[test]
fn reads_consume_their_rate_and_a_slot_and_nothing_of_turns() {
    let rate = |turns| Some(Rate { turns, period: Duration::from_secs(60), burst: turns });
    for purpose in READS {
        let day = Quota { turns: Some(1), conversations: Some(1), ..quota(86_400) };
        let rules = Rules { rate: rate(2), read_rate: rate(3), quotas: vec![day], ..Rules::default() };
        let guard = LocalGuard::new(Rules { max_concurrent_turns: 1, ..rules }, hash());
        let with = |purpose: GuardPurpose| AdmitRequest { purpose, ..request("ada", at(0)) };
        let names = |allowances: &[Allowance]| allowances.iter().map(|one| one.name).collect::<Vec<_>>();
        let reading = admit(&guard, with(purpose)).unwrap();
        assert_eq!(names(reading.allowances()), ["turns", "conversations", "read_rate"]);
        for other in [purpose, GuardPurpose::Turn] {
            assert_eq!(admit(&guard, with(other)).unwrap_err(), Error::UserBusy { limit: 1 });
        }
        settle(reading, FAILED);
        let left = || allowances(&guard, "ada", at(0)).iter().map(|one| one.remaining).collect::<Vec<_>>();
        assert_eq!(left(), [2, 1, 1, 2], "{purpose:?}");
        let turn = admit(&guard, with(GuardPurpose::Turn)).unwrap();
        assert_eq!(names(turn.allowances()), ["rate", "turns", "conversations"]);
        settle(turn, TurnEnd::Complete(Charge::default()));
        // The quota refuses turns, and no read.
        assert_eq!(refused(&guard, with(GuardPurpose::Turn)).0, "quota_exceeded");
        drop(admit(&guard, with(purpose)).unwrap());
        drop(admit(&guard, with(purpose)).unwrap());
        assert_eq!(left(), [1, 0, 0, 0], "{purpose:?}");
        for other in READS {
            let (code, exhausted) = refused(&guard, with(other));
            assert_eq!((code, exhausted.limit.name, exhausted.retry_after_seconds), ("rate_limited", "read_rate", 20));
        }
        assert!(admit(&guard, AdmitRequest { purpose, ..request("ada", at(20)) }).is_ok());
    }
}

#[test]
fn a_changed_read_rate_is_full_again() {
    let rules = |turns| Rules {
        read_rate: Some(Rate { turns, period: Duration::from_secs(60), burst: 1 }),
        ..Rules::default()
    };
    let guard = LocalGuard::new(rules(1), hash());
    let read = || admit(&guard, AdmitRequest { purpose: GuardPurpose::Read, ..request("ada", at(0)) });
    drop(read().unwrap());
    assert!(read().is_err());
    guard.set_rules(rules(1));
    assert!(read().is_err());
    guard.set_rules(rules(2));
    assert!(read().is_ok());
}

#[test]
fn a_quota_of_turns_is_exact_and_resets_with_its_period() {
    let guard = quotas(&[Quota { turns: Some(2), ..quota(3_600) }]);
    let left = |seconds: u64| allowances(&guard, "ada", at(seconds))[0];
    let full = Allowance { name: "turns", limit: 2, remaining: 2, period_seconds: 3_600, reset_seconds: 3_500 };
    assert_eq!(left(100), full);
    let first = admit(&guard, request("ada", at(100))).unwrap();
    assert_eq!(first.allowances(), [Allowance { remaining: 1, ..full }]);
    settle(admit(&guard, request("ada", at(100))).unwrap(), TurnEnd::Complete(Charge::default()));
    let (code, exhausted) = refused(&guard, request("ada", at(100)));
    assert_eq!((code, exhausted.retry_after_seconds), ("quota_exceeded", 3_500));
    assert_eq!(exhausted.limit, Allowance { remaining: 0, ..full });
    // A failed turn does not count.
    settle(first, FAILED);
    assert_eq!(left(100).remaining, 1);
    settle(admit(&guard, request("ada", at(100))).unwrap(), TurnEnd::Cut(Charge::default()));
    refused(&guard, request("ada", at(3_599)));
    assert!(admit(&guard, request("bob", at(3_599))).is_ok());
    assert!(admit(&guard, request("ada", at(3_600))).is_ok());
}

#[test]
fn only_a_turn_that_starts_a_conversation_counts_as_one() {
    let guard = quotas(&[Quota { conversations: Some(1), ..quota(86_400) }]);
    let begun = admit(&guard, request("ada", at(0))).unwrap();
    assert_eq!(begun.allowances()[0].remaining, 0);
    assert_eq!(refused(&guard, request("ada", at(0))).1.limit.name, "conversations");
    settle(admit(&guard, continuing("ada", at(0))).unwrap(), FAILED);
    assert_eq!(allowances(&guard, "ada", at(0))[0].remaining, 0);
    settle(begun, FAILED);
    assert_eq!(allowances(&guard, "ada", at(0))[0].remaining, 1);
}

#[test]
fn a_request_that_brings_its_earlier_turns_starts_no_conversation() {
    let guard = quotas(&[Quota { turns: Some(4), conversations: Some(1), ..quota(86_400) }]);
    let brings = || AdmitRequest { brings_history: true, ..request("ada", at(0)) };
    let left = || allowances(&guard, "ada", at(0)).iter().map(|allowance| allowance.remaining).collect::<Vec<_>>();
    settle(admit(&guard, request("ada", at(0))).unwrap(), TurnEnd::Complete(Charge::default()));
    assert_eq!(left(), [3, 0]);
    for turns in [2, 1] {
        settle(admit(&guard, brings()).unwrap(), TurnEnd::Complete(Charge::default()));
        assert_eq!(left(), [turns, 0]);
    }
    // A turn that fails gives back what it was charged.
    settle(admit(&guard, brings()).unwrap(), FAILED);
    assert_eq!(left(), [1, 0]);
    assert_eq!(refused(&guard, request("ada", at(0))).1.limit.name, "conversations");
    settle(admit(&guard, brings()).unwrap(), TurnEnd::Complete(Charge::default()));
    assert_eq!(refused(&guard, brings()).1.limit.name, "turns");
}

#[test]
fn usage_counts_in_the_period_in_which_the_turn_was_admitted() {
    let hour = Quota { model_tokens: Some(10), history_bytes: Some(100), upstream_seconds: Some(2), ..quota(3_600) };
    for (name, takes) in [
        ("model_tokens", [used(9, 0, 0), used(1, 0, 0)]),
        ("history_bytes", [used(0, 99, 0), used(0, 1, 0)]),
        ("upstream_seconds", [used(0, 0, 1_999), used(0, 0, 1)]),
    ] {
        let guard = quotas(&[hour]);
        let left = |seconds: u64| {
            let allowances = allowances(&guard, "ada", at(seconds));
            allowances.iter().find(|allowance| allowance.name == name).unwrap().remaining
        };
        for (take, remaining) in takes.into_iter().zip([1, 0]) {
            let late = admit(&guard, request("ada", at(0))).unwrap();
            settle(admit(&guard, request("ada", at(0))).unwrap(), TurnEnd::Complete(take));
            assert_eq!(left(0), remaining, "{name}");
            settle(late, FAILED);
        }
        let (code, exhausted) = refused(&guard, continuing("ada", at(60)));
        assert_eq!((code, exhausted.limit.name, exhausted.retry_after_seconds), ("quota_exceeded", name, 3_540));
        let late = admit(&guard, request("bob", at(3_599))).unwrap();
        settle(admit(&guard, request("bob", at(3_600))).unwrap(), TurnEnd::Cut(used(1, 1, 1)));
        settle(late, TurnEnd::Complete(used(50, 500, 50_000)));
        assert!(admit(&guard, request("bob", at(3_600))).is_ok());
        assert!(admit(&guard, request("ada", at(3_600))).is_ok());
    }
}

#[test]
fn all_periods_count_and_the_longest_wait_is_reported() {
    let guard = quotas(&[Quota { turns: Some(1), ..quota(60) }, Quota { turns: Some(2), ..quota(3_600) }]);
    let turn = |seconds: u64| {
        settle(admit(&guard, request("ada", at(seconds))).unwrap(), TurnEnd::Complete(Charge::default()))
    };
    turn(0);
    let (_, exhausted) = refused(&guard, request("ada", at(1)));
    assert_eq!((exhausted.limit.period_seconds, exhausted.retry_after_seconds), (60, 59));
    assert_eq!(exhausted.allowances.len(), 2);
    turn(60);
    let (_, exhausted) = refused(&guard, request("ada", at(61)));
    assert_eq!((exhausted.limit.period_seconds, exhausted.retry_after_seconds), (3_600, 3_539));
    turn(3_600);
}

#[test]
fn a_refused_turn_consumes_nothing() {
    let rate = Some(Rate { turns: 100, period: Duration::from_secs(100), burst: 100 });
    let minute = Quota { turns: Some(1), ..quota(60) };
    let hour = Quota { turns: Some(50), ..quota(3_600) };
    let guard = LocalGuard::new(
        Rules { rate, quotas: vec![minute, hour], max_concurrent_turns: 2, ..Rules::default() },
        hash(),
    );
    let held = admit(&guard, request("ada", at(0))).unwrap();
    let before = allowances(&guard, "ada", at(0));
    for _ in 0..200 {
        refused(&guard, request("ada", at(0)));
    }
    assert_eq!(allowances(&guard, "ada", at(0)), before);
    // In the next minute a turn and a slot are left; in the one after, a turn and no slot.
    let also_held = admit(&guard, request("ada", at(60))).unwrap();
    let before = allowances(&guard, "ada", at(120));
    for _ in 0..200 {
        assert_eq!(admit(&guard, request("ada", at(120))).unwrap_err(), Error::UserBusy { limit: 2 });
    }
    assert_eq!(allowances(&guard, "ada", at(120)), before);
    drop((held, also_held));
    assert!(admit(&guard, request("ada", at(120))).is_ok());
}

#[test]
fn every_end_counts_its_charge_and_only_a_failed_turn_is_refunded() {
    let minute = Quota { turns: Some(9), model_tokens: Some(100), upstream_seconds: Some(60), ..quota(60) };
    let guard = quotas(&[Quota { history_bytes: Some(1_000), ..minute }]);
    let left = || allowances(&guard, "ada", at(0)).iter().map(|allowance| allowance.remaining).collect::<Vec<_>>();
    let permit = || admit(&guard, request("ada", at(0))).unwrap();
    let charge = used(7, 90, 2_000);
    drop(permit());
    assert_eq!(left(), [9, 100, 1_000, 60]);
    settle(permit(), TurnEnd::Failed(used(7, 0, 2_000)));
    assert_eq!(left(), [9, 93, 1_000, 58]);
    settle(permit(), TurnEnd::Cut(charge));
    assert_eq!(left(), [8, 86, 910, 56]);
    permit().settle_later(TurnEnd::ClientLeft(charge));
    assert_eq!(left(), [7, 79, 820, 54]);
    permit().settle_later(TurnEnd::Failed(used(7, 0, 2_000)));
    assert_eq!(left(), [7, 72, 820, 52]);
    settle(permit(), TurnEnd::Complete(charge));
    assert_eq!(left(), [6, 65, 730, 50]);
    let count = AdmitRequest { purpose: GuardPurpose::Count, ..request("ada", at(0)) };
    settle(admit(&guard, count).unwrap(), TurnEnd::Failed(used(0, 0, 1_000)));
    assert_eq!(left(), [6, 65, 730, 49], "a count is charged for its time only");
    let state = guard.lock();
    let key = state.callers.key(&request("ada", at(0)).subject());
    assert_eq!(state.callers.find(key).unwrap().in_flight, 0);
}

#[test]
fn a_clock_set_back_refills_no_quota_and_one_that_was_ahead_locks_no_caller_out() {
    let guard = quotas(&[Quota { turns: Some(1), ..quota(3_600) }]);
    let turn = |seconds: u64| {
        admit(&guard, request("ada", at(seconds))).map(|permit| settle(permit, TurnEnd::Complete(Charge::default())))
    };
    turn(3_600).unwrap();
    assert!(turn(3_599).is_err() && turn(3_600).is_err());
    let (_, exhausted) = refused(&guard, request("ada", at(3_599)));
    assert_eq!(exhausted.retry_after_seconds, 3_601);
    turn(360_000).unwrap();
    turn(7_200).unwrap();
    assert!(turn(7_200).is_err());
}

#[test]
fn new_rules_keep_the_counts_of_their_periods() {
    let rate = |turns: u64| Some(Rate { turns, period: Duration::from_secs(60), burst: 1 });
    let rules = |turns: u64, limit: u64| Rules {
        rate: rate(turns),
        quotas: vec![Quota { turns: Some(limit), ..quota(3_600) }],
        ..Rules::default()
    };
    let guard = LocalGuard::new(rules(1, 2), hash());
    let held = admit(&guard, request("ada", at(0))).unwrap();
    guard.set_rules(Rules { max_concurrent_turns: 1, ..rules(1, 2) });
    assert_eq!(guard.max_concurrent_turns(), 1);
    let left =
        |seconds: u64| allowances(&guard, "ada", at(seconds)).iter().map(|one| one.remaining).collect::<Vec<_>>();
    assert_eq!(left(0), [0, 1]);
    assert_eq!(refused(&guard, request("ada", at(0))).0, "rate_limited");
    assert_eq!(admit(&guard, request("ada", at(60))).unwrap_err(), Error::UserBusy { limit: 1 });
    guard.set_rules(rules(2, 1));
    assert_eq!(left(0), [1, 0]);
    settle(held, FAILED);
    assert_eq!(left(0), [1, 1]);
}

#[test]
fn expired_callers_are_dropped() {
    let rate = Some(Rate { turns: 1, period: Duration::from_secs(60), burst: 1 });
    let quotas = vec![Quota { turns: Some(5), ..quota(3_600) }];
    let guard = LocalGuard::new(Rules { rate, quotas, ..Rules::default() }, hash());
    let turn = |name: &str, seconds: u64, end| settle(admit(&guard, request(name, at(seconds))).unwrap(), end);
    for user in 0..1_000 {
        turn(&format!("user{user}"), 0, TurnEnd::Complete(Charge::default()));
        turn(&format!("failed{user}"), 0, FAILED);
    }
    let held = admit(&guard, request("held", at(0))).unwrap();
    assert_eq!(guard.lock().callers.len(), 2_001);
    // A caller whose turn failed expires when the rate is full again, a caller with a complete turn
    // when the hour is over. The requests below inspect all entries.
    let inspect = |seconds: u64| (0..2_000).for_each(|_| drop(admit(&guard, request("held", at(seconds)))));
    inspect(59);
    assert_eq!(guard.lock().callers.len(), 2_001);
    inspect(60);
    assert_eq!(guard.lock().callers.len(), 1_001);
    inspect(3_599);
    assert_eq!(guard.lock().callers.len(), 1_001);
    inspect(3_600);
    assert_eq!(guard.lock().callers.len(), 1);
    drop(held);
    turn("other", 7_200, FAILED);
    turn("other", 7_260, FAILED);
    assert_eq!(guard.lock().callers.len(), 1);
}

#[test]
fn a_flood_of_names_neither_grows_the_table_nor_drops_busy_callers() {
    let guard = quotas(&[Quota { turns: Some(10), ..quota(86_400) }]);
    guard.lock().callers = CallerTable::with_max_callers(100, hash());
    let turn = |name: &str| settle(admit(&guard, request(name, at(0))).unwrap(), TurnEnd::Complete(Charge::default()));
    (0..10).for_each(|_| turn("greedy"));
    let held = admit(&guard, request("held", at(0))).unwrap();
    for user in 0..10_000 {
        turn(&format!("user{user}"));
        assert!(guard.lock().callers.len() <= 100);
    }
    refused(&guard, request("greedy", at(0)));
    assert_eq!(allowances(&guard, "held", at(0))[0].remaining, 9);
    settle(held, FAILED);
    assert_eq!(allowances(&guard, "held", at(0))[0].remaining, 10);
    // Callers with turns in flight stay, even if all have some.
    let held: Vec<_> = (0..150).map(|user| admit(&guard, request(&format!("held{user}"), at(0))).unwrap()).collect();
    assert!(held.iter().all(|permit| permit.allowances()[0].remaining == 9));
    assert_eq!(guard.lock().callers.len(), 150);
}

#[cfg(not(target_arch = "wasm32"))]
mod properties {
    use std::collections::HashMap;

    use proptest::{prelude::*, test_runner::TestCaseError};

    use super::*;

    /// The next event, after a pause in milliseconds: a turn is requested, or one in flight ends.
    #[derive(Clone, Copy, Debug)]
    enum Event {
        Admit { user: usize, starts: bool },
        End { which: usize, how: usize, used: u64 },
    }

    fn event() -> impl Strategy<Value = (u64, Event)> {
        let admit = (0..2_usize, any::<bool>()).prop_map(|(user, starts)| Event::Admit { user, starts });
        let end =
            (any::<usize>(), 0..4_usize, 0..20_u64).prop_map(|(which, how, used)| Event::End { which, how, used });
        (0..4_000_u64, prop_oneof![3 => admit, 2 => end])
    }

    fn moment(millis: u64) -> Moment {
        Moment { now: UnixSeconds(DAY + millis / 1_000), elapsed: Duration::from_millis(millis) }
    }

    proptest! {
        #[test]
        fn no_window_admits_more_than_the_burst_and_its_share(
            turns in 1..50_u64, seconds in 1..90_u64, burst in 1..20_u64,
            steps in prop::collection::vec(0..5_000_u64, 1..200),
        ) {
            let guard = rated(turns, seconds, burst);
            let (mut millis, mut admitted) = (0, Vec::<u64>::new());
            for step in steps {
                millis += step;
                match admit(&guard, request("ada", moment(millis))) {
                    Ok(permit) => {
                        admitted.push(millis);
                        let rate = permit.allowances()[0];
                        prop_assert!(rate.remaining <= rate.limit && rate.reset_seconds <= rate.period_seconds);
                    }
                    Err(Error::RateLimited(exhausted)) => {
                        // The wait is exact: a whole second less is not enough.
                        let wait = exhausted.retry_after_seconds;
                        prop_assert!(wait >= 1 && exhausted.limit.remaining == 0);
                        let then = moment(millis + wait * 1_000);
                        prop_assert!(allowances(&guard, "ada", then)[0].remaining >= 1);
                        prop_assert_eq!(allowances(&guard, "ada", moment(millis + (wait - 1) * 1_000))[0].remaining, 0);
                    }
                    Err(other) => prop_assert!(false, "{}", other),
                }
            }
            for (first, begin) in admitted.iter().enumerate() {
                for (last, end) in admitted.iter().enumerate().skip(first) {
                    let most = burst + (end - begin) * turns / (seconds * 1_000);
                    prop_assert!((last - first + 1) as u64 <= most, "{begin}..{end}");
                }
            }
        }

        #[test]
        fn quotas_are_exact_however_turns_overlap(events in prop::collection::vec(event(), 1..120)) {
            let limits = Quota {
                turns: Some(6), conversations: Some(3), model_tokens: Some(40), ..quota(30)
            };
            let mut reference = Reference { guard: quotas(&[limits]), counts: HashMap::new(), in_flight: Vec::new() };
            let mut millis = 0;
            for (pause, event) in events {
                millis += pause;
                let now = moment(millis);
                match event {
                    Event::Admit { user, starts } => reference.admit(user, starts, now)?,
                    Event::End { which, how, used } => reference.end(which, how, used),
                }
                reference.check(now)?;
            }
        }
    }

    const USERS: [&str; 2] = ["ada", "bob"];

    /// A guard, and the counts that it must have.
    struct Reference {
        guard: LocalGuard,
        /// Turns, conversations and model tokens of each user and period.
        counts: HashMap<(usize, u64), [u64; 3]>,
        in_flight: Vec<InFlight>,
    }

    struct InFlight {
        permit: LocalPermit,
        key: (usize, u64),
        starts: bool,
    }

    impl Reference {
        fn admit(&mut self, user: usize, starts: bool, now: Moment) -> Result<(), TestCaseError> {
            let key = (user, now.now.0 / 30);
            let count = self.counts.entry(key).or_default();
            let fits = count[0] < 6 && (!starts || count[1] < 3) && count[2] < 40;
            let request = if starts { request(USERS[user], now) } else { continuing(USERS[user], now) };
            let outcome = admit(&self.guard, request);
            prop_assert_eq!(outcome.is_ok(), fits);
            if let Ok(permit) = outcome {
                count[0] += 1;
                count[1] += u64::from(starts);
                prop_assert_eq!(remaining(permit.allowances()), [6 - count[0], 3 - count[1], 40 - count[2]]);
                self.in_flight.push(InFlight { permit, key, starts });
            }
            Ok(())
        }

        fn end(&mut self, which: usize, how: usize, tokens: u64) {
            if self.in_flight.is_empty() {
                return;
            }
            let InFlight { permit, key, starts } = self.in_flight.swap_remove(which % self.in_flight.len());
            let count = self.counts.get_mut(&key).unwrap();
            match how {
                0 => {
                    settle(permit, TurnEnd::Failed(used(tokens, 0, 0)));
                    count[0] -= 1;
                    count[1] -= u64::from(starts);
                }
                1 => permit.settle_later(TurnEnd::ClientLeft(used(tokens, 0, 0))),
                2 => settle(permit, TurnEnd::Cut(used(tokens, 0, 0))),
                _ => settle(permit, TurnEnd::Complete(used(tokens, 0, 0))),
            }
            count[2] += tokens;
        }

        fn check(&self, now: Moment) -> Result<(), TestCaseError> {
            for (user, name) in USERS.into_iter().enumerate() {
                let count = self.counts.get(&(user, now.now.0 / 30)).copied().unwrap_or_default();
                let expected = [6 - count[0], 3 - count[1], 40_u64.saturating_sub(count[2])];
                prop_assert_eq!(remaining(&allowances(&self.guard, name, now)), expected);
            }
            Ok(())
        }
    }

    fn remaining(allowances: &[Allowance]) -> Vec<u64> {
        allowances.iter().map(|allowance| allowance.remaining).collect()
    }
}
