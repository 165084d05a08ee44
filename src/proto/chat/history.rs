//! The items in order, and the rules between them: input follows from what stands there, trimming takes whole turns.

use super::{
    echo,
    item::{Item, Output, Part, Role},
    note::INLINE,
};
use crate::proto::{
    error::{Error, Excess},
    excerpt::excerpt,
    limits::Limits,
};

/// The items of a conversation, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History(Vec<Item>);

impl History {
    /// Appends the caller's input, if it may follow.
    ///
    /// # Errors
    /// [`Error::RequestInvalid`] for no input, an empty message, a result for which there is no call, or a message while
    /// a call waits for its result; [`Error::RoleForbidden`] for items that are the model's, unless the caller
    /// `may_speak_for_model`; [`Error::MessageTooLarge`] and [`Error::ImageTooLarge`].
    pub fn push_input(&mut self, input: Vec<Item>, may_speak_for_model: bool, limits: &Limits) -> Result<(), Error> {
        if input.is_empty() {
            return Err(Error::invalid("`input` is empty; send text, parts or tool results"));
        }
        let mut waiting = self.waiting_calls();
        for item in &input {
            check_size(item, limits)?;
            match item {
                Item::Result { id, .. } => {
                    let at = waiting.iter().position(|call| call == id).ok_or_else(|| {
                        Error::invalid(format!("there is no open tool call with id `{}`", excerpt(id)))
                    })?;
                    waiting.remove(at);
                }
                Item::Message { role: Role::User, parts, .. } => {
                    if let Some(id) = waiting.first() {
                        let id = excerpt(id);
                        return Err(Error::invalid(format!("tool call `{id}` waits for its result; send that first")));
                    }
                    if parts.iter().all(|part| matches!(part, Part::Text(text) if text.is_empty())) {
                        return Err(Error::invalid("the input message is empty"));
                    }
                }
                Item::Call { id, .. } if may_speak_for_model => waiting.push(id.clone()),
                Item::Message { role: Role::Assistant, .. } if may_speak_for_model && waiting.is_empty() => {}
                _ => return Err(Error::RoleForbidden { role: "assistant".to_owned() }),
            }
        }
        if !matches!(input.last(), Some(Item::Message { role: Role::User, .. } | Item::Result { .. })) {
            return Err(Error::invalid("the input ends with the model's words; end it with the user's"));
        }
        if let Some(id) = waiting.first() {
            return Err(Error::invalid(format!("tool call `{}` waits for its result", excerpt(id))));
        }
        self.0.extend(input);
        Ok(())
    }

    /// How many items the oldest turns have that hold at least `surplus_bytes` of lines and `surplus_items`.
    ///
    /// A turn begins with a user message that follows the model's words, so that a call and its result go together; the
    /// last turn, whose input is new, stays. `None` if the surplus is more than there is.
    #[must_use]
    pub fn oldest_turns(&self, surplus_bytes: usize, surplus_items: usize) -> Option<usize> {
        let mut bytes = 0_usize;
        for (at, pair) in self.0.windows(2).enumerate() {
            let [before, item] = pair else { break };
            bytes = bytes.saturating_add(before.line_bytes());
            let items = at.saturating_add(1);
            let turn_begins = matches!(item, Item::Message { role: Role::User, .. })
                && matches!(before, Item::Message { role: Role::Assistant, .. } | Item::Think { .. });
            if turn_begins && bytes >= surplus_bytes && items >= surplus_items {
                return Some(items);
            }
        }
        None
    }

    /// Takes away the oldest `items`.
    pub fn drop_oldest(&mut self, items: usize) {
        self.0.drain(..items.min(self.0.len()));
    }

    /// The items, taken out.
    #[must_use]
    pub fn into_items(self) -> Vec<Item> {
        self.0
    }

    /// Compares what `input` repeats of the conversation, as some clients do, with this history.
    /// Returns the index of the first new item.
    ///
    /// `turns` is the number of turns of the conversation. If the history holds fewer, it was
    /// trimmed.
    ///
    /// # Errors
    /// [`Error::RoleForbidden`] or [`Error::RequestInvalid`] if the repeated items differ.
    pub fn first_new_item(&self, input: &[Item], turns: u64) -> Result<usize, Error> {
        let held = u64::try_from(echo::count_turns(&self.0)).unwrap_or(u64::MAX);
        echo::first_new_item(&self.0, input, held >= turns)
    }

    /// The items.
    #[must_use]
    pub fn items(&self) -> &[Item] {
        &self.0
    }

    /// The ids of the calls at the end that have no result yet, in order.
    fn waiting_calls(&self) -> Vec<String> {
        let mut answered = Vec::new();
        let mut waiting = Vec::new();
        for item in self.0.iter().rev() {
            match item {
                Item::Result { id, .. } => answered.push(id),
                Item::Call { id, .. } => match answered.iter().position(|answer| *answer == id) {
                    Some(at) => drop(answered.swap_remove(at)),
                    None => waiting.push(id.clone()),
                },
                Item::Message { role: Role::User, .. } => break,
                Item::Message { .. } | Item::Think { .. } => {}
            }
        }
        waiting.reverse();
        waiting
    }
}

impl FromIterator<Item> for History {
    fn from_iter<I: IntoIterator<Item = Item>>(items: I) -> Self {
        Self(items.into_iter().collect())
    }
}

fn check_size(item: &Item, limits: &Limits) -> Result<(), Error> {
    let parts = match item {
        Item::Message { parts, .. } | Item::Result { out: Output::Parts(parts), .. } => parts.as_slice(),
        _ => &[],
    };
    let mut images = 0_usize;
    for part in parts {
        let Part::Image(url) = part else { continue };
        if let Some((_, data)) = url.strip_prefix(INLINE).and_then(|data| data.split_once(',')) {
            // Base64 carries 3 bytes in 4 characters, its padding none; percent-encoded data is counted the same, which
            // flatters it less than three times.
            let data = data.strip_suffix("==").or_else(|| data.strip_suffix('=')).unwrap_or(data);
            let decoded = data.len().saturating_mul(3) / 4;
            if let Some(excess) = Excess::bytes(decoded, limits.image_bytes) {
                return Err(Error::ImageTooLarge(excess));
            }
            images = images.saturating_add(url.len());
        } else if !url.starts_with("https://") && !url.starts_with("http://") {
            return Err(Error::invalid("an image is an https: or data: URL"));
        }
    }
    let words = item.line_bytes().saturating_sub(images);
    Excess::bytes(words, limits.message_bytes).map_or(Ok(()), |excess| Err(Error::MessageTooLarge(excess)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::chat::Output;

    fn said(role: Role, text: &str) -> Item {
        Item::text(role, text)
    }

    fn call(id: &str) -> Item {
        Item::Call { id: id.to_owned(), name: "add".to_owned(), args: "{}".to_owned() }
    }

    fn result(id: &str) -> Item {
        Item::Result { id: id.to_owned(), out: Output::Text(String::new()), error: false }
    }

    /// Two plain turns, one with two calls and an answer, one with a call and no word after it but a message.
    fn conversation() -> History {
        let (user, model) = (|text| said(Role::User, text), |text| said(Role::Assistant, text));
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
    fn trimming_takes_whole_turns_and_never_the_last() {
        for (surplus, taken) in
            [(1, Some(2)), (2, Some(2)), (3, Some(6)), (6, Some(6)), (7, Some(14)), (14, Some(14)), (15, None)]
        {
            let mut history = conversation();
            let before = history.items().to_vec();
            assert_eq!(history.oldest_turns(0, surplus), taken, "{surplus}");
            history.drop_oldest(taken.unwrap_or_default());
            assert_eq!(history.items(), &before[taken.unwrap_or_default()..]);
        }
    }

    #[test]
    fn trimming_counts_bytes_of_lines() {
        let bytes: usize = conversation().items()[..2].iter().map(Item::line_bytes).sum();
        for (surplus, taken) in [(1, 2), (bytes, 2), (bytes + 1, 6)] {
            assert_eq!(conversation().oldest_turns(surplus, 0), Some(taken));
        }
        assert_eq!(conversation().oldest_turns(100_000, 0), None);
        // Both are to be gone.
        assert_eq!(conversation().oldest_turns(bytes + 1, 1), Some(6));
        assert_eq!(History::default().oldest_turns(1, 1), None);
    }

    #[test]
    fn only_calls_since_the_last_message_wait() {
        let mut history: History =
            [said(Role::User, "a"), call("1"), result("1"), call("1"), call("2"), result("2")].into_iter().collect();
        assert_eq!(history.waiting_calls(), ["1"]);
        history.push_input(vec![result("1")], false, &Limits::default()).unwrap();
        assert!(history.waiting_calls().is_empty());
        // What was left open before a user spoke, as an imported transcript may have it, is open no more.
        let old: History =
            [call("1"), said(Role::User, "never mind"), said(Role::Assistant, "fine")].into_iter().collect();
        assert!(old.waiting_calls().is_empty());
    }
}
