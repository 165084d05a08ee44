//! The state of a conversation, as every API reports it in its answers.

use serde::Serialize;

use crate::proto::turn::{Answer, Conversation};

/// The state of a conversation.
#[derive(Serialize)]
pub(super) struct ConversationBody {
    /// The conversation's id: a UUIDv7, the same in all its tokens.
    id: String,
    /// The number of turns so far.
    turn: u64,
    /// The time of the first turn (RFC 3339).
    started_at: String,
    /// The time when the token expires (RFC 3339).
    expires_at: String,
    /// The size of the history, as the limits count it.
    history_bytes: usize,
    /// The size of the token's text.
    token_bytes: usize,
    /// The number of items that `truncation` removed before this turn.
    trimmed_items: usize,
    /// The number of removed items that a summary replaces. Absent if 0.
    #[serde(skip_serializing_if = "is_zero")]
    summarized_items: usize,
    /// The number of inline images of this turn that the token keeps only as a note. Absent if 0.
    #[serde(skip_serializing_if = "is_zero")]
    elided_images: usize,
    /// True if a client brought turns of the model to the conversation. Absent otherwise.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    asserted: bool,
    /// True if a count of model tokens in the answer is an estimate. Only in the formats that have
    /// no member for it in their usage; absent otherwise.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    usage_estimated: bool,
}

impl ConversationBody {
    /// The state after a turn, for a format that has no member for estimates in its usage.
    pub(super) fn with_usage(answer: &Answer) -> Self {
        Self { usage_estimated: answer.usage.estimated, ..Self::from(&answer.conversation) }
    }
}

impl From<&Conversation> for ConversationBody {
    fn from(conversation: &Conversation) -> Self {
        let Conversation { claims, history_bytes, token_bytes, trimmed_items, summarized_items, elided_images } =
            conversation;
        Self {
            id: claims.conversation.to_string(),
            turn: claims.turn,
            started_at: claims.born_at.to_string(),
            expires_at: claims.expires_at.to_string(),
            history_bytes: *history_bytes,
            token_bytes: *token_bytes,
            trimmed_items: *trimmed_items,
            summarized_items: *summarized_items,
            elided_images: *elided_images,
            asserted: claims.asserted,
            usage_estimated: false,
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_zero(count: &usize) -> bool {
    *count == 0
}
