//! The system's clocks.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

use crate::{
    proto::time::UnixSeconds,
    service::{Clock, Sleep},
};

/// The system's time of day, and tokio's timers.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock {
    began: Instant,
}

impl SystemClock {
    /// A clock whose elapsed time starts now.
    #[must_use]
    pub fn new() -> Self {
        Self { began: Instant::now() }
    }
}

/// The milliseconds since 1970 by the system's clock. `None` if the clock is set to an earlier
/// time.
#[cfg(feature = "lambda")]
#[expect(clippy::disallowed_methods, reason = "this file reads the clock")]
pub(super) fn unix_millis() -> Option<u64> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
    u64::try_from(since.as_millis()).ok()
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this file reads the clock")]
    fn now(&self) -> UnixSeconds {
        // A clock that is set to a time before 1970 reads as 1970. Every token is then from the
        // future, and rejected.
        UnixSeconds(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()))
    }

    fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    fn sleep(&self, duration: Duration) -> Sleep {
        Box::pin(tokio::time::sleep(duration))
    }
}
