//! The upstream's answer under way: its bytes into the exchange, with an eye on the clock.
//!
//! Dropping a flow, or the future that opens one, drops the upstream's call and so cancels it.

mod calls;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_util::{FutureExt as _, StreamExt as _};

use super::{
    Clock as _, Host, Service, Sleep, Stopped,
    attempts::CallFault,
    call::{CallContext, stopping},
};
use crate::{
    guard::{Charge, Guard, Permit as _, TurnEnd},
    proto::{
        error::Error,
        exchange::{Exchange, Failure, Ready, Replying, TurnUsage},
        turn::{Answer, Delta},
    },
    upstream::{Upstream, UpstreamError, UpstreamResponse as _, Verdict},
};

/// A turn's way to its reply, over as many calls as it takes.
pub(super) struct Flow<H: Host> {
    service: Arc<Service<H>>,
    context: CallContext,
    /// None once the turn has ended.
    exchange: Option<State>,
    /// The call and the rest of its response; `None` once the call has ended.
    response: Option<<H::Upstream as Upstream>::Response>,
    /// What was read of the body and not yet looked at; `Some(None)` is its end.
    unread: Option<Option<Result<Bytes, UpstreamError>>>,
    /// What the calls so far have used at the least; none before the first.
    sent: Option<TurnUsage>,
    /// When the upstream was called, once the call had its place there.
    called: Duration,
    /// When it must have given something to show, so that another can be asked in time.
    due: Duration,
    /// When it was last heard of.
    heard: Duration,
    /// When the client last got something to see.
    told: Duration,
    /// Whether the client is shown nothing before the end.
    holds: bool,
    /// Ends at the first moment at which something may be due. What is due only moves away, so that one alarm outlasts
    /// many pieces.
    alarm: Option<Sleep>,
    /// Ends when the server can wait no longer.
    stopped: Stopped,
    /// What the turn has taken; none once it was settled.
    held: Option<HeldPermit<H>>,
}

enum State {
    Ready(Exchange<Ready>),
    Replying(Exchange<Replying>),
}

/// What a turn has taken of what there is for all: the guard's permit.
pub(super) struct HeldPermit<H: Host> {
    permit: <H::Guard as Guard>::Permit,
    stream_mode: StreamMode,
    /// Whether something of the reply was shown.
    shown: bool,
}

/// What a client gets to see of a reply before it is whole.
pub(super) enum StreamMode {
    /// What had come of one that fails, if the head of the answer was sent before: a stream that is held.
    AfterHead(Arc<AtomicBool>),
    /// All of it.
    AsItComes,
    /// Nothing: it is not streamed.
    Nothing,
}

impl<H: Host> HeldPermit<H> {
    pub(super) fn new(permit: <H::Guard as Guard>::Permit, stream_mode: StreamMode) -> Self {
        Self { permit, stream_mode, shown: false }
    }

    /// Tells the guard how the turn ended.
    pub(super) async fn settle(self, ending: TurnEnd) {
        self.permit.settle(ending).await;
    }

    /// Tells the guard that the upstream is about to be called.
    pub(super) fn call(&mut self) {
        self.permit.model_called();
    }

    fn show(&mut self) {
        if matches!(self.stream_mode, StreamMode::AsItComes) && !self.shown {
            self.shown = true;
            self.permit.reply_started();
        }
    }

    /// Whether what had come of a failed reply is shown.
    fn shows_partial(&self) -> bool {
        match &self.stream_mode {
            StreamMode::AfterHead(sent) => sent.load(Ordering::Relaxed),
            StreamMode::AsItComes => true,
            StreamMode::Nothing => false,
        }
    }
}

/// What came of waiting for the upstream.
pub(super) enum Step {
    /// Something was read; perhaps nothing to show.
    Read,
    /// The client has been without news for long enough to want a sign of life.
    Quiet,
    /// The answer is no whole reply; the turn is to be ended with [`Flow::fail`].
    Failed(CallFault),
    /// The turn has ended.
    Ended(Box<Result<Answer, Failure>>),
}

impl<H: Host> Flow<H> {
    /// A turn that is ready to be taken; nobody is called yet.
    pub(super) fn new(
        service: Arc<Service<H>>,
        exchange: Exchange<Ready>,
        context: CallContext,
        held: HeldPermit<H>,
        holds: bool,
    ) -> Self {
        let (now, stopped) = (service.host.clock().elapsed(), service.stopped.clone());
        let exchange = if holds { exchange.buffered() } else { exchange };
        Self {
            service,
            context,
            exchange: Some(State::Ready(exchange)),
            response: None,
            unread: None,
            sent: None,
            called: now,
            due: now,
            heard: now,
            told: now,
            holds,
            alarm: None,
            stopped,
            held: Some(held),
        }
    }

    /// Waits for the next bytes, and for what else is ready with them; appends to `deltas` what the client is to see.
    pub(super) async fn step(&mut self, deltas: &mut Vec<Delta>) -> Step {
        let mut piece = match self.unread.take() {
            Some(piece) => piece,
            None => match self.next_piece().await {
                Ok(Some(piece)) => piece,
                Ok(None) => return Step::Quiet,
                Err(timeout) => return self.failed(timeout),
            },
        };
        self.heard = self.service.host.clock().elapsed();
        let shown = deltas.len();
        let mut taken = 0_usize;
        loop {
            let Some(State::Replying(exchange)) = &mut self.exchange else { return self.failed(lost()) };
            match piece {
                Some(Ok(bytes)) => {
                    taken = taken.saturating_add(bytes.len());
                    if let Err(error) = exchange.push(&bytes, deltas) {
                        return self.failed(error);
                    }
                    if exchange.is_complete() {
                        return self.finish(deltas).await;
                    }
                }
                Some(Err(error)) => return self.failed(error.into()),
                None => return self.finish(deltas).await,
            }
            // Deltas that are ready together are written together.
            if taken >= TOGETHER_BYTES {
                break;
            }
            piece = match self.response.as_mut().and_then(|response| response.next().now_or_never()) {
                Some(piece) => piece,
                None => break,
            };
        }
        if deltas.len() > shown
            && let Some(response) = &mut self.response
        {
            response.note_output();
        }
        if deltas.len() > shown && !self.holds {
            self.told = self.heard;
            if let Some(held) = &mut self.held {
                held.show();
            }
        }
        Step::Read
    }

    /// The next piece of the answer, `Ok(None)` when it is time for a sign of life.
    async fn next_piece(&mut self) -> Result<Option<Option<Result<Bytes, UpstreamError>>>, Error> {
        let timeouts = &self.service.settings.timeouts;
        let clock = &self.service.host.clock();
        // What the client was shown something of is not cut short for another's sake, nor is what is being paid for.
        let waits = matches!(&self.exchange, Some(State::Replying(exchange)) if !exchange.has_started());
        let total = if waits { self.due } else { self.context.attempts.deadline() };
        loop {
            // Looked at before the body, which may never run dry.
            if clock.elapsed() >= total {
                return Err(Error::UpstreamTimeout { phase: "the end of its reply", limit: self.context.limit });
            }
            let (idle, heartbeat) = (self.heard + timeouts.idle, self.told + timeouts.heartbeat);
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
                self.told = now;
                return Ok(None);
            }
        }
    }

    fn failed(&mut self, error: Error) -> Step {
        let fault = CallFault::from(error);
        if let Some(response) = self.response.take() {
            fault.end(response);
        }
        Step::Failed(fault)
    }

    async fn finish(&mut self, deltas: &mut Vec<Delta>) -> Step {
        let Some(State::Replying(exchange)) = &mut self.exchange else { return self.failed(lost()) };
        if let Err(error) = exchange.close(deltas) {
            return self.failed(error);
        }
        if let Some(response) = self.response.take() {
            response.end(Verdict::Complete);
        }
        let elapsed = self.elapsed();
        let Some(State::Replying(exchange)) = self.exchange.take() else { return self.failed(lost()) };
        let spent = exchange.turn_usage();
        let outcome = self.service.with_codec(|codec| Ok(exchange.finish(elapsed, deltas, codec)));
        let outcome = outcome.unwrap_or_else(|error| Err(Box::new(error.into()))).map_err(|failure| *failure);
        Step::Ended(Box::new(self.settle(outcome, spent).await))
    }

    /// Ends the turn with an error.
    pub(super) async fn fail(&mut self, error: Error) -> Result<Answer, Failure> {
        let elapsed = self.elapsed();
        self.response = None;
        let (failure, spent) = match self.exchange.take() {
            Some(State::Replying(exchange)) => {
                let spent = exchange.turn_usage();
                let failure = self.service.with_codec(|codec| Ok(exchange.fail(error, elapsed, codec)));
                (failure.unwrap_or_else(Failure::from), spent)
            }
            _ => (error.into(), TurnUsage::default()),
        };
        self.settle(Err(failure), spent).await
    }

    /// Tells the guard, before the client can come back with the fresh token.
    async fn settle(&mut self, mut outcome: Result<Answer, Failure>, spent: TurnUsage) -> Result<Answer, Failure> {
        let Some(held) = self.held.take() else { return outcome };
        let ending = match &mut outcome {
            Ok(answer) => {
                let told = answer.usage.input_tokens.saturating_add(answer.usage.output_tokens);
                let model_tokens = if told > 0 { told } else { spent.estimated_tokens };
                TurnEnd::Complete(self.used(model_tokens, answer.conversation.history_bytes))
            }
            Err(failure) => {
                // A token that the client does not get to see leaves the turn as if it had not been.
                failure.partial = failure.partial.take().filter(|_| held.shows_partial());
                if held.shown || failure.partial.is_some() {
                    TurnEnd::Cut(self.used_so_far(&spent))
                } else {
                    TurnEnd::Failed
                }
            }
        };
        held.settle(ending).await;
        outcome
    }

    /// What a turn has used that breaks off: most upstreams tell their counts at the end alone.
    fn used_so_far(&self, spent: &TurnUsage) -> Charge {
        let told = spent.usage.input_tokens.saturating_add(spent.usage.output_tokens);
        self.used(told.max(spent.estimated_tokens), spent.history_bytes)
    }

    fn used(&self, model_tokens: u64, history_bytes: usize) -> Charge {
        let millis = self.elapsed().saturating_add(self.context.worked).as_millis();
        let upstream_millis = u64::try_from(millis).unwrap_or(u64::MAX);
        Charge { model_tokens, history_bytes: history_bytes as u64, upstream_millis }
    }

    fn elapsed(&self) -> Duration {
        self.service.host.clock().elapsed().saturating_sub(self.called)
    }
}

impl<H: Host> Drop for Flow<H> {
    /// The client has left, or it has its answer.
    fn drop(&mut self) {
        if let Some(held) = self.held.take() {
            let spent = match &self.exchange {
                Some(State::Replying(exchange)) => Some(exchange.turn_usage()),
                _ => self.sent,
            };
            let used = spent.map(|spent| self.used_so_far(&spent)).unwrap_or_default();
            held.permit.client_left(used);
        }
    }
}

/// As much as is read at once before the client is told of it.
const TOGETHER_BYTES: usize = 64 << 10;

fn lost() -> Error {
    Error::internal("a turn went on after its end")
}
