//! One turn in neutral terms: the request of a caller, and the answer to it.
//!
//! No API and no provider format appears here. [`api`](super::api) reads requests into a [`TurnRequest`] and writes an
//! [`Answer`]; [`provider`](super::provider) writes [`ModelOptions`] and reads replies into [`Delta`]s.

mod answer;
mod options;

use std::fmt;

use super::{chat::Item, withheld};

pub(in crate::proto) use self::answer::is_of_provider;
pub use self::{
    answer::{Answer, Conversation, Delta, FinishReason, Partial},
    options::{ModelOptions, Reasoning, ReplyFormat, Thinking, Tool, ToolChoice},
};
pub use super::usage::Usage;

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
