//! The items of a conversation in order, and the rules between them: input must fit the history,
//! and trimming removes complete turns.

use super::{
    echo::{self, waiting_calls},
    image::{ImageRules, images, inline_data},
    item::{Item, Part, Role},
    waiting::WaitingCalls,
};
use crate::proto::{
    error::{Error, Excess},
    excerpt::excerpt,
    limits::Limits,
};

/// The items of a conversation, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History(Vec<Item>);

/// The error for input with nothing new after the model's last message.
pub(in crate::proto) fn ends_with_model() -> Error {
    Error::invalid("The input ends with a message of the model. End it with a user message or a tool result.")
}

impl History {
    /// Appends the caller's input, if it fits the history.
    ///
    /// # Errors
    /// - [`Error::RequestInvalid`] for no input, an empty message, an image whose address is not
    ///   allowed, a result without a call, or a message while a call waits for its result.
    /// - [`Error::ClientHistoryForbidden`] for items of the model, unless `accepts_model_items`.
    /// - [`Error::MessageTooLarge`] and [`Error::ImageTooLarge`].
    pub fn push_input(
        &mut self,
        input: Vec<Item>,
        accepts_model_items: bool,
        limits: &Limits,
        images: &ImageRules,
    ) -> Result<(), Error> {
        if input.is_empty() {
            return Err(Error::invalid("`input` is empty. Send text, parts or tool results."));
        }
        let mut waiting: WaitingCalls = waiting_calls(&self.0).into_iter().collect();
        for item in &input {
            check_size(item, limits)?;
            images.check_item(item).map_err(|fault| Error::invalid(format!("An image {fault}.")))?;
            check_order(item, &mut waiting, accepts_model_items)?;
        }
        if !matches!(input.last(), Some(Item::Message { role: Role::User, .. } | Item::Result { .. })) {
            return Err(ends_with_model());
        }
        if let Some(id) = waiting.oldest() {
            return Err(Error::invalid(format!(
                "Tool call `{}` has no result. Send the results of all calls.",
                excerpt(id)
            )));
        }
        self.0.extend(input);
        Ok(())
    }

    /// The number of items in the oldest turns that together have at least `bytes` of lines and
    /// `items`. `None` if not even all turns before the last one are enough.
    ///
    /// A turn begins with a user message after a message or reasoning of the model. So a call and
    /// its result stay together. The last turn has the new input and does not count.
    #[must_use]
    pub fn oldest_turns(&self, bytes: usize, items: usize) -> Option<usize> {
        let mut turn_bytes = 0_usize;
        for (at, pair) in self.0.windows(2).enumerate() {
            let [before, item] = pair else { break };
            turn_bytes = turn_bytes.saturating_add(before.line_bytes());
            let turn_items = at.saturating_add(1);
            let turn_begins = matches!(item, Item::Message { role: Role::User, .. })
                && matches!(before, Item::Message { role: Role::Assistant, .. } | Item::Think { .. });
            if turn_begins && turn_bytes >= bytes && turn_items >= items {
                return Some(turn_items);
            }
        }
        None
    }

    /// Removes the oldest `items`.
    pub fn drop_oldest(&mut self, items: usize) {
        self.0.drain(..items.min(self.0.len()));
    }

    /// Returns the items.
    #[must_use]
    pub fn into_items(self) -> Vec<Item> {
        self.0
    }

    /// Compares what `input` repeats of the conversation, as some clients do, with this history.
    /// Returns true for each item that is new.
    ///
    /// `turns` is the number of turns of the conversation. If the history holds fewer, it was
    /// trimmed. With `accepts_model_items`, a client may bring items of the model that the history
    /// does not have. All input is new then.
    ///
    /// # Errors
    /// [`Error::ClientHistoryForbidden`] or [`Error::RequestInvalid`] if the repeated items differ.
    pub fn new_items(&self, input: &[Item], turns: u64, accepts_model_items: bool) -> Result<Vec<bool>, Error> {
        let turns_kept = u64::try_from(echo::count_turns(&self.0)).unwrap_or(u64::MAX);
        match echo::new_items(&self.0, input, turns_kept >= turns, !accepts_model_items) {
            // Other differences are still refused: a repeated conversation with changed user
            // messages would enter a second time. A reference has no content that could enter.
            Err(Error::ClientHistoryForbidden) if accepts_model_items && !input.iter().any(Item::is_reference) => {
                Ok(vec![true; input.len()])
            }
            is_new => is_new,
        }
    }

    /// The items, oldest first.
    #[must_use]
    pub fn items(&self) -> &[Item] {
        &self.0
    }
}

impl FromIterator<Item> for History {
    fn from_iter<I: IntoIterator<Item = Item>>(items: I) -> Self {
        Self(items.into_iter().collect())
    }
}

/// Moves the results of each side's items before its messages. Clients can send a result anywhere,
/// and model services want it directly after its call.
pub fn results_first(items: &mut [Item]) {
    for items in items.chunk_by_mut(|before, item| before.side() == item.side()) {
        items.sort_by_key(|item| item.side() == Role::User && !matches!(item, Item::Result { .. }));
    }
}

/// Checks that an item may follow the items before it. `waiting` has the calls without a
/// result, and is updated.
fn check_order(item: &Item, waiting: &mut WaitingCalls, accepts_model_items: bool) -> Result<(), Error> {
    match item {
        Item::Result { id, .. } => {
            if !waiting.answer(id) {
                return Err(Error::invalid(format!(
                    "No open tool call has the id `{}`. Send one result for each call of the last reply.",
                    excerpt(id)
                )));
            }
            Ok(())
        }
        Item::Message { role: Role::User, parts, .. } => {
            if let Some(id) = waiting.oldest() {
                let id = excerpt(id);
                return Err(Error::invalid(format!("Tool call `{id}` has no result yet. Send its result first.")));
            }
            if parts.iter().all(|part| matches!(part, Part::Text(text) if text.is_empty())) {
                return Err(Error::invalid("The input message is empty. Send text or an image."));
            }
            Ok(())
        }
        _ if !accepts_model_items => Err(Error::ClientHistoryForbidden),
        Item::Call { id, .. } => {
            waiting.add(id);
            Ok(())
        }
        Item::Message { .. } | Item::Think { .. } => Ok(()),
    }
}

/// Checks the sizes of an item and its inline images.
fn check_size(item: &Item, limits: &Limits) -> Result<(), Error> {
    let mut images_bytes = 0_usize;
    for url in images(item) {
        let Some(data) = inline_data(url) else { continue };
        // Base64 has 3 bytes in 4 characters, and none in its padding. Percent-encoded data is
        // counted the same way; the result is less than three times its true size.
        let data = data.strip_suffix("==").or_else(|| data.strip_suffix('=')).unwrap_or(data);
        let decoded = data.len().saturating_mul(3) / 4;
        if let Some(excess) = Excess::bytes(decoded, limits.image_bytes) {
            return Err(Error::ImageTooLarge(excess));
        }
        images_bytes = images_bytes.saturating_add(url.len());
    }
    let bytes_without_images = item.line_bytes().saturating_sub(images_bytes);
    Excess::bytes(bytes_without_images, limits.message_bytes)
        .map_or(Ok(()), |excess| Err(Error::MessageTooLarge(excess)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::chat::Output;

    fn call(id: &str) -> Item {
        Item::Call { id: id.to_owned(), name: "add".to_owned(), args: "{}".to_owned() }
    }

    fn result(id: &str) -> Item {
        Item::Result { id: id.to_owned(), out: Output::Text(String::new()), error: false }
    }

    /// Four turns. The second has two user messages and ends with reasoning, the third has two
    /// calls, and the fourth has no reply yet.
    fn conversation() -> History {
        let (user, model) = (|text| Item::text(Role::User, text), |text| Item::text(Role::Assistant, text));
        let think = Item::Think { provider_id: "m".to_owned(), blob: "{}".to_owned() };
        [
            vec![user("a"), model("A")],
            vec![user("b"), user("b2"), model("B"), think],
            vec![user("c"), model("C"), call("1"), call("2"), result("2"), result("1"), user("c2"), model("C2")],
            vec![user("d")],
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    #[test]
    fn trimming_removes_complete_turns_and_never_the_last() {
        for (items, trimmed) in
            [(1, Some(2)), (2, Some(2)), (3, Some(6)), (6, Some(6)), (7, Some(14)), (14, Some(14)), (15, None)]
        {
            let mut history = conversation();
            let before = history.items().to_vec();
            assert_eq!(history.oldest_turns(0, items), trimmed, "{items}");
            history.drop_oldest(trimmed.unwrap_or_default());
            assert_eq!(history.items(), &before[trimmed.unwrap_or_default()..]);
        }
    }

    #[test]
    fn trimming_counts_bytes_of_lines() {
        let bytes: usize = conversation().items()[..2].iter().map(Item::line_bytes).sum();
        for (wanted, trimmed) in [(1, 2), (bytes, 2), (bytes + 1, 6)] {
            assert_eq!(conversation().oldest_turns(wanted, 0), Some(trimmed));
        }
        assert_eq!(conversation().oldest_turns(100_000, 0), None);
        // Both bounds must be reached.
        assert_eq!(conversation().oldest_turns(bytes + 1, 1), Some(6));
        assert_eq!(History::default().oldest_turns(1, 1), None);
    }

    #[test]
    fn only_calls_after_the_last_user_message_wait() {
        let mut history: History =
            [Item::text(Role::User, "a"), call("1"), result("1"), call("1"), call("2"), result("2")]
                .into_iter()
                .collect();
        assert_eq!(waiting_calls(&history.0), ["1"]);
        history.push_input(vec![result("1")], false, &Limits::default(), &ImageRules::default()).unwrap();
        assert!(waiting_calls(&history.0).is_empty());
        // An imported transcript may have a call without a result before a user message. It does
        // not wait.
        let old: History = [call("1"), Item::text(Role::User, "never mind"), Item::text(Role::Assistant, "fine")]
            .into_iter()
            .collect();
        assert!(waiting_calls(&old.0).is_empty());
    }
}
