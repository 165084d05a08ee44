//! One turn in neutral terms: the request of a caller, and the answer to it.
//!
//! No API and no provider format appears here. [`api`](super::api) reads requests into a
//! [`TurnRequest`] and writes an [`Answer`]. [`provider`](super::provider) writes [`ModelOptions`]
//! and reads replies into [`Delta`]s.

mod answer;
mod ceilings;
mod options;
mod repair;

use std::fmt;

use serde::Serialize;

use super::{chat::Item, withheld};

pub(in crate::proto) use super::chat::is_of_provider;

pub use self::{
    answer::{Answer, Conversation, Delta, FinishReason, Partial},
    ceilings::Ceilings,
    options::{EFFORTS, ModelOptions, Reasoning, ReplyFormat, Thinking, Tool, ToolChoice},
    repair::Repair,
};
pub use super::usage::Usage;

/// A turn as a client requests it, in neutral terms.
#[derive(Clone, Default)]
pub struct TurnRequest {
    /// The token to continue. None starts a conversation.
    pub token: Option<String>,
    /// User messages and tool results, in order. They may follow a copy of the conversation so far,
    /// as some clients send it. The copy is compared with the token and dropped.
    pub input: Vec<Item>,
    /// A system prompt from the client, only for this turn.
    pub system: Option<String>,
    /// The user that the request names. It must equal the authenticated user, if there is one.
    pub user_id: Option<String>,
    /// A user that the request names in a general member, as clients of the compatible APIs do. It
    /// is ignored if the caller is authenticated.
    pub user_hint: Option<String>,
    /// The alias of the model. Without one, the alias of the token is used, or else the first
    /// model.
    pub model: Option<String>,
    /// True if the client wants the reply as a stream.
    pub stream: bool,
    /// The options for the model.
    pub options: ModelOptions,
    /// The handling of a conversation that is too long. Without one, the setting of the model is
    /// used.
    pub truncation: Option<Truncation>,
    /// The names of the left-out parts of the request, such as `web_search`: at most 16, each of at
    /// most 64 characters that a header can have.
    pub ignored: Vec<String>,
}

impl TurnRequest {
    /// Everything that changes the answer, except the input and the token, as JSON: the model, the
    /// system prompt and the options. Equal requests have equal texts.
    pub(in crate::proto) fn settings_json(&self) -> String {
        let Self { model, system, options, truncation, .. } = self;
        // Every part has a form in JSON, so this cannot fail.
        serde_json::to_string(&(model, system, options, truncation)).unwrap_or_default()
    }
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

/// The handling of a conversation that is too long.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub enum Truncation {
    /// Drop complete turns, oldest first, and report the number of dropped items.
    Oldest,
    /// Refuse the turn.
    #[default]
    Refuse,
    /// Replace the older turns by a summary that the model writes.
    Summarize,
}

impl Truncation {
    /// The value with this name: `refuse`, `oldest` or `summarize`.
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
