//! An HTTP/2 answer that its client stops reading: dropped after a while, and its turn with it.
//!
//! Flow control stops such a stream without a sign on the socket, where [`Socket`](super::socket::Socket) would notice,
//! and other streams of the connection may be in good order. So the body itself is watched: handed out a piece and not
//! asked for the next.

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError, Weak},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::time::{Instant, sleep};

use crate::service::Body;

/// A body that ends with an error once its client has let it wait for too long.
pub(super) struct Watched(Arc<Mutex<State>>);

struct State {
    /// Gone once it has waited too long.
    body: Option<Body>,
    /// Since when a piece is with the client, and no other was asked for.
    waits_since: Option<Instant>,
}

impl Watched {
    /// Watches `body`; within a runtime. It waits for `limit` at least, and at most for twice as long.
    pub(super) fn new(body: Body, limit: Duration) -> Self {
        let state = Arc::new(Mutex::new(State { body: Some(body), waits_since: None }));
        tokio::spawn(watch(Arc::downgrade(&state), limit));
        Self(state)
    }

    fn with<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

async fn watch(state: Weak<Mutex<State>>, limit: Duration) {
    loop {
        sleep(limit).await;
        let Some(state) = state.upgrade() else { return };
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.waits_since.is_some_and(|since| since.elapsed() >= limit) {
            state.body = None;
            return;
        }
    }
}

impl http_body::Body for Watched {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        self.with(|state| {
            let Some(body) = &mut state.body else { return Poll::Ready(Some(Err(io::ErrorKind::TimedOut.into()))) };
            let frame = Pin::new(body).poll_frame(context);
            state.waits_since = frame.is_ready().then(Instant::now);
            frame.map(|frame| frame.map(|frame| frame.map_err(|never| match never {})))
        })
    }

    fn is_end_stream(&self) -> bool {
        self.with(|state| state.body.as_ref().is_some_and(http_body::Body::is_end_stream))
    }

    fn size_hint(&self) -> SizeHint {
        self.with(|state| state.body.as_ref().map(http_body::Body::size_hint).unwrap_or_default())
    }
}
