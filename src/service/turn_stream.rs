//! A streamed response to a turn.
//!
//! The client gets the head with the first output, or after 15 seconds (the heartbeat interval). A
//! failure before that is a real HTTP status, which SDKs report and retry.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use bytes::Bytes;
use futures_util::{FutureExt as _, stream};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};

use super::{
    body::Body,
    host::{Clock as _, Host},
    open_reply::{AdmittedTurn, OpenedReply},
    record::Record,
    reply_stream::{ReplyStream, Step},
    state::Service,
};
use crate::{
    problem::Problem,
    proto::{api::ReplyWriter, error::Error, exchange::Failure, sse, token::Claims, turn::Answer},
};

/// A streamed response in progress.
pub(super) struct TurnStream<H: Host> {
    service: Arc<Service<H>>,
    writer: Box<dyn ReplyWriter>,
    /// Bytes that go out with the head.
    unsent: Vec<u8>,
    phase: Phase<H>,
    request_id: String,
    record: Record,
}

enum Phase<H: Host> {
    /// There is no output yet.
    Opening(OpeningReply<H>),
    /// There is output that was not written yet.
    Opened(Box<OpenedReply<H>>),
    Replying(Box<ReplyStream<H>>),
    Ended,
}

type OpeningReply<H> = Pin<Box<dyn Future<Output = Result<OpenedReply<H>, Error>> + Send>>;

impl<H: Host> TurnStream<H> {
    /// Starts the turn, and waits until the client should get the head. Sets `head_sent` if that is
    /// before there is output.
    ///
    /// # Errors
    /// The error of a turn that failed before any output.
    pub(super) async fn start(
        service: Arc<Service<H>>,
        turn: AdmittedTurn<H>,
        writer: Box<dyn ReplyWriter>,
        head_sent: &AtomicBool,
        request_id: String,
        record: Record,
    ) -> Result<Self, Error> {
        let claims = turn.planned.claims().clone();
        let mut opening: OpeningReply<H> = Box::pin(turn.open(Arc::clone(&service)));
        let mut heartbeat = Vec::new();
        let phase = futures_util::select_biased! {
            opened = opening.as_mut().fuse() => match opened? {
                OpenedReply { end: Some(Err(Failure { error, partial: None })), .. } => return Err(error),
                opened => Phase::Opened(Box::new(opened)),
            },
            () = service.host.clock().sleep(service.settings.timeouts.heartbeat).fuse() => {
                head_sent.store(true, Ordering::Relaxed);
                sse::write_comment(&mut heartbeat, HEARTBEAT);
                Phase::Opening(opening)
            }
        };
        let mut stream = Self { service, writer, unsent: Vec::new(), phase, request_id, record };
        stream.begin(&claims, &heartbeat);
        Ok(stream)
    }

    fn begin(&mut self, claims: &Claims, heartbeat: &[u8]) {
        self.writer.start(claims, &mut self.unsent);
        self.unsent.extend_from_slice(heartbeat);
    }

    /// The response's body.
    pub(super) fn into_body(self) -> Body {
        let frames = stream::unfold(self, |stream| async {
            let (bytes, stream) = stream.next().await?;
            Some((Ok::<_, Infallible>(Frame::data(bytes)), stream))
        });
        StreamBody::new(frames).boxed_unsync()
    }

    /// The next bytes for the client, `None` at the end.
    async fn next(mut self) -> Option<(Bytes, Self)> {
        let mut out = std::mem::take(&mut self.unsent);
        while out.is_empty() {
            self.phase = match std::mem::replace(&mut self.phase, Phase::Ended) {
                Phase::Opening(opening) => self.await_output(opening, &mut out).await,
                Phase::Opened(opened) => self.write_opened(*opened, &mut out),
                Phase::Replying(reply) => self.write_next(reply, &mut out).await,
                Phase::Ended => return None,
            };
        }
        Some((out.into(), self))
    }

    async fn await_output(&mut self, mut opening: OpeningReply<H>, out: &mut Vec<u8>) -> Phase<H> {
        let heartbeat = self.service.settings.timeouts.heartbeat;
        let opened = futures_util::select_biased! {
            opened = opening.as_mut().fuse() => opened,
            () = self.service.host.clock().sleep(heartbeat).fuse() => {
                sse::write_comment(out, HEARTBEAT);
                return Phase::Opening(opening);
            }
        };
        match opened {
            Ok(opened) => Phase::Opened(Box::new(opened)),
            Err(error) => self.end(Err(error.into()), out),
        }
    }

    fn write_opened(&mut self, opened: OpenedReply<H>, out: &mut Vec<u8>) -> Phase<H> {
        let OpenedReply { mut reply, end } = opened;
        self.writer.deltas(&reply.take_deltas(), out);
        match end {
            Some(outcome) => self.end(outcome, out),
            None => Phase::Replying(Box::new(reply)),
        }
    }

    async fn write_next(&mut self, mut reply: Box<ReplyStream<H>>, out: &mut Vec<u8>) -> Phase<H> {
        let step = reply.step().await;
        self.writer.deltas(&reply.take_deltas(), out);
        match step {
            Ok(Step::Ended(outcome)) => self.end(*outcome, out),
            Ok(Step::Quiet) => {
                sse::write_comment(out, HEARTBEAT);
                Phase::Replying(reply)
            }
            Ok(Step::Read) => Phase::Replying(reply),
            Err(fault) => {
                let outcome = reply.fail(fault.error).await;
                self.end(outcome, out)
            }
        }
    }

    fn end(&mut self, outcome: Result<Answer, Failure>, out: &mut Vec<u8>) -> Phase<H> {
        match outcome {
            Ok(answer) => self.writer.finish(&answer, out),
            Err(Failure { error, partial, .. }) => {
                self.record.fail(&error);
                let problem = Problem::new(error, &self.request_id);
                problem.with_public_error(|error| self.writer.fail(error, partial.as_ref(), out));
            }
        }
        Phase::Ended
    }
}

/// The text of the comment that keeps a quiet stream open.
const HEARTBEAT: &str = "still working";
