//! Which address a call gets, and that slots and addresses become free however a call ends. Time is
//! paused; each test advances it.

use futures_util::FutureExt as _;
use tokio::time::advance;

use super::*;

const COMPLETE: Verdict = Verdict::Complete;
const FAILED: Verdict = Verdict::Failed;

fn limited(calls: usize, queue: usize) -> Arc<Pool> {
    Pool::new(1, Some(Concurrency { calls, queue, wait: Duration::from_secs(10) }))
}

/// Acquires an address without waiting.
fn lease(pool: &Arc<Pool>, is_last: bool) -> Result<AddressLease, UpstreamError> {
    lease_for(1, pool, is_last)
}

fn lease_for(user: u64, pool: &Arc<Pool>, is_last: bool) -> Result<AddressLease, UpstreamError> {
    pool.acquire(user, is_last, TriedAddresses::default()).now_or_never().expect("the call waits")
}

/// Acquires an address, and adds it to `tried`.
fn retry(tried: &mut TriedAddresses, pool: &Arc<Pool>) -> AddressLease {
    let lease = pool.acquire(1, true, *tried).now_or_never().expect("the call waits").unwrap();
    tried.insert(lease.index());
    lease
}

/// Acquires an address, and may wait for a slot.
async fn wait(pool: &Arc<Pool>, user: u64) -> Result<AddressLease, UpstreamError> {
    pool.acquire(user, true, TriedAddresses::default()).await
}

/// Makes calls, one after the other, that fail.
fn fail(pool: &Arc<Pool>, calls: usize) {
    for _ in 0..calls {
        lease(pool, true).unwrap().end(FAILED);
    }
}

/// Ejects one address.
fn eject(pool: &Pool, index: usize) {
    let now = pool.now();
    (0..5).for_each(|_| pool.lock().addresses[index].health.fail(false, now, 0));
}

fn in_flight(pool: &Pool) -> Vec<usize> {
    pool.lock().addresses.iter().map(|address| address.in_flight).collect()
}

#[tokio::test(start_paused = true)]
async fn a_call_gets_the_address_with_the_fewest_calls_in_flight() {
    let pool = Pool::new(3, None);
    let leases: Vec<_> = (0..7).map(|_| lease(&pool, true).unwrap()).collect();
    assert_eq!(leases.iter().map(AddressLease::index).collect::<Vec<_>>(), [0, 1, 2, 0, 1, 2, 0]);
    let others: Vec<_> = leases.into_iter().filter(|lease| lease.index() != 2).collect();
    assert_eq!(in_flight(&pool), [3, 2, 0]);
    let more: Vec<_> = (0..2).map(|_| lease(&pool, true).unwrap()).collect();
    assert_eq!(more.iter().map(AddressLease::index).collect::<Vec<_>>(), [2, 2]);
    drop((others, more));
    assert_eq!(in_flight(&pool), [0, 0, 0]);
}

#[tokio::test(start_paused = true)]
async fn equal_addresses_take_turns() {
    let pool = Pool::new(3, None);
    let indices: Vec<_> = (0..6).map(|_| lease(&pool, true).unwrap().index()).collect();
    assert_eq!(indices, [0, 1, 2, 0, 1, 2]);
}

#[tokio::test(start_paused = true)]
async fn a_failing_address_is_ejected_and_then_tried_by_one_call() {
    let pool = Pool::new(2, None);
    let mut calls = [0, 0];
    for _ in 0..200 {
        let lease = lease(&pool, true).unwrap();
        let index = lease.index();
        calls[index] += 1;
        lease.end(if index == 0 { FAILED } else { COMPLETE });
    }
    assert!(calls[0] <= 5, "{calls:?}");
    // An address with recent failures is chosen last. Five failures in a row take some time, or
    // many concurrent calls.
    let busy: Vec<_> = (0..40).map(|_| lease(&pool, true).unwrap()).collect();
    for lease in busy {
        if lease.index() == 0 { lease.end(FAILED) } else { drop(lease) }
    }
    assert!((0..20).all(|_| lease(&pool, false).unwrap().index() == 1), "ejected");
    advance(Duration::from_secs(7)).await;
    let trial = lease(&pool, true).unwrap();
    assert_eq!(trial.index(), 0);
    assert!((0..20).all(|_| lease(&pool, true).unwrap().index() == 1), "one trial call");
    trial.end(COMPLETE);
    let (one, other) = (lease(&pool, true).unwrap(), lease(&pool, true).unwrap());
    assert_ne!(one.index(), other.index());
}

#[tokio::test(start_paused = true)]
async fn a_retry_uses_another_address_while_one_is_healthy() {
    let pool = Pool::new(3, None);
    let mut tried = TriedAddresses::default();
    // The healthy address has the most calls in flight.
    let busy: Vec<_> = (0..30).map(|_| lease(&pool, true).unwrap()).filter(|lease| lease.index() == 1).collect();
    let leases: Vec<_> = (0..3).map(|_| retry(&mut tried, &pool)).collect();
    let mut indices: Vec<_> = leases.iter().map(AddressLease::index).collect();
    for lease in leases {
        if lease.index() == 1 { drop(lease) } else { lease.end(FAILED) }
    }
    indices.sort_unstable();
    assert_eq!(indices, [0, 1, 2], "each once");
    assert_ne!(retry(&mut tried, &pool).index(), 1, "all are tried");
    drop(busy);
    eject(&pool, 0);
    let mut tried = TriedAddresses::default();
    tried.insert(1);
    tried.insert(2);
    assert_ne!(retry(&mut tried, &pool).index(), 0, "a tried address is better than an ejected one");
}

#[tokio::test(start_paused = true)]
async fn only_a_call_to_the_last_target_gets_an_ejected_address() {
    let pool = Pool::new(2, None);
    fail(&pool, 10);
    assert_eq!(lease(&pool, false).unwrap_err(), UpstreamError::Ejected);
    let (one, other) = (lease(&pool, true).unwrap(), lease(&pool, true).unwrap());
    assert_ne!(one.index(), other.index(), "they share the calls");
    drop((one, other));
    advance(Duration::from_secs(7)).await;
    lease(&pool, false).unwrap().end(COMPLETE);
    assert!(lease(&pool, false).is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_successful_trial_counts_before_its_reply_ends() {
    let pool = Pool::new(1, None);
    fail(&pool, 5);
    advance(Duration::from_secs(7)).await;
    let mut trial = lease(&pool, false).unwrap();
    assert_eq!(lease(&pool, false).unwrap_err(), UpstreamError::Ejected);
    trial.note_output();
    assert!(lease(&pool, false).is_ok());
}

#[tokio::test(start_paused = true)]
async fn an_address_that_interrupts_each_reply_is_ejected() {
    let pool = Pool::new(2, None);
    let mut calls = [0, 0];
    for _ in 0..200 {
        // Two concurrent calls, so that each address gets one.
        let both: Vec<_> = (0..2).map(|_| lease(&pool, true).unwrap()).collect();
        for mut lease in both {
            let index = lease.index();
            calls[index] += 1;
            lease.note_output();
            lease.end(if index == 0 { FAILED } else { COMPLETE });
        }
    }
    assert!(calls[0] <= 10 && calls[1] >= 390, "{calls:?}");
}

#[tokio::test(start_paused = true)]
async fn an_address_is_ranked_lower_after_clients_left_it_silent() {
    let pool = Pool::new(2, None);
    let mut hung = 0;
    for _ in 0..100 {
        let lease = lease(&pool, true).unwrap();
        if lease.index() == 0 {
            hung += 1;
            advance(Duration::from_secs(2)).await;
        } else {
            advance(Duration::from_millis(100)).await;
            lease.end(COMPLETE);
        }
    }
    // One now and then, not every second call.
    assert!((1..=2).contains(&hung), "{hung}");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_in_mid_reply_gives_no_verdict() {
    let pool = Pool::new(1, None);
    fail(&pool, 4);
    for _ in 0..9 {
        lease(&pool, false).unwrap().note_output();
    }
    assert_eq!(pool.lock().addresses[0].health.state(pool.now()), HealthState::Healthy(4));
    fail(&pool, 1);
    assert_eq!(lease(&pool, false).unwrap_err(), UpstreamError::Ejected);
}

#[tokio::test(start_paused = true)]
async fn after_a_trial_whose_client_left_the_next_call_is_the_trial() {
    let pool = Pool::new(1, None);
    fail(&pool, 5);
    advance(Duration::from_secs(7)).await;
    drop(lease(&pool, false).unwrap());
    assert!(lease(&pool, false).is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_slot_is_held_until_the_lease_ends_and_passes_to_the_waiting_call() {
    let pool = limited(1, 2);
    let first = lease(&pool, true).unwrap();
    let mut second = Box::pin(wait(&pool, 1));
    assert!(second.as_mut().now_or_never().is_none());
    drop(first);
    let second = second.now_or_never().unwrap().unwrap();
    assert_eq!(in_flight(&pool), [1]);
    drop(second);
    assert!(lease(&pool, true).is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_call_is_refused_if_the_queue_is_full_or_the_wait_too_long() {
    let pool = limited(1, 1);
    let first = lease(&pool, true).unwrap();
    let mut second = Box::pin(wait(&pool, 1));
    assert!(second.as_mut().now_or_never().is_none());
    assert_eq!(lease(&pool, true).unwrap_err(), UpstreamError::Overloaded);
    advance(Duration::from_millis(9_999)).await;
    assert!(second.as_mut().now_or_never().is_none());
    advance(Duration::from_millis(2)).await;
    assert_eq!(second.now_or_never().unwrap().unwrap_err(), UpstreamError::Overloaded);
    drop(first);
    assert!(lease(&pool, true).is_ok());
}

#[tokio::test(start_paused = true)]
async fn acquiring_takes_as_long_as_the_wait_for_a_slot() {
    let pool = limited(1, 3);
    let first = lease(&pool, true).unwrap();
    let timed = async |user: u64| {
        let began = Instant::now();
        (wait(&pool, user).await, began.elapsed().as_secs())
    };
    let (mut granted, mut left, mut refused) = (Box::pin(timed(0)), Box::pin(timed(1)), Box::pin(timed(2)));
    assert!(granted.as_mut().now_or_never().is_none());
    assert!(left.as_mut().now_or_never().is_none());
    assert!(refused.as_mut().now_or_never().is_none());
    advance(Duration::from_secs(3)).await;
    drop(left);
    drop(first);
    let (lease, waited) = granted.now_or_never().unwrap();
    assert_eq!((lease.is_ok(), waited), (true, 3));
    let _lease = lease;
    advance(Duration::from_millis(7_001)).await;
    let (lease, waited) = refused.now_or_never().unwrap();
    assert_eq!((lease.unwrap_err(), waited), (UpstreamError::Overloaded, 10));
}

#[tokio::test(start_paused = true)]
async fn a_displaced_call_is_refused_immediately() {
    let pool = limited(1, 2);
    let _first = lease(&pool, true).unwrap();
    let mut floods: Vec<_> = (0..2).map(|_| Box::pin(wait(&pool, 1))).collect();
    assert!(floods.iter_mut().all(|flood| flood.as_mut().now_or_never().is_none()));
    let mut quiet = Box::pin(wait(&pool, 2));
    assert!(quiet.as_mut().now_or_never().is_none());
    assert_eq!(floods[1].as_mut().now_or_never().unwrap().unwrap_err(), UpstreamError::Overloaded);
    assert!(floods[0].as_mut().now_or_never().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_user_leaves_one_slot_free_and_gets_its_own_slots_again() {
    let pool = limited(4, 8);
    let mut held: Vec<_> = (0..3).map(|_| lease(&pool, true).unwrap()).collect();
    let mut fourth = Box::pin(wait(&pool, 1));
    assert!(fourth.as_mut().now_or_never().is_none(), "its share is three");
    drop(lease_for(2, &pool, true).unwrap());
    assert!(fourth.as_mut().now_or_never().is_none());
    held.pop();
    assert!(fourth.now_or_never().unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn no_slot_is_lost_whenever_a_waiting_client_leaves() {
    let pool = limited(2, 8);
    for leaves_granted in [false, true] {
        let held = [8, 9].map(|user| lease_for(user, &pool, true).unwrap());
        let mut waiting: Vec<_> = (0..8).map(|user| Box::pin(wait(&pool, user))).collect();
        assert!(waiting.iter_mut().all(|one| one.as_mut().now_or_never().is_none()));
        if leaves_granted {
            // The calls have slots, but have not been polled since.
            drop(held);
            drop(waiting);
        } else {
            drop(waiting);
            drop(held);
        }
        assert_eq!(in_flight(&pool), [0]);
        drop([1, 2].map(|user| lease_for(user, &pool, true).unwrap()));
    }
}
