//! SHA-256 digests of keys, compared in constant time. Only callers hold the keys themselves.
//!
//! A key is long and random, so a plain digest is enough: an attacker cannot guess the key, and key
//! stretching adds nothing. A digest from the configuration does not give access.

use std::fmt;

use http::HeaderMap;
use sha2::{Digest as _, Sha256};
use subtle::{Choice, ConstantTimeEq as _};

use super::credential;
use crate::proto::error::Error;

/// The SHA-256 digest of a key.
#[derive(Clone, Copy)]
pub struct KeyDigest([u8; 32]);

impl KeyDigest {
    /// The digest of `key`.
    #[must_use]
    pub fn of(key: &str) -> Self {
        Self::of_bytes(key.as_bytes())
    }

    /// The digest of a key that need not be text.
    #[must_use]
    pub fn of_bytes(key: &[u8]) -> Self {
        Self(Sha256::digest(key).into())
    }

    /// Reads 64 hexadecimal digits in either case, as `sha256sum` prints them; `None` for any other
    /// text.
    #[must_use]
    pub fn from_hex(text: &str) -> Option<Self> {
        let mut digest = [0; 32];
        if text.len() != 64 || !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return None;
        }
        for (at, byte) in digest.iter_mut().enumerate() {
            *byte = u8::from_str_radix(text.get(2 * at..2 * at + 2)?, 16).ok()?;
        }
        Some(Self(digest))
    }

    /// The digest as 64 lower-case hexadecimal digits.
    #[must_use]
    pub fn to_hex(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The bytes, to find duplicates in a configuration. Compare a caller's key with
    /// [`Self::ct_eq`] instead.
    pub(super) fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Compares two digests in constant time.
    #[must_use]
    pub fn ct_eq(&self, other: &Self) -> Choice {
        // By words, because one request may be compared with thousands of keys.
        let (mine, theirs) = (self.words(), other.words());
        let differences = mine.iter().zip(&theirs).fold(0, |found, (mine, theirs)| found | (mine ^ theirs));
        differences.ct_eq(&0)
    }

    fn words(&self) -> [u64; 4] {
        let mut words = [0; 4];
        for (word, bytes) in words.iter_mut().zip(self.0.as_chunks().0) {
            *word = u64::from_ne_bytes(*bytes);
        }
        words
    }
}

impl fmt::Debug for KeyDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyDigest(…)")
    }
}

/// The keys of operators. An operator is not a user.
#[derive(Clone, Debug, Default)]
pub struct OperatorKeys(Vec<KeyDigest>);

impl OperatorKeys {
    /// The operator keys with these digests.
    #[must_use]
    pub fn new(digests: Vec<KeyDigest>) -> Self {
        Self(digests)
    }

    /// Returns true if `key` is an operator key, in a time that does not depend on which one.
    #[must_use]
    pub fn contains(&self, key: &KeyDigest) -> bool {
        bool::from(self.0.iter().fold(Choice::from(0), |found, own| found | own.ct_eq(key)))
    }

    /// Returns true if the credential in `headers` (`Authorization: Bearer` or `x-api-key`) is an
    /// operator key.
    ///
    /// # Errors
    /// [`Error::RequestInvalid`] for two credentials.
    pub fn is_operator(&self, headers: &HeaderMap) -> Result<bool, Error> {
        match credential::only(headers) {
            Ok(key) => Ok(self.contains(&KeyDigest::of(key))),
            Err(Error::Unauthenticated { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Returns true if there are no operator keys.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The digest of `abc` (FIPS 180-4, the standard's own example).
    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn a_digest_is_64_hexadecimal_digits() {
        let digest = KeyDigest::from_hex(ABC).unwrap();
        assert!(bool::from(digest.ct_eq(&KeyDigest::of("abc"))));
        assert_eq!(KeyDigest::of("abc").to_hex(), ABC);
        assert!(bool::from(KeyDigest::from_hex(&ABC.to_uppercase()).unwrap().ct_eq(&digest)));
        // Every digit is compared.
        for at in 0..64 {
            let changed = format!("{}{}{}", &ABC[..at], if &ABC[at..=at] == "0" { "1" } else { "0" }, &ABC[at + 1..]);
            assert!(!bool::from(KeyDigest::from_hex(&changed).unwrap().ct_eq(&digest)), "{at}");
        }
        for text in ["", &ABC[1..], &format!("{ABC}0"), &ABC.replace('b', "+"), &ABC.replace("ba", "é")] {
            assert!(KeyDigest::from_hex(text).is_none(), "{text}");
        }
    }

    #[test]
    fn only_a_key_of_the_set_is_contained() {
        let keys = OperatorKeys::new(vec![KeyDigest::of("one"), KeyDigest::of("two")]);
        assert!(keys.contains(&KeyDigest::of("one")) && keys.contains(&KeyDigest::of("two")));
        assert!(!keys.contains(&KeyDigest::of("three")) && !OperatorKeys::default().contains(&KeyDigest::of("")));
    }

    #[test]
    fn an_operator_sends_one_credential() {
        let keys = OperatorKeys::new(vec![KeyDigest::of("one"), KeyDigest::of("two")]);
        let is_operator = |pairs: &[(&'static str, &'static str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in pairs {
                headers.append(*name, http::HeaderValue::from_static(value));
            }
            keys.is_operator(&headers)
        };
        for pairs in [[("authorization", "Bearer one")], [("authorization", "bearer two")], [("x-api-key", "one")]] {
            assert_eq!(is_operator(&pairs), Ok(true));
        }
        for pairs in [&[][..], &[("authorization", "Basic one")], &[("x-api-key", "on")], &[("x-api-key", "one two")]] {
            assert_eq!(is_operator(pairs), Ok(false), "{pairs:?}");
        }
        for pairs in [
            [("authorization", "Bearer one"), ("x-api-key", "one")],
            [("x-api-key", "three"), ("x-api-key", "one")],
            [("authorization", "Bearer one"), ("authorization", "Basic x")],
        ] {
            assert_eq!(is_operator(&pairs).unwrap_err().code(), "request_invalid");
        }
    }
}
