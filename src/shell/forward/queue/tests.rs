//! The queue's claims, on traces of every kind, and how long a quiet user waits beside one that floods.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const ADA: u64 = 1;
const BOB: u64 = 2;
const CLEO: u64 = 3;

/// Lets someone wait who has to.
#[track_caller]
fn wait<T: std::fmt::Debug>(queue: &mut FairQueue<T>, user: u64, waiter: T) -> Ticket {
    match queue.enter(user, waiter) {
        Entered::Waiting(ticket, None) => ticket,
        other => panic!("{other:?}"),
    }
}

/// A queue of one place, which is taken.
fn busy<T: Default>(most: usize) -> FairQueue<T> {
    let mut queue = FairQueue::new(1, most);
    assert!(matches!(queue.enter(ADA, T::default()), Entered::Placed(_)));
    queue
}

fn is_forgotten<T>(queue: &FairQueue<T>) -> bool {
    queue.lines.is_empty() && queue.turns.is_empty() && queue.waiting == 0
}

/// Ends the call of `user` in the only place; what waited comes.
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
fn who_leaves_leaves_no_trace() {
    let mut queue = busy(99);
    let gone = wait(&mut queue, ADA, "a1");
    wait(&mut queue, BOB, "b1");
    queue.leave(ADA, gone);
    queue.leave(ADA, gone);
    let mut user = ADA;
    assert_eq!(release(&mut queue, &mut user), Some("b1"));
    assert!(is_forgotten(&queue));
    // Coming back is coming anew, behind those who stayed.
    wait(&mut queue, BOB, "b2");
    wait(&mut queue, ADA, "a2");
    assert_eq!([(); 2].map(|()| release(&mut queue, &mut user)), [Some("b2"), Some("a2")]);
}

#[test]
fn where_no_more_may_wait_the_last_of_the_longest_line_gives_way() {
    let mut queue = busy(4);
    for waiter in ["a1", "a2", "a3", "a4"] {
        wait(&mut queue, ADA, waiter);
    }
    assert_eq!(queue.enter(ADA, "a5"), Entered::Refused("a5"), "its own line is the longest");
    assert!(matches!(queue.enter(BOB, "b1"), Entered::Waiting(_, Some("a4"))));
    assert!(matches!(queue.enter(BOB, "b2"), Entered::Waiting(_, Some("a3"))));
    assert_eq!(queue.enter(BOB, "b3"), Entered::Refused("b3"), "nothing would be fairer for it");
    assert_eq!(queue.enter(ADA, "a6"), Entered::Refused("a6"));
    assert!(matches!(queue.enter(CLEO, "c1"), Entered::Waiting(_, Some("a2" | "b2"))));
    assert_eq!(queue.waiting, 4);
}

#[test]
fn a_queue_for_nobody_refuses_who_would_wait() {
    let mut queue = busy(0);
    assert_eq!(queue.enter(BOB, "b"), Entered::Refused("b"));
    assert_eq!(queue.release(ADA), None);
    assert_eq!(queue.enter(BOB, "b"), Entered::Placed("b"));
}

#[test]
fn one_user_leaves_a_quarter_of_the_places_to_others_and_one_at_least() {
    for (places, share) in [(1, 1), (2, 1), (3, 2), (4, 3), (7, 6), (8, 6), (100, 75)] {
        let mut queue = FairQueue::new(places, 1_000);
        let placed = (0..places).filter(|_| matches!(queue.enter(ADA, ()), Entered::Placed(()))).count();
        assert_eq!(placed, share, "of {places}");
        assert!(places == 1 || queue.enter(BOB, ()) == Entered::Placed(()), "of {places}");
    }
}

#[test]
fn who_holds_its_share_is_passed_by_and_keeps_its_turn() {
    let mut queue = FairQueue::new(4, 99);
    for waiter in ["a1", "a2", "a3"] {
        assert_eq!(queue.enter(ADA, waiter), Entered::Placed(waiter));
    }
    wait(&mut queue, ADA, "a4");
    assert_eq!(queue.enter(BOB, "b1"), Entered::Placed("b1"));
    wait(&mut queue, BOB, "b2");
    wait(&mut queue, CLEO, "c1");
    wait(&mut queue, ADA, "a5");
    assert_eq!(queue.release(BOB), Some((BOB, "b2")), "ada has its share");
    assert_eq!(queue.release(ADA), Some((ADA, "a4")), "ada came first");
    assert_eq!(queue.release(BOB), Some((CLEO, "c1")));
    assert_eq!(queue.release(CLEO), None, "nobody else is there to take it");
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
    fn bounds_hold_order_holds_and_nobody_is_lost(acts in acts(), places in 1_usize..10, most in 0_usize..12) {
        let mut queue = FairQueue::new(places, most);
        let share = queue.share;
        prop_assert!(share >= 1 && (places == 1 || share < places));
        // Whose the places are that are taken.
        let (mut taken, mut number) = (Vec::new(), 0_u32);
        let mut lines: BTreeMap<u64, VecDeque<(Ticket, u32)>> = BTreeMap::new();
        for act in acts {
            match act {
                Act::Enter(user) => {
                    number += 1;
                    match queue.enter(user, number) {
                        Entered::Placed(_) => {
                            prop_assert!(lines.get(&user).is_none_or(VecDeque::is_empty), "its own come first");
                            taken.push(user);
                        }
                        Entered::Refused(_) => {
                            let longest = lines.values().map(VecDeque::len).max().unwrap_or(0);
                            prop_assert!(lines.get(&user).map_or(0, VecDeque::len) + 1 >= longest);
                        }
                        Entered::Waiting(ticket, gave_way) => {
                            if let Some(gone) = gave_way {
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
                taken.len() == places || (0..5).all(|user| !waits(user) || held(user) == share),
                "no place is idle that one of those who wait may take"
            );
            prop_assert!(taken.len() <= places && queue.taken == taken.len());
            prop_assert!(queue.waiting <= most && queue.waiting == lines.values().map(VecDeque::len).sum::<usize>());
            prop_assert_eq!(queue.lines.len(), queue.turns.len());
        }
    }

    #[test]
    fn nobody_waits_for_more_than_one_turn_of_each_other_user(lengths in prop::collection::vec(1_usize..20, 1..12)) {
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

/// How a quiet user's calls come to their places beside a user that floods.
#[derive(Clone, Copy)]
enum Rule {
    /// All in one line, first come, first served.
    OneLine,
    /// Users in turns, but one may hold all places.
    Turns,
    /// As the queue has it.
    TurnsAndShares,
}

/// The quiet user's waits, in thousandths of a service time of its own, sorted: one call at a time, `calls` of them, beside
/// a user that keeps up `flood` calls, each of which keeps its place for `long`.
fn waits(rule: Rule, places: usize, flood: usize, long: u64, calls: usize) -> Vec<u64> {
    const SERVICE: u64 = 1_000;
    let line_of = |quiet: bool| if matches!(rule, Rule::OneLine) || !quiet { ADA } else { BOB };
    let mut queue = FairQueue::new(places, 10_000);
    if !matches!(rule, Rule::TurnsAndShares) {
        queue.share = places;
    }
    // What ends when, in order: the places are taken one after the other, evenly.
    let mut ends: BTreeMap<(u64, u64), bool> = BTreeMap::new();
    let (mut number, mut waits) = (flood as u64, Vec::new());
    let (mut asked, mut next_quiet) = (0, Some(long * 3));
    let enter =
        |queue: &mut FairQueue<bool>, quiet: bool| matches!(queue.enter(line_of(quiet), quiet), Entered::Placed(_));
    for at in 0..flood {
        if enter(&mut queue, false) {
            ends.insert((long * (at as u64 + 1) / places as u64, at as u64), false);
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
                    // Thinks for a while that is not in step with the others, and asks again.
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
            (None, None | Some(_)) => unreachable!("somebody floods"),
        }
    }
    waits.sort_unstable();
    waits
}

/// What 99 of 100 stay within.
fn p99(waits: &[u64]) -> u64 {
    waits[waits.len() * 99 / 100 - 1]
}

#[test]
fn a_flooding_user_does_not_slow_a_quiet_one() {
    let of = |rule| p99(&waits(rule, 8, 64, 1_000, 2_000));
    let (shares, turns, line) = (of(Rule::TurnsAndShares), of(Rule::Turns), of(Rule::OneLine));
    println!(
        "p99 of a quiet user's wait, in thousandths of a service time: {shares} with shares, {turns} in turns alone, \
         {line} first come first served"
    );
    assert_eq!(shares, 0);
    assert!(turns <= 1_000, "{turns}");
    assert!(line >= 6_000 && line >= turns * 6, "{line}");
}

#[test]
fn however_long_a_users_calls_take_another_finds_a_place_at_once() {
    // As many calls as there are places, and more; each a hundred times as long as the quiet user's.
    for flood in [8, 64] {
        let of = |rule| waits(rule, 8, flood, 100_000, 500);
        assert_eq!(of(Rule::TurnsAndShares).last(), Some(&0), "{flood}");
        let turns = p99(&of(Rule::Turns));
        assert!(turns >= 5_000, "what the shares are for: {turns}");
    }
}
