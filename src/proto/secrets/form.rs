//! The forms of a text: as it is, and with escapes and base64 decoded.
//!
//! A form knows for each of its characters where it comes from, so that a stretch that shows only
//! after decoding can be cut out of the original.

use crate::proto::escapes::{ESCAPES, unescape};

/// A range of bytes in the original text.
pub(super) type Span = (usize, usize);

/// A text, and the place of each of its characters in the original.
#[derive(Default)]
pub(super) struct Form {
    text: String,
    /// One for each character.
    spans: Vec<Span>,
}

impl Form {
    /// The text as it is.
    pub(super) fn plain(text: &str) -> Self {
        let mut form = Self::default();
        text.char_indices().for_each(|(at, c)| form.push(c, (at, at.saturating_add(c.len_utf8()))));
        form
    }

    /// Calls `visit` with this form, and then with all forms that up to `unescapes` decodings of
    /// escapes and one of base64 make of it, in any order.
    pub(super) fn visit_all(&self, unescapes: usize, base64: bool, visit: &mut impl FnMut(&Self)) {
        visit(self);
        if let Some(plain) = (unescapes > 0).then(|| self.unescaped()).flatten() {
            plain.visit_all(unescapes.saturating_sub(1), base64, visit);
        }
        // A stretch can begin at any of the four characters of a group.
        for skip in (0..GROUP_CHARS).filter(|_| base64) {
            if let Some(decoded) = self.base64_decoded(skip) {
                decoded.visit_all(unescapes, false, visit);
            }
        }
    }

    /// The characters as they are compared: without regard to case, with white space as single
    /// spaces, and without characters that do not show.
    pub(super) fn folded(&self) -> Vec<(char, Span)> {
        let mut folded: Vec<(char, Span)> = Vec::with_capacity(self.spans.len());
        for (c, span) in self.text.chars().zip(self.spans.iter().copied()) {
            match c {
                _ if c.is_whitespace() => {
                    if folded.last().is_none_or(|(last, _)| *last != ' ') {
                        folded.push((' ', span));
                    }
                }
                _ if is_invisible(c) => {}
                _ if c.is_ascii() => folded.push((c.to_ascii_lowercase(), span)),
                _ => folded.extend(c.to_uppercase().flat_map(char::to_lowercase).map(|c| (c, span))),
            }
        }
        folded
    }

    /// The form with its escapes decoded once. `None` if it has none.
    fn unescaped(&self) -> Option<Self> {
        let (mut form, mut is_changed) = (Self::default(), false);
        let (mut rest, mut spans) = (self.text.as_str(), self.spans.as_slice());
        while let Some(first) = rest.chars().next() {
            let (c, after) = match unescape(rest).filter(|_| ESCAPES.contains(&first)) {
                Some(decoded) => decoded,
                None => (first, rest.get(first.len_utf8()..).unwrap_or_default()),
            };
            let read = rest.get(..rest.len().saturating_sub(after.len())).unwrap_or_default().chars().count();
            let (own, others) = spans.split_at_checked(read)?;
            is_changed |= read > 1;
            form.push(c, joined(own)?);
            (rest, spans) = (after, others);
        }
        is_changed.then_some(form)
    }

    /// The runs of base64 in this form, decoded from their character `skip` on, each in a line.
    /// `None` if there is no run.
    fn base64_decoded(&self, skip: usize) -> Option<Self> {
        let units: Vec<_> = self.text.chars().map(sextet).zip(&self.spans).collect();
        let mut form = Self::default();
        for run in units.split(|(sextet, _)| sextet.is_none()).filter(|run| run.len() >= MIN_BASE64_CHARS) {
            let (mut bytes, mut spans) = (Vec::new(), Vec::new());
            for group in run.get(skip..)?.chunks(GROUP_CHARS) {
                let bits = group.iter().fold(0_u32, |bits, (sextet, _)| (bits << 6) | sextet.unwrap_or_default());
                let missing = GROUP_CHARS.saturating_sub(group.len());
                let [_, decoded @ ..] = (bits << (6 * missing)).to_be_bytes();
                let span = (group.first().map_or(0, |(_, span)| span.0), group.last().map_or(0, |(_, span)| span.1));
                bytes.extend(decoded.into_iter().take(3_usize.saturating_sub(missing)));
                spans.resize(bytes.len(), span);
            }
            form.push_line(&bytes, &spans);
        }
        (!form.spans.is_empty()).then_some(form)
    }

    /// Appends a line. Bytes that are not UTF-8 become U+FFFD.
    fn push_line(&mut self, bytes: &[u8], mut spans: &[Span]) {
        let mut next = |bytes: usize| {
            let (own, others) = spans.split_at_checked(bytes).unwrap_or((spans, &[]));
            spans = others;
            joined(own).unwrap_or_default()
        };
        for chunk in bytes.utf8_chunks() {
            chunk.valid().chars().for_each(|c| self.push(c, next(c.len_utf8())));
            if !chunk.invalid().is_empty() {
                self.push(char::REPLACEMENT_CHARACTER, next(chunk.invalid().len()));
            }
        }
        self.push('\n', Span::default());
    }

    fn push(&mut self, c: char, span: Span) {
        self.text.push(c);
        self.spans.push(span);
    }
}

/// The range from the first of some adjacent ranges to the last.
fn joined(spans: &[Span]) -> Option<Span> {
    Some((spans.first()?.0, spans.last()?.1))
}

/// The six bits of a character of base64, in either alphabet (RFC 4648 §4 and §5).
fn sextet(c: char) -> Option<u32> {
    let code = u32::from(c);
    match c {
        'A'..='Z' => code.checked_sub(u32::from('A')),
        'a'..='z' => code.checked_sub(u32::from('a') - 26),
        '0'..='9' => code.checked_add(52 - u32::from('0')),
        '+' | '-' => Some(62),
        '/' | '_' => Some(63),
        _ => None,
    }
}

/// Returns true for characters that a text can have or lack without looking different, and for
/// U+FFFD, which replaces some of them.
fn is_invisible(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}')
        || matches!(c, '\u{feff}' | char::REPLACEMENT_CHARACTER)
}

/// The characters of base64 that have three bytes together.
const GROUP_CHARS: usize = 4;

/// The fewest characters of base64 that can have the shortest stretch.
const MIN_BASE64_CHARS: usize = 8;
