//! A keyed hash of subjects, under a secret key.
//!
//! The key must be secret. With the key, an attacker could choose names whose hashes collide, and
//! other callers would be charged for the attacker's turns. The hasher of the standard library has
//! a random key as well, but not on every platform.

use std::{
    fmt,
    hash::{Hash, Hasher},
};

use sha2::{Digest as _, Sha256};

/// SHA-256 with a secret prefix. `Debug` does not show the key.
#[derive(Clone)]
pub struct KeyedHash(Sha256);

impl KeyedHash {
    /// A hash under `key`: 32 fresh random bytes for each process or isolate.
    #[must_use]
    pub fn new(key: [u8; 32]) -> Self {
        Self(Sha256::new().chain_update(key))
    }

    /// The first 128 bits of the hash of `value`, as two numbers. Equal values have equal hashes.
    #[must_use]
    pub fn hash(&self, value: &impl Hash) -> [u64; 2] {
        let mut hasher = Sha256Hasher(self.0.clone());
        value.hash(&mut hasher);
        let digest: [u8; 32] = hasher.0.finalize().into();
        match digest.as_chunks().0 {
            [first, second, ..] => [*first, *second].map(u64::from_le_bytes),
            _ => [0; 2],
        }
    }
}

impl fmt::Debug for KeyedHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyedHash").finish_non_exhaustive()
    }
}

/// Collects the bytes that a value writes into its hasher.
struct Sha256Hasher(Sha256);

impl Hasher for Sha256Hasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// Not used here: the digest is read from the field.
    fn finish(&self) -> u64 {
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{guard::subject::LimitSubject, proto::principal::Principal};

    #[test]
    fn a_hash_depends_on_the_key_and_on_the_whole_value() {
        let user = |name: &str, idp: &str| LimitSubject::User(Principal::new(name, idp).unwrap());
        let (hash, other) = (KeyedHash::new([1; 32]), KeyedHash::new([2; 32]));
        let ada = hash.hash(&user("ada", "key"));
        assert_eq!(ada, hash.clone().hash(&user("ada", "key")));
        assert_ne!(ada[0], ada[1]);
        for another in [
            other.hash(&user("ada", "key")),
            hash.hash(&user("bob", "key")),
            hash.hash(&user("ad", "akey")),
            hash.hash(&LimitSubject::Peer([127, 0, 0, 1].into())),
        ] {
            assert!(another[0] != ada[0] && another[1] != ada[1]);
        }
    }
}
