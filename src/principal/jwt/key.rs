//! One key that verifies credentials. It is checked when it is read, and bound to its algorithms.
//!
//! The algorithms follow from the key (RFC 8725 §3.1), never from the credential:
//!
//! - An RSA key verifies RS* and PS*.
//! - A key on a curve verifies the ES* of the curve, or EdDSA.
//! - A secret verifies each HS* whose tag is at most as long as the secret.
//! - An `alg` on the key selects one of these.
//!
//! So a public key can never be used as an HMAC secret. Weak keys are refused.

use std::{fmt, ops::RangeInclusive};

use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey, DecodingKeyKind, crypto};
use subtle::ConstantTimeEq;

use super::{error::KeyFault, jws::algorithm};

/// The shortest secret: the size of the shortest tag (RFC 7518 §3.2).
const MIN_SECRET_BYTES: usize = 32;

/// From the minimum of RFC 7518 §3.3 to the maximum of the `rsa` crate.
const RSA_BITS: RangeInclusive<usize> = 2048..=4096;

/// From the minimum of FIPS 186-5 §A.1.1 to the maximum of the `rsa` crate.
const RSA_EXPONENTS: RangeInclusive<u64> = 65_537..=(1 << 33) - 1;

/// A checked key with its algorithms.
pub(super) struct VerifyingKey {
    pub(super) kid: Option<String>,
    pub(super) algorithms: Vec<Algorithm>,
    material: DecodingKey,
}

impl VerifyingKey {
    /// An RSA key from its big-endian modulus and exponent.
    pub(super) fn rsa(modulus: &[u8], exponent: &[u8]) -> Result<Self, KeyFault> {
        let (modulus, exponent) = (without_leading_zeros(modulus), without_leading_zeros(exponent));
        let bits = bit_length(modulus);
        if !RSA_BITS.contains(&bits) || modulus.last().is_none_or(|byte| byte % 2 == 0) {
            return Err(KeyFault::Modulus { bits });
        }
        let value = exponent.iter().try_fold(0_u64, |value, &byte| Some(value.checked_mul(256)? | u64::from(byte)));
        if !value.is_some_and(|value| RSA_EXPONENTS.contains(&value) && value % 2 == 1) {
            return Err(KeyFault::Exponent);
        }
        Self::checked(DecodingKey::from_rsa_raw_components(modulus, exponent), AlgorithmFamily::Rsa.algorithms())
    }

    /// A P-256 key, for ES256, from its uncompressed point (SEC 1 §2.3.3).
    pub(super) fn p256(point: &[u8]) -> Result<Self, KeyFault> {
        Self::elliptic(point, 32, Algorithm::ES256)
    }

    /// A P-384 key, for ES384, from its uncompressed point.
    pub(super) fn p384(point: &[u8]) -> Result<Self, KeyFault> {
        Self::elliptic(point, 48, Algorithm::ES384)
    }

    /// An Ed25519 key (RFC 8032 §5.1.5).
    pub(super) fn ed25519(key: &[u8]) -> Result<Self, KeyFault> {
        // The crate slices the key without a check of its length.
        if key.len() != 32 {
            return Err(KeyFault::Point);
        }
        Self::checked(DecodingKey::from_ed_der(key), &[Algorithm::EdDSA])
    }

    /// A secret, for each HS* whose tag is at most as long as the secret (RFC 7518 §3.2).
    pub(super) fn secret(secret: &[u8]) -> Result<Self, KeyFault> {
        if secret.len() < MIN_SECRET_BYTES {
            return Err(KeyFault::SecretTooShort { bytes: secret.len() });
        }
        let tags = [(32, Algorithm::HS256), (48, Algorithm::HS384), (64, Algorithm::HS512)];
        let fitting: Vec<_> = tags.iter().filter(|(bytes, _)| secret.len() >= *bytes).map(|&(_, name)| name).collect();
        Self::checked(DecodingKey::from_secret(secret), &fitting)
    }

    fn elliptic(point: &[u8], coordinate_bytes: usize, algorithm: Algorithm) -> Result<Self, KeyFault> {
        // Only the uncompressed form, as in a JWK, so that equal keys have equal bytes.
        if point.first() != Some(&4) || point.len() != 1 + 2 * coordinate_bytes {
            return Err(KeyFault::Point);
        }
        Self::checked(DecodingKey::from_ec_der(point), &[algorithm])
    }

    /// A key whose point is on its curve. The crate reads a key only to verify a signature, so this
    /// verifies one.
    fn checked(material: DecodingKey, algorithms: &[Algorithm]) -> Result<Self, KeyFault> {
        for &algorithm in algorithms {
            crypto::verify("", b"", &material, algorithm).map_err(|_| KeyFault::Point)?;
        }
        Ok(Self { kid: None, algorithms: algorithms.to_vec(), material })
    }

    /// The same key with a name, and with only the algorithm called `alg` if there is one.
    pub(super) fn with_name(mut self, kid: Option<String>, alg: Option<String>) -> Result<Self, KeyFault> {
        if let Some(found) = alg {
            self.algorithms.retain(|&known| algorithm(&found) == Some(known));
            if self.algorithms.is_empty() {
                return Err(KeyFault::Algorithm { found });
            }
        }
        self.kid = kid;
        Ok(self)
    }

    /// Verifies `signature`, which is base64url, over `signed`. Tags are compared in constant time.
    pub(super) fn verifies(&self, signature: &str, signed: &str, algorithm: Algorithm) -> bool {
        // The crate's base64 is as strict as ours. An error means that the signature is not
        // base64url.
        crypto::verify(signature, signed.as_bytes(), &self.material, algorithm).unwrap_or(false)
    }

    /// The raw secret, if the key is a secret.
    pub(super) fn as_secret(&self) -> Option<&[u8]> {
        let secret = self.material.family() == AlgorithmFamily::Hmac;
        self.material.try_get_as_bytes().ok().filter(|_| secret)
    }

    /// Returns true if both are the same key, even if their names and algorithms differ.
    pub(super) fn same_material(&self, other: &Self) -> bool {
        use DecodingKeyKind::{RsaModulusExponent, SecretOrDer};
        match (self.material.kind(), other.material.kind()) {
            (SecretOrDer(mine), SecretOrDer(theirs)) => mine.ct_eq(theirs).into(),
            (RsaModulusExponent { n, e }, RsaModulusExponent { n: their_n, e: their_e }) => {
                n == their_n && e == their_e
            }
            _ => false,
        }
    }
}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifyingKey")
            .field("kid", &self.kid)
            .field("algorithms", &self.algorithms)
            .finish_non_exhaustive()
    }
}

fn without_leading_zeros(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|&&byte| byte == 0).count();
    number.get(zeros..).unwrap_or_default()
}

fn bit_length(number: &[u8]) -> usize {
    number.first().map_or(0, |first| number.len() * 8 - first.leading_zeros() as usize)
}
