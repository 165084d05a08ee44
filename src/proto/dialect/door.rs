//! The mirror of a dialect: the formats in which clients ask for a turn and are answered.
//!
//! A door reads bytes into a [`TurnRequest`] and writes deltas and an [`Answer`] as bytes; what a turn is, whom it may
//! concern and what it may cost is decided in [`exchange`](crate::proto::exchange).

mod body;
pub mod chat_completions;
#[cfg(test)]
pub mod described;
pub mod messages;
pub mod native;
mod openai_error;
pub mod responses;

use std::{fmt, time::Duration};

use super::{Delta, FinishReason, ModelOptions};
use crate::proto::{
    chat::{Item, Usage},
    error::Error,
    token::Claims,
    withheld::{self, Withheld},
};

/// One format that clients speak.
pub trait Door: Sync {
    /// The path it answers `POST` at.
    fn path(&self) -> &'static str;

    /// What is not offered at the paths below [`Self::path`], and what to use instead; `None` if nothing is known there.
    fn below(&self) -> Option<&'static str> {
        None
    }

    /// What the requests at this path ask for.
    fn purpose(&self) -> Purpose {
        Purpose::Turn
    }

    /// Writes how many model tokens the turn would send, where that is the [`Self::purpose`].
    fn counted(&self, _tokens: u64) -> Vec<u8> {
        Vec::new()
    }

    /// Reads a request body, and makes the writer for its reply.
    ///
    /// # Errors
    /// [`Error::RequestInvalid`], [`Error::RoleForbidden`] or [`Error::Unsupported`], each naming the member.
    fn request(&self, body: &str, ways: &Ways) -> Result<Asked, Error>;

    /// An error in this format's own shape; `None` for the problem document.
    fn refusal(&self, told: &Told<'_>) -> Option<Refusal>;

    /// What the API's description says of it.
    #[cfg(test)]
    fn described(&self, schemas: &mut described::Schemas) -> described::Described;
}

/// All doors: one line each.
pub const DOORS: &[&dyn Door] = &[
    &chat_completions::ChatCompletions,
    &messages::CountTokens,
    &messages::Messages,
    &native::Native,
    &responses::InputTokens,
    &responses::Responses,
];

/// What the requests at a path ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To be told how many model tokens the turn would send.
    Count,
    /// To take the turn.
    Turn,
}

/// What an operator may set about the doors.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ways {
    /// Whether a Responses stream is live where the request does not say: its first events then carry an id that is no
    /// token.
    pub live_responses: bool,
}

/// What a door read of a request.
pub struct Asked {
    /// The turn.
    pub turn: TurnRequest,
    /// Writes its reply; knows what the format repeats of the request.
    pub writer: Box<dyn ReplyWriter>,
}

/// Writes one reply: whole by [`Self::answer`], or as server-sent events by the others, in their order.
pub trait ReplyWriter: Send {
    /// The whole reply, as JSON.
    fn answer(&mut self, answer: &Answer) -> Vec<u8>;

    /// Appends what begins a streamed reply; `claims` are those of the token that it is to end with.
    fn begin(&mut self, claims: &Claims, out: &mut Vec<u8>);

    /// Appends the events for deltas that are ready together.
    fn deltas(&mut self, deltas: &[Delta], out: &mut Vec<u8>);

    /// Whether deltas are kept until the end, so that the client must be told that work goes on.
    fn holds(&self) -> bool {
        false
    }

    /// Appends what ends a whole reply.
    fn done(&mut self, answer: &Answer, out: &mut Vec<u8>);

    /// Appends what ends a failed one.
    fn error(&mut self, told: &Told<'_>, partial: Option<&Partial>, out: &mut Vec<u8>);
}

/// An error as it may be told to a caller, in any format.
#[derive(Clone, Copy, Debug)]
pub struct Told<'a> {
    /// The error; what its `Display` says is safe to show, its cause is not.
    pub error: &'a Error,
    /// The HTTP status that the error has by itself.
    pub status: u16,
    /// Our id for the request.
    pub request_id: &'a str,
    /// The problem document (RFC 9457), a JSON object.
    pub problem: &'a str,
}

/// An error in a format's own shape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The HTTP status, 400 to 599.
    pub status: u16,
    /// The body, JSON.
    pub body: Vec<u8>,
}

/// What a client asks for, in no door's words.
#[derive(Clone, Default)]
pub struct TurnRequest {
    /// The token to continue; none begins a conversation.
    pub token: Option<String>,
    /// User messages and tool results, in order. Before them may stand what was said so far, as clients repeat it: it is
    /// held against the token and left out.
    pub input: Vec<Item>,
    /// A system prompt from the client, for this turn alone.
    pub system: Option<String>,
    /// The user that the request names; with a credential it must be the same.
    pub user_id: Option<String>,
    /// A user named in passing, as stock clients do: it counts where nobody vouches for the caller.
    pub user_hint: Option<String>,
    /// The alias asked for; else the token's, else the first.
    pub model: Option<String>,
    /// Whether the reply is to be streamed.
    pub stream: bool,
    /// What is asked of the model beside the input.
    pub options: ModelOptions,
    /// What to do when the conversation has outgrown its limits; else what is set for the alias.
    pub truncation: Option<Truncation>,
}

impl fmt::Debug for TurnRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TurnRequest")
            .field("token", &withheld::optional(self.token.as_deref()))
            .field("input", &self.input)
            .field("model", &self.model)
            .field("stream", &self.stream)
            .field("truncation", &self.truncation)
            .finish_non_exhaustive()
    }
}

/// What to do when a conversation has outgrown its limits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename_all = "snake_case"))]
pub enum Truncation {
    /// Take away whole turns, oldest first, and say how many items went.
    Oldest,
    /// Refuse the turn.
    #[default]
    Refuse,
    /// Put a summary by the model in the place of the older turns.
    Summarize,
}

impl Truncation {
    /// The way with this name: `refuse`, `oldest`, `summarize`.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "oldest" => Some(Self::Oldest),
            "refuse" => Some(Self::Refuse),
            "summarize" => Some(Self::Summarize),
            _ => None,
        }
    }
}

/// A whole reply with its fresh token.
#[derive(Clone)]
pub struct Answer {
    /// The text of the reply, all messages of it joined.
    pub reply: String,
    /// The items that the turn added after the input.
    pub output: Vec<Item>,
    /// The fresh token.
    pub token: String,
    /// What it says.
    pub conversation: Conversation,
    /// What this turn used.
    pub usage: Usage,
    /// Why the reply ended.
    pub finish: FinishReason,
    /// From the model's call to the end of its reply.
    pub elapsed: Duration,
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer")
            .field("reply", &Withheld::text(&self.reply))
            .field("token", &Withheld::text(&self.token))
            .field("conversation", &self.conversation)
            .field("usage", &self.usage)
            .field("finish", &self.finish)
            .finish_non_exhaustive()
    }
}

/// What a caller is told of its conversation.
#[derive(Clone, Debug)]
pub struct Conversation {
    /// The token's claims.
    pub claims: Claims,
    /// The inflated bytes of its history.
    pub history_bytes: usize,
    /// The bytes of its text.
    pub token_bytes: usize,
    /// The items that were taken away before this turn.
    pub trimmed_items: usize,
    /// Those of them that a summary now stands for.
    pub summarized_items: usize,
    /// The inline images of this turn that its token has only a note of.
    pub elided_images: usize,
}

/// What had flowed of a reply before it failed, with a token whose last item is marked cut.
#[derive(Clone)]
pub struct Partial {
    /// The text that had flowed.
    pub reply: String,
    /// The token to continue from, or to ignore.
    pub token: String,
}

impl fmt::Debug for Partial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (reply, token) = (Withheld::text(&self.reply), Withheld::text(&self.token));
        f.debug_struct("Partial").field("reply", &reply).field("token", &token).finish()
    }
}
