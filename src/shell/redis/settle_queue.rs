//! The queue of ended turns whose end the store does not know yet: turns that were dropped, and
//! turns for which the call to the store failed.
//!
//! One task reports up to [`CONCURRENT_REPORTS`] of them concurrently. It repeats each report with
//! growing pauses, at most for the length of the turn's lease: after that, the lease has released
//! the turn. The order does not matter, and a repeated report is harmless, because the store
//! remembers which turns have ended.
//!
//! **Bounds.** The queue counts two kinds of turns separately:
//!
//! - Admitted turns: at most [`ADMITTED_MAX`]. A caller has at most its concurrent turns in the
//!   queue.
//! - Turns of which it is not known whether they were admitted: the caller left before the store
//!   answered. A caller can create any number of these. A caller with [`UNSURE_BUSY`] of them gets
//!   no other turn, a caller has room for [`UNSURE_PER_CALLER`], and all callers together for
//!   [`UNSURE_MAX`].
//!
//! A report that finds no room is dropped, and the operator's log says so. The lease then releases
//! the turn; until then it holds up only its own caller.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures_util::{StreamExt as _, stream};
use tokio::{
    sync::{
        mpsc::{self, UnboundedSender},
        watch,
    },
    time::{Instant, sleep, timeout},
};

use super::{fault::StoreFault, store::Store, turn_entry::TurnEntry};
use crate::guard::{LimitSubject, TurnEnd};

/// The sending side of the queue. Clones send to the same queue.
#[derive(Clone, Debug)]
pub(super) struct SettleQueue {
    sender: UnboundedSender<EndedTurn>,
    capacity: Arc<Capacity>,
}

/// An ended turn in the queue.
#[derive(Debug)]
struct EndedTurn {
    turn: Box<TurnEntry>,
    end: TurnEnd,
    since: Instant,
    _slot: QueueSlot,
}

impl SettleQueue {
    /// Starts the task. It ends when the last clone of the queue is dropped.
    pub(super) fn start(store: Arc<Store>) -> Self {
        let (sender, mut receiver) = mpsc::unbounded_channel();
        let ended = stream::poll_fn(move |context| receiver.poll_recv(context));
        tokio::spawn(ended.for_each_concurrent(CONCURRENT_REPORTS, move |turn| report(Arc::clone(&store), turn)));
        Self { sender, capacity: Arc::default() }
    }

    /// Queues the report of a turn's end.
    ///
    /// # Errors
    /// A fault for the operator's log if the queue is full.
    pub(super) fn push(&self, turn: TurnEntry, end: TurnEnd) -> Result<(), StoreFault> {
        let unsure = turn.admitted.is_none().then_some(&turn.subject);
        let slot = self.capacity.reserve(unsure).ok_or_else(StoreFault::queue_full)?;
        let ended = EndedTurn { turn: Box::new(turn), end, since: Instant::now(), _slot: slot };
        // This cannot fail: the task ends after the last sender.
        let _ = self.sender.send(ended);
        Ok(())
    }

    /// Returns true if a caller has left so often that it must wait until the store has the ends of
    /// its turns.
    pub(super) fn is_busy(&self, caller: &LimitSubject) -> bool {
        self.capacity.unsure_of(caller) >= UNSURE_BUSY
    }

    /// Waits until the queue is empty, at most for `limit`.
    pub(super) async fn flush(&self, limit: Duration) {
        let mut length = self.capacity.length.subscribe();
        let _ = timeout(limit, length.wait_for(|length| *length == 0)).await;
    }
}

/// Reports one end until the store has it, or the lease is over.
async fn report(store: Arc<Store>, ended: EndedTurn) {
    let EndedTurn { turn, end, since, .. } = &ended;
    let mut pause = FIRST_PAUSE;
    while let Err(fault) = store.settle(turn, *end).await {
        // The fault of a single key does not go away when the call is repeated.
        if !fault.affects_all_calls || since.elapsed() + pause > turn.rules.lease {
            break;
        }
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// The capacity of the queue.
#[derive(Debug)]
struct Capacity {
    used: Mutex<UsedCapacity>,
    /// The number of turns that wait or are being reported.
    length: watch::Sender<usize>,
}

#[derive(Debug, Default)]
struct UsedCapacity {
    admitted: usize,
    unsure: usize,
    /// The `unsure` turns of each caller.
    unsure_by_caller: HashMap<LimitSubject, usize>,
}

/// The capacity that one turn uses, until it is dropped.
#[derive(Debug)]
struct QueueSlot {
    capacity: Arc<Capacity>,
    /// The caller, if it is not known whether the turn was admitted.
    unsure: Option<LimitSubject>,
}

impl Default for Capacity {
    fn default() -> Self {
        Self { used: Mutex::default(), length: watch::Sender::new(0) }
    }
}

impl Capacity {
    /// Reserves the capacity for one turn. `unsure` is the caller if it is not known whether the
    /// turn was admitted.
    fn reserve(self: &Arc<Self>, unsure: Option<&LimitSubject>) -> Option<QueueSlot> {
        self.update(|used| match unsure {
            None => used.reserve_admitted(),
            Some(caller) => used.reserve_unsure(caller),
        })?;
        Some(QueueSlot { capacity: Arc::clone(self), unsure: unsure.cloned() })
    }

    fn unsure_of(&self, caller: &LimitSubject) -> usize {
        self.used.lock().unwrap_or_else(PoisonError::into_inner).unsure_of(caller)
    }

    fn update<T>(&self, update: impl FnOnce(&mut UsedCapacity) -> T) -> T {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        let outcome = update(&mut used);
        self.length.send_replace(used.admitted.saturating_add(used.unsure));
        outcome
    }
}

impl UsedCapacity {
    fn reserve_admitted(&mut self) -> Option<()> {
        self.admitted = Some(self.admitted).filter(|admitted| *admitted < ADMITTED_MAX)?.saturating_add(1);
        Some(())
    }

    fn reserve_unsure(&mut self, caller: &LimitSubject) -> Option<()> {
        let of_caller = self.unsure_of(caller);
        if self.unsure >= UNSURE_MAX || of_caller >= UNSURE_PER_CALLER {
            return None;
        }
        self.unsure = self.unsure.saturating_add(1);
        self.unsure_by_caller.insert(caller.clone(), of_caller.saturating_add(1));
        Some(())
    }

    fn release_unsure(&mut self, caller: &LimitSubject) {
        self.unsure = self.unsure.saturating_sub(1);
        match self.unsure_by_caller.get_mut(caller) {
            Some(of_caller) if *of_caller > 1 => *of_caller = of_caller.saturating_sub(1),
            _ => drop(self.unsure_by_caller.remove(caller)),
        }
    }

    fn unsure_of(&self, caller: &LimitSubject) -> usize {
        self.unsure_by_caller.get(caller).copied().unwrap_or_default()
    }
}

impl Drop for QueueSlot {
    fn drop(&mut self) {
        self.capacity.update(|used| match &self.unsure {
            None => used.admitted = used.admitted.saturating_sub(1),
            Some(caller) => used.release_unsure(caller),
        });
    }
}

/// Ends that are reported concurrently.
const CONCURRENT_REPORTS: usize = 256;
/// The most admitted turns in the queue: about 400 bytes each.
const ADMITTED_MAX: usize = 16_384;
/// The most turns in the queue of which it is not known whether they were admitted.
const UNSURE_MAX: usize = 4_096;
/// The most of these for one caller.
const UNSURE_PER_CALLER: usize = 256;
/// With this many a caller gets no other turn. The rest of [`UNSURE_PER_CALLER`] is room for the
/// turns that it has already requested.
const UNSURE_BUSY: usize = 32;
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(number: usize) -> LimitSubject {
        LimitSubject::Peer(std::net::Ipv4Addr::from(u32::try_from(number).unwrap()).into())
    }

    #[test]
    fn the_flood_of_a_caller_meets_its_own_bound() {
        let capacity = Arc::new(Capacity::default());
        let mut flood: Vec<_> = (0..UNSURE_PER_CALLER).map(|_| capacity.reserve(Some(&caller(1))).unwrap()).collect();
        assert!(capacity.reserve(Some(&caller(1))).is_none() && capacity.unsure_of(&caller(1)) == UNSURE_PER_CALLER);
        let others = (capacity.reserve(Some(&caller(2))).unwrap(), capacity.reserve(None).unwrap());
        assert_eq!(*capacity.length.borrow(), UNSURE_PER_CALLER + 2);
        flood.pop();
        drop((capacity.reserve(Some(&caller(1))).unwrap(), flood, others));
        assert_eq!(*capacity.length.borrow(), 0);
        assert!(capacity.used.lock().unwrap().unsure_by_caller.is_empty());
    }

    #[test]
    fn a_flood_of_callers_leaves_the_capacity_for_admitted_turns() {
        let capacity = Arc::new(Capacity::default());
        let flood: Vec<_> = (0..UNSURE_MAX).map(|at| capacity.reserve(Some(&caller(at))).unwrap()).collect();
        assert!(capacity.reserve(Some(&caller(UNSURE_MAX))).is_none());
        let admitted: Vec<_> = (0..ADMITTED_MAX).map(|_| capacity.reserve(None).unwrap()).collect();
        assert!(capacity.reserve(None).is_none());
        drop((flood, admitted));
        assert!(capacity.reserve(None).is_some());
    }
}
