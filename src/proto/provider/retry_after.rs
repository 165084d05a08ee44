//! The `Retry-After` header of an upstream's answer.

use std::time::Duration;

use http::{HeaderMap, header::RETRY_AFTER};

/// The wait in a `Retry-After` header (RFC 9110 §10.2.3), at most one hour. Only the form in
/// seconds is read, not the form with a date.
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds: u64 = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds).min(MAX_RETRY_AFTER))
}

/// The longest wait that is passed on to the client.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(3_600);
