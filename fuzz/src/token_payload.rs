//! Payloads with the right tag and any content.
//!
//! The first byte of the input says what the rest is:
//! ```text
//! '0'  clear: the payload                    '3'  clear: texts, from which frames are made
//! '1'  sealed: the frames                    '4'  sealed: texts, from which frames are made
//! '2'  sealed: the frames and the padding
//! ```
//! Texts are separated by the byte FF, which is never in UTF-8. The first byte of a text says how
//! its frame is written; '0' means like the crate. So a fuzzer changes claims and items, and not
//! only compressed bytes.

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

/// One frame for each text.
pub(crate) fn frames(texts: &[u8]) -> Vec<u8> {
    let mut context = CCtx::create();
    let texts = texts.split(|byte| *byte == 0xFF).filter_map(|text| text.split_first());
    texts.flat_map(|(how, text)| frame(&mut context, *how, text)).collect()
}

/// The frame of a text. In `how`, bit 0 adds a checksum, bit 1 leaves out the content size, bit 2
/// sets a window of 16 MiB, bit 3 switches compression off, and bit 4 writes the text itself
/// instead of a frame.
fn frame(context: &mut CCtx<'_>, how: u8, text: &[u8]) -> Vec<u8> {
    let how = how.wrapping_sub(b'0');
    if how & 16 != 0 {
        return text.to_vec();
    }
    for parameter in [
        CParameter::CompressionLevel(if how & 8 == 0 { 3 } else { -100_000 }),
        CParameter::ChecksumFlag(how & 1 != 0),
        CParameter::ContentSizeFlag(how & 2 == 0),
        // 0 leaves the window to the level.
        CParameter::WindowLog(if how & 4 == 0 { 0 } else { 24 }),
    ] {
        context.set_parameter(parameter).expect("parameters that zstd knows");
    }
    let mut frame = Vec::with_capacity(compress_bound(text.len()));
    context.compress2(&mut frame, text).expect("room for the worst case");
    frame
}
