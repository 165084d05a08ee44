//! Calls beside a turn's own, whose answers are read whole: for a summary, for a count.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{FutureExt as _, StreamExt as _};
use http::{Request, response};

use super::{
    Clock as _, EntropySource as _, Host, Service,
    attempts::CallFault,
    call::{CallContext, OpenCall, stopping},
};
use crate::{
    proto::{
        error::Error,
        exchange::{Counting, Exchange, MAX_SIDE_ANSWER_BYTES, Ready, Summarizing, Summary},
    },
    upstream::{UpstreamError, UpstreamResponse, Verdict},
};

/// What is asked beside the turn.
pub(super) trait SideCall {
    /// What the answer says.
    type Answer;

    /// What to send.
    fn request(&self) -> Request<Bytes>;

    /// Reads the answer.
    fn read(&self, head: &response::Parts, body: &[u8]) -> Result<Self::Answer, Error>;

    /// Turns to the next target; says whether there is one.
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

    /// Each provider counts in its own way, and only the one that is asked first was asked for.
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

    fn next_target(&mut self) -> bool {
        self.next_target()
    }
}

impl<H: Host> Service<H> {
    /// Has the older turns summarized, so that the turn can be taken.
    pub(super) async fn summarize(
        &self,
        mut exchange: Exchange<Summarizing>,
        context: &mut CallContext,
    ) -> Result<Exchange<Ready>, Error> {
        let called = self.host.clock().elapsed();
        let summary = self.side_call(&mut exchange, context).await?;
        context.attempts.succeeded();
        context.worked = self.host.clock().elapsed().saturating_sub(called).saturating_sub(context.waited);
        exchange.apply_summary(summary, context.worked)
    }

    /// Makes a call beside the turn's own, again or elsewhere where that failed.
    pub(super) async fn side_call<S>(
        &self,
        exchange: &mut Exchange<S>,
        context: &mut CallContext,
    ) -> Result<SideCallResult<S>, Error>
    where
        Exchange<S>: SideCall,
    {
        loop {
            let mut begun = false;
            let fault = match self.make_side_call(exchange, context, &mut begun).await {
                Ok(answer) => return Ok(answer),
                Err(fault) => fault,
            };
            context.record.setback(&fault.error);
            let (others, now, chance) =
                (exchange.fallbacks_left(), self.host.clock().elapsed(), self.host.entropy().jitter());
            let mut next_target = || SideCall::next_target(exchange);
            let wait = context.attempts.recover(&fault, begun, others, now, chance, &mut next_target)?;
            self.pause(wait).await?;
        }
    }

    /// Makes one call; `begun` is set once something came of its answer that will have to be paid for.
    async fn make_side_call<S>(
        &self,
        exchange: &Exchange<S>,
        context: &mut CallContext,
        begun: &mut bool,
    ) -> Result<SideCallResult<S>, CallFault>
    where
        Exchange<S>: SideCall,
    {
        let (call, limit) = context.call(exchange, SideCall::request(exchange), self.host.clock().elapsed());
        let mut timer = self.call_timer(limit, "the complete answer", true);
        let (waited, opened) = self.open_call(context, call, &mut timer).await;
        context.waited = context.waited.saturating_add(waited);
        let OpenCall { mut response, head, first } = opened?;
        let read = timer.bound(whole_body(&mut response, head.status.is_success(), first, begun)).await;
        let bytes = read.map_err(CallFault::from).and_then(|read| read);
        let read = bytes.and_then(|bytes| exchange.read(&head, &bytes).map_err(CallFault::from));
        match &read {
            Ok(_) => response.end(Verdict::Complete),
            Err(fault) => timer.end(response, fault),
        }
        read
    }

    async fn pause(&self, wait: Duration) -> Result<(), Error> {
        let mut stopped = self.stopped.clone();
        futures_util::select_biased! {
            () = stopped => Err(stopping()),
            () = self.host.clock().sleep(wait).fuse() => Ok(()),
        }
    }
}

/// Reads a body up to a bound.
async fn whole_body(
    response: &mut impl UpstreamResponse,
    is_success: bool,
    first: Option<Result<Bytes, UpstreamError>>,
    begun: &mut bool,
) -> Result<Vec<u8>, CallFault> {
    let (mut bytes, mut piece) = (Vec::new(), first);
    while let Some(read) = piece {
        let read = read?;
        *begun |= is_success && !read.is_empty();
        bytes.extend_from_slice(&read);
        if bytes.len() > MAX_SIDE_ANSWER_BYTES {
            return Err(Error::malformed(format!("an answer over {MAX_SIDE_ANSWER_BYTES} bytes")).into());
        }
        piece = response.next().await;
    }
    Ok(bytes)
}

type SideCallResult<S> = <Exchange<S> as SideCall>::Answer;
