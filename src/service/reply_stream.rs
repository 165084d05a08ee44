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
        exchange::{Exchange, Failure, Ready, Replying},
        turn::{Answer, Delta},
        usage::Spent,
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
        context.spending.history(exchange.history_bytes());
        Self {
            service,
            context,
            exchange: Some(ExchangeState::Ready(exchange)),
            response: None,
            unread: None,
            deltas: Vec::new(),
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
        if self.lacks_counts() {
            self.read_counts().await;
            return self.finish().await.map_err(|error| self.end_call(error));
        }
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
            Ok(true) if !self.lacks_counts() => return self.finish().await.map_err(|error| self.end_call(error)),
            // The client gets the last output before the counts are awaited.
            Ok(_) => {}
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
            let pushed = exchange.push(&bytes, &mut self.deltas);
            self.context.spending.update(exchange.call_usage());
            self.context.spending.history(exchange.history_bytes().saturating_add(exchange.reply_bytes()));
            pushed?;
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
        if let Some(ExchangeState::Replying(exchange)) = &self.exchange {
            // A call that this server cancels may be paid for even before its reply.
            let is_cancelled = matches!(error, Error::Internal { .. } | Error::UpstreamTimeout { .. });
            self.context.spending.update(exchange.call_usage());
            self.end_spending(is_cancelled || exchange.is_paid(&error));
        }
        let fault = CallFault::from(error);
        if let Some(response) = self.response.take() {
            fault.end(response);
        }
        fault
    }

    /// Counts the call in flight as ended, if there is one. Returns what all calls have cost.
    fn end_spending(&self, is_paid: bool) -> Spent {
        let now = self.service.host.clock().elapsed();
        self.context.spending.end_call(is_paid, now);
        self.context.spending.total(now)
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
        let Some(ExchangeState::Replying(exchange)) = self.exchange.take() else { return Err(ended()) };
        if let Some(response) = self.response.take() {
            response.end(if exchange.has_ended() { Verdict::Complete } else { Verdict::Cancelled });
        }
        self.context.spending.update(exchange.call_usage());
        let spent = self.end_spending(true);
        let outcome = self.service.with_codec(|codec| Ok(exchange.finish(spent, codec)));
        let outcome = outcome.unwrap_or_else(|error| Err(Box::new(error.into()))).map_err(|failure| *failure);
        Ok(Step::Ended(Box::new(self.settle(outcome).await)))
    }

    /// True if the reply was cut for room, so that its counts have not arrived.
    fn lacks_counts(&self) -> bool {
        matches!(&self.exchange, Some(ExchangeState::Replying(exchange)) if exchange.lacks_counts())
    }

    /// Reads on after the reply has filled its room, for the counts of model tokens at its end. The
    /// bounds keep the rest cheap for the operator and short for the client.
    async fn read_counts(&mut self) {
        let left = self.context.attempts.deadline().saturating_sub(self.service.host.clock().elapsed());
        let mut timer = self.service.call_timer(COUNTS_TIMEOUT.min(left), "its counts", false);
        let mut bytes_read = 0_usize;
        while self.lacks_counts() && bytes_read < COUNTS_BYTES {
            let (Some(ExchangeState::Replying(exchange)), Some(response)) = (&mut self.exchange, &mut self.response)
            else {
                return;
            };
            // If the body breaks off, or at the time limit, the counts are estimated.
            let Ok(piece) = timer.bound(response.next()).await else { return };
            let Ok(bytes) = piece.transpose() else { return };
            bytes_read = bytes_read.saturating_add(bytes.as_ref().map_or(0, Bytes::len));
            exchange.read_on(bytes.as_deref());
            self.context.spending.update(exchange.call_usage());
        }
    }

    /// Ends the turn with an error.
    pub(super) async fn fail(&mut self, error: Error) -> Result<Answer, Failure> {
        self.response = None;
        let spent = self.end_spending(true);
        let failure = match self.exchange.take() {
            Some(ExchangeState::Replying(exchange)) => {
                let failure = self.service.with_codec(|codec| Ok(exchange.fail(error, spent, codec)));
                failure.unwrap_or_else(Failure::from)
            }
            _ => error.into(),
        };
        self.settle(Err(failure)).await
    }

    /// Reports the end of the turn to the guard, before the client can use the new token.
    async fn settle(&mut self, mut outcome: Result<Answer, Failure>) -> Result<Answer, Failure> {
        let Some(permit) = self.permit.take() else { return outcome };
        let end: fn(Charge) -> TurnEnd = match &mut outcome {
            Ok(answer) => {
                self.context.spending.history(answer.conversation.history_bytes);
                TurnEnd::Complete
            }
            Err(failure) => {
                // If the client does not get the partial reply's token, the turn counts as failed.
                failure.partial = failure.partial.take().filter(|_| permit.shows_partial());
                if permit.has_shown() || failure.partial.is_some() { TurnEnd::Cut } else { TurnEnd::Failed }
            }
        };
        permit.settle(end).await;
        outcome
    }
}

impl<H: Host> Drop for ReplyStream<H> {
    /// Records the repairs if the client left before the end of the turn.
    fn drop(&mut self) {
        if self.permit.is_some() {
            self.record_repairs();
        }
    }
}

/// The most bytes that are read together before the client is sent their output.
const TOGETHER_BYTES: usize = 64 << 10;
/// The longest time, and the most bytes, that are read of a reply after it has filled its room.
const COUNTS_TIMEOUT: Duration = Duration::from_secs(2);
const COUNTS_BYTES: usize = 256 << 10;

fn ended() -> Error {
    Error::internal("a turn was continued after its end")
}
