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

use self::form::{Decodings, Form};

/// The hashes of all stretches of some secrets, by their length in characters.
///
/// Secrets that are shorter than a stretch count as one stretch.
#[derive(Default)]
pub(in crate::proto) struct StretchIndex(BTreeMap<usize, Hashes>);

impl StretchIndex {
    /// The stretches of `chars` characters in these secrets.
    pub(in crate::proto) fn new<'a>(secrets: impl IntoIterator<Item = &'a str>, chars: usize) -> Self {
        let mut stretches = Stretches::new();
        for secret in secrets {
            let secret: Vec<char> = Form::plain(secret.trim()).folded().map(|(c, _)| c).collect();
            let chars = chars.min(secret.len());
            if chars >= MIN_SECRET_CHARS {
                stretches.extend(windows(secret.into_iter(), chars).map(|(_, hash)| (chars, hash)));
            }
        }
        Self::of(&stretches)
    }

    fn of(stretches: &Stretches) -> Self {
        let mut by_length = BTreeMap::<usize, Hashes>::new();
        stretches.iter().for_each(|(chars, hash)| by_length.entry(*chars).or_default().push(*hash));
        Self(by_length)
    }

    /// The quotations of the secrets in a text.
    fn quotations(&self, text: &[(char, Range<usize>)]) -> Vec<Quotation> {
        let mut quotations: Vec<Quotation> = Vec::new();
        for (chars, hashes) in &self.0 {
            let all = windows(text.iter().map(|(c, _)| *c), *chars);
            let of_this_length = quotations.len();
            for (at, hash) in all.filter(|(_, hash)| hashes.contains(*hash)) {
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

/// The lengths and hashes of stretches.
type Stretches = BTreeSet<(usize, u64)>;

/// A set of hashes that says fast of most others that it has not got them.
struct Hashes {
    sorted: Zeroizing<Vec<u64>>,
    /// One bit for the first bits of each hash.
    filter: Vec<bool>,
}

impl Default for Hashes {
    fn default() -> Self {
        Self { sorted: Zeroizing::default(), filter: vec![false; 1 << FILTER_BITS] }
    }
}

impl Hashes {
    /// Adds a hash that is greater than all others.
    fn push(&mut self, hash: u64) {
        self.sorted.push(hash);
        if let Some(bit) = self.filter.get_mut(filter_index(hash)) {
            *bit = true;
        }
    }

    fn contains(&self, hash: u64) -> bool {
        self.filter.get(filter_index(hash)).is_some_and(|bit| *bit) && self.sorted.binary_search(&hash).is_ok()
    }
}

fn filter_index(hash: u64) -> usize {
    usize::try_from(hash >> (u64::BITS - FILTER_BITS)).unwrap_or_default()
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
    /// Returns true if the caller's stretches cover the quotation.
    ///
    /// The service's own punctuation can extend a quotation by chance. It need not be covered.
    fn is_covered(&self, text: &[(char, Range<usize>)], own: &Stretches) -> bool {
        let mut covered_to = 0;
        let mut own = self.stretches.iter().filter(|(_, hash)| own.contains(&(self.chars, *hash))).peekable();
        self.range.clone().filter_map(|at| text.get(at).map(|(c, _)| (at, *c))).all(|(at, c)| {
            while let Some((start, _)) = own.next_if(|(start, _)| *start <= at) {
                covered_to = start.saturating_add(self.chars);
            }
            at < covered_to || !c.is_alphanumeric()
        })
    }

    /// The bytes of the text, without white space around them.
    fn bytes(&self, text: &[(char, Range<usize>)]) -> Range<usize> {
        let mut visible = text.get(self.range.clone()).unwrap_or_default().iter().filter(|(c, _)| *c != ' ');
        let first = visible.next().map(|(_, bytes)| bytes.clone()).unwrap_or_default();
        first.start..visible.next_back().map_or(first.end, |(_, bytes)| bytes.end)
    }
}

/// `words` without the quotations of `secrets` that the caller's own `request` does not have. The
/// request is in pieces, without the operator's part.
pub(in crate::proto) fn without_secrets<'a>(
    words: &'a str,
    secrets: &[&StretchIndex],
    request: &[&str],
) -> Cow<'a, str> {
    let wanted = quoted_stretches(words, secrets);
    if wanted.is_empty() {
        return Cow::Borrowed(words);
    }
    let own = own_stretches(&wanted, request);
    let mut cuts: Vec<(usize, usize)> = Vec::new();
    visit_quotations(words, secrets, |form, text, quotation| {
        if !quotation.is_covered(text, &own) {
            let Range { start, end } = form.original(quotation.bytes(text));
            cuts.push((start, end));
        }
    });
    cuts.sort_unstable();
    cut(words, &cuts)
}

/// The stretches of secrets in the words, in any form.
fn quoted_stretches(words: &str, secrets: &[&StretchIndex]) -> Stretches {
    let mut quoted = Stretches::new();
    visit_quotations(words, secrets, |_, _, quotation| {
        quoted.extend(quotation.stretches.iter().map(|(_, hash)| (quotation.chars, *hash)));
    });
    quoted
}

/// Calls `visit` with each quotation in each form of the words, and with the form's characters.
fn visit_quotations(
    words: &str,
    secrets: &[&StretchIndex],
    mut visit: impl FnMut(&Form<'_>, &[(char, Range<usize>)], &Quotation),
) {
    Form::plain(words).visit_all(OF_WORDS, &mut |form| {
        let text: Vec<_> = form.folded().collect();
        let quotations = secrets.iter().flat_map(|secrets| secrets.quotations(&text));
        quotations.for_each(|quotation| visit(form, &text, &quotation));
    });
}

/// Those of the `wanted` stretches that the request contains, in any form.
fn own_stretches(wanted: &Stretches, request: &[&str]) -> Stretches {
    let index = StretchIndex::of(wanted);
    let mut own = Stretches::new();
    for piece in request.iter().flat_map(|text| overlapping_pieces(text)) {
        Form::plain(piece).visit_all(OF_REQUEST, &mut |form| {
            for (chars, hashes) in &index.0 {
                let all = windows(form.folded().map(|(c, _)| c), *chars).map(|(_, hash)| hash);
                own.extend(all.filter(|hash| hashes.contains(*hash)).map(|hash| (*chars, hash)));
            }
        });
        if own.len() == wanted.len() {
            break;
        }
    }
    own
}

/// `words` with these sorted ranges replaced.
fn cut<'a>(words: &'a str, cuts: &[(usize, usize)]) -> Cow<'a, str> {
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
fn windows(text: impl Iterator<Item = char>, chars: usize) -> impl Iterator<Item = (usize, u64)> {
    let leaving_factor = (0..chars).fold(1_u64, |factor, _| factor.wrapping_mul(HASH_FACTOR));
    let (mut hash, mut window, mut slot) = (0_u64, vec![0_u64; chars], 0_usize);
    text.enumerate().filter_map(move |(at, c)| {
        let entering = u64::from(c).wrapping_add(1);
        let leaving = window.get_mut(slot).map(|place| std::mem::replace(place, entering)).unwrap_or_default();
        hash = hash.wrapping_mul(HASH_FACTOR).wrapping_add(entering);
        hash = hash.wrapping_sub(leaving.wrapping_mul(leaving_factor));
        slot = if slot.saturating_add(1) == chars { 0 } else { slot.saturating_add(1) };
        at.saturating_add(1).checked_sub(chars).map(|start| (start, hash))
    })
}

/// The shortest stretch of a key that is cut out, in characters.
pub(in crate::proto) const KEY_STRETCH_CHARS: usize = 8;
/// The shortest stretch of a system prompt that is cut out, in characters. Shorter ones occur by
/// chance.
pub(in crate::proto) const PROMPT_STRETCH_CHARS: usize = 24;
/// The shortest secret that is looked for, in characters. A shorter one would hide common words.
pub(in crate::proto) const MIN_SECRET_CHARS: usize = 6;
/// The decodings of words. Quoted quotes are escaped several times.
const OF_WORDS: Decodings = Decodings { unescapes: 4, base64: 2 };
/// The decodings of a request. Its body adds an escape to each text, and two to arguments of calls.
const OF_REQUEST: Decodings = Decodings { unescapes: OF_WORDS.unescapes + 2, base64: OF_WORDS.base64 + 2 };
/// The size of a piece of a request.
const PIECE_BYTES: usize = 32 << 10;
/// The size of the longest stretch in its escaped forms.
const OVERLAP_BYTES: usize = 2 << 10;
/// The bits of a hash that the filter of a set knows.
const FILTER_BITS: u32 = 14;
/// The factor of the rolling hash: odd, with bits in all places.
const HASH_FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;

const REDACTED: &str = "[redacted]";

#[cfg(test)]
mod tests;
