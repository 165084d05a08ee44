//! The wait that an upstream asks for, from the headers of its answer.
//!
//! The core has no clock. A point in time is compared with the `Date` of the same answer.

use std::time::Duration;

use http::{HeaderMap, header};

use super::duration::{self, Instant};

/// The wait that an answer's headers ask for, at most [`MAX_RETRY_AFTER`].
///
/// `retry-after-ms` comes first because it is the most precise. Then `Retry-After` (RFC 9110
/// §10.2.3): seconds, or a date.
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let millis = text(headers, "retry-after-ms").and_then(|value| duration::seconds(value, 1e-3));
    let wait = millis.or_else(|| wait(text(headers, header::RETRY_AFTER.as_str())?, headers))?;
    Some(wait.min(MAX_RETRY_AFTER))
}

/// The wait until the exhausted rate limits of an answer reset, at most [`MAX_RETRY_AFTER`].
///
/// Each limit has a header with `ratelimit` and `reset` in its name, and often one with `remaining`
/// instead of `reset`. A limit with something left did not cause the refusal.
pub(super) fn rate_limit_reset(headers: &HeaderMap) -> Option<Duration> {
    let resets = headers.iter().filter_map(|(name, value)| {
        let (name, value) = (name.as_str(), value.to_str().ok()?);
        if !(name.replace('-', "").contains("ratelimit") && name.contains("reset")) {
            return None;
        }
        let remaining = text(headers, &name.replace("reset", "remaining"));
        let is_exhausted = remaining.is_none_or(|left| left.parse().is_ok_and(|left: f64| left <= 0.0));
        is_exhausted.then(|| wait(value, headers)).flatten()
    });
    resets.max().map(|wait| wait.min(MAX_RETRY_AFTER))
}

/// The wait that a value means: a number of seconds, a duration, or a point in time.
fn wait(value: &str, headers: &HeaderMap) -> Option<Duration> {
    let value = value.trim();
    // A point in time can look like a number of seconds.
    if let Some(at) = Instant::parse(value) {
        return wait_until(at, headers);
    }
    duration::seconds(value, 1.0).or_else(|| duration::parse(value))
}

/// The wait until a point in time, from the `Date` of the answer. A point in the past gives zero.
pub(super) fn wait_until(Instant(at): Instant, headers: &HeaderMap) -> Option<Duration> {
    let Instant(now) = Instant::parse(text(headers, header::DATE.as_str())?)?;
    Some(Duration::from_secs(at.saturating_sub(now)))
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok().map(str::trim)
}

/// The longest wait that is passed on to the client.
pub(super) const MAX_RETRY_AFTER: Duration = Duration::from_secs(3_600);

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    const NOW: (&str, &str) = ("date", "Sun, 06 Nov 1994 08:49:37 GMT");

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        let pairs = pairs.iter().map(|(name, value)| {
            let name: HeaderName = name.parse().unwrap();
            (name, value.parse::<HeaderValue>().unwrap())
        });
        pairs.collect()
    }

    #[test]
    fn a_wait_is_read_in_every_form() {
        for (pairs, millis) in [
            (&[("retry-after", "9")][..], Some(9_000)),
            (&[("retry-after", "0")], Some(0)),
            (&[("retry-after", " 1.5 ")], Some(1_500)),
            (&[("retry-after", "7m12s")], Some(432_000)),
            (&[("retry-after", "3599")], Some(3_599_000)),
            (&[("retry-after", "3600")], Some(3_600_000)),
            (&[("retry-after", "3601")], Some(3_600_000)),
            (&[("retry-after-ms", "250"), ("retry-after", "1")], Some(250)),
            (&[("retry-after-ms", "x"), ("retry-after", "1")], Some(1_000)),
            (&[("retry-after", "Sun, 06 Nov 1994 08:50:07 GMT"), NOW], Some(30_000)),
            (&[("retry-after", "Sun, 06 Nov 1994 08:49:00 GMT"), NOW], Some(0)),
            (&[("retry-after", "Sun, 06 Nov 1994 08:50:07 GMT")], None),
            (&[("retry-after", "-1")], None),
            (&[("retry-after", "soon")], None),
            (&[("retry-after", "")], None),
            (&[], None),
        ] {
            assert_eq!(retry_after(&headers(pairs)), millis.map(Duration::from_millis), "{pairs:?}");
        }
    }

    #[test]
    fn an_exhausted_limit_says_when_it_resets() {
        for (pairs, millis) in [
            (&[("x-ratelimit-reset-requests", "20ms"), ("x-ratelimit-reset-tokens", "6m0s")][..], Some(360_000)),
            (
                &[
                    ("x-ratelimit-remaining-requests", "0"),
                    ("x-ratelimit-reset-requests", "1.5s"),
                    ("x-ratelimit-remaining-tokens", "100"),
                    ("x-ratelimit-reset-tokens", "6m0s"),
                ],
                Some(1_500),
            ),
            (&[("anthropic-ratelimit-tokens-reset", "1994-11-06T08:50:07Z"), NOW], Some(30_000)),
            (&[("x-ratelimit-reset", "784111807"), NOW], Some(30_000)),
            (&[("x-ratelimit-reset", "784111807000"), NOW], Some(30_000)),
            (&[("ratelimit-reset", "12")], Some(12_000)),
            (&[("x-rate-limit-reset", "12")], Some(12_000)),
            (&[("x-ratelimit-reset-after", "1.5")], Some(1_500)),
            (&[("x-ratelimit-reset", "784111807.5"), NOW], Some(30_000)),
            (&[("x-ratelimit-reset", "1994-11-06T09:50:07+01:00"), NOW], Some(30_000)),
            (&[("x-ratelimit-reset", "1994-11-06T08:49:00Z"), NOW], Some(0)),
            (&[("x-ratelimit-reset-tokens", "1h0m0s")], Some(3_600_000)),
            (&[("x-ratelimit-reset-tokens-day", "33011.38")], Some(3_600_000)),
            (&[("ratelimit-remaining", "3"), ("ratelimit-reset", "12")], None),
            (&[("retry-after", "9")], None),
        ] {
            assert_eq!(rate_limit_reset(&headers(pairs)), millis.map(Duration::from_millis), "{pairs:?}");
        }
    }
}
