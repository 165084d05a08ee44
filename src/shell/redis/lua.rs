//! Numbers that Lua represents exactly.

use std::time::Duration;

use crate::guard::Rate;

/// `number` as an argument of a script, at most [`INTEGER_MAX`].
pub(super) fn integer(number: u64) -> i64 {
    i64::try_from(number.min(INTEGER_MAX)).unwrap_or(i64::MAX)
}

/// `duration` in milliseconds.
pub(super) fn millis(duration: Duration) -> i64 {
    integer(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}

/// The cost of a turn under a rate in microseconds, at least 1. It is rounded up, so that rounding
/// never admits an extra turn.
pub(super) fn turn_micros(rate: &Rate) -> u64 {
    let period = u64::try_from(rate.period.as_micros()).unwrap_or(u64::MAX);
    period.div_ceil(rate.turns.max(1)).clamp(1, INTEGER_MAX)
}

/// Half of the largest integer that Lua's numbers count up to without gaps (IEEE 754 binary64). The
/// other half leaves room for sums.
const INTEGER_MAX: u64 = 1 << 52;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn rounding_admits_no_extra_turn(turns in 1_u64..=1_000_000_000, seconds in 1_u64..=366 * 86_400) {
            let rate = Rate { turns, period: Duration::from_secs(seconds), burst: 1 };
            let (cost, micros) = (turn_micros(&rate), seconds * 1_000_000);
            prop_assert!(cost * turns >= micros);
            prop_assert!((cost - 1) * turns < micros);
        }
    }
}
