//! The guard in this process: rates, quotas and concurrent turns of each caller.
//!
//! ```text
//! admit: rate, each quota, concurrent turns ── one refuses: nothing is charged;
//!           │ all admit                         the error reports the longest wait
//!           ▼ charges the rate, a turn, a conversation if it starts one, a concurrency slot
//!        permit ── complete, cut, client left: charges what was used to the periods of admission
//!               └─ failed: refunds the turn and the conversation
//! ```
//! The rate is not refunded, so that a client whose turns fail cannot retry without pause. Model
//! tokens, history and upstream time are known only at the end of a turn: a turn is admitted while
//! any of them remain. All state is in memory: a restart loses it, and each instance has its own
//! counts. Time comes only from [`Moment`].

mod caller;
mod caller_table;
mod compiled_rules;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use self::{
    caller::{CallerState, LimitScope, LimitStanding, TurnCost},
    caller_table::{CallerTable, Key},
    compiled_rules::CompiledRules,
};
use super::{
    admit::{AdmitRequest, Guard, GuardPurpose, Moment, Permit, Revocation, Revoked},
    keyed_hash::KeyedHash,
    rules::Rules,
    subject::LimitSubject,
    turn_end::{Charge, TurnEnd},
};
use crate::proto::{
    allowance::{Allowance, Exhausted},
    error::Error,
};

/// Enforces the rules within this process. Clones share their counts.
#[derive(Clone, Debug)]
pub struct LocalGuard(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    rules: CompiledRules,
    callers: CallerTable,
}

impl LocalGuard {
    /// A guard that enforces `rules`, and stores callers under their `hash`.
    #[must_use]
    pub fn new(rules: Rules, hash: KeyedHash) -> Self {
        Self(Arc::new(Mutex::new(State { rules: CompiledRules::new(rules), callers: CallerTable::new(hash) })))
    }

    /// Replaces the rules for new turns. Counts are kept for every period that the new rules have
    /// as well. If the rate changes, it is full again for every caller.
    pub fn set_rules(&self, rules: Rules) {
        let mut state = self.lock();
        if state.rules.rules.rate != rules.rate {
            state.callers.for_each(CallerState::reset_rate);
        }
        state.rules = CompiledRules::new(rules);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Guard for LocalGuard {
    type Permit = LocalPermit;

    async fn admit(&self, request: AdmitRequest) -> Result<LocalPermit, Error> {
        if request.purpose == GuardPurpose::Read {
            return Ok(LocalPermit { allowances: Vec::new(), held: None });
        }
        let mut state = self.lock();
        let key = state.callers.key(&request.subject());
        let (cost, allowances) = state.admit(key, &request)?;
        let held = HeldPermit { guard: self.clone(), key, cost, end_if_dropped: TurnEnd::Failed };
        Ok(LocalPermit { allowances, held: Some(held) })
    }

    async fn allowances(&self, subject: LimitSubject, moment: Moment) -> Result<Vec<Allowance>, Error> {
        let state = self.lock();
        let key = state.callers.key(&subject);
        let standings = match state.callers.find(key) {
            Some(caller) => caller.standings(&state.rules, moment),
            None => CallerState::default().standings(&state.rules, moment),
        };
        Ok(allowances(&standings))
    }

    fn max_concurrent_turns(&self) -> usize {
        self.lock().rules.rules.max_concurrent_turns
    }

    async fn revoke(&self, _: Revocation) -> Result<Revoked, Error> {
        Err(Error::Unsupported {
            detail: "Revocation needs a store that all instances share. Set HOLDALL_REDIS_URL.".to_owned(),
        })
    }
}

impl State {
    /// Charges everything that the request costs, or nothing.
    fn admit(&mut self, key: Key, request: &AdmitRequest) -> Result<(Option<TurnCost>, Vec<Allowance>), Error> {
        self.callers.sweep(&self.rules, request.moment);
        self.check(key, request)?;
        let Self { rules, callers } = self;
        let caller = callers.entry(key, rules, request.moment);
        caller.turns_in_flight = caller.turns_in_flight.saturating_add(1);
        caller.charge_rate(rules, request.moment);
        let is_turn = request.purpose == GuardPurpose::Turn;
        let cost = is_turn.then(|| caller.charge_turn(request.starts_conversation(), rules, request.moment));
        Ok((cost, allowances(&caller.standings(rules, request.moment))))
    }

    /// Checks the limits that apply to the request. If several refuse it, the error is about the
    /// one with the longest wait.
    fn check(&self, key: Key, request: &AdmitRequest) -> Result<(), Error> {
        let new = CallerState::default();
        let caller = self.callers.find(key).unwrap_or(&new);
        let standings = caller.standings(&self.rules, request.moment);
        let is_turn = request.purpose == GuardPurpose::Turn;
        let applies = |standing: &&LimitStanding| match standing.scope {
            LimitScope::Calls => true,
            LimitScope::NewConversations => is_turn && request.starts_conversation(),
            LimitScope::Turns => is_turn,
        };
        let longest = standings.iter().filter(applies).max_by_key(|standing| standing.wait_seconds);
        if let Some(standing) = longest.filter(|standing| standing.wait_seconds > 0) {
            return Err(exhausted(standing, &standings));
        }
        let limit = self.rules.rules.max_concurrent_turns;
        if caller.turns_in_flight >= limit { Err(Error::UserBusy { limit }) } else { Ok(()) }
    }

    fn end(&mut self, key: Key, cost: Option<&TurnCost>, end: TurnEnd) {
        // The entry exists: the table keeps callers with turns in flight.
        let Some(caller) = self.callers.find_mut(key) else { return };
        caller.turns_in_flight = caller.turns_in_flight.saturating_sub(1);
        match (cost, end) {
            (Some(cost), TurnEnd::ClientLeft(charge) | TurnEnd::Complete(charge) | TurnEnd::Cut(charge)) => {
                caller.add(charge, cost);
            }
            (Some(cost), TurnEnd::Failed) => caller.refund(cost),
            (None, _) => {}
        }
    }
}

fn exhausted(standing: &LimitStanding, standings: &[LimitStanding]) -> Error {
    let (limit, retry_after_seconds) = (standing.allowance, standing.wait_seconds);
    let exhausted = Box::new(Exhausted { limit, retry_after_seconds, allowances: allowances(standings) });
    match standing.scope {
        LimitScope::Calls => Error::RateLimited(exhausted),
        LimitScope::NewConversations | LimitScope::Turns => Error::QuotaExceeded(exhausted),
    }
}

fn allowances(standings: &[LimitStanding]) -> Vec<Allowance> {
    standings.iter().map(|standing| standing.allowance).collect()
}

/// An admitted turn.
#[derive(Debug)]
pub struct LocalPermit {
    allowances: Vec<Allowance>,
    /// `None` if the request consumes nothing, or has ended.
    held: Option<HeldPermit>,
}

/// The resources that an admitted turn holds until its end.
#[derive(Debug)]
struct HeldPermit {
    guard: LocalGuard,
    key: Key,
    /// `None` if the request is not a turn.
    cost: Option<TurnCost>,
    end_if_dropped: TurnEnd,
}

impl LocalPermit {
    fn end(&mut self, end: impl FnOnce(&HeldPermit) -> TurnEnd) {
        if let Some(held) = self.held.take() {
            held.guard.lock().end(held.key, held.cost.as_ref(), end(&held));
        }
    }
}

impl Permit for LocalPermit {
    fn allowances(&self) -> &[Allowance] {
        &self.allowances
    }

    fn model_called(&mut self) {
        if let Some(held) = &mut self.held {
            held.end_if_dropped = held.end_if_dropped.after_model_call();
        }
    }

    fn reply_started(&mut self) {
        if let Some(held) = &mut self.held {
            held.end_if_dropped = TurnEnd::Cut(Charge::default());
        }
    }

    async fn settle(mut self, end: TurnEnd) {
        self.end(|_| end);
    }

    fn client_left(mut self, charge: Charge) {
        self.end(|held| held.end_if_dropped.with_charge(charge));
    }
}

impl Drop for LocalPermit {
    fn drop(&mut self) {
        self.end(|held| held.end_if_dropped);
    }
}
