//! The messages of a request: the system prompt, then one message for each item. Calls go into the
//! assistant message directly before them: both belong to one reply, and so to one turn.
//!
//! A message or a call gets back the opaque members that the service gave with it. The bytes of an
//! item never depend on a later turn, except for services that take such members only within the
//! tool loop ([`ServiceState::ToolLoop`]).

use std::{borrow::Cow, collections::BTreeMap};

use serde::Serialize;
use serde_json::value::RawValue;

use super::chunk;
use crate::proto::{
    chat::{Item, Members, Output, Owner, Part, Role, ServiceState},
    provider::{
        call::ModelCall,
        call_ids::CallIdWriter,
        profile::{self, Profile},
    },
};

#[derive(Serialize)]
#[serde(tag = "role", rename_all = "lowercase")]
pub(super) enum Message<'a> {
    System { content: &'a str },
    User { content: Content<'a> },
    Assistant(Reply<'a>),
    Tool { tool_call_id: Cow<'a, str>, content: Content<'a> },
}

/// The type of a tool, of a choice among tools, and of a call. There is only one.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub(super) enum Typed<T> {
    Function { function: T },
}

#[derive(Default, Serialize)]
pub(super) struct Reply<'a> {
    /// `null` if there are only calls.
    content: Option<Content<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<Call<'a>>,
    /// The opaque members.
    #[serde(flatten)]
    members: Members<Cow<'a, RawValue>>,
}

#[derive(Serialize)]
struct Call<'a> {
    id: Cow<'a, str>,
    #[serde(flatten)]
    call: Typed<CalledFunction<'a>>,
    /// The opaque members.
    #[serde(flatten)]
    members: Members<&'a RawValue>,
}

#[derive(Serialize)]
struct CalledFunction<'a> {
    name: &'a str,
    arguments: &'a str,
}

#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum Content<'a> {
    Pieces(Vec<Piece<'a>>),
    Text(Cow<'a, str>),
}

#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum Piece<'a> {
    /// A piece that the service gave.
    Given(&'a RawValue),
    Written(WrittenPiece<'a>),
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum WrittenPiece<'a> {
    ImageUrl { image_url: Url<'a> },
    Text { text: Cow<'a, str> },
}

#[derive(Serialize)]
pub(super) struct Url<'a> {
    url: &'a str,
}

impl<'a> Content<'a> {
    /// A single text is written as text. Several texts are a list, or one text if the service
    /// accepts no lists.
    fn new(parts: &'a [Part], with_images: bool, profile: &Profile) -> Self {
        if let [Part::Text(text)] = parts {
            return Self::Text(Cow::Borrowed(text));
        }
        let has_images = with_images && parts.iter().any(|part| matches!(part, Part::Image(_)));
        if !profile.text_lists && !has_images {
            return Self::Text(Cow::Owned(parts.iter().map(text_of).collect::<Vec<_>>().join("\n")));
        }
        // A service without lists of texts may refuse an empty text in a list.
        let is_written = |part: &&Part| profile.text_lists || !matches!(part, Part::Text(text) if text.is_empty());
        Self::Pieces(parts.iter().filter(is_written).map(|part| Piece::Written(piece(part, with_images))).collect())
    }

    fn is_blank(&self) -> bool {
        matches!(self, Self::Text(text) if text.trim().is_empty())
    }
}

/// A part as a piece. Only user messages may have images.
fn piece(part: &Part, with_images: bool) -> WrittenPiece<'_> {
    match part {
        Part::Image(url) if with_images => WrittenPiece::ImageUrl { image_url: Url { url } },
        part => WrittenPiece::Text { text: Cow::Borrowed(text_of(part)) },
    }
}

fn text_of(part: &Part) -> &str {
    match part {
        Part::Image(_) => "[image]",
        Part::Text(text) => text,
    }
}

/// The messages of a call.
pub(super) fn messages<'a>(call: &ModelCall<'a>) -> Vec<Message<'a>> {
    let mut writer = Writer::new(call);
    let last_user = call.items.iter().rposition(|item| matches!(item, Item::Message { role: Role::User, .. }));
    for (at, item) in call.items.iter().enumerate() {
        writer.state_is_sent = match call.profile.service_state {
            profile::ServiceState::Always => true,
            profile::ServiceState::Never => false,
            profile::ServiceState::ToolLoop => last_user.is_none_or(|last| at > last),
        };
        writer.write(item);
    }
    writer.end_reply();
    writer.messages
}

struct Writer<'a> {
    profile: Profile,
    provider_id: &'a str,
    messages: Vec<Message<'a>>,
    ids: CallIdWriter<'a>,
    /// The reply that is being written. It is not in the messages yet.
    reply: Option<Reply<'a>>,
    /// The state of the message that is being written, or else of the next one.
    message_state: Vec<Members<&'a RawValue>>,
    /// The state of the calls to come.
    call_state: BTreeMap<String, Members<&'a RawValue>>,
    /// True if the state of the current item is sent.
    state_is_sent: bool,
}

impl<'a> Writer<'a> {
    fn new(call: &ModelCall<'a>) -> Self {
        Self {
            profile: call.profile,
            provider_id: call.provider_id,
            messages: call.system.map(|content| Message::System { content }).into_iter().collect(),
            ids: CallIdWriter::new(call.profile.call_ids),
            reply: None,
            message_state: Vec::new(),
            call_state: BTreeMap::new(),
            state_is_sent: true,
        }
    }

    fn write(&mut self, item: &'a Item) {
        match item {
            Item::Call { id, name, args } => self.write_call(id, name, args),
            Item::Message { role: Role::Assistant, parts, .. } => {
                self.end_reply_with_content();
                let content = Some(Content::new(parts, false, &self.profile));
                self.reply.get_or_insert_default().content = content;
            }
            Item::Message { role: Role::User, parts, .. } => {
                self.end_reply();
                let content = Content::new(parts, true, &self.profile);
                self.messages.push(Message::User { content });
            }
            Item::Result { id, out, .. } => {
                self.end_reply();
                let content = match out {
                    Output::Parts(parts) => Content::new(parts, false, &self.profile),
                    Output::Text(text) => Content::Text(Cow::Borrowed(text)),
                };
                let tool_call_id = self.ids.result(id);
                self.messages.push(Message::Tool { tool_call_id, content });
            }
            Item::Think { provider_id, blob } if provider_id == self.provider_id => self.take_state(blob),
            Item::Think { .. } => {}
        }
    }

    fn take_state(&mut self, blob: &'a str) {
        match ServiceState::from_blob(blob) {
            Some(ServiceState { owner: Owner::Call(id), members }) => drop(self.call_state.insert(id, members)),
            Some(ServiceState { owner: Owner::Message, members }) => self.message_state.push(members),
            None => {}
        }
    }

    fn write_call(&mut self, id: &'a str, name: &'a str, args: &'a str) {
        let state = self.call_state.remove(id);
        let id = self.ids.call(id, state.is_some());
        let mut members = state.unwrap_or_default();
        let kept = self.profile.kept_call_members();
        members.0.retain(|(name, _)| self.state_is_sent && kept.contains(&name.as_str()));
        let call = Typed::Function { function: CalledFunction { name, arguments: args } };
        self.reply.get_or_insert_default().tool_calls.push(Call { id, call, members });
    }

    /// Ends the reply if its text or its calls are written: another text is another message.
    fn end_reply_with_content(&mut self) {
        if self.reply.is_some() {
            self.end_reply();
        }
    }

    /// Ends the reply that is being written, if there is one.
    fn end_reply(&mut self) {
        let state = std::mem::take(&mut self.message_state);
        self.call_state.clear();
        let Some(mut reply) = self.reply.take() else { return };
        let has_calls = !reply.tool_calls.is_empty();
        if self.state_is_sent {
            let mut contents = Vec::new();
            for (name, value) in state.into_iter().flat_map(|members| members.0) {
                match name.as_str() {
                    name if !self.profile.keeps_message_member(name, has_calls) => {}
                    "content" => contents.push(value),
                    _ => reply.members.0.push((name, Cow::Borrowed(value))),
                }
            }
            reply.prepend_pieces(&contents);
            let required = self.profile.required_with_calls.filter(|_| has_calls);
            if let Some(name) = required.filter(|name| reply.members.find(name).is_none())
                && let Ok(value) = RawValue::from_string(NO_REASONING.to_owned())
            {
                reply.members.0.push((name.to_owned(), Cow::Owned(value)));
            }
        }
        if !self.profile.empty_messages && reply.content.as_ref().is_some_and(Content::is_blank) {
            reply.content = (!has_calls).then_some(Content::Text(Cow::Borrowed(NO_REPLY)));
        }
        self.messages.push(Message::Assistant(reply));
    }
}

impl<'a> Reply<'a> {
    /// Puts the pieces that the service gave before the text. Only the items have text.
    /// The pieces of a later state come first. All are put there at once, because a client may
    /// bring many states.
    fn prepend_pieces(&mut self, contents: &[&'a RawValue]) {
        let pieces_of = |content: &&'a RawValue| chunk::Content::read(content).unwrap_or_default().others;
        let given: Vec<_> = contents.iter().rev().flat_map(pieces_of).collect();
        if given.is_empty() {
            return;
        }
        let mut pieces: Vec<_> = given.into_iter().map(Piece::Given).collect();
        match self.content.take() {
            Some(Content::Pieces(written)) => pieces.extend(written),
            Some(Content::Text(text)) if !text.is_empty() => {
                pieces.push(Piece::Written(WrittenPiece::Text { text }));
            }
            _ => {}
        }
        self.content = Some(Content::Pieces(pieces));
    }
}

/// The text of an empty reply, for services that refuse an empty message. Without the message, two
/// user messages would follow each other, which many services refuse as well.
const NO_REPLY: &str = "[no reply]";

/// The reasoning of a message that another service wrote, for services that require some. Clients
/// of such services send the same.
const NO_REASONING: &str = "\".\"";
