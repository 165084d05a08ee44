//! Ends a response that its client does not read, or reads too slowly. Its turn ends with it.
//!
//! HTTP/2's flow control can stop one stream while the socket and the other streams of the
//! connection work, so [`Socket`](super::socket::Socket) does not notice. Therefore the body itself
//! is watched: the time between a piece that it returned and the request for the next one. It
//! returns small pieces, since hyper keeps a piece until it is sent or the connection ends, even if
//! the body is dropped.

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError, Weak},
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use tokio::{
    task::AbortHandle,
    time::{Instant, sleep},
};

use super::busy::InFlight;
use crate::service::Body;

/// The longest times that a client may take to read a response.
#[derive(Clone, Copy, Debug)]
pub(super) struct ReadLimits {
    /// Between two pieces.
    pub(super) pause: Duration,
    /// For the complete response.
    pub(super) total: Duration,
}

/// A body that ends with an error if its client is too slow.
pub(super) struct WatchedBody {
    state: Arc<Mutex<State>>,
    watch: AbortHandle,
}

struct State {
    /// The body, and the mark that the connection is in use. `None` after a timeout.
    body: Option<(Body, InFlight)>,
    /// The rest of the body's last piece.
    rest: Bytes,
    /// The time since when the client has not asked for more; `None` while the client waits.
    unread_since: Option<Instant>,
}

impl WatchedBody {
    /// Watches `body`. Must be called within a Tokio runtime. A timeout comes at the limit, or at
    /// most one `limits.pause` later.
    pub(super) fn new(body: Body, in_flight: InFlight, limits: ReadLimits) -> Self {
        let state = State { body: Some((body, in_flight)), rest: Bytes::new(), unread_since: Some(Instant::now()) };
        let state = Arc::new(Mutex::new(state));
        let watch = tokio::spawn(watch(Arc::downgrade(&state), limits)).abort_handle();
        Self { state, watch }
    }

    fn with<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        work(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for WatchedBody {
    fn drop(&mut self) {
        // Otherwise the task would live for another pause, and many small responses would leave as
        // many tasks.
        self.watch.abort();
    }
}

async fn watch(state: Weak<Mutex<State>>, limits: ReadLimits) {
    let began = Instant::now();
    loop {
        sleep(limits.pause).await;
        let Some(state) = state.upgrade() else { return };
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        let stalled = state.unread_since.is_some_and(|since| since.elapsed() >= limits.pause);
        if stalled || began.elapsed() >= limits.total {
            state.body = None;
            state.rest = Bytes::new();
            return;
        }
    }
}

impl State {
    /// The next small piece. Parts of a large piece are copied, so that a part does not keep the
    /// whole piece in memory.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let Some((body, _)) = &mut self.body else { return Poll::Ready(Some(Err(io::ErrorKind::TimedOut.into()))) };
        if self.rest.is_empty() {
            let frame = match ready!(Pin::new(body).poll_frame(context)) {
                Some(Ok(frame)) => frame,
                Some(Err(never)) => match never {},
                None => return Poll::Ready(None),
            };
            match frame.into_data() {
                Ok(data) if data.len() > PIECE_BYTES => self.rest = data,
                Ok(data) => return Poll::Ready(Some(Ok(Frame::data(data)))),
                Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
            }
        }
        let piece = self.rest.split_to(self.rest.len().min(PIECE_BYTES));
        Poll::Ready(Some(Ok(Frame::data(Bytes::copy_from_slice(&piece)))))
    }
}

impl http_body::Body for WatchedBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        self.with(|state| {
            let frame = state.poll(context);
            state.unread_since = frame.is_ready().then(Instant::now);
            frame
        })
    }

    fn is_end_stream(&self) -> bool {
        self.with(|state| state.rest.is_empty() && state.body.as_ref().is_some_and(|(body, _)| body.is_end_stream()))
    }

    fn size_hint(&self) -> SizeHint {
        self.with(|state| {
            let hint = state.body.as_ref().map(|(body, _)| body.size_hint()).unwrap_or_default();
            let rest = state.rest.len() as u64;
            let mut all = SizeHint::new();
            all.set_lower(hint.lower().saturating_add(rest));
            if let Some(upper) = hint.upper() {
                all.set_upper(upper.saturating_add(rest));
            }
            all
        })
    }
}

/// The usual size of an HTTP/2 frame (RFC 9113 §4.2).
const PIECE_BYTES: usize = 16 << 10;
