//! The operating system's random generator.

use crate::{proto::error::Error, service::EntropySource};

/// Random bytes from the operating system.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemEntropy;

impl EntropySource for SystemEntropy {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), Error> {
        getrandom::fill(bytes).map_err(|error| Error::Internal { cause: format!("no random bytes: {error}") })
    }
}
