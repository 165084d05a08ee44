//! Random bytes that are the same in each run.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use holdall::{proto::error::Error, service::EntropySource};

/// A source that never returns the same bytes twice. Copies are the same source.
#[derive(Clone, Default)]
pub(crate) struct TestEntropy(Arc<State>);

#[derive(Default)]
struct State {
    drawn: AtomicU64,
    is_dry: AtomicBool,
}

impl TestEntropy {
    /// Makes the generator fail from now on.
    pub(crate) fn run_dry(&self) {
        self.0.is_dry.store(true, Ordering::Relaxed);
    }
}

impl EntropySource for TestEntropy {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), Error> {
        if self.0.is_dry.load(Ordering::Relaxed) {
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
