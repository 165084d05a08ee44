//! The decision after a failed call: retry it, call the next target, or give up. This module only
//! decides; it neither waits nor calls.
//!
//! ```text
//! the call failed because                  1. same target     2. next target   3. give up
//! no connection, 5xx, 408, interrupted      `retries` times    then             then
//!   or failed reply
//! 5xx or a rate that asks for a wait of    `retries` times,   then             then
//!   at most 5 s (1 s with a next target)   after that wait
//! a longer wait, 429 without a wait,                          immediately      then
//!   operator's account, silence,
//!   malformed reply, other 4xx,
//!   ejected, full queue
//! 400, 413, 422, prompt too long,                                              immediately
//!   malformed reply that was paid for
//! ```
//! If every address of the last target is ejected, one call is made all the same.
//!
//! A reply that had output was already paid for. If it breaks off or fails, a turn repeats such a
//! call once, at the next target if there is one. If it is complete and cannot be read, a turn does
//! not repeat the call: the operator does not pay twice because this server is strict. A call whose
//! output the client has seen is never repeated; the caller of this module checks that.

use std::time::Duration;

use crate::{
    proto::error::{Error, Retry},
    upstream::{TriedAddresses, UpstreamError, UpstreamResponse, Verdict},
};

/// A failed call: the error, and what can be done about it.
#[derive(Debug)]
pub(super) struct CallFault {
    pub(super) error: Error,
    remedy: Remedy,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Remedy {
    /// Call the next target. If there is none, call this one even though it is ejected.
    Force,
    /// Call the next target.
    NextTarget,
    /// Give up: the request itself is at fault.
    None,
    /// Call the same target again, after the wait that it asked for, if any.
    Retry(Option<Duration>),
}

impl CallFault {
    /// Ends the failed call, with the verdict that the fault implies.
    pub(super) fn end(&self, response: impl UpstreamResponse) {
        match self.verdict() {
            Some(verdict) => response.end(verdict),
            None => drop(response),
        }
    }

    /// The verdict on the called address, `None` if the fault says nothing about it.
    fn verdict(&self) -> Option<Verdict> {
        match self.error {
            _ if self.remedy == Remedy::Force => None,
            Error::UpstreamCut
            | Error::UpstreamMalformed { .. }
            | Error::UpstreamTimeout { .. }
            | Error::UpstreamUnavailable { .. } => Some(Verdict::Failed),
            // A caller can lead a model to output that cannot be used.
            Error::UpstreamAccount { .. } | Error::UpstreamOutput { .. } | Error::UpstreamRefused { .. } => {
                Some(Verdict::Refused)
            }
            _ => None,
        }
    }
}

impl From<Error> for CallFault {
    fn from(error: Error) -> Self {
        let remedy = match &error {
            Error::UpstreamCut | Error::UpstreamOutput { .. } => Remedy::Retry(None),
            Error::UpstreamUnavailable { retry_after, .. } => Remedy::Retry(*retry_after),
            Error::UpstreamRefused { overflow: true, .. } => Remedy::None,
            // Some services refuse requests over a rate with status 400.
            Error::UpstreamRefused { retry_after: Some(wait), .. } => Remedy::Retry(Some(*wait)),
            // The request is at fault, wherever it is sent.
            Error::UpstreamRefused { status: 400 | 413 | 422, .. } => Remedy::None,
            // Another call would be paid for as well, and can be as hard to read.
            Error::UpstreamMalformed { paid: true, .. } => Remedy::None,
            Error::Overloaded
            | Error::UpstreamAccount { .. }
            | Error::UpstreamMalformed { .. }
            | Error::UpstreamRefused { .. }
            | Error::UpstreamTimeout { .. } => Remedy::NextTarget,
            _ => Remedy::None,
        };
        Self { error, remedy }
    }
}

impl From<UpstreamError> for CallFault {
    fn from(error: UpstreamError) -> Self {
        let is_ejected = error == UpstreamError::Ejected;
        let fault = Self::from(Error::from(error));
        if is_ejected { Self { remedy: Remedy::Force, ..fault } } else { fault }
    }
}

/// The decision after a failed call.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NextStep {
    /// End the turn with this error.
    GiveUp(Error),
    /// Call the next target.
    NextTarget,
    /// Call the same target again after a wait.
    Retry { wait: Duration },
}

/// The attempts that a turn has made so far.
#[derive(Debug)]
pub(super) struct Attempts {
    retries: u32,
    /// The time by which the turn must end.
    deadline: Duration,
    /// The number of calls to the current target.
    calls_at_target: u32,
    /// True if the turn has already repeated a call that had output.
    repeated_output: bool,
    /// True if the current target is called even though it is ejected.
    forces: bool,
    /// The called addresses of the current target.
    tried: TriedAddresses,
    /// The most helpful error so far.
    best_error: Option<Error>,
}

impl Attempts {
    /// A turn that repeats a call at most `retries` times at each target, and must end by
    /// `deadline`.
    pub(super) fn new(retries: u32, deadline: Duration) -> Self {
        Self {
            retries,
            deadline,
            calls_at_target: 0,
            repeated_output: false,
            forces: false,
            tried: TriedAddresses::default(),
            best_error: None,
        }
    }

    pub(super) fn deadline(&self) -> Duration {
        self.deadline
    }

    /// Counts a call. Returns the longest time until it must have output: the time that is left,
    /// divided equally among the current target and its `fallbacks`.
    pub(super) fn call(&mut self, fallbacks: usize, now: Duration) -> Duration {
        self.calls_at_target = self.calls_at_target.saturating_add(1);
        let targets = u32::try_from(fallbacks).unwrap_or(u32::MAX).saturating_add(1);
        self.deadline.saturating_sub(now) / targets
    }

    /// True if the current target, with this many fallbacks after it, is called even though it is
    /// ejected.
    pub(super) fn is_last(&self, fallbacks: usize) -> bool {
        self.forces || fallbacks == 0
    }

    /// The called addresses of the current target.
    pub(super) fn tried(&self) -> TriedAddresses {
        self.tried
    }

    /// Records that a call goes to this address of the current target.
    pub(super) fn note_address(&mut self, index: usize) {
        self.tried.insert(index);
    }

    /// Records that the last call is repeated without a member that the upstream refused. It does
    /// not count as a retry.
    pub(super) fn repeat_without_member(&mut self) {
        self.calls_at_target = self.calls_at_target.saturating_sub(1);
    }

    /// Records that the next call goes to another target.
    pub(super) fn begin_target(&mut self) {
        self.calls_at_target = 0;
        self.forces = false;
        self.tried = TriedAddresses::default();
    }

    /// Records that a side call succeeded. Errors before it no longer explain a failure of the
    /// turn.
    pub(super) fn succeed(&mut self) {
        self.begin_target();
        self.best_error = None;
    }

    /// Decides what to do after a fault. `had_output` is true if the failed reply had output,
    /// `fallbacks` is the number of targets after the current one, and `jitter` is a random number.
    pub(super) fn next_step(
        &mut self,
        fault: &CallFault,
        had_output: bool,
        fallbacks: usize,
        now: Duration,
        jitter: u32,
    ) -> NextStep {
        let CallFault { error, remedy } = fault;
        if *remedy == Remedy::None {
            return NextStep::GiveUp(error.clone());
        }
        let left = self.deadline.saturating_sub(now);
        let next = match self.retry_wait(*remedy, had_output, fallbacks, jitter) {
            Some(wait) if wait < left => NextStep::Retry { wait },
            _ if fallbacks > 0 => NextStep::NextTarget,
            _ => return NextStep::GiveUp(self.most_helpful(error)),
        };
        if left.is_zero() || (had_output && self.repeated_output) {
            return NextStep::GiveUp(self.most_helpful(error));
        }
        self.repeated_output |= had_output;
        self.best_error = Some(self.most_helpful(error));
        next
    }

    /// The wait before the same target is called again, `None` if it must not be.
    fn retry_wait(&mut self, remedy: Remedy, had_output: bool, fallbacks: usize, jitter: u32) -> Option<Duration> {
        let longest = if fallbacks > 0 { RETRY_AFTER_MAX_WITH_FALLBACK } else { RETRY_AFTER_MAX };
        match remedy {
            Remedy::Retry(_) if had_output && fallbacks > 0 => None,
            Remedy::Retry(asked)
                if self.calls_at_target <= self.retries && asked.is_none_or(|asked| asked <= longest) =>
            {
                Some(backoff(asked, self.calls_at_target, jitter))
            }
            Remedy::Force if fallbacks == 0 && !self.forces => {
                self.forces = true;
                Some(Duration::ZERO)
            }
            _ => None,
        }
    }

    /// The error that helps the client most: among equals the latest.
    fn most_helpful(&mut self, error: &Error) -> Error {
        match self.best_error.take() {
            Some(before) if helpfulness(&before) > helpfulness(error) => before,
            _ => error.clone(),
        }
    }
}

/// An error that says when to retry helps most, then one that permits a retry.
fn helpfulness(error: &Error) -> u8 {
    match error.retry() {
        Retry::After(_) => 2,
        Retry::Safe => 1,
        Retry::Never => 0,
    }
}

/// The pause after `calls` calls: the wait that the upstream asked for, or else half a step, plus
/// up to half a step at random. Steps double. The random part keeps calls that failed together from
/// coming back together.
fn backoff(asked: Option<Duration>, calls: u32, jitter: u32) -> Duration {
    let doublings = calls.saturating_sub(1).min(16);
    let step = BACKOFF_FIRST.saturating_mul(1 << doublings).min(BACKOFF_MAX);
    let random = step.mul_f64(f64::from(jitter) / f64::from(u32::MAX) / 2.0);
    asked.unwrap_or(step / 2).saturating_add(random)
}

/// The first step between calls to the same target.
const BACKOFF_FIRST: Duration = Duration::from_millis(200);
/// The longest step.
const BACKOFF_MAX: Duration = Duration::from_secs(2);
/// The longest wait that an upstream may ask for. If it asks for more, it is not called again.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(5);
/// The same if another target could be called instead.
const RETRY_AFTER_MAX_WITH_FALLBACK: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests;
