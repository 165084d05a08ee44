//! Frames (RFC 8878 §3.1.1), one by one: the head by the book, the rest by zstd's streaming reader.

use std::slice;

use zstd::zstd_safe::{DCtx, InBuffer, OutBuffer};

/// The texts of all frames; `None` for a payload that the format does not allow.
pub(super) fn inflate(payload: &[u8], claims_bytes: usize, history_bytes: usize) -> Option<Vec<String>> {
    let mut context = DCtx::create();
    let mut texts = Vec::new();
    let (mut rest, mut room) = (payload, claims_bytes);
    while !rest.is_empty() {
        let size = declared_size(rest)?;
        let (text, bytes) = one(&mut context, rest, room)?;
        if text.is_empty() || size != text.len() as u64 || !text.ends_with('\n') {
            return None;
        }
        room = if texts.is_empty() { history_bytes } else { room - text.len() };
        texts.push(text);
        rest = &rest[bytes..];
    }
    (2..=64).contains(&texts.len()).then_some(texts)
}

/// Inflates the frame that `input` starts with, if it holds at most `room` bytes of text; says how long it is.
///
/// Byte by byte: of a whole frame at once even zstd's streaming reader makes one step, as the crate does.
fn one(context: &mut DCtx<'_>, input: &[u8], room: usize) -> Option<(String, usize)> {
    let mut text = vec![0; room + 1];
    let mut to = OutBuffer::around(text.as_mut_slice());
    for (at, byte) in input.iter().enumerate() {
        let mut from = InBuffer::around(slice::from_ref(byte));
        let left = context.decompress_stream(&mut to, &mut from).ok()?;
        if left == 0 {
            let written = to.pos();
            text.truncate(written);
            return (written <= room).then_some((String::from_utf8(text).ok()?, at + 1));
        }
        if from.pos() == 0 {
            return None;
        }
    }
    None
}

/// The content size in a frame's head, if the head is one that the format allows.
fn declared_size(frame: &[u8]) -> Option<u64> {
    let rest = frame.strip_prefix(&[0x28, 0xB5, 0x2F, 0xFD])?;
    let (descriptor, mut rest) = rest.split_first()?;
    let bit = |number: u8| descriptor >> number & 1 == 1;
    let (single_segment, unused, reserved) = (bit(5), bit(4), bit(3));
    let dictionary = bit(1) || bit(0);
    if unused || reserved || dictionary {
        return None;
    }
    if !single_segment {
        let (window, after) = rest.split_first()?;
        let (exponent, mantissa) = (u64::from(window >> 3), u64::from(window & 7));
        let base = 1 << (10 + exponent);
        if base + base / 8 * mantissa > 8 << 20 {
            return None;
        }
        rest = after;
    }
    let bytes = match (descriptor >> 6, single_segment) {
        (0, false) => return None,
        (0, true) => 1,
        (1, _) => 2,
        (2, _) => 4,
        (_, _) => 8,
    };
    let size = rest.get(..bytes)?.iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
    Some(if bytes == 2 { size + 256 } else { size })
}
