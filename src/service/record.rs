//! The operator's log: one record for each request, and notices.
//!
//! A record contains no token, credential, key or message text. Paths are logged without their
//! query, and all ids are the server's own.

use std::{
    collections::BTreeSet,
    convert::Infallible,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderValue, request};
use http_body::{Frame, SizeHint};
use serde::Serialize;

use super::{body::Body, slots::Slot};
use crate::proto::{
    api::known_kind,
    error::Error,
    token::{Claims, Id},
    turn::Repair,
    usage::Spent,
};

/// The destination of log entries.
pub trait Log: Send + Sync + 'static {
    /// Writes the record of an ended request.
    fn record(&self, record: &Entry);

    /// Writes a notice. By default, notices are dropped.
    fn notice(&self, _notice: &Notice) {}
}

/// An event that belongs to no request.
#[derive(Clone, Debug, Serialize)]
pub struct Notice {
    /// The stable name of the event, `snake_case`.
    pub notice: &'static str,
    /// The details, in words.
    pub detail: String,
}

/// The record of one ended request.
#[derive(Clone, Debug, Serialize)]
pub struct Entry {
    /// The request id: `req_` and a UUID.
    pub request_id: String,
    /// The HTTP method.
    pub method: String,
    /// The path, at most 64 characters. A segment that is longer than 32 bytes is written as `…`.
    pub path: String,
    /// The status of the response; 499 if the client left before its end.
    pub status: u16,
    /// The milliseconds from the request's head to the last byte of the response.
    pub millis: u64,
    /// The code of the error that ended the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<&'static str>,
    /// The cause of that error, for the operator.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    /// The conversation that the request started or continued.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub conversation: Option<Id>,
    /// The number of the turn in that conversation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub turn: Option<u64>,
    /// The number of upstream calls, including those for summaries and counts.
    #[serde(skip_serializing_if = "is_default")]
    pub attempts: u32,
    /// The upstream of the last call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upstream: Option<String>,
    /// The calls that failed before any output: the upstream, the code and, if there is one, the
    /// cause. At most 16.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub setbacks: Vec<String>,
    /// The model tokens sent, cached ones included, in all upstream calls that the operator pays
    /// for.
    #[serde(skip_serializing_if = "is_default")]
    pub input_tokens: u64,
    /// The model tokens of these that the provider had cached.
    #[serde(skip_serializing_if = "is_default")]
    pub cached_tokens: u64,
    /// The model tokens received in these calls.
    #[serde(skip_serializing_if = "is_default")]
    pub output_tokens: u64,
    /// True if a count of model tokens is an estimate.
    #[serde(skip_serializing_if = "is_default")]
    pub usage_estimated: bool,
    /// The milliseconds that upstreams worked on these calls.
    #[serde(skip_serializing_if = "is_default")]
    pub upstream_millis: u64,
    /// The deviations from the provider's format that the reader repaired.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub repaired: BTreeSet<&'static str>,
    /// The kinds of what the request asked for and the server left out, such as `web_search`. Kinds
    /// that the server does not know are `other`.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub ignored: BTreeSet<&'static str>,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// The record of a request in progress. Copies are the same record.
#[derive(Clone)]
pub(super) struct Record(Arc<Mutex<State>>);

struct State {
    entry: Entry,
    began: Duration,
    /// The names of what was left out, as the client wrote them. They are never logged.
    ignored: Vec<String>,
    /// The request's slot, once there is a response.
    slot: Option<Slot>,
}

impl Record {
    pub(super) fn new(request_id: &str, head: &request::Parts, now: Duration) -> Self {
        let entry = Entry {
            request_id: request_id.to_owned(),
            method: head.method.as_str().chars().take(16).collect(),
            path: logged_path(head.uri.path()),
            status: CLIENT_LEFT,
            millis: 0,
            code: None,
            cause: None,
            conversation: None,
            turn: None,
            attempts: 0,
            upstream: None,
            setbacks: Vec::new(),
            input_tokens: 0,
            cached_tokens: 0,
            output_tokens: 0,
            usage_estimated: false,
            upstream_millis: 0,
            repaired: BTreeSet::new(),
            ignored: BTreeSet::new(),
        };
        Self(Arc::new(Mutex::new(State { entry, began: now, ignored: Vec::new(), slot: None })))
    }

    /// Records the turn.
    pub(super) fn turn(&self, claims: &Claims) {
        self.with(|state| {
            state.entry.conversation = Some(claims.conversation);
            state.entry.turn = Some(claims.turn);
        });
    }

    /// Records parts of the request that are left out or lowered.
    pub(super) fn ignored(&self, names: &[String]) {
        self.with(|state| {
            state.entry.ignored.extend(names.iter().map(|name| known_kind(name)));
            state.ignored.extend_from_slice(names);
        });
    }

    /// The names of the left-out parts, for the response. `None` if there are none.
    pub(super) fn ignored_header(&self) -> Option<HeaderValue> {
        let names = self.with(|state| state.ignored.join(", "));
        HeaderValue::from_str(&names).ok().filter(|names| !names.is_empty())
    }

    /// Records an upstream call.
    pub(super) fn call(&self, upstream: &str) {
        self.with(|state| {
            state.entry.attempts = state.entry.attempts.saturating_add(1);
            state.entry.upstream = Some(upstream.to_owned());
        });
    }

    /// Records the error of the last call, which failed before any output.
    pub(super) fn setback(&self, error: &Error) {
        self.with(|state| {
            let Entry { setbacks, upstream, .. } = &mut state.entry;
            if setbacks.len() < SETBACKS_MAX {
                let upstream = upstream.as_deref().unwrap_or_default();
                let cause = error.cause().map(|cause| format!(": {cause}")).unwrap_or_default();
                setbacks.push(format!("{upstream}: {}{cause}", error.code()));
            }
        });
    }

    /// Records what the upstream calls have cost.
    pub(super) fn spent(&self, Spent { usage, elapsed }: Spent) {
        self.with(|State { entry, .. }| {
            entry.input_tokens = usage.input_tokens;
            entry.cached_tokens = usage.cached_tokens;
            entry.output_tokens = usage.output_tokens;
            entry.usage_estimated = usage.estimated;
            entry.upstream_millis = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
        });
    }

    /// Records that deviations from the provider's format were repaired.
    pub(super) fn repaired(&self, repairs: impl Iterator<Item = Repair>) {
        self.with(|state| state.entry.repaired.extend(repairs.map(Repair::as_str)));
    }

    /// Records the error that ended the request.
    pub(super) fn fail(&self, error: &Error) {
        self.with(|state| {
            state.entry.code = Some(error.code());
            state.entry.cause = error.cause();
        });
    }

    /// Records the status of the response.
    pub(super) fn status(&self, status: u16) {
        self.with(|state| state.entry.status = status);
    }

    /// Keeps the request's slot until the client has read the response, which takes memory until
    /// then.
    pub(super) fn keep(&self, slot: Slot) {
        self.with(|state| state.slot = Some(slot));
    }

    /// The entry at the time `now`.
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

/// Writes the record to the log when it is dropped, however the request ended.
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

/// A response body that ends the request's record when it is dropped. Dropped before its end, it
/// records that the client left.
pub(super) struct RecordedBody<F: FnOnce(&Record)> {
    body: Body,
    /// True if the client has read a part of the body, but not its end.
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

/// A path for the log. Clients may put response ids into paths, and a response id contains a token.
fn logged_path(path: &str) -> String {
    let segments = path.split('/').map(|segment| if segment.len() > SEGMENT_BYTES { "…" } else { segment });
    segments.collect::<Vec<_>>().join("/").chars().take(64).collect()
}

/// The most failed calls in an entry.
const SETBACKS_MAX: usize = 16;

/// The longest segment of a path that is logged. Every token is longer.
const SEGMENT_BYTES: usize = 32;

/// The status that nginx logs for a client that left before the end of its response.
const CLIENT_LEFT: u16 = 499;
