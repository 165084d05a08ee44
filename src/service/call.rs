//! The upstream calls of one request: one after the other until one succeeds.
//!
//! ```text
//! attempt ─▶ open_call ─▶ read the response … ─▶ success
//!    ▲           │ failed
//!    └── retry ◀─┘ after a pause, or at the next target; or give up
//! ```

use std::{pin::pin, time::Duration};

use bytes::Bytes;
use futures_util::{FutureExt as _, StreamExt as _, future::Fuse};
use http::{Request, response};

use super::{
    attempts::{Attempts, CallFault, NextStep},
    host::{Clock as _, EntropySource as _, Host, Sleep},
    record::Record,
    spending::Spending,
    state::{Service, Stopped},
};
use crate::{
    proto::{
        error::Error,
        exchange::Exchange,
        provider::{OwnMember, RefusedMember},
        usage::Usage,
    },
    upstream::{Call, Upstream, UpstreamError, UpstreamResponse},
};

/// The state that all upstream calls for one request share.
pub(super) struct CallContext {
    /// The user's queue id.
    pub(super) user: u64,
    /// The longest time for all calls together.
    pub(super) limit: Duration,
    pub(super) attempts: Attempts,
    /// What the calls have cost so far.
    pub(super) spending: Spending,
    /// The member that the last call's upstream refused.
    pub(super) refused_member: Option<RefusedMember>,
    /// The members that calls to the current target leave out since it refused them.
    pub(super) left_out: Vec<RefusedMember>,
    pub(super) record: Record,
}

impl CallContext {
    /// The refused member, if one more call without it makes sense. Each member is left out once at
    /// each target, and a new name that is refused as well is not changed back.
    fn member_to_leave_out(&mut self, now: Duration) -> Option<RefusedMember> {
        let refused = self.refused_member.take()?;
        let is_known = |RefusedMember { member, .. }: &RefusedMember| {
            *member == refused.member || member.other_name() == Some(refused.member)
        };
        (now < self.attempts.deadline() && !self.left_out.iter().any(is_known)).then_some(refused)
    }

    /// The members that the current target refuses in every request.
    pub(super) fn left_out_for_all(&self) -> Vec<OwnMember> {
        self.left_out.iter().filter(|refused| refused.in_every_request).map(|refused| refused.member).collect()
    }

    /// Prepares a call to the exchange's current target, and counts it. Also returns the longest
    /// time until it must have output, which leaves time for the targets after it.
    pub(super) fn call<S>(
        &mut self,
        exchange: &Exchange<S>,
        request: Request<Bytes>,
        now: Duration,
    ) -> (Call, Duration) {
        let fallbacks = exchange.fallbacks_left();
        let share = self.attempts.call(fallbacks, now);
        self.spending.call();
        self.record.call(exchange.upstream());
        let call = Call {
            upstream: exchange.upstream().to_owned(),
            user: self.user,
            is_last: self.attempts.is_last(fallbacks),
            tried: self.attempts.tried(),
            request,
        };
        (call, share)
    }
}

/// A request to a model that can be sent more than once.
pub(super) trait RepeatableCall<H: Host>: Send {
    /// The result of a successful attempt.
    type Output: Send;

    fn service(&self) -> &Service<H>;

    fn context(&mut self) -> &mut CallContext;

    /// Makes one call, and reads its response.
    fn attempt(&mut self) -> impl Future<Output = Result<Self::Output, CallFault>> + Send;

    /// The failed attempt, `None` if the call must not be repeated.
    fn failed_attempt(&self) -> Option<FailedCall>;

    /// Returns to the state before the failed attempt.
    fn rewind(&mut self);

    /// Leaves a member out of the request. Returns false if the request does not have it.
    fn leave_out(&mut self, member: OwnMember) -> bool;

    /// Rewinds, and moves to the next target that can express the request. Returns false if there
    /// is none.
    fn next_target(&mut self) -> bool;
}

/// A failed attempt that can be repeated.
pub(super) struct FailedCall {
    /// True if the reply had output, which the operator pays for.
    pub(super) had_output: bool,
    /// The number of targets after the current one.
    pub(super) fallbacks: usize,
}

/// Makes attempts until one succeeds.
///
/// # Errors
/// The most helpful error of the attempts; [`Error::Internal`] if the server stops.
pub(super) async fn call_until_success<H: Host, C: RepeatableCall<H>>(call: &mut C) -> Result<C::Output, Error> {
    loop {
        match call.attempt().await {
            Ok(output) => return Ok(output),
            Err(fault) => {
                let wait = prepare_retry(call, &fault)?;
                call.service().pause(wait).await?;
            }
        }
    }
}

/// Prepares the next attempt after a fault. Returns the pause before it.
fn prepare_retry<H: Host, C: RepeatableCall<H>>(call: &mut C, fault: &CallFault) -> Result<Duration, Error> {
    let Some(FailedCall { had_output, fallbacks }) = call.failed_attempt() else { return Err(fault.error.clone()) };
    call.context().record.setback(&fault.error);
    if repeat_without_member(call) {
        return Ok(Duration::ZERO);
    }
    let (now, jitter) = (call.service().host.clock().elapsed(), call.service().host.entropy().jitter());
    let mut step = call.context().attempts.next_step(fault, had_output, fallbacks, now, jitter);
    if step == NextStep::NextTarget {
        if call.next_target() {
            call.context().attempts.begin_target();
            call.context().left_out.clear();
            return Ok(Duration::ZERO);
        }
        // The other targets cannot express the request.
        step = call.context().attempts.next_step(fault, false, 0, now, jitter);
    }
    match step {
        NextStep::Retry { wait } => {
            call.rewind();
            Ok(wait)
        }
        NextStep::GiveUp(error) => Err(error),
        NextStep::NextTarget => Err(fault.error.clone()),
    }
}

/// Prepares one more call without a member that the upstream refused, and that is not the caller's.
/// Returns false if there is no such member.
fn repeat_without_member<H: Host, C: RepeatableCall<H>>(call: &mut C) -> bool {
    let now = call.service().host.clock().elapsed();
    let Some(refused) = call.context().member_to_leave_out(now) else { return false };
    call.rewind();
    let is_left_out = call.leave_out(refused.member);
    if is_left_out {
        call.context().left_out.push(refused);
        call.context().attempts.repeat_without_member();
    }
    is_left_out
}

/// The bounds on the wait for one call: a time limit, and the end of the server.
pub(super) struct CallTimer {
    timer: Fuse<Sleep>,
    stopped: Stopped,
    limit: Duration,
    /// The part of the response that must arrive within the limit, for the error.
    phase: &'static str,
    /// False if a timeout gives no verdict on the address: a complete reply may take longer than
    /// one target's share of the time.
    is_verdict: bool,
}

impl CallTimer {
    /// Waits for `work`.
    ///
    /// # Errors
    /// [`Error::UpstreamTimeout`] at the time limit; [`Error::Internal`] if the server stops.
    pub(super) async fn bound<T>(&mut self, work: impl Future<Output = T>) -> Result<T, Error> {
        let mut work = pin!(work.fuse());
        futures_util::select_biased! {
            output = work => Ok(output),
            () = &mut self.timer => Err(Error::UpstreamTimeout { phase: self.phase, limit: self.limit }),
            () = &mut self.stopped => Err(stopping()),
        }
    }

    /// Ends a failed call.
    pub(super) fn end(&self, response: impl UpstreamResponse, fault: &CallFault) {
        if self.is_verdict || !matches!(fault.error, Error::UpstreamTimeout { .. }) {
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
    /// Starts the time limit of a call. `phase` names the part of the response that must arrive
    /// within it. `is_verdict` is false if a timeout gives no verdict on the address.
    pub(super) fn call_timer(&self, limit: Duration, phase: &'static str, is_verdict: bool) -> CallTimer {
        let timer = self.host.clock().sleep(limit).fuse();
        CallTimer { timer, stopped: self.stopped.clone(), limit, phase, is_verdict }
    }

    /// Makes a call and waits for the first bytes of its response. `usage` is the estimate for its
    /// request, which counts once the call has left the upstream's queue.
    pub(super) async fn open_call(
        &self,
        context: &mut CallContext,
        call: Call,
        usage: Usage,
        timer: &mut CallTimer,
    ) -> Result<OpenCall<<H::Upstream as Upstream>::Response>, CallFault> {
        let mut response = timer.bound(self.host.upstream().call(call)).await??;
        context.attempts.note_address(response.address());
        context.spending.send(usage, self.host.clock().elapsed());
        let opened = timer.bound(async {
            let head = response.head().await?;
            if !head.status.is_success() {
                context.spending.end_call(false, self.host.clock().elapsed());
            }
            Ok::<_, UpstreamError>((head, response.next().await))
        });
        // A call that this server cancels may be paid for, unlike one that the service fails.
        let (fault, is_cancelled) = match opened.await {
            Ok(Ok((head, first))) => return Ok(OpenCall { response, head, first }),
            Ok(Err(error)) => (CallFault::from(error), false),
            Err(error) => (CallFault::from(error), true),
        };
        context.spending.end_call(is_cancelled, self.host.clock().elapsed());
        timer.end(response, &fault);
        Err(fault)
    }

    /// Waits before the next attempt.
    async fn pause(&self, wait: Duration) -> Result<(), Error> {
        let mut stopped = self.stopped.clone();
        futures_util::select_biased! {
            () = stopped => Err(stopping()),
            () = self.host.clock().sleep(wait).fuse() => Ok(()),
        }
    }
}

/// The error of a turn that the end of the server interrupts.
pub(super) fn stopping() -> Error {
    Error::internal("the server stopped before the reply was complete")
}
