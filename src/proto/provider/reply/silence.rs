//! The bound on bytes of a reply that bring nothing: comments, pings, empty events, and white space
//! before the reply. Each of them may keep a connection open, but an endless flow of them costs
//! processor time until the turn times out.

use crate::proto::error::Error;

/// The bytes since the last output.
#[derive(Debug, Default)]
pub(super) struct Silence {
    bytes: usize,
}

impl Silence {
    /// Counts bytes without any meaning, such as a comment.
    ///
    /// # Errors
    /// [`Error::UpstreamMalformed`] over the limit.
    pub(super) fn add(&mut self, bytes: usize) -> Result<(), Error> {
        self.bytes = self.bytes.saturating_add(bytes);
        if self.bytes > SILENT_BYTES {
            return Err(Error::malformed(format!("over {SILENT_BYTES} bytes without any output")));
        }
        Ok(())
    }

    /// Counts an event that only keeps the connection open.
    ///
    /// # Errors
    /// As [`Self::add`].
    pub(super) fn add_keep_alive(&mut self, bytes: usize) -> Result<(), Error> {
        self.add(bytes.max(EVENT_LEAST))
    }

    /// Counts an event without output. It weighs less: while a model reasons, some services send
    /// one for each of its model tokens.
    ///
    /// # Errors
    /// As [`Self::add`].
    pub(super) fn add_event(&mut self, bytes: usize) -> Result<(), Error> {
        self.add((bytes / EVENT_SHARE).max(EVENT_LEAST))
    }

    /// Starts again, after output.
    pub(super) fn end(&mut self) {
        self.bytes = 0;
    }
}

/// The most bytes without output.
const SILENT_BYTES: usize = 1 << 20;
/// The share of an event's bytes that counts.
const EVENT_SHARE: usize = 8;
/// The least that an event counts: small ones cost more time than their bytes.
const EVENT_LEAST: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_has_a_limit_and_output_ends_it() {
        let mut silence = Silence::default();
        silence.add(SILENT_BYTES - EVENT_LEAST).unwrap();
        silence.add_event(EVENT_LEAST * EVENT_SHARE).unwrap();
        assert_eq!(silence.add_event(1).unwrap_err().code(), "upstream_malformed");
        silence.end();
        silence.add(SILENT_BYTES).unwrap();
        assert_eq!(silence.add(1).unwrap_err().code(), "upstream_malformed");
    }
}
