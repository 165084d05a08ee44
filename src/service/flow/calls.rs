//! The calls of a turn: one, and others while nothing of the reply was shown and there is reason to hope.
//!
//! ```text
//! begin ─▶ attempt ─▶ call ─▶ step … ─▶ something to show, or the end
//!             ▲                  │ failed
//!             └──── recover ◀────┘ after a pause, or at the next target; or gives up
//! ```

use std::time::Duration;

use futures_util::{FutureExt as _, StreamExt as _};

use super::{Flow, State, Step, lost};
use crate::{
    proto::{
        error::Error,
        exchange::{Exchange, FailedAttempt, Failure, Ready, ResponseState},
        turn::{Answer, Delta},
    },
    service::{
        Clock as _, EntropySource as _, Host,
        attempts::CallFault,
        call::{OpenCall, stopping},
    },
    upstream::Upstream,
};

impl<H: Host> Flow<H> {
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
        let OpenCall { mut response, head, first } = match self.open(&exchange).await {
            Ok(call) => call,
            Err(fault) => {
                self.exchange = Some(State::Ready(exchange));
                return Err(fault);
            }
        };
        let unanswered = match exchange.respond(&head) {
            Ok(ResponseState::Replying(exchange)) => {
                self.heard = self.service.host.clock().elapsed();
                self.exchange = Some(State::Replying(exchange));
                self.alarm = None;
                (self.response, self.unread) = (Some(response), Some(first));
                return Ok(());
            }
            Ok(ResponseState::Refused(mut exchange)) => {
                // Reasons that break off, or do not end, are still reasons.
                let limit = REFUSAL_TIMEOUT.min(self.due.saturating_sub(self.service.host.clock().elapsed()));
                let mut timer = self.service.call_timer(limit, "the end of its error", false);
                let mut piece = first;
                while let Some(Ok(bytes)) = piece {
                    if !exchange.push(&bytes) {
                        break;
                    }
                    piece = timer.bound(response.next()).await.unwrap_or(None);
                }
                exchange.into_failed_attempt()
            }
            Err(unanswered) => *unanswered,
        };
        let FailedAttempt { error, exchange } = unanswered;
        self.exchange = Some(State::Ready(exchange));
        let fault = CallFault::from(error);
        fault.end(response);
        Err(fault)
    }

    /// Sends the exchange's request, and waits for the first bytes of the response.
    async fn open(
        &mut self,
        exchange: &Exchange<Ready>,
    ) -> Result<OpenCall<<H::Upstream as Upstream>::Response>, CallFault> {
        let service = &self.service;
        self.called = service.host.clock().elapsed();
        self.sent = Some(exchange.turn_usage());
        if let Some(held) = &mut self.held {
            held.call();
        }
        let (call, share) = self.context.call(exchange, exchange.request(), self.called);
        self.due = self.called + share;
        let is_streamed = exchange.is_streamed();
        // Of a reply that is not streamed, no byte comes before the model has written the last one.
        let limit = if is_streamed { share.min(service.settings.timeouts.first_byte) } else { share };
        // That a whole reply takes longer than its share of the time is nobody's fault.
        let blames = is_streamed || exchange.fallbacks_left() == 0;
        let mut timer = service.call_timer(limit, "the first byte", blames);
        let (waited, opened) = service.open_call(&mut self.context, call, &mut timer).await;
        // The time in an upstream's line is not the model's.
        self.called = self.called.saturating_add(waited);
        opened
    }

    /// Sees to it that another call can be made, as soon as one should be; gives the error to end with if none should.
    async fn recover(&mut self, fault: CallFault) -> Option<Error> {
        let (begun, others) = match &self.exchange {
            Some(State::Ready(exchange)) => (false, exchange.fallbacks_left()),
            Some(State::Replying(exchange)) if exchange.can_retry() => {
                (exchange.has_started(), exchange.fallbacks_left())
            }
            _ => return Some(fault.error),
        };
        self.context.record.setback(&fault.error);
        let now = self.service.host.clock().elapsed();
        let chance = self.service.host.entropy().jitter();
        (self.response, self.unread) = (None, None);
        let mut next_target = || back(&mut self.exchange).is_some_and(Exchange::<Ready>::next_target);
        let wait = match self.context.attempts.recover(&fault, begun, others, now, chance, &mut next_target) {
            Ok(wait) => wait,
            Err(error) => return Some(error),
        };
        back(&mut self.exchange);
        let mut stopped = self.stopped.clone();
        futures_util::select_biased! {
            () = stopped => Some(stopping()),
            () = self.service.host.clock().sleep(wait).fuse() => None,
        }
    }
}

/// Takes a turn back to before its call.
fn back(turn: &mut Option<State>) -> Option<&mut Exchange<Ready>> {
    let back = match turn.take()? {
        State::Ready(exchange) => Some(exchange),
        State::Replying(exchange) => exchange.into_retry(),
    };
    *turn = back.map(State::Ready);
    match turn {
        Some(State::Ready(exchange)) => Some(exchange),
        _ => None,
    }
}

/// How long the reasons of a refusal are read; they come at once, or are not worth the wait.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(2);
