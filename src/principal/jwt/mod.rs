//! JSON Web Tokens as credentials (RFC 7519, RFC 8725): one issuer, its keys, and whom it names.
//!
//! ```text
//! credential ─▶ jws: split, header ─▶ keys: candidates ─▶ signature ─▶ claims: iss aud exp nbf iat ─▶ sub
//!                                       ▲
//!                   a file, or remote: what the issuer publishes, fetched when schedule says so
//! ```
//!
//! jsonwebtoken does the cryptography and nothing else: its own `decode` accepts unknown `crit`, `b64`, any `typ`,
//! fractional times and a missing `sub`. No algorithm is taken from the credential, no key is fetched or embedded, and a
//! conversation token is no credential even if the same secret made it.

mod claims;
mod document;
mod error;
mod fault;
mod json;
mod jwk;
mod jws;
mod key;
mod keys;
mod pem;
mod remote;
mod schedule;

use std::{sync::Arc, time::Duration};

use claims::Claims;
pub use document::KeyDocument;
pub use error::{JwtConfigError, KeyFault, SkippedKey};
use fault::JwtFault;
use jws::UnverifiedJws;
pub use keys::{JwtKeys, Origin};
pub use remote::RemoteKeys;

use super::{AuthOutcome, Identity};
use crate::proto::{error::Error, principal::Principal, time::UnixSeconds};

/// What precedes the issuer in [`Principal::idp`].
const IDP_PREFIX: &str = "jwt:";

/// Whose tokens are credentials, and for whom they must have been made.
#[derive(Debug)]
pub struct JwtConfig {
    /// The issuer: `iss` equals it, byte for byte. 1 to 508 bytes without control characters.
    pub issuer: String,
    /// The names this service goes by at the issuer: `aud` is or holds one of them. At least one, none empty.
    pub audience: Vec<String>,
    /// The issuer's keys.
    pub keys: KeySource,
}

/// Where an issuer's keys are.
#[derive(Debug)]
pub enum KeySource {
    /// Here.
    Fixed(JwtKeys),
    /// With the issuer, which may change them at any time.
    Remote(Arc<RemoteKeys>),
}

/// Tells callers by the tokens of one issuer. `Debug` never shows key material.
#[derive(Debug)]
pub struct JwtVerifier {
    issuer: String,
    audience: Vec<String>,
    keys: KeySource,
}

impl JwtVerifier {
    /// A verifier for the tokens that `config` describes.
    ///
    /// # Errors
    /// [`JwtConfigError::Issuer`] or [`JwtConfigError::Audience`] for a name that would let strangers in.
    pub fn new(config: JwtConfig) -> Result<Self, JwtConfigError> {
        let JwtConfig { issuer, audience, keys } = config;
        check_issuer(&issuer).map_err(JwtConfigError::Issuer)?;
        if audience.is_empty() || audience.iter().any(String::is_empty) {
            return Err(JwtConfigError::Audience);
        }
        Ok(Self { issuer, audience, keys })
    }

    /// The raw secrets that verify credentials; none if all keys are public.
    ///
    /// A start-up must refuse one that is also a token key: a caller's issuer could then forge histories. HMAC pads a
    /// key with zeros, so compare without trailing zero bytes, and in constant time.
    pub fn hmac_secrets(&self) -> impl Iterator<Item = &[u8]> {
        self.fixed().into_iter().flat_map(JwtKeys::secrets)
    }

    /// The keys of the configured set that are left out, each with its reason; for the operator's log.
    #[must_use]
    pub fn skipped_keys(&self) -> &[SkippedKey] {
        self.fixed().map_or(&[], JwtKeys::skipped)
    }

    /// The issuer's keys, if they have to be fetched.
    #[must_use]
    pub fn remote(&self) -> Option<&Arc<RemoteKeys>> {
        match &self.keys {
            KeySource::Fixed(_) => None,
            KeySource::Remote(keys) => Some(keys),
        }
    }

    /// Goes on with the keys that were fetched before, if both are of one place.
    pub(super) fn inherit(&mut self, other: &Self) {
        if let (Some(mine), Some(theirs)) = (self.remote(), other.remote())
            && mine.url() == theirs.url()
        {
            self.keys = KeySource::Remote(Arc::clone(theirs));
        }
    }

    /// Whom `credential` names at `now`; `elapsed` is the time since some fixed moment. Who `has_waited` for a fetch is
    /// not told to wait again.
    ///
    /// # Errors
    /// [`Error::Unauthenticated`], with the failed check as its cause; [`Error::IssuerUnavailable`] if the keys that tell
    /// cannot be had.
    pub(super) fn judge(
        &self,
        credential: &str,
        now: UnixSeconds,
        elapsed: Duration,
        has_waited: bool,
    ) -> Result<AuthOutcome, Error> {
        match (self.check(credential, now), self.remote()) {
            (Ok(principal), _) => Ok(AuthOutcome::Identified(Identity::Known(principal))),
            (Err(fault @ (JwtFault::NoKeySet | JwtFault::UnknownKey)), Some(keys)) => {
                keys.missing(fault, elapsed, has_waited).map(AuthOutcome::Wait)
            }
            (Err(fault), _) => Err(fault.into()),
        }
    }

    fn check(&self, credential: &str, now: UnixSeconds) -> Result<Principal, JwtFault> {
        let jws = UnverifiedJws::parse(credential)?;
        let payload = match &self.keys {
            KeySource::Fixed(keys) => keys.verify_signature(&jws)?,
            KeySource::Remote(remote) => {
                let keys = remote.keys().ok_or(JwtFault::NoKeySet)?;
                keys.verify_signature(&jws).map_err(|fault| match fault {
                    // It may be good by a key that the issuer has and we have not.
                    JwtFault::NoKey | JwtFault::Signature if !keys.knows(&jws.header) => JwtFault::UnknownKey,
                    fault => fault,
                })?
            }
        };
        let subject = Claims::parse(&payload)?.subject(&self.issuer, &self.audience, now)?;
        Principal::new(subject, idp(&self.issuer)).map_err(JwtFault::Subject)
    }

    fn fixed(&self) -> Option<&JwtKeys> {
        match &self.keys {
            KeySource::Fixed(keys) => Some(keys),
            KeySource::Remote(_) => None,
        }
    }
}

fn idp(issuer: &str) -> String {
    format!("{IDP_PREFIX}{issuer}")
}

/// Whatever names a principal later must be fit to.
fn check_issuer(issuer: &str) -> Result<(), &'static str> {
    if issuer.is_empty() { Err("it is empty") } else { Principal::new("anyone", idp(issuer)).map(drop) }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod wycheproof_tests;
