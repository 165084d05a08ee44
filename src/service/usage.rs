//! Where a caller stands under its limits: `GET /v1/usage`.
//!
//! Asking takes nothing. Who asks is told by the credential, as at every door; where nobody vouches for callers, by
//! `?user_id=`, and whoever names nobody is counted by address.

use http::{Response, request};
use serde_json::{Value, json};

use super::{
    Clock, Sender, Service, asker, body::Body, json_response, limits, models::percent_decoded, route::only_get,
};
use crate::{
    guard::{Counted, Guard},
    proto::{allowance::Allowance, error::Error, principal::Principal, time::UnixSeconds},
    upstream::Upstream,
};

/// Where callers ask.
pub(super) const PATH: &str = "/v1/usage";

impl<U: Upstream, G: Guard, C: Clock> Service<U, G, C> {
    /// The limits of whoever asks, and what is left of them.
    ///
    /// # Errors
    /// [`Error::RequestInvalid`] for a user that cannot be the caller; [`Error::GuardUnavailable`];
    /// [`Error::MethodNotAllowed`].
    pub(super) async fn usage(&self, head: &request::Parts) -> Result<Response<Body>, Error> {
        only_get(head)?;
        let sender = self.authenticate(head).await?;
        // The guard may have to ask a store for it.
        let slot = self.slots.take(sender.network())?;
        let Sender { identity, peer } = sender;
        let principal = asker(identity, user_id(head.uri.query())?, None).principal()?;
        let nobody = || Principal::anonymous([0; 16]);
        let counted = Counted::of(&principal.clone().unwrap_or_else(nobody), peer);
        let moment = self.moment();
        let standing = self.guard.standing(counted, moment).await?;
        drop(slot);
        let answer = json!({
            "user_id": principal.as_ref().map(Principal::subject),
            "limits": standing.iter().map(|allowance| entry(allowance, moment.now)).collect::<Vec<_>>(),
            "turns_at_once": self.guard.turns_at_once(),
        });
        let mut response = json_response(&answer);
        limits::write_headers(&standing, response.headers_mut());
        Ok(response)
    }
}

fn entry(allowance: &Allowance, now: UnixSeconds) -> Value {
    let Allowance { name, limit, remaining, period_seconds, reset_seconds } = *allowance;
    json!({
        "name": name,
        "limit": limit,
        "remaining": remaining,
        "used": limit.saturating_sub(remaining),
        "period_seconds": period_seconds,
        "resets_at": now.plus(reset_seconds).to_string(),
    })
}

/// The user that a query names. A plus stands for itself (RFC 3986), not for a space.
fn user_id(query: Option<&str>) -> Result<Option<String>, Error> {
    let mut named = query.unwrap_or_default().split('&').filter_map(|pair| pair.strip_prefix("user_id="));
    match (named.next(), named.next()) {
        (None, _) => Ok(None),
        (Some(text), None) => percent_decoded(text)
            .map(Some)
            .ok_or_else(|| Error::invalid("`user_id` is no UTF-8 text with percent-encoding")),
        (Some(_), Some(_)) => Err(Error::invalid("`user_id` stands twice in the query")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_named_once_or_not_at_all() {
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
