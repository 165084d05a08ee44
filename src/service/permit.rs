//! The guard's permit of a request: it reports to the guard, exactly once, how the request ended
//! and what it has spent.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use super::{
    host::{Clock as _, Host},
    record::Record,
    spending::Spending,
    state::Service,
};
use crate::{
    guard::{Charge, Guard, Permit, TurnEnd},
    proto::error::Error,
};

/// The permit of a request in progress. Dropping it ends the request of a client that has left.
pub(super) struct HeldPermit<H: Host> {
    service: Arc<Service<H>>,
    /// `None` once the guard knows how the request ended.
    permit: Option<<H::Guard as Guard>::Permit>,
    stream_mode: StreamMode,
    /// True once the client has seen a part of the reply.
    shown: bool,
    spending: Spending,
    record: Record,
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
    /// The permit of a request whose calls are counted in `spending`, and recorded in `record`.
    pub(super) fn new(
        service: Arc<Service<H>>,
        permit: <H::Guard as Guard>::Permit,
        stream_mode: StreamMode,
        spending: Spending,
        record: Record,
    ) -> Self {
        Self { service, permit: Some(permit), stream_mode, shown: false, spending, record }
    }

    /// Reports that there is output. The client sees it only in a live stream.
    pub(super) fn show(&mut self) {
        self.shown |= matches!(self.stream_mode, StreamMode::Live);
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

    /// Reports how the request ended: `end` of what it has spent.
    pub(super) async fn settle(mut self, end: impl FnOnce(Charge) -> TurnEnd + Send) {
        let end = match end(self.charge()) {
            // It leaves no history.
            TurnEnd::Failed(charge) => TurnEnd::Failed(Charge { history_bytes: 0, ..charge }),
            end => end,
        };
        if let Some(permit) = self.permit.take() {
            permit.settle(end).await;
        }
    }

    /// The charge for what was spent, which is also recorded.
    fn charge(&self) -> Charge {
        let now = self.service.host.clock().elapsed();
        self.record.spent(self.spending.total(now));
        self.spending.charge(now)
    }
}

impl<H: Host> Drop for HeldPermit<H> {
    fn drop(&mut self) {
        let Some(permit) = self.permit.take() else { return };
        let charge = self.charge();
        permit.settle_later(if self.shown {
            TurnEnd::Cut(charge)
        } else if self.spending.has_called() {
            TurnEnd::ClientLeft(charge)
        } else {
            TurnEnd::Failed(Charge::default())
        });
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
            permit.settle(TurnEnd::Failed(Charge::default())).await;
            Err(error)
        }
    }
}
