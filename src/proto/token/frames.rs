//! History bytes ↔ zstd frames (RFC 8878). Reads the frame headers first, checks every length
//! against the limits, and only then inflates into one buffer of the exact size.
//!
//! ```text
//! frame 1: the claims line │ frame 2 │ frame 3 │ …     each has complete JSON lines; at most 64
//!                          └─ old ──────── new ─┘
//! ```
//! A turn copies the old frames and appends one. Then one merge follows: the oldest frame that is
//! smaller than twice the sum of all younger frames is merged with them (by inflated sizes).
//!
//! Sizes therefore at least triple from each frame to the next older one. This keeps the number of
//! frames small, and a byte is compressed only O(log n) times in the life of a conversation.

use std::{io::Cursor, mem, ops::Range};

use memchr::{memchr, memchr2_iter};
use zstd::zstd_safe::{CCtx, CParameter, DCtx, compress_bound};

use super::TokenFault;
use crate::proto::{error::Error, limits::Limits};

/// The frames of a payload and their text: complete lines of UTF-8. The contents of the lines are
/// not checked here.
pub(super) struct Frames {
    /// The buffer with the frames. The bytes before `start` do not belong to them.
    payload: Vec<u8>,
    /// The end of each frame in `payload` and in `inflated`, in order; the claims frame first.
    ends: Vec<FrameEnd>,
    start: usize,
    /// The text of the frames as bytes: only `unsafe` code could make a `String` from the fast
    /// UTF-8 check.
    inflated: Vec<u8>,
    lines: usize,
}

impl Frames {
    /// Inflates the frames in `payload` from `start` to its end.
    ///
    /// # Errors
    /// [`TokenFault::Frames`] for a frame that the format does not allow, for one whose content
    /// differs from its header, and for sums over the limits. The sums are checked before memory is
    /// allocated. [`TokenFault::Lines`] for text that is not complete lines.
    pub(super) fn inflate(
        payload: Vec<u8>,
        start: usize,
        limits: &Limits,
        codec: &mut Codec,
    ) -> Result<Self, TokenFault> {
        let ends = walk(&payload, start, limits)?;
        let mut inflated = vec![0; ends.last().map_or(0, |end| end.text)];
        let mut from = FrameEnd { payload: start, text: 0 };
        for to in &ends {
            let frame = payload.get(from.payload..to.payload).unwrap_or_default();
            // Room of the exact size: for some malformed frames, the result of libzstd depends on
            // the room. A frame must have the same content in the next token, next to other frames.
            let room = inflated.get_mut(from.text..to.text).unwrap_or_default();
            let size = room.len();
            match codec.inflater.decompress(room, frame) {
                Ok(written) if written == size => from = *to,
                _ => return Err(TokenFault::Frames("a frame does not have its declared size")),
            }
        }
        if simdutf8::basic::from_utf8(&inflated).is_err() {
            return Err(TokenFault::Lines("not UTF-8"));
        }
        let mut frames = Self { payload, ends, start, inflated, lines: 0 };
        frames.lines = frames.check_lines()?;
        Ok(frames)
    }

    /// These frames without the oldest `lines` of the history. The rest is in one frame.
    pub(super) fn without_oldest(&self, lines: usize, limits: &Limits, codec: &mut Codec) -> Result<Self, Error> {
        let history = self.history();
        let start = history.match_indices('\n').nth(lines.saturating_sub(1)).map_or(0, |(at, _)| at.saturating_add(1));
        let claims_line = self.inflated.get(..self.end(0).text).unwrap_or_default();
        let room = FrameRoom { reserved: 0, frames_bytes: usize::MAX, trailing: 0 };
        let payload = append(as_text(claims_line), None, history.get(start..).unwrap_or_default(), room, codec)?;
        // These bytes were just written, so they are never refused.
        Self::inflate(payload, 0, limits, codec).map_err(|fault| Error::internal(fault.to_string()))
    }

    /// The claims line, without its line end.
    pub(super) fn claims(&self) -> &str {
        let end = self.ends.first().map_or(0, |end| end.text.saturating_sub(1));
        as_text(self.inflated.get(..end).unwrap_or_default())
    }

    /// The history: complete lines, oldest first.
    pub(super) fn history(&self) -> &str {
        let start = self.ends.first().map_or(0, |end| end.text);
        as_text(self.inflated.get(start..).unwrap_or_default())
    }

    /// The size of the history.
    pub(super) fn history_bytes(&self) -> usize {
        self.inflated.len().saturating_sub(self.ends.first().map_or(0, |end| end.text))
    }

    /// The number of lines in the history.
    pub(super) fn history_lines(&self) -> usize {
        self.lines.saturating_sub(1)
    }

    /// The number of frames with the history.
    pub(super) fn history_frames(&self) -> usize {
        self.ends.len().saturating_sub(1)
    }

    /// The most bytes that [`append`] can write for these frames and `new_bytes` more of history,
    /// if the new bytes do not compress at all. Includes the claims.
    pub(super) fn worst_case_bytes(base: Option<&Self>, new_bytes: usize) -> usize {
        let kept = base.map_or(0, |base| match base.history_frames() {
            // The number of frames is at its limit, so a merge must follow. The new bytes decide
            // which frames it takes.
            frames if frames.saturating_add(1) >= FRAMES_MAX => {
                (1..=frames).map(|first| base.merged_bound_bytes(first)).max().unwrap_or(0)
            }
            _ => base.compressed(1..usize::MAX).len(),
        });
        compress_bound(CLAIMS_BYTES).saturating_add(kept).saturating_add(compress_bound(new_bytes))
    }

    /// The most bytes of the history's frames after a merge of the frames from number `first`.
    fn merged_bound_bytes(&self, first: usize) -> usize {
        let kept = self.end(first.saturating_sub(1));
        let merged = compress_bound(self.inflated.len().saturating_sub(kept.text));
        self.compressed(1..first).len().saturating_add(merged)
    }

    /// The compressed bytes of the frames with these numbers. The claims frame has number 0.
    fn compressed(&self, frames: Range<usize>) -> &[u8] {
        let start = frames.start.checked_sub(1).map_or(self.start, |before| self.end(before).payload);
        let end = self.end(frames.end.saturating_sub(1)).payload;
        self.payload.get(start..end).unwrap_or_default()
    }

    /// The end of a frame. For a number past the last frame, the end of the last one.
    fn end(&self, frame: usize) -> FrameEnd {
        self.ends.get(frame).or_else(|| self.ends.last()).copied().unwrap_or_default()
    }

    /// Checks and counts the lines: each frame has complete lines, no line is empty, no byte is a
    /// CR, no BOM starts the text, and the claims frame has one line.
    fn check_lines(&self) -> Result<usize, TokenFault> {
        let text = self.inflated.as_slice();
        if self.ends.iter().any(|end| text.get(end.text.saturating_sub(1)) != Some(&b'\n')) {
            return Err(TokenFault::Lines("a frame does not end with a line"));
        }
        let claims_end = self.ends.first().map_or(0, |end| end.text.saturating_sub(1));
        if memchr(b'\n', text) != Some(claims_end) {
            return Err(TokenFault::Lines("the first frame has more than the claims"));
        }
        let (mut lines, mut line_start) = (0_usize, 0);
        for at in memchr2_iter(b'\n', b'\r', text) {
            if text.get(at) != Some(&b'\n') {
                return Err(TokenFault::Lines("a carriage return"));
            }
            if at == line_start {
                return Err(TokenFault::Lines("an empty line"));
            }
            (lines, line_start) = (lines.saturating_add(1), at.saturating_add(1));
        }
        // Some readers drop a BOM at the start of their input. Inside a string it is an ordinary
        // character.
        let history = text.get(claims_end.saturating_add(1)..).unwrap_or_default();
        if text.starts_with(BOM) || history.starts_with(BOM) {
            return Err(TokenFault::Lines("a byte order mark"));
        }
        Ok(lines)
    }
}

/// Writes frames after `reserved` free bytes: the claims, the history of `base`, and `lines` as its
/// newest part. Merges them by the rule at the top of this file. `lines` are complete lines, at
/// least one.
///
/// If the result of a merge would exceed `frames_bytes`, the frames are not merged. Readers accept
/// that, because they check only the number of frames.
///
/// # Errors
/// [`Error::Internal`] if the compressor fails. It fails only without memory.
pub(super) fn append(
    claims: &str,
    base: Option<&Frames>,
    lines: &str,
    room: FrameRoom,
    codec: &mut Codec,
) -> Result<Vec<u8>, Error> {
    let merged = write(claims, base, lines, merge_start(base, lines.len()), room, codec)?;
    let count = base.map_or(0, Frames::history_frames).saturating_add(2);
    if merged.len().saturating_sub(room.reserved) <= room.frames_bytes || count > FRAMES_MAX {
        return Ok(merged);
    }
    write(claims, base, lines, usize::MAX, room, codec)
}

/// The room in the buffer of [`append`].
#[derive(Clone, Copy, Debug)]
pub(super) struct FrameRoom {
    /// Free bytes before the frames.
    pub(super) reserved: usize,
    /// The largest size of frames that fits into the token.
    pub(super) frames_bytes: usize,
    /// Spare capacity after the frames.
    pub(super) trailing: usize,
}

/// Compression contexts. Reuse them from token to token: a new context costs as much as a short
/// turn.
///
/// Nothing can read an earlier text back out of them.
pub struct Codec {
    deflater: CCtx<'static>,
    inflater: DCtx<'static>,
}

impl Codec {
    /// New contexts; [`None`] without memory for them.
    #[must_use]
    pub fn new() -> Option<Self> {
        let (mut deflater, inflater) = (CCtx::try_create()?, DCtx::try_create()?);
        for parameter in [
            CParameter::CompressionLevel(LEVEL),
            CParameter::ContentSizeFlag(true),
            CParameter::ChecksumFlag(false),
            CParameter::DictIdFlag(false),
        ] {
            deflater.set_parameter(parameter).ok()?;
        }
        Some(Self { deflater, inflater })
    }

    fn deflate(&mut self, text: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
        let end = out.len();
        let mut cursor = Cursor::new(mem::take(out));
        cursor.set_position(u64::try_from(end).unwrap_or(u64::MAX));
        let outcome = self.deflater.compress2(&mut cursor, text);
        *out = cursor.into_inner();
        outcome.map(|_| ()).map_err(|_| Error::internal("zstd compression failed"))
    }
}

impl std::fmt::Debug for Codec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Codec")
    }
}

/// Converts bytes that [`Frames::inflate`] has checked. Checks them again, which takes a twentieth
/// of the time of inflating: only `unsafe` code could skip the check.
fn as_text(inflated: &[u8]) -> &str {
    simdutf8::basic::from_utf8(inflated).unwrap_or_default()
}

#[derive(Clone, Copy, Debug, Default)]
struct FrameEnd {
    payload: usize,
    text: usize,
}

/// Steps from frame to frame by their headers and adds up the sizes. Inflates nothing.
fn walk(payload: &[u8], start: usize, limits: &Limits) -> Result<Vec<FrameEnd>, TokenFault> {
    let mut ends = Vec::new();
    let mut at = FrameEnd { payload: start, text: 0 };
    let mut rest = payload.get(start..).unwrap_or_default();
    while !rest.is_empty() {
        if ends.len() == FRAMES_MAX {
            return Err(TokenFault::Frames("more than 64"));
        }
        let (header, blocks) = FrameHeader::read(rest).map_err(TokenFault::Frames)?;
        let claims_end = ends.first().map(|claims: &FrameEnd| claims.text);
        let limit = claims_end.map_or(CLAIMS_BYTES, |end| end.saturating_add(limits.history_bytes));
        at.text = usize::try_from(header.content_bytes)
            .ok()
            .and_then(|size| at.text.checked_add(size))
            .filter(|text| *text <= limit)
            .ok_or(TokenFault::Frames("inflated size over the limit"))?;
        rest = header.skip_blocks(blocks).map_err(TokenFault::Frames)?;
        at.payload = payload.len().saturating_sub(rest.len());
        ends.push(at);
    }
    if ends.len() < 2 { Err(TokenFault::Frames("fewer than 2")) } else { Ok(ends) }
}

/// The header of a frame (RFC 8878 §3.1.1.1).
struct FrameHeader {
    content_bytes: u64,
    window_bytes: u64,
    checksum: bool,
}

impl FrameHeader {
    /// Reads the header at the start of `frame`, if this format allows it. Also returns the bytes
    /// after it.
    fn read(frame: &[u8]) -> Result<(Self, &[u8]), &'static str> {
        let (magic, rest) = frame.split_first_chunk::<4>().ok_or("a truncated header")?;
        if *magic != MAGIC {
            return Err("not a zstd frame");
        }
        let (descriptor, mut rest) = rest.split_first().ok_or("a truncated header")?;
        let single_segment = descriptor & 0b0010_0000 != 0;
        if descriptor & 0b0001_1000 != 0 {
            return Err("a reserved bit is set");
        }
        if descriptor & 0b0000_0011 != 0 {
            return Err("a dictionary id");
        }
        let mut window_bytes = None;
        if !single_segment {
            let (window, after) = rest.split_first().ok_or("a truncated header")?;
            let (exponent, mantissa) = (u32::from(window >> 3), u64::from(window & 7));
            // Window_Size = 2^(10 + exponent) × (1 + mantissa/8). The exponent has 5 bits, so this
            // is below 2^42.
            let base = 1_u64.checked_shl(exponent.saturating_add(10)).unwrap_or(u64::MAX);
            window_bytes = Some(base.saturating_add((base / 8).saturating_mul(mantissa)));
            rest = after;
        }
        if window_bytes.is_some_and(|bytes| bytes > WINDOW_BYTES) {
            return Err("a window over 8 MiB");
        }
        let field_bytes = match (descriptor >> 6, single_segment) {
            (0, false) => return Err("no content size"),
            (0, true) => 1,
            (1, _) => 2,
            (2, _) => 4,
            (_, _) => 8,
        };
        let (field, blocks) = rest.split_at_checked(field_bytes).ok_or("a truncated header")?;
        let content_bytes = field.iter().rev().fold(0, |size, byte| (size << 8) | u64::from(*byte));
        // A two-byte field counts from 256, because one byte reaches 255.
        let content_bytes = if field_bytes == 2 { content_bytes.saturating_add(256) } else { content_bytes };
        if content_bytes == 0 {
            return Err("an empty frame");
        }
        let checksum = descriptor & 0b0000_0100 != 0;
        Ok((Self { content_bytes, window_bytes: window_bytes.unwrap_or(content_bytes), checksum }, blocks))
    }

    /// The bytes after the frame with these blocks (RFC 8878 §3.1.1.2).
    ///
    /// Refuses a block over the window. libzstd does not check that for every block if it inflates
    /// a frame in one step.
    fn skip_blocks<'a>(&self, blocks: &'a [u8]) -> Result<&'a [u8], &'static str> {
        let mut rest = blocks;
        loop {
            let ([low, middle, high], after) = rest.split_first_chunk().ok_or("a truncated block")?;
            let head = u32::from_le_bytes([*low, *middle, *high, 0]);
            let (last, kind, size) = (head & 1 == 1, (head >> 1) & 0b11, head >> 3);
            if u64::from(size) > self.window_bytes.min(BLOCK_BYTES) {
                return Err("a block over the window");
            }
            let bytes = match kind {
                // Raw and compressed blocks have their size in bytes, a repeated byte has one.
                0 | 2 => usize::try_from(size).unwrap_or(usize::MAX),
                1 => 1,
                _ => return Err("a reserved block"),
            };
            rest = after.get(bytes..).ok_or("a truncated block")?;
            if last {
                return rest.get(if self.checksum { 4 } else { 0 }..).ok_or("a truncated checksum");
            }
        }
    }
}

/// The number of the oldest history frame to merge with all younger ones and `new_bytes`; a number
/// past the last frame if there is none.
fn merge_start(base: Option<&Frames>, new_bytes: usize) -> usize {
    let Some(base) = base else { return usize::MAX };
    let total = base.inflated.len().saturating_add(new_bytes);
    (1..base.ends.len())
        .find(|frame| {
            let end = base.end(*frame).text;
            let size = end.saturating_sub(base.end(frame.saturating_sub(1)).text);
            size < total.saturating_sub(end).saturating_mul(2)
        })
        .unwrap_or(usize::MAX)
}

fn write(
    claims: &str,
    base: Option<&Frames>,
    lines: &str,
    merge_start: usize,
    room: FrameRoom,
    codec: &mut Codec,
) -> Result<Vec<u8>, Error> {
    let (kept, joined);
    let newest = match base {
        Some(base) if merge_start < base.ends.len() => {
            kept = base.compressed(1..merge_start);
            let old = base.inflated.get(base.end(merge_start.saturating_sub(1)).text..).unwrap_or_default();
            joined = [old, lines.as_bytes()].concat();
            joined.as_slice()
        }
        _ => {
            kept = base.map_or(&[][..], |base| base.compressed(1..usize::MAX));
            lines.as_bytes()
        }
    };
    let frames = compress_bound(claims.len()).saturating_add(kept.len()).saturating_add(compress_bound(newest.len()));
    let mut out = Vec::with_capacity(room.reserved.saturating_add(frames).saturating_add(room.trailing));
    out.resize(room.reserved, 0);
    codec.deflate(claims.as_bytes(), &mut out)?;
    out.extend_from_slice(kept);
    codec.deflate(newest, &mut out)?;
    Ok(out)
}

/// The most frames in a payload, including the claims frame.
pub(super) const FRAMES_MAX: usize = 64;
/// The most bytes of the claims line, including its line end.
pub(super) const CLAIMS_BYTES: usize = 4 << 10;
/// The largest window of a frame that is not a single segment. Every decoder must support it (RFC
/// 8878 §3.1.1.1.2).
const WINDOW_BYTES: u64 = 8 << 20;
/// The largest block, RFC 8878 §3.1.1.2.4.
const BLOCK_BYTES: u64 = 128 << 10;
const MAGIC: [u8; 4] = [0x28, 0xB5, 0x2F, 0xFD];
const BOM: &[u8] = "\u{FEFF}".as_bytes();
/// zstd's default level. It takes 0.25 ms for 100 KB; level 6 takes 1 ms and saves 4 %.
const LEVEL: i32 = 3;

#[cfg(test)]
mod tests;
