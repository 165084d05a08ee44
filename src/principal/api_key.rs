//! The API keys of callers (`identity.mode = "api_key"`): the digest of each key, and its user.
//!
//! A presented key is compared with every known key in constant time. So the duration reveals
//! neither whether the key is known nor which one it is. The duration grows with the number of
//! keys, so the number is limited.

use std::{collections::HashMap, error, fmt};

use subtle::ConditionallySelectable as _;

use super::digest::KeyDigest;
use crate::proto::{error::Error, principal::Principal};

/// The most API keys of a deployment.
pub const API_KEYS_MAX: usize = 10_000;

/// The identity provider of users with an API key.
pub const IDP_KEY: &str = "key";

/// The API keys of callers. `Debug` shows only their number.
pub struct ApiKeys(Vec<(KeyDigest, Principal)>);

impl ApiKeys {
    /// API keys by their digests, each with its user. A user may have several keys.
    ///
    /// # Errors
    /// [`ApiKeysError`] for no keys, too many keys, a repeated digest or an invalid user.
    pub fn new(keys: Vec<(KeyDigest, String)>) -> Result<Self, ApiKeysError> {
        if keys.is_empty() {
            return Err(ApiKeysError::None);
        }
        if keys.len() > API_KEYS_MAX {
            return Err(ApiKeysError::TooMany { keys: keys.len() });
        }
        let (mut known, mut seen) = (Vec::with_capacity(keys.len()), HashMap::with_capacity(keys.len()));
        for (number, (digest, user)) in (1..).zip(keys) {
            if let Some(first) = seen.insert(*digest.as_bytes(), number) {
                return Err(ApiKeysError::Repeated { first, second: number });
            }
            let principal = Principal::new(user, IDP_KEY).map_err(|rule| ApiKeysError::User { number, rule })?;
            known.push((digest, principal));
        }
        Ok(Self(known))
    }

    /// Reads a keys file, for [`Self::new`]. Each line has a digest, white space and a user. Blank
    /// lines and lines that start with `#` are skipped.
    ///
    /// # Errors
    /// The number of the first invalid line, counted from 1.
    pub fn read(text: &str) -> Result<Vec<(KeyDigest, String)>, usize> {
        let lines = (1..).zip(text.lines().map(str::trim));
        let entries = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
        entries.map(|(number, line)| entry(line).ok_or(number)).collect()
    }

    /// The digests, to compare them with other keys.
    pub fn digests(&self) -> impl Iterator<Item = &KeyDigest> {
        self.0.iter().map(|(digest, _)| digest)
    }

    /// The user of the key `credential`.
    ///
    /// # Errors
    /// [`Error::Unauthenticated`] for an unknown key.
    pub(super) fn verify(&self, credential: &str) -> Result<Principal, Error> {
        let (presented, mut found) = (KeyDigest::of(credential), 0_u32);
        for (number, (digest, _)) in (1..).zip(&self.0) {
            found.conditional_assign(&number, digest.ct_eq(&presented));
        }
        let at = usize::try_from(found).ok().and_then(|found| found.checked_sub(1));
        let known = at.and_then(|at| self.0.get(at)).map(|(_, principal)| principal.clone());
        known.ok_or_else(|| Error::Unauthenticated { cause: "no API key has this digest".to_owned() })
    }
}

fn entry(line: &str) -> Option<(KeyDigest, String)> {
    let (digest, user) = line.split_once(char::is_whitespace)?;
    Some((KeyDigest::from_hex(digest)?, user.trim_start().to_owned()))
}

impl fmt::Debug for ApiKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ApiKeys({})", self.0.len())
    }
}

/// The reason why a list of API keys is invalid. Keys are counted from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ApiKeysError {
    /// There are no keys, so no caller could be identified.
    None,
    /// A digest is listed twice, so the user of the key would be ambiguous.
    Repeated {
        /// The number of the first key.
        first: usize,
        /// The number of the second key.
        second: usize,
    },
    /// There are more than [`API_KEYS_MAX`].
    TooMany {
        /// The number of keys.
        keys: usize,
    },
    /// A user's name is invalid.
    User {
        /// The number of the key.
        number: usize,
        /// The rule that the name breaks.
        rule: &'static str,
    },
}

impl error::Error for ApiKeysError {}

impl fmt::Display for ApiKeysError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("there are no keys; create one with `holdall keys api --user NAME`"),
            Self::Repeated { first, second } => write!(f, "key {second} repeats key {first}"),
            Self::TooMany { keys } => write!(f, "there are {keys} keys; the limit is {API_KEYS_MAX}"),
            Self::User { number, rule } => write!(f, "key {number}: {rule}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(pairs: &[(&str, &str)]) -> Result<ApiKeys, ApiKeysError> {
        ApiKeys::new(pairs.iter().map(|(key, user)| (KeyDigest::of(key), (*user).to_owned())).collect())
    }

    #[test]
    fn each_key_identifies_its_user() {
        let keys = keys(&[("one", "ada"), ("two", "ada"), ("three", "bob"), ("four", "anon-1")]).unwrap();
        for (key, user) in [("one", "ada"), ("two", "ada"), ("three", "bob"), ("four", "anon-1")] {
            let principal = keys.verify(key).unwrap();
            assert_eq!((principal.subject(), principal.idp(), principal.is_anonymous()), (user, "key", false));
        }
        for key in ["", "on", "one ", "One", "five", &"a".repeat(100_000)] {
            let error = keys.verify(key).unwrap_err();
            assert_eq!(
                (error.code(), error.cause().unwrap().as_str()),
                ("unauthenticated", "no API key has this digest")
            );
        }
        // A digest is not a key.
        let digest = "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed";
        assert!(KeyDigest::from_hex(digest).is_some() && keys.verify(digest).is_err());
        assert_eq!(format!("{keys:?}"), "ApiKeys(4)");
    }

    #[test]
    fn a_repeated_digest_is_refused() {
        assert_eq!(keys(&[]).unwrap_err(), ApiKeysError::None);
        let twice = ApiKeysError::Repeated { first: 1, second: 3 };
        assert_eq!(keys(&[("one", "ada"), ("two", "bob"), ("one", "bob")]).unwrap_err(), twice);
        assert_eq!(keys(&[("one", "ada"), ("two", "bob"), ("one", "ada")]).unwrap_err(), twice);
        let nameless = ApiKeysError::User { number: 2, rule: "subject is empty" };
        assert_eq!(keys(&[("one", "ada"), ("two", "")]).unwrap_err(), nameless);
    }

    #[test]
    fn the_number_of_keys_is_limited() {
        let many = |count: usize| {
            let key = |number: usize| (KeyDigest::of(&number.to_string()), "ada".to_owned());
            ApiKeys::new((0..count).map(key).collect())
        };
        let keys = many(API_KEYS_MAX).unwrap();
        assert!(keys.verify("0").is_ok() && keys.verify("9999").is_ok() && keys.verify("10000").is_err());
        assert_eq!(many(API_KEYS_MAX + 1).unwrap_err(), ApiKeysError::TooMany { keys: API_KEYS_MAX + 1 });
    }

    #[test]
    fn a_keys_file_has_a_digest_and_a_user_on_each_line() {
        let digest = "BA7816BF8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let text = format!("# our keys\n\n {digest}  ada lovelace \r\n{digest}\tbob\n  # {digest} eve\n");
        let entries = ApiKeys::read(&text).unwrap();
        let users: Vec<_> = entries.iter().map(|(_, user)| user.as_str()).collect();
        assert_eq!(users, ["ada lovelace", "bob"]);
        assert!(entries.iter().all(|(found, _)| bool::from(found.ct_eq(&KeyDigest::of("abc")))));
        for broken in ["ada", digest, &digest[1..], "hk_abc ada", &format!("{digest}:ada"), &format!("ada {digest}")] {
            assert_eq!(ApiKeys::read(&format!("# one\n{broken}\n")).unwrap_err(), 2, "{broken}");
        }
    }
}
