//! An answer that its client stops reading, or reads too slowly: dropped after a while, and its turn with it.
//!
//! HTTP/2's flow control stops a stream without a sign on the socket, where [`Socket`](super::socket::Socket) would notice,
//! and other streams of the connection may be in good order. So the body itself is watched: handed out a piece and not
//! asked for the next. It is handed out in small pieces, since hyper holds what it was handed for as long as the
//! connection lasts, whatever becomes of the body.

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

use super::busy::Busy;
use crate::service::Body;

/// How long a client may take over its answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// Without asking for more.
    pub(super) pause: Duration,
    /// In all.
    pub(super) whole: Duration,
}

/// A body that ends with an error once its client has let it wait for too long.
pub(super) struct Watched {
    state: Arc<Mutex<State>>,
    watch: AbortHandle,
}

struct State {
    /// Gone once it has waited too long, and the sign with it that its connection is in use.
    body: Option<(Body, Busy)>,
    /// What is still to be handed out of the body's last piece.
    rest: Bytes,
    /// Since when the client has not asked for more; none while it waits for us.
    waits_since: Option<Instant>,
}

impl Watched {
    /// Watches `body`; within a runtime. It waits for as long as `patience` says at least, and one pause more at most.
    pub(super) fn new(body: Body, busy: Busy, patience: Patience) -> Self {
        let state = State { body: Some((body, busy)), rest: Bytes::new(), waits_since: Some(Instant::now()) };
        let state = Arc::new(Mutex::new(state));
        let watch = tokio::spawn(watch(Arc::downgrade(&state), patience)).abort_handle();
        Self { state, watch }
    }

    fn with<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        work(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        // Else it would outlast its answer by a pause, and a flood of small answers would leave as many behind.
        self.watch.abort();
    }
}

async fn watch(state: Weak<Mutex<State>>, patience: Patience) {
    let began = Instant::now();
    loop {
        sleep(patience.pause).await;
        let Some(state) = state.upgrade() else { return };
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        let stalled = state.waits_since.is_some_and(|since| since.elapsed() >= patience.pause);
        if stalled || began.elapsed() >= patience.whole {
            state.body = None;
            state.rest = Bytes::new();
            return;
        }
    }
}

impl State {
    /// The next of what is handed out; a large piece is copied, so that what was handed out does not keep all of it.
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

impl http_body::Body for Watched {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        self.with(|state| {
            let frame = state.poll(context);
            state.waits_since = frame.is_ready().then(Instant::now);
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

/// An HTTP/2 frame of the usual size (RFC 9113 §4.2).
const PIECE_BYTES: usize = 16 << 10;
