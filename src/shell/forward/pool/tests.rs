//! Which address a call goes to, and that places and addresses come free whatever becomes of a call. Time stands still
//! unless it is stepped.

use futures_util::FutureExt as _;
use tokio::time::advance;

use super::*;

fn bounded(calls: usize, queue: usize) -> Arc<Pool> {
    Pool::new(1, Some(Concurrency { calls, queue, wait: Duration::from_secs(10) }))
}

fn visit(pool: &Arc<Pool>, is_last: bool) -> Result<(Visit, Outcome), UpstreamError> {
    visit_of(1, pool, is_last)
}

fn visit_of(user: u64, pool: &Arc<Pool>, is_last: bool) -> Result<(Visit, Outcome), UpstreamError> {
    visit_after(&Tried::default(), user, pool, is_last)
}

fn visit_after(tried: &Tried, user: u64, pool: &Arc<Pool>, is_last: bool) -> Result<(Visit, Outcome), UpstreamError> {
    let outcome = Outcome::default();
    let entering = pool.enter(user, is_last, tried, outcome.clone()).now_or_never().expect("it waits");
    entering.map(|visit| (visit, outcome))
}

/// Asks for a visit, for which it may have to wait.
async fn enter(pool: &Arc<Pool>, user: u64) -> Result<Visit, UpstreamError> {
    pool.enter(user, true, &Tried::default(), Outcome::default()).await
}

/// Makes calls, one after the other, that fail.
fn fail(pool: &Arc<Pool>, calls: usize) {
    for _ in 0..calls {
        visit(pool, true).unwrap().1.set_failed();
    }
}

/// Has one address left alone.
fn fail_at(pool: &Pool, index: usize) {
    let now = pool.now();
    (0..5).for_each(|_| pool.lock().addresses[index].health.failed(false, now, 0));
}

fn under_way(pool: &Pool) -> Vec<usize> {
    pool.lock().addresses.iter().map(|address| address.under_way).collect()
}

#[tokio::test(start_paused = true)]
async fn each_call_goes_where_the_least_is_under_way() {
    let pool = Pool::new(3, None);
    let visits: Vec<_> = (0..7).map(|_| visit(&pool, true).unwrap().0).collect();
    assert_eq!(visits.iter().map(Visit::index).collect::<Vec<_>>(), [0, 1, 2, 0, 1, 2, 0]);
    let others: Vec<_> = visits.into_iter().filter(|visit| visit.index() != 2).collect();
    assert_eq!(under_way(&pool), [3, 2, 0]);
    let more: Vec<_> = (0..2).map(|_| visit(&pool, true).unwrap().0).collect();
    assert_eq!(more.iter().map(Visit::index).collect::<Vec<_>>(), [2, 2]);
    drop((others, more));
    assert_eq!(under_way(&pool), [0, 0, 0]);
}

#[tokio::test(start_paused = true)]
async fn equals_take_turns() {
    let pool = Pool::new(3, None);
    let indices: Vec<_> = (0..6).map(|_| visit(&pool, true).unwrap().0.index()).collect();
    assert_eq!(indices, [0, 1, 2, 0, 1, 2]);
}

#[tokio::test(start_paused = true)]
async fn an_address_that_fails_is_left_alone_and_then_tried_once() {
    let pool = Pool::new(2, None);
    let mut calls = [0, 0];
    for _ in 0..200 {
        let (visit, outcome) = visit(&pool, true).unwrap();
        calls[visit.index()] += 1;
        if visit.index() == 0 { outcome.set_failed() } else { outcome.set_worked() }
    }
    assert!(calls[0] <= 5, "{calls:?}");
    // What has failed of late is asked last: five in a row take a while, or many calls at once.
    let busy: Vec<_> = (0..40).map(|_| visit(&pool, true).unwrap()).collect();
    for (_, outcome) in busy.iter().filter(|(visit, _)| visit.index() == 0) {
        outcome.set_failed();
    }
    drop(busy);
    assert!((0..20).all(|_| visit(&pool, false).unwrap().0.index() == 1), "ejected");
    advance(Duration::from_secs(7)).await;
    let (trial, outcome) = visit(&pool, true).unwrap();
    assert_eq!(trial.index(), 0);
    assert!((0..20).all(|_| visit(&pool, true).unwrap().0.index() == 1), "by one call");
    outcome.set_worked();
    drop(trial);
    let (one, other) = (visit(&pool, true).unwrap(), visit(&pool, true).unwrap());
    assert_ne!(one.0.index(), other.0.index());
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_made_again_goes_to_another_address_while_one_is_well() {
    let pool = Pool::new(3, None);
    let tried = Tried::default();
    let failing = |index| index != 1;
    // The well one has the most to do.
    let busy: Vec<_> = (0..30).map(|_| visit(&pool, true).unwrap()).filter(|(visit, _)| visit.index() == 1).collect();
    let visits: Vec<_> = (0..3).map(|_| visit_after(&tried, 1, &pool, true).unwrap()).collect();
    let mut indices: Vec<_> = visits.iter().map(|(visit, _)| visit.index()).collect();
    visits.iter().filter(|(visit, _)| failing(visit.index())).for_each(|(_, outcome)| outcome.set_failed());
    drop(visits);
    indices.sort_unstable();
    assert_eq!(indices, [0, 1, 2], "each once");
    assert_ne!(visit_after(&tried, 1, &pool, true).unwrap().0.index(), 1, "none is left that was not tried");
    drop(busy);
    fail_at(&pool, 0);
    let tried = Tried::default();
    tried.set(1);
    tried.set(2);
    assert_ne!(visit_after(&tried, 1, &pool, true).unwrap().0.index(), 0, "rather than what is left alone");
}

#[tokio::test(start_paused = true)]
async fn where_all_fail_only_a_call_with_nowhere_else_to_go_is_made() {
    let pool = Pool::new(2, None);
    fail(&pool, 10);
    assert_eq!(visit(&pool, false).unwrap_err(), UpstreamError::Ejected);
    let (one, other) = (visit(&pool, true).unwrap().0, visit(&pool, true).unwrap().0);
    assert_ne!(one.index(), other.index(), "they share what is asked of them");
    drop((one, other));
    advance(Duration::from_secs(7)).await;
    let (trial, outcome) = visit(&pool, false).unwrap();
    outcome.set_worked();
    drop(trial);
    assert!(visit(&pool, false).is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_trial_that_works_counts_before_its_reply_ends() {
    let pool = Pool::new(1, None);
    fail(&pool, 5);
    advance(Duration::from_secs(7)).await;
    let (mut trial, outcome) = visit(&pool, false).unwrap();
    assert_eq!(visit(&pool, false).unwrap_err(), UpstreamError::Ejected);
    outcome.set_answers();
    trial.look();
    assert!(visit(&pool, false).is_ok());
}

#[tokio::test(start_paused = true)]
async fn an_address_that_cuts_each_reply_half_way_is_left_alone() {
    let pool = Pool::new(2, None);
    let mut calls = [0, 0];
    for _ in 0..200 {
        // So that both are asked.
        let mut both: Vec<_> = (0..2).map(|_| visit(&pool, true).unwrap()).collect();
        for (visit, outcome) in &mut both {
            calls[visit.index()] += 1;
            outcome.set_answers();
            visit.look();
            if visit.index() == 0 { outcome.set_failed() } else { outcome.set_worked() }
        }
    }
    assert!(calls[0] <= 10 && calls[1] >= 390, "{calls:?}");
}

#[tokio::test(start_paused = true)]
async fn an_address_that_hangs_is_not_the_first_choice_of_clients_that_leave() {
    let pool = Pool::new(2, None);
    let mut hung = 0;
    for _ in 0..100 {
        let (visit, outcome) = visit(&pool, true).unwrap();
        if visit.index() == 0 {
            hung += 1;
            advance(Duration::from_secs(2)).await;
        } else {
            advance(Duration::from_millis(100)).await;
            outcome.set_worked();
        }
    }
    // One now and then, not every other.
    assert!((1..=2).contains(&hung), "{hung}");
}

#[tokio::test(start_paused = true)]
async fn a_reply_whose_client_leaves_in_the_middle_neither_forgives_nor_blames() {
    let pool = Pool::new(1, None);
    fail(&pool, 4);
    for _ in 0..9 {
        let (mut visit, outcome) = visit(&pool, false).unwrap();
        outcome.set_answers();
        visit.look();
    }
    assert_eq!(pool.lock().addresses[0].health.standing(pool.now()), HealthState::Well(4));
    fail(&pool, 1);
    assert_eq!(visit(&pool, false).unwrap_err(), UpstreamError::Ejected);
}

#[tokio::test(start_paused = true)]
async fn a_trial_whose_client_leaves_is_made_by_the_next() {
    let pool = Pool::new(1, None);
    fail(&pool, 5);
    advance(Duration::from_secs(7)).await;
    drop(visit(&pool, false).unwrap());
    assert!(visit(&pool, false).is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_place_is_held_until_the_visit_ends_and_goes_to_who_waits() {
    let pool = bounded(1, 2);
    let first = visit(&pool, true).unwrap().0;
    let mut second = Box::pin(enter(&pool, 1));
    assert!(second.as_mut().now_or_never().is_none());
    drop(first);
    let second = second.now_or_never().unwrap().unwrap();
    assert_eq!(under_way(&pool), [1]);
    drop(second);
    assert!(visit(&pool, true).is_ok());
}

#[tokio::test(start_paused = true)]
async fn who_waits_too_long_or_is_one_too_many_is_refused() {
    let pool = bounded(1, 1);
    let first = visit(&pool, true).unwrap().0;
    let mut second = Box::pin(enter(&pool, 1));
    assert!(second.as_mut().now_or_never().is_none());
    assert_eq!(visit(&pool, true).unwrap_err(), UpstreamError::Overloaded);
    advance(Duration::from_millis(9_999)).await;
    assert!(second.as_mut().now_or_never().is_none());
    advance(Duration::from_millis(2)).await;
    assert_eq!(second.now_or_never().unwrap().unwrap_err(), UpstreamError::Overloaded);
    drop(first);
    assert!(visit(&pool, true).is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_call_tells_how_long_it_waited_whatever_came_of_that() {
    let pool = bounded(1, 3);
    let first = visit(&pool, true).unwrap();
    assert_eq!(first.1.waited(), Duration::ZERO);
    let (outcomes, tried) = ([(); 3].map(|()| Outcome::default()), Tried::default());
    let enter = |at: usize| Box::pin(pool.enter(at as u64, true, &tried, outcomes[at].clone()));
    let (mut placed, mut leaves, mut refused) = (enter(0), enter(1), enter(2));
    for one in [&mut placed, &mut leaves, &mut refused] {
        assert!(one.as_mut().now_or_never().is_none());
    }
    advance(Duration::from_secs(3)).await;
    drop(leaves);
    drop(first);
    let _visit = placed.now_or_never().unwrap().unwrap();
    advance(Duration::from_millis(7_001)).await;
    assert_eq!(refused.now_or_never().unwrap().unwrap_err(), UpstreamError::Overloaded);
    let [placed, left, refused] = outcomes.map(|outcome| outcome.waited().as_secs());
    assert_eq!((placed, left, refused), (3, 3, 10));
}

#[tokio::test(start_paused = true)]
async fn who_gives_way_is_refused_at_once() {
    let pool = bounded(1, 2);
    let _first = visit(&pool, true).unwrap();
    let mut floods: Vec<_> = (0..2).map(|_| Box::pin(enter(&pool, 1))).collect();
    assert!(floods.iter_mut().all(|flood| flood.as_mut().now_or_never().is_none()));
    let mut quiet = Box::pin(enter(&pool, 2));
    assert!(quiet.as_mut().now_or_never().is_none());
    assert_eq!(floods[1].as_mut().now_or_never().unwrap().unwrap_err(), UpstreamError::Overloaded);
    assert!(floods[0].as_mut().now_or_never().is_none());
}

#[tokio::test(start_paused = true)]
async fn one_user_leaves_a_place_to_others_and_gets_its_own_back() {
    let pool = bounded(4, 8);
    let mut held: Vec<_> = (0..3).map(|_| visit(&pool, true).unwrap().0).collect();
    let mut fourth = Box::pin(enter(&pool, 1));
    assert!(fourth.as_mut().now_or_never().is_none(), "its share is three");
    drop(visit_of(2, &pool, true).unwrap());
    assert!(fourth.as_mut().now_or_never().is_none());
    held.pop();
    assert!(fourth.now_or_never().unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn places_survive_whoever_leaves_at_any_moment() {
    let pool = bounded(2, 8);
    for leaves_placed in [false, true] {
        let held = [8, 9].map(|user| visit_of(user, &pool, true).unwrap().0);
        let mut waiting: Vec<_> = (0..8).map(|user| Box::pin(enter(&pool, user))).collect();
        assert!(waiting.iter_mut().all(|one| one.as_mut().now_or_never().is_none()));
        if leaves_placed {
            // Their turns have come, and they have not looked yet.
            drop(held);
            drop(waiting);
        } else {
            drop(waiting);
            drop(held);
        }
        assert_eq!(under_way(&pool), [0]);
        drop([1, 2].map(|user| visit_of(user, &pool, true).unwrap()));
    }
}
