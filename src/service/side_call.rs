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
        exchange::{Counting, Exchange, MAX_SIDE_ANSWER_BYTES, Ready, SideAnswer, Summarizing, Summary},
        provider::{OwnMember, RefusedMember},
        usage::Usage,
    },
    upstream::{UpstreamError, UpstreamResponse, Verdict},
};

/// An exchange that needs a side call.
pub(super) trait SideCall: Send + Sync {
    /// The content of the response.
    type Answer: Send;

    /// The request for the current target.
    fn request(&self) -> Request<Bytes>;

    /// The usage of the call after `body_bytes` of its response.
    fn call_usage(&self, body_bytes: usize) -> Usage;

    /// Reads a complete response.
    fn read(&self, head: &response::Parts, body: &[u8]) -> SideAnswer<Self::Answer>;

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

    /// To count costs no model tokens.
    fn call_usage(&self, _: usize) -> Usage {
        Usage::default()
    }

    fn read(&self, head: &response::Parts, body: &[u8]) -> SideAnswer<u64> {
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

    fn call_usage(&self, body_bytes: usize) -> Usage {
        self.call_usage(body_bytes)
    }

    fn read(&self, head: &response::Parts, body: &[u8]) -> SideAnswer<Summary> {
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
        let summary = self.side_call(&mut exchange, context).await?;
        context.attempts.succeed();
        context.left_out.clear();
        exchange.apply_summary(summary)
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

impl<H: Host, S: Send> SideCallAttempts<'_, H, S>
where
    Exchange<S>: SideCall,
{
    /// Reads the body of a response, and counts its call. The outer error is that of a call which
    /// this server cancels.
    fn read(
        &mut self,
        head: &response::Parts,
        body: Result<Result<Vec<u8>, CallFault>, Error>,
    ) -> Result<SideCallResult<S>, CallFault> {
        let Self { service, exchange, context, had_output } = self;
        let now = service.host.clock().elapsed();
        let is_cancelled = body.is_err();
        let body = match body.map_err(CallFault::from).and_then(|body| body) {
            Ok(body) => body,
            Err(fault) => {
                let is_paid = *had_output || is_cancelled && head.status.is_success();
                context.spending.end_call(is_paid, now);
                return Err(fault);
            }
        };
        context.refused_member = SideCall::refused_member(&**exchange, head, &body);
        let SideAnswer { content, usage } = exchange.read(head, &body);
        context.spending.update(usage.unwrap_or_default());
        context.spending.end_call(usage.is_some(), now);
        let content = content?;
        let (upstream, model) = (exchange.upstream(), exchange.model());
        service.refused_members.remember(upstream, model, &context.left_out_for_all(), now);
        Ok(content)
    }
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
        let usage = SideCall::call_usage(&**exchange, 0);
        let OpenCall { mut response, head, first } = service.open_call(context, call, usage, &mut timer).await?;
        let is_success = head.status.is_success();
        let note_bytes = |bytes| {
            *had_output |= is_success && bytes > 0;
            context.spending.update(SideCall::call_usage(&**exchange, bytes));
        };
        let body = timer.bound(read_body(&mut response, first, note_bytes)).await;
        let answer = self.read(&head, body);
        match &answer {
            Ok(_) => response.end(Verdict::Complete),
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

/// Reads a body of at most [`MAX_SIDE_ANSWER_BYTES`]. Calls `note_bytes` with the bytes so far.
async fn read_body(
    response: &mut impl UpstreamResponse,
    first: Option<Result<Bytes, UpstreamError>>,
    mut note_bytes: impl FnMut(usize) + Send,
) -> Result<Vec<u8>, CallFault> {
    let (mut body, mut piece) = (Vec::new(), first);
    while let Some(bytes) = piece {
        body.extend_from_slice(&bytes?);
        note_bytes(body.len());
        if body.len() > MAX_SIDE_ANSWER_BYTES {
            return Err(Error::malformed(format!("a response over {MAX_SIDE_ANSWER_BYTES} bytes")).into());
        }
        piece = response.next().await;
    }
    Ok(body)
}
