//! The requests in flight on one connection, and how long there has been none.
//!
//! hyper closes idle HTTP/1 connections, but keeps an HTTP/2 connection for as long as its client
//! answers pings.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::time::{Instant, sleep_until};

/// The requests of one connection. Copies share one count.
#[derive(Clone)]
pub(super) struct Requests(Arc<Mutex<State>>);

struct State {
    in_flight: usize,
    /// The end of the last request, or the start of the connection.
    idle_since: Instant,
}

impl Requests {
    /// No requests. The idle time starts now.
    pub(super) fn new() -> Self {
        Self(Arc::new(Mutex::new(State { in_flight: 0, idle_since: Instant::now() })))
    }

    /// Counts a request until the result is dropped.
    pub(super) fn begin(&self) -> InFlight {
        self.with(|state| state.in_flight += 1);
        InFlight(self.clone())
    }

    /// Restarts the idle time.
    pub(super) fn restart(&self) {
        self.with(|state| state.idle_since = Instant::now());
    }

    /// Completes when there has been no request for `limit`.
    pub(super) async fn idle(&self, limit: Duration) {
        loop {
            let due = self.with(|state| if state.in_flight > 0 { Instant::now() } else { state.idle_since }) + limit;
            if due <= Instant::now() {
                return;
            }
            sleep_until(due).await;
        }
    }

    fn with<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A request in flight.
pub(super) struct InFlight(Requests);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.with(|state| {
            state.in_flight = state.in_flight.saturating_sub(1);
            state.idle_since = Instant::now();
        });
    }
}
