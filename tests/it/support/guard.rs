//! A guard that admits every turn and records the calls that it receives.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use holdall::{
    guard::{AdmitRequest, Guard, GuardPurpose, LimitSubject, Moment, Permit, Revocation, Revoked, TurnEnd},
    proto::{allowance::Allowance, error::Error},
};

/// A call that the guard received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GuardCall {
    Admit(GuardPurpose),
    Settle(TurnEnd),
    /// The client left, and nothing waits for the guard.
    SettleLater(TurnEnd),
    /// The permit was dropped without an end.
    Dropped,
}

/// Clones share their record.
#[derive(Clone, Default)]
pub(crate) struct RecordingGuard(Arc<Mutex<GuardRecord>>);

#[derive(Default)]
struct GuardRecord {
    calls: Vec<GuardCall>,
    requests: Vec<AdmitRequest>,
    revoked: Vec<Revocation>,
    refusing_for: Duration,
}

impl RecordingGuard {
    /// Takes the calls so far.
    pub(crate) fn take(&self) -> Vec<GuardCall> {
        std::mem::take(&mut self.0.lock().unwrap().calls)
    }

    /// Takes the requests for admission so far.
    pub(crate) fn requests(&self) -> Vec<AdmitRequest> {
        std::mem::take(&mut self.0.lock().unwrap().requests)
    }

    /// Takes the revocations so far.
    pub(crate) fn revoked(&self) -> Vec<Revocation> {
        std::mem::take(&mut self.0.lock().unwrap().revoked)
    }

    /// Sets how long the guard claims to have refused every turn.
    pub(crate) fn refuse_for(&self, time: Duration) {
        self.0.lock().unwrap().refusing_for = time;
    }

    fn record(&self, call: GuardCall) {
        self.0.lock().unwrap().calls.push(call);
    }
}

impl Guard for RecordingGuard {
    type Permit = RecordingPermit;

    async fn admit(&self, request: AdmitRequest) -> Result<RecordingPermit, Error> {
        self.record(GuardCall::Admit(request.purpose));
        self.0.lock().unwrap().requests.push(request);
        Ok(RecordingPermit { guard: Some(self.clone()) })
    }

    async fn allowances(&self, _: LimitSubject, _: Moment) -> Result<Vec<Allowance>, Error> {
        Ok(ALLOWANCES.to_vec())
    }

    fn max_concurrent_turns(&self) -> usize {
        5
    }

    async fn revoke(&self, revocation: Revocation) -> Result<Revoked, Error> {
        self.0.lock().unwrap().revoked.push(revocation);
        Ok(Revoked::default())
    }

    fn refusing_for(&self) -> Duration {
        self.0.lock().unwrap().refusing_for
    }
}

/// The allowances of every caller.
pub(crate) const ALLOWANCES: [Allowance; 1] =
    [Allowance { name: "turns", limit: 5, remaining: 4, period_seconds: 60, reset_seconds: 30 }];

/// A permit that records its calls.
pub(crate) struct RecordingPermit {
    /// `None` after the turn has ended.
    guard: Option<RecordingGuard>,
}

impl RecordingPermit {
    fn end(&mut self, call: GuardCall) {
        if let Some(guard) = self.guard.take() {
            guard.record(call);
        }
    }
}

impl Permit for RecordingPermit {
    fn allowances(&self) -> &[Allowance] {
        &ALLOWANCES
    }

    async fn settle(mut self, end: TurnEnd) {
        self.end(GuardCall::Settle(end));
    }

    fn settle_later(mut self, end: TurnEnd) {
        self.end(GuardCall::SettleLater(end));
    }
}

impl Drop for RecordingPermit {
    fn drop(&mut self) {
        self.end(GuardCall::Dropped);
    }
}
