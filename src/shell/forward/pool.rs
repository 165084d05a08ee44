//! The addresses of one upstream and the slots for its concurrent calls.
//!
//! A call waits for a slot, then gets the address with the fewest calls in flight. It holds both
//! in an [`AddressLease`] until the response's body is dropped. The lease ends with a [`Verdict`],
//! by which the address's health is judged.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::oneshot,
    time::{Instant, timeout},
};

use super::{
    health::{Health, HealthState},
    queue::{Entered, FairQueue, Ticket},
};
use crate::{
    config::Concurrency,
    service::EntropySource as _,
    shell::entropy::SystemEntropy,
    upstream::{TriedAddresses, UpstreamError, Verdict},
};

/// The addresses of one upstream, and its slots.
#[derive(Debug)]
pub(super) struct Pool {
    created: Instant,
    /// The longest time that a call waits for a slot.
    wait: Duration,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// `None` if the number of concurrent calls is not limited.
    queue: Option<FairQueue<oneshot::Sender<CallSlot>>>,
    addresses: Vec<Address>,
    /// The number of choices so far, by which equal addresses are chosen round robin.
    choices: u64,
}

#[derive(Clone, Debug, Default)]
struct Address {
    in_flight: usize,
    /// The number of the last choice of this address.
    chosen: u64,
    health: Health,
}

impl Pool {
    /// A pool of this many healthy addresses.
    pub(super) fn new(addresses: usize, concurrency: Option<Concurrency>) -> Arc<Self> {
        let state = State {
            queue: concurrency.map(|Concurrency { calls, queue, .. }| FairQueue::new(calls, queue)),
            addresses: vec![Address::default(); addresses],
            choices: 0,
        };
        let wait = concurrency.map_or(Duration::ZERO, |concurrency| concurrency.wait);
        Arc::new(Self { created: Instant::now(), wait, state: Mutex::new(state) })
    }

    /// Waits for a slot, then chooses the address for a call of `user`. An ejected address is
    /// chosen only if `is_last` is true.
    ///
    /// # Errors
    /// [`UpstreamError::Ejected`] if all addresses are ejected; [`UpstreamError::Overloaded`] if
    /// the queue is full, or if no slot becomes free in time.
    pub(super) async fn acquire(
        self: &Arc<Self>,
        user: u64,
        is_last: bool,
        tried: TriedAddresses,
    ) -> Result<AddressLease, UpstreamError> {
        // Without an address, waiting for a slot has no point.
        if self.lock().choice(self.now(), is_last, tried).is_none() {
            return Err(UpstreamError::Ejected);
        }
        let slot = self.slot(user).await?;
        let now = self.now();
        let mut state = self.lock();
        let index = state.choice(now, is_last, tried).ok_or(UpstreamError::Ejected)?;
        let State { addresses, choices, .. } = &mut *state;
        *choices = choices.saturating_add(1);
        let address = addresses.get_mut(index).ok_or(UpstreamError::Ejected)?;
        address.chosen = *choices;
        address.in_flight += 1;
        let is_trial = address.health.call(now);
        drop(state);
        let pool = Arc::clone(self);
        Ok(AddressLease { pool, index, started: now, is_trial, has_output: false, verdict: None, _slot: slot })
    }

    async fn slot(self: &Arc<Self>, user: u64) -> Result<CallSlot, UpstreamError> {
        let (sender, granted) = oneshot::channel();
        let (ticket, displaced) = {
            let mut state = self.lock();
            let Some(queue) = &mut state.queue else { return Ok(CallSlot { pool: None, user }) };
            match queue.enter(user, sender) {
                Entered::Placed(_) => return Ok(CallSlot { pool: Some(Arc::clone(self)), user }),
                Entered::Refused(_) => return Err(UpstreamError::Overloaded),
                Entered::Waiting(ticket, displaced) => (ticket, displaced),
            }
        };
        // Dropping the sender ends the displaced call's wait.
        drop(displaced);
        let _waiting = Waiting { pool: self, user, ticket };
        match timeout(self.wait, granted).await {
            Ok(Ok(slot)) => Ok(slot),
            _ => Err(UpstreamError::Overloaded),
        }
    }

    fn now(&self) -> Duration {
        self.created.elapsed()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The address for the next call: one that is due for a trial, else a healthy one, else an
    /// ejected one if `any` is true. Among several, one that is not in `tried`; among these, the
    /// one with the fewest calls in flight.
    fn choice(&self, now: Duration, any: bool, tried: TriedAddresses) -> Option<usize> {
        let rank = |(index, address): (usize, &Address)| {
            // Each recent failure or silence counts as one more call in flight.
            let (class, load, until) = match address.health.state(now) {
                HealthState::TrialDue => (0, address.in_flight, Duration::ZERO),
                HealthState::Healthy(failures) => {
                    (1, address.in_flight.saturating_add(failures as usize), Duration::ZERO)
                }
                HealthState::Ejected(until) => (2, address.in_flight, until),
            };
            (class, tried.contains(index), load, until, address.chosen, index)
        };
        let best = self.addresses.iter().enumerate().map(rank).min()?;
        (any || best.0 < 2).then_some(best.5)
    }
}

/// A call in flight at one address. Dropping it ends the call, without a verdict unless
/// [`Self::end`] was called.
#[derive(Debug)]
pub(super) struct AddressLease {
    pool: Arc<Pool>,
    index: usize,
    started: Duration,
    /// True while this call is the trial of an ejected address.
    is_trial: bool,
    has_output: bool,
    verdict: Option<Verdict>,
    _slot: CallSlot,
}

impl AddressLease {
    /// The index of the address.
    pub(super) fn index(&self) -> usize {
        self.index
    }

    /// Records that a part of a reply has arrived, before the rest arrives, which may take minutes.
    pub(super) fn note_output(&mut self) {
        if !self.has_output {
            self.has_output = true;
            let is_trial = std::mem::take(&mut self.is_trial);
            self.note(|health| health.respond(is_trial));
        }
    }

    /// Ends the call with a verdict on the address.
    pub(super) fn end(mut self, verdict: Verdict) {
        self.verdict = Some(verdict);
    }

    fn note(&self, note: impl FnOnce(&mut Health)) {
        if let Some(address) = self.pool.lock().addresses.get_mut(self.index) {
            note(&mut address.health);
        }
    }
}

impl Drop for AddressLease {
    fn drop(&mut self) {
        let now = self.pool.now();
        match self.verdict {
            Some(Verdict::Cancelled | Verdict::Complete | Verdict::Refused) => {
                self.note_output();
                self.note(Health::succeed);
            }
            Some(Verdict::Failed) => {
                let (is_trial, jitter) = (self.is_trial, SystemEntropy.jitter());
                self.note(|health| health.fail(is_trial, now, jitter));
            }
            None => {
                let silent = if self.has_output { Duration::ZERO } else { now.saturating_sub(self.started) };
                self.note(|health| health.abandon(self.is_trial, now, silent));
            }
        }
        if let Some(address) = self.pool.lock().addresses.get_mut(self.index) {
            address.in_flight = address.in_flight.saturating_sub(1);
        }
    }
}

/// A user's slot, without a pool if the number of calls is not limited. Dropping it passes the slot
/// to the next call in the queue.
#[derive(Debug)]
struct CallSlot {
    pool: Option<Arc<Pool>>,
    user: u64,
}

impl Drop for CallSlot {
    fn drop(&mut self) {
        let Some(pool) = self.pool.take() else { return };
        let mut user = self.user;
        loop {
            let next = pool.lock().queue.as_mut().and_then(|queue| queue.release(user));
            let Some((next, waiter)) = next else { return };
            user = next;
            match waiter.send(Self { pool: Some(Arc::clone(&pool)), user }) {
                Ok(()) => return,
                // The call left the queue just now. Its slot goes to the next one, in this loop.
                Err(mut slot) => slot.pool = None,
            }
        }
    }
}

/// A call that waits for a slot. Dropping it removes the call from the queue.
struct Waiting<'a> {
    pool: &'a Pool,
    user: u64,
    ticket: Ticket,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if let Some(queue) = &mut self.pool.lock().queue {
            queue.leave(self.user, self.ticket);
        }
    }
}

#[cfg(test)]
mod tests;
