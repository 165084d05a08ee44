//! One upstream: its addresses, of which each call gets the one with the least to do, and the places for calls at once.
//!
//! A call waits for a place, goes to an address, and holds both until the answer's body is gone. What it was worth is read
//! from its [`Outcome`] then; that something of an answer has come, as soon as it is known.

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
    upstream::{Outcome, Tried, UpstreamError},
};

/// The addresses of one upstream, and its places.
#[derive(Debug)]
pub(super) struct Pool {
    began: Instant,
    wait: Duration,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// None where there are as many places as calls.
    queue: Option<FairQueue<oneshot::Sender<CallSlot>>>,
    addresses: Vec<Address>,
    /// Counts choices, so that equals take turns.
    choices: u64,
}

#[derive(Clone, Debug, Default)]
struct Address {
    under_way: usize,
    /// The number of the choice that fell on it last.
    chosen: u64,
    health: Health,
}

impl Pool {
    /// So many addresses, all of them well.
    pub(super) fn new(addresses: usize, concurrency: Option<Concurrency>) -> Arc<Self> {
        let state = State {
            queue: concurrency.map(|Concurrency { calls, queue, .. }| FairQueue::new(calls, queue)),
            addresses: vec![Address::default(); addresses],
            choices: 0,
        };
        let wait = concurrency.map_or(Duration::ZERO, |concurrency| concurrency.wait);
        Arc::new(Self { began: Instant::now(), wait, state: Mutex::new(state) })
    }

    /// Waits for a place, then chooses the address for a call of `user`'s, and notes it in `tried`. Where all have been
    /// failing, it is one of them only if the call has nowhere else to go.
    ///
    /// # Errors
    /// [`UpstreamError::Ejected`], [`UpstreamError::Overloaded`].
    pub(super) async fn enter(
        self: &Arc<Self>,
        user: u64,
        is_last: bool,
        tried: &Tried,
        outcome: Outcome,
    ) -> Result<Visit, UpstreamError> {
        // Not to wait for what will not be.
        if self.lock().choice(self.now(), is_last, tried).is_none() {
            return Err(UpstreamError::Ejected);
        }
        let place = self.place(user, &outcome).await?;
        let now = self.now();
        let mut state = self.lock();
        let index = state.choice(now, is_last, tried).ok_or(UpstreamError::Ejected)?;
        let State { addresses, choices, .. } = &mut *state;
        *choices = choices.saturating_add(1);
        let address = addresses.get_mut(index).ok_or(UpstreamError::Ejected)?;
        address.chosen = *choices;
        address.under_way += 1;
        let tries = address.health.call(now);
        drop(state);
        tried.set(index);
        Ok(Visit { pool: Arc::clone(self), index, began: now, tries, answers: false, outcome, _place: place })
    }

    async fn place(self: &Arc<Self>, user: u64, outcome: &Outcome) -> Result<CallSlot, UpstreamError> {
        let (sender, placed) = oneshot::channel();
        let (ticket, gave_way) = {
            let mut state = self.lock();
            let Some(queue) = &mut state.queue else { return Ok(CallSlot { pool: None, user }) };
            match queue.enter(user, sender) {
                Entered::Placed(_) => return Ok(CallSlot { pool: Some(Arc::clone(self)), user }),
                Entered::Refused(_) => return Err(UpstreamError::Overloaded),
                Entered::Waiting(ticket, gave_way) => (ticket, gave_way),
            }
        };
        // Whoever gave way hears of it by its sender's end.
        drop(gave_way);
        let _waiting = Waiting { pool: self, user, ticket, since: self.now(), outcome };
        match timeout(self.wait, placed).await {
            Ok(Ok(place)) => Ok(place),
            _ => Err(UpstreamError::Overloaded),
        }
    }

    fn now(&self) -> Duration {
        self.began.elapsed()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The address for the next call: one that is due for its trial, else a well one, else, if it must be, an ejected one. Of
    /// several, one that was not `tried`; of these, the one with the least under way.
    fn choice(&self, now: Duration, must: bool, tried: &Tried) -> Option<usize> {
        let rank = |(index, address): (usize, &Address)| {
            // What has failed or was silent of late counts as if it were busier by as much.
            let (class, load, until) = match address.health.standing(now) {
                HealthState::Due => (0, address.under_way, Duration::ZERO),
                HealthState::Well(failures) => (1, address.under_way.saturating_add(failures as usize), Duration::ZERO),
                HealthState::Ejected(until) => (2, address.under_way, until),
            };
            (class, tried.has(index), load, until, address.chosen, index)
        };
        let best = self.addresses.iter().enumerate().map(rank).min()?;
        (must || best.0 < 2).then_some(best.5)
    }
}

/// A call under way at one of the addresses; dropping it is the call's end.
#[derive(Debug)]
pub(super) struct Visit {
    pool: Arc<Pool>,
    index: usize,
    began: Duration,
    /// Whether it tries an address that was ejected.
    tries: bool,
    /// Whether it was already noted that something of its answer has come.
    answers: bool,
    outcome: Outcome,
    _place: CallSlot,
}

impl Visit {
    /// Which of the addresses it is.
    pub(super) fn index(&self) -> usize {
        self.index
    }

    /// Notes that something of the answer has come, as soon as that is known: the rest may take minutes.
    pub(super) fn look(&mut self) {
        if !self.answers && self.outcome.answers() {
            self.answers = true;
            let tries = std::mem::take(&mut self.tries);
            self.note(|health| health.answers(tries));
        }
    }

    fn note(&self, note: impl FnOnce(&mut Health)) {
        if let Some(address) = self.pool.lock().addresses.get_mut(self.index) {
            note(&mut address.health);
        }
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        self.look();
        let (tries, now) = (self.tries, self.pool.now());
        match self.outcome.worked() {
            Some(true) => self.note(Health::worked),
            Some(false) => {
                let chance = chance();
                self.note(|health| health.failed(tries, now, chance));
            }
            None => {
                let silent = if self.answers { Duration::ZERO } else { now.saturating_sub(self.began) };
                self.note(|health| health.untold(tries, now, silent));
            }
        }
        if let Some(address) = self.pool.lock().addresses.get_mut(self.index) {
            address.under_way = address.under_way.saturating_sub(1);
        }
    }
}

/// A user's place, or none where there are no bounds; dropping it hands it on.
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
                // Its turn came as it left; the place is still to be handed on.
                Err(mut place) => place.pool = None,
            }
        }
    }
}

/// A call that waits for a place; dropping it leaves no trace but of how long that took.
struct Waiting<'a> {
    pool: &'a Pool,
    user: u64,
    ticket: Ticket,
    since: Duration,
    outcome: &'a Outcome,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.outcome.set_waited(self.pool.now().saturating_sub(self.since));
        if let Some(queue) = &mut self.pool.lock().queue {
            queue.leave(self.user, self.ticket);
        }
    }
}

/// A number for pauses to differ by; it does not matter where there is no randomness.
fn chance() -> u32 {
    let mut random = [0; 4];
    let _ = getrandom::fill(&mut random);
    u32::from_ne_bytes(random)
}

#[cfg(test)]
mod tests;
