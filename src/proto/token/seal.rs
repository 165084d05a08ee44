//! Sealing: payload ↔ padded, encrypted payload (XChaCha20-Poly1305, draft-irtf-cfrg-xchacha-03).
//!
//! ```text
//! nonce (24) ‖ ciphertext of: frames ‖ 0x80 ‖ 00 … 00 ‖ Poly1305 tag (16)     AAD: header segment
//!                            └────── padded ───────┘
//! ```
//! The padding (ISO/IEC 7816-4) rounds the length up to a multiple of 256, then to the next Padmé
//! length (Nikitin et al., PoPETs 2019(4), algorithm 1). It makes it harder to guess contents from
//! lengths, but not impossible.

use chacha20poly1305::{AeadInOut as _, KeyInit as _, XChaCha20Poly1305};

use super::TokenFault;

/// Encrypts in place: `buffer` has [`NONCE_BYTES`] of any value followed by the frames, and becomes
/// the payload.
///
/// Spare capacity for the padding and the tag saves a copy.
pub(super) fn seal(key: &[u8; 32], nonce: &[u8; NONCE_BYTES], header: &str, buffer: &mut Vec<u8>) {
    let frames_bytes = buffer.len().saturating_sub(NONCE_BYTES);
    buffer.push(0x80);
    buffer.resize(padded_bytes(frames_bytes).saturating_add(NONCE_BYTES), 0);
    let Some((head, padded)) = buffer.split_first_chunk_mut::<NONCE_BYTES>() else { return };
    *head = *nonce;
    // Encryption fails only for messages over 256 GiB. On a failure the buffer is emptied, so that
    // no clear text leaves this function.
    match encrypt(key, nonce, header.as_bytes(), padded) {
        Some(tag) => buffer.extend_from_slice(&tag),
        None => buffer.clear(),
    }
}

/// Decrypts a payload in place. The frames follow after [`NONCE_BYTES`].
///
/// # Errors
/// [`TokenFault::Seal`] if it does not decrypt. [`TokenFault::Padding`] if the padding does not
/// have the size that the length of the frames requires.
pub(super) fn open(key: &[u8; 32], header: &str, buffer: &mut Vec<u8>) -> Result<(), TokenFault> {
    let (nonce, rest) = buffer.split_first_chunk_mut::<NONCE_BYTES>().ok_or(TokenFault::Seal)?;
    let (padded, tag) = rest.split_last_chunk_mut::<AEAD_TAG_BYTES>().ok_or(TokenFault::Seal)?;
    decrypt(key, nonce, header.as_bytes(), padded, tag).ok_or(TokenFault::Seal)?;
    let frames_bytes = padded.iter().rposition(|byte| *byte != 0).ok_or(TokenFault::Padding)?;
    if padded.get(frames_bytes) != Some(&0x80) || padded.len() != padded_bytes(frames_bytes) {
        return Err(TokenFault::Padding);
    }
    buffer.truncate(frames_bytes.saturating_add(NONCE_BYTES));
    Ok(())
}

/// Encrypts `text` in place and returns its Poly1305 tag.
fn encrypt(key: &[u8; 32], nonce: &[u8; NONCE_BYTES], aad: &[u8], text: &mut [u8]) -> Option<[u8; AEAD_TAG_BYTES]> {
    let tag = XChaCha20Poly1305::new(key.into()).encrypt_inout_detached(nonce.into(), aad, text.into()).ok()?;
    Some(tag.into())
}

/// Decrypts `text` in place if `tag` is its Poly1305 tag.
fn decrypt(
    key: &[u8; 32],
    nonce: &[u8; NONCE_BYTES],
    aad: &[u8],
    text: &mut [u8],
    tag: &[u8; AEAD_TAG_BYTES],
) -> Option<()> {
    XChaCha20Poly1305::new(key.into()).decrypt_inout_detached(nonce.into(), aad, text.into(), tag.into()).ok()
}

/// The size of a sealed payload with `frames_bytes` of frames.
#[cfg(test)]
fn sealed_bytes(frames_bytes: usize) -> usize {
    padded_bytes(frames_bytes).saturating_add(NONCE_BYTES).saturating_add(AEAD_TAG_BYTES)
}

/// The largest size of frames whose sealed payload has at most `payload_bytes`.
pub(super) fn frames_bytes(payload_bytes: usize) -> usize {
    let padded = payload_bytes.saturating_sub(NONCE_BYTES).saturating_sub(AEAD_TAG_BYTES);
    // The longest padded length within the room: clear the bits that Padmé rounds up, then those of
    // the multiple of 256.
    let longest = padded & !padme_mask(padded) & !(PAD_BLOCK_BYTES.saturating_sub(1));
    longest.saturating_sub(1)
}

/// The length after padding `frames_bytes`. It includes at least one byte of padding.
fn padded_bytes(frames_bytes: usize) -> usize {
    let blocks = frames_bytes.saturating_add(1).next_multiple_of(PAD_BLOCK_BYTES);
    let mask = padme_mask(blocks);
    blocks.saturating_add(mask) & !mask
}

/// The low bits that Padmé clears at this length: the lowest E − S bits, with E = ⌊log₂ length⌋ and
/// S = ⌊log₂ E⌋ + 1.
fn padme_mask(length: usize) -> usize {
    let exponent = length.checked_ilog2().unwrap_or(0);
    let kept = exponent.checked_ilog2().map_or(0, |log| log.saturating_add(1));
    1_usize.checked_shl(exponent.saturating_sub(kept)).map_or(0, |bit| bit.saturating_sub(1))
}

/// The size of an XChaCha20 nonce. It is long enough for random nonces on any number of instances.
pub const NONCE_BYTES: usize = 24;
const AEAD_TAG_BYTES: usize = 16;
const PAD_BLOCK_BYTES: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::token::testing::wycheproof;

    const KEY: [u8; 32] = [7; 32];
    const NONCE: [u8; NONCE_BYTES] = [9; NONCE_BYTES];

    fn sealed(frames: &[u8]) -> Vec<u8> {
        let mut buffer = [&[0; NONCE_BYTES], frames].concat();
        seal(&KEY, &NONCE, "header", &mut buffer);
        buffer
    }

    #[test]
    fn what_is_sealed_opens_for_every_length() {
        for bytes in (0..1_030).chain([4_095, 4_096, 65_535, 100_000]) {
            let frames = vec![0x80; bytes];
            let mut buffer = sealed(&frames);
            assert_eq!(buffer.len(), sealed_bytes(bytes));
            assert_eq!((buffer.len() - 40) % 256, 0);
            open(&KEY, "header", &mut buffer).unwrap();
            assert_eq!(buffer[NONCE_BYTES..], frames);
        }
    }

    #[test]
    fn lengths_follow_the_padme_paper() {
        for (length, padded) in
            [(0, 256), (255, 256), (256, 512), (9_000, 9_216), (70_000, 71_680), (1 << 20, 1_081_344)]
        {
            assert_eq!(padded_bytes(length), padded);
        }
    }

    #[test]
    fn the_most_frames_that_fit_do_fit() {
        for payload in (296..20_000).step_by(7).chain([2_359_230, 3_145_728]) {
            let most = frames_bytes(payload);
            assert!(sealed_bytes(most) <= payload, "{payload}");
            assert!(sealed_bytes(most + 1) > payload, "{payload}");
        }
    }

    #[test]
    fn any_changed_byte_another_header_or_key_is_refused() {
        let whole = sealed(b"frames");
        for at in 0..whole.len() {
            let mut changed = whole.clone();
            changed[at] ^= 1;
            assert_eq!(open(&KEY, "header", &mut changed), Err(TokenFault::Seal));
        }
        assert_eq!(open(&KEY, "Header", &mut whole.clone()), Err(TokenFault::Seal));
        assert_eq!(open(&[8; 32], "header", &mut whole.clone()), Err(TokenFault::Seal));
        for bytes in 0..whole.len() {
            assert!(open(&KEY, "header", &mut whole[..bytes].to_vec()).is_err());
        }
    }

    #[test]
    fn a_wrong_count_of_padding_is_refused() {
        let encrypt = |padded: &[u8]| {
            let mut buffer = [&NONCE[..], padded].concat();
            let tag = encrypt(&KEY, &NONCE, b"header", &mut buffer[NONCE_BYTES..]).unwrap();
            buffer.extend_from_slice(&tag);
            buffer
        };
        let mut right = [0; 256];
        right[3] = 0x80;
        assert!(open(&KEY, "header", &mut encrypt(&right)).is_ok());
        let mut unmarked = right;
        unmarked[3] = 0x81;
        for padded in [&right[..255], &[&right[..], &[0; 256]].concat(), &unmarked[..], &[0; 256], &[]] {
            assert_eq!(open(&KEY, "header", &mut encrypt(padded)), Err(TokenFault::Padding));
        }
    }

    #[test]
    fn the_cipher_agrees_with_wycheproof() {
        let tests = wycheproof(include_str!("../../../tests/vectors/wycheproof/xchacha20_poly1305_test.json"));
        assert_eq!(tests.len(), 315);
        let mut other_nonces = 0;
        for test in tests {
            let [key, nonce, aad, clear, sealed, tag] =
                ["key", "iv", "aad", "msg", "ct", "tag"].map(|member| test.bytes(member));
            let Ok(nonce) = <[u8; NONCE_BYTES]>::try_from(nonce) else {
                // The API does not accept nonces of another length.
                assert!(!test.is_valid(), "{}", test.name());
                other_nonces += 1;
                continue;
            };
            let (key, tag) = (key.try_into().unwrap(), tag.try_into().unwrap());
            let mut text = sealed.clone();
            let opened = decrypt(&key, &nonce, &aad, &mut text, &tag);
            assert_eq!(opened.is_some(), test.is_valid(), "{}", test.name());
            if test.is_valid() {
                assert_eq!(text, clear, "{}", test.name());
                assert_eq!(encrypt(&key, &nonce, &aad, &mut text), Some(tag), "{}", test.name());
                assert_eq!(text, sealed, "{}", test.name());
            }
        }
        assert_eq!(other_nonces, 9);
    }
}
