//! Cuts the operator's secrets out of the words of model services.
//!
//! A service can quote anything in an error, even the operator's key or system prompt. Both are
//! known exactly, so their stretches are found and cut out, in any case of letters and after
//! decoding of escapes and base64.
//!
//! Nothing may be learned from what is cut. So a stretch that the caller's own request contains, in
//! any of these forms, stays: a guess gets the same answer whether it is right or wrong. Adjacent
//! stretches are one quotation. It stays only if the request covers all of it. So a caller that
//! guesses a part of a quotation does not see where the part is.
//!
//! The work is linear in the words, and in the request if the words have a stretch of a secret.

mod form;

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

use zeroize::Zeroizing;

use self::form::{Form, Span};

/// The hashes of all stretches of some secrets.
///
/// Secrets that are shorter than a stretch count as one stretch.
#[derive(Default)]
pub(in crate::proto) struct StretchIndex(BTreeMap<usize, Zeroizing<Vec<u64>>>);

impl StretchIndex {
    /// The stretches of `chars` characters in these secrets.
    pub(in crate::proto) fn new<'a>(secrets: impl IntoIterator<Item = &'a str>, chars: usize) -> Self {
        let mut index = Self::default();
        for secret in secrets {
            let secret = Form::plain(secret.trim()).folded();
            let chars = chars.min(secret.len());
            if chars >= MIN_SECRET_CHARS {
                let hashes = index.0.entry(chars).or_default();
                hashes.extend(windows(&secret, chars).map(|(_, hash)| hash));
            }
        }
        for hashes in index.0.values_mut() {
            hashes.sort_unstable();
            hashes.dedup();
        }
        index
    }

    /// The quotations of the secrets in a text.
    fn quotations(&self, text: &[(char, Span)]) -> Vec<Quotation> {
        let mut quotations: Vec<Quotation> = Vec::new();
        for (chars, hashes) in &self.0 {
            let found = windows(text, *chars).filter(|(_, hash)| hashes.binary_search(hash).is_ok());
            let of_this_length = quotations.len();
            for (at, hash) in found {
                let end = at.saturating_add(*chars);
                match quotations.get_mut(of_this_length..).and_then(|quotations| quotations.last_mut()) {
                    Some(last) if at < last.range.end => {
                        last.range.end = end;
                        last.stretches.push((at, hash));
                    }
                    _ => quotations.push(Quotation { chars: *chars, range: at..end, stretches: vec![(at, hash)] }),
                }
            }
        }
        quotations
    }
}

/// Overlapping stretches of secrets in a text.
struct Quotation {
    /// The length of each stretch.
    chars: usize,
    /// The characters of the text.
    range: Range<usize>,
    /// The place and the hash of each stretch.
    stretches: Vec<(usize, u64)>,
}

impl Quotation {
    /// The bytes of the original that have this quotation, without white space around it. `None` if
    /// the caller's stretches cover it.
    ///
    /// The service's own punctuation can extend a quotation by chance. It need not be covered.
    fn uncovered(&self, text: &[(char, Span)], own: &Stretches) -> Option<Span> {
        let mut covered_to = 0;
        let mut own = self.stretches.iter().filter(|(_, hash)| own.contains(&(self.chars, *hash))).peekable();
        let mut uncovered = |at: usize| {
            while let Some((start, _)) = own.next_if(|(start, _)| *start <= at) {
                covered_to = start.saturating_add(self.chars);
            }
            at >= covered_to
        };
        let characters = || self.range.clone().filter_map(|at| text.get(at).map(|character| (at, character)));
        if !characters().any(|(at, (c, _))| uncovered(at) && c.is_alphanumeric()) {
            return None;
        }
        let mut visible = characters().filter(|(_, (c, _))| *c != ' ').map(|(_, (_, span))| *span);
        let first = visible.next()?;
        Some((first.0, visible.last().unwrap_or(first).1))
    }
}

/// The lengths and hashes of stretches.
type Stretches = BTreeSet<(usize, u64)>;

/// `words` without the quotations of `secrets` that the caller's own `request` does not have. The
/// request is in pieces, without the operator's part.
pub(in crate::proto) fn without_secrets<'a>(
    words: &'a str,
    secrets: &[&StretchIndex],
    request: &[&str],
) -> Cow<'a, str> {
    let mut quoted: Vec<(Vec<(char, Span)>, Vec<Quotation>)> = Vec::new();
    Form::plain(words).visit_all(WORDS_UNESCAPES, true, &mut |form| {
        let text = form.folded();
        let quotations: Vec<_> = secrets.iter().flat_map(|secrets| secrets.quotations(&text)).collect();
        if !quotations.is_empty() {
            quoted.push((text, quotations));
        }
    });
    if quoted.is_empty() {
        return Cow::Borrowed(words);
    }
    let stretches = |quotation: &Quotation| {
        let chars = quotation.chars;
        quotation.stretches.iter().map(move |(_, hash)| (chars, *hash)).collect::<Vec<_>>()
    };
    let wanted: Stretches = quoted.iter().flat_map(|(_, quotations)| quotations).flat_map(stretches).collect();
    let own = own_stretches(&wanted, request);
    let uncovered = quoted.iter().flat_map(|(text, quotations)| quotations.iter().map(move |one| (text, one)));
    let mut cuts: Vec<Span> = uncovered.filter_map(|(text, quotation)| quotation.uncovered(text, &own)).collect();
    cuts.sort_unstable();
    cut(words, &cuts)
}

/// Those of the `wanted` stretches that the request contains, in any form.
fn own_stretches(wanted: &Stretches, request: &[&str]) -> Stretches {
    let lengths: BTreeSet<usize> = wanted.iter().map(|(chars, _)| *chars).collect();
    let mut own = Stretches::new();
    for piece in request.iter().flat_map(|text| overlapping_pieces(text)) {
        Form::plain(piece).visit_all(REQUEST_UNESCAPES, true, &mut |form| {
            let text = form.folded();
            for chars in &lengths {
                let stretches = windows(&text, *chars).map(|(_, hash)| (*chars, hash));
                own.extend(stretches.filter(|stretch| wanted.contains(stretch)));
            }
        });
        if own.len() == wanted.len() {
            break;
        }
    }
    own
}

/// `words` with these sorted ranges replaced.
fn cut<'a>(words: &'a str, cuts: &[Span]) -> Cow<'a, str> {
    if cuts.is_empty() {
        return Cow::Borrowed(words);
    }
    let (mut shown, mut hidden_to) = (String::new(), 0);
    for &(start, end) in cuts {
        if start > hidden_to || shown.is_empty() {
            shown.push_str(words.get(hidden_to..start).unwrap_or_default());
            shown.push_str(REDACTED);
        }
        hidden_to = hidden_to.max(end);
    }
    shown.push_str(words.get(hidden_to..).unwrap_or_default());
    Cow::Owned(shown)
}

/// The text in pieces that limit the memory for their forms. They overlap, so that each stretch is
/// in one piece as a whole, even if it is escaped several times.
fn overlapping_pieces(text: &str) -> impl Iterator<Item = &str> {
    let starts = (0..text.len()).step_by(PIECE_BYTES);
    starts.map(|start| {
        let end = start.saturating_add(PIECE_BYTES + OVERLAP_BYTES);
        text.get(text.floor_char_boundary(start)..text.floor_char_boundary(end)).unwrap_or_default()
    })
}

/// The place and the hash of each stretch of `chars` characters.
fn windows(text: &[(char, Span)], chars: usize) -> impl Iterator<Item = (usize, u64)> {
    let code = |at: usize| text.get(at).map_or(0, |(c, _)| u64::from(*c).wrapping_add(1));
    let last_factor = (0..chars).fold(1_u64, |factor, _| factor.wrapping_mul(HASH_FACTOR));
    let mut hash = (0..chars).fold(0_u64, |hash, at| hash.wrapping_mul(HASH_FACTOR).wrapping_add(code(at)));
    let count = text.len().saturating_add(1).saturating_sub(chars);
    (0..count).map(move |at| {
        let current = hash;
        let added = hash.wrapping_mul(HASH_FACTOR).wrapping_add(code(at.saturating_add(chars)));
        hash = added.wrapping_sub(code(at).wrapping_mul(last_factor));
        (at, current)
    })
}

/// The shortest stretch of a key that is cut out, in characters.
pub(in crate::proto) const KEY_STRETCH_CHARS: usize = 8;
/// The shortest stretch of a system prompt that is cut out, in characters. Shorter ones occur by
/// chance.
pub(in crate::proto) const PROMPT_STRETCH_CHARS: usize = 24;
/// The shortest secret that is looked for, in characters. A shorter one would hide common words.
pub(in crate::proto) const MIN_SECRET_CHARS: usize = 6;
/// The most times that the escapes of words are decoded. Quoted quotes are escaped several times.
const WORDS_UNESCAPES: usize = 4;
/// The same for a request. Its body adds an escape to each text, and two to arguments of calls.
const REQUEST_UNESCAPES: usize = WORDS_UNESCAPES + 2;
/// The size of a piece of a request.
const PIECE_BYTES: usize = 32 << 10;
/// The size of the longest stretch in its escaped forms.
const OVERLAP_BYTES: usize = 2 << 10;
/// The factor of the rolling hash: odd, with bits in all places.
const HASH_FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;

const REDACTED: &str = "[redacted]";

#[cfg(test)]
mod tests;
