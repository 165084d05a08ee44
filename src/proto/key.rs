//! The key ring: the first key signs, the others only verify.
//!
//! Each secret gives two keys: the HMAC-SHA256 key (the secret itself, RFC 2104) and the sealing
//! key (HKDF-SHA256, RFC 5869). Both are derived once, when the ring is built. A ring refuses a
//! repeated key id and one secret under two ids, because then dropping a key would not end its
//! tokens.

use std::fmt;

use hkdf::Hkdf;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};
use subtle::{Choice, ConstantTimeEq as _};
use thiserror::Error;
use zeroize::Zeroizing;

use super::base64url;

/// The keys of a deployment, in order: the first signs, all verify.
pub struct KeyRing {
    current: SigningKey,
    retired: Vec<SigningKey>,
}

impl KeyRing {
    /// A ring of these secrets, each of [`SECRET_BYTES`]. The first one signs.
    ///
    /// # Errors
    /// [`KeyError`] without secrets, and for a secret of another length, a repeated id, or one
    /// secret under two ids.
    pub fn new(secrets: impl IntoIterator<Item = (KeyId, Zeroizing<Vec<u8>>)>) -> Result<Self, KeyError> {
        let mut keys: Vec<SigningKey> = Vec::new();
        for (id, secret) in secrets {
            let key = SigningKey::new(id, &secret)?;
            if let Some(other) = keys.iter().find(|other| other.id == key.id) {
                return Err(KeyError::RepeatedId(other.id.clone()));
            }
            if let Some(other) = keys.iter().find(|other| bool::from(other.block.ct_eq(&*key.block))) {
                return Err(KeyError::RepeatedSecret(other.id.clone(), key.id));
            }
            keys.push(key);
        }
        let mut keys = keys.into_iter();
        Ok(Self { current: keys.next().ok_or(KeyError::Empty)?, retired: keys.collect() })
    }

    /// Reads `kid:secret` entries. The secret is base64url without padding.
    ///
    /// Entries are separated by commas or line ends. Blank lines and lines that start with `#` are
    /// skipped.
    ///
    /// # Errors
    /// As [`Self::new`], and [`KeyError::Entry`] with the number of an entry that does not parse.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let entries = text
            .lines()
            .map(str::trim)
            .filter(|line| !line.starts_with('#'))
            .flat_map(|line| line.split(','))
            .map(str::trim)
            .filter(|entry| !entry.is_empty());
        let secrets = entries.enumerate().map(|(at, entry)| {
            let number = at.saturating_add(1);
            let (id, secret) = entry.split_once(':').ok_or(KeyError::Entry(number))?;
            let secret = Self::secret_of(secret).ok_or(KeyError::Entry(number))?;
            Ok((KeyId::new(id)?, secret))
        });
        Self::new(secrets.collect::<Result<Vec<_>, KeyError>>()?)
    }

    /// The secret in the text of an entry.
    pub(crate) fn secret_of(text: &str) -> Option<Zeroizing<Vec<u8>>> {
        base64url::decode(text.as_bytes()).ok().map(Zeroizing::new)
    }

    /// The key that signs.
    pub(crate) fn current(&self) -> &SigningKey {
        &self.current
    }

    /// The ids of all keys, the current one first.
    pub fn ids(&self) -> impl Iterator<Item = &KeyId> {
        self.keys().map(|key| &key.id)
    }

    /// True if `secret` is the same HMAC key as one of the ring. HMAC ignores zero bytes at the end
    /// of a secret, and so does this.
    #[must_use]
    pub fn holds(&self, secret: &[u8]) -> bool {
        let block = hmac_block(secret);
        // No early exit, so that the time does not reveal which key matches.
        bool::from(self.keys().fold(Choice::from(0), |found, key| found | key.block.ct_eq(&*block)))
    }

    /// Applies `of` to the text of each secret as an entry has it. The texts stay inside.
    pub(crate) fn texts<T>(&self, of: impl Fn(&str) -> T) -> impl Iterator<Item = T> {
        self.keys().map(move |key| of(&key.text))
    }

    /// All keys, the current one first.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &SigningKey> {
        std::iter::once(&self.current).chain(&self.retired)
    }
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyRing")
            .field("current", &self.current.id)
            .field("retired", &self.retired.len())
            .finish_non_exhaustive()
    }
}

/// One secret and the keys derived from it.
pub(crate) struct SigningKey {
    id: KeyId,
    mac: Hmac<Sha256>,
    seal: Zeroizing<[u8; 32]>,
    block: Zeroizing<[u8; HMAC_BLOCK_BYTES]>,
    /// The secret as an entry of a key file has it.
    text: Zeroizing<String>,
}

impl SigningKey {
    fn new(id: KeyId, secret: &[u8]) -> Result<Self, KeyError> {
        if !SECRET_BYTES.contains(&secret.len()) {
            return Err(KeyError::SecretLength { id, bytes: secret.len() });
        }
        let mut seal = Zeroizing::new([0; 32]);
        // Neither call fails: HKDF gives up to 255 blocks, and HMAC accepts keys of any length.
        let derived = derive(b"", secret, b"holdall1 seal", &mut *seal);
        let (Ok(mac), Some(())) = (Hmac::new_from_slice(secret), derived) else {
            return Err(KeyError::SecretLength { id, bytes: secret.len() });
        };
        let text = Zeroizing::new(base64url::encode(secret));
        Ok(Self { mac, seal, text, block: hmac_block(secret), id })
    }

    /// The key's id in token headers.
    pub(crate) fn id(&self) -> &KeyId {
        &self.id
    }

    /// The tag over `message`.
    pub(crate) fn tag(&self, message: &[u8]) -> [u8; TAG_BYTES] {
        self.mac.clone().chain_update(message).finalize().into_bytes().into()
    }

    /// Compares `tag` with the tag over `message` in constant time. A tag of another length is
    /// wrong.
    pub(crate) fn verify(&self, message: &[u8], tag: &[u8]) -> bool {
        self.mac.clone().chain_update(message).verify_slice(tag).is_ok()
    }

    /// The sealing key: HKDF-SHA256(IKM = secret, empty salt, info "holdall1 seal").
    pub(crate) fn seal(&self) -> &[u8; 32] {
        &self.seal
    }
}

/// The id of a key: 1 to 32 characters of `[A-Za-z0-9_-]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyId(String);

impl KeyId {
    /// Checks an id.
    ///
    /// # Errors
    /// [`KeyError::Id`] for any other text.
    pub fn new(id: &str) -> Result<Self, KeyError> {
        let fits = (1..=32).contains(&id.len())
            && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-');
        if fits { Ok(Self(id.to_owned())) } else { Err(KeyError::Id) }
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The reason why secrets do not make a key ring. Never shows a secret.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The ring is empty.
    #[error("there is no key")]
    Empty,
    /// The entry with this number, counted from 1, is not `kid:secret` with a base64url secret.
    #[error("key {0} is not `kid:secret` with the secret in base64url")]
    Entry(usize),
    /// A key id is not 1 to 32 characters of `[A-Za-z0-9_-]`.
    #[error("a key id must have 1 to 32 characters of A-Z a-z 0-9 _ -")]
    Id,
    /// Two entries have this id.
    #[error("two keys have the id {0}")]
    RepeatedId(KeyId),
    /// The keys with these two ids have the same secret.
    #[error("keys {0} and {1} have the same secret")]
    RepeatedSecret(KeyId, KeyId),
    /// The length of a secret is not in [`SECRET_BYTES`].
    #[error(
        "the secret of key {id} has {bytes} bytes; it must have {} to {}",
        SECRET_BYTES.start(),
        SECRET_BYTES.end()
    )]
    SecretLength {
        /// The key's id.
        id: KeyId,
        /// The length of the secret.
        bytes: usize,
    },
}

/// The allowed lengths of a secret: at least the output of the hash (RFC 7518 §3.2), at most its
/// block, because HMAC replaces a longer secret by its hash (RFC 2104 §2).
pub const SECRET_BYTES: std::ops::RangeInclusive<usize> = 32..=64;

/// The size of a tag: HMAC-SHA256, not truncated.
pub(crate) const TAG_BYTES: usize = 32;

/// The input block of SHA-256.
const HMAC_BLOCK_BYTES: usize = 64;

/// HMAC-SHA256 under a secret that is not of a ring, over a message in pieces.
pub(crate) struct KeyedHasher(Hmac<Sha256>);

impl KeyedHasher {
    /// A hasher of an empty message.
    pub(crate) fn new(secret: &[u8; TAG_BYTES]) -> Self {
        Self(Hmac::new(&(*hmac_block(secret)).into()))
    }

    /// Appends `piece` to the message.
    pub(crate) fn update(&mut self, piece: &[u8]) {
        self.0.update(piece);
    }

    /// The hash of the message.
    pub(crate) fn finish(self) -> [u8; TAG_BYTES] {
        self.0.finalize().into_bytes().into()
    }
}

/// Fills `out` with HKDF-SHA256 (RFC 5869); `None` if it is longer than 255 blocks.
fn derive(salt: &[u8], secret: &[u8], info: &[u8], out: &mut [u8]) -> Option<()> {
    Hkdf::<Sha256>::new(Some(salt), secret).expand(info, out).ok()
}

/// The key as HMAC uses it: hashed if longer than a block, then filled with zeros (RFC 2104 §2).
/// Two secrets with the same block are the same key.
fn hmac_block(secret: &[u8]) -> Zeroizing<[u8; HMAC_BLOCK_BYTES]> {
    let mut block = Zeroizing::new([0; HMAC_BLOCK_BYTES]);
    let hashed: [u8; 32];
    let key = if secret.len() > HMAC_BLOCK_BYTES {
        hashed = Sha256::digest(secret).into();
        &hashed
    } else {
        secret
    };
    block.iter_mut().zip(key).for_each(|(to, from)| *to = *from);
    block
}

#[cfg(test)]
mod tests;
