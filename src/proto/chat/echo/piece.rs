//! The texts and images of messages, and their comparison from the newest to the oldest.

use crate::proto::{
    chat::{
        item::{Item, Output, Part, Role},
        note::is_image_note,
    },
    error::Error,
};

/// A text or an image of a message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Piece<'a> {
    side: Role,
    content: Content<'a>,
    /// True for a text beside a call, and for one of several pieces of the user in a row. Many
    /// clients keep only one of a call and its text, and do not repeat reminders.
    may_be_missing: bool,
    /// The index of the message among the items.
    at: usize,
}

#[derive(Clone, Copy, Debug)]
enum Content<'a> {
    /// The URL. None if only a note of the image is left.
    Image(Option<&'a str>),
    /// A reference of the client to any content of the model.
    Reference,
    /// Without white space around it, and never empty. Clients trim texts.
    Text(&'a str),
}

/// The texts and images of the items, in order. On each side, the images follow the texts, because
/// APIs differ in their order. Blank texts are left out.
pub(super) fn pieces<'a>(items: impl IntoIterator<Item = &'a Item>) -> Vec<Piece<'a>> {
    let mut pieces: Vec<Piece<'a>> = Vec::new();
    // The items of one side in a row, with the index of their first piece.
    let (mut side, mut start, mut has_call) = (None, 0, false);
    for (at, item) in items.into_iter().enumerate() {
        if side != Some(item.side()) {
            several_of_user(pieces.get_mut(start..).unwrap_or_default());
            (side, start, has_call) = (Some(item.side()), pieces.len(), false);
        }
        let mut push = |content| pieces.push(Piece { side: item.side(), content, may_be_missing: has_call, at });
        match item {
            Item::Message { parts, .. } => parts.iter().filter_map(content).for_each(push),
            Item::Think { .. } if item.is_reference() => push(Content::Reference),
            Item::Call { .. } if !has_call => {
                has_call = true;
                pieces.iter_mut().skip(start).for_each(|piece| piece.may_be_missing = true);
            }
            Item::Call { .. } | Item::Result { .. } | Item::Think { .. } => {}
        }
    }
    several_of_user(pieces.get_mut(start..).unwrap_or_default());
    pieces.chunk_by_mut(|one, other| one.side == other.side).for_each(texts_first);
    pieces
}

/// Marks the pieces of one side in a row, if they are several of the user.
fn several_of_user(row: &mut [Piece<'_>]) {
    if let [Piece { side: Role::User, .. }, _, ..] = row {
        row.iter_mut().for_each(|piece| piece.may_be_missing = true);
    }
}

fn content(part: &Part) -> Option<Content<'_>> {
    match part {
        Part::Image(url) => Some(Content::Image(Some(url))),
        Part::Text(text) if is_image_note(text) => Some(Content::Image(None)),
        Part::Text(text) => text_content(text),
    }
}

fn text_content(text: &str) -> Option<Content<'_>> {
    let text = text.trim();
    (!text.is_empty()).then_some(Content::Text(text))
}

/// Returns true if both have the same texts and images.
pub(super) fn same_content(ours: Vec<Piece<'_>>, theirs: &[Piece<'_>]) -> bool {
    let mut own = OwnPieces::new(ours);
    theirs.iter().rev().all(|piece| own.take(*piece).is_ok()) && own.left.is_empty()
}

/// The texts and images of a message or a result.
pub(super) fn content_of(item: &Item) -> Vec<Piece<'_>> {
    let (text, parts): (_, &[Part]) = match item {
        Item::Message { parts, .. } | Item::Result { out: Output::Parts(parts), .. } => (None, parts),
        Item::Result { out: Output::Text(text), .. } => (text_content(text), &[]),
        Item::Call { .. } | Item::Think { .. } => (None, &[]),
    };
    let piece = |content| Piece { side: item.side(), content, may_be_missing: false, at: 0 };
    let mut pieces: Vec<_> = text.into_iter().chain(parts.iter().filter_map(content)).map(piece).collect();
    texts_first(&mut pieces);
    pieces
}

fn texts_first(pieces: &mut [Piece<'_>]) {
    pieces.sort_by_key(|piece| matches!(piece.content, Content::Image(_)));
}

/// Compares the pieces of a client's copy with those of the token. Returns the index of the oldest
/// item in the copy that the token can have.
///
/// The copy may start at any piece of the token. `items` is the number of items in the copy.
///
/// # Errors
/// [`Error::ClientHistoryForbidden`] for other content of the model, and [`Error::RequestInvalid`]
/// for other content of the user.
pub(super) fn compare(
    ours: Vec<Piece<'_>>,
    theirs: &[Piece<'_>],
    items: usize,
    is_whole: bool,
) -> Result<usize, Error> {
    let mut own = OwnPieces::new(ours);
    let mut oldest = None;
    for piece in theirs.iter().rev() {
        match own.take(*piece) {
            Ok(()) => oldest = Some(piece.at),
            // Only a trimmed turn can be unknown.
            Err(None) if !is_whole => break,
            // A reply without content is in the place of one that the token has.
            Err(Some(Role::Assistant)) if oldest.is_none() => return Err(Error::ClientHistoryForbidden),
            Err(_) => return Err(mismatch(piece.side)),
        }
    }
    match theirs.first() {
        Some(first) if own.is_partial => Err(mismatch(first.side)),
        _ if own.left.is_empty() && !is_whole => Ok(oldest.unwrap_or(items)),
        _ => Ok(0),
    }
}

/// The error for an item of one side that differs from the conversation in the token.
pub(super) fn mismatch(side: Role) -> Error {
    match side {
        Role::Assistant => Error::ClientHistoryForbidden,
        Role::User => Error::invalid(
            "The messages in the request differ from the conversation in the token. Send only new messages. To continue \
            from an earlier turn, send the token of that turn.",
        ),
    }
}

/// The pieces of the token that no piece of the copy has been compared with.
struct OwnPieces<'a> {
    left: Vec<Piece<'a>>,
    /// True if the last text is the start of one whose end the copy has.
    is_partial: bool,
    /// True after a reference: the copy has content of the model that is not compared.
    has_reference: bool,
}

impl<'a> OwnPieces<'a> {
    fn new(left: Vec<Piece<'a>>) -> Self {
        Self { left, is_partial: false, has_reference: false }
    }

    /// Takes the newest pieces, which must have the content of `piece`. Each is compared once.
    ///
    /// # Errors
    /// The side of the piece that differs. `None` if no piece is left.
    fn take(&mut self, mut piece: Piece<'a>) -> Result<(), Option<Role>> {
        if matches!(piece.content, Content::Reference) {
            self.has_reference = true;
            return if self.left.is_empty() { Err(None) } else { Ok(()) };
        }
        loop {
            let own = self.left.pop().ok_or(None)?;
            let may_be_missing = own.may_be_missing || self.has_reference && own.side == Role::Assistant;
            match own.starts(&piece) {
                Some((own_start, start)) => {
                    self.has_reference &= own.side == Role::Assistant;
                    self.is_partial = own_start.is_some();
                    self.left.extend(own_start);
                    let Some(start) = start else { return Ok(()) };
                    piece = start;
                }
                None if may_be_missing => {}
                None => return Err(Some(own.side)),
            }
        }
    }
}

impl<'a> Piece<'a> {
    /// True for a part of a reply that a copy of a later turn must have.
    pub(super) fn is_needed_reply(&self) -> bool {
        self.side == Role::Assistant && !self.may_be_missing
    }

    /// The starts of both pieces before their common end. `None` if they have no common end.
    ///
    /// A client can join texts with white space between them.
    fn starts(&self, other: &Self) -> Option<(Option<Self>, Option<Self>)> {
        if self.side != other.side {
            return None;
        }
        let (own, other_text) = match (self.content, other.content) {
            (Content::Text(own), Content::Text(other)) => (own, other),
            (Content::Image(own), Content::Image(other)) if own.is_none() || other.is_none() || own == other => {
                return Some((None, None));
            }
            _ => return None,
        };
        let start = |piece: &Self, text: &'a str| {
            let text = text.trim_end();
            (!text.is_empty()).then_some(Self { content: Content::Text(text), may_be_missing: false, ..*piece })
        };
        match own.strip_suffix(other_text) {
            Some(own) => Some((start(self, own), None)),
            None => other_text.strip_suffix(own).map(|text| (None, start(other, text))),
        }
    }
}
