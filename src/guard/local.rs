//! The guard in this process: rates, quotas, and turns at once, for each caller.
//!
//! ```text
//! admit: rate, each quota, places ── one refuses: nothing is taken, the longest wait is told
//!           │ all allow
//!           ▼ takes of the rate, a turn, a conversation if it begins one, a place
//!        permit ── whole, cut, left: adds what was used, to the periods in which it was admitted
//!               └─ failed: gives back turn and conversation
//! ```
//! What the rate gave is not given back: a client whose turns fail is not to hammer on. Model tokens, history and the
//! upstream's time are known at the end only; a turn is admitted while any are left. Everything is in memory: a restart
//! forgets it, and each instance counts for itself. Time comes from [`Moment`] alone.

mod caller;
mod ledger;
mod limits;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use self::{
    caller::{CallerState, LimitScope, LimitStanding, Receipt},
    ledger::{Key, Ledger},
    limits::Limits,
};
use super::{
    AdmitRequest, Charge, Guard, GuardPurpose, LimitSubject, Moment, Permit, Revocation, Rules, Seed, TurnEnd,
};
use crate::proto::{
    allowance::{Allowance, Exhausted},
    error::Error,
    time::UnixSeconds,
};

/// Holds each caller to the rules, as far as this process sees.
#[derive(Clone, Debug)]
pub struct LocalGuard(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    limits: Limits,
    ledger: Ledger,
}

impl LocalGuard {
    /// A guard of these rules, which knows callers by numbers under `seed`.
    #[must_use]
    pub fn new(rules: Rules, seed: Seed) -> Self {
        Self(Arc::new(Mutex::new(State { limits: Limits::new(rules), ledger: Ledger::new(seed) })))
    }

    /// Replaces the rules for the turns to come. What was counted stays counted in every period that the new rules have
    /// as well; another rate begins anew for all.
    pub fn set_rules(&self, rules: Rules) {
        let mut state = self.lock();
        if state.limits.rules.rate != rules.rate {
            state.ledger.each(CallerState::begin_anew);
        }
        state.limits = Limits::new(rules);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Guard for LocalGuard {
    type Permit = LocalPermit;

    async fn admit(&self, ask: AdmitRequest) -> Result<LocalPermit, Error> {
        if ask.purpose == GuardPurpose::Read {
            return Ok(LocalPermit { standing: Vec::new(), held: None });
        }
        let mut state = self.lock();
        let key = state.ledger.key(&ask.subject());
        let (receipt, standing) = state.admit(key, &ask)?;
        Ok(LocalPermit {
            standing,
            held: Some(HeldPermit { guard: self.clone(), key, receipt, left: TurnEnd::Failed }),
        })
    }

    async fn standing(&self, counted: LimitSubject, moment: Moment) -> Result<Vec<Allowance>, Error> {
        let state = self.lock();
        let key = state.ledger.key(&counted);
        let standings = match state.ledger.find(key) {
            Some(caller) => caller.standings(&state.limits, moment),
            None => CallerState::default().standings(&state.limits, moment),
        };
        Ok(allowances(&standings))
    }

    fn turns_at_once(&self) -> usize {
        self.lock().limits.rules.turns_at_once
    }

    async fn revoke(&self, _: Revocation) -> Result<Option<UnixSeconds>, Error> {
        Err(Error::Unsupported {
            detail: "This server cannot revoke: it has no limits store (`HOLDALL_REDIS_URL`).".to_owned(),
        })
    }
}

impl State {
    /// Takes all that a turn takes, or nothing.
    fn admit(&mut self, key: Key, ask: &AdmitRequest) -> Result<(Option<Receipt>, Vec<Allowance>), Error> {
        let Self { limits, ledger } = self;
        ledger.tidy(limits, ask.moment);
        let begins = ask.presented.is_none();
        let is_turn = ask.purpose == GuardPurpose::Turn;
        let fresh = CallerState::default();
        let caller = ledger.find(key).unwrap_or(&fresh);
        let standings = caller.standings(limits, ask.moment);
        let concerns = |standing: &&LimitStanding| match standing.takers {
            LimitScope::Beginnings => is_turn && begins,
            LimitScope::Calls => true,
            LimitScope::Turns => is_turn,
        };
        let longest = standings.iter().filter(concerns).max_by_key(|standing| standing.wait_seconds);
        if let Some(standing) = longest.filter(|standing| standing.wait_seconds > 0) {
            return Err(exhausted(standing, &standings));
        }
        let limit = limits.rules.turns_at_once;
        if caller.places >= limit {
            return Err(Error::UserBusy { limit });
        }
        let caller = ledger.entry(key, limits, ask.moment);
        caller.places = caller.places.saturating_add(1);
        caller.take_rate(limits, ask.moment);
        let receipt = is_turn.then(|| caller.take_turn(begins, limits, ask.moment));
        Ok((receipt, allowances(&caller.standings(limits, ask.moment))))
    }

    fn end(&mut self, key: Key, receipt: Option<&Receipt>, ending: TurnEnd) {
        // There while a turn of its is under way.
        let Some(caller) = self.ledger.find_mut(key) else { return };
        caller.places = caller.places.saturating_sub(1);
        match (receipt, ending) {
            (Some(receipt), TurnEnd::Cut(used) | TurnEnd::ClientLeft(used) | TurnEnd::Complete(used)) => {
                caller.add(used, receipt)
            }
            (Some(receipt), TurnEnd::Failed) => caller.give_back(receipt),
            (None, _) => {}
        }
    }
}

fn exhausted(standing: &LimitStanding, standings: &[LimitStanding]) -> Error {
    let (limit, retry_after_seconds) = (standing.allowance, standing.wait_seconds);
    let exhausted = Box::new(Exhausted { limit, retry_after_seconds, allowances: allowances(standings) });
    match standing.takers {
        LimitScope::Calls => Error::RateLimited(exhausted),
        LimitScope::Beginnings | LimitScope::Turns => Error::QuotaExceeded(exhausted),
    }
}

fn allowances(standings: &[LimitStanding]) -> Vec<Allowance> {
    standings.iter().map(|standing| standing.allowance).collect()
}

/// One admitted turn.
#[derive(Debug)]
pub struct LocalPermit {
    standing: Vec<Allowance>,
    /// What it holds; none if it takes nothing, or has ended.
    held: Option<HeldPermit>,
}

#[derive(Debug)]
struct HeldPermit {
    guard: LocalGuard,
    key: Key,
    receipt: Option<Receipt>,
    /// How the turn ends if nothing more is said.
    left: TurnEnd,
}

impl LocalPermit {
    fn end(&mut self, ending: impl FnOnce(&HeldPermit) -> TurnEnd) {
        if let Some(held) = self.held.take() {
            held.guard.lock().end(held.key, held.receipt.as_ref(), ending(&held));
        }
    }
}

impl Permit for LocalPermit {
    fn standing(&self) -> &[Allowance] {
        &self.standing
    }

    fn call(&mut self) {
        if let Some(held) = &mut self.held {
            held.left = held.left.called();
        }
    }

    fn show(&mut self) {
        if let Some(held) = &mut self.held {
            held.left = TurnEnd::Cut(Charge::default());
        }
    }

    async fn settle(mut self, ending: TurnEnd) {
        self.end(|_| ending);
    }

    fn leave(mut self, used: Charge) {
        self.end(|held| held.left.having(used));
    }
}

impl Drop for LocalPermit {
    fn drop(&mut self) {
        self.end(|held| held.left);
    }
}
