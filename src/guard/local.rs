//! The guard in this process: rates, quotas and concurrent turns and reads of each caller.
//!
//! ```text
//! admit: rate, each quota, concurrent turns ── one refuses: nothing is charged;
//!           │ all admit                         the error reports the longest wait
//!           ▼ charges the rate, a turn, a conversation if it starts one, a concurrency slot
//!        permit ── every end: charges what was used to the periods of admission
//!               └─ failed: also refunds the turn and the conversation
//! ```
//! Reads (histories, counts of model tokens, revocations by users) have a rate of their own. They
//! consume it and a concurrency slot, and no quota.
//!
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
    /// as well. If a rate changes, it is full again for every caller.
    pub fn set_rules(&self, rules: Rules) {
        let mut state = self.lock();
        if state.rules.rules.rate != rules.rate {
            state.callers.for_each(CallerState::reset_rate);
        }
        if state.rules.rules.read_rate != rules.read_rate {
            state.callers.for_each(CallerState::reset_read_rate);
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
        let mut state = self.lock();
        let key = state.callers.key(&request.subject());
        let (cost, allowances) = state.admit(key, &request)?;
        Ok(LocalPermit { allowances, held: Some(HeldPermit { guard: self.clone(), key, cost }) })
    }

    async fn allowances(&self, subject: LimitSubject, moment: Moment) -> Result<Vec<Allowance>, Error> {
        let state = self.lock();
        let key = state.callers.key(&subject);
        let standings = match state.callers.find(key) {
            Some(caller) => caller.standings(&state.rules, moment),
            None => CallerState::default().standings(&state.rules, moment),
        };
        Ok(standings.iter().map(|standing| standing.allowance).collect())
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
    fn admit(&mut self, key: Key, request: &AdmitRequest) -> Result<(TurnCost, Vec<Allowance>), Error> {
        self.callers.sweep(&self.rules, request.moment);
        self.check(key, request)?;
        let Self { rules, callers } = self;
        let caller = callers.entry(key, rules, request.moment);
        caller.in_flight = caller.in_flight.saturating_add(1);
        caller.charge_rate(request.purpose, rules, request.moment);
        let is_turn = request.purpose == GuardPurpose::Turn;
        let starts = is_turn && request.starts_conversation();
        let cost = caller.charge(u64::from(is_turn), u64::from(starts), rules, request.moment);
        Ok((cost, reported(&caller.standings(rules, request.moment), request.purpose)))
    }

    /// Checks the limits that apply to the request. If several refuse it, the error is about the
    /// one with the longest wait.
    fn check(&self, key: Key, request: &AdmitRequest) -> Result<(), Error> {
        let new = CallerState::default();
        let caller = self.callers.find(key).unwrap_or(&new);
        let standings = caller.standings(&self.rules, request.moment);
        let is_turn = request.purpose == GuardPurpose::Turn;
        let applies = |standing: &&LimitStanding| match standing.scope {
            LimitScope::NewConversations => is_turn && request.starts_conversation(),
            LimitScope::ReadRate => !is_turn,
            LimitScope::TurnRate | LimitScope::Turns => is_turn,
        };
        let longest = standings.iter().filter(applies).max_by_key(|standing| standing.wait_seconds);
        if let Some(standing) = longest.filter(|standing| standing.wait_seconds > 0) {
            return Err(exhausted(standing, reported(&standings, request.purpose)));
        }
        let limit = self.rules.rules.max_concurrent_turns;
        if caller.in_flight >= limit { Err(Error::UserBusy { limit }) } else { Ok(()) }
    }

    fn end(&mut self, key: Key, cost: &TurnCost, end: TurnEnd) {
        // The entry exists: the table keeps callers with turns or reads in flight.
        let Some(caller) = self.callers.find_mut(key) else { return };
        caller.in_flight = caller.in_flight.saturating_sub(1);
        if matches!(end, TurnEnd::Failed(_)) {
            caller.refund(cost);
        }
        caller.add(end.charge(), cost);
    }
}

fn exhausted(standing: &LimitStanding, allowances: Vec<Allowance>) -> Error {
    let (limit, retry_after_seconds) = (standing.allowance, standing.wait_seconds);
    let exhausted = Box::new(Exhausted { limit, retry_after_seconds, allowances });
    match standing.scope {
        LimitScope::ReadRate | LimitScope::TurnRate => Error::RateLimited(exhausted),
        LimitScope::NewConversations | LimitScope::Turns => Error::QuotaExceeded(exhausted),
    }
}

/// The allowances that a response to a request with this purpose reports.
fn reported(standings: &[LimitStanding], purpose: GuardPurpose) -> Vec<Allowance> {
    let reported = standings.iter().filter(|standing| standing.scope.is_reported(purpose));
    reported.map(|standing| standing.allowance).collect()
}

/// An admitted turn or read.
#[derive(Debug)]
pub struct LocalPermit {
    allowances: Vec<Allowance>,
    /// `None` if the request has ended.
    held: Option<HeldPermit>,
}

/// The resources that an admitted turn or read holds until its end.
#[derive(Debug)]
struct HeldPermit {
    guard: LocalGuard,
    key: Key,
    cost: TurnCost,
}

impl LocalPermit {
    fn end(&mut self, end: TurnEnd) {
        if let Some(HeldPermit { guard, key, cost }) = self.held.take() {
            guard.lock().end(key, &cost, end);
        }
    }
}

impl Permit for LocalPermit {
    fn allowances(&self) -> &[Allowance] {
        &self.allowances
    }

    async fn settle(mut self, end: TurnEnd) {
        self.end(end);
    }

    fn settle_later(mut self, end: TurnEnd) {
        self.end(end);
    }
}

impl Drop for LocalPermit {
    fn drop(&mut self) {
        self.end(TurnEnd::Failed(Charge::default()));
    }
}
