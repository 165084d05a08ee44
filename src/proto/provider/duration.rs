//! Durations and points in time, in the forms that model services write them.

use std::time::Duration;

/// A duration with units at the start of a text: `20ms`, `1.5s`, `7m12s`, `1h2m`, `37 seconds`,
/// `1 minute and 30 seconds`. `None` for another form.
pub(super) fn parse(text: &str) -> Option<Duration> {
    let (mut rest, mut sum) = (text.trim(), None::<Duration>);
    while let Some((number, after)) = number(rest) {
        let after = after.trim_start();
        let Some((unit, scale)) = unit(after) else { break };
        sum = Some(sum.unwrap_or_default().saturating_add(seconds(number, scale)?));
        rest = after.strip_prefix(unit)?.trim_start_matches([' ', ',']);
        rest = rest.strip_prefix("and ").unwrap_or(rest);
    }
    sum
}

/// The unit at the start of a text, and its seconds.
fn unit(text: &str) -> Option<(&str, f64)> {
    let word = text.split(|c: char| !c.is_ascii_alphabetic() && c != 'µ').next().unwrap_or_default();
    let lower = word.to_lowercase();
    let found = UNITS.iter().find(|(units, _)| units.contains(&lower.as_str())).map(|(_, scale)| (word, *scale));
    // No space ends a word in Chinese.
    found.or_else(|| CHINESE_UNITS.iter().find(|(unit, _)| text.starts_with(unit)).copied())
}

/// The units of durations, and their seconds.
const UNITS: &[(&[&str], f64)] = &[
    (&["ns"], 1e-9),
    (&["us", "µs"], 1e-6),
    (&["ms", "msec", "millisecond", "milliseconds"], 1e-3),
    (&["s", "sec", "secs", "second", "seconds"], 1.0),
    (&["m", "min", "mins", "minute", "minutes"], 60.0),
    (&["h", "hr", "hrs", "hour", "hours"], 3_600.0),
    (&["d", "day", "days"], 86_400.0),
];

/// The units of durations in Chinese, and their seconds.
const CHINESE_UNITS: &[(&str, f64)] =
    &[("毫秒", 1e-3), ("秒", 1.0), ("分钟", 60.0), ("分", 60.0), ("小时", 3_600.0), ("天", 86_400.0)];

/// The wait in a sentence in lower case: `please try again in 7m12s`. A number without a unit
/// counts as seconds if the sentence ends with it. The first wait counts.
pub(super) fn in_words(words: &str) -> Option<Duration> {
    let waits = WAIT_PHRASES.iter().flat_map(|phrase| {
        let ends = words.match_indices(phrase).map(|(at, phrase)| at.saturating_add(phrase.len()));
        ends.filter_map(|end| Some((end, wait(words.get(end..)?)?)))
    });
    waits.min_by_key(|(end, _)| *end).map(|(_, wait)| wait)
}

/// The wait at the start of a text, after words such as `about`.
fn wait(text: &str) -> Option<Duration> {
    let mut text = text.trim_start_matches([' ', ':', '=', '"', '~', '\'']);
    for word in ["for ", "at least ", "about ", "approximately ", "another ", "up to "] {
        text = text.strip_prefix(word).unwrap_or(text);
    }
    let one = ["a ", "an ", "one "].iter().find_map(|article| text.strip_prefix(article));
    let one = one.and_then(unit).map(|(_, scale)| Duration::from_secs_f64(scale));
    one.or_else(|| parse(text)).or_else(|| {
        let (number, rest) = number(text)?;
        let is_end = rest.chars().all(|c| matches!(c, '.' | '"' | '\'' | ')' | '}')) || rest.starts_with(". ");
        seconds(number, 1.0).filter(|_| is_end)
    })
}

/// The words before a wait.
const WAIT_PHRASES: &[&str] = &[
    "again after ",
    "again in ",
    "available in ",
    "reset after ",
    "reset in ",
    "resets after ",
    "resets in ",
    "retry after ",
    "retry in ",
    "retry your request after ",
    "retry your request in ",
    "retry-after",
    "retry_after",
    "wait ",
    "等待",
    "请在",
    "请于",
];

/// A number of units, each of them `scale` seconds long. `None` if it is not a number from 0.
pub(super) fn seconds(text: &str, scale: f64) -> Option<Duration> {
    let is_plain = text.len() <= 20 && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let number: f64 = Some(text).filter(|_| is_plain)?.parse().ok()?;
    Some(Duration::try_from_secs_f64(number * scale).unwrap_or(Duration::MAX))
}

/// The number at the start of a text, and the rest. A point at its end belongs to the sentence.
fn number(text: &str) -> Option<(&str, &str)> {
    let end = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
    let digits = text.get(..end)?.trim_end_matches('.');
    text.split_at_checked(digits.len()).filter(|(number, _)| !number.is_empty())
}

/// A point in time, in seconds since the beginning of 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Instant(pub(super) u64);

impl Instant {
    /// Reads an HTTP date (RFC 9110 §5.6.7, its preferred form), an RFC 3339 time, or a count of
    /// seconds or milliseconds since 1970, also with a fraction. A smaller number is a wait, and
    /// gives `None`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let is_number = fraction.bytes().all(|byte| byte.is_ascii_digit());
        if let Some(count) = whole.parse::<u64>().ok().filter(|_| is_number) {
            return match count {
                EPOCH_MIN..EPOCH_MILLIS_MIN => Some(Self(count)),
                EPOCH_MILLIS_MIN.. => Some(Self(count / 1_000)),
                _ => None,
            };
        }
        Self::from_http_date(text).or_else(|| Self::from_rfc3339(text))
    }

    /// The time of a reset in a sentence in lower case: `it resets at 2026-05-15t15:00:00z`.
    pub(super) fn in_words(words: &str) -> Option<Self> {
        let ends = RESET_PHRASES.iter().flat_map(|phrase| words.match_indices(phrase));
        ends.filter_map(|(at, phrase)| {
            let rest = words.get(at.saturating_add(phrase.len())..)?;
            let word = rest.split([' ', ',', ')', '"', '\'']).next()?;
            Self::parse(word.trim_end_matches('.'))
        })
        .next()
    }

    /// As `Sun, 06 Nov 1994 08:49:37 GMT`.
    fn from_http_date(text: &str) -> Option<Self> {
        let fields: Vec<&str> = text.strip_suffix(" GMT")?.split(' ').collect();
        let [_, day, month, year, time] = fields.as_slice() else { return None };
        let month = MONTHS.iter().position(|name| name == month)?;
        Self::of(year, month.try_into().ok()?, day, time)
    }

    /// As `1994-11-06T08:49:37.5Z` or `1994-11-06T09:49:37+01:00`.
    fn from_rfc3339(text: &str) -> Option<Self> {
        let (date, time) = text.split_once(['T', 't'])?;
        let (time, offset) = time.split_at_checked(time.find(['Z', 'z', '+', '-'])?)?;
        let fields: Vec<&str> = date.split('-').collect();
        let [year, month, day] = fields.as_slice() else { return None };
        let month: u64 = month.parse().ok()?;
        let Self(local) = Self::of(year, month.checked_sub(1)?, day, time.split('.').next()?)?;
        if matches!(offset, "Z" | "z") {
            return Some(Self(local));
        }
        let (hours, minutes) = offset.get(1..)?.split_once(':')?;
        let minutes = hours.parse::<u64>().ok()?.checked_mul(60)?.checked_add(minutes.parse().ok()?)?;
        let seconds = Some(minutes).filter(|minutes| *minutes < 24 * 60)?.checked_mul(60)?;
        let utc = if offset.starts_with('+') { local.checked_sub(seconds) } else { local.checked_add(seconds) };
        utc.map(Self)
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

/// The words before the time of a reset.
const RESET_PHRASES: &[&str] =
    &["again at ", "again after ", "reset at ", "reset on ", "resets at ", "resets on ", "until "];

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
            ("1m30.5s", Some(90_500)),
            ("1 minute and 30 seconds", Some(90_000)),
            ("3 hours, 17 minutes, 52 seconds.", Some(11_872_000)),
            ("2000µs", Some(2)),
            ("30秒后重试", Some(30_000)),
            ("5 分钟", Some(300_000)),
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
    fn points_in_time_have_several_forms() {
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
            ("1994-11-06T09:49:37+01:00", Some(784_111_777)),
            ("1994-11-06T03:19:37-05:30", Some(784_111_777)),
            ("784111777.25", Some(784_111_777)),
            ("1994-11-06T08:49:37+25:00", None),
            ("1994-11-06T08:49:37+0100", None),
            ("1994-11-06T08:49:37", None),
            ("12.5", None),
            ("1969-11-06T08:49:37Z", None),
            ("", None),
        ] {
            assert_eq!(Instant::parse(text), expected.map(Instant), "{text}");
        }
    }
}
