//! A clock that stands still until it is told to go on.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Poll, Waker},
    time::Duration,
};

use futures_util::future::poll_fn;
use holdall::{
    proto::{error::Error, time::UnixSeconds},
    service::{Clock, Sleep},
};

/// A clock stepped by hand; copies are the same clock.
#[derive(Clone, Default)]
pub(crate) struct TestClock(Arc<State>);

#[derive(Default)]
struct State {
    elapsed: Mutex<Duration>,
    sleepers: Mutex<Vec<Waker>>,
    drawn: AtomicU64,
    dry: AtomicBool,
}

impl TestClock {
    /// Lets time pass.
    pub(crate) fn advance(&self, by: Duration) {
        *self.0.elapsed.lock().unwrap() += by;
        self.0.sleepers.lock().unwrap().drain(..).for_each(Waker::wake);
    }

    /// Lets whole seconds pass.
    pub(crate) fn advance_seconds(&self, seconds: u64) {
        self.advance(Duration::from_secs(seconds));
    }

    /// From now on there is no randomness.
    pub(crate) fn run_dry(&self) {
        self.0.dry.store(true, Ordering::Relaxed);
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

    /// Bytes that are never the same, and the same in each run.
    fn fill_random(&self, bytes: &mut [u8]) -> Result<(), Error> {
        if self.0.dry.load(Ordering::Relaxed) {
            return Err(Error::Internal { cause: "no random bytes".to_owned() });
        }
        for piece in bytes.chunks_mut(8) {
            let drawn = self.0.drawn.fetch_add(1, Ordering::Relaxed) + 1;
            let mixed = drawn.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_be_bytes();
            piece.copy_from_slice(&mixed[..piece.len()]);
        }
        Ok(())
    }
}
