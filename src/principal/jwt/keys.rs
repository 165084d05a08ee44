//! The keys of one issuer, and which of them may have made a credential.
//!
//! A set is refused whole where its keys contradict each other: one `kid` for two keys, or secrets beside public keys.
//! A key that cannot be used is passed over, with its reason, so that an issuer may publish kinds not known here.

use std::fmt;

use super::{
    error::{JwtConfigError, SkippedKey},
    fault::JwtFault,
    jwk,
    jws::{self, Header, UnverifiedJws},
    key::VerifyingKey,
    pem,
};

/// How many keys are tried for a credential that names none: the bound on the work for one refusal.
const MAX_TRIES: usize = 16;

/// Where a key set came from; it decides whether secrets in it can be secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A file of the operator's: secrets (`kty` `oct`) of 32 bytes and more are taken.
    File,
    /// Fetched over the network: secrets are passed over.
    Remote,
}

/// The keys of one issuer, every one usable. `Debug` shows their number and names, never the material.
pub struct JwtKeys {
    keys: Vec<VerifyingKey>,
    skipped: Vec<SkippedKey>,
}

impl JwtKeys {
    /// The usable keys of `json`, a JWK set (RFC 7517 §5); the others are told by [`Self::skipped`].
    ///
    /// # Errors
    /// A document that is no key set, has no usable key, has one `kid` for two different keys, or mixes secrets with
    /// public keys.
    pub fn from_jwks(json: &str, origin: Origin) -> Result<Self, JwtConfigError> {
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

    /// One public key: RSA, P-256, P-384 or Ed25519, as PEM `PUBLIC KEY` (RFC 7468 §13) or `RSA PUBLIC KEY`.
    ///
    /// # Errors
    /// [`JwtConfigError::Key`] for any other text and for a weak or private key.
    pub fn from_pem(pem: &str) -> Result<Self, JwtConfigError> {
        pem::read(pem).map(Self::one).map_err(JwtConfigError::Key)
    }

    /// One HMAC secret, at least 32 random bytes, taken as they are: a line end at the end of a file is part of it.
    ///
    /// # Errors
    /// [`JwtConfigError::Key`] for a shorter one, [`JwtConfigError::SecretIsDocument`] for the text of a public key.
    pub fn from_secret(secret: &[u8]) -> Result<Self, JwtConfigError> {
        let text = secret.trim_ascii_start();
        if text.starts_with(b"-----BEGIN") || text.starts_with(b"{") {
            return Err(JwtConfigError::SecretIsDocument);
        }
        VerifyingKey::secret(secret).map(Self::one).map_err(JwtConfigError::Key)
    }

    /// The keys of the set that are left out, each with its reason; for the operator's log.
    #[must_use]
    pub fn skipped(&self) -> &[SkippedKey] {
        &self.skipped
    }

    /// The payload of a credential, if a key of ours signed it: bytes of any kind, believed from here on.
    pub(super) fn verify_signature(&self, jws: &UnverifiedJws<'_>) -> Result<Vec<u8>, JwtFault> {
        let mut candidates = self.candidates(&jws.header).peekable();
        candidates.peek().ok_or(JwtFault::NoKey)?;
        if !candidates.any(|key| key.verifies(jws.signature, jws.signed, jws.header.algorithm)) {
            return Err(JwtFault::Signature);
        }
        jws::decode(jws.payload).ok_or(JwtFault::Encoding { part: "payload" })
    }

    /// The keys that may have made a credential with this header: those called as it says, or else those without a
    /// name; never one with another name, nor one of another algorithm.
    fn candidates<'a>(&'a self, header: &'a Header) -> impl Iterator<Item = &'a VerifyingKey> {
        let named = self.knows(header);
        self.keys
            .iter()
            .filter(move |key| if named { key.kid == header.kid } else { header.kid.is_none() || key.kid.is_none() })
            .filter(|key| key.algorithms.contains(&header.algorithm))
            .take(MAX_TRIES)
    }

    /// Whether the header names a key that is there.
    pub(super) fn knows(&self, header: &Header) -> bool {
        header.kid.is_some() && self.keys.iter().any(|key| key.kid == header.kid)
    }

    /// Whether the other set has keys of the same names, and nothing else to say.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        self.keys.iter().map(|key| &key.kid).eq(other.keys.iter().map(|key| &key.kid)) && self.skipped == other.skipped
    }

    /// How many keys there are.
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
