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
    /// A clock whose elapsed time begins now.
    #[must_use]
    pub fn new() -> Self {
        Self { began: Instant::now() }
    }
}

/// The milliseconds since 1970 by the system's clock; none where that is set to before.
#[cfg(feature = "lambda")]
#[expect(clippy::disallowed_methods, reason = "this is the place that reads the clock")]
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
    #[expect(clippy::disallowed_methods, reason = "this is the place that reads the clock")]
    fn now(&self) -> UnixSeconds {
        // A clock set before 1970 reads as 1970: every token is then from the future, and refused.
        UnixSeconds(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()))
    }

    fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    fn sleep(&self, duration: Duration) -> Sleep {
        Box::pin(tokio::time::sleep(duration))
    }
}
