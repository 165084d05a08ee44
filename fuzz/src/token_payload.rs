//! Payloads that a key holder signed, whatever they hold.
//!
//! The first byte of the input says what the rest is:
//! ```text
//! '0'  clear, the payload as it is             '3'  clear, texts to be made frames
//! '1'  sealed, the frames as they are          '4'  sealed, texts to be made frames
//! '2'  sealed, frames and padding as they are
//! ```
//! Texts are parted by the byte FF, which no UTF-8 has; the first byte of each says how its frame is written ('0' as we
//! do), so that a fuzzer changes claims and items and not only compressed bytes.

use zstd::zstd_safe::{CCtx, CParameter, compress_bound};

use super::{agreement, reference};

/// Takes any bytes.
pub fn check(input: &[u8]) {
    let Some((mode, rest)) = input.split_first() else { return };
    let token = match mode.wrapping_sub(b'0') % 5 {
        0 => reference::issue_clear(rest),
        1 => reference::issue_sealed(&reference::pad(rest)),
        2 => reference::issue_sealed(rest),
        3 => reference::issue_clear(&frames(rest)),
        _ => reference::issue_sealed(&reference::pad(&frames(rest))),
    };
    agreement::check(&token);
}

/// Each text as one frame.
pub(crate) fn frames(texts: &[u8]) -> Vec<u8> {
    let mut context = CCtx::create();
    let texts = texts.split(|byte| *byte == 0xFF).filter_map(|text| text.split_first());
    texts.flat_map(|(how, text)| frame(&mut context, *how, text)).collect()
}

/// A frame as its first byte asks: bit 0 adds a checksum, bit 1 leaves the content size out, bit 2 asks for a window of
/// 16 MiB, bit 3 compresses nothing, bit 4 writes the text itself where a frame should be.
fn frame(context: &mut CCtx<'_>, how: u8, text: &[u8]) -> Vec<u8> {
    let how = how.wrapping_sub(b'0');
    if how & 16 != 0 {
        return text.to_vec();
    }
    for parameter in [
        CParameter::CompressionLevel(if how & 8 == 0 { 3 } else { -100_000 }),
        CParameter::ChecksumFlag(how & 1 != 0),
        CParameter::ContentSizeFlag(how & 2 == 0),
        // 0 leaves it to the level.
        CParameter::WindowLog(if how & 4 == 0 { 0 } else { 24 }),
    ] {
        context.set_parameter(parameter).expect("every level, flag and window is one that zstd knows");
    }
    let mut frame = Vec::with_capacity(compress_bound(text.len()));
    context.compress2(&mut frame, text).expect("the buffer has room for the worst case");
    frame
}
