//! The caller's limits, and what is left of them: `GET /v1/usage`.
//!
//! This request counts towards no limit. The credential names the caller, as at every API. Without
//! an identity rule, `?user_id=` names the user. Without that, the caller is counted by address.

use http::{Response, request};
use serde::Serialize;

use super::{body::Body, host::Host, ratelimit_headers, response::json_response, state::Service, uri::percent_decoded};
use crate::{
    guard::{Guard as _, LimitSubject},
    proto::{allowance::Allowance, error::Error, principal::Principal, time::UnixSeconds},
};

impl<H: Host> Service<H> {
    /// Responds with the limits of the caller, and what is left of them.
    ///
    /// # Errors
    /// [`Error::RequestInvalid`] for a user that cannot be the caller; [`Error::GuardUnavailable`].
    pub(super) async fn usage(&self, head: &request::Parts) -> Result<Response<Body>, Error> {
        let sender = self.authenticate(head).await?;
        // The guard may call the limits store.
        let slot = self.slots.take(sender.network())?;
        let peer = sender.peer;
        let principal = sender.caller(user_id(head.uri.query())?, None).principal()?;
        let unnamed = || Principal::anonymous([0; 16]);
        let subject = LimitSubject::new(&principal.clone().unwrap_or_else(unnamed), peer);
        let moment = self.moment();
        let allowances = self.host.guard().allowances(subject, moment).await?;
        drop(slot);
        let answer = UsageBody {
            user_id: principal.as_ref().map(Principal::subject),
            limits: allowances.iter().map(|allowance| LimitBody::new(allowance, moment.now)).collect(),
            turns_at_once: self.host.guard().max_concurrent_turns(),
        };
        let mut response = json_response(&answer);
        ratelimit_headers::write(&allowances, response.headers_mut());
        Ok(response)
    }
}

/// The limits of a caller.
#[derive(Serialize)]
pub(super) struct UsageBody<'a> {
    /// The user. Null for an unnamed caller, who is counted by address.
    pub(super) user_id: Option<&'a str>,
    /// The limits, empty if there are none.
    pub(super) limits: Vec<LimitBody>,
    /// The most concurrent turns of the caller.
    pub(super) turns_at_once: usize,
}

/// One limit, and the part of it that is left.
#[derive(Serialize)]
pub(super) struct LimitBody {
    /// The limit: `rate`, `turns`, `model_tokens`, ….
    name: &'static str,
    /// The quota in each period.
    limit: u64,
    /// The part of the quota that is left.
    remaining: u64,
    /// The part of the quota that is used.
    used: u64,
    /// The length of the period.
    period_seconds: u64,
    /// The time at which the whole quota is available again, RFC 3339.
    resets_at: String,
}

impl LimitBody {
    pub(super) fn new(allowance: &Allowance, now: UnixSeconds) -> Self {
        let Allowance { name, limit, remaining, period_seconds, reset_seconds } = *allowance;
        let (used, resets_at) = (limit.saturating_sub(remaining), now.plus(reset_seconds).to_string());
        Self { name, limit, remaining, used, period_seconds, resets_at }
    }
}

/// The user that a query names. A plus sign is a plus sign (RFC 3986), not a space.
fn user_id(query: Option<&str>) -> Result<Option<String>, Error> {
    let mut named = query.unwrap_or_default().split('&').filter_map(|pair| pair.strip_prefix("user_id="));
    match (named.next(), named.next()) {
        (None, _) => Ok(None),
        (Some(text), None) => percent_decoded(text)
            .map(Some)
            .ok_or_else(|| Error::invalid("`user_id` must be UTF-8 text with percent-encoding.")),
        (Some(_), Some(_)) => Err(Error::invalid("`user_id` is in the query more than once. Send it once.")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_names_at_most_one_user() {
        let read = |query: &str| user_id(Some(query)).map_err(|error| error.code());
        assert_eq!(user_id(None), Ok(None));
        for (query, name) in [
            ("", None),
            ("user=ada", None),
            ("user_id=ada", Some("ada")),
            ("a=b&user_id=ada%2Blove%40e.test&c", Some("ada+love@e.test")),
            ("user_id=a+b", Some("a+b")),
            ("user_id=", Some("")),
        ] {
            assert_eq!(read(query), Ok(name.map(str::to_owned)), "{query}");
        }
        for query in ["user_id=ada&user_id=ada", "user_id=%ff", "user_id=%4"] {
            assert_eq!(read(query), Err("request_invalid"), "{query}");
        }
    }
}
