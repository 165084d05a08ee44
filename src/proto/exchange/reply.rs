//! The reply so far, in neutral items, within the room that the token has left.
//!
//! Room is counted in bytes of item lines, as they are written, with escapes. Content that does not
//! fit is left out: text from the first character that does not fit, a call completely. The reply
//! then ends with the reason [`FinishReason::Length`].

use std::collections::BTreeSet;

use crate::proto::{
    chat::{Item, Part, Role},
    turn::{Delta, FinishReason, Repair},
    usage::Usage,
};

/// The reply so far, within its room.
pub(super) struct BoundedReply {
    items: Vec<Item>,
    /// The text of the message that is being written. It is not in the items yet.
    open_message: String,
    /// The text of all messages.
    text: String,
    /// The bytes of lines that still fit.
    bytes_left: usize,
    /// The number of items that still fit.
    items_left: usize,
    /// True once something was left out.
    full: bool,
    usage: Usage,
    finish: Option<FinishReason>,
    stop_sequence: Option<String>,
    repairs: BTreeSet<Repair>,
    /// The provider whose reasoning the reply holds.
    provider_id: String,
}

impl BoundedReply {
    /// An empty reply of `provider_id` that may grow to `bytes` of lines and to `items`.
    pub(super) fn new(provider_id: &str, bytes: usize, items: usize) -> Self {
        // Every reply has at least one message, and that message may have to be marked as cut.
        let message_bytes = message(String::new(), true).line_bytes();
        Self {
            items: Vec::new(),
            open_message: String::new(),
            text: String::new(),
            bytes_left: bytes.saturating_sub(message_bytes),
            items_left: items.saturating_sub(1),
            full: false,
            usage: Usage::default(),
            finish: None,
            stop_sequence: None,
            repairs: BTreeSet::new(),
            provider_id: provider_id.to_owned(),
        }
    }

    /// Adds as much of a delta as fits. Returns the part to show to the client.
    pub(super) fn add(&mut self, delta: Delta) -> Option<Delta> {
        match delta {
            Delta::Finish(reason) => {
                self.finish = Some(reason);
                None
            }
            Delta::Repaired(repair) => {
                self.repairs.insert(repair);
                None
            }
            Delta::StopSequence(text) => {
                self.stop_sequence = Some(text);
                None
            }
            Delta::Usage(usage) => {
                self.usage = usage;
                None
            }
            _ if self.full => None,
            Delta::Text(text) => self.add_text(text).map(Delta::Text),
            Delta::Call { id, name, args } => {
                let call = Item::Call { id: id.clone(), name: name.clone(), args: args.clone() };
                self.add_item(call).then_some(Delta::Call { id, name, args })
            }
            Delta::Think { blob, .. } => {
                let provider_id = self.provider_id.clone();
                let think = Item::Think { provider_id: provider_id.clone(), blob: blob.clone() };
                self.add_item(think).then_some(Delta::Think { provider_id, blob })
            }
        }
    }

    fn add_text(&mut self, mut text: String) -> Option<String> {
        let mut left = self.bytes_left;
        let end = text.char_indices().find_map(|(at, character)| match left.checked_sub(json_bytes(character)) {
            Some(rest) => {
                left = rest;
                None
            }
            None => Some(at),
        });
        if let Some(end) = end {
            text.truncate(end);
            self.full = true;
        }
        self.bytes_left = left;
        self.open_message.push_str(&text);
        self.text.push_str(&text);
        (!text.is_empty()).then_some(text)
    }

    /// Adds an item if all of it fits. Returns false otherwise.
    fn add_item(&mut self, item: Item) -> bool {
        // Text after the item starts another message, so an empty message must fit as well.
        let bytes = item.line_bytes().saturating_add(message(String::new(), true).line_bytes());
        match (self.bytes_left.checked_sub(bytes), self.items_left.checked_sub(2)) {
            (Some(bytes_left), Some(items_left)) => {
                (self.bytes_left, self.items_left) = (bytes_left, items_left);
                self.close_message();
                self.items.push(item);
                true
            }
            _ => {
                self.full = true;
                false
            }
        }
    }

    fn close_message(&mut self) {
        if !self.open_message.is_empty() {
            self.items.push(message(std::mem::take(&mut self.open_message), false));
        }
    }

    /// Returns true if something was left out. The reply then takes no more.
    pub(super) fn is_full(&self) -> bool {
        self.full
    }

    /// The deviations that were repaired so far.
    pub(super) fn repairs(&self) -> impl Iterator<Item = Repair> {
        self.repairs.iter().copied()
    }

    /// Takes the stop sequence that ended the reply, if the provider named one and the reply is
    /// complete.
    pub(super) fn take_stop_sequence(&mut self) -> Option<String> {
        self.stop_sequence.take().filter(|_| !self.full)
    }

    /// Returns true if the reply has text.
    pub(super) fn has_text(&self) -> bool {
        !self.text.is_empty()
    }

    /// The bytes of the reply's text.
    pub(super) fn text_bytes(&self) -> usize {
        self.text.len()
    }

    /// The counts that the service has reported so far.
    pub(super) fn reported(&self) -> Usage {
        self.usage
    }

    /// The reason for the end of the reply. `None` before the end.
    pub(super) fn finish_reason(&self) -> Option<FinishReason> {
        let has_calls = self.items.iter().any(|item| matches!(item, Item::Call { .. }));
        match self.finish {
            _ if self.full => Some(FinishReason::Length),
            Some(FinishReason::Stop) if has_calls => Some(FinishReason::ToolCalls),
            finish => finish,
        }
    }

    /// The text and the items of a complete reply.
    pub(super) fn into_parts(mut self) -> (String, Vec<Item>) {
        self.close_message();
        // Reasoning is not shown, so a reply needs at least an empty message as the model's turn.
        if self.items.iter().all(|item| matches!(item, Item::Think { .. })) {
            self.items.push(message(String::new(), false));
        }
        (self.text, self.items)
    }

    /// The text and one cut message of an interrupted reply. Calls are left out: they will not be
    /// answered, and the conversation would wait for their results.
    pub(super) fn into_cut_parts(self) -> (String, Vec<Item>) {
        let items = vec![message(self.text.clone(), true)];
        (self.text, items)
    }
}

fn message(text: String, cut: bool) -> Item {
    Item::Message { role: Role::Assistant, parts: vec![Part::Text(text)], cut }
}

/// The bytes of a character inside a JSON string, as `serde_json` writes it.
fn json_bytes(character: char) -> usize {
    match character {
        '"' | '\\' | '\n' | '\r' | '\t' | '\u{8}' | '\u{c}' => 2,
        '\0'..='\u{1f}' => 6,
        _ => character.len_utf8(),
    }
}
