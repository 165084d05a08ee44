//! The properties of the queue on random traces, and the wait of a quiet user next to a flooding
//! one.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const ADA: u64 = 1;
const BOB: u64 = 2;
const CLEO: u64 = 3;

/// Enters a call that must wait.
#[track_caller]
fn wait<T: std::fmt::Debug>(queue: &mut FairQueue<T>, user: u64, waiter: T) -> Ticket {
    match queue.enter(user, waiter) {
        Entered::Waiting(ticket, None) => ticket,
        other => panic!("{other:?}"),
    }
}

/// A queue for one slot, which is taken.
fn busy<T: Default>(waiting_max: usize) -> FairQueue<T> {
    let mut queue = FairQueue::new(1, waiting_max);
    assert!(matches!(queue.enter(ADA, T::default()), Entered::Placed(_)));
    queue
}

fn is_forgotten<T>(queue: &FairQueue<T>) -> bool {
    queue.lines.is_empty() && queue.turns.is_empty() && queue.waiting == 0
}

/// Ends the call of `user` in the only slot. Returns the waiter that gets the slot.
fn release<T>(queue: &mut FairQueue<T>, user: &mut u64) -> Option<T> {
    let (next, waiter) = queue.release(*user)?;
    *user = next;
    Some(waiter)
}

#[test]
fn users_take_turns_and_each_ones_calls_keep_their_order() {
    let mut queue = busy(99);
    for (user, waiter) in [(ADA, "a1"), (ADA, "a2"), (ADA, "a3"), (BOB, "b1"), (CLEO, "c1"), (ADA, "a4"), (CLEO, "c2")]
    {
        wait(&mut queue, user, waiter);
    }
    let mut user = ADA;
    let order: Vec<_> = std::iter::from_fn(|| release(&mut queue, &mut user)).collect();
    assert_eq!(order, ["a1", "b1", "c1", "a2", "c2", "a3", "a4"]);
    assert!(is_forgotten(&queue));
    assert!(queue.taken == 0 && queue.held.is_empty());
}

#[test]
fn a_call_that_leaves_is_forgotten() {
    let mut queue = busy(99);
    let gone = wait(&mut queue, ADA, "a1");
    wait(&mut queue, BOB, "b1");
    queue.leave(ADA, gone);
    queue.leave(ADA, gone);
    let mut user = ADA;
    assert_eq!(release(&mut queue, &mut user), Some("b1"));
    assert!(is_forgotten(&queue));
    // A call that comes back is a new call, behind those that stayed.
    wait(&mut queue, BOB, "b2");
    wait(&mut queue, ADA, "a2");
    assert_eq!([(); 2].map(|()| release(&mut queue, &mut user)), [Some("b2"), Some("a2")]);
}

#[test]
fn in_a_full_queue_the_last_call_of_the_longest_line_is_displaced() {
    let mut queue = busy(4);
    for waiter in ["a1", "a2", "a3", "a4"] {
        wait(&mut queue, ADA, waiter);
    }
    assert_eq!(queue.enter(ADA, "a5"), Entered::Refused("a5"), "its own line is the longest");
    assert!(matches!(queue.enter(BOB, "b1"), Entered::Waiting(_, Some("a4"))));
    assert!(matches!(queue.enter(BOB, "b2"), Entered::Waiting(_, Some("a3"))));
    assert_eq!(queue.enter(BOB, "b3"), Entered::Refused("b3"), "both lines would be equally long");
    assert_eq!(queue.enter(ADA, "a6"), Entered::Refused("a6"));
    assert!(matches!(queue.enter(CLEO, "c1"), Entered::Waiting(_, Some("a2" | "b2"))));
    assert_eq!(queue.waiting, 4);
}

#[test]
fn a_queue_of_length_0_refuses_calls_that_would_wait() {
    let mut queue = busy(0);
    assert_eq!(queue.enter(BOB, "b"), Entered::Refused("b"));
    assert_eq!(queue.release(ADA), None);
    assert_eq!(queue.enter(BOB, "b"), Entered::Placed("b"));
}

#[test]
fn one_user_leaves_a_quarter_of_the_slots_and_at_least_one_free() {
    for (slots, share) in [(1, 1), (2, 1), (3, 2), (4, 3), (7, 6), (8, 6), (100, 75)] {
        let mut queue = FairQueue::new(slots, 1_000);
        let placed = (0..slots).filter(|_| matches!(queue.enter(ADA, ()), Entered::Placed(()))).count();
        assert_eq!(placed, share, "of {slots}");
        assert!(slots == 1 || queue.enter(BOB, ()) == Entered::Placed(()), "of {slots}");
    }
}

#[test]
fn a_user_with_its_share_is_skipped_and_keeps_its_turn() {
    let mut queue = FairQueue::new(4, 99);
    for waiter in ["a1", "a2", "a3"] {
        assert_eq!(queue.enter(ADA, waiter), Entered::Placed(waiter));
    }
    wait(&mut queue, ADA, "a4");
    assert_eq!(queue.enter(BOB, "b1"), Entered::Placed("b1"));
    wait(&mut queue, BOB, "b2");
    wait(&mut queue, CLEO, "c1");
    wait(&mut queue, ADA, "a5");
    assert_eq!(queue.release(BOB), Some((BOB, "b2")), "ada holds its share");
    assert_eq!(queue.release(ADA), Some((ADA, "a4")), "ada came first");
    assert_eq!(queue.release(BOB), Some((CLEO, "c1")));
    assert_eq!(queue.release(CLEO), None, "all users in line hold their share");
    assert_eq!(queue.enter(CLEO, "c2"), Entered::Placed("c2"));
    assert_eq!(queue.release(ADA), Some((ADA, "a5")));
    for user in [ADA, ADA, ADA, CLEO] {
        assert_eq!(queue.release(user), None);
    }
    assert!(is_forgotten(&queue) && queue.held.is_empty() && queue.taken == 0);
}

#[derive(Clone, Debug)]
enum Act {
    Enter(u64),
    Leave(usize),
    Release(usize),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        4 => (0_u64..5).prop_map(Act::Enter),
        1 => (0_usize..40).prop_map(Act::Leave),
        2 => (0_usize..40).prop_map(Act::Release),
    ];
    prop::collection::vec(act, 0..200)
}

proptest! {
    #[test]
    fn limits_and_order_hold_and_no_call_is_lost(acts in acts(), slots in 1_usize..10, waiting_max in 0_usize..12) {
        let mut queue = FairQueue::new(slots, waiting_max);
        let share = queue.share;
        prop_assert!(share >= 1 && (slots == 1 || share < slots));
        // The users that hold a slot.
        let (mut taken, mut number) = (Vec::new(), 0_u32);
        let mut lines: BTreeMap<u64, VecDeque<(Ticket, u32)>> = BTreeMap::new();
        for act in acts {
            match act {
                Act::Enter(user) => {
                    number += 1;
                    match queue.enter(user, number) {
                        Entered::Placed(_) => {
                            prop_assert!(lines.get(&user).is_none_or(VecDeque::is_empty), "its waiting calls come first");
                            taken.push(user);
                        }
                        Entered::Refused(_) => {
                            let longest = lines.values().map(VecDeque::len).max().unwrap_or(0);
                            prop_assert!(lines.get(&user).map_or(0, VecDeque::len) + 1 >= longest);
                        }
                        Entered::Waiting(ticket, displaced) => {
                            if let Some(gone) = displaced {
                                let line = lines.values_mut().find(|line| line.back().is_some_and(|last| last.1 == gone));
                                prop_assert!(line.and_then(VecDeque::pop_back).is_some(), "the last of a line");
                            }
                            lines.entry(user).or_default().push_back((ticket, number));
                        }
                    }
                }
                Act::Leave(at) => {
                    let all: Vec<_> = lines.iter().flat_map(|(user, line)| line.iter().map(|one| (*user, one.0))).collect();
                    if let Some((user, ticket)) = all.get(at).copied() {
                        queue.leave(user, ticket);
                        lines.get_mut(&user).unwrap().retain(|one| one.0 != ticket);
                    }
                }
                Act::Release(_) if taken.is_empty() => {}
                Act::Release(at) => {
                    let user = taken.swap_remove(at % taken.len());
                    if let Some((next, number)) = queue.release(user) {
                        let first = lines.get_mut(&next).and_then(VecDeque::pop_front);
                        prop_assert!(first.is_some_and(|first| first.1 == number), "the first of a line");
                        taken.push(next);
                    }
                }
            }
            let held = |user: u64| taken.iter().filter(|other| **other == user).count();
            prop_assert!((0..5).all(|user| held(user) <= share && held(user) == queue.held.get(&user).copied().unwrap_or(0)));
            let waits = |user: u64| lines.get(&user).is_some_and(|line| !line.is_empty());
            prop_assert!(
                taken.len() == slots || (0..5).all(|user| !waits(user) || held(user) == share),
                "no slot is free that a waiting call may take"
            );
            prop_assert!(taken.len() <= slots && queue.taken == taken.len());
            prop_assert!(queue.waiting <= waiting_max && queue.waiting == lines.values().map(VecDeque::len).sum::<usize>());
            prop_assert_eq!(queue.lines.len(), queue.turns.len());
        }
    }

    #[test]
    fn a_call_waits_for_at_most_one_turn_of_each_other_user(lengths in prop::collection::vec(1_usize..20, 1..12)) {
        let mut queue = busy(1_000);
        for (user, length) in lengths.iter().enumerate() {
            for _ in 0..*length {
                wait(&mut queue, user as u64, user);
            }
        }
        wait(&mut queue, 99, 99);
        let mut user = ADA;
        let before = std::iter::from_fn(|| release(&mut queue, &mut user)).take_while(|user| *user != 99).count();
        prop_assert_eq!(before, lengths.len());
    }
}

/// The rule by which a quiet user's calls get slots next to a flooding user.
#[derive(Clone, Copy)]
enum Rule {
    /// A single queue: first come, first served.
    OneLine,
    /// Round robin by user, but one user may hold all slots.
    Turns,
    /// The rule of [`FairQueue`].
    TurnsAndShares,
}

/// The sorted waits of `calls` calls of a quiet user, which makes one call at a time. The unit is a
/// thousandth of the duration of its calls. A flooding user keeps `flood` calls in progress, each
/// of which holds its slot for `long`.
fn waits(rule: Rule, slots: usize, flood: usize, long: u64, calls: usize) -> Vec<u64> {
    const SERVICE: u64 = 1_000;
    let line_of = |quiet: bool| if matches!(rule, Rule::OneLine) || !quiet { ADA } else { BOB };
    let mut queue = FairQueue::new(slots, 10_000);
    if !matches!(rule, Rule::TurnsAndShares) {
        queue.share = slots;
    }
    // The calls in progress by the time of their end. The slots are taken at equal intervals.
    let mut ends: BTreeMap<(u64, u64), bool> = BTreeMap::new();
    let (mut number, mut waits) = (flood as u64, Vec::new());
    let (mut asked, mut next_quiet) = (0, Some(long * 3));
    let enter =
        |queue: &mut FairQueue<bool>, quiet: bool| matches!(queue.enter(line_of(quiet), quiet), Entered::Placed(_));
    for at in 0..flood {
        if enter(&mut queue, false) {
            ends.insert((long * (at as u64 + 1) / slots as u64, at as u64), false);
        }
    }
    while waits.len() < calls {
        let end = ends.first_key_value().map(|(key, quiet)| (*key, *quiet));
        match (end, next_quiet) {
            (end, Some(at)) if end.is_none_or(|((ends, _), _)| at <= ends) => {
                (asked, next_quiet) = (at, None);
                if enter(&mut queue, true) {
                    waits.push(0);
                    number += 1;
                    ends.insert((at + SERVICE, number), true);
                }
            }
            (Some((key, quiet)), _) => {
                let now = key.0;
                ends.remove(&key);
                let mut placed: Vec<_> = queue.release(line_of(quiet)).map(|(_, quiet)| quiet).into_iter().collect();
                if quiet {
                    // Pauses for a time that is not in step with the other calls.
                    next_quiet = Some(now + 370 + (number * 7_919) % 1_000);
                } else if enter(&mut queue, false) {
                    placed.push(false);
                }
                for quiet in placed {
                    if quiet {
                        waits.push(now - asked);
                    }
                    number += 1;
                    ends.insert((now + if quiet { SERVICE } else { long }, number), quiet);
                }
            }
            (None, None | Some(_)) => unreachable!("the flood never ends"),
        }
    }
    waits.sort_unstable();
    waits
}

/// The 99th percentile.
fn p99(waits: &[u64]) -> u64 {
    waits[waits.len() * 99 / 100 - 1]
}

#[test]
fn a_flooding_user_does_not_slow_a_quiet_one() {
    let of = |rule| p99(&waits(rule, 8, 64, 1_000, 2_000));
    let (shares, turns, line) = (of(Rule::TurnsAndShares), of(Rule::Turns), of(Rule::OneLine));
    println!(
        "p99 of a quiet user's wait, in thousandths of a call: {shares} with shares, {turns} with round robin, {line} \
         with a single queue"
    );
    assert_eq!(shares, 0);
    assert!(turns <= 1_000, "{turns}");
    assert!(line >= 6_000 && line >= turns * 6, "{line}");
}

#[test]
fn a_quiet_user_gets_a_slot_immediately_however_long_another_users_calls_take() {
    // As many calls as slots, and more. Each is a hundred times as long as the quiet user's calls.
    for flood in [8, 64] {
        let of = |rule| waits(rule, 8, flood, 100_000, 500);
        assert_eq!(of(Rule::TurnsAndShares).last(), Some(&0), "{flood}");
        let turns = p99(&of(Rule::Turns));
        assert!(turns >= 5_000, "round robin alone does not help: {turns}");
    }
}
