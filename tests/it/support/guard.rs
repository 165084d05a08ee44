//! A guard that admits everything and writes down what it was asked and told.

use std::sync::{Arc, Mutex};

use holdall::{
    guard::{AdmitRequest, Charge, Guard, GuardPurpose, LimitSubject, Moment, Permit, Revocation, TurnEnd},
    proto::{allowance::Allowance, error::Error, time::UnixSeconds},
};

/// What a guard was asked or told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    PendingCall(GuardPurpose),
    Shown,
    Settled(TurnEnd),
    /// The client left once the model was called; what was used until then.
    Left(Charge),
    /// The permit was dropped without a word, before the model was called.
    Dropped,
}

/// Copies are the same guard.
#[derive(Clone, Default)]
pub(crate) struct Witness(Arc<Mutex<Testimony>>);

#[derive(Default)]
struct Testimony {
    heard: Vec<Heard>,
    asks: Vec<AdmitRequest>,
    revoked: Vec<Revocation>,
}

impl Witness {
    /// Takes out what was heard so far.
    pub(crate) fn take(&self) -> Vec<Heard> {
        std::mem::take(&mut self.0.lock().unwrap().heard)
    }

    /// Takes out what was asked so far.
    pub(crate) fn asks(&self) -> Vec<AdmitRequest> {
        std::mem::take(&mut self.0.lock().unwrap().asks)
    }

    /// Takes out what was revoked so far.
    pub(crate) fn revoked(&self) -> Vec<Revocation> {
        std::mem::take(&mut self.0.lock().unwrap().revoked)
    }

    fn hear(&self, heard: Heard) {
        self.0.lock().unwrap().heard.push(heard);
    }
}

impl Guard for Witness {
    type Permit = WitnessPermit;

    async fn admit(&self, ask: AdmitRequest) -> Result<WitnessPermit, Error> {
        self.hear(Heard::PendingCall(ask.purpose));
        self.0.lock().unwrap().asks.push(ask);
        Ok(WitnessPermit { witness: Some(self.clone()), called: false })
    }

    async fn standing(&self, _: LimitSubject, _: Moment) -> Result<Vec<Allowance>, Error> {
        Ok(STANDING.to_vec())
    }

    fn turns_at_once(&self) -> usize {
        5
    }

    async fn revoke(&self, revocation: Revocation) -> Result<Option<UnixSeconds>, Error> {
        self.0.lock().unwrap().revoked.push(revocation);
        Ok(None)
    }
}

/// Where every caller stands.
pub(crate) const STANDING: [Allowance; 1] =
    [Allowance { name: "turns", limit: 5, remaining: 4, period_seconds: 60, reset_seconds: 30 }];

/// The permit.
pub(crate) struct WitnessPermit {
    /// None once the turn has ended.
    witness: Option<Witness>,
    called: bool,
}

impl WitnessPermit {
    fn end(&mut self, heard: Heard) {
        if let Some(witness) = self.witness.take() {
            witness.hear(heard);
        }
    }
}

impl Permit for WitnessPermit {
    fn standing(&self) -> &[Allowance] {
        &STANDING
    }

    fn call(&mut self) {
        self.called = true;
    }

    fn show(&mut self) {
        self.witness.as_ref().unwrap().hear(Heard::Shown);
    }

    async fn settle(mut self, ending: TurnEnd) {
        self.end(Heard::Settled(ending));
    }

    fn leave(mut self, used: Charge) {
        self.end(Heard::Left(used));
    }
}

impl Drop for WitnessPermit {
    fn drop(&mut self) {
        self.end(if self.called { Heard::Left(Charge::default()) } else { Heard::Dropped });
    }
}
