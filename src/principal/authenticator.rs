//! The modes of identity, and the choice between them.

use std::net::IpAddr;
#[cfg(feature = "jwt")]
use std::sync::Arc;

#[cfg(feature = "jwt")]
use super::jwt::{JwtVerifier, RemoteKeys};
use super::{
    api_key::{ApiKeys, IDP_KEY},
    credential,
    digest::OperatorKeys,
    header::{HeaderRule, IDP_HEADER},
    identity::{AuthOutcome, AuthRequest, Identity},
    network::Networks,
};
use crate::proto::{error::Error, principal::IDP_NONE};

/// The rules of access. A reload replaces all of them.
#[derive(Debug)]
pub struct Access {
    /// Identifies callers.
    pub authenticator: Authenticator,
    /// The keys of operators, who may revoke the tokens of every user.
    pub operator_keys: OperatorKeys,
    /// The proxies whose `X-Forwarded-For` is trusted. It decides the address that anonymous
    /// callers count by.
    pub trusted_proxies: Networks,
}

impl Access {
    /// Returns true if `peer` is a listed proxy: one that names users, or one whose
    /// `X-Forwarded-For` is trusted. Its connections carry the requests of many clients.
    #[must_use]
    pub fn is_listed_proxy(&self, peer: IpAddr) -> bool {
        let names_users = matches!(&self.authenticator, Authenticator::Header(rule) if rule.is_listed(peer));
        names_users || self.trusted_proxies.contains(peer)
    }
}

/// One way to identify callers (`identity.mode`).
#[derive(Debug)]
#[non_exhaustive]
pub enum Authenticator {
    /// Mode `api_key`: the credential is one of the issued keys.
    ApiKey(ApiKeys),
    /// Mode `header`: a listed proxy names the user.
    Header(HeaderRule),
    /// Mode `jwt`: the credential is a JSON Web Token of one trusted issuer.
    #[cfg(feature = "jwt")]
    Jwt(JwtVerifier),
    /// Mode `none`: all credentials are ignored, so that an SDK with a placeholder key works.
    None,
}

impl Authenticator {
    /// Identifies the caller by the credential of a request. Mode `none` never fails.
    ///
    /// # Errors
    /// [`Error::RequestInvalid`] for two credentials. [`Error::Unauthenticated`], or in mode
    /// `header` [`Error::UntrustedProxy`], for a missing or invalid credential; the cause names the
    /// failed check. [`Error::IssuerUnavailable`] if the issuer's keys are not available.
    pub fn authenticate(&self, request: &AuthRequest<'_>) -> Result<AuthOutcome, Error> {
        let known = |principal| AuthOutcome::Identified(Identity::Known(principal));
        match self {
            Self::ApiKey(keys) => keys.verify(credential::only(request.headers)?).map(known),
            Self::Header(rule) => rule.verify(request.headers, request.peer).map(known),
            #[cfg(feature = "jwt")]
            Self::Jwt(verifier) => {
                let credential = credential::only(request.headers)?;
                verifier.verify(credential, request.now, request.elapsed, request.has_waited)
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

    /// The identity provider of the callers that it identifies, as [`Principal::idp`].
    ///
    /// [`Principal::idp`]: crate::proto::principal::Principal::idp
    #[must_use]
    pub fn idp(&self) -> String {
        match self {
            Self::ApiKey(_) => IDP_KEY.to_owned(),
            Self::Header(_) => IDP_HEADER.to_owned(),
            #[cfg(feature = "jwt")]
            Self::Jwt(verifier) => verifier.idp(),
            Self::None => IDP_NONE.to_owned(),
        }
    }

    /// The URL of the issuer's keys, if they are fetched.
    #[must_use]
    pub fn jwks_url(&self) -> Option<&str> {
        match self {
            #[cfg(feature = "jwt")]
            Self::Jwt(verifier) => verifier.remote_keys().map(|keys| keys.url()),
            _ => None,
        }
    }

    /// Returns true if it has the keys that it needs to identify callers.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        match self {
            #[cfg(feature = "jwt")]
            Self::Jwt(verifier) => verifier.remote_keys().is_none_or(|keys| keys.has_keys()),
            _ => true,
        }
    }

    /// The issuer's keys, if they are fetched.
    #[cfg(feature = "jwt")]
    #[must_use]
    pub fn remote_keys(&self) -> Option<&Arc<RemoteKeys>> {
        match self {
            Self::Jwt(verifier) => verifier.remote_keys(),
            _ => None,
        }
    }

    /// Takes the fetched keys of `previous`, if both fetch them from the same URL.
    pub fn inherit(&mut self, previous: &Self) {
        match (self, previous) {
            #[cfg(feature = "jwt")]
            (Self::Jwt(verifier), Self::Jwt(previous)) => verifier.inherit(previous),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::{HeaderMap, HeaderValue, header::AUTHORIZATION};

    use super::*;
    use crate::proto::time::UnixSeconds;

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
            let outcome = Authenticator::None.authenticate(&request).unwrap();
            assert!(matches!(outcome, AuthOutcome::Identified(Identity::Anonymous)));
        }
    }
}
