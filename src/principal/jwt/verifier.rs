//! The verification of a credential, from its text to its user.

use std::{sync::Arc, time::Duration};

use super::{
    claims::Claims,
    error::{JwtConfigError, SkippedKey},
    fault::JwtFault,
    jws::UnverifiedJws,
    keys::JwtKeys,
    remote::RemoteKeys,
};
use crate::{
    principal::identity::{AuthOutcome, Identity},
    proto::{
        error::Error,
        principal::{IDP_JWT_PREFIX, Principal},
        time::UnixSeconds,
    },
};

/// The issuer whose tokens are credentials, and the audience that they must have.
#[derive(Debug)]
pub struct JwtConfig {
    /// The issuer, which must equal `iss` byte for byte. 1 to 508 bytes without control characters.
    pub issuer: String,
    /// The names of this service at the issuer; `aud` must be or contain one of them. At least one
    /// name, and none of them empty.
    pub audience: Vec<String>,
    /// The issuer's keys.
    pub keys: KeySource,
}

/// The source of an issuer's keys.
#[derive(Debug)]
pub enum KeySource {
    /// Keys that do not change.
    Fixed(JwtKeys),
    /// Keys that the issuer publishes and may change at any time.
    Remote(Arc<RemoteKeys>),
}

/// Identifies callers by the tokens of one issuer. `Debug` never shows key material.
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
    /// [`JwtConfigError::Issuer`] or [`JwtConfigError::Audience`] for an unusable issuer or
    /// audience.
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
    /// A secret must not also be a token key: otherwise the issuer could forge histories. Compare
    /// them at the start, in constant time and without trailing zero bytes, because HMAC pads keys
    /// with zeros.
    pub fn hmac_secrets(&self) -> impl Iterator<Item = &[u8]> {
        self.fixed_keys().into_iter().flat_map(JwtKeys::secrets)
    }

    /// The keys of a fixed set that cannot be used, each with its reason; for the operator's log.
    #[must_use]
    pub fn skipped_keys(&self) -> &[SkippedKey] {
        self.fixed_keys().map_or(&[], JwtKeys::skipped)
    }

    /// The issuer's keys, if they are fetched.
    #[must_use]
    pub fn remote_keys(&self) -> Option<&Arc<RemoteKeys>> {
        match &self.keys {
            KeySource::Fixed(_) => None,
            KeySource::Remote(keys) => Some(keys),
        }
    }

    /// Takes the fetched keys of `previous`, if both fetch them from the same URL.
    pub(crate) fn inherit(&mut self, previous: &Self) {
        if let (Some(mine), Some(theirs)) = (self.remote_keys(), previous.remote_keys())
            && mine.url() == theirs.url()
        {
            self.keys = KeySource::Remote(Arc::clone(theirs));
        }
    }

    /// Identifies the user of `credential` at `now`. `elapsed` is the time since a fixed moment. If
    /// `has_waited` is true, the outcome is never [`AuthOutcome::Wait`].
    ///
    /// # Errors
    /// [`Error::Unauthenticated`]; the cause names the failed check. [`Error::IssuerUnavailable`]
    /// if the issuer's keys are not available.
    pub(crate) fn verify(
        &self,
        credential: &str,
        now: UnixSeconds,
        elapsed: Duration,
        has_waited: bool,
    ) -> Result<AuthOutcome, Error> {
        match (self.check(credential, now), self.remote_keys()) {
            (Ok(principal), _) => Ok(AuthOutcome::Identified(Identity::Known(principal))),
            (Err(fault @ (JwtFault::NoKeySet | JwtFault::UnknownKey)), Some(keys)) => {
                keys.wait_for_key(fault, elapsed, has_waited).map(AuthOutcome::Wait)
            }
            (Err(fault), _) => Err(fault.into()),
        }
    }

    /// Checks a credential with the keys that are available now.
    pub(super) fn check(&self, credential: &str, now: UnixSeconds) -> Result<Principal, JwtFault> {
        let jws = UnverifiedJws::parse(credential)?;
        let payload = match &self.keys {
            KeySource::Fixed(keys) => keys.verify_signature(&jws)?,
            KeySource::Remote(remote) => {
                let keys = remote.keys().ok_or(JwtFault::NoKeySet)?;
                keys.verify_signature(&jws).map_err(|fault| match fault {
                    // The issuer may have published the key after the last fetch.
                    JwtFault::NoKey | JwtFault::Signature if !keys.has_kid(&jws.header) => JwtFault::UnknownKey,
                    fault => fault,
                })?
            }
        };
        let subject = Claims::parse(&payload)?.subject(&self.issuer, &self.audience, now)?;
        Principal::new(subject, idp(&self.issuer)).map_err(JwtFault::Subject)
    }

    /// The identity provider of the callers that it identifies.
    pub(crate) fn idp(&self) -> String {
        idp(&self.issuer)
    }

    fn fixed_keys(&self) -> Option<&JwtKeys> {
        match &self.keys {
            KeySource::Fixed(keys) => Some(keys),
            KeySource::Remote(_) => None,
        }
    }
}

fn idp(issuer: &str) -> String {
    format!("{IDP_JWT_PREFIX}{issuer}")
}

/// Checks that the issuer can be a part of every principal's `idp`.
fn check_issuer(issuer: &str) -> Result<(), &'static str> {
    if issuer.is_empty() { Err("it is empty") } else { Principal::new("anyone", idp(issuer)).map(drop) }
}
