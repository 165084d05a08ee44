//! The keys of one issuer, and the choice of keys for a credential.
//!
//! A set is refused as a whole if its keys contradict each other: two keys with one `kid`, or
//! secrets together with public keys. A key that cannot be used is skipped with its reason, so that
//! an issuer may publish kinds of keys that are not supported.

use std::fmt;

use super::{
    error::{JwtConfigError, SkippedKey},
    fault::JwtFault,
    jwk::{self, KeySetOrigin},
    jws::{self, Header, UnverifiedJws},
    key::VerifyingKey,
    pem,
};

/// The most keys that are tried for a credential without a `kid`. It limits the work for a
/// credential that is refused.
const MAX_TRIES: usize = 16;

/// The usable keys of one issuer. `Debug` shows their number and names, never key material.
pub struct JwtKeys {
    keys: Vec<VerifyingKey>,
    skipped: Vec<SkippedKey>,
}

impl JwtKeys {
    /// The usable keys of `json`, a JWK set (RFC 7517 §5). [`Self::skipped`] returns the others.
    ///
    /// # Errors
    /// [`JwtConfigError`] for a document that is not a key set, without a usable key, with one
    /// `kid` for two different keys, or with both secrets and public keys.
    pub fn from_jwks(json: &str, origin: KeySetOrigin) -> Result<Self, JwtConfigError> {
        let mut set = Self { keys: Vec::new(), skipped: Vec::new() };
        for (position, (kid, key)) in (1..).zip(jwk::read_set(json, origin)?) {
            match key {
                Ok(key) => set.keys.push(key),
                Err(fault) => set.skipped.push(SkippedKey { position, kid, fault }),
            }
        }
        set.check()?;
        Ok(set)
    }

    /// One public key (RSA, P-256, P-384 or Ed25519) as PEM `PUBLIC KEY` (RFC 7468 §13) or
    /// `RSA PUBLIC KEY`.
    ///
    /// # Errors
    /// [`JwtConfigError::Key`] for any other text and for a weak or private key.
    pub fn from_pem(pem: &str) -> Result<Self, JwtConfigError> {
        pem::read(pem).map(Self::one).map_err(JwtConfigError::Key)
    }

    /// One HMAC secret: at least 32 random bytes, used unchanged. A final line end is a part of it.
    ///
    /// # Errors
    /// [`JwtConfigError::Key`] for a shorter secret. [`JwtConfigError::SecretIsDocument`] for the
    /// text of a PEM file or a key set.
    pub fn from_secret(secret: &[u8]) -> Result<Self, JwtConfigError> {
        let text = secret.trim_ascii_start();
        if text.starts_with(b"-----BEGIN") || text.starts_with(b"{") {
            return Err(JwtConfigError::SecretIsDocument);
        }
        VerifyingKey::secret(secret).map(Self::one).map_err(JwtConfigError::Key)
    }

    /// The keys of the set that cannot be used, each with its reason; for the operator's log.
    #[must_use]
    pub fn skipped(&self) -> &[SkippedKey] {
        &self.skipped
    }

    /// The payload of a credential, if one of these keys signed it: verified bytes of any content.
    pub(super) fn verify_signature(&self, jws: &UnverifiedJws<'_>) -> Result<Vec<u8>, JwtFault> {
        let mut candidates = self.candidates(&jws.header).peekable();
        candidates.peek().ok_or(JwtFault::NoKey)?;
        if !candidates.any(|key| key.verifies(jws.signature, jws.signed, jws.header.algorithm)) {
            return Err(JwtFault::Signature);
        }
        jws::decode(jws.payload).ok_or(JwtFault::Encoding { part: "payload" })
    }

    /// The keys that may have signed a credential with this header: the keys with its `kid`, or if
    /// there are none, the keys without a `kid`. A header without a `kid` matches every key. The
    /// algorithm must match as well.
    fn candidates<'a>(&'a self, header: &'a Header) -> impl Iterator<Item = &'a VerifyingKey> {
        let has_kid = self.has_kid(header);
        self.keys
            .iter()
            .filter(move |key| if has_kid { key.kid == header.kid } else { header.kid.is_none() || key.kid.is_none() })
            .filter(|key| key.algorithms.contains(&header.algorithm))
            .take(MAX_TRIES)
    }

    /// Returns true if a key has the `kid` of this header.
    pub(super) fn has_kid(&self, header: &Header) -> bool {
        header.kid.is_some() && self.keys.iter().any(|key| key.kid == header.kid)
    }

    /// Returns true if both sets have the same names of keys and the same skipped keys.
    pub(super) fn has_same_names(&self, other: &Self) -> bool {
        self.keys.iter().map(|key| &key.kid).eq(other.keys.iter().map(|key| &key.kid)) && self.skipped == other.skipped
    }

    /// The number of usable keys.
    #[must_use]
    pub fn count(&self) -> usize {
        self.keys.len()
    }

    pub(super) fn secrets(&self) -> impl Iterator<Item = &[u8]> {
        self.keys.iter().filter_map(VerifyingKey::as_secret)
    }

    fn one(key: VerifyingKey) -> Self {
        Self { keys: vec![key], skipped: Vec::new() }
    }

    fn check(&self) -> Result<(), JwtConfigError> {
        if self.keys.is_empty() {
            return Err(JwtConfigError::NoUsableKey(self.skipped.clone()));
        }
        let secrets = self.keys.iter().filter(|key| key.as_secret().is_some()).count();
        if secrets != 0 && secrets != self.keys.len() {
            return Err(JwtConfigError::MixedSet);
        }
        for (older, key) in self.keys.iter().enumerate() {
            let clash = self.keys.iter().take(older).any(|other| other.kid == key.kid && !other.same_material(key));
            if let Some(kid) = key.kid.as_ref().filter(|_| clash) {
                return Err(JwtConfigError::RepeatedKid(kid.clone()));
            }
        }
        Ok(())
    }
}

impl fmt::Debug for JwtKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JwtKeys").field("keys", &self.keys).field("skipped", &self.skipped.len()).finish()
    }
}
