//! Times in whole seconds since 1970, and durations as people read them. Nothing here reads a
//! clock.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

/// Seconds since 1970-01-01T00:00:00Z without leap seconds (RFC 7519 §2, `NumericDate`).
///
/// At most [`UnixSeconds::MAX`], the end of the year 9999. `Display` is RFC 3339.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UnixSeconds(pub u64);

impl UnixSeconds {
    /// The time that is `seconds` later, at most [`Self::MAX`].
    #[must_use]
    pub fn plus(self, seconds: u64) -> Self {
        Self(self.0.saturating_add(seconds)).min(Self::MAX)
    }

    /// Milliseconds since 1970, as UUIDv7 counts them (RFC 9562 §5.7).
    #[must_use]
    pub fn as_millis(self) -> u64 {
        self.0.saturating_mul(1000)
    }

    /// 9999-12-31T23:59:59Z: the last second that RFC 3339 can write.
    pub const MAX: Self = Self(253_402_300_799);
}

impl fmt::Display for UnixSeconds {
    /// RFC 3339 in UTC, such as `2026-11-21T06:12:00Z`.
    #[expect(clippy::arithmetic_side_effects, reason = "every term is bounded by MAX, far from overflow")]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.min(Self::MAX.0);
        let (days, rest) = (seconds / 86_400, seconds % 86_400);
        // Days to a date in the proleptic Gregorian calendar. Years are counted from 0000-03-01, so
        // that the leap day is the last day of a year (H. Hinnant, "chrono-Compatible Low-Level
        // Date Algorithms", civil_from_days).
        let shifted = days + 719_468;
        let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
        let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted_month = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
        let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
        let year = year_of_era + era * 400 + u64::from(month <= 2);
        let (hour, minute, second) = (rest / 3_600, rest / 60 % 60, rest % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
    }
}

/// How far the clocks of two instances may differ. A token expires this much after `exp`, and an
/// `iat` may be this far in the future.
pub const LEEWAY_SECONDS: u64 = 60;

/// Rounds up to whole seconds, as `Retry-After` counts them.
pub(crate) fn seconds_rounded_up(wait: Duration) -> u64 {
    wait.as_secs().saturating_add(u64::from(wait.subsec_nanos() > 0))
}

/// A duration as people read it: its two largest units, such as `3 h 20 min`, rounded up.
///
/// Milliseconds are shown only below one second.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HumanDuration(pub(crate) Duration);

impl fmt::Display for HumanDuration {
    #[expect(clippy::arithmetic_side_effects, reason = "every divisor is a number above 0")]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.0.as_micros().div_ceil(1_000);
        let seconds = seconds_rounded_up(self.0);
        let (size, unit, part_size, part) = match seconds {
            0..=1 if millis > 0 && millis < 1_000 => return write!(f, "{millis} ms"),
            0..60 => return write!(f, "{seconds} s"),
            60..3_600 => (60, "min", 1, "s"),
            3_600..86_400 => (3_600, "h", 60, "min"),
            _ => (86_400, "d", 3_600, "h"),
        };
        let parts = seconds.div_ceil(part_size);
        let parts_of_unit = size / part_size;
        match (parts / parts_of_unit, parts % parts_of_unit) {
            (count, 0) => write!(f, "{count} {unit}"),
            (count, rest) => write!(f, "{count} {unit} {rest} {part}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_rfc_3339() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (68_169_599, "1972-02-28T23:59:59Z"),
            (68_169_600, "1972-02-29T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (4_107_542_399, "2100-02-28T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
            (1_795_241_520, "2026-11-21T06:12:00Z"),
            (253_402_300_799, "9999-12-31T23:59:59Z"),
        ] {
            assert_eq!(UnixSeconds(seconds).to_string(), text);
        }
    }

    #[test]
    fn sums_stop_at_the_year_9999() {
        assert_eq!(UnixSeconds(u64::MAX - 1).plus(5), UnixSeconds::MAX);
        assert_eq!(UnixSeconds(10).plus(5), UnixSeconds(15));
    }

    #[test]
    fn durations_are_written_in_two_units_and_rounded_up() {
        for (millis, text) in [
            (0, "0 s"),
            (1, "1 ms"),
            (999, "999 ms"),
            (1_000, "1 s"),
            (1_001, "2 s"),
            (59_001, "1 min"),
            (90_000, "1 min 30 s"),
            (3_600_000, "1 h"),
            (3_601_000, "1 h 1 min"),
            (12_000_000, "3 h 20 min"),
            (86_399_000, "24 h"),
            (86_400_000, "1 d"),
            (7 * 86_400_000, "7 d"),
            (90_000_001, "1 d 2 h"),
        ] {
            assert_eq!(HumanDuration(Duration::from_millis(millis)).to_string(), text);
        }
    }
}
