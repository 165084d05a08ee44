//! The token's own items, compared with a client's copy of them.

use std::collections::BTreeMap;

use super::{
    json::Json,
    piece::{self, Piece, content_of, pieces, same_content},
};
use crate::proto::{
    chat::item::{Item, Role},
    error::Error,
};

/// The items of the token that no item of the copy has been compared with.
pub(super) struct OwnItems<'a> {
    pieces: Vec<Piece<'a>>,
    /// By id, oldest first. Services can use an id again.
    calls: BTreeMap<&'a str, Vec<&'a Item>>,
    results: BTreeMap<&'a str, Vec<&'a Item>>,
}

impl<'a> OwnItems<'a> {
    pub(super) fn new(items: &'a [Item]) -> Self {
        let mut own = Self { pieces: pieces(items), calls: BTreeMap::new(), results: BTreeMap::new() };
        for item in items {
            match item {
                Item::Call { id, .. } => own.calls.entry(id).or_default().push(item),
                Item::Result { id, .. } => own.results.entry(id).or_default().push(item),
                Item::Message { .. } | Item::Think { .. } => {}
            }
        }
        own
    }

    /// Takes the newest result with the content of `item`. Returns false if there is none.
    pub(super) fn takes_result(&mut self, item: &Item) -> bool {
        let Item::Result { id, .. } = item else { return false };
        let content = content_of(item);
        take_last(self.results.get_mut(id.as_str()), |own| same_content(content_of(own), &content))
    }

    fn takes_call(&mut self, item: &Item) -> bool {
        let Item::Call { id, name, args } = item else { return false };
        let args = Json::new(args);
        take_last(self.calls.get_mut(id.as_str()), |own| match own {
            Item::Call { name: own_name, args: own_args, .. } => own_name == name && args.are_args(own_args),
            _ => false,
        })
    }

    /// Compares the client's copy with the items, from the newest to the oldest.
    ///
    /// # Errors
    /// As [`super::new_items`].
    pub(super) fn compare(mut self, copy: &[&Item], is_whole: bool) -> Result<(), Error> {
        let theirs = pieces(copy.iter().copied());
        let needs_reply = self.pieces.last().is_some_and(Piece::is_needed_reply);
        let stands_for_reply = |item: &&&Item| matches!(item, Item::Call { .. } | Item::Message { .. });
        // A call or a blank message is not the reply that follows it.
        if theirs.is_empty() && needs_reply && copy.iter().any(|item| stands_for_reply(&item)) {
            return Err(Error::ClientHistoryForbidden);
        }
        let oldest = piece::compare(std::mem::take(&mut self.pieces), &theirs, copy.len(), is_whole)?;
        let compared = || copy.iter().skip(oldest).rev();
        let is_call = |item: &&&Item| matches!(item, Item::Call { .. });
        if !compared().filter(is_call).all(|call| self.takes_call(call)) {
            return Err(piece::mismatch(Role::Assistant));
        }
        let is_result = |item: &&&Item| matches!(item, Item::Result { .. });
        if !compared().filter(is_result).all(|result| self.takes_result(result)) {
            return Err(piece::mismatch(Role::User));
        }
        Ok(())
    }
}

/// Takes the newest item that is wanted, and all after it. So each item is compared once.
fn take_last<'a>(items: Option<&mut Vec<&'a Item>>, is_wanted: impl Fn(&'a Item) -> bool) -> bool {
    let Some(items) = items else { return false };
    while let Some(item) = items.pop() {
        if is_wanted(item) {
            return true;
        }
    }
    false
}
