//! The mirror of a dialect: the formats in which clients ask for a turn and are answered.
//!
//! A door reads bytes into a [`TurnRequest`] and writes deltas and an [`Answer`] as bytes; what a turn is, whom it may
//! concern and what it may cost is decided in [`exchange`](crate::proto::exchange).

use std::fmt;

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

    /// Reads a request body.
    ///
    /// # Errors
    /// [`Error::RequestInvalid`], [`Error::RoleForbidden`] or [`Error::Unsupported`], each naming the member.
    fn request(&self, body: &str) -> Result<TurnRequest, Error>;

    /// Writes a whole reply, as JSON.
    fn answer(&self, answer: &Answer) -> Vec<u8>;

    /// A writer for one streamed reply, as server-sent events.
    fn stream(&self) -> Box<dyn ReplyWriter>;
}

/// Writes one streamed reply.
pub trait ReplyWriter: Send {
    /// Appends the events for deltas that are ready together.
    fn deltas(&mut self, deltas: &[Delta], out: &mut Vec<u8>);

    /// Appends what ends a whole reply.
    fn done(&mut self, answer: &Answer, out: &mut Vec<u8>);

    /// Appends what ends a failed one; `problem` is the problem document's JSON object (RFC 9457).
    fn error(&mut self, problem: &str, partial: Option<&Partial>, out: &mut Vec<u8>);
}

/// What a client asks for, in no door's words.
#[derive(Clone, Default)]
pub struct TurnRequest {
    /// The token to continue; none begins a conversation.
    pub token: Option<String>,
    /// User messages and tool results, in order.
    pub input: Vec<Item>,
    /// The user that the request names.
    pub user_id: Option<String>,
    /// The alias asked for; else the token's, else the first.
    pub model: Option<String>,
    /// Whether the reply is to be streamed.
    pub stream: bool,
    /// What is asked of the model beside the input.
    pub options: ModelOptions,
    /// What to do when the conversation has outgrown its limits.
    pub truncation: Truncation,
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
pub enum Truncation {
    /// Take away whole turns, oldest first, and say how many items went.
    Oldest,
    /// Refuse the turn.
    #[default]
    Refuse,
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
