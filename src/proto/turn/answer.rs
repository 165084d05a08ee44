//! The reply: its fragments while it arrives, and the complete answer with its fresh token.

use std::{fmt, time::Duration};

use super::repair::Repair;
use crate::proto::{chat::Item, token::Claims, usage::Usage, withheld::Withheld};

/// A complete reply with its fresh token.
#[derive(Clone)]
pub struct Answer {
    /// The text of the reply. Several messages are joined.
    pub reply: String,
    /// The items of the reply.
    pub output: Vec<Item>,
    /// The fresh token.
    pub token: String,
    /// The state of the conversation in that token.
    pub conversation: Conversation,
    /// The model tokens that this turn used, in all its calls.
    pub usage: Usage,
    /// The reason for the end of the reply.
    pub finish: FinishReason,
    /// The stop sequence that ended the reply, if the provider names it.
    pub stop_sequence: Option<String>,
    /// The time that the upstreams worked on this turn, in all its calls.
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

/// The state of a conversation, as the caller gets it.
#[derive(Clone, Debug)]
pub struct Conversation {
    /// The claims of the token.
    pub claims: Claims,
    /// The bytes of the inflated history.
    pub history_bytes: usize,
    /// The bytes of the token's text.
    pub token_bytes: usize,
    /// The number of items that this turn dropped from the history.
    pub trimmed_items: usize,
    /// The number of dropped items that a summary replaces.
    pub summarized_items: usize,
    /// The number of inline images in this turn's input that are only notes in the token.
    pub elided_images: usize,
}

/// The text of a reply that failed, with a token that has the text as a cut message.
#[derive(Clone)]
pub struct Partial {
    /// The text that was streamed before the failure.
    pub reply: String,
    /// A token to continue from. The client may also ignore it and use the old one.
    pub token: String,
}

impl fmt::Debug for Partial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (reply, token) = (Withheld::text(&self.reply), Withheld::text(&self.token));
        f.debug_struct("Partial").field("reply", &reply).field("token", &token).finish()
    }
}

/// One fragment of a reply.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Delta {
    /// A complete tool call. Calls come in the provider's order.
    Call {
        /// The id of the call. The result has the same id.
        id: String,
        /// The name of the tool.
        name: String,
        /// The arguments: JSON text, as received.
        args: String,
    },
    /// The reason for the end of the reply. It comes once, after all text and calls.
    Finish(FinishReason),
    /// A deviation from the wire format that was repaired. It is for the operator, not for clients.
    Repaired(Repair),
    /// The stop sequence that ended the reply, if the provider names it.
    StopSequence(String),
    /// A piece of text. It is not empty.
    Text(String),
    /// A complete piece of reasoning, in the provider's own form.
    Think {
        /// The provider whose reasoning it is ([`ModelCall::provider_id`]).
        ///
        /// [`ModelCall::provider_id`]: crate::proto::provider::ModelCall::provider_id
        provider_id: String,
        /// The reasoning: JSON text, as received.
        blob: String,
    },
    /// The counts so far. They replace earlier counts.
    Usage(Usage),
}

impl fmt::Debug for Delta {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Call { args, .. } => f.debug_tuple("Call").field(&Withheld::text(args)).finish(),
            Self::Finish(reason) => f.debug_tuple("Finish").field(reason).finish(),
            Self::Repaired(repair) => f.debug_tuple("Repaired").field(repair).finish(),
            Self::StopSequence(text) => f.debug_tuple("StopSequence").field(&Withheld::text(text)).finish(),
            Self::Text(text) => f.debug_tuple("Text").field(&Withheld::text(text)).finish(),
            Self::Think { provider_id, blob } => {
                f.debug_tuple("Think").field(provider_id).field(&Withheld::text(blob)).finish()
            }
            Self::Usage(usage) => usage.fmt(f),
        }
    }
}

/// The reason for the end of a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FinishReason {
    /// A filter of the provider stopped the reply, or the model refused.
    ContentFilter,
    /// A limit on the length was reached.
    Length,
    /// The model ended its reply.
    Stop,
    /// The model waits for tool results.
    ToolCalls,
}

impl FinishReason {
    /// The name in answers: `stop`, `length`, `tool_calls` or `content_filter`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ContentFilter => "content_filter",
            Self::Length => "length",
            Self::Stop => "stop",
            Self::ToolCalls => "tool_calls",
        }
    }
}
