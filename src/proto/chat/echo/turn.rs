//! The content of a turn, in the form in which copies of it are compared.

use std::ops::RangeInclusive;

use super::json::same_args;
use crate::proto::chat::{
    item::{Item, Output, Part, Role},
    note::is_image_note,
};

/// The content of one side, user or model, between two turns of the other side.
#[derive(Debug, Default)]
pub(super) struct EchoTurn<'a> {
    pub(super) by_model: bool,
    text: String,
    /// Images, calls and results, in order.
    pieces: Vec<Piece<'a>>,
    /// The bytes of text and the number of pieces before each reply without content. A client may
    /// have forgotten what came before it.
    silences: Vec<(usize, usize)>,
    /// True if the client repeats at least a part of the turn by a reference. Its content is then
    /// unknown, and it can be that of any turn of the model.
    has_reference: bool,
}

#[derive(Debug)]
enum Piece<'a> {
    Call {
        id: &'a str,
        name: &'a str,
        args: &'a str,
    },
    /// The URL. None if only a note of the image is left.
    Image(Option<&'a str>),
    Result {
        id: &'a str,
        turn: EchoTurn<'a>,
    },
}

impl<'a> EchoTurn<'a> {
    /// The content of one item. Its texts are trimmed, so that no comparison trims them again.
    pub(super) fn of_item(item: &'a Item) -> Self {
        let mut turn = Self { by_model: item.side() == Role::Assistant, ..Self::default() };
        turn.add(item);
        turn.trimmed()
    }

    fn trimmed(self) -> Self {
        Self { text: self.text.trim().to_owned(), ..self }
    }

    fn add(&mut self, item: &'a Item) {
        match item {
            Item::Call { id, name, args } => self.pieces.push(Piece::Call { id, name, args }),
            Item::Message { parts, .. } => self.add_parts(parts),
            Item::Result { id, out, .. } => {
                let mut turn = Self::default();
                match out {
                    Output::Parts(parts) => turn.add_parts(parts),
                    Output::Text(text) => turn.text.push_str(text),
                }
                self.pieces.push(Piece::Result { id, turn: turn.trimmed() });
            }
            Item::Think { .. } => self.has_reference |= item.is_reference(),
        }
    }

    fn add_parts(&mut self, parts: &'a [Part]) {
        for part in parts {
            match part {
                Part::Image(url) => self.pieces.push(Piece::Image(Some(url))),
                Part::Text(text) if is_image_note(text) => self.pieces.push(Piece::Image(None)),
                Part::Text(text) => self.text.push_str(text),
            }
        }
    }

    /// Returns true if both have the same content. Clients trim texts, and parse and rewrite the
    /// arguments of calls.
    pub(super) fn has_content_of(&self, other: &Self) -> bool {
        let is_same = self.text.trim() == other.text.trim() && has_pieces(&self.pieces, &other.pieces);
        self.by_model == other.by_model && (is_same || other.has_reference)
    }

    /// Returns true if `other` has the content after one of the replies without content.
    ///
    /// Each text and each piece is compared once, however many such replies there are.
    pub(super) fn ends_with_content_of(&self, other: &Self) -> bool {
        let is_known = other.has_reference && !self.silences.is_empty();
        self.by_model == other.by_model && (is_known || self.has_end(other).unwrap_or_default())
    }

    fn has_end(&self, other: &Self) -> Option<bool> {
        let texts = text_starts(&self.text, &other.text)?;
        let first_piece = self.pieces.len().checked_sub(other.pieces.len())?;
        let is_start = |(text, piece): &(usize, usize)| texts.contains(text) && *piece == first_piece;
        let ends = self.silences.iter().any(is_start);
        Some(ends && has_pieces(self.pieces.get(first_piece..)?, &other.pieces))
    }
}

fn has_pieces(ours: &[Piece<'_>], theirs: &[Piece<'_>]) -> bool {
    ours.len() == theirs.len() && ours.iter().zip(theirs).all(|(ours, theirs)| ours.has_content_of(theirs))
}

/// The places in `text` from which it has the same content as `end`, apart from white space.
fn text_starts(text: &str, end: &str) -> Option<RangeInclusive<usize>> {
    let end = end.trim();
    let before = text.trim_end().strip_suffix(end)?;
    let last = if end.is_empty() { text.len() } else { before.len() };
    Some(before.trim_end().len()..=last)
}

impl Piece<'_> {
    fn has_content_of(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Call { id, name, args }, Self::Call { id: other_id, name: other_name, args: other_args }) => {
                id == other_id && name == other_name && same_args(args, other_args)
            }
            (Self::Image(url), Self::Image(other)) => url.is_none() || other.is_none() || url == other,
            (Self::Result { id, turn }, Self::Result { id: other_id, turn: other }) => {
                id == other_id && turn.has_content_of(other)
            }
            _ => false,
        }
    }
}

/// The content of the items, grouped by side. Items of the model without content are left out.
pub(super) fn turns(items: &[Item]) -> Vec<EchoTurn<'_>> {
    let mut turns: Vec<EchoTurn<'_>> = Vec::new();
    for item in items {
        let by_model = item.side() == Role::Assistant;
        let says_nothing = item.says_nothing() && !item.is_reference();
        match turns.last_mut() {
            Some(turn) if says_nothing => turn.silences.push((turn.text.len(), turn.pieces.len())),
            None if says_nothing => {}
            Some(turn) if turn.by_model == by_model => turn.add(item),
            _ => {
                let mut turn = EchoTurn { by_model, ..EchoTurn::default() };
                turn.add(item);
                turns.push(turn);
            }
        }
    }
    turns
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_text_starts_in_one_range() {
        let texts = ["", " ", "a", "a b", " a  b ", "  ", "b", "ba b\n", "\u{a0}b \u{2003}", "aab"];
        for (text, end) in texts.iter().flat_map(|text| texts.map(|end| (*text, end))) {
            let starts = text_starts(text, end);
            for at in (0..=text.len()).filter(|at| text.is_char_boundary(*at)) {
                let is_start = starts.as_ref().is_some_and(|starts| starts.contains(&at));
                assert_eq!(is_start, text[at..].trim() == end.trim(), "{text:?} {end:?} {at}");
            }
        }
    }

    #[test]
    fn compared_texts_are_trimmed_once() {
        let blank = Item::text(Role::User, " ".repeat(1_000));
        assert_eq!(EchoTurn::of_item(&blank).text, "");
        let out = Output::Text(" a ".to_owned());
        let result = Item::Result { id: "1".to_owned(), out, error: false };
        assert!(
            matches!(EchoTurn::of_item(&result).pieces.as_slice(), [Piece::Result { turn, .. }] if turn.text == "a")
        );
    }
}
