//! Side calls: upstream calls for a summary or a count of model tokens. Their responses are read
//! completely, up to a size limit.

use bytes::Bytes;
use futures_util::StreamExt as _;
use http::{Request, response};

use super::{
    attempts::CallFault,
    call::{CallContext, FailedCall, OpenCall, RepeatableCall, call_until_success},
    host::{Clock as _, Host},
    state::Service,
};
use crate::{
    proto::{
        error::Error,
        exchange::{Counting, Exchange, MAX_SIDE_ANSWER_BYTES, Ready, Summarizing, Summary},
        provider::{OwnMember, RefusedMember},
    },
    upstream::{UpstreamError, UpstreamResponse, Verdict},
};

/// An exchange that needs a side call.
pub(super) trait SideCall: Send {
    /// The content of the response.
    type Answer: Send;

    /// The request for the current target.
    fn request(&self) -> Request<Bytes>;

    /// Reads a complete response.
    fn read(&self, head: &response::Parts, body: &[u8]) -> Result<Self::Answer, Error>;

    /// Leaves a member out of the request. Returns false if the request does not have it.
    fn leave_out(&mut self, _member: OwnMember) -> bool {
        false
    }

    /// The member of the request that a response refuses.
    fn refused_member(&self, _head: &response::Parts, _body: &[u8]) -> Option<RefusedMember> {
        None
    }

    /// Moves to the next target. Returns false if there is none.
    fn next_target(&mut self) -> bool;
}

impl SideCall for Exchange<Counting> {
    type Answer = u64;

    fn request(&self) -> Request<Bytes> {
        self.request()
    }

    fn read(&self, head: &response::Parts, body: &[u8]) -> Result<u64, Error> {
        self.read_count(head, body)
    }

    /// Each provider counts differently, and the client wants the count of the first target.
    fn next_target(&mut self) -> bool {
        false
    }
}

impl SideCall for Exchange<Summarizing> {
    type Answer = Summary;

    fn request(&self) -> Request<Bytes> {
        self.request()
    }

    fn read(&self, head: &response::Parts, body: &[u8]) -> Result<Summary, Error> {
        self.read_summary(head, body)
    }

    fn leave_out(&mut self, member: OwnMember) -> bool {
        self.leave_out(member)
    }

    fn refused_member(&self, head: &response::Parts, body: &[u8]) -> Option<RefusedMember> {
        self.refused_member(head, body)
    }

    fn next_target(&mut self) -> bool {
        self.next_target()
    }
}

type SideCallResult<S> = <Exchange<S> as SideCall>::Answer;

impl<H: Host> Service<H> {
    /// Replaces older turns by a summary, after which the turn can be sent.
    pub(super) async fn summarize(
        &self,
        mut exchange: Exchange<Summarizing>,
        context: &mut CallContext,
    ) -> Result<Exchange<Ready>, Error> {
        let called = self.host.clock().elapsed();
        let summary = self.side_call(&mut exchange, context).await?;
        context.attempts.succeed();
        context.left_out.clear();
        context.worked = self.host.clock().elapsed().saturating_sub(called).saturating_sub(context.waited);
        exchange.apply_summary(summary, context.worked)
    }

    /// Makes a side call, with retries and at other targets if it fails.
    pub(super) async fn side_call<S: Send>(
        &self,
        exchange: &mut Exchange<S>,
        context: &mut CallContext,
    ) -> Result<SideCallResult<S>, Error>
    where
        Exchange<S>: SideCall,
    {
        call_until_success(&mut SideCallAttempts { service: self, exchange, context, had_output: false }).await
    }
}

struct SideCallAttempts<'a, H, S> {
    service: &'a Service<H>,
    exchange: &'a mut Exchange<S>,
    context: &'a mut CallContext,
    /// True if the current attempt had a response that must be paid for.
    had_output: bool,
}

impl<H: Host, S: Send> RepeatableCall<H> for SideCallAttempts<'_, H, S>
where
    Exchange<S>: SideCall,
{
    type Output = SideCallResult<S>;

    fn service(&self) -> &Service<H> {
        self.service
    }

    fn context(&mut self) -> &mut CallContext {
        self.context
    }

    async fn attempt(&mut self) -> Result<Self::Output, CallFault> {
        let Self { service, exchange, context, had_output } = self;
        let now = service.host.clock().elapsed();
        for member in service.refused_members.of(exchange.upstream(), exchange.model(), now) {
            SideCall::leave_out(&mut **exchange, member);
        }
        let (call, limit) = context.call(exchange, SideCall::request(&**exchange), now);
        let mut timer = service.call_timer(limit, "the complete answer", true);
        let (waited, opened) = service.open_call(context, call, &mut timer).await;
        context.waited = context.waited.saturating_add(waited);
        let OpenCall { mut response, head, first } = opened?;
        let body = timer.bound(read_body(&mut response, head.status.is_success(), first, had_output)).await;
        let body = body.map_err(CallFault::from).and_then(|body| body);
        let answer = body.and_then(|body| {
            context.refused_member = SideCall::refused_member(&**exchange, &head, &body);
            exchange.read(&head, &body).map_err(CallFault::from)
        });
        match &answer {
            Ok(_) => {
                let (upstream, model) = (exchange.upstream(), exchange.model());
                service.refused_members.remember(
                    upstream,
                    model,
                    &context.left_out_for_all(),
                    service.host.clock().elapsed(),
                );
                response.end(Verdict::Complete);
            }
            Err(fault) => timer.end(response, fault),
        }
        answer
    }

    fn failed_attempt(&self) -> Option<FailedCall> {
        Some(FailedCall { had_output: self.had_output, fallbacks: self.exchange.fallbacks_left() })
    }

    fn rewind(&mut self) {
        self.had_output = false;
    }

    fn leave_out(&mut self, member: OwnMember) -> bool {
        SideCall::leave_out(self.exchange, member)
    }

    fn next_target(&mut self) -> bool {
        self.rewind();
        SideCall::next_target(self.exchange)
    }
}

/// Reads a body of at most [`MAX_SIDE_ANSWER_BYTES`]. Sets `had_output` at the first byte of a
/// successful response.
async fn read_body(
    response: &mut impl UpstreamResponse,
    is_success: bool,
    first: Option<Result<Bytes, UpstreamError>>,
    had_output: &mut bool,
) -> Result<Vec<u8>, CallFault> {
    let (mut body, mut piece) = (Vec::new(), first);
    while let Some(bytes) = piece {
        let bytes = bytes?;
        *had_output |= is_success && !bytes.is_empty();
        body.extend_from_slice(&bytes);
        if body.len() > MAX_SIDE_ANSWER_BYTES {
            return Err(Error::malformed(format!("a response over {MAX_SIDE_ANSWER_BYTES} bytes")).into());
        }
        piece = response.next().await;
    }
    Ok(body)
}
