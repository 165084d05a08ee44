//! The content of a turn, in the form in which copies of it are compared.

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
                self.pieces.push(Piece::Result { id, turn });
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
        self.has_content_after((0, 0), other)
    }

    /// Returns true if `other` has the content after one of the replies without content.
    pub(super) fn ends_with_content_of(&self, other: &Self) -> bool {
        self.silences.iter().any(|silence| self.has_content_after(*silence, other))
    }

    fn has_content_after(&self, (text, pieces): (usize, usize), other: &Self) -> bool {
        let text = self.text.get(text..).unwrap_or_default();
        let pieces = self.pieces.get(pieces..).unwrap_or_default();
        let is_same = text.trim() == other.text.trim()
            && pieces.len() == other.pieces.len()
            && pieces.iter().zip(&other.pieces).all(|(piece, other)| piece.has_content_of(other));
        self.by_model == other.by_model && (is_same || other.has_reference)
    }
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
