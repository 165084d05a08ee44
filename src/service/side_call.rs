//! Calls beside a turn's own, whose answers are read whole: for a summary, for a count.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{FutureExt as _, StreamExt as _};
use http::{Request, response};

use super::{
    Clock, Service,
    attempts::CallFault,
    flow::{CallContext, answered, stopping, tell},
};
use crate::{
    guard::Guard,
    proto::{
        error::Error,
        exchange::{Counting, Exchange, Ready, SIDE_CALL_BYTES, Summarizing, Summary},
    },
    upstream::{Call, Outcome, Upstream},
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
        self.counted(head, body)
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
        self.summary(head, body)
    }

    fn next_target(&mut self) -> bool {
        self.next_target()
    }
}

impl<U: Upstream, G: Guard, C: Clock> Service<U, G, C> {
    /// Has the older turns summarized, so that the turn can be taken.
    pub(super) async fn summarize(
        &self,
        mut exchange: Exchange<Summarizing>,
        context: &mut CallContext,
    ) -> Result<Exchange<Ready>, Error> {
        let called = self.clock.elapsed();
        let summary = self.side_call(&mut exchange, context).await?;
        context.attempts.succeeded();
        context.worked = self.clock.elapsed().saturating_sub(called).saturating_sub(context.waited);
        exchange.go_on(summary, context.worked)
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
            let (others, now, chance) = (exchange.fallbacks_left(), self.clock.elapsed(), self.chance());
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
        let others = exchange.fallbacks_left();
        let limit = context.attempts.call(others, self.clock.elapsed());
        context.record.call(exchange.upstream());
        let outcome = Outcome::default();
        let call = Call {
            upstream: exchange.upstream().to_owned(),
            user: context.user,
            is_last: context.attempts.is_last(others),
            tried: context.attempts.tried(),
            outcome: outcome.clone(),
            request: SideCall::request(exchange),
        };
        let mut stopped = self.stopped.clone();
        let mut answering = Box::pin(self.whole_answer(call, begun)).fuse();
        let answer = futures_util::select_biased! {
            answer = answering => answer,
            () = self.clock.sleep(limit).fuse() => Err(Error::UpstreamTimeout { phase: "the complete answer", limit }.into()),
            () = stopped => Err(stopping().into()),
        };
        context.waited = context.waited.saturating_add(outcome.waited());
        let read = answer.and_then(|(head, bytes, body)| {
            let read = exchange.read(&head, &bytes).map_err(CallFault::from);
            read.map(|read| (read, body))
        });
        match read {
            Ok((read, body)) => {
                outcome.set_worked();
                self.upstream.release(body);
                Ok(read)
            }
            Err(fault) => {
                tell(&outcome, &fault);
                Err(fault)
            }
        }
    }

    /// An answer up to a bound, and what is left of its body.
    async fn whole_answer(
        &self,
        call: Call,
        begun: &mut bool,
    ) -> Result<(response::Parts, Vec<u8>, U::Body), CallFault> {
        let outcome = call.outcome.clone();
        let (head, mut body, mut piece) = answered(&self.upstream, call).await?;
        let mut bytes = Vec::new();
        let fault = loop {
            match piece {
                Some(Ok(read)) => {
                    *begun |= head.status.is_success() && !read.is_empty();
                    bytes.extend_from_slice(&read);
                }
                Some(Err(error)) => break CallFault::from(error),
                None => return Ok((head, bytes, body)),
            }
            if bytes.len() > SIDE_CALL_BYTES {
                break Error::malformed(format!("an answer over {SIDE_CALL_BYTES} bytes")).into();
            }
            piece = body.next().await;
        };
        // Before the body goes: who made the call looks at it then.
        tell(&outcome, &fault);
        Err(fault)
    }

    async fn pause(&self, wait: Duration) -> Result<(), Error> {
        let mut stopped = self.stopped.clone();
        futures_util::select_biased! {
            () = stopped => Err(stopping()),
            () = self.clock.sleep(wait).fuse() => Ok(()),
        }
    }
}

type SideCallResult<S> = <Exchange<S> as SideCall>::Answer;
