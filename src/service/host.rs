//! The parts of the service that only a platform has: model services, limits, time and randomness.

use std::{pin::Pin, time::Duration};

use futures_util::{FutureExt as _, future::BoxFuture};

use crate::{
    guard::Guard,
    proto::{error::Error, time::UnixSeconds},
    upstream::Upstream,
};

/// The parts that a shell supplies to a [`Service`](super::Service).
pub trait Host: Send + Sync + 'static {
    /// Calls model services.
    type Upstream: Upstream;
    /// Enforces rates, quotas, single use and revocation.
    type Guard: Guard;
    /// Tells the time.
    type Clock: Clock;
    /// Supplies random bytes.
    type Entropy: EntropySource;

    /// The model services.
    fn upstream(&self) -> &Self::Upstream;

    /// The guard.
    fn guard(&self) -> &Self::Guard;

    /// The clock.
    fn clock(&self) -> &Self::Clock;

    /// The source of random bytes.
    fn entropy(&self) -> &Self::Entropy;

    /// Runs work that can take longer than about a millisecond. A host whose threads serve several
    /// requests at a time runs it where it does not stop the others.
    ///
    /// # Errors
    /// Those of `work`; [`Error::Internal`] if the host is stopping.
    fn run<T: Send + 'static>(&self, work: Work<T>) -> BoxFuture<'static, Result<T, Error>> {
        async move { work() }.boxed()
    }
}

/// Work for [`Host::run`].
pub type Work<T> = Box<dyn FnOnce() -> Result<T, Error> + Send>;

/// The time of day, and a timer.
pub trait Clock: Send + Sync + 'static {
    /// The time of day.
    fn now(&self) -> UnixSeconds;

    /// The time since a fixed moment in this process. Never goes back.
    fn elapsed(&self) -> Duration;

    /// Completes after `duration`.
    fn sleep(&self, duration: Duration) -> Sleep;
}

/// A running timer.
pub type Sleep = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The longest time from a request's arrival to the end of its response. A shell puts it into the
/// request's extensions if its platform ends longer ones. The service ends upstream calls in time,
/// so that the output so far still reaches the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeLeft(pub Duration);

/// Random bytes for ids, nonces and keys.
pub trait EntropySource: Send + Sync + 'static {
    /// Fills `bytes` from a cryptographically secure generator, as a rule the operating system's.
    ///
    /// # Errors
    /// [`Error::Internal`] if the generator fails. `bytes` must not be used then.
    fn fill(&self, bytes: &mut [u8]) -> Result<(), Error>;

    /// A random number by which pauses differ, so that clients that failed together do not retry
    /// together. It is 0 if the generator fails, which only makes pauses equal.
    fn jitter(&self) -> u32 {
        let mut random = [0; 4];
        match self.fill(&mut random) {
            Ok(()) => u32::from_ne_bytes(random),
            Err(_) => 0,
        }
    }
}
