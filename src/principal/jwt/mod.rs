//! JSON Web Tokens as credentials (RFC 7519, RFC 8725): one issuer, its keys, and whom it names.
//!
//! ```text
//! credential ─▶ jws: split, header ─▶ keys: candidates ─▶ signature ─▶ claims: iss aud exp nbf iat ─▶ sub
//! ```
//!
//! jsonwebtoken does the cryptography and nothing else: its own `decode` accepts unknown `crit`, `b64`, any `typ`,
//! fractional times and a missing `sub`. No algorithm is taken from the credential, no key is fetched or embedded, and a
//! conversation token is no credential even if the same secret made it.

mod claims;
mod error;
mod fault;
mod json;
mod jwk;
mod jws;
mod key;
mod keys;
mod pem;

use claims::Claims;
pub use error::{JwtConfigError, KeyFault, SkippedKey};
use fault::Fault;
pub use keys::{JwtKeys, Origin};

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
    pub keys: JwtKeys,
}

/// Tells callers by the tokens of one issuer. `Debug` never shows key material.
#[derive(Debug)]
pub struct JwtVerifier {
    issuer: String,
    audience: Vec<String>,
    keys: JwtKeys,
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
        self.keys.secrets()
    }

    /// The keys of the configured set that are left out, each with its reason; for the operator's log.
    #[must_use]
    pub fn skipped_keys(&self) -> &[SkippedKey] {
        self.keys.skipped()
    }

    /// Whom `credential` names at `now`.
    ///
    /// # Errors
    /// [`Error::Unauthenticated`], with the failed check as its cause.
    pub(super) fn verify(&self, credential: &str, now: UnixSeconds) -> Result<Principal, Error> {
        let payload = self.keys.verify_signature(credential)?;
        let subject = Claims::parse(&payload)?.subject(&self.issuer, &self.audience, now)?;
        Ok(Principal::new(subject, idp(&self.issuer)).map_err(Fault::Subject)?)
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
