//! Frames (RFC 8878 §3.1.1), one by one. The head is read here, and the rest by zstd's streaming
//! reader.

use std::slice;

use zstd::zstd_safe::{DCtx, InBuffer, OutBuffer};

/// The frames of a payload, by their heads. `None` for heads that the format does not allow.
pub(super) fn split(payload: &[u8], claims_bytes: usize, history_bytes: usize) -> Option<Vec<Vec<u8>>> {
    let mut frames = Vec::new();
    let (mut rest, mut room) = (payload, claims_bytes);
    while !rest.is_empty() {
        let head = Head::read(rest)?;
        let bytes = head.bytes + blocks_bytes(&rest[head.bytes..], &head)?;
        let size = usize::try_from(head.size).ok().filter(|size| (1..=room).contains(size))?;
        room = if frames.is_empty() { history_bytes } else { room - size };
        frames.push(rest[..bytes].to_vec());
        rest = &rest[bytes..];
    }
    (2..=64).contains(&frames.len()).then_some(frames)
}

/// The text of one frame: whole lines. `None` for contents that the format does not allow.
pub(super) fn inflate(frame: &[u8]) -> Option<String> {
    let mut context = DCtx::create();
    let head = Head::read(frame)?;
    let size = usize::try_from(head.size).ok()?;
    let mut text = vec![0; size];
    let written = if head.size <= head.window {
        stream(&mut context, frame, &mut text)?
    } else {
        // zstd's two readers differ on matches that reach back beyond the window. The crate uses
        // this reader.
        context.decompress(text.as_mut_slice(), frame).ok()?
    };
    text.truncate(written);
    String::from_utf8(text).ok().filter(|text| written == size && text.ends_with('\n'))
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
