//! Durations and points in time, in the forms that model services write them.

use std::time::Duration;

/// A duration with units: `20ms`, `1.5s`, `7m12s`, `1h2m`, `37 seconds`. `None` for another form.
pub(super) fn parse(text: &str) -> Option<Duration> {
    let (mut rest, mut sum) = (text.trim(), None::<Duration>);
    while let Some((number, after)) = number(rest) {
        let after = after.trim_start();
        let unit = after.split(|c: char| !c.is_ascii_alphabetic()).next().unwrap_or_default();
        let scale = match unit.to_ascii_lowercase().as_str() {
            "ms" | "millisecond" | "milliseconds" => 1e-3,
            "s" | "sec" | "secs" | "second" | "seconds" => 1.0,
            "m" | "min" | "mins" | "minute" | "minutes" => 60.0,
            "h" | "hour" | "hours" => 3_600.0,
            "d" | "day" | "days" => 86_400.0,
            _ => return sum,
        };
        let part = seconds(number, scale)?;
        sum = Some(sum.unwrap_or_default().saturating_add(part));
        rest = after.strip_prefix(unit)?;
    }
    sum
}

/// A number of units, each of them `scale` seconds long. `None` if it is not a number from 0.
pub(super) fn seconds(text: &str, scale: f64) -> Option<Duration> {
    let is_plain = text.len() <= 20 && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let number: f64 = Some(text).filter(|_| is_plain)?.parse().ok()?;
    Some(Duration::try_from_secs_f64(number * scale).unwrap_or(Duration::MAX))
}

/// The number at the start of a text, and the rest.
fn number(text: &str) -> Option<(&str, &str)> {
    let end = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
    text.split_at_checked(end).filter(|(number, _)| !number.is_empty())
}

/// A point in time, in seconds since the beginning of 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Instant(pub(super) u64);

impl Instant {
    /// Reads an HTTP date (RFC 9110 §5.6.7, its preferred form), an RFC 3339 time in UTC, or a
    /// count of seconds or milliseconds since 1970. A smaller number is a wait, and gives `None`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        if let Ok(count) = text.parse::<u64>() {
            return match count {
                EPOCH_MIN..EPOCH_MILLIS_MIN => Some(Self(count)),
                EPOCH_MILLIS_MIN.. => Some(Self(count / 1_000)),
                _ => None,
            };
        }
        Self::from_http_date(text).or_else(|| Self::from_rfc3339(text))
    }

    /// As `Sun, 06 Nov 1994 08:49:37 GMT`.
    fn from_http_date(text: &str) -> Option<Self> {
        let fields: Vec<&str> = text.strip_suffix(" GMT")?.split(' ').collect();
        let [_, day, month, year, time] = fields.as_slice() else { return None };
        let month = MONTHS.iter().position(|name| name == month)?;
        Self::of(year, month.try_into().ok()?, day, time)
    }

    /// As `1994-11-06T08:49:37.5Z`.
    fn from_rfc3339(text: &str) -> Option<Self> {
        let (date, time) = text.strip_suffix(['Z', 'z'])?.split_once(['T', 't'])?;
        let fields: Vec<&str> = date.split('-').collect();
        let [year, month, day] = fields.as_slice() else { return None };
        let month: u64 = month.parse().ok()?;
        Self::of(year, month.checked_sub(1)?, day, time.split('.').next()?)
    }

    /// The time of a year, a month from 0 to 11, a day, and a time as `08:49:37`.
    fn of(year: &str, month: u64, day: &str, time: &str) -> Option<Self> {
        let (year, day): (u64, u64) = (year.parse().ok()?, day.parse().ok()?);
        let fields: Vec<u64> = time.split(':').map(str::parse).collect::<Result<_, _>>().ok()?;
        let [hour, minute, second] = fields.as_slice() else { return None };
        if !(1970..10_000).contains(&year) || month > 11 || !(1..=31).contains(&day) {
            return None;
        }
        let seconds = days_since_1970(year, month, day).checked_mul(86_400)?;
        seconds
            .checked_add(hour.checked_mul(3_600)?)?
            .checked_add(minute.checked_mul(60)?)?
            .checked_add(*second)
            .map(Self)
    }
}

/// The days from the first of January 1970 to a date in the Gregorian calendar, for a year from
/// 1970 and a month from 0 to 11.
#[expect(clippy::arithmetic_side_effects, reason = "the year has four digits")]
fn days_since_1970(year: u64, month: u64, day: u64) -> u64 {
    // A year that starts in March has its leap day at the end.
    let (year, month) = if month < 2 { (year - 1, month + 10) } else { (year, month - 2) };
    let leap_days = year / 4 - year / 100 + year / 400;
    year * 365 + leap_days + (month * 153 + 2) / 5 + day - 1 - DAYS_TO_1970
}

/// The days from the first of March of the year 0 to 1970.
const DAYS_TO_1970: u64 = 719_468;

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// A number from this one is a point in time in seconds, not a wait: it is in 1973.
const EPOCH_MIN: u64 = 100_000_000;
/// A number from this one is in milliseconds: in seconds it would be after the year 5000.
const EPOCH_MILLIS_MIN: u64 = 100_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units() {
        for (text, millis) in [
            ("20ms", Some(20)),
            ("1.5s", Some(1_500)),
            ("7m12s", Some(432_000)),
            ("1h2m", Some(3_720_000)),
            ("37 seconds.", Some(37_000)),
            ("2 minutes and", Some(120_000)),
            ("1d", Some(86_400_000)),
            ("5", None),
            ("5 apples", None),
            ("s", None),
            ("1.2.3s", None),
            ("", None),
        ] {
            assert_eq!(parse(text), millis.map(Duration::from_millis), "{text}");
        }
        assert_eq!(seconds(&"9".repeat(20), 1.0), Some(Duration::MAX));
        for text in ["-1", "inf", "nan", "1e9", "", &"9".repeat(21)] {
            assert_eq!(seconds(text, 1.0), None, "{text}");
        }
    }

    #[test]
    fn points_in_time_have_three_forms() {
        for (text, expected) in [
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(784_111_777)),
            ("1994-11-06T08:49:37Z", Some(784_111_777)),
            ("1994-11-06T08:49:37.25Z", Some(784_111_777)),
            ("784111777", Some(784_111_777)),
            ("784111777000", Some(784_111_777)),
            ("Thu, 01 Jan 1970 00:00:00 GMT", Some(0)),
            ("Thu, 29 Feb 2024 00:00:00 GMT", Some(1_709_164_800)),
            ("2024-03-01T00:00:00Z", Some(1_709_251_200)),
            ("3600", None),
            ("Sun, 06 Nov 1994 08:49 GMT", None),
            ("Sun, 06 Non 1994 08:49:37 GMT", None),
            ("1994-00-06T08:49:37Z", None),
            ("1994-11-06T08:49:37+01:00", None),
            ("1969-11-06T08:49:37Z", None),
            ("", None),
        ] {
            assert_eq!(Instant::parse(text), expected.map(Instant), "{text}");
        }
    }
}
