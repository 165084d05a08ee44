//! Whether a connection has a request under way, and since when it has none.
//!
//! hyper closes idle HTTP/1 connections, and keeps an HTTP/2 connection for as long as its client answers pings.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::time::{Instant, sleep_until};

/// The requests of one connection; copies count for the same.
#[derive(Clone)]
pub(super) struct Requests(Arc<Mutex<State>>);

struct State {
    under_way: usize,
    /// When the last of them ended, or the connection began.
    idle_since: Instant,
}

impl Requests {
    /// None yet, from now on.
    pub(super) fn new() -> Self {
        Self(Arc::new(Mutex::new(State { under_way: 0, idle_since: Instant::now() })))
    }

    /// Counts one until what this gives is dropped.
    pub(super) fn begin(&self) -> Busy {
        self.with(|state| state.under_way += 1);
        Busy(self.clone())
    }

    /// Begins to count the idle time anew.
    pub(super) fn restart(&self) {
        self.with(|state| state.idle_since = Instant::now());
    }

    /// Ends once there has been none for `limit`.
    pub(super) async fn idle(&self, limit: Duration) {
        loop {
            let due = self.with(|state| if state.under_way > 0 { Instant::now() } else { state.idle_since }) + limit;
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

/// One request under way.
pub(super) struct Busy(Requests);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.with(|state| {
            state.under_way = state.under_way.saturating_sub(1);
            state.idle_since = Instant::now();
        });
    }
}
