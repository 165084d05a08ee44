//! The reply: its fragments while it arrives, and the complete answer with its fresh token.

use std::{fmt, time::Duration};

use crate::proto::{chat::Item, token::Claims, usage::Usage, withheld::Withheld};

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

/// One streamed fragment of a reply.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Delta {
    /// A whole tool call; they come when complete, in the provider's order.
    Call {
        /// The id that the result will name.
        id: String,
        /// The tool's name.
        name: String,
        /// The arguments: JSON text as received.
        args: String,
    },
    /// Why the reply ended. Comes once, after all text and calls.
    Finish(FinishReason),
    /// A piece of text, never empty.
    Text(String),
    /// A whole piece of the provider's own reasoning.
    Think {
        /// The provider whose reasoning it is ([`ModelCall::provider_id`]).
        ///
        /// [`ModelCall::provider_id`]: crate::proto::provider::ModelCall::provider_id
        provider_id: String,
        /// JSON text as received.
        blob: String,
    },
    /// The counts so far; a later one replaces an earlier one.
    Usage(Usage),
}

impl fmt::Debug for Delta {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Call { args, .. } => f.debug_tuple("Call").field(&Withheld::text(args)).finish(),
            Self::Finish(reason) => f.debug_tuple("Finish").field(reason).finish(),
            Self::Text(text) => f.debug_tuple("Text").field(&Withheld::text(text)).finish(),
            Self::Think { provider_id, blob } => {
                f.debug_tuple("Think").field(provider_id).field(&Withheld::text(blob)).finish()
            }
            Self::Usage(usage) => usage.fmt(f),
        }
    }
}

/// Why a reply ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FinishReason {
    /// The provider withheld or stopped it.
    ContentFilter,
    /// A bound on length was reached.
    Length,
    /// The model was done.
    Stop,
    /// The model waits for tool results.
    ToolCalls,
}

impl FinishReason {
    /// The name in answers: `stop`, `length`, `tool_calls`, `content_filter`.
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

/// Returns true if `provider_id` names the wire format `provider`, at any host.
pub(in crate::proto) fn is_of_provider(provider_id: &str, provider: &str) -> bool {
    provider_id.split('@').next() == Some(provider)
}
