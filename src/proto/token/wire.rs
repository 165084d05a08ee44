//! The JWS envelope (RFC 7515 §3.1, compact): splits and joins the text of a token. It verifies
//! nothing.
//!
//! ```text
//! b64u(header) "." b64u(payload) "." b64u(tag)
//! └────────── signed ──────────┘
//! ```

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

use super::{Kind, TokenFault};
use crate::proto::base64url::base64url;
use crate::proto::key::{KeyId, KeyRing, SigningKey, TAG_BYTES};

/// The segments of a token's text, unverified.
#[derive(Clone, Copy, Debug)]
pub(super) struct RawParts<'a> {
    pub(super) header: &'a str,
    pub(super) payload: &'a str,
    pub(super) tag: &'a str,
    /// The signed text: header, dot, payload, as received.
    pub(super) signed: &'a str,
}

/// Splits token text at its two dots.
///
/// # Errors
/// [`TokenFault::Charset`] for a byte outside `[A-Za-z0-9._-]`. [`TokenFault::Layout`] for any
/// other number of dots.
pub(super) fn split(text: &str) -> Result<RawParts<'_>, TokenFault> {
    // Without an early exit, so that it compiles to SIMD instructions: a token can have 3 MiB.
    let foreign = text.bytes().fold(false, |foreign, byte| {
        let known = byte.is_ascii_alphanumeric() | (byte == b'-') | (byte == b'.') | (byte == b'_');
        foreign | !known
    });
    if foreign {
        return Err(TokenFault::Charset);
    }
    let (signed, tag) = text.rsplit_once('.').ok_or(TokenFault::Layout)?;
    let (header, payload) = signed.split_once('.').ok_or(TokenFault::Layout)?;
    if payload.bytes().fold(false, |dot, byte| dot | (byte == b'.')) {
        return Err(TokenFault::Layout);
    }
    Ok(RawParts { header, payload, tag, signed })
}

/// Joins and signs, in one buffer of the exact size.
pub(super) fn join(key: &SigningKey, kind: Kind, payload: &[u8]) -> String {
    let mut text = String::with_capacity(token_bytes(key, kind, payload.len()));
    text.push_str(&header(key.id(), kind));
    text.push('.');
    base64url().encode_string(payload, &mut text);
    let tag = key.tag(text.as_bytes());
    text.push('.');
    URL_SAFE_NO_PAD.encode_string(tag, &mut text);
    text
}

/// The bytes of the token text for a payload of `payload_bytes`.
pub(super) fn token_bytes(key: &SigningKey, kind: Kind, payload_bytes: usize) -> usize {
    envelope_bytes(key, kind).saturating_add(encoded_bytes(payload_bytes))
}

/// The longest payload whose token text is at most `token_bytes`.
pub(super) fn payload_bytes(key: &SigningKey, kind: Kind, token_bytes: usize) -> usize {
    let segment = token_bytes.saturating_sub(envelope_bytes(key, kind));
    // 4 characters carry 3 bytes. A rest of 2 or 3 characters carries 1 or 2; a rest of 1, none.
    let (whole, rest) = (segment / 4, segment % 4);
    whole.saturating_mul(3).saturating_add(rest.saturating_sub(1))
}

/// The header segment for a key and a kind: exactly these bytes, without spaces or escapes.
pub(super) fn header(id: &KeyId, kind: Kind) -> String {
    URL_SAFE_NO_PAD.encode(format!(r#"{{"alg":"HS256","kid":"{id}","typ":"{}"}}"#, kind.typ()))
}

/// The key and the kind of this header segment, if it equals one of [`header`] byte for byte.
pub(super) fn find_key<'r>(keys: &'r KeyRing, text: &str) -> Option<(&'r SigningKey, Kind)> {
    let pairs = keys.keys().flat_map(|key| Kind::ALL.map(|kind| (key, kind)));
    // The length first: it is cheap, and rules out most pairs.
    pairs
        .filter(|(key, kind)| header_bytes(key.id(), *kind) == text.len())
        .find(|(key, kind)| header(key.id(), *kind) == text)
}

/// The bytes of a header segment.
fn header_bytes(id: &KeyId, kind: Kind) -> usize {
    let json = HEADER_FIXED_BYTES.saturating_add(id.as_str().len()).saturating_add(kind.typ().len());
    encoded_bytes(json)
}

fn envelope_bytes(key: &SigningKey, kind: Kind) -> usize {
    header_bytes(key.id(), kind).saturating_add(encoded_bytes(TAG_BYTES)).saturating_add(2)
}

/// The base64url characters for `bytes` bytes, without padding.
fn encoded_bytes(bytes: usize) -> usize {
    bytes.saturating_mul(4).div_ceil(3)
}

/// The size of a header's JSON without key id and kind.
const HEADER_FIXED_BYTES: usize = r#"{"alg":"HS256","kid":"","typ":""}"#.len();

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::token::testing::ring;

    #[test]
    fn exactly_two_dots_split() {
        for text in ["", "a", "a.b", "a.b.c.d", "....", &".".repeat(100_000)] {
            assert_eq!(split(text).unwrap_err(), TokenFault::Layout, "{}", text.len());
        }
        let parts = split("a.b.c").unwrap();
        assert_eq!((parts.header, parts.payload, parts.tag, parts.signed), ("a", "b", "c", "a.b"));
        assert!(split("..").is_ok());
    }

    #[test]
    fn foreign_bytes_are_refused() {
        for text in ["a.b.c ", "a.b=.c", "a.b+.c", "a.b/.c", "a.b.c\n", "a.b.é", "a.%62.c", "a.b.c\0"] {
            assert_eq!(split(text).unwrap_err(), TokenFault::Charset, "{text}");
        }
    }

    #[test]
    fn only_a_header_from_this_writer_finds_a_key() {
        let ring = ring();
        for kind in Kind::ALL {
            let text = header(ring.current().id(), kind);
            assert_eq!(text.len(), header_bytes(ring.current().id(), kind));
            let (key, found) = find_key(&ring, &text).unwrap();
            assert_eq!((key.id(), found), (ring.current().id(), kind));
            assert!(find_key(&ring, &text.to_ascii_lowercase()).is_none());
        }
    }

    #[test]
    fn the_longest_payload_fits_exactly() {
        let ring = ring();
        let key = ring.current();
        for limit in 200..260 {
            let longest = payload_bytes(key, Kind::Clear, limit);
            assert!(token_bytes(key, Kind::Clear, longest) <= limit);
            assert!(token_bytes(key, Kind::Clear, longest + 1) > limit);
            assert_eq!(join(key, Kind::Clear, &vec![7; longest]).len(), token_bytes(key, Kind::Clear, longest));
        }
    }
}
