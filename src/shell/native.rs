//! The host of the service on a native platform.

use futures_util::{FutureExt as _, future::BoxFuture};

use super::{clock::SystemClock, entropy::SystemEntropy, forward::Forward, guard::NativeGuard, work_pool::WorkPool};
use crate::{
    proto::error::Error,
    service::{Host, Service, Work},
};

/// The service on a native platform.
pub type NativeService = Service<NativeHost>;

/// The parts of the service on a native platform.
#[derive(Debug)]
pub struct NativeHost {
    upstream: Forward,
    guard: NativeGuard,
    clock: SystemClock,
    entropy: SystemEntropy,
    work_pool: WorkPool,
}

impl NativeHost {
    /// A host that calls these upstreams and enforces this guard's rules.
    #[must_use]
    pub fn new(upstream: Forward, guard: NativeGuard) -> Self {
        Self { upstream, guard, clock: SystemClock::new(), entropy: SystemEntropy, work_pool: WorkPool::new() }
    }
}

impl Host for NativeHost {
    type Upstream = Forward;
    type Guard = NativeGuard;
    type Clock = SystemClock;
    type Entropy = SystemEntropy;

    fn upstream(&self) -> &Forward {
        &self.upstream
    }

    fn guard(&self) -> &NativeGuard {
        &self.guard
    }

    fn clock(&self) -> &SystemClock {
        &self.clock
    }

    fn entropy(&self) -> &SystemEntropy {
        &self.entropy
    }

    fn run<T: Send + 'static>(&self, work: Work<T>) -> BoxFuture<'static, Result<T, Error>> {
        self.work_pool.clone().run(work).boxed()
    }
}
