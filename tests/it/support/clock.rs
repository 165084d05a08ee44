//! A clock that a test advances.

use std::{
    sync::{Arc, Mutex},
    task::{Poll, Waker},
    time::Duration,
};

use futures_util::future::poll_fn;
use holdall::{
    proto::time::UnixSeconds,
    service::{Clock, Sleep},
};

/// A clock that stands still between steps. Copies are the same clock.
#[derive(Clone, Default)]
pub(crate) struct TestClock(Arc<State>);

#[derive(Default)]
struct State {
    elapsed: Mutex<Duration>,
    sleepers: Mutex<Vec<Waker>>,
}

impl TestClock {
    /// Advances the clock.
    pub(crate) fn advance(&self, by: Duration) {
        *self.0.elapsed.lock().unwrap() += by;
        self.0.sleepers.lock().unwrap().drain(..).for_each(Waker::wake);
    }

    /// Advances the clock by whole seconds.
    pub(crate) fn advance_seconds(&self, seconds: u64) {
        self.advance(Duration::from_secs(seconds));
    }
}

impl Clock for TestClock {
    fn now(&self) -> UnixSeconds {
        UnixSeconds(1_795_000_000 + self.elapsed().as_secs())
    }

    fn elapsed(&self) -> Duration {
        *self.0.elapsed.lock().unwrap()
    }

    fn sleep(&self, duration: Duration) -> Sleep {
        let clock = self.clone();
        let until = clock.elapsed() + duration;
        Box::pin(poll_fn(move |context| {
            if clock.elapsed() >= until {
                return Poll::Ready(());
            }
            clock.0.sleepers.lock().unwrap().push(context.waker().clone());
            Poll::Pending
        }))
    }
}
