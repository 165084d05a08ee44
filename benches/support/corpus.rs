//! The conversations of `benches/data/`, as item lines.

use holdall::proto::chat::{Item, Output, Role};
use serde::Deserialize;

/// The turns of all conversations, one after another. A turn is the lines from one user message to
/// the next.
pub(crate) fn turns() -> Vec<String> {
    let mut turns: Vec<String> = Vec::new();
    for item in items(|_| true) {
        let begins = matches!(item, Item::Message { role: Role::User, .. });
        match turns.last_mut() {
            Some(turn) if !begins => item.write_line(turn),
            _ => turns.push(line(&item)),
        }
    }
    turns
}

/// The turns of a conversation with `bytes` of history, or up to 5 % less.
pub(crate) fn turns_of(bytes: usize) -> Vec<String> {
    let mut room = bytes;
    let mut turns = turns();
    turns.retain(|turn| {
        let fits = turn.len() <= room && room > bytes / 20;
        room -= if fits { turn.len() } else { 0 };
        fits
    });
    assert!(room <= bytes / 20, "{room} of {bytes} bytes are missing in the data");
    turns
}

/// The first `count` lines of the Chinese conversations, which have short messages.
pub(crate) fn short_lines(count: usize) -> Vec<String> {
    let lines: Vec<_> = items(|source| source == "crosswoz").iter().map(line).take(count).collect();
    assert_eq!(lines.len(), count);
    lines
}

/// A turn of two items of about 300 bytes each, from the end of the data. The smaller histories do
/// not contain it.
pub(crate) fn new_lines() -> String {
    let items = items(|_| true);
    let of = |wanted: Role| {
        let fits = |item: &&Item| {
            matches!(item, Item::Message { role, .. } if *role == wanted) && (290..310).contains(&item.line_bytes())
        };
        line(items.iter().rev().find(fits).unwrap())
    };
    of(Role::User) + &of(Role::Assistant)
}

fn items(wanted: impl Fn(&str) -> bool) -> Vec<Item> {
    let conversations = DATA.lines().map(|line| serde_json::from_str::<Conversation>(line).unwrap());
    conversations
        .filter(|conversation| wanted(&conversation.source))
        .flat_map(|conversation| conversation.messages)
        .flat_map(Message::into_items)
        .collect()
}

fn line(item: &Item) -> String {
    let mut line = String::new();
    item.write_line(&mut line);
    line
}

#[derive(Deserialize)]
struct Conversation {
    source: String,
    messages: Vec<Message>,
}

#[derive(Deserialize)]
struct Message {
    role: String,
    content: Option<String>,
    #[serde(default)]
    tool_calls: Vec<ToolCall>,
    tool_call_id: Option<String>,
}

impl Message {
    /// The items that a token keeps. The system prompt is left out, and tool calls and results are
    /// items of their own.
    fn into_items(self) -> Vec<Item> {
        let text = self.content.unwrap_or_default();
        match (self.role.as_str(), self.tool_call_id) {
            ("system", _) => Vec::new(),
            ("tool", Some(id)) => vec![Item::Result { id, out: Output::Text(text), error: false }],
            ("user", _) => vec![Item::text(Role::User, text)],
            ("assistant", _) => {
                let message = (!text.is_empty()).then(|| Item::text(Role::Assistant, text));
                message.into_iter().chain(self.tool_calls.into_iter().map(ToolCall::into_item)).collect()
            }
            (role, _) => panic!("a message of role {role}"),
        }
    }
}

#[derive(Deserialize)]
struct ToolCall {
    id: String,
    function: Function,
}

#[derive(Deserialize)]
struct Function {
    name: String,
    arguments: String,
}

impl ToolCall {
    fn into_item(self) -> Item {
        Item::Call { id: self.id, name: self.function.name, args: self.function.arguments }
    }
}

const DATA: &str = include_str!("../data/conversations.jsonl");
