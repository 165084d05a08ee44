//! The headers `RateLimit` and `RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers-10).
//!
//! There is one policy for each limit. Its name is the limit's name and period: `"turns-86400"`.
//! Both fields are lists of strings with parameters (RFC 9651). A policy has the quota `q` and its
//! window `w` in seconds. A limit has the remaining quota `r` and the seconds `t` until all of it
//! is available again.

use std::fmt::Write as _;

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::proto::allowance::Allowance;

/// Writes the limits, and what is left of each. Writes nothing if there are no limits.
pub(super) fn write(standing: &[Allowance], headers: &mut HeaderMap) {
    if standing.is_empty() {
        return;
    }
    let (mut policies, mut limits) = (String::new(), String::new());
    for Allowance { name, limit, remaining, period_seconds, reset_seconds } in standing {
        let [limit, remaining, reset_seconds] =
            [limit, remaining, reset_seconds].map(|count| *count.min(&INTEGER_MOST));
        let comma = if policies.is_empty() { "" } else { ", " };
        let _ = write!(policies, "{comma}\"{name}-{period_seconds}\";q={limit};w={period_seconds}");
        let _ = write!(limits, "{comma}\"{name}-{period_seconds}\";r={remaining};t={reset_seconds}");
    }
    for (name, value) in [(RATELIMIT_POLICY, policies), (RATELIMIT, limits)] {
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.insert(name, value);
        }
    }
}

/// The largest integer of a structured field (RFC 9651 §3.3.1).
const INTEGER_MOST: u64 = 999_999_999_999_999;
const RATELIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATELIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_written_as_lists_of_strings_with_parameters() {
        let mut headers = HeaderMap::new();
        write(&[], &mut headers);
        assert!(headers.is_empty());
        let rate = Allowance { name: "rate", limit: 30, remaining: 29, period_seconds: 60, reset_seconds: 2 };
        let tokens =
            Allowance { name: "model_tokens", limit: u64::MAX, remaining: 0, period_seconds: 86_400, reset_seconds: 7 };
        write(&[rate, tokens], &mut headers);
        assert_eq!(
            headers["ratelimit-policy"],
            "\"rate-60\";q=30;w=60, \"model_tokens-86400\";q=999999999999999;w=86400"
        );
        assert_eq!(headers["ratelimit"], "\"rate-60\";r=29;t=2, \"model_tokens-86400\";r=0;t=7");
    }
}
