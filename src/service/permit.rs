//! The guard's permit of a turn, and whether the client has seen a part of its reply.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use super::host::Host;
use crate::{
    guard::{Charge, Guard, Permit, TurnEnd},
    proto::error::Error,
};

/// The permit of a turn in progress. The guard learns from it that the model is called, that the
/// client has seen output, and how the turn ended.
pub(super) struct HeldPermit<H: Host> {
    permit: <H::Guard as Guard>::Permit,
    stream_mode: StreamMode,
    /// True once the client has seen a part of the reply.
    shown: bool,
}

/// How much the client sees of a reply before it is complete.
pub(super) enum StreamMode {
    /// Nothing: the reply is one document.
    Document,
    /// Nothing of a stream that is held. If the reply fails after the head was sent (the flag), the
    /// client gets the part that arrived.
    Held(Arc<AtomicBool>),
    /// Everything, as it arrives.
    Live,
}

impl<H: Host> HeldPermit<H> {
    pub(super) fn new(permit: <H::Guard as Guard>::Permit, stream_mode: StreamMode) -> Self {
        Self { permit, stream_mode, shown: false }
    }

    /// Reports that the model is about to be called.
    pub(super) fn call(&mut self) {
        self.permit.model_called();
    }

    /// Reports that there is output. The client sees it only in a live stream.
    pub(super) fn show(&mut self) {
        if matches!(self.stream_mode, StreamMode::Live) && !self.shown {
            self.shown = true;
            self.permit.reply_started();
        }
    }

    /// True once the client has seen a part of the reply.
    pub(super) fn has_shown(&self) -> bool {
        self.shown
    }

    /// True if the client gets the part of a failed reply that arrived.
    pub(super) fn shows_partial(&self) -> bool {
        match &self.stream_mode {
            StreamMode::Document => false,
            StreamMode::Held(head_sent) => head_sent.load(Ordering::Relaxed),
            StreamMode::Live => true,
        }
    }

    /// Reports how the turn ended.
    pub(super) async fn settle(self, end: TurnEnd) {
        self.permit.settle(end).await;
    }

    /// Reports that the client left, and what the turn has used.
    pub(super) fn leave(self, charge: Charge) {
        self.permit.client_left(charge);
    }
}

/// Returns an admitted request with its permit, or gives back what it holds if a later check
/// failed. The rate stays charged.
///
/// It waits for the guard before the client gets the error, so that its next try finds the token
/// valid.
pub(super) async fn release_on_error<T, P: Permit>(outcome: Result<T, Error>, permit: P) -> Result<(T, P), Error> {
    match outcome {
        Ok(value) => Ok((value, permit)),
        Err(error) => {
            permit.settle(TurnEnd::Failed).await;
            Err(error)
        }
    }
}
