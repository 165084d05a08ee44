//! Frames (RFC 8878 §3.1.1), one by one. The head is read here, and the rest by zstd's streaming
//! reader.

use std::slice;

use zstd::zstd_safe::{DCtx, InBuffer, OutBuffer};

/// The texts of all frames. `None` for a payload that the format does not allow.
pub(super) fn inflate(payload: &[u8], claims_bytes: usize, history_bytes: usize) -> Option<Vec<String>> {
    let mut context = DCtx::create();
    let mut texts = Vec::new();
    let (mut rest, mut room) = (payload, claims_bytes);
    while !rest.is_empty() {
        let (text, bytes) = one(&mut context, rest, room)?;
        if !text.ends_with('\n') {
            return None;
        }
        room = if texts.is_empty() { history_bytes } else { room - text.len() };
        texts.push(text);
        rest = &rest[bytes..];
    }
    (2..=64).contains(&texts.len()).then_some(texts)
}

/// Inflates the first frame of `input`, if it has at most `room` bytes of text. Returns the text
/// and the length of the frame.
fn one(context: &mut DCtx<'_>, input: &[u8], room: usize) -> Option<(String, usize)> {
    let head = Head::read(input)?;
    let bytes = head.bytes + blocks_bytes(&input[head.bytes..], &head)?;
    let size = usize::try_from(head.size).ok().filter(|size| (1..=room).contains(size))?;
    let (frame, mut text) = (&input[..bytes], vec![0; size]);
    let written = if head.size <= head.window {
        stream(context, frame, &mut text)?
    } else {
        // zstd's two readers differ on matches that reach back beyond the window. The crate uses
        // this reader.
        context.decompress(text.as_mut_slice(), frame).ok()?
    };
    text.truncate(written);
    (written == size).then_some((String::from_utf8(text).ok()?, bytes))
}

/// Inflates byte by byte. Given a complete frame, even the streaming reader would inflate it in one
/// step, like the crate.
fn stream(context: &mut DCtx<'_>, frame: &[u8], text: &mut [u8]) -> Option<usize> {
    let mut to = OutBuffer::around(text);
    let (last, bytes) = frame.split_last()?;
    for byte in bytes {
        let mut from = InBuffer::around(slice::from_ref(byte));
        let left = context.decompress_stream(&mut to, &mut from).ok()?;
        if left == 0 || from.pos() == 0 {
            return None;
        }
    }
    let left = context.decompress_stream(&mut to, &mut InBuffer::around(slice::from_ref(last))).ok()?;
    (left == 0).then(|| to.pos())
}

/// The number of bytes of a frame's blocks, with the checksum after them (RFC 8878 §3.1.1.2).
/// `None` if a block is too large.
fn blocks_bytes(blocks: &[u8], head: &Head) -> Option<usize> {
    let mut at = 0;
    loop {
        let [low, middle, high] = blocks.get(at..at + 3)?.try_into().ok()?;
        let size = usize::from(low) >> 3 | usize::from(middle) << 5 | usize::from(high) << 13;
        if size as u64 > head.window.min(128 << 10) {
            return None;
        }
        at += 3 + match low >> 1 & 3 {
            0 | 2 => size,
            1 => 1,
            _ => return None,
        };
        if low & 1 == 1 {
            let end = at + if head.checksum { 4 } else { 0 };
            return (end <= blocks.len()).then_some(end);
        }
    }
}

/// A frame head (RFC 8878 §3.1.1.1) that the format allows.
struct Head {
    bytes: usize,
    checksum: bool,
    size: u64,
    window: u64,
}

impl Head {
    fn read(frame: &[u8]) -> Option<Self> {
        let rest = frame.strip_prefix(&[0x28, 0xB5, 0x2F, 0xFD])?;
        let (descriptor, mut rest) = rest.split_first()?;
        let bit = |number: u8| descriptor >> number & 1 == 1;
        let (single_segment, unused, reserved, checksum) = (bit(5), bit(4), bit(3), bit(2));
        let dictionary = bit(1) || bit(0);
        if unused || reserved || dictionary {
            return None;
        }
        let mut window = None;
        if !single_segment {
            let (byte, after) = rest.split_first()?;
            let (exponent, mantissa) = (u64::from(byte >> 3), u64::from(byte & 7));
            let base = 1 << (10 + exponent);
            window = Some(base + base / 8 * mantissa);
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
        let size = if bytes == 2 { size + 256 } else { size };
        if window.is_some_and(|window| window > 8 << 20) {
            return None;
        }
        Some(Self { bytes: frame.len() - rest.len() + bytes, checksum, size, window: window.unwrap_or(size) })
    }
}
