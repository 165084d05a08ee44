//! The forms of a text: as it is, and with escapes and base64 decoded.
//!
//! A form knows for each of its bytes where it comes from, so that a stretch that shows only after
//! decoding can be cut out of the original.

use std::ops::Range;

use crate::proto::escapes::{ESCAPES, unescape};

/// A text, and its origin.
pub(super) struct Form<'a> {
    text: String,
    /// The form that this one was decoded from. `None` for the original.
    source: Option<(&'a Self, Vec<Segment>)>,
}

/// The decodings that make forms.
#[derive(Clone, Copy)]
pub(super) struct Decodings {
    /// The most times that escapes are decoded.
    pub(super) unescapes: usize,
    /// The most forms with fewer escapes of which base64 is decoded as well. Escapes in it are then
    /// decoded once.
    pub(super) base64: usize,
}

/// A part of a form.
struct Segment {
    /// The first byte in the form.
    at: usize,
    /// The bytes of the source that the part comes from.
    from: Range<usize>,
    decoding: Decoding,
}

#[derive(Clone, Copy)]
enum Decoding {
    /// Three bytes for each four of the source.
    Base64,
    /// The same bytes as in the source.
    Copy,
    /// One character for all bytes of the source.
    Escape,
}

impl Form<'_> {
    /// The text as it is.
    pub(super) fn plain(text: &str) -> Self {
        Self { text: text.to_owned(), source: None }
    }

    /// Calls `visit` with this form, and then with all forms that these decodings make of it.
    pub(super) fn visit_all(&self, decodings: Decodings, visit: &mut impl FnMut(&Form<'_>)) {
        visit(self);
        let Decodings { unescapes, base64 } = decodings;
        if let Some(plain) = (unescapes > 0).then(|| self.unescaped()).flatten() {
            let rest = Decodings { unescapes: unescapes.saturating_sub(1), base64: base64.saturating_sub(1) };
            plain.visit_all(rest, visit);
        }
        let runs = if base64 > 0 { self.base64_runs() } else { Vec::new() };
        // A stretch can begin at any of the four characters of a group.
        for skip in (0..GROUP_CHARS).filter(|_| !runs.is_empty()) {
            let rest = Decodings { unescapes: unescapes.min(1), base64: 0 };
            self.base64_decoded(&runs, skip).visit_all(rest, visit);
        }
    }

    /// The characters as they are compared, with their bytes: without regard to case, with white
    /// space as single spaces, and without characters that do not show.
    pub(super) fn folded(&self) -> impl Iterator<Item = (char, Range<usize>)> {
        let mut is_after_space = false;
        self.text.char_indices().filter_map(move |(at, c)| {
            let folded = match c {
                '!'..='~' => c.to_ascii_lowercase(),
                _ if c.is_whitespace() => ' ',
                _ if is_invisible(c) => return None,
                _ => folded_char(c),
            };
            let is_repeated = is_after_space && folded == ' ';
            is_after_space = folded == ' ';
            (!is_repeated).then(|| (folded, at..at.saturating_add(c.len_utf8())))
        })
    }

    /// The bytes of the original that these bytes of the form come from.
    pub(super) fn original(&self, range: Range<usize>) -> Range<usize> {
        let Some((source, segments)) = &self.source else { return range };
        let place = |at: usize| {
            let before = segments.partition_point(|segment| segment.at <= at);
            before.checked_sub(1).and_then(|index| segments.get(index)).map(|segment| segment.place(at))
        };
        match (place(range.start), place(range.end.saturating_sub(1))) {
            (Some(first), Some(last)) => source.original(first.start..last.end),
            _ => 0..0,
        }
    }

    /// The form with its escapes decoded once. `None` if it has none.
    fn unescaped(&self) -> Option<Form<'_>> {
        let (mut text, mut segments) = (String::new(), Vec::new());
        let (mut copied, mut searched) = (0, 0);
        while let Some(found) = self.text.get(searched..)?.find(ESCAPES) {
            let at = searched.saturating_add(found);
            let Some((c, after)) = unescape(self.text.get(at..)?) else {
                searched = at.saturating_add(1);
                continue;
            };
            let end = self.text.len().saturating_sub(after.len());
            segments.push(Segment { at: text.len(), from: copied..at, decoding: Decoding::Copy });
            text.push_str(self.text.get(copied..at)?);
            segments.push(Segment { at: text.len(), from: at..end, decoding: Decoding::Escape });
            text.push(c);
            (copied, searched) = (end, end);
        }
        let rest = copied..self.text.len();
        segments.push(Segment { at: text.len(), from: rest.clone(), decoding: Decoding::Copy });
        text.push_str(self.text.get(rest)?);
        (segments.len() > 1).then_some(Form { text, source: Some((self, segments)) })
    }

    /// The runs of base64 that are long enough for a stretch.
    fn base64_runs(&self) -> Vec<Range<usize>> {
        let (mut runs, mut start) = (Vec::new(), 0_usize);
        for (at, byte) in self.text.bytes().chain([b' ']).enumerate() {
            if sextet(byte).is_none() {
                if at.saturating_sub(start) >= MIN_BASE64_CHARS {
                    runs.push(start..at);
                }
                start = at.saturating_add(1);
            }
        }
        runs
    }

    /// These runs, decoded from their character `skip` on, each in a line.
    fn base64_decoded(&self, runs: &[Range<usize>], skip: usize) -> Form<'_> {
        let (mut text, mut segments, mut bytes) = (String::new(), Vec::new(), Vec::new());
        for run in runs {
            let from = run.start.saturating_add(skip)..run.end;
            segments.push(Segment { at: text.len(), from: from.clone(), decoding: Decoding::Base64 });
            bytes.clear();
            decode_base64(self.text.as_bytes().get(from).unwrap_or_default(), &mut bytes);
            for chunk in bytes.utf8_chunks() {
                text.push_str(chunk.valid());
                // As many bytes as in the source, so that the places stay.
                chunk.invalid().iter().for_each(|_| text.push(INVALID));
            }
            segments.push(Segment { at: text.len(), from: run.end..run.end, decoding: Decoding::Escape });
            text.push('\n');
        }
        Form { text, source: Some((self, segments)) }
    }
}

impl Segment {
    /// The bytes of the source that the byte `at` of the form comes from.
    fn place(&self, at: usize) -> Range<usize> {
        let Range { start, end } = self.from;
        let offset = at.saturating_sub(self.at);
        let range_of = |offset: usize, bytes: usize| {
            let first = start.saturating_add(offset);
            first.min(end)..first.saturating_add(bytes).min(end)
        };
        match self.decoding {
            Decoding::Base64 => range_of((offset / GROUP_BYTES).saturating_mul(GROUP_CHARS), GROUP_CHARS),
            Decoding::Copy => range_of(offset, 1),
            Decoding::Escape => start..end,
        }
    }
}

/// Appends the bytes of a run of base64 without padding. A last character that stands alone has
/// too few bits for a byte.
fn decode_base64(run: &[u8], bytes: &mut Vec<u8>) {
    for group in run.chunks(GROUP_CHARS) {
        let missing = GROUP_CHARS.saturating_sub(group.len());
        let sextets = group.iter().map(|byte| sextet(*byte).unwrap_or_default()).chain([0; GROUP_CHARS]);
        let bits = sextets.take(GROUP_CHARS).fold(0_u32, |bits, sextet| (bits << 6) | u32::from(sextet));
        let [_, decoded @ ..] = bits.to_be_bytes();
        bytes.extend(decoded.into_iter().take(GROUP_BYTES.saturating_sub(missing)));
    }
}

/// The six bits of a character of base64, in either alphabet (RFC 4648 §4 and §5).
fn sextet(byte: u8) -> Option<u8> {
    match byte {
        b'A'..=b'Z' => byte.checked_sub(b'A'),
        b'a'..=b'z' => byte.checked_sub(b'a' - 26),
        b'0'..=b'9' => byte.checked_add(52 - b'0'),
        b'+' | b'-' => Some(62),
        b'/' | b'_' => Some(63),
        _ => None,
    }
}

/// A character without its case. Characters whose capital is several characters stay.
fn folded_char(c: char) -> char {
    let single = |chars: &mut dyn Iterator<Item = char>| match (chars.next(), chars.next()) {
        (Some(only), None) => only,
        _ => c,
    };
    let upper = single(&mut c.to_uppercase());
    single(&mut upper.to_lowercase())
}

/// Returns true for characters that a text can have or lack without looking different, and for
/// U+FFFD, which replaces some of them.
fn is_invisible(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}')
        || matches!(c, '\u{feff}' | char::REPLACEMENT_CHARACTER)
}

/// The characters of base64 that have [`GROUP_BYTES`] bytes together.
const GROUP_CHARS: usize = 4;
const GROUP_BYTES: usize = 3;
/// The fewest characters of base64 that can have the shortest stretch.
const MIN_BASE64_CHARS: usize = 8;
/// An invisible character of one byte, in the place of a byte that is not UTF-8.
const INVALID: char = '\u{1}';
