//! One turn at a door: whole, or as a stream that begins once there is something to show.
//!
//! A streaming client gets its head with the first delta, or after 15 seconds; whatever fails before is a true HTTP
//! status, which SDKs raise and retry.

use std::{
    convert::Infallible,
    net::IpAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_util::{FutureExt as _, stream};
use http::{HeaderName, HeaderValue, Response, header};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};

use super::{
    Clock as _, Host, Incoming, Sender, Service,
    attempts::Attempts,
    body::{Body, utf8},
    call::CallContext,
    caller,
    flow::{Flow, HeldPermit, Step, StreamMode},
    json_bytes, limits,
    record::Record,
};
use crate::{
    guard::{self, GuardPurpose, Permit as _, TurnEnd},
    principal::Identity,
    problem::Problem,
    proto::{
        api::{Api, ParsedRequest, ReplyWriter},
        deployment::Deployment,
        error::Error,
        exchange::{Caller, Exchange, Failure, Planned},
        sse,
        token::Claims,
        turn::{Answer, Delta, TurnRequest},
    },
};

impl<H: Host> Service<H> {
    /// Takes a turn at `api`.
    pub(super) async fn turn(
        self: Arc<Self>,
        api: &'static dyn Api,
        incoming: Incoming,
    ) -> Result<Response<Body>, Error> {
        let Incoming { sender: Sender { identity, peer }, body, ends, request_id, record } = incoming;
        let (planned, mut writer) = self.begin(api, identity, body)?;
        let (claims, streamed) = (planned.claims().clone(), planned.is_streamed());
        record.turn(&claims);
        let permit = self.admit(GuardPurpose::Turn, peer, &claims, planned.presented()).await?;
        let standing = permit.allowances().to_vec();
        let holds = !streamed || writer.buffers_deltas();
        let head_sent = Arc::new(AtomicBool::new(false));
        let stream_mode = match (streamed, writer.buffers_deltas()) {
            (false, _) => StreamMode::Nothing,
            (true, false) => StreamMode::AsItComes,
            (true, true) => StreamMode::AfterHead(Arc::clone(&head_sent)),
        };
        let held = HeldPermit::new(permit, stream_mode);
        let context = self.context(&claims, peer, ends, &record);
        let opening = Opening::begin(Arc::clone(&self), planned, context, held, holds);
        if !streamed {
            let answer = match opening.await?.ended {
                Some(Ok(answer)) => answer,
                Some(Err(failure)) => return Err(failure.error),
                None => return Err(Error::internal("a held reply has no end")),
            };
            let mut response = json_bytes(writer.body(&answer));
            limits::write_headers(&standing, response.headers_mut());
            return Ok(response);
        }
        let mut opening: Soon<H> = Box::pin(opening);
        let (mut unsent, mut signs) = (Vec::new(), Vec::new());
        let phase = futures_util::select_biased! {
            opened = opening.as_mut().fuse() => match opened? {
                Opening { ended: Some(Err(Failure { error, partial: None })), .. } => return Err(error),
                opened => Phase::Opened(Box::new(opened)),
            },
            () = self.host.clock().sleep(self.settings.timeouts.heartbeat).fuse() => {
                head_sent.store(true, Ordering::Relaxed);
                sse::write_comment(&mut signs, HEARTBEAT);
                Phase::Opening(opening)
            }
        };
        writer.start(&claims, &mut unsent);
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

    /// Counts the model tokens that a turn at `api` would send.
    pub(super) async fn count(&self, api: &dyn Api, incoming: Incoming) -> Result<Response<Body>, Error> {
        let Incoming { sender: Sender { identity, peer }, body, ends, record, .. } = incoming;
        let deployment = self.deployment();
        let (request, caller, _) = ask(api, &deployment, identity, body)?;
        let (entropy, now) = (self.entropy()?, self.host.clock().now());
        let mut exchange =
            self.with_codec(|codec| Exchange::open(deployment, request, &caller, now, &entropy, codec)?.count())?;
        record.turn(exchange.claims());
        let permit = self.admit(GuardPurpose::Count, peer, exchange.claims(), exchange.presented()).await?;
        let standing = permit.allowances().to_vec();
        let tokens = match exchange.known_count() {
            Some(tokens) => Ok(tokens),
            None => {
                let mut context = self.context(exchange.claims(), peer, ends, &record);
                self.side_call(&mut exchange, &mut context).await
            }
        };
        permit.settle(TurnEnd::Failed).await;
        let mut response = json_bytes(api.token_count_body(tokens?));
        limits::write_headers(&standing, response.headers_mut());
        Ok(response)
    }

    /// What all calls for this request have in common.
    fn context(&self, claims: &Claims, peer: Option<IpAddr>, ends: Option<Duration>, record: &Record) -> CallContext {
        let (now, total) = (self.host.clock().elapsed(), self.settings.timeouts.total);
        let limit = ends.map_or(total, |ends| ends.saturating_sub(now).min(total));
        CallContext {
            limit,
            user: self.users.hash(&guard::LimitSubject::new(&claims.principal, peer))[0],
            attempts: Attempts::new(self.settings.retries, now.saturating_add(limit)),
            worked: Duration::ZERO,
            waited: Duration::ZERO,
            record: record.clone(),
        }
    }

    fn begin(&self, api: &dyn Api, identity: Identity, body: Bytes) -> Result<(Planned, Box<dyn ReplyWriter>), Error> {
        let deployment = self.deployment();
        let (request, caller, writer) = ask(api, &deployment, identity, body)?;
        let (entropy, now) = (self.entropy()?, self.host.clock().now());
        let planned =
            self.with_codec(|codec| Exchange::open(deployment, request, &caller, now, &entropy, codec)?.plan(codec))?;
        Ok((planned, writer))
    }
}

/// What `body` asks for, who asks, and who writes the reply.
fn ask(
    api: &dyn Api,
    deployment: &Deployment,
    identity: Identity,
    body: Bytes,
) -> Result<(TurnRequest, Caller, Box<dyn ReplyWriter>), Error> {
    let ParsedRequest { mut turn, writer } = api.parse_request(utf8(&body)?, &deployment.apis)?;
    // Up to 4 MiB, not to be kept while the upstream works.
    drop(body);
    let caller = caller(identity, turn.user_id.take(), turn.user_hint.take());
    Ok((turn, caller, writer))
}

/// An opening on its way.
type Soon<H> = Pin<Box<dyn Future<Output = Result<Opening<H>, Error>> + Send>>;

/// A flow with the first that it gave: something to show, or its end.
struct Opening<H: Host> {
    flow: Flow<H>,
    deltas: Vec<Delta>,
    ended: Option<Result<Answer, Failure>>,
}

impl<H: Host> Opening<H> {
    async fn begin(
        service: Arc<Service<H>>,
        planned: Planned,
        mut context: CallContext,
        mut held: HeldPermit<H>,
        holds: bool,
    ) -> Result<Self, Error> {
        let ready = match planned {
            Planned::Ready(exchange) => Ok(exchange),
            Planned::Summarizing(exchange) => {
                held.call();
                service.summarize(exchange, &mut context).await
            }
        };
        let exchange = match ready {
            Ok(exchange) => exchange,
            Err(error) => {
                // Before the client hears of it, so that its next try finds the token good.
                held.settle(TurnEnd::Failed).await;
                return Err(error);
            }
        };
        let mut flow = Flow::new(service, exchange, context, held, holds);
        let mut deltas = Vec::new();
        let ended = flow.begin(&mut deltas).await;
        Ok(Self { flow, deltas, ended })
    }
}

/// A streamed answer under way.
struct Talk<H: Host> {
    service: Arc<Service<H>>,
    writer: Box<dyn ReplyWriter>,
    /// What is to go out with the head.
    unsent: Vec<u8>,
    phase: Phase<H>,
    request_id: String,
    record: Record,
}

enum Phase<H: Host> {
    Opening(Soon<H>),
    Opened(Box<Opening<H>>),
    Flowing(Box<Flow<H>>),
    Over,
}

impl<H: Host> Talk<H> {
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
                        () = self.service.host.clock().sleep(heartbeat).fuse() => {
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
                        Step::Failed(fault) => {
                            let outcome = flow.fail(fault.error).await;
                            self.end(outcome, &mut out)
                        }
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

    fn end(&mut self, outcome: Result<Answer, Failure>, out: &mut Vec<u8>) -> Phase<H> {
        match outcome {
            Ok(answer) => self.writer.finish(&answer, out),
            Err(Failure { error, partial, .. }) => {
                self.record.fail(&error);
                let problem = Problem::new(error, &self.request_id);
                problem.with_public_error(|told| self.writer.fail(told, partial.as_ref(), out));
            }
        }
        Phase::Over
    }
}

/// What the comment says that keeps a quiet stream open.
const HEARTBEAT: &str = "still working";
