//! Credentials to [`Principal`]: who may speak for whom (design §5, Identity).
//!
//! An [`Authenticator`] is built once from the configuration and asked once a request. It opens no file or socket and
//! reads no clock: key documents and `now` are arguments. It never looks at a body, and it never guesses: a credential
//! either names exactly one principal or the request is refused. What a credential said goes no further, upstream least
//! of all.

#[cfg(feature = "jwt")]
mod credential;
mod digest;
#[cfg(feature = "jwt")]
pub mod jwt;

use std::net::IpAddr;

use http::HeaderMap;

pub use self::digest::{KeyDigest, OperatorKeys};
use crate::proto::{error::Error, principal::Principal, time::UnixSeconds};

/// Where a request came from: the other end of its connection. A shell puts it into the request's extensions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer(pub IpAddr);

/// What the credentials of a request say about its sender.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identity {
    /// Nothing: the request itself names a user, or gets an `anon-` name.
    Anonymous,
    /// The sender is this principal.
    Known(Principal),
}

/// One way to tell who sends a request (`identity.mode`).
#[derive(Debug)]
#[non_exhaustive]
pub enum Authenticator {
    /// Mode `none`: credentials are ignored, whatever they are, so that a stock SDK with a made-up key works.
    None,
    /// Mode `jwt`: the credential is a JSON Web Token of one trusted issuer.
    #[cfg(feature = "jwt")]
    Jwt(jwt::JwtVerifier),
}

impl Authenticator {
    /// Reads the credential in `headers`, as it counts at `now`.
    ///
    /// # Errors
    /// [`Error::RequestInvalid`] if there is more than one; [`Error::Unauthenticated`] if one is needed and there is none
    /// or it does not hold, with the failed check as its cause. Mode `none` never fails.
    #[cfg_attr(not(feature = "jwt"), expect(unused_variables, reason = "mode none looks at nothing"))]
    pub fn authenticate(&self, headers: &HeaderMap, now: UnixSeconds) -> Result<Identity, Error> {
        match self {
            Self::None => Ok(Identity::Anonymous),
            #[cfg(feature = "jwt")]
            Self::Jwt(verifier) => verifier.verify(credential::presented(headers)?, now).map(Identity::Known),
        }
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderValue, header::AUTHORIZATION};

    use super::*;

    #[test]
    fn mode_none_ignores_credentials() {
        let mut headers = HeaderMap::new();
        for credential in ["Bearer sk-made-up", "Bearer another", "Basic !"] {
            headers.append(AUTHORIZATION, HeaderValue::from_static(credential));
            headers.append("x-api-key", HeaderValue::from_static(credential));
            assert_eq!(Authenticator::None.authenticate(&headers, UnixSeconds(0)), Ok(Identity::Anonymous));
        }
    }
}
