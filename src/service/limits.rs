//! What callers are told of their limits: the `RateLimit` fields of draft-ietf-httpapi-ratelimit-headers-10.
//!
//! One policy for each limit, named after what it counts and its period: `"turns-86400"`.

use std::fmt::Write as _;

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::proto::allowance::Allowance;

/// Says what the limits are and what is left of each; nothing where there are none.
pub(crate) fn write_headers(standing: &[Allowance], headers: &mut HeaderMap) {
    if standing.is_empty() {
        return;
    }
    let (mut policies, mut limits) = (String::new(), String::new());
    for Allowance { name, limit, remaining, period_seconds, reset_seconds } in standing {
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

const RATELIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATELIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
