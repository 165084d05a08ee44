//! What the store is told late: turns that ended without a word, and endings that it could not be told.
//!
//! One task tells many of them at once, each again and again with growing pauses, for as long as a turn's lease at most:
//! then leases have done their work. Order does not matter, and telling twice does no harm, since the store remembers what
//! has ended.
//!
//! **Bounds.** What ends a turn that was admitted waits in a queue of its own measure, and a caller has no more of those
//! than turns at once. Where it is not known whether a turn was admitted, its caller left while it was asked for, and can
//! make any number of those: who has [`CALLER_BUSY`] of them is busy, each has room for [`CALLER_MOST`], all of them for
//! [`UNSURE_MOST`]. What there is no room for is not told, and left to its lease, which holds up that caller alone; the
//! operator's log says so.

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

use super::{Shared, fault::StoreFault, scripts::TurnEntry};
use crate::guard::{LimitSubject, TurnEnd};

/// Takes what is to be told.
#[derive(Clone, Debug)]
pub(super) struct Settling {
    jobs: UnboundedSender<Job>,
    room: Arc<Room>,
}

/// A turn's end.
#[derive(Debug)]
struct Job {
    turn: Box<TurnEntry>,
    ending: TurnEnd,
    since: Instant,
    _place: SettlingSlot,
}

impl Settling {
    /// Starts the task; it ends with the last copy of what this gives.
    pub(super) fn start(shared: Arc<Shared>) -> Self {
        let (sender, mut jobs) = mpsc::unbounded_channel();
        let jobs = stream::poll_fn(move |context| jobs.poll_recv(context));
        tokio::spawn(jobs.for_each_concurrent(AT_ONCE, move |job| tell(Arc::clone(&shared), job)));
        Self { jobs: sender, room: Arc::default() }
    }

    /// Has a turn's end told.
    ///
    /// # Errors
    /// What to tell an operator if there is no room to remember it.
    pub(super) fn tell(&self, turn: TurnEntry, ending: TurnEnd) -> Result<(), StoreFault> {
        let unsure = turn.admitted.is_none().then_some(&turn.counted);
        let place = self.room.take(unsure).ok_or_else(StoreFault::untold)?;
        let job = Job { turn: Box::new(turn), ending, since: Instant::now(), _place: place };
        // The task outlives what sends to it.
        let _ = self.jobs.send(job);
        Ok(())
    }

    /// Whether a caller has left so often that it should wait until the store was told of it.
    pub(super) fn is_busy(&self, caller: &LimitSubject) -> bool {
        self.room.has(caller) >= CALLER_BUSY
    }

    /// Waits until nothing is left to be told, or for `limit`.
    pub(super) async fn flush(&self, limit: Duration) {
        let mut waiting = self.room.waiting.subscribe();
        let _ = timeout(limit, waiting.wait_for(|waiting| *waiting == 0)).await;
    }
}

async fn tell(shared: Arc<Shared>, job: Job) {
    let Job { turn, ending, since, .. } = &job;
    let mut pause = PAUSE_FIRST;
    while let Err(fault) = shared.settle(turn, *ending).await {
        // What is one key's own trouble stays, however often it is tried.
        if !fault.is_of_store || since.elapsed() + pause > turn.rules.lease {
            break;
        }
        sleep(pause).await;
        pause = (pause * 2).min(PAUSE_MOST);
    }
}

/// The room for what is to be told.
#[derive(Debug)]
struct Room {
    taken: Mutex<TakenJob>,
    /// How many wait, or are being told.
    waiting: watch::Sender<usize>,
}

#[derive(Debug, Default)]
struct TakenJob {
    sure: usize,
    unsure: usize,
    callers: HashMap<LimitSubject, usize>,
}

/// One end's place, until it is dropped.
#[derive(Debug)]
struct SettlingSlot {
    room: Arc<Room>,
    unsure: Option<LimitSubject>,
}

impl Default for Room {
    fn default() -> Self {
        Self { taken: Mutex::default(), waiting: watch::Sender::new(0) }
    }
}

impl Room {
    /// Takes a place; `unsure` is the caller where it is not known whether the turn was admitted.
    fn take(self: &Arc<Self>, unsure: Option<&LimitSubject>) -> Option<SettlingSlot> {
        self.change(|taken| match unsure {
            None => {
                taken.sure = Some(taken.sure).filter(|sure| *sure < SURE_MOST)?.saturating_add(1);
                Some(())
            }
            Some(caller) => {
                let theirs = taken.callers.get(caller).copied().unwrap_or_default();
                if taken.unsure >= UNSURE_MOST || theirs >= CALLER_MOST {
                    return None;
                }
                taken.unsure = taken.unsure.saturating_add(1);
                taken.callers.insert(caller.clone(), theirs.saturating_add(1));
                Some(())
            }
        })?;
        Some(SettlingSlot { room: Arc::clone(self), unsure: unsure.cloned() })
    }

    fn has(&self, caller: &LimitSubject) -> usize {
        let taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.callers.get(caller).copied().unwrap_or_default()
    }

    fn change<T>(&self, work: impl FnOnce(&mut TakenJob) -> T) -> T {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let outcome = work(&mut taken);
        self.waiting.send_replace(taken.sure.saturating_add(taken.unsure));
        outcome
    }
}

impl Drop for SettlingSlot {
    fn drop(&mut self) {
        self.room.change(|taken| match &self.unsure {
            None => taken.sure = taken.sure.saturating_sub(1),
            Some(caller) => {
                taken.unsure = taken.unsure.saturating_sub(1);
                match taken.callers.get_mut(caller) {
                    Some(theirs) if *theirs > 1 => *theirs = theirs.saturating_sub(1),
                    _ => drop(taken.callers.remove(caller)),
                }
            }
        });
    }
}

/// Ends that are told at once.
const AT_ONCE: usize = 256;
/// The most ends of admitted turns that wait to be told: some 400 bytes each.
const SURE_MOST: usize = 16_384;
/// The most where it is not known whether the turn was admitted.
const UNSURE_MOST: usize = 4_096;
/// The same of one caller.
const CALLER_MOST: usize = 256;
/// With so many a caller gets no other turn; those that it has asked for by then have room beyond.
const CALLER_BUSY: usize = 32;
const PAUSE_FIRST: Duration = Duration::from_millis(100);
const PAUSE_MOST: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(number: usize) -> LimitSubject {
        LimitSubject::Peer(std::net::Ipv4Addr::from(u32::try_from(number).unwrap()).into())
    }

    #[test]
    fn a_callers_flood_meets_its_own_bound() {
        let room = Arc::new(Room::default());
        let mut flood: Vec<_> = (0..CALLER_MOST).map(|_| room.take(Some(&caller(1))).unwrap()).collect();
        assert!(room.take(Some(&caller(1))).is_none() && room.has(&caller(1)) == CALLER_MOST);
        let others = (room.take(Some(&caller(2))).unwrap(), room.take(None).unwrap());
        assert_eq!(*room.waiting.borrow(), CALLER_MOST + 2);
        flood.pop();
        drop((room.take(Some(&caller(1))).unwrap(), flood, others));
        assert_eq!(*room.waiting.borrow(), 0);
        assert!(room.taken.lock().unwrap().callers.is_empty());
    }

    #[test]
    fn no_flood_of_callers_takes_the_room_of_admitted_turns() {
        let room = Arc::new(Room::default());
        let flood: Vec<_> = (0..UNSURE_MOST).map(|at| room.take(Some(&caller(at))).unwrap()).collect();
        assert!(room.take(Some(&caller(UNSURE_MOST))).is_none());
        let sure: Vec<_> = (0..SURE_MOST).map(|_| room.take(None).unwrap()).collect();
        assert!(room.take(None).is_none());
        drop((flood, sure));
        assert!(room.take(None).is_some());
    }
}
