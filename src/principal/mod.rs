//! Credentials to [`Principal`]: who may speak for whom (design §5, Identity).
//!
//! An [`Authenticator`] is built from the configuration, anew with each reload, and asked once a request. It opens no file
//! or socket and reads no clock: key documents and the time are arguments. It never looks at a body, and it never guesses: a
//! credential either names exactly one principal or the request is refused. What a credential said goes no further,
//! upstream least of all.

mod api_key;
mod credential;
mod digest;
mod forwarded;
mod header;
#[cfg(feature = "jwt")]
pub mod jwt;
mod network;

use std::{
    fmt,
    net::IpAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures_util::{
    FutureExt as _,
    future::{BoxFuture, Shared},
};
use http::HeaderMap;

pub(crate) use self::network::is_loopback_host;
pub use self::{
    api_key::{API_KEYS_MAX, ApiKeys, ApiKeysError, IDP_KEY},
    digest::{KeyDigest, OperatorKeys},
    forwarded::sender,
    header::{HEADER_SECRET_MIN_BYTES, HeaderRule, IDP_HEADER},
    network::{NetworkError, Networks},
};
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

/// Who may call, and as whom: all of it is taken over by a reload.
#[derive(Debug)]
pub struct Access {
    /// Who may speak for whom.
    pub authenticator: Authenticator,
    /// Who may revoke what is not their own.
    pub operator_keys: OperatorKeys,
    /// The proxies that are believed when they say whom a request came from, for counting callers without a name.
    pub trusted_proxies: Networks,
}

/// One way to tell who sends a request (`identity.mode`).
#[derive(Debug)]
#[non_exhaustive]
pub enum Authenticator {
    /// Mode `api_key`: the credential is one of the keys that were given out.
    ApiKey(ApiKeys),
    /// Mode `header`: a listed proxy names the user.
    Header(HeaderRule),
    /// Mode `jwt`: the credential is a JSON Web Token of one trusted issuer.
    #[cfg(feature = "jwt")]
    Jwt(jwt::JwtVerifier),
    /// Mode `none`: credentials are ignored, whatever they are, so that a stock SDK with a made-up key works.
    None,
}

impl Authenticator {
    /// Reads the credential of a request.
    ///
    /// # Errors
    /// [`Error::RequestInvalid`] if there is more than one; [`Error::Unauthenticated`], or in mode `header`
    /// [`Error::UntrustedProxy`], if one is needed and there is none or it does not hold, with the failed check as its cause; [`Error::GuardUnavailable`] if that cannot be told now.
    /// Mode `none` never fails.
    pub fn authenticate(&self, request: &AuthRequest<'_>) -> Result<AuthOutcome, Error> {
        let known = |principal| AuthOutcome::Identified(Identity::Known(principal));
        match self {
            Self::ApiKey(keys) => keys.verify(credential::presented(request.headers)?).map(known),
            Self::Header(rule) => rule.verify(request.headers, request.peer).map(known),
            #[cfg(feature = "jwt")]
            Self::Jwt(verifier) => {
                let credential = credential::presented(request.headers)?;
                verifier.judge(credential, request.now, request.elapsed, request.has_waited)
            }
            Self::None => Ok(AuthOutcome::Identified(Identity::Anonymous)),
        }
    }

    /// The mode, as it is configured.
    #[must_use]
    pub fn mode(&self) -> &'static str {
        match self {
            Self::ApiKey(_) => "api_key",
            Self::Header(_) => "header",
            #[cfg(feature = "jwt")]
            Self::Jwt(_) => "jwt",
            Self::None => "none",
        }
    }

    /// Where an issuer's keys are fetched, if they are.
    #[must_use]
    pub fn jwks_url(&self) -> Option<&str> {
        match self {
            #[cfg(feature = "jwt")]
            Self::Jwt(verifier) => verifier.remote().map(|keys| keys.url()),
            _ => None,
        }
    }

    /// Whether it has what it takes to tell callers apart.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        match self {
            #[cfg(feature = "jwt")]
            Self::Jwt(verifier) => verifier.remote().is_none_or(|keys| keys.are_there()),
            _ => true,
        }
    }

    /// The keys that have to be fetched, if any.
    #[cfg(feature = "jwt")]
    #[must_use]
    pub fn remote_keys(&self) -> Option<&Arc<jwt::RemoteKeys>> {
        match self {
            Self::Jwt(verifier) => verifier.remote(),
            _ => None,
        }
    }

    /// Goes on with what the one before it has fetched.
    pub fn inherit(&mut self, before: &Self) {
        match (self, before) {
            #[cfg(feature = "jwt")]
            (Self::Jwt(verifier), Self::Jwt(before)) => verifier.inherit(before),
            _ => {}
        }
    }
}

/// A request that asks to be known.
#[derive(Clone, Copy, Debug)]
pub struct AuthRequest<'a> {
    /// Its headers.
    pub headers: &'a HeaderMap,
    /// The other end of its connection.
    pub peer: Option<IpAddr>,
    /// The time of day.
    pub now: UnixSeconds,
    /// The time since some fixed moment; never goes back.
    pub elapsed: Duration,
    /// Whether it was told to [wait](Verdict::Wait) before; it is not told so again.
    pub has_waited: bool,
}

/// What comes of asking.
#[derive(Clone, Debug)]
pub enum AuthOutcome {
    /// Who it is.
    Identified(Identity),
    /// To be asked again, once, when this ends.
    Wait(PendingKeys),
}

/// Ends when what a request waits for has come, or has failed to.
#[derive(Clone)]
pub struct PendingKeys {
    ended: Shared<BoxFuture<'static, ()>>,
    /// Counts those who wait.
    _place: Arc<()>,
}

impl PendingKeys {
    #[cfg(feature = "jwt")]
    fn new(ended: Shared<BoxFuture<'static, ()>>, place: Arc<()>) -> Self {
        Self { ended, _place: place }
    }
}

impl Future for PendingKeys {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        self.ended.poll_unpin(context)
    }
}

impl fmt::Debug for PendingKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Coming").finish_non_exhaustive()
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
            let request = AuthRequest {
                headers: &headers,
                peer: None,
                now: UnixSeconds(0),
                elapsed: Duration::ZERO,
                has_waited: false,
            };
            let verdict = Authenticator::None.authenticate(&request).unwrap();
            assert!(matches!(verdict, AuthOutcome::Identified(Identity::Anonymous)));
        }
    }
}
