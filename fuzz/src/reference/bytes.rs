//! Base64url (RFC 4648 §5), HMAC (RFC 2104), HKDF (RFC 5869), and the seal with its padding,
//! written out step by step.

use chacha20poly1305::{
    KeyInit as _, XChaCha20Poly1305,
    aead::{Aead as _, Payload},
};
use sha2::{Digest as _, Sha256};

/// Each character has six bits. At the end, fewer than six bits are left, and all are zero.
pub(crate) fn from_base64url(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let (mut held, mut bits) = (0_u32, 0);
    for character in text.chars() {
        held = held << 6 | value(character)?;
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push((held >> bits).to_le_bytes()[0]);
            held &= (1 << bits) - 1;
        }
    }
    (bits < 6 && held == 0).then_some(bytes)
}

fn value(character: char) -> Option<u32> {
    let from = |first: char| u32::from(character) - u32::from(first);
    match character {
        'A'..='Z' => Some(from('A')),
        'a'..='z' => Some(26 + from('a')),
        '0'..='9' => Some(52 + from('0')),
        '-' => Some(62),
        '_' => Some(63),
        _ => None,
    }
}

pub(crate) fn base64url(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let byte = |at: usize| chunk.get(at).copied().unwrap_or(0);
        let bits = usize::from(byte(0)) << 16 | usize::from(byte(1)) << 8 | usize::from(byte(2));
        text.extend((0..=chunk.len()).map(|at| char::from(ALPHABET[bits >> (18 - 6 * at) & 63])));
    }
    text
}

/// HMAC-SHA256 for a key of at most one block, 64 bytes.
pub(crate) fn hmac(key: &[u8], message: &[u8]) -> [u8; 32] {
    let mut block = [0; 64];
    block[..key.len()].copy_from_slice(key);
    let inner = Sha256::new().chain_update(block.map(|byte| byte ^ 0x36)).chain_update(message).finalize();
    Sha256::new().chain_update(block.map(|byte| byte ^ 0x5C)).chain_update(inner).finalize().into()
}

/// The frames of a sealed payload.
pub(super) fn open(secret: &[u8], header: &str, payload: &[u8]) -> Option<Vec<u8>> {
    let (nonce, ciphertext) = payload.split_first_chunk::<24>()?;
    let padded = cipher(secret).decrypt(nonce.into(), Payload { msg: ciphertext, aad: header.as_bytes() }).ok()?;
    let end = padded.iter().rposition(|byte| *byte != 0)?;
    let frames = padded[..end].to_vec();
    (pad(&frames) == padded).then_some(frames)
}

/// The sealed payload of padded frames. The nonce is always the same, so that a finding depends
/// only on its input.
pub(super) fn seal(secret: &[u8], header: &str, padded: &[u8]) -> Vec<u8> {
    let nonce = [5; 24];
    let sealed = cipher(secret).encrypt((&nonce).into(), Payload { msg: padded, aad: header.as_bytes() });
    [&nonce[..], &sealed.expect("a short message")].concat()
}

/// The frames with their padding: 0x80, then zeros up to a multiple of 256, then zeros up to a
/// Padmé length. A Padmé length with exponent `e` ends in at least as many zero bits as `e` minus
/// the number of bits of `e`.
pub(crate) fn pad(frames: &[u8]) -> Vec<u8> {
    let mut padded = [frames, &[0x80]].concat();
    while padded.len() % 256 != 0 {
        padded.push(0);
    }
    let exponent = padded.len().ilog2();
    let zeros = exponent - (exponent.ilog2() + 1);
    while padded.len() % (1 << zeros) != 0 {
        padded.push(0);
    }
    padded
}

/// The cipher. Its key is the first block of HKDF-SHA256 without a salt.
fn cipher(secret: &[u8]) -> XChaCha20Poly1305 {
    let extracted = hmac(&[0; 32], secret);
    XChaCha20Poly1305::new((&hmac(&extracted, b"holdall1 seal\x01")).into())
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
