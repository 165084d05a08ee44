//! How many model tokens a turn would send: asked of the provider where it counts, estimated where it does not.

use std::sync::Arc;

use bytes::Bytes;
use http::{Request, response};

use super::{
    Caller, Entropy, Exchange,
    plan::{self, TurnState},
    retry_after,
};
use crate::proto::{
    deployment::Deployment, error::Error, provider::TokenCount, time::UnixSeconds, token::Codec, turn::TurnRequest,
};

/// What a turn would send is being counted.
pub struct Counting {
    count: TokenCount,
}

impl Exchange<Counting> {
    /// Counts what a turn would send, without taking it. Its history has no bound but those on tokens and input.
    ///
    /// # Errors
    /// As for the turn, short of room for a reply.
    pub fn count(
        deployment: Arc<Deployment>,
        request: TurnRequest,
        caller: &Caller,
        now: UnixSeconds,
        entropy: &Entropy,
        codec: &mut Codec,
    ) -> Result<Self, Error> {
        let (turn, plan) = plan::prepare(deployment, request, caller, now, entropy, codec)?;
        let count = turn.target.provider.count(&plan.call(&turn.target, false))?;
        Ok(Self { turn: Box::new(turn), state: Counting { count } })
    }

    /// The count, where nobody has to be asked for it.
    #[must_use]
    pub fn known(&self) -> Option<u64> {
        match self.state.count {
            TokenCount::Request(_) => None,
            TokenCount::Known(tokens) => Some(tokens),
        }
    }

    /// What is to be sent to [`Exchange::upstream`] to learn it, where it is not [`Self::known`].
    #[must_use]
    pub fn request(&self) -> Request<Bytes> {
        match &self.state.count {
            TokenCount::Request(request) => Request::clone(request),
            TokenCount::Known(_) => Request::default(),
        }
    }

    /// The count, read from the upstream's whole answer.
    ///
    /// # Errors
    /// What the answer amounts to if it is no count.
    pub fn counted(&self, head: &response::Parts, body: &[u8]) -> Result<u64, Error> {
        self.turn.check_aside(head, body)?;
        self.turn.target.provider.counted(body)
    }
}

impl TurnState {
    /// Tells a successful answer to a call beside the turn's own from a refusal.
    pub(super) fn check_aside(&self, head: &response::Parts, body: &[u8]) -> Result<(), Error> {
        let status = head.status;
        if status.is_success() {
            Ok(())
        } else if status.is_client_error() || status.is_server_error() {
            Err(self.target.provider.refusal(status.as_u16(), retry_after(&head.headers), body))
        } else {
            Err(Error::malformed(format!("status {status}")))
        }
    }
}
