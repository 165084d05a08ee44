//! The reply so far, in neutral items, kept within the room that the token has left.
//!
//! Room counts item lines as they are written, escapes included. What does not fit is left out, text at a character's end
//! and a call whole, and the reply then ends for its length.

use crate::proto::{
    chat::{Item, Part, Role},
    turn::{Delta, FinishReason, Usage},
};

/// The reply so far, in neutral items, kept within its room.
pub(super) struct Reply {
    items: Vec<Item>,
    /// The message that is being written, not yet among the items.
    open: String,
    text: String,
    /// The bytes of lines that may still be added.
    room: usize,
    items_room: usize,
    /// Something had to be left out.
    full: bool,
    usage: Usage,
    finish: Option<FinishReason>,
    /// Whose reasoning it holds.
    provider_id: String,
}

impl Reply {
    /// A reply by `provider_id` of at most `room` bytes of lines and `items_room` items.
    pub(super) fn new(provider_id: &str, room: usize, items_room: usize) -> Self {
        // Every reply is one message at least, and that one may come to be marked cut.
        let message = message(String::new(), true).line_bytes();
        Self {
            items: Vec::new(),
            open: String::new(),
            text: String::new(),
            room: room.saturating_sub(message),
            items_room: items_room.saturating_sub(1),
            full: false,
            usage: Usage::default(),
            finish: None,
            provider_id: provider_id.to_owned(),
        }
    }

    /// Adds a delta as far as there is room; gives back what the client is to see of it.
    pub(super) fn take(&mut self, delta: Delta) -> Option<Delta> {
        match delta {
            Delta::Finish(reason) => {
                self.finish = Some(reason);
                None
            }
            Delta::Usage(usage) => {
                self.usage = usage;
                None
            }
            _ if self.full => None,
            Delta::Text(text) => self.take_text(text).map(Delta::Text),
            Delta::Call { id, name, args } => {
                let call = Item::Call { id: id.clone(), name: name.clone(), args: args.clone() };
                self.take_item(call).then_some(Delta::Call { id, name, args })
            }
            Delta::Think { blob, .. } => {
                let by = self.provider_id.clone();
                let think = Item::Think { by: by.clone(), blob: blob.clone() };
                self.take_item(think).then_some(Delta::Think { by, blob })
            }
        }
    }

    fn take_text(&mut self, mut text: String) -> Option<String> {
        let mut left = self.room;
        let fits = text.char_indices().find_map(|(at, character)| match left.checked_sub(json_bytes(character)) {
            Some(rest) => {
                left = rest;
                None
            }
            None => Some(at),
        });
        if let Some(end) = fits {
            text.truncate(end);
            self.full = true;
        }
        self.room = left;
        self.open.push_str(&text);
        self.text.push_str(&text);
        (!text.is_empty()).then_some(text)
    }

    /// Adds an item as a whole, or not at all.
    fn take_item(&mut self, item: Item) -> bool {
        // Text after it would begin a new message.
        let bytes = item.line_bytes().saturating_add(message(String::new(), true).line_bytes());
        match (self.room.checked_sub(bytes), self.items_room.checked_sub(2)) {
            (Some(room), Some(items_room)) => {
                (self.room, self.items_room) = (room, items_room);
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
        if !self.open.is_empty() {
            self.items.push(message(std::mem::take(&mut self.open), false));
        }
    }

    /// Whether something had to be left out, so that no more is wanted.
    pub(super) fn is_full(&self) -> bool {
        self.full
    }

    /// Whether there was any text.
    pub(super) fn has_text(&self) -> bool {
        !self.text.is_empty()
    }

    /// The bytes of its text.
    pub(super) fn text_bytes(&self) -> usize {
        self.text.len()
    }

    /// The counts, as far as the upstream has told them.
    pub(super) fn usage(&self) -> Usage {
        self.usage
    }

    /// Why the reply ended; `None` if it did not.
    pub(super) fn finish_reason(&self) -> Option<FinishReason> {
        let calls = self.items.iter().any(|item| matches!(item, Item::Call { .. }));
        match self.finish {
            _ if self.full => Some(FinishReason::Length),
            Some(FinishReason::Stop) if calls => Some(FinishReason::ToolCalls),
            finish => finish,
        }
    }

    /// The text, the items and the counts. A cut reply keeps its text alone: a call that nobody will answer would leave
    /// the conversation waiting.
    pub(super) fn into_parts(mut self, cut: bool) -> (String, Vec<Item>, Usage) {
        if cut {
            self.items = vec![message(self.text.clone(), true)];
        } else {
            self.close_message();
            // Reasoning alone would leave nobody's turn to be seen.
            if self.items.iter().all(|item| matches!(item, Item::Think { .. })) {
                self.items.push(message(String::new(), false));
            }
        }
        (self.text, self.items, self.usage)
    }
}

fn message(text: String, cut: bool) -> Item {
    Item::Message { role: Role::Assistant, parts: vec![Part::Text(text)], cut }
}

/// The bytes of a character inside a JSON string, as serde_json writes it.
fn json_bytes(character: char) -> usize {
    match character {
        '"' | '\\' | '\n' | '\r' | '\t' | '\u{8}' | '\u{c}' => 2,
        '\0'..='\u{1f}' => 6,
        _ => character.len_utf8(),
    }
}
