//! The host of the service on a native platform.

use super::{clock::SystemClock, entropy::SystemEntropy, forward::Forward, guard::NativeGuard};
use crate::service::{Host, Service};

/// The service on a native platform.
pub type NativeService = Service<NativeHost>;

/// The parts of the service on a native platform.
#[derive(Debug)]
pub struct NativeHost {
    upstream: Forward,
    guard: NativeGuard,
    clock: SystemClock,
    entropy: SystemEntropy,
}

impl NativeHost {
    /// A host that calls these upstreams and enforces this guard's rules.
    #[must_use]
    pub fn new(upstream: Forward, guard: NativeGuard) -> Self {
        Self { upstream, guard, clock: SystemClock::new(), entropy: SystemEntropy }
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
}
