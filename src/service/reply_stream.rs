//! The reply of one turn as it arrives: bytes of the upstream's response into the exchange, within
//! the time limits.
//!
//! Dropping a reply stream, or the future that opens one, cancels the upstream call.

mod open;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::{FutureExt as _, StreamExt as _};

use super::{
    attempts::CallFault,
    call::{CallContext, stopping},
    host::{Clock as _, Host, Sleep},
    permit::HeldPermit,
    state::{Service, Stopped},
};
use crate::{
    guard::{Charge, TurnEnd},
    proto::{
        error::Error,
        exchange::{Exchange, Failure, Ready, Replying, TurnUsage},
        turn::{Answer, Delta},
    },
    upstream::{Upstream, UpstreamError, UpstreamResponse as _, Verdict},
};

/// The reply of one turn, over as many upstream calls as it takes.
pub(super) struct ReplyStream<H: Host> {
    service: Arc<Service<H>>,
    context: CallContext,
    /// `None` once the turn has ended.
    exchange: Option<ExchangeState>,
    /// The call in flight and the rest of its response; `None` once the call has ended.
    response: Option<<H::Upstream as Upstream>::Response>,
    /// A piece of the body that arrived with the head and was not read yet. `Some(None)` is the end
    /// of the body.
    unread: Option<Option<Result<Bytes, UpstreamError>>>,
    /// Output that [`Self::take_deltas`] has not returned yet.
    deltas: Vec<Delta>,
    /// The least that the calls so far have used, `None` before the first call.
    sent: Option<TurnUsage>,
    /// The start of the call, without its time in the upstream's queue.
    called: Duration,
    /// The time by which the call must have output, so that another target can still be called.
    due: Duration,
    /// The last time that bytes arrived.
    last_received: Duration,
    /// The last time that the client was sent something.
    last_sent: Duration,
    /// True if the client sees nothing before the end.
    holds: bool,
    /// A timer that ends before or at the first limit. Limits only move to later times, so one
    /// timer serves many pieces.
    alarm: Option<Sleep>,
    /// Completes when the server must stop.
    stopped: Stopped,
    /// `None` once the guard knows how the turn ended.
    permit: Option<HeldPermit<H>>,
}

enum ExchangeState {
    Ready(Exchange<Ready>),
    Replying(Exchange<Replying>),
}

/// The result of waiting for the upstream.
pub(super) enum Step {
    /// The turn has ended.
    Ended(Box<Result<Answer, Failure>>),
    /// The client has waited long enough for a heartbeat.
    Quiet,
    /// Bytes were read, perhaps without output.
    Read,
}

impl<H: Host> ReplyStream<H> {
    /// A turn that is ready to be sent. [`Self::open`] makes the first call.
    pub(super) fn new(
        service: Arc<Service<H>>,
        exchange: Exchange<Ready>,
        context: CallContext,
        permit: HeldPermit<H>,
        holds: bool,
    ) -> Self {
        let (now, stopped) = (service.host.clock().elapsed(), service.stopped.clone());
        let exchange = if holds { exchange.buffered() } else { exchange };
        Self {
            service,
            context,
            exchange: Some(ExchangeState::Ready(exchange)),
            response: None,
            unread: None,
            deltas: Vec::new(),
            sent: None,
            called: now,
            due: now,
            last_received: now,
            last_sent: now,
            holds,
            alarm: None,
            stopped,
            permit: Some(permit),
        }
    }

    /// The output since the last call of this method.
    pub(super) fn take_deltas(&mut self) -> Vec<Delta> {
        std::mem::take(&mut self.deltas)
    }

    /// Waits for the next bytes, and reads what has arrived with them.
    ///
    /// # Errors
    /// The [`CallFault`] of an incomplete reply. End the turn with [`Self::fail`] then.
    pub(super) async fn step(&mut self) -> Result<Step, CallFault> {
        let piece = match self.unread.take() {
            Some(piece) => piece,
            None => match self.next_piece().await {
                Ok(Some(piece)) => piece,
                Ok(None) => return Ok(Step::Quiet),
                Err(error) => return Err(self.end_call(error)),
            },
        };
        self.last_received = self.service.host.clock().elapsed();
        let before = self.deltas.len();
        match self.read_arrived(piece) {
            Ok(true) => return self.finish().await.map_err(|error| self.end_call(error)),
            Ok(false) => {}
            Err(error) => return Err(self.end_call(error)),
        }
        if self.deltas.len() > before {
            self.note_output();
        }
        Ok(Step::Read)
    }

    /// Reads `piece`, and the pieces that have arrived after it: output that arrives together is
    /// written together. Returns true at the end of the reply.
    fn read_arrived(&mut self, mut piece: Option<Result<Bytes, UpstreamError>>) -> Result<bool, Error> {
        let mut bytes_read = 0_usize;
        loop {
            let Some(ExchangeState::Replying(exchange)) = &mut self.exchange else { return Err(ended()) };
            let Some(bytes) = piece.transpose()? else { return Ok(true) };
            bytes_read = bytes_read.saturating_add(bytes.len());
            exchange.push(&bytes, &mut self.deltas)?;
            if exchange.is_complete() {
                return Ok(true);
            }
            if bytes_read >= TOGETHER_BYTES {
                return Ok(false);
            }
            let arrived = self.response.as_mut().and_then(|response| response.next().now_or_never());
            let Some(next) = arrived else { return Ok(false) };
            piece = next;
        }
    }

    /// Reports output to the upstream and, if the client sees it, to the guard.
    fn note_output(&mut self) {
        if let Some(response) = &mut self.response {
            response.note_output();
        }
        if !self.holds {
            self.last_sent = self.last_received;
            if let Some(permit) = &mut self.permit {
                permit.show();
            }
        }
    }

    /// The next piece of the body, `Ok(None)` if it is time for a heartbeat.
    async fn next_piece(&mut self) -> Result<Option<Option<Result<Bytes, UpstreamError>>>, Error> {
        let timeouts = &self.service.settings.timeouts;
        let clock = self.service.host.clock();
        let total = self.total_deadline();
        loop {
            // Checked before the body, which may always have bytes ready.
            if clock.elapsed() >= total {
                return Err(Error::UpstreamTimeout { phase: "the end of its reply", limit: self.context.limit });
            }
            let (idle, heartbeat) = (self.last_received + timeouts.idle, self.last_sent + timeouts.heartbeat);
            let due = total.min(idle).min(heartbeat);
            let alarm = self.alarm.get_or_insert_with(|| clock.sleep(due.saturating_sub(clock.elapsed())));
            let (Some(response), mut stopped) = (&mut self.response, &mut self.stopped) else { return Ok(Some(None)) };
            futures_util::select_biased! {
                piece = response.next().fuse() => return Ok(Some(piece)),
                () = alarm.fuse() => self.alarm = None,
                () = stopped => return Err(stopping()),
            }
            let now = clock.elapsed();
            if now >= total {
                continue;
            }
            if now >= idle {
                return Err(Error::UpstreamTimeout { phase: "the next part of its reply", limit: timeouts.idle });
            }
            if now >= heartbeat {
                self.last_sent = now;
                return Ok(None);
            }
        }
    }

    /// The time by which the reply must have ended. A reply without output must leave time for the
    /// next target. One with output is not cut short for that: the client may have seen it, and the
    /// operator pays for it.
    fn total_deadline(&self) -> Duration {
        match &self.exchange {
            Some(ExchangeState::Replying(exchange)) if !exchange.has_started() => self.due,
            _ => self.context.attempts.deadline(),
        }
    }

    /// Ends the call in flight after an error.
    fn end_call(&mut self, error: Error) -> CallFault {
        self.record_repairs();
        let fault = CallFault::from(error);
        if let Some(response) = self.response.take() {
            fault.end(response);
        }
        fault
    }

    /// Records the repairs of the current reply.
    fn record_repairs(&self) {
        if let Some(ExchangeState::Replying(exchange)) = &self.exchange {
            self.context.record.repaired(exchange.repairs());
        }
    }

    /// Ends the turn with a complete reply. The error is that of an incomplete one.
    async fn finish(&mut self) -> Result<Step, Error> {
        let Some(ExchangeState::Replying(exchange)) = &mut self.exchange else { return Err(ended()) };
        exchange.close(&mut self.deltas)?;
        self.record_repairs();
        if let Some(response) = self.response.take() {
            response.end(Verdict::Complete);
        }
        let elapsed = self.elapsed();
        let Some(ExchangeState::Replying(exchange)) = self.exchange.take() else { return Err(ended()) };
        let usage = exchange.turn_usage();
        let deltas = &mut self.deltas;
        let outcome = self.service.with_codec(|codec| Ok(exchange.finish(elapsed, deltas, codec)));
        let outcome = outcome.unwrap_or_else(|error| Err(Box::new(error.into()))).map_err(|failure| *failure);
        Ok(Step::Ended(Box::new(self.settle(outcome, usage).await)))
    }

    /// Ends the turn with an error.
    pub(super) async fn fail(&mut self, error: Error) -> Result<Answer, Failure> {
        let elapsed = self.elapsed();
        self.response = None;
        let (failure, usage) = match self.exchange.take() {
            Some(ExchangeState::Replying(exchange)) => {
                let usage = exchange.turn_usage();
                let failure = self.service.with_codec(|codec| Ok(exchange.fail(error, elapsed, codec)));
                (failure.unwrap_or_else(Failure::from), usage)
            }
            _ => (error.into(), TurnUsage::default()),
        };
        self.settle(Err(failure), usage).await
    }

    /// Reports the end of the turn to the guard, before the client can use the new token.
    async fn settle(&mut self, mut outcome: Result<Answer, Failure>, usage: TurnUsage) -> Result<Answer, Failure> {
        let Some(permit) = self.permit.take() else { return outcome };
        let end = match &mut outcome {
            Ok(answer) => {
                let reported = answer.usage.input_tokens.saturating_add(answer.usage.output_tokens);
                let model_tokens = if reported > 0 { reported } else { usage.estimated_tokens };
                TurnEnd::Complete(self.charge(model_tokens, answer.conversation.history_bytes))
            }
            Err(failure) => {
                // If the client does not get the partial reply's token, the turn counts as failed.
                failure.partial = failure.partial.take().filter(|_| permit.shows_partial());
                if permit.has_shown() || failure.partial.is_some() {
                    TurnEnd::Cut(self.charge_so_far(&usage))
                } else {
                    TurnEnd::Failed
                }
            }
        };
        permit.settle(end).await;
        outcome
    }

    /// The charge of a turn that ended early. Most upstreams report their token counts only at the
    /// end, so the estimate may be higher.
    fn charge_so_far(&self, usage: &TurnUsage) -> Charge {
        let reported = usage.usage.input_tokens.saturating_add(usage.usage.output_tokens);
        self.charge(reported.max(usage.estimated_tokens), usage.history_bytes)
    }

    fn charge(&self, model_tokens: u64, history_bytes: usize) -> Charge {
        let millis = self.elapsed().saturating_add(self.context.worked).as_millis();
        let upstream_millis = u64::try_from(millis).unwrap_or(u64::MAX);
        Charge { model_tokens, history_bytes: history_bytes as u64, upstream_millis }
    }

    fn elapsed(&self) -> Duration {
        self.service.host.clock().elapsed().saturating_sub(self.called)
    }
}

impl<H: Host> Drop for ReplyStream<H> {
    /// Charges the turn if the client left before its end.
    fn drop(&mut self) {
        if let Some(permit) = self.permit.take() {
            self.record_repairs();
            let usage = match &self.exchange {
                Some(ExchangeState::Replying(exchange)) => Some(exchange.turn_usage()),
                _ => self.sent,
            };
            permit.leave(usage.map(|usage| self.charge_so_far(&usage)).unwrap_or_default());
        }
    }
}

/// The most bytes that are read together before the client is sent their output.
const TOGETHER_BYTES: usize = 64 << 10;

fn ended() -> Error {
    Error::internal("a turn was continued after its end")
}
