//! Numbers for those who are counted, under a key that nobody outside knows: who could choose names that meet in one number
//! could have others counted for him. The standard library's hasher has such a key as well, but not on every platform.

use std::{
    fmt,
    hash::{Hash, Hasher},
};

use sha2::{Digest as _, Sha256};

/// The key: fresh random bytes for each process or isolate.
#[derive(Clone)]
pub struct Seed(Sha256);

impl Seed {
    /// The key of these bytes.
    #[must_use]
    pub fn new(random: [u8; 32]) -> Self {
        Self(Sha256::new().chain_update(random))
    }

    /// Two numbers for what is counted, always the same ones.
    #[must_use]
    pub fn numbers(&self, counted: &impl Hash) -> [u64; 2] {
        let mut hasher = Feed(self.0.clone());
        counted.hash(&mut hasher);
        let digest: [u8; 32] = hasher.0.finalize().into();
        match digest.as_chunks().0 {
            [first, second, ..] => [*first, *second].map(u64::from_le_bytes),
            _ => [0; 2],
        }
    }
}

impl fmt::Debug for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Seed").finish_non_exhaustive()
    }
}

/// Takes what a value says of itself.
struct Feed(Sha256);

impl Hasher for Feed {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// Asked for by nobody here.
    fn finish(&self) -> u64 {
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{guard::LimitSubject, proto::principal::Principal};

    #[test]
    fn numbers_hang_on_the_key_and_on_all_that_is_counted() {
        let user = |name: &str, idp: &str| LimitSubject::User(Principal::new(name, idp).unwrap());
        let (seed, other) = (Seed::new([1; 32]), Seed::new([2; 32]));
        let ada = seed.numbers(&user("ada", "key"));
        assert_eq!(ada, seed.clone().numbers(&user("ada", "key")));
        assert_ne!(ada[0], ada[1]);
        for another in [
            other.numbers(&user("ada", "key")),
            seed.numbers(&user("bob", "key")),
            seed.numbers(&user("ad", "akey")),
            seed.numbers(&LimitSubject::Peer([127, 0, 0, 1].into())),
        ] {
            assert!(another[0] != ada[0] && another[1] != ada[1]);
        }
    }
}
