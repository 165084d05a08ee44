//! The floor: the work that every implementation of the token format must do, in the fastest way.
//!
//! It uses the data of a real turn, and the same crates as the token code:
//!
//! 1. the tag of the received text
//! 2. base64 decoding
//! 3. decryption of a sealed token
//! 4. inflation of all frames
//! 5. deflation of the new lines
//! 6. encryption of a sealed token
//! 7. base64 encoding
//! 8. the tag of the new text
//!
//! Contexts and buffers are created once. There are no checks, no claims and no allocations.

use std::hint::black_box;

use base64::{
    Engine as _,
    engine::{
        Simd,
        general_purpose::{NO_PAD, URL_SAFE_NO_PAD},
    },
};
use chacha20poly1305::{AeadInOut as _, KeyInit as _, XChaCha20Poly1305};
use hkdf::Hkdf;
use hmac::{Hmac, Mac as _};
use holdall::proto::token::{Kind, NONCE_BYTES};
use sha2::Sha256;
use zstd::zstd_safe::{CCtx, CParameter, DCtx, compress_bound, find_frame_compressed_size, get_frame_content_size};

use super::SECRET;

/// The data of one turn, and the buffers for its work.
pub(crate) struct Floor {
    tools: Tools,
    received: Text,
    frames: Vec<Frame>,
    lines: String,
    next: Text,
    payload: Vec<u8>,
    inflated: Vec<u8>,
    deflated: Vec<u8>,
    encoded: Vec<u8>,
}

impl Floor {
    /// The floor of the turn that verifies `received`, appends `lines`, and issues `next`.
    pub(crate) fn new(kind: Kind, received: &str, lines: &str, next: &str) -> Self {
        let tools = Tools::new(kind);
        let (received, next) = (Text::new(received), Text::new(next));
        let mut payload = received.payload.clone();
        let start = tools.open(&received.header, &mut payload);
        let frames = frames(&payload, start);
        Self {
            inflated: vec![0; frames.iter().map(|frame| frame.inflated).sum()],
            deflated: vec![0; compress_bound(lines.len())],
            encoded: vec![0; next.signed.len()],
            payload: vec![0; payload.len().max(next.payload.len())],
            tools,
            received,
            frames,
            lines: lines.to_owned(),
            next,
        }
    }

    /// Does the work once.
    pub(crate) fn run(&mut self) {
        let Self { tools, received, frames, lines, next, payload, inflated, deflated, encoded } = self;
        black_box(tools.tag(received.signed.as_bytes()));
        let bytes = tools.base64.decode_slice(received.encoded_payload(), payload).unwrap();
        tools.open(&received.header, &mut payload[..bytes]);
        let mut rest = inflated.as_mut_slice();
        for frame in frames {
            let (room, after) = rest.split_at_mut(frame.inflated);
            tools.inflater.decompress(room, &payload[frame.start..frame.end]).unwrap();
            rest = after;
        }
        tools.deflater.compress2(deflated.as_mut_slice(), lines.as_bytes()).unwrap();
        let payload = &mut payload[..next.payload.len()];
        tools.seal(&next.header, payload);
        tools.base64.encode_slice(payload, encoded).unwrap();
        black_box(tools.tag(next.signed.as_bytes()));
        black_box((inflated, deflated, encoded));
    }

    /// The number of frames in the received token, including the frame of the claims.
    pub(crate) fn frames(&self) -> usize {
        self.frames.len()
    }
}

/// Keys and contexts. They are created once.
struct Tools {
    mac: Hmac<Sha256>,
    base64: Simd,
    cipher: Option<XChaCha20Poly1305>,
    inflater: DCtx<'static>,
    deflater: CCtx<'static>,
}

impl Tools {
    fn new(kind: Kind) -> Self {
        let mut key = [0; 32];
        Hkdf::<Sha256>::new(None, &SECRET).expand(b"holdall1 seal", &mut key).unwrap();
        let mut deflater = CCtx::create();
        deflater.set_parameter(CParameter::CompressionLevel(3)).unwrap();
        Self {
            base64: Simd::url_safe(NO_PAD),
            mac: Hmac::new_from_slice(&SECRET).unwrap(),
            cipher: (kind == Kind::Sealed).then(|| XChaCha20Poly1305::new((&key).into())),
            inflater: DCtx::create(),
            deflater,
        }
    }

    fn tag(&self, message: &[u8]) -> [u8; 32] {
        self.mac.clone().chain_update(message).finalize().into_bytes().into()
    }

    /// Decrypts a sealed payload in place. Returns the start of its frames.
    fn open(&self, header: &str, payload: &mut [u8]) -> usize {
        let Some(cipher) = &self.cipher else { return 0 };
        let (nonce, rest) = payload.split_first_chunk_mut::<NONCE_BYTES>().unwrap();
        let (padded, tag) = rest.split_last_chunk_mut::<AEAD_TAG_BYTES>().unwrap();
        cipher.decrypt_inout_detached((&*nonce).into(), header.as_bytes(), padded.into(), (&*tag).into()).unwrap();
        NONCE_BYTES
    }

    /// Encrypts the bytes at the place of a payload's padded frames.
    fn seal(&self, header: &str, payload: &mut [u8]) {
        let Some(cipher) = &self.cipher else { return };
        let (nonce, rest) = payload.split_first_chunk_mut::<NONCE_BYTES>().unwrap();
        let (padded, tag) = rest.split_last_chunk_mut::<AEAD_TAG_BYTES>().unwrap();
        *tag = cipher.encrypt_inout_detached((&*nonce).into(), header.as_bytes(), padded.into()).unwrap().into();
    }
}

/// The parts of a token's text.
struct Text {
    header: String,
    signed: String,
    payload: Vec<u8>,
}

impl Text {
    fn new(token: &str) -> Self {
        let (signed, _) = token.rsplit_once('.').unwrap();
        let (header, payload) = signed.split_once('.').unwrap();
        let payload = URL_SAFE_NO_PAD.decode(payload).unwrap();
        Self { header: header.to_owned(), signed: signed.to_owned(), payload }
    }

    fn encoded_payload(&self) -> &str {
        &self.signed[self.header.len() + 1..]
    }
}

/// The position of a frame in the payload, and its inflated size.
struct Frame {
    start: usize,
    end: usize,
    inflated: usize,
}

fn frames(payload: &[u8], mut start: usize) -> Vec<Frame> {
    let mut frames = Vec::new();
    // In a sealed payload, padding and tag follow the frames.
    while payload[start..].starts_with(&[0x28, 0xB5, 0x2F, 0xFD]) {
        let rest = &payload[start..];
        let end = start + find_frame_compressed_size(rest).unwrap();
        let inflated = get_frame_content_size(rest).unwrap().unwrap();
        frames.push(Frame { start, end, inflated: usize::try_from(inflated).unwrap() });
        start = end;
    }
    frames
}

const AEAD_TAG_BYTES: usize = 16;
