//! The calls of a turn: one, and others while nothing of the reply was shown and there is reason to hope.
//!
//! ```text
//! begin ─▶ attempt ─▶ call ─▶ step … ─▶ something to show, or the end
//!             ▲                  │ failed
//!             └──── recover ◀────┘ after a pause, or at the next target; or gives up
//! ```

use std::time::Duration;

use bytes::Bytes;
use futures_util::{FutureExt as _, StreamExt as _};
use http::response;

use super::{Flow, State, Step, lost, stopping};
use crate::{
    guard::Guard,
    proto::{
        error::Error,
        exchange::{Exchange, FailedAttempt, Failure, Ready, Response},
        turn::{Answer, Delta},
    },
    service::{Clock, attempts::CallFault},
    upstream::{Call, Outcome, Upstream, UpstreamError},
};

impl<U: Upstream, G: Guard, C: Clock> Flow<U, G, C> {
    /// Calls the upstream, again or another one where that failed, until there is something to show, which `deltas` then
    /// has, or until the turn has ended.
    pub(in crate::service) async fn begin(&mut self, deltas: &mut Vec<Delta>) -> Option<Result<Answer, Failure>> {
        loop {
            let fault = match self.attempt(deltas).await {
                Ok(ended) => return ended,
                Err(fault) => fault,
            };
            match self.recover(fault).await {
                Some(error) => {
                    let outcome = self.fail(error).await;
                    if matches!(outcome, Err(Failure { partial: None, .. })) {
                        // Nothing that could be gone on from: the turn has failed, and nothing of it is shown.
                        deltas.clear();
                    }
                    return Some(outcome);
                }
                None => deltas.clear(),
            }
        }
    }

    /// Makes one call, and follows its answer until there is something to show.
    async fn attempt(&mut self, deltas: &mut Vec<Delta>) -> Result<Option<Result<Answer, Failure>>, CallFault> {
        self.call().await?;
        loop {
            match self.step(deltas).await {
                Step::Ended(outcome) => return Ok(Some(*outcome)),
                Step::Failed(fault) => return Err(fault),
                // A reply that is held has nothing to show before its end.
                Step::Read if self.holds => deltas.clear(),
                Step::Read if !deltas.is_empty() => return Ok(None),
                Step::Quiet | Step::Read => {}
            }
        }
    }

    /// Calls the upstream and waits for the first byte of its reply.
    async fn call(&mut self) -> Result<(), CallFault> {
        let Some(State::Ready(exchange)) = self.exchange.take() else { return Err(lost().into()) };
        let (head, mut body, first) = match self.answer(&exchange).await {
            Ok(answer) => answer,
            Err(fault) => {
                self.exchange = Some(State::Ready(exchange));
                return Err(fault);
            }
        };
        let unanswered = match exchange.respond(&head) {
            Ok(Response::Replying(exchange)) => {
                self.heard = self.service.clock.elapsed();
                self.exchange = Some(State::Replying(exchange));
                self.alarm = None;
                (self.body, self.unread) = (Some(body), Some(first));
                return Ok(());
            }
            Ok(Response::Refused(mut exchange)) => {
                // Reasons that break off, or do not end, are still reasons.
                let limit = REFUSAL_TIMEOUT.min(self.due.saturating_sub(self.service.clock.elapsed()));
                let mut stall = self.service.clock.sleep(limit).fuse();
                let mut stopped = self.stopped.clone();
                let mut piece = first;
                while let Some(Ok(bytes)) = piece {
                    if !exchange.push(&bytes) {
                        break;
                    }
                    piece = futures_util::select_biased! {
                        piece = body.next().fuse() => piece,
                        () = stall => None,
                        () = stopped => None,
                    };
                }
                exchange.into_failed_attempt()
            }
            Err(unanswered) => *unanswered,
        };
        let FailedAttempt { error, exchange } = unanswered;
        self.exchange = Some(State::Ready(exchange));
        let fault = CallFault::from(error);
        // Before the body goes: who made the call looks at it then.
        tell(&self.outcome, &fault);
        Err(fault)
    }

    /// The head of the answer to the exchange's request, and the first bytes after it.
    async fn answer(&mut self, exchange: &Exchange<Ready>) -> Result<Answered<U::Body>, CallFault> {
        let (service, context) = (&self.service, &mut self.context);
        self.called = service.clock.elapsed();
        self.sent = Some(exchange.spent());
        if let Some(held) = &mut self.held {
            held.call();
        }
        self.outcome = Outcome::default();
        let others = exchange.fallbacks_left();
        let share = context.attempts.call(others, self.called);
        self.due = self.called + share;
        // Of a reply that is not streamed, no byte comes before the model has written the last one.
        let limit = if exchange.is_streamed() { share.min(service.settings.timeouts.first_byte) } else { share };
        context.record.call(exchange.upstream());
        let call = Call {
            upstream: exchange.upstream().to_owned(),
            user: context.user,
            is_last: context.attempts.is_last(others),
            tried: context.attempts.tried(),
            outcome: self.outcome.clone(),
            request: exchange.request(),
        };
        let mut calling = Box::pin(answered(&service.upstream, call)).fuse();
        let mut stopped = self.stopped.clone();
        let answer = futures_util::select_biased! {
            answer = calling => answer.map_err(CallFault::from),
            () = service.clock.sleep(limit).fuse() => Err(Error::UpstreamTimeout { phase: "the first byte", limit }.into()),
            () = stopped => Err(stopping().into()),
        };
        // Before the call goes: who made it looks at it then. That a whole reply takes longer than its share of the time is
        // nobody's fault.
        let is_in_time = others > 0 && !exchange.is_streamed();
        let answer = answer.inspect_err(|fault| {
            if !(is_in_time && matches!(fault.error, Error::UpstreamTimeout { .. })) {
                tell(&self.outcome, fault);
            }
        });
        drop(calling);
        // The time in an upstream's line is not the model's.
        self.called = self.called.saturating_add(self.outcome.waited());
        answer
    }

    /// Sees to it that another call can be made, as soon as one should be; gives the error to end with if none should.
    async fn recover(&mut self, fault: CallFault) -> Option<Error> {
        let (begun, others) = match &self.exchange {
            Some(State::Ready(exchange)) => (false, exchange.fallbacks_left()),
            Some(State::Replying(exchange)) if exchange.can_go_back() => {
                (exchange.has_begun(), exchange.fallbacks_left())
            }
            _ => return Some(fault.error),
        };
        self.context.record.setback(&fault.error);
        let now = self.service.clock.elapsed();
        let chance = self.service.chance();
        (self.body, self.unread) = (None, None);
        let mut next_target = || back(&mut self.exchange).is_some_and(Exchange::<Ready>::next_target);
        let wait = match self.context.attempts.recover(&fault, begun, others, now, chance, &mut next_target) {
            Ok(wait) => wait,
            Err(error) => return Some(error),
        };
        back(&mut self.exchange);
        let mut stopped = self.stopped.clone();
        futures_util::select_biased! {
            () = stopped => Some(stopping()),
            () = self.service.clock.sleep(wait).fuse() => None,
        }
    }
}

/// Takes a turn back to before its call.
fn back(turn: &mut Option<State>) -> Option<&mut Exchange<Ready>> {
    let back = match turn.take()? {
        State::Ready(exchange) => Some(exchange),
        State::Replying(exchange) => exchange.go_back(),
    };
    *turn = back.map(State::Ready);
    match turn {
        Some(State::Ready(exchange)) => Some(exchange),
        _ => None,
    }
}

/// How long the reasons of a refusal are read; they come at once, or are not worth the wait.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(2);

/// The head of an answer, its body, and the first bytes of that.
type Answered<B> = (response::Parts, B, Option<Result<Bytes, UpstreamError>>);

/// Makes a call, and waits for the first bytes of its answer.
pub(in crate::service) async fn answered<U: Upstream>(
    upstream: &U,
    call: Call,
) -> Result<Answered<U::Body>, UpstreamError> {
    let (head, mut body) = upstream.call(call).await?.into_parts();
    let first = body.next().await;
    Ok((head, body, first))
}

/// Tells who made a call what its failure says of the address that was called.
pub(in crate::service) fn tell(outcome: &Outcome, fault: &CallFault) {
    if fault.blames_address() {
        outcome.set_failed();
    } else if fault.clears_address() {
        outcome.set_worked();
    }
}
