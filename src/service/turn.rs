//! One turn at a door: whole, or as a stream that begins once there is something to show.
//!
//! A streaming client gets its head with the first delta, or after 15 seconds; whatever fails before is a true HTTP
//! status, which SDKs raise and retry.

use std::{convert::Infallible, pin::Pin, sync::Arc};

use bytes::Bytes;
use futures_util::{FutureExt as _, stream};
use http::{HeaderName, HeaderValue, Response, header};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};

use super::{
    Clock, Incoming, Sender, Service, asker,
    body::{Body, utf8},
    flow::{Flow, Held, Step},
    json_bytes, limits,
    record::Record,
};
use crate::{
    guard::{Ending, Guard, Permit as _, Purpose},
    principal::Identity,
    problem::Problem,
    proto::{
        dialect::{
            Delta,
            door::{Answer, Asked, Door, ReplyWriter, TurnRequest},
        },
        error::Error,
        exchange::{Asker, Begun, Core, Counted, Exchange, Failure},
        sse,
    },
    upstream::Upstream,
};

impl<U: Upstream, G: Guard, C: Clock> Service<U, G, C> {
    /// Takes a turn at `door`.
    pub(super) async fn turn(
        self: Arc<Self>,
        door: &'static dyn Door,
        incoming: Incoming,
    ) -> Result<Response<Body>, Error> {
        let Incoming { sender: Sender { identity, peer }, body, request_id, record } = incoming;
        let (begun, mut writer) = self.begin(door, identity, body)?;
        let (claims, streamed) = (begun.claims().clone(), begun.is_streamed());
        record.turn(&claims);
        let permit = self.admit(Purpose::Turn, peer, &claims, begun.presented()).await?;
        let standing = permit.standing().to_vec();
        let held = Held::new(permit, streamed && !writer.holds());
        let opening = Opening::begin(Arc::clone(&self), begun, held, writer.holds());
        if !streamed {
            let Opening { mut flow, mut deltas, mut ended } = opening.await?;
            let outcome = loop {
                match ended {
                    Some(outcome) => break outcome,
                    None => deltas.clear(),
                }
                ended = match flow.step(&mut deltas).await {
                    Step::Ended(outcome) => Some(*outcome),
                    Step::Quiet | Step::Read => None,
                };
            };
            let mut response = json_bytes(writer.answer(&outcome.map_err(|failure| failure.error)?));
            limits::write_headers(&standing, response.headers_mut());
            return Ok(response);
        }
        let mut opening: Soon<U, G, C> = Box::pin(opening);
        let (mut unsent, mut signs) = (Vec::new(), Vec::new());
        let phase = futures_util::select_biased! {
            opened = opening.as_mut().fuse() => match opened? {
                Opening { ended: Some(Err(Failure { error, partial, .. })), .. } if partial.is_none() || writer.holds() => {
                    return Err(error);
                }
                opened => Phase::Opened(Box::new(opened)),
            },
            () = self.clock.sleep(self.settings.timeouts.heartbeat).fuse() => {
                sse::write_comment(&mut signs, HEARTBEAT);
                Phase::Opening(opening)
            }
        };
        writer.begin(&claims, &mut unsent);
        unsent.append(&mut signs);
        let talk = Talk { service: self, writer, unsent, phase, request_id, record };
        let frames = stream::unfold(talk, |talk| async {
            let (bytes, talk) = talk.next().await?;
            Some((Ok::<_, Infallible>(Frame::data(bytes)), talk))
        });
        let mut response = Response::new(StreamBody::new(frames).boxed_unsync());
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
        // nginx would hold events back until its buffer is full.
        headers.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
        limits::write_headers(&standing, headers);
        Ok(response)
    }

    /// Counts the model tokens that a turn at `door` would send.
    pub(super) async fn count(&self, door: &dyn Door, incoming: Incoming) -> Result<Response<Body>, Error> {
        let Incoming { sender: Sender { identity, peer }, body, record, .. } = incoming;
        let core = self.core();
        let (request, asker, _) = ask(door, &core, identity, body)?;
        let (entropy, now) = (self.entropy()?, self.clock.now());
        let counted = self.with_codec(|codec| Exchange::count(core, request, &asker, now, &entropy, codec))?;
        let tokens = match counted {
            Counted::Known(tokens) => tokens,
            Counted::Asking(mut exchange) => {
                record.turn(exchange.claims());
                let permit = self.admit(Purpose::Count, peer, exchange.claims(), exchange.presented()).await?;
                let request = exchange.take_request();
                let answer = self.aside(exchange.upstream(), request).await;
                permit.settle(Ending::Failed).await;
                let (head, answer) = answer?;
                exchange.counted(&head, &answer)?
            }
        };
        Ok(json_bytes(door.counted(tokens)))
    }

    fn begin(&self, door: &dyn Door, identity: Identity, body: Bytes) -> Result<(Begun, Box<dyn ReplyWriter>), Error> {
        let core = self.core();
        let (request, asker, writer) = ask(door, &core, identity, body)?;
        let (entropy, now) = (self.entropy()?, self.clock.now());
        let begun = self.with_codec(|codec| Exchange::begin(core, request, &asker, now, &entropy, codec))?;
        Ok((begun, writer))
    }
}

/// What `body` asks for, who asks, and who writes the reply.
fn ask(
    door: &dyn Door,
    core: &Core,
    identity: Identity,
    body: Bytes,
) -> Result<(TurnRequest, Asker, Box<dyn ReplyWriter>), Error> {
    let Asked { mut turn, writer } = door.request(utf8(&body)?, &core.ways)?;
    // Up to 4 MiB, not to be kept while the upstream works.
    drop(body);
    let asker = asker(identity, turn.user_id.take(), turn.user_hint.take());
    Ok((turn, asker, writer))
}

/// An opening on its way.
type Soon<U, G, C> = Pin<Box<dyn Future<Output = Result<Opening<U, G, C>, Error>> + Send>>;

/// A flow with the first that it gave: something to show, or its end.
struct Opening<U: Upstream, G: Guard, C: Clock> {
    flow: Flow<U, G, C>,
    deltas: Vec<Delta>,
    ended: Option<Result<Answer, Failure>>,
}

impl<U: Upstream, G: Guard, C: Clock> Opening<U, G, C> {
    async fn begin(service: Arc<Service<U, G, C>>, begun: Begun, held: Held<G>, holds: bool) -> Result<Self, Error> {
        let mut flow = match Self::open(service, begun, holds).await {
            Ok(flow) => flow.holding(held),
            Err(error) => {
                // Before the client hears of it, so that its next try finds the token good.
                held.settle(Ending::Failed).await;
                return Err(error);
            }
        };
        let mut deltas = Vec::new();
        let ended = loop {
            match flow.step(&mut deltas).await {
                Step::Ended(outcome) => break Some(*outcome),
                // A reply that is held has nothing to show before its end.
                Step::Read if holds => deltas.clear(),
                Step::Read if !deltas.is_empty() => break None,
                Step::Quiet | Step::Read => {}
            }
        };
        Ok(Self { flow, deltas, ended })
    }

    async fn open(service: Arc<Service<U, G, C>>, begun: Begun, holds: bool) -> Result<Flow<U, G, C>, Error> {
        let exchange = match begun {
            Begun::Ready(exchange) => exchange,
            Begun::Summarizing(mut exchange) => {
                let (called, request) = (service.clock.elapsed(), exchange.take_request());
                let (head, body) = service.aside(exchange.upstream(), request).await?;
                exchange.go_on(&head, &body, service.clock.elapsed().saturating_sub(called))?
            }
        };
        Flow::open(service, exchange, holds).await
    }
}

/// A streamed answer under way.
struct Talk<U: Upstream, G: Guard, C: Clock> {
    service: Arc<Service<U, G, C>>,
    writer: Box<dyn ReplyWriter>,
    /// What is to go out with the head.
    unsent: Vec<u8>,
    phase: Phase<U, G, C>,
    request_id: String,
    record: Record,
}

enum Phase<U: Upstream, G: Guard, C: Clock> {
    Opening(Soon<U, G, C>),
    Opened(Box<Opening<U, G, C>>),
    Flowing(Box<Flow<U, G, C>>),
    Over,
}

impl<U: Upstream, G: Guard, C: Clock> Talk<U, G, C> {
    /// The next bytes for the client; `None` once all is said.
    async fn next(mut self) -> Option<(Bytes, Self)> {
        let mut out = std::mem::take(&mut self.unsent);
        while out.is_empty() {
            self.phase = match std::mem::replace(&mut self.phase, Phase::Over) {
                Phase::Opening(mut opening) => {
                    let heartbeat = self.service.settings.timeouts.heartbeat;
                    futures_util::select_biased! {
                        opened = opening.as_mut().fuse() => match opened {
                            Ok(opened) => Phase::Opened(Box::new(opened)),
                            Err(error) => self.end(Err(error.into()), &mut out),
                        },
                        () = self.service.clock.sleep(heartbeat).fuse() => {
                            sse::write_comment(&mut out, HEARTBEAT);
                            Phase::Opening(opening)
                        }
                    }
                }
                Phase::Opened(opened) => {
                    let Opening { flow, deltas, ended } = *opened;
                    self.writer.deltas(&deltas, &mut out);
                    match ended {
                        Some(outcome) => self.end(outcome, &mut out),
                        None => Phase::Flowing(Box::new(flow)),
                    }
                }
                Phase::Flowing(mut flow) => {
                    let mut deltas = Vec::new();
                    let step = flow.step(&mut deltas).await;
                    self.writer.deltas(&deltas, &mut out);
                    match step {
                        Step::Ended(outcome) => self.end(*outcome, &mut out),
                        Step::Quiet => {
                            sse::write_comment(&mut out, HEARTBEAT);
                            Phase::Flowing(flow)
                        }
                        Step::Read => Phase::Flowing(flow),
                    }
                }
                Phase::Over => return None,
            };
        }
        Some((out.into(), self))
    }

    fn end(&mut self, outcome: Result<Answer, Failure>, out: &mut Vec<u8>) -> Phase<U, G, C> {
        match outcome {
            Ok(answer) => self.writer.done(&answer, out),
            Err(Failure { error, partial, .. }) => {
                self.record.fail(&error);
                let problem = Problem::new(error, &self.request_id);
                problem.tell(|told| self.writer.error(told, partial.as_ref(), out));
            }
        }
        Phase::Over
    }
}

/// What the comment says that keeps a quiet stream open.
const HEARTBEAT: &str = "still working";
