//! What an operator is told of each request.
//!
//! A record holds no token, credential, key or message text: paths are cut before a query, ids are our own.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::request;
use http_body::{Frame, SizeHint};
use serde::Serialize;

use super::{Body, slots::Slot};
use crate::proto::{
    error::Error,
    token::{Claims, Id},
};

/// Takes the records of ended requests.
pub trait Log: Send + Sync + 'static {
    /// One request has ended.
    fn record(&self, record: &Entry);

    /// Something happened beside the requests. Not every log wants to know.
    fn notice(&self, _notice: &Notice) {}
}

/// Something that an operator should know of and that belongs to no request.
#[derive(Clone, Debug, Serialize)]
pub struct Notice {
    /// Its stable name, `snake_case`.
    pub notice: &'static str,
    /// The same in words.
    pub detail: String,
}

/// One ended request.
#[derive(Clone, Debug, Serialize)]
pub struct Entry {
    /// Our id for it.
    pub request_id: String,
    /// Its method.
    pub method: String,
    /// Its path, at most 64 characters of it; what is too long to be a name of ours stands as `…`.
    pub path: String,
    /// The status of the answer; 499 if the client left before there was one.
    pub status: u16,
    /// From head to the answer's last byte.
    pub millis: u64,
    /// The code of the error it ended with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<&'static str>,
    /// Why, for the operator.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    /// The conversation that it continued or began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub conversation: Option<Id>,
    /// The turn of that conversation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub turn: Option<u64>,
    /// How many calls were made of upstreams; those for summaries and counts are among them.
    #[serde(skip_serializing_if = "is_zero")]
    pub attempts: u32,
    /// The upstream that was called last, and so answered if anyone did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upstream: Option<String>,
    /// The calls that failed before anything was shown: the upstream, the code, and the cause where there is one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub setbacks: Vec<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_zero(count: &u32) -> bool {
    *count == 0
}

/// A request's record while the request is under way, shared by what takes part in it.
#[derive(Clone)]
pub(super) struct Record(Arc<Mutex<State>>);

struct State {
    entry: Entry,
    began: Duration,
    /// The request's place, once its answer is on its way.
    slot: Option<Slot>,
}

impl Record {
    pub(super) fn new(request_id: &str, head: &request::Parts, now: Duration) -> Self {
        let entry = Entry {
            request_id: request_id.to_owned(),
            method: head.method.as_str().chars().take(16).collect(),
            path: shown(head.uri.path()),
            status: CLIENT_LEFT,
            millis: 0,
            code: None,
            cause: None,
            conversation: None,
            turn: None,
            attempts: 0,
            upstream: None,
            setbacks: Vec::new(),
        };
        Self(Arc::new(Mutex::new(State { entry, began: now, slot: None })))
    }

    /// Notes which turn this is.
    pub(super) fn turn(&self, claims: &Claims) {
        self.with(|state| {
            state.entry.conversation = Some(claims.conversation);
            state.entry.turn = Some(claims.turn);
        });
    }

    /// Notes that an upstream is called.
    pub(super) fn call(&self, upstream: &str) {
        self.with(|state| {
            state.entry.attempts = state.entry.attempts.saturating_add(1);
            state.entry.upstream = Some(upstream.to_owned());
        });
    }

    /// Notes the error that the last call came to, before anything was shown.
    pub(super) fn setback(&self, error: &Error) {
        self.with(|state| {
            let Entry { setbacks, upstream, .. } = &mut state.entry;
            if setbacks.len() < SETBACKS_MOST {
                let upstream = upstream.as_deref().unwrap_or_default();
                let cause = error.cause().map(|cause| format!(": {cause}")).unwrap_or_default();
                setbacks.push(format!("{upstream}: {}{cause}", error.code()));
            }
        });
    }

    /// Notes the error that ended it.
    pub(super) fn fail(&self, error: &Error) {
        self.with(|state| {
            state.entry.code = Some(error.code());
            state.entry.cause = error.cause();
        });
    }

    /// Notes the status of its answer.
    pub(super) fn status(&self, status: u16) {
        self.with(|state| state.entry.status = status);
    }

    /// Keeps the request's place until the last of its answer has been taken: what waits for a client takes memory too.
    pub(super) fn keep(&self, slot: Slot) {
        self.with(|state| state.slot = Some(slot));
    }

    /// The entry as it stands at `now`.
    pub(super) fn entry(&self, now: Duration) -> Entry {
        self.with(|state| {
            let millis = now.saturating_sub(state.began).as_millis();
            Entry { millis: u64::try_from(millis).unwrap_or(u64::MAX), ..state.entry.clone() }
        })
    }

    fn with<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Hands the record to the log when the request has ended, however it has.
pub(super) struct Recording<F: FnOnce(&Record)> {
    record: Record,
    write: Option<F>,
}

impl<F: FnOnce(&Record)> Recording<F> {
    pub(super) fn new(record: Record, write: F) -> Self {
        Self { record, write: Some(write) }
    }
}

impl<F: FnOnce(&Record)> Drop for Recording<F> {
    fn drop(&mut self) {
        if let Some(write) = self.write.take() {
            write(&self.record);
        }
    }
}

/// An answer's body that ends its request's record: well after the last byte, or as left by the client before it.
pub(super) struct RecordedBody<F: FnOnce(&Record)> {
    body: Body,
    /// Bytes were taken of a body that has not come to its end.
    open: bool,
    recording: Recording<F>,
}

impl<F: FnOnce(&Record)> RecordedBody<F> {
    pub(super) fn new(body: Body, recording: Recording<F>) -> Self {
        Self { body, open: false, recording }
    }
}

impl<F: FnOnce(&Record) + Unpin> http_body::Body for RecordedBody<F> {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.open = true;
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        self.open = frame.is_some() && !self.body.is_end_stream();
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl<F: FnOnce(&Record)> Drop for RecordedBody<F> {
    fn drop(&mut self) {
        if self.open {
            self.recording.record.status(CLIENT_LEFT);
        }
    }
}

/// A path for the log. Clients of other services put ids into paths, and ours are tokens.
fn shown(path: &str) -> String {
    let segments = path.split('/').map(|segment| if segment.len() > SEGMENT_BYTES { "…" } else { segment });
    segments.collect::<Vec<_>>().join("/").chars().take(64).collect()
}

/// As many failed calls as are listed.
const SETBACKS_MOST: usize = 16;

/// The longest segment of a path that is logged; no token is so short.
const SEGMENT_BYTES: usize = 32;

/// What nginx logs for a client that closed before it was answered.
const CLIENT_LEFT: u16 = 499;
