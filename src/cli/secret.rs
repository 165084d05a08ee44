//! Secrets from the operating system's random generator: token keys, and the keys of callers and
//! operators.

use zeroize::Zeroizing;

use super::error::CliError;
use crate::{
    config::ConfigError,
    principal::KeyDigest,
    proto::{base64url, key::KeyRing},
    service::EntropySource as _,
    shell::SystemEntropy,
};

/// The prefix of caller and operator keys. People and scanners for leaked secrets recognize it.
const CALLER_KEY_PREFIX: &str = "hk_";

/// Bytes of a new secret.
const SECRET_BYTES: usize = 32;

/// A new key of a caller or an operator. A server knows only its digest.
pub(super) struct CallerKey {
    /// `hk_` and 32 random bytes in base64url.
    pub(super) text: Zeroizing<String>,
    /// The SHA-256 digest of `text`. It is safe to show, because the key is long and random.
    pub(super) digest: KeyDigest,
}

impl CallerKey {
    /// Generates a key.
    ///
    /// # Errors
    /// [`CliError`] if the operating system gives no random bytes.
    pub(super) fn generate() -> Result<Self, CliError> {
        let text = Zeroizing::new(format!("{CALLER_KEY_PREFIX}{}", *random_base64url()?));
        let digest = KeyDigest::of(&text);
        Ok(Self { text, digest })
    }
}

/// A new token key as a line of a keys file: `kid:secret` and a line end. The secret is 32 random
/// bytes in base64url.
///
/// # Errors
/// [`CliError`] if the operating system gives no random bytes.
pub(super) fn token_key_line(kid: &str) -> Result<Zeroizing<String>, CliError> {
    Ok(Zeroizing::new(format!("{kid}:{}\n", *random_base64url()?)))
}

/// Parses the text of a keys file.
///
/// # Errors
/// [`CliError`] if the text is not a valid key ring.
pub(super) fn parse_key_ring(text: &str) -> Result<KeyRing, CliError> {
    KeyRing::parse(text).map_err(|error| ConfigError::Keys(error).into())
}

/// Fills `bytes` from the operating system's random generator.
///
/// # Errors
/// [`CliError`] if the operating system gives no random bytes.
pub(super) fn fill_random(bytes: &mut [u8]) -> Result<(), CliError> {
    let filled = SystemEntropy.fill(bytes);
    filled.map_err(|error| CliError::new(error.cause().unwrap_or_else(|| error.to_string())))
}

fn random_base64url() -> Result<Zeroizing<String>, CliError> {
    let mut bytes = Zeroizing::new([0; SECRET_BYTES]);
    fill_random(&mut *bytes)?;
    Ok(Zeroizing::new(base64url::encode(&*bytes)))
}
