//! Tests of what the guard in process admits, counts and forgets.

use std::time::Duration;

use futures_util::FutureExt as _;

use super::*;
use crate::{
    guard::{Quota, Rate},
    proto::{exchange::PresentedToken, principal::Principal, time::UnixSeconds, token::Id},
};

/// 2026-11-21T00:00:00Z, the start of a day and of an hour.
const DAY: u64 = 1_795_219_200;

fn at(seconds: u64) -> Moment {
    Moment { now: UnixSeconds(DAY + seconds), elapsed: Duration::from_secs(seconds) }
}

fn ask(name: &str, moment: Moment) -> AdmitRequest {
    AdmitRequest {
        purpose: GuardPurpose::Turn,
        principal: Principal::new(name, "none").unwrap(),
        peer: None,
        conversation: Id::new(UnixSeconds(0), [0; 16]),
        presented: None,
        moment,
    }
}

/// A turn that continues a conversation.
fn going_on(name: &str, moment: Moment) -> AdmitRequest {
    let presented = PresentedToken {
        token_id: Id::new(UnixSeconds(0), [0; 16]),
        issued_at: UnixSeconds(0),
        expires_at: UnixSeconds(1),
        input: [0; 16],
    };
    AdmitRequest { presented: Some(presented), ..ask(name, moment) }
}

fn admit(guard: &LocalGuard, ask: AdmitRequest) -> Result<LocalPermit, Error> {
    guard.admit(ask).now_or_never().unwrap()
}

fn settle(permit: LocalPermit, ending: TurnEnd) {
    permit.settle(ending).now_or_never().unwrap();
}

fn refused(guard: &LocalGuard, ask: AdmitRequest) -> (&'static str, Exhausted) {
    match admit(guard, ask).unwrap_err() {
        error @ (Error::RateLimited(_) | Error::QuotaExceeded(_)) => {
            let code = error.code();
            let (Error::RateLimited(exhausted) | Error::QuotaExceeded(exhausted)) = error else { unreachable!() };
            (code, *exhausted)
        }
        other => panic!("{other}"),
    }
}

fn standing(guard: &LocalGuard, name: &str, moment: Moment) -> Vec<Allowance> {
    let counted = LimitSubject::User(Principal::new(name, "none").unwrap());
    guard.standing(counted, moment).now_or_never().unwrap().unwrap()
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

fn seed() -> Seed {
    Seed::new([7; 32])
}

fn quotas(quotas: &[Quota]) -> LocalGuard {
    LocalGuard::new(Rules { quotas: quotas.to_vec(), turns_at_once: 1_000, ..Rules::default() }, seed())
}

fn rated(turns: u64, seconds: u64, burst: u64) -> LocalGuard {
    let rate = Some(Rate { turns, period: Duration::from_secs(seconds), burst });
    LocalGuard::new(Rules { rate, turns_at_once: 1_000, ..Rules::default() }, seed())
}

fn used(model_tokens: u64, history_bytes: u64, upstream_millis: u64) -> Charge {
    Charge { model_tokens, history_bytes, upstream_millis }
}

#[test]
fn one_user_does_not_count_against_another() {
    let guard = LocalGuard::new(Rules { turns_at_once: 2, ..Rules::default() }, seed());
    let admit = |name: &str| admit(&guard, ask(name, Moment::default()));
    let (first, second) = (admit("alice").unwrap(), admit("alice").unwrap());
    assert_eq!(admit("alice").unwrap_err(), Error::UserBusy { limit: 2 });
    assert!(admit("bob").is_ok());
    drop(first);
    assert!(admit("alice").is_ok());
    drop(second);
    // Nobody has a turn under way, and each look-up drops those of whom nothing else is known.
    assert!(admit("carol").is_ok() && admit("carol").is_ok());
    assert_eq!(guard.lock().ledger.len(), 1);
}

#[test]
fn a_rate_says_when_the_next_turn_may_come() {
    let guard = rated(6, 60, 2);
    let first = admit(&guard, ask("ada", at(0))).unwrap();
    let told = Allowance { name: "rate", limit: 2, remaining: 1, period_seconds: 20, reset_seconds: 10 };
    assert_eq!(first.standing(), [told]);
    // What the rate gave is not given back, however the turn ends.
    settle(first, TurnEnd::Failed);
    drop(admit(&guard, ask("ada", at(0))).unwrap());
    let (code, exhausted) = refused(&guard, ask("ada", at(1)));
    let told = Allowance { remaining: 0, reset_seconds: 19, ..told };
    assert_eq!((code, exhausted.limit, exhausted.retry_after_seconds), ("rate_limited", told, 9));
    assert_eq!(exhausted.standing, [told]);
    refused(&guard, ask("ada", at(9)));
    assert!(admit(&guard, ask("bob", at(9))).is_ok());
    assert!(admit(&guard, ask("ada", at(10))).is_ok());
}

#[test]
fn counting_takes_of_the_rate_and_a_place_and_reading_takes_nothing() {
    let rate = Some(Rate { turns: 2, period: Duration::from_secs(60), burst: 2 });
    let day = Quota { turns: Some(1), conversations: Some(1), ..quota(86_400) };
    let guard = LocalGuard::new(Rules { rate, quotas: vec![day], turns_at_once: 1, ..Rules::default() }, seed());
    let with = |purpose: GuardPurpose| AdmitRequest { purpose, ..ask("ada", at(0)) };
    let counting = admit(&guard, with(GuardPurpose::Count)).unwrap();
    for _ in 0..3 {
        let reading = admit(&guard, with(GuardPurpose::Read)).unwrap();
        assert_eq!(reading.standing(), []);
    }
    assert_eq!(admit(&guard, with(GuardPurpose::Turn)).unwrap_err(), Error::UserBusy { limit: 1 });
    settle(counting, TurnEnd::Failed);
    let left: Vec<_> = standing(&guard, "ada", at(0)).iter().map(|allowance| allowance.remaining).collect();
    assert_eq!(left, [1, 1, 1]);
    settle(admit(&guard, with(GuardPurpose::Turn)).unwrap(), TurnEnd::Complete(Charge::default()));
    // The day is used up, and so is the rate: the wait is the longer one. Counting waits for the rate alone.
    assert_eq!(refused(&guard, with(GuardPurpose::Turn)).0, "quota_exceeded");
    let (code, exhausted) = refused(&guard, with(GuardPurpose::Count));
    assert_eq!((code, exhausted.retry_after_seconds), ("rate_limited", 30));
}

#[test]
fn a_quota_of_turns_is_exact_and_comes_back_with_its_period() {
    let guard = quotas(&[Quota { turns: Some(2), ..quota(3_600) }]);
    let left = |seconds: u64| standing(&guard, "ada", at(seconds))[0];
    let full = Allowance { name: "turns", limit: 2, remaining: 2, period_seconds: 3_600, reset_seconds: 3_500 };
    assert_eq!(left(100), full);
    let first = admit(&guard, ask("ada", at(100))).unwrap();
    assert_eq!(first.standing(), [Allowance { remaining: 1, ..full }]);
    settle(admit(&guard, ask("ada", at(100))).unwrap(), TurnEnd::Complete(Charge::default()));
    let (code, exhausted) = refused(&guard, ask("ada", at(100)));
    assert_eq!((code, exhausted.retry_after_seconds), ("quota_exceeded", 3_500));
    assert_eq!(exhausted.limit, Allowance { remaining: 0, ..full });
    // A turn that fails was none.
    settle(first, TurnEnd::Failed);
    assert_eq!(left(100).remaining, 1);
    settle(admit(&guard, ask("ada", at(100))).unwrap(), TurnEnd::Cut(Charge::default()));
    refused(&guard, ask("ada", at(3_599)));
    assert!(admit(&guard, ask("bob", at(3_599))).is_ok());
    assert!(admit(&guard, ask("ada", at(3_600))).is_ok());
}

#[test]
fn only_a_turn_that_begins_a_conversation_takes_one() {
    let guard = quotas(&[Quota { conversations: Some(1), ..quota(86_400) }]);
    let begun = admit(&guard, ask("ada", at(0))).unwrap();
    assert_eq!(begun.standing()[0].remaining, 0);
    assert_eq!(refused(&guard, ask("ada", at(0))).1.limit.name, "conversations");
    settle(admit(&guard, going_on("ada", at(0))).unwrap(), TurnEnd::Failed);
    assert_eq!(standing(&guard, "ada", at(0))[0].remaining, 0);
    settle(begun, TurnEnd::Failed);
    assert_eq!(standing(&guard, "ada", at(0))[0].remaining, 1);
}

#[test]
fn what_a_turn_used_counts_afterwards_in_the_period_that_it_began_in() {
    let hour = Quota { model_tokens: Some(10), history_bytes: Some(100), upstream_seconds: Some(2), ..quota(3_600) };
    for (name, takes) in [
        ("model_tokens", [used(9, 0, 0), used(1, 0, 0)]),
        ("history_bytes", [used(0, 99, 0), used(0, 1, 0)]),
        ("upstream_seconds", [used(0, 0, 1_999), used(0, 0, 1)]),
    ] {
        let guard = quotas(&[hour]);
        let left = |seconds: u64| {
            let standing = standing(&guard, "ada", at(seconds));
            standing.iter().find(|allowance| allowance.name == name).unwrap().remaining
        };
        for (take, remaining) in takes.into_iter().zip([1, 0]) {
            let late = admit(&guard, ask("ada", at(0))).unwrap();
            settle(admit(&guard, ask("ada", at(0))).unwrap(), TurnEnd::Complete(take));
            assert_eq!(left(0), remaining, "{name}");
            // What fails has used nothing, and what is over counts no more.
            settle(late, TurnEnd::Failed);
        }
        let (code, exhausted) = refused(&guard, going_on("ada", at(60)));
        assert_eq!((code, exhausted.limit.name, exhausted.retry_after_seconds), ("quota_exceeded", name, 3_540));
        let late = admit(&guard, ask("bob", at(3_599))).unwrap();
        settle(admit(&guard, ask("bob", at(3_600))).unwrap(), TurnEnd::Cut(used(1, 1, 1)));
        settle(late, TurnEnd::Complete(used(50, 500, 50_000)));
        assert!(admit(&guard, ask("bob", at(3_600))).is_ok());
        assert!(admit(&guard, ask("ada", at(3_600))).is_ok());
    }
}

#[test]
fn several_periods_count_at_once_and_the_longest_wait_is_told() {
    let guard = quotas(&[Quota { turns: Some(1), ..quota(60) }, Quota { turns: Some(2), ..quota(3_600) }]);
    let turn =
        |seconds: u64| settle(admit(&guard, ask("ada", at(seconds))).unwrap(), TurnEnd::Complete(Charge::default()));
    turn(0);
    let (_, exhausted) = refused(&guard, ask("ada", at(1)));
    assert_eq!((exhausted.limit.period_seconds, exhausted.retry_after_seconds), (60, 59));
    assert_eq!(exhausted.standing.len(), 2);
    turn(60);
    let (_, exhausted) = refused(&guard, ask("ada", at(61)));
    assert_eq!((exhausted.limit.period_seconds, exhausted.retry_after_seconds), (3_600, 3_539));
    turn(3_600);
}

#[test]
fn what_refuses_takes_nothing() {
    let rate = Some(Rate { turns: 100, period: Duration::from_secs(100), burst: 100 });
    let minute = Quota { turns: Some(1), ..quota(60) };
    let hour = Quota { turns: Some(50), ..quota(3_600) };
    let guard =
        LocalGuard::new(Rules { rate, quotas: vec![minute, hour], turns_at_once: 2, ..Rules::default() }, seed());
    let held = admit(&guard, ask("ada", at(0))).unwrap();
    let before = standing(&guard, "ada", at(0));
    for _ in 0..200 {
        refused(&guard, ask("ada", at(0)));
    }
    assert_eq!(standing(&guard, "ada", at(0)), before);
    // The next minute there are a turn and a place, then a turn and none.
    let also_held = admit(&guard, ask("ada", at(60))).unwrap();
    let before = standing(&guard, "ada", at(120));
    for _ in 0..200 {
        assert_eq!(admit(&guard, ask("ada", at(120))).unwrap_err(), Error::UserBusy { limit: 2 });
    }
    assert_eq!(standing(&guard, "ada", at(120)), before);
    drop((held, also_held));
    assert!(admit(&guard, ask("ada", at(120))).is_ok());
}

#[test]
fn a_permit_that_is_dropped_has_failed_unless_the_model_was_called() {
    let guard = quotas(&[Quota { turns: Some(5), model_tokens: Some(100), ..quota(60) }]);
    let left = || standing(&guard, "ada", at(0)).iter().map(|allowance| allowance.remaining).collect::<Vec<_>>();
    drop(admit(&guard, ask("ada", at(0))).unwrap());
    admit(&guard, ask("ada", at(0))).unwrap().leave(used(7, 0, 0));
    assert_eq!(left(), [5, 100]);
    let mut shown = admit(&guard, ask("ada", at(0))).unwrap();
    shown.show();
    drop(shown);
    assert_eq!(left(), [4, 100]);
    let mut shown = admit(&guard, ask("ada", at(0))).unwrap();
    shown.show();
    shown.leave(used(7, 0, 0));
    assert_eq!(left(), [3, 93]);
    let mut called = admit(&guard, ask("ada", at(0))).unwrap();
    called.call();
    called.leave(used(7, 0, 0));
    assert_eq!(left(), [2, 86]);
    let mut called = admit(&guard, ask("ada", at(0))).unwrap();
    called.call();
    drop(called);
    assert_eq!(left(), [1, 86]);
    let state = guard.lock();
    let key = state.ledger.key(&ask("ada", at(0)).subject());
    assert_eq!(state.ledger.find(key).unwrap().places, 0);
}

#[test]
fn a_clock_set_back_brings_no_quota_back_and_one_that_ran_ahead_locks_nobody_out() {
    let guard = quotas(&[Quota { turns: Some(1), ..quota(3_600) }]);
    let turn = |seconds: u64| {
        admit(&guard, ask("ada", at(seconds))).map(|permit| settle(permit, TurnEnd::Complete(Charge::default())))
    };
    turn(3_600).unwrap();
    assert!(turn(3_599).is_err() && turn(3_600).is_err());
    let (_, exhausted) = refused(&guard, ask("ada", at(3_599)));
    assert_eq!(exhausted.retry_after_seconds, 3_601);
    turn(360_000).unwrap();
    turn(7_200).unwrap();
    assert!(turn(7_200).is_err());
}

#[test]
fn other_rules_keep_what_still_counts() {
    let rate = |turns: u64| Some(Rate { turns, period: Duration::from_secs(60), burst: 1 });
    let rules = |turns: u64, limit: u64| Rules {
        rate: rate(turns),
        quotas: vec![Quota { turns: Some(limit), ..quota(3_600) }],
        ..Rules::default()
    };
    let guard = LocalGuard::new(rules(1, 2), seed());
    let held = admit(&guard, ask("ada", at(0))).unwrap();
    guard.set_rules(Rules { turns_at_once: 1, ..rules(1, 2) });
    assert_eq!(guard.turns_at_once(), 1);
    let left = |seconds: u64| standing(&guard, "ada", at(seconds)).iter().map(|one| one.remaining).collect::<Vec<_>>();
    assert_eq!(left(0), [0, 1]);
    assert_eq!(refused(&guard, ask("ada", at(0))).0, "rate_limited");
    assert_eq!(admit(&guard, ask("ada", at(60))).unwrap_err(), Error::UserBusy { limit: 1 });
    guard.set_rules(rules(2, 1));
    assert_eq!(left(0), [1, 0]);
    settle(held, TurnEnd::Failed);
    assert_eq!(left(0), [1, 1]);
}

#[test]
fn who_matters_no_more_is_forgotten() {
    let rate = Some(Rate { turns: 1, period: Duration::from_secs(60), burst: 1 });
    let quotas = vec![Quota { turns: Some(5), ..quota(3_600) }];
    let guard = LocalGuard::new(Rules { rate, quotas, ..Rules::default() }, seed());
    let turn = |name: &str, seconds: u64, ending| settle(admit(&guard, ask(name, at(seconds))).unwrap(), ending);
    for user in 0..1_000 {
        turn(&format!("user{user}"), 0, TurnEnd::Complete(Charge::default()));
        turn(&format!("failed{user}"), 0, TurnEnd::Failed);
    }
    let held = admit(&guard, ask("held", at(0))).unwrap();
    assert_eq!(guard.lock().ledger.len(), 2_001);
    // Whose turn failed matters until the rate is full again, who had one until the hour is over. A few requests more
    // have looked at all entries.
    let read = |seconds: u64| (0..2_000).for_each(|_| drop(admit(&guard, ask("held", at(seconds)))));
    read(59);
    assert_eq!(guard.lock().ledger.len(), 2_001);
    read(60);
    assert_eq!(guard.lock().ledger.len(), 1_001);
    read(3_599);
    assert_eq!(guard.lock().ledger.len(), 1_001);
    read(3_600);
    assert_eq!(guard.lock().ledger.len(), 1);
    drop(held);
    turn("other", 7_200, TurnEnd::Failed);
    turn("other", 7_260, TurnEnd::Failed);
    assert_eq!(guard.lock().ledger.len(), 1);
}

#[test]
fn no_flood_of_names_makes_the_ledger_grow_or_forget_who_is_busy() {
    let guard = quotas(&[Quota { turns: Some(10), ..quota(86_400) }]);
    guard.lock().ledger = Ledger::of(100, seed());
    let turn = |name: &str| settle(admit(&guard, ask(name, at(0))).unwrap(), TurnEnd::Complete(Charge::default()));
    (0..10).for_each(|_| turn("greedy"));
    let held = admit(&guard, ask("held", at(0))).unwrap();
    for user in 0..10_000 {
        turn(&format!("user{user}"));
        assert!(guard.lock().ledger.len() <= 100);
    }
    refused(&guard, ask("greedy", at(0)));
    assert_eq!(standing(&guard, "held", at(0))[0].remaining, 9);
    settle(held, TurnEnd::Failed);
    assert_eq!(standing(&guard, "held", at(0))[0].remaining, 10);
    // Those with turns under way stay, even where they are all.
    let held: Vec<_> = (0..150).map(|user| admit(&guard, ask(&format!("held{user}"), at(0))).unwrap()).collect();
    assert!(held.iter().all(|permit| permit.standing()[0].remaining == 9));
    assert_eq!(guard.lock().ledger.len(), 150);
}

#[cfg(not(target_arch = "wasm32"))]
mod properties {
    use proptest::prelude::*;

    use super::*;

    /// What happens next: so many milliseconds pass, then a turn is asked for, or one under way ends in some way.
    #[derive(Clone, Copy, Debug)]
    enum Event {
        Admit { user: usize, begins: bool },
        End { which: usize, how: usize, used: u64 },
    }

    fn event() -> impl Strategy<Value = (u64, Event)> {
        let admit = (0..2_usize, any::<bool>()).prop_map(|(user, begins)| Event::Admit { user, begins });
        let end =
            (any::<usize>(), 0..4_usize, 0..20_u64).prop_map(|(which, how, used)| Event::End { which, how, used });
        (0..4_000_u64, prop_oneof![3 => admit, 2 => end])
    }

    fn moment(millis: u64) -> Moment {
        Moment { now: UnixSeconds(DAY + millis / 1_000), elapsed: Duration::from_millis(millis) }
    }

    proptest! {
        #[test]
        fn no_window_sees_more_than_the_burst_and_its_share(
            turns in 1..50_u64, seconds in 1..90_u64, burst in 1..20_u64,
            steps in prop::collection::vec(0..5_000_u64, 1..200),
        ) {
            let guard = rated(turns, seconds, burst);
            let (mut millis, mut admitted) = (0, Vec::<u64>::new());
            for step in steps {
                millis += step;
                match admit(&guard, ask("ada", moment(millis))) {
                    Ok(permit) => {
                        admitted.push(millis);
                        let told = permit.standing()[0];
                        prop_assert!(told.remaining <= told.limit && told.reset_seconds <= told.period_seconds);
                    }
                    Err(Error::RateLimited(exhausted)) => {
                        // As told, and not a whole second before.
                        let wait = exhausted.retry_after_seconds;
                        prop_assert!(wait >= 1 && exhausted.limit.remaining == 0);
                        let then = moment(millis + wait * 1_000);
                        prop_assert!(standing(&guard, "ada", then)[0].remaining >= 1);
                        prop_assert_eq!(standing(&guard, "ada", moment(millis + (wait - 1) * 1_000))[0].remaining, 0);
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
            let guard = quotas(&[limits]);
            // The plain count: per user and period, turns, conversations, model tokens.
            let mut counts = std::collections::HashMap::<(usize, u64), [u64; 3]>::new();
            let mut under_way = Vec::new();
            let mut millis = 0;
            for (pause, event) in events {
                millis += pause;
                let now = moment(millis);
                let period = now.now.0 / 30;
                match event {
                    Event::Admit { user, begins } => {
                        let name = ["ada", "bob"][user];
                        let count = counts.entry((user, period)).or_default();
                        let fits = count[0] < 6 && (!begins || count[1] < 3) && count[2] < 40;
                        let asked = if begins { ask(name, now) } else { going_on(name, now) };
                        let outcome = admit(&guard, asked);
                        prop_assert_eq!(outcome.is_ok(), fits);
                        if let Ok(permit) = outcome {
                            count[0] += 1;
                            count[1] += u64::from(begins);
                            let left: Vec<_> = permit.standing().iter().map(|told| told.remaining).collect();
                            prop_assert_eq!(left, [6 - count[0], 3 - count[1], 40 - count[2]]);
                            under_way.push((permit, user, period, begins));
                        }
                    }
                    Event::End { which, how, used: tokens } if !under_way.is_empty() => {
                        let (mut permit, user, began, begins) = under_way.swap_remove(which % under_way.len());
                        let count = counts.get_mut(&(user, began)).unwrap();
                        match how {
                            0 => {
                                settle(permit, TurnEnd::Failed);
                                count[0] -= 1;
                                count[1] -= u64::from(begins);
                            }
                            1 => {
                                permit.show();
                                drop(permit);
                            }
                            2 => {
                                settle(permit, TurnEnd::Cut(used(tokens, 0, 0)));
                                count[2] += tokens;
                            }
                            _ => {
                                settle(permit, TurnEnd::Complete(used(tokens, 0, 0)));
                                count[2] += tokens;
                            }
                        }
                    }
                    Event::End { .. } => {}
                }
                for (user, name) in ["ada", "bob"].into_iter().enumerate() {
                    let count = counts.get(&(user, period)).copied().unwrap_or_default();
                    let left: Vec<_> = standing(&guard, name, now).iter().map(|told| told.remaining).collect();
                    prop_assert_eq!(left, [6 - count[0], 3 - count[1], 40_u64.saturating_sub(count[2])]);
                }
            }
        }
    }
}
