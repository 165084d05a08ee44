//! What is done about a call that failed: it is made again, made elsewhere, or given up. Decides; waits for nothing and
//! calls nobody.
//!
//! ```text
//! the call failed because            same target again    next target    given up
//! it could not be made, 5xx, cut     `retries` times ───▶ then this ───▶ then this
//! 429, of 5 s at most (1 s if there
//! is a next target)                  after that wait ───▶ then this ───▶ then this
//! 429 of longer, or a used-up quota                       at once ─────▶ then this
//! silent, malformed, other 4xx,
//! ejected, overloaded                                     at once ─────▶ then this
//! 400, 413, 422, too long a prompt                                       at once
//! ```
//! A reply that had begun was paid for: one such is asked for anew in a turn, not more, and elsewhere if it can be.
//! Something that the client was shown is never taken back, and so never comes here.

use std::time::Duration;

use crate::{
    proto::error::{Error, Retry},
    upstream::{TriedAddresses, UpstreamError, UpstreamResponse, Verdict},
};

/// Why a call failed, and where it might not.
#[derive(Debug)]
pub(super) struct CallFault {
    pub(super) error: Error,
    cure: Cure,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cure {
    /// At another target.
    Elsewhere,
    /// At the same, after the wait that was asked for, if one was.
    Here(Option<Duration>),
    /// At another target, or here if the call is made in earnest.
    Insist,
    /// Nowhere.
    None,
}

impl CallFault {
    /// Ends the call that failed, with the verdict that the fault implies.
    pub(super) fn end(&self, response: impl UpstreamResponse) {
        match self.verdict() {
            Some(verdict) => response.end(verdict),
            None => drop(response),
        }
    }

    /// The verdict on the called address, `None` if the fault says nothing about it.
    fn verdict(&self) -> Option<Verdict> {
        match self.error {
            _ if self.cure == Cure::Insist => None,
            Error::UpstreamCut
            | Error::UpstreamMalformed { .. }
            | Error::UpstreamTimeout { .. }
            | Error::UpstreamUnavailable { .. } => Some(Verdict::Failed),
            Error::UpstreamRefused { .. } => Some(Verdict::Refused),
            _ => None,
        }
    }
}

impl From<Error> for CallFault {
    fn from(error: Error) -> Self {
        let cure = match &error {
            Error::UpstreamCut => Cure::Here(None),
            Error::UpstreamUnavailable { retry_after, .. } => Cure::Here(*retry_after),
            // The request's fault, wherever it goes.
            Error::UpstreamRefused { overflow: true, .. } | Error::UpstreamRefused { status: 400 | 413 | 422, .. } => {
                Cure::None
            }
            Error::UpstreamRefused { retry_after: Some(wait), .. } => Cure::Here(Some(*wait)),
            // The operator's account, or this upstream's choice of models, is.
            Error::Overloaded
            | Error::UpstreamMalformed { .. }
            | Error::UpstreamRefused { .. }
            | Error::UpstreamTimeout { .. } => Cure::Elsewhere,
            _ => Cure::None,
        };
        Self { error, cure }
    }
}

impl From<UpstreamError> for CallFault {
    fn from(error: UpstreamError) -> Self {
        let ejected = error == UpstreamError::Ejected;
        let fault = Self::from(Error::from(error));
        if ejected { Self { cure: Cure::Insist, ..fault } } else { fault }
    }
}

/// What to do next.
#[derive(Debug, PartialEq, Eq)]
enum Move {
    /// Make the call again after a wait.
    Again { wait: Duration },
    /// Ask the next target.
    Elsewhere,
    /// End with this error.
    GiveUp(Error),
}

/// The attempts that a turn has made so far.
#[derive(Debug)]
pub(super) struct Attempts {
    retries: u32,
    /// When the turn is to have ended.
    deadline: Duration,
    /// How many calls were made at the present target.
    here: u32,
    /// Whether a reply that had begun was asked for anew.
    begun_anew: bool,
    /// Whether the present target is to be called though it has been failing.
    insists: bool,
    /// The addresses that were called at the present target.
    tried: TriedAddresses,
    /// The error that helps its reader most, so far.
    told: Option<Error>,
}

impl Attempts {
    /// A turn that makes a call `retries` times again at most at each target, and has ended by `deadline`.
    pub(super) fn new(retries: u32, deadline: Duration) -> Self {
        Self {
            retries,
            deadline,
            here: 0,
            begun_anew: false,
            insists: false,
            tried: TriedAddresses::default(),
            told: None,
        }
    }

    pub(super) fn deadline(&self) -> Duration {
        self.deadline
    }

    /// A call is made now; says how long it may take to give something to show: all the time that is left, less the share
    /// of the `others` that come after the present target.
    pub(super) fn call(&mut self, others: usize, now: Duration) -> Duration {
        self.here = self.here.saturating_add(1);
        let targets = u32::try_from(others).unwrap_or(u32::MAX).saturating_add(1);
        self.deadline.saturating_sub(now) / targets
    }

    /// Whether the present target is to be called though it has been failing, where `others` come after it.
    pub(super) fn is_last(&self, others: usize) -> bool {
        self.insists || others == 0
    }

    /// The next call goes to another target.
    fn moved(&mut self) {
        self.here = 0;
        self.insists = false;
        self.tried = TriedAddresses::default();
    }

    /// The addresses that were called at the present target.
    pub(super) fn tried(&self) -> TriedAddresses {
        self.tried
    }

    /// Notes that a call goes to this address of the present target.
    pub(super) fn note_address(&mut self, index: usize) {
        self.tried.insert(index);
    }

    /// What comes of a fault: the pause before the next call, which `next_target` may have turned elsewhere, or the error to
    /// end with. `begun` says whether a reply had; `chance` is any number.
    pub(super) fn recover(
        &mut self,
        fault: &CallFault,
        begun: bool,
        others: usize,
        now: Duration,
        chance: u32,
        next_target: &mut dyn FnMut() -> bool,
    ) -> Result<Duration, Error> {
        match self.after(fault, begun, others, now, chance) {
            Move::Again { wait } => Ok(wait),
            Move::GiveUp(error) => Err(error),
            Move::Elsewhere if next_target() => {
                self.moved();
                Ok(Duration::ZERO)
            }
            // None of the others can say what the turn asks for.
            Move::Elsewhere => self.recover(fault, false, 0, now, chance, &mut || false),
        }
    }

    /// A call beside the turn's own has succeeded: its failures before are nothing to end the turn with.
    pub(super) fn succeeded(&mut self) {
        self.moved();
        self.told = None;
    }

    /// What to do about a fault. `begun` says whether a reply had; `chance` is any number.
    fn after(&mut self, fault: &CallFault, begun: bool, others: usize, now: Duration, chance: u32) -> Move {
        let CallFault { error, cure } = fault;
        if *cure == Cure::None {
            return Move::GiveUp(error.clone());
        }
        let left = self.deadline.saturating_sub(now);
        let patience = if others > 0 { PATIENCE_BETWEEN } else { PATIENCE };
        let wait = match cure {
            Cure::Here(_) if begun && others > 0 => None,
            Cure::Here(asked) if self.here <= self.retries && asked.is_none_or(|asked| asked <= patience) => {
                Some(back_off(*asked, self.here, chance))
            }
            Cure::Insist if others == 0 && !self.insists => {
                self.insists = true;
                Some(Duration::ZERO)
            }
            _ => None,
        };
        let spent = left.is_zero() || (begun && self.begun_anew);
        let next = match wait {
            Some(wait) if wait < left => Move::Again { wait },
            _ if others > 0 => Move::Elsewhere,
            _ => return Move::GiveUp(self.tell(error)),
        };
        if spent {
            return Move::GiveUp(self.tell(error));
        }
        self.begun_anew |= begun;
        self.told = Some(self.tell(error));
        next
    }

    /// Of the errors so far and this one the last that helps most: that says when to come again, or else that one may.
    fn tell(&mut self, error: &Error) -> Error {
        match self.told.take() {
            Some(before) if help(&before) > help(error) => before,
            _ => error.clone(),
        }
    }
}

fn help(error: &Error) -> u8 {
    match error.retry() {
        Retry::After(_) => 2,
        Retry::Safe => 1,
        Retry::Never => 0,
    }
}

/// The pause before call number `made` + 1: from half of a step to the whole, so that what failed together does not come
/// back together; on top of what was asked for, if something was.
fn back_off(asked: Option<Duration>, made: u32, chance: u32) -> Duration {
    let doublings = made.saturating_sub(1).min(16);
    let step = BACK_OFF.saturating_mul(1 << doublings).min(BACK_OFF_MOST);
    let part = step.mul_f64(f64::from(chance) / f64::from(u32::MAX) / 2.0);
    asked.unwrap_or(step / 2).saturating_add(part)
}

/// The first pause before a call is made again.
const BACK_OFF: Duration = Duration::from_millis(200);
/// The longest one that nobody asked for.
const BACK_OFF_MOST: Duration = Duration::from_secs(2);
/// The longest wait that an upstream may ask for; who asks for more is not asked again.
const PATIENCE: Duration = Duration::from_secs(5);
/// The same where another target could be asked at once.
const PATIENCE_BETWEEN: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests;
