//! The upstream's answer under way: its bytes into the exchange, with an eye on the clock.
//!
//! Dropping a flow, or the future that opens one, drops the upstream's call and so cancels it.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::{FutureExt as _, StreamExt as _};
use http::{Request, response};

use super::{Clock, Service, Sleep, Stopped};
use crate::{
    guard::{Ending, Guard, Permit as _, Used},
    proto::{
        chat::Usage,
        dialect::{Delta, door::Answer},
        error::Error,
        exchange::{ASIDE_BYTES, Exchange, Failure, Ready, Replying, Response},
    },
    upstream::{Upstream, UpstreamError},
};

/// A reply that is coming in.
pub(super) struct Flow<U: Upstream, G: Guard, C: Clock> {
    service: Arc<Service<U, G, C>>,
    exchange: Option<Exchange<Replying>>,
    /// The rest of the answer; none once it was let go.
    body: Option<U::Body>,
    /// What was read of the body and not yet looked at; `Some(None)` is its end.
    unread: Option<Option<Result<Bytes, UpstreamError>>>,
    /// When the upstream was called.
    called: Duration,
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
    held: Option<Held<G>>,
}

/// What a turn has taken of what there is for all: the guard's permit.
pub(super) struct Held<G: Guard> {
    permit: G::Permit,
    /// Whether what comes in is shown to the client as it comes.
    shows: bool,
    /// Whether something was.
    shown: bool,
}

impl<G: Guard> Held<G> {
    pub(super) fn new(permit: G::Permit, shows: bool) -> Self {
        Self { permit, shows, shown: false }
    }

    /// Tells the guard how the turn ended.
    pub(super) async fn settle(self, ending: Ending) {
        self.permit.settle(ending).await;
    }

    fn show(&mut self) {
        if self.shows && !self.shown {
            self.shown = true;
            self.permit.show();
        }
    }
}

/// What came of waiting for the upstream.
pub(super) enum Step {
    /// Something was read; perhaps nothing to show.
    Read,
    /// The client has been without news for long enough to want a sign of life.
    Quiet,
    /// The turn has ended.
    Ended(Box<Result<Answer, Failure>>),
}

impl<U: Upstream, G: Guard, C: Clock> Flow<U, G, C> {
    /// Calls the upstream and waits for its first byte.
    pub(super) async fn open(
        service: Arc<Service<U, G, C>>,
        mut exchange: Exchange<Ready>,
        holds: bool,
    ) -> Result<Self, Error> {
        let called = service.clock.elapsed();
        let request = exchange.take_request();
        let timeouts = &service.settings.timeouts;
        // Of a reply that is not streamed, no byte comes before the model has written the last one.
        let limit = if exchange.is_streamed() { timeouts.first_byte } else { timeouts.total };
        let mut stopped = service.stopped.clone();
        let (head, mut body, first) = futures_util::select_biased! {
            answer = Box::pin(call(&service.upstream, exchange.upstream(), request)).fuse() => answer?,
            () = service.clock.sleep(limit).fuse() => {
                return Err(Error::UpstreamTimeout { phase: "first byte", limit });
            }
            () = stopped => return Err(stopping()),
        };
        match exchange.respond(&head)? {
            Response::Replying(exchange) => {
                let heard = service.clock.elapsed();
                let (exchange, body, unread, told) = (Some(exchange), Some(body), Some(first), heard);
                Ok(Self {
                    service,
                    exchange,
                    body,
                    unread,
                    called,
                    heard,
                    told,
                    holds,
                    alarm: None,
                    stopped,
                    held: None,
                })
            }
            Response::Refused(mut exchange) => {
                // Reasons that break off, or stall, are still reasons.
                let mut stall = service.clock.sleep(service.settings.timeouts.idle).fuse();
                let mut piece = first;
                while let Some(Ok(bytes)) = piece {
                    if !exchange.push(&bytes) {
                        break;
                    }
                    piece = futures_util::select_biased! {
                        piece = body.next().fuse() => piece,
                        () = stall => None,
                    };
                }
                Err(exchange.into_error())
            }
        }
    }

    /// The same with what the turn has taken, to be given back at its end.
    pub(super) fn holding(self, held: Held<G>) -> Self {
        Self { held: Some(held), ..self }
    }

    /// Waits for the next bytes, and for what else is ready with them; appends to `deltas` what the client is to see.
    pub(super) async fn step(&mut self, deltas: &mut Vec<Delta>) -> Step {
        let mut piece = match self.unread.take() {
            Some(piece) => piece,
            None => match self.next_piece().await {
                Ok(Some(piece)) => piece,
                Ok(None) => return Step::Quiet,
                Err(timeout) => return self.fail(timeout).await,
            },
        };
        self.heard = self.service.clock.elapsed();
        let shown = deltas.len();
        let mut taken = 0_usize;
        loop {
            match piece {
                Some(Ok(bytes)) => {
                    taken = taken.saturating_add(bytes.len());
                    let Some(exchange) = &mut self.exchange else { return self.fail(Error::UpstreamCut).await };
                    if let Err(error) = exchange.push(&bytes, deltas) {
                        return self.fail(error).await;
                    }
                    if exchange.is_complete() {
                        if let Some(body) = self.body.take() {
                            self.service.upstream.release(body);
                        }
                        return self.finish(deltas).await;
                    }
                }
                Some(Err(error)) => return self.fail(error.into()).await,
                None => return self.finish(deltas).await,
            }
            // Deltas that are ready together are written together.
            if taken >= TOGETHER_BYTES {
                break;
            }
            piece = match self.body.as_mut().and_then(|body| body.next().now_or_never()) {
                Some(piece) => piece,
                None => break,
            };
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
        let clock = &self.service.clock;
        let total = self.called + timeouts.total;
        loop {
            // Looked at before the body, which may never run dry.
            if clock.elapsed() >= total {
                return Err(Error::UpstreamTimeout { phase: "end of its reply", limit: timeouts.total });
            }
            let (idle, heartbeat) = (self.heard + timeouts.idle, self.told + timeouts.heartbeat);
            let due = total.min(idle).min(heartbeat);
            let alarm = self.alarm.get_or_insert_with(|| clock.sleep(due.saturating_sub(clock.elapsed())));
            let (Some(body), mut stopped) = (&mut self.body, &mut self.stopped) else { return Ok(Some(None)) };
            futures_util::select_biased! {
                piece = body.next().fuse() => return Ok(Some(piece)),
                () = alarm.fuse() => self.alarm = None,
                () = stopped => return Err(stopping()),
            }
            let now = clock.elapsed();
            if now >= idle {
                return Err(Error::UpstreamTimeout { phase: "further piece of its reply", limit: timeouts.idle });
            }
            if now >= heartbeat {
                self.told = now;
                return Ok(None);
            }
        }
    }

    async fn finish(&mut self, deltas: &mut Vec<Delta>) -> Step {
        let elapsed = self.elapsed();
        let Some(exchange) = self.exchange.take() else { return ended(Err(Error::UpstreamCut.into())) };
        let outcome = self.service.with_codec(|codec| Ok(exchange.finish(elapsed, deltas, codec)));
        let outcome = outcome.unwrap_or_else(|error| Err(Box::new(error.into()))).map_err(|failure| *failure);
        self.settle(outcome, elapsed).await
    }

    async fn fail(&mut self, error: Error) -> Step {
        let elapsed = self.elapsed();
        let Some(exchange) = self.exchange.take() else { return ended(Err(error.into())) };
        let failure = self.service.with_codec(|codec| Ok(exchange.fail(error, elapsed, codec)));
        self.settle(Err(failure.unwrap_or_else(Failure::from)), elapsed).await
    }

    /// Tells the guard, before the client can come back with the fresh token.
    async fn settle(&mut self, outcome: Result<Answer, Failure>, elapsed: Duration) -> Step {
        if let Some(held) = self.held.take() {
            let used = |usage: Usage, history_bytes: usize| Used {
                model_tokens: usage.input_tokens.saturating_add(usage.output_tokens),
                history_bytes: history_bytes as u64,
                upstream_millis: u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX),
            };
            let ending = match &outcome {
                Ok(answer) => Ending::Whole(used(answer.usage, answer.conversation.history_bytes)),
                Err(failure) if held.shown => Ending::Cut(used(failure.usage, 0)),
                Err(_) => Ending::Failed,
            };
            held.settle(ending).await;
        }
        ended(outcome)
    }

    fn elapsed(&self) -> Duration {
        self.service.clock.elapsed().saturating_sub(self.called)
    }
}

impl<U: Upstream, G: Guard, C: Clock> Service<U, G, C> {
    /// Makes a call beside the turn's own; gives its whole answer, up to a bound.
    pub(super) async fn aside(
        &self,
        upstream: &str,
        request: Request<Bytes>,
    ) -> Result<(response::Parts, Vec<u8>), Error> {
        let limit = self.settings.timeouts.total;
        let mut stopped = self.stopped.clone();
        let answer = async {
            let (head, mut body, mut piece) = call(&self.upstream, upstream, request).await?;
            let mut bytes = Vec::new();
            while let Some(read) = piece {
                bytes.extend_from_slice(&read?);
                if bytes.len() > ASIDE_BYTES {
                    return Err(Error::UpstreamMalformed { cause: format!("an answer over {ASIDE_BYTES} bytes") });
                }
                piece = body.next().await;
            }
            self.upstream.release(body);
            Ok((head, bytes))
        };
        futures_util::select_biased! {
            answer = Box::pin(answer).fuse() => answer,
            () = self.clock.sleep(limit).fuse() => Err(Error::UpstreamTimeout { phase: "whole answer", limit }),
            () = stopped => Err(stopping()),
        }
    }
}

/// As much as is read at once before the client is told of it.
const TOGETHER_BYTES: usize = 64 << 10;

fn ended(outcome: Result<Answer, Failure>) -> Step {
    Step::Ended(Box::new(outcome))
}

type Answered<B> = (response::Parts, B, Option<Result<Bytes, UpstreamError>>);

/// The head of the upstream's answer, and the first bytes after it.
async fn call<U: Upstream>(upstream: &U, name: &str, request: Request<Bytes>) -> Result<Answered<U::Body>, Error> {
    let (head, mut body) = upstream.call(name, request).await?.into_parts();
    let first = body.next().await;
    Ok((head, body, first))
}

fn stopping() -> Error {
    Error::internal("the server stopped before the reply was whole")
}
