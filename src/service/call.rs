//! One upstream call, up to the first bytes of its response.

use std::{pin::pin, time::Duration};

use bytes::Bytes;
use futures_util::{FutureExt as _, StreamExt as _, future::Fuse};
use http::{Request, response};

use super::{
    Clock as _, Host, Service, Sleep, Stopped,
    attempts::{Attempts, CallFault},
    record::Record,
};
use crate::{
    proto::{error::Error, exchange::Exchange},
    upstream::{Call, Upstream, UpstreamError, UpstreamResponse},
};

/// What all upstream calls for one request share.
pub(super) struct CallContext {
    /// The user's queue id.
    pub(super) user: u64,
    /// The longest time for all calls together.
    pub(super) limit: Duration,
    pub(super) attempts: Attempts,
    /// How long upstreams have worked on the request before the current call.
    pub(super) worked: Duration,
    /// How long side calls have waited in upstream queues.
    pub(super) waited: Duration,
    pub(super) record: Record,
}

impl CallContext {
    /// Counts a call to the exchange's current target, and puts it together. Also returns the
    /// longest time that it may take to produce output, so that time is left for the targets after
    /// it.
    pub(super) fn call<S>(
        &mut self,
        exchange: &Exchange<S>,
        request: Request<Bytes>,
        now: Duration,
    ) -> (Call, Duration) {
        let others = exchange.fallbacks_left();
        let share = self.attempts.call(others, now);
        self.record.call(exchange.upstream());
        let call = Call {
            upstream: exchange.upstream().to_owned(),
            user: self.user,
            is_last: self.attempts.is_last(others),
            tried: self.attempts.tried(),
            request,
        };
        (call, share)
    }
}

/// The bounds on one wait for an upstream: a time limit, and the end of the server.
pub(super) struct CallTimer {
    timer: Fuse<Sleep>,
    stopped: Stopped,
    limit: Duration,
    /// What did not arrive in time, for the error.
    phase: &'static str,
    /// False if a timeout is not held against the address: a complete reply may take longer than
    /// one target's share of the time.
    blames: bool,
}

impl CallTimer {
    /// Waits for `work`.
    ///
    /// # Errors
    /// [`Error::UpstreamTimeout`]; [`Error::Internal`] if the server stops.
    pub(super) async fn bound<T>(&mut self, work: impl Future<Output = T>) -> Result<T, Error> {
        let mut work = pin!(work.fuse());
        futures_util::select_biased! {
            output = work => Ok(output),
            () = &mut self.timer => Err(Error::UpstreamTimeout { phase: self.phase, limit: self.limit }),
            () = &mut self.stopped => Err(stopping()),
        }
    }

    /// Ends a call that failed.
    pub(super) fn end(&self, response: impl UpstreamResponse, fault: &CallFault) {
        if self.blames || !matches!(fault.error, Error::UpstreamTimeout { .. }) {
            fault.end(response);
        }
    }
}

/// A call whose response has started.
pub(super) struct OpenCall<R> {
    pub(super) response: R,
    pub(super) head: response::Parts,
    /// The first piece of the body, `None` if the body is empty.
    pub(super) first: Option<Result<Bytes, UpstreamError>>,
}

impl<H: Host> Service<H> {
    /// Starts the time limit of a call. `phase` names what must arrive within it.
    pub(super) fn call_timer(&self, limit: Duration, phase: &'static str, blames: bool) -> CallTimer {
        CallTimer { timer: self.host.clock().sleep(limit).fuse(), stopped: self.stopped.clone(), limit, phase, blames }
    }

    /// Makes a call and waits for the first bytes of its response. Also returns how long the call
    /// waited in the upstream's queue, which is not the model's time.
    pub(super) async fn open_call(
        &self,
        context: &mut CallContext,
        call: Call,
        timer: &mut CallTimer,
    ) -> (Duration, Result<OpenCall<<H::Upstream as Upstream>::Response>, CallFault>) {
        let called = self.host.clock().elapsed();
        let response = timer.bound(self.host.upstream().call(call)).await;
        let waited = self.host.clock().elapsed().saturating_sub(called);
        let mut response = match response {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => return (waited, Err(error.into())),
            Err(error) => return (waited, Err(error.into())),
        };
        context.attempts.note_address(response.address());
        let opened = timer.bound(async {
            let head = response.head().await?;
            Ok::<_, UpstreamError>((head, response.next().await))
        });
        let fault = match opened.await {
            Ok(Ok((head, first))) => return (waited, Ok(OpenCall { response, head, first })),
            Ok(Err(error)) => CallFault::from(error),
            Err(error) => CallFault::from(error),
        };
        timer.end(response, &fault);
        (waited, Err(fault))
    }
}

pub(super) fn stopping() -> Error {
    Error::internal("the server stopped before the reply was whole")
}
