//! History bytes ↔ zstd frames (RFC 8878): one walk that trusts no length, one buffer of the exact size.
//!
//! ```text
//! frame 1: the claims line │ frame 2 │ frame 3 │ …     each a whole number of JSON lines, at most 64 frames
//!                          └─ old ──────── new ─┘
//! ```
//! A turn copies the old frames and appends one. Then, by inflated sizes, the oldest frame smaller than twice the sum of
//! all younger ones is merged with them, so that sizes at least triple towards the old end: few frames to inflate, and a
//! byte is compressed again only O(log n) times in a conversation's life.

use std::{io::Cursor, mem, ops::Range};

use memchr::{memchr, memchr2_iter};
use zstd::zstd_safe::{CCtx, CParameter, DCtx, compress_bound};

use super::TokenFault;
use crate::proto::{error::Error, limits::Limits};

/// The frames of a payload and the text they hold. Whole lines of UTF-8; what the lines say is not checked here.
pub(super) struct Frames {
    /// The buffer that carried the frames; what stands before them is not ours.
    payload: Vec<u8>,
    /// Where each frame ends in `payload` and in `inflated`, in order; the claims frame first.
    ends: Vec<FrameEnd>,
    start: usize,
    /// What the frames hold, as bytes: a `String` can be had from the quick UTF-8 check only by `unsafe`.
    inflated: Vec<u8>,
    lines: usize,
}

impl Frames {
    /// Inflates the frames that stand at `start` in `payload` up to its end.
    ///
    /// # Errors
    /// [`TokenFault::Frames`] for any frame that the format does not allow or that does not hold what it declares, and
    /// for sums over the limits, before memory is taken; [`TokenFault::Lines`] for text that is not whole lines.
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
            // Room of the exact size: what libzstd makes of some crooked frames depends on how much there is, and a frame
            // must mean the same in the next token, among others.
            let room = inflated.get_mut(from.text..to.text).unwrap_or_default();
            let size = room.len();
            match codec.inflater.decompress(room, frame) {
                Ok(written) if written == size => from = *to,
                _ => return Err(TokenFault::Frames("a frame does not hold what it declares")),
            }
        }
        if simdutf8::basic::from_utf8(&inflated).is_err() {
            return Err(TokenFault::Lines("not UTF-8"));
        }
        let mut frames = Self { payload, ends, start, inflated, lines: 0 };
        frames.lines = frames.check_lines()?;
        Ok(frames)
    }

    /// These frames without the oldest `lines` of the history, what is left in one frame.
    pub(super) fn without_oldest(&self, lines: usize, limits: &Limits, codec: &mut Codec) -> Result<Self, Error> {
        let history = self.history();
        let start = history.match_indices('\n').nth(lines.saturating_sub(1)).map_or(0, |(at, _)| at.saturating_add(1));
        let claims_line = self.inflated.get(..self.end(0).text).unwrap_or_default();
        let room = FrameRoom { reserved: 0, frames_bytes: usize::MAX, trailing: 0 };
        let payload = append(as_text(claims_line), None, history.get(start..).unwrap_or_default(), room, codec)?;
        // Read as any other: what was just written holds nothing that could be refused.
        Self::inflate(payload, 0, limits, codec).map_err(|fault| Error::internal(fault.to_string()))
    }

    /// The claims line, without its line end.
    pub(super) fn claims(&self) -> &str {
        let end = self.ends.first().map_or(0, |end| end.text.saturating_sub(1));
        as_text(self.inflated.get(..end).unwrap_or_default())
    }

    /// The history: whole lines, oldest first.
    pub(super) fn history(&self) -> &str {
        let start = self.ends.first().map_or(0, |end| end.text);
        as_text(self.inflated.get(start..).unwrap_or_default())
    }

    /// The bytes of the history.
    pub(super) fn history_bytes(&self) -> usize {
        self.inflated.len().saturating_sub(self.ends.first().map_or(0, |end| end.text))
    }

    /// How many lines the history has.
    pub(super) fn history_lines(&self) -> usize {
        self.lines.saturating_sub(1)
    }

    /// How many frames hold the history.
    pub(super) fn history_frames(&self) -> usize {
        self.ends.len().saturating_sub(1)
    }

    /// The most bytes that [`append`] may need for these frames and `new_bytes` more of history, however badly those
    /// compress; claims included.
    pub(super) fn worst_case_bytes(base: Option<&Self>, new_bytes: usize) -> usize {
        let kept = base.map_or(0, |base| match base.history_frames() {
            // A full house must merge; which frames, depends on what is new.
            frames if frames.saturating_add(1) >= FRAMES_MAX => {
                (1..=frames).map(|first| base.merged_bound_bytes(first)).max().unwrap_or(0)
            }
            _ => base.compressed(1..usize::MAX).len(),
        });
        compress_bound(CLAIMS_BYTES).saturating_add(kept).saturating_add(compress_bound(new_bytes))
    }

    /// The most bytes of the history's frames if those from number `first` on are merged.
    fn merged_bound_bytes(&self, first: usize) -> usize {
        let kept = self.end(first.saturating_sub(1));
        let merged = compress_bound(self.inflated.len().saturating_sub(kept.text));
        self.compressed(1..first).len().saturating_add(merged)
    }

    /// The compressed bytes of the frames with these numbers, the claims frame being number 0.
    fn compressed(&self, frames: Range<usize>) -> &[u8] {
        let start = frames.start.checked_sub(1).map_or(self.start, |before| self.end(before).payload);
        let end = self.end(frames.end.saturating_sub(1)).payload;
        self.payload.get(start..end).unwrap_or_default()
    }

    /// Where a frame ends; past the last one, where that ends.
    fn end(&self, frame: usize) -> FrameEnd {
        self.ends.get(frame).or_else(|| self.ends.last()).copied().unwrap_or_default()
    }

    /// Counts the lines. Each frame holds whole ones, none empty, without CR or BOM; the claims frame holds one.
    fn check_lines(&self) -> Result<usize, TokenFault> {
        let text = self.inflated.as_slice();
        if self.ends.iter().any(|end| text.get(end.text.saturating_sub(1)) != Some(&b'\n')) {
            return Err(TokenFault::Lines("a frame does not end with a line"));
        }
        let claims_end = self.ends.first().map_or(0, |end| end.text.saturating_sub(1));
        if memchr(b'\n', text) != Some(claims_end) {
            return Err(TokenFault::Lines("the first frame holds more than the claims"));
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
        // A BOM inside a string is a character like others; at the start of a line it would be lost by some readers.
        let history = text.get(claims_end.saturating_add(1)..).unwrap_or_default();
        if text.starts_with(BOM) || history.starts_with(BOM) {
            return Err(TokenFault::Lines("a byte order mark"));
        }
        Ok(lines)
    }
}

/// Writes frames after `reserved` bytes left free: the claims, the history of `base`, and `lines` (whole lines, not
/// empty) as its newest part, merged by the rule at the top of this file.
///
/// A merge whose outcome would pass `frames_bytes` is left undone: the rule is the writer's, readers check the count
/// alone.
///
/// # Errors
/// [`Error::Internal`] if the compressor fails, which takes an exhausted memory.
pub(super) fn append(
    claims: &str,
    base: Option<&Frames>,
    lines: &str,
    room: FrameRoom,
    codec: &mut Codec,
) -> Result<Vec<u8>, Error> {
    let merged = write(claims, base, lines, first_merged(base, lines.len()), room, codec)?;
    let count = base.map_or(0, Frames::history_frames).saturating_add(2);
    if merged.len().saturating_sub(room.reserved) <= room.frames_bytes || count > FRAMES_MAX {
        return Ok(merged);
    }
    write(claims, base, lines, usize::MAX, room, codec)
}

/// Room in the buffer that [`append`] makes.
#[derive(Clone, Copy, Debug)]
pub(super) struct FrameRoom {
    /// Bytes left free before the frames.
    pub(super) reserved: usize,
    /// The most bytes of frames that the token can carry.
    pub(super) frames_bytes: usize,
    /// Bytes of capacity to leave after the frames.
    pub(super) trailing: usize,
}

/// Compression contexts, to be used again from token to token: making one costs as much as a short turn.
///
/// They keep no text that could be read back out of them.
pub struct Codec {
    deflater: CCtx<'static>,
    inflater: DCtx<'static>,
}

impl Codec {
    /// Fresh contexts; [`None`] if there is no memory for them.
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

/// As text what [`Frames::inflate`] has found to be UTF-8. The check is made again, a twentieth of the time that
/// inflating took: nothing else makes text of bytes without `unsafe`.
fn as_text(inflated: &[u8]) -> &str {
    simdutf8::basic::from_utf8(inflated).unwrap_or_default()
}

#[derive(Clone, Copy, Debug, Default)]
struct FrameEnd {
    payload: usize,
    text: usize,
}

/// Steps from frame to frame by what their heads declare, and adds up, before anything is inflated.
fn walk(payload: &[u8], start: usize, limits: &Limits) -> Result<Vec<FrameEnd>, TokenFault> {
    let mut ends = Vec::new();
    let mut at = FrameEnd { payload: start, text: 0 };
    let mut rest = payload.get(start..).unwrap_or_default();
    while !rest.is_empty() {
        if ends.len() == FRAMES_MAX {
            return Err(TokenFault::Frames("more than 64"));
        }
        let (head, blocks) = Head::read(rest).map_err(TokenFault::Frames)?;
        let claims_end = ends.first().map(|claims: &FrameEnd| claims.text);
        let limit = claims_end.map_or(CLAIMS_BYTES, |end| end.saturating_add(limits.history_bytes));
        at.text = usize::try_from(head.content_bytes)
            .ok()
            .and_then(|size| at.text.checked_add(size))
            .filter(|text| *text <= limit)
            .ok_or(TokenFault::Frames("inflated size over the limit"))?;
        rest = head.skip_blocks(blocks).map_err(TokenFault::Frames)?;
        at.payload = payload.len().saturating_sub(rest.len());
        ends.push(at);
    }
    if ends.len() < 2 { Err(TokenFault::Frames("fewer than 2")) } else { Ok(ends) }
}

/// What the head of a frame declares (RFC 8878 §3.1.1.1).
struct Head {
    content_bytes: u64,
    window_bytes: u64,
    checksum: bool,
}

impl Head {
    /// Reads the head that `frame` starts with, if it is one that this format allows; gives what stands behind it, too.
    fn read(frame: &[u8]) -> Result<(Self, &[u8]), &'static str> {
        let (magic, rest) = frame.split_first_chunk::<4>().ok_or("a cut head")?;
        if *magic != MAGIC {
            return Err("not a zstd frame");
        }
        let (descriptor, mut rest) = rest.split_first().ok_or("a cut head")?;
        let single_segment = descriptor & 0b0010_0000 != 0;
        if descriptor & 0b0001_1000 != 0 {
            return Err("a reserved bit is set");
        }
        if descriptor & 0b0000_0011 != 0 {
            return Err("a dictionary id");
        }
        let mut window_bytes = None;
        if !single_segment {
            let (window, after) = rest.split_first().ok_or("a cut head")?;
            let (exponent, mantissa) = (u32::from(window >> 3), u64::from(window & 7));
            // Window_Size = 2^(10 + exponent) × (1 + mantissa/8); the exponent has 5 bits, so this stays below 2^42.
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
        let (field, blocks) = rest.split_at_checked(field_bytes).ok_or("a cut head")?;
        let content_bytes = field.iter().rev().fold(0, |size, byte| (size << 8) | u64::from(*byte));
        // Two bytes count from 256, since one byte reaches 255.
        let content_bytes = if field_bytes == 2 { content_bytes.saturating_add(256) } else { content_bytes };
        if content_bytes == 0 {
            return Err("an empty frame");
        }
        let checksum = descriptor & 0b0000_0100 != 0;
        Ok((Self { content_bytes, window_bytes: window_bytes.unwrap_or(content_bytes), checksum }, blocks))
    }

    /// What stands behind the frame whose blocks these are (RFC 8878 §3.1.1.2).
    ///
    /// No block may be over the window: libzstd, when it inflates a frame in one step, does not ask that of all.
    fn skip_blocks<'a>(&self, blocks: &'a [u8]) -> Result<&'a [u8], &'static str> {
        let mut rest = blocks;
        loop {
            let ([low, middle, high], after) = rest.split_first_chunk().ok_or("a cut block")?;
            let head = u32::from_le_bytes([*low, *middle, *high, 0]);
            let (last, kind, size) = (head & 1 == 1, (head >> 1) & 0b11, head >> 3);
            if u64::from(size) > self.window_bytes.min(BLOCK_BYTES) {
                return Err("a block over the window");
            }
            let bytes = match kind {
                // Raw and compressed blocks take their size, a repeated byte takes one.
                0 | 2 => usize::try_from(size).unwrap_or(usize::MAX),
                1 => 1,
                _ => return Err("a reserved block"),
            };
            rest = after.get(bytes..).ok_or("a cut block")?;
            if last {
                return rest.get(if self.checksum { 4 } else { 0 }..).ok_or("a cut checksum");
            }
        }
    }
}

/// The number of the oldest history frame that is to be merged with all younger ones and `new_bytes`; past the last if
/// none is.
fn first_merged(base: Option<&Frames>, new_bytes: usize) -> usize {
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
    first_merged: usize,
    room: FrameRoom,
    codec: &mut Codec,
) -> Result<Vec<u8>, Error> {
    let (kept, joined);
    let newest = match base {
        Some(base) if first_merged < base.ends.len() => {
            kept = base.compressed(1..first_merged);
            let old = base.inflated.get(base.end(first_merged.saturating_sub(1)).text..).unwrap_or_default();
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

/// The most frames in a payload, the claims frame counted.
pub(super) const FRAMES_MAX: usize = 64;
/// The most bytes of the claims line, line end included.
pub(super) const CLAIMS_BYTES: usize = 4 << 10;
/// The largest window a frame may ask for, unless it is a single segment: what RFC 8878 §3.1.1.1.2 has every decoder
/// support.
const WINDOW_BYTES: u64 = 8 << 20;
/// The largest block, RFC 8878 §3.1.1.2.4.
const BLOCK_BYTES: u64 = 128 << 10;
const MAGIC: [u8; 4] = [0x28, 0xB5, 0x2F, 0xFD];
const BOM: &[u8] = "\u{FEFF}".as_bytes();
/// zstd's default: 100 KB take 0.25 ms, level 6 a whole one for 4 % less.
const LEVEL: i32 = 3;

#[cfg(test)]
mod tests;
