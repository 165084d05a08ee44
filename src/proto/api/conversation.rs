//! The state of a conversation, as every API reports it in its answers.

use serde::Serialize;

use crate::proto::{time::UnixSeconds, turn::Conversation};

/// Where a conversation stands.
#[derive(Serialize)]
pub(super) struct ConversationBody {
    /// Its id, the same in all its tokens.
    id: String,
    /// How many turns it has.
    turn: u64,
    /// When it began.
    started_at: String,
    /// When its token stops being good; each turn puts it off.
    expires_at: String,
    /// The bytes of what was said so far, as the limits count them (4 MiB by default).
    history_bytes: usize,
    /// The bytes of the token's text (3 MiB at most by default).
    token_bytes: usize,
    /// How many items were taken away before this turn, because `truncation` says so.
    trimmed_items: usize,
    /// How many of them a summary now stands for; absent if none.
    #[serde(skip_serializing_if = "is_zero")]
    summarized_items: usize,
    /// How many inline images of this turn the token has only a note of; absent if none.
    #[serde(skip_serializing_if = "is_zero")]
    elided_images: usize,
}

impl From<&Conversation> for ConversationBody {
    fn from(conversation: &Conversation) -> Self {
        let Conversation { claims, history_bytes, token_bytes, trimmed_items, summarized_items, elided_images } =
            conversation;
        let moment = |seconds: UnixSeconds| seconds.to_string();
        Self {
            id: claims.conversation.to_string(),
            turn: claims.turn,
            started_at: moment(claims.born_at),
            expires_at: moment(claims.expires_at),
            history_bytes: *history_bytes,
            token_bytes: *token_bytes,
            trimmed_items: *trimmed_items,
            summarized_items: *summarized_items,
            elided_images: *elided_images,
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands out references")]
fn is_zero(count: &usize) -> bool {
    *count == 0
}
