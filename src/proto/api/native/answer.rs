//! The native answer: whole, or event by event; and what every door tells of a conversation.

use serde::Serialize;

#[cfg(test)]
use crate::proto::turn::FinishReason;
use crate::proto::{
    api::{PublicError, ReplyWriter},
    chat::Item,
    sse,
    time::UnixSeconds,
    token::Claims,
    turn::{Answer, Conversation, Delta, Partial, Usage},
};

/// Writes one reply.
pub(super) struct NativeWriter;

impl ReplyWriter for NativeWriter {
    fn answer(&mut self, answer: &Answer) -> Vec<u8> {
        to_json(&AnswerBody::from(answer))
    }

    fn begin(&mut self, _: &Claims, _: &mut Vec<u8>) {}

    fn deltas(&mut self, deltas: &[Delta], out: &mut Vec<u8>) {
        for delta in deltas {
            match delta {
                Delta::Text(text) => event("delta", &TextBody { text }, out),
                Delta::Call { id, name, args } => event("tool_call", &CallBody { id, name, args }, out),
                Delta::Finish(_) | Delta::Think { .. } | Delta::Usage(_) => {}
            }
        }
    }

    fn done(&mut self, answer: &Answer, out: &mut Vec<u8>) {
        event("done", &AnswerBody::from(answer), out);
    }

    fn error(&mut self, told: &PublicError<'_>, partial: Option<&Partial>, out: &mut Vec<u8>) {
        let partial = partial.map(|Partial { reply, token }| PartialBody { reply, token });
        // The problem is an object of ours; the partial reply becomes one more member of it.
        let members = told.problem.trim_end().strip_suffix('}').unwrap_or("{");
        let tail = partial.map_or_else(String::new, |partial| {
            format!(",\"partial\":{}", serde_json::to_string(&partial).unwrap_or_default())
        });
        sse::write_event(out, Some("error"), &format!("{members}{tail}}}"));
    }
}

/// A turn that was taken: the reply, and the token to go on with.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "TurnAnswer"))]
pub(super) struct AnswerBody<'a> {
    /// The reply's text.
    reply: &'a str,
    /// The items that the turn added to the conversation after its input: what was said, called and thought.
    output: &'a [Item],
    /// The conversation's new last token: keep it in place of the one that was sent.
    token: &'a str,
    /// Whose the conversation is.
    user_id: &'a str,
    /// Where the conversation stands.
    conversation: ConversationBody,
    /// What the turn used.
    usage: UsageBody,
    /// Why the reply ended.
    #[cfg_attr(test, schemars(with = "FinishReason"))]
    finish_reason: &'static str,
}

impl<'a> From<&'a Answer> for AnswerBody<'a> {
    fn from(answer: &'a Answer) -> Self {
        Self {
            reply: &answer.reply,
            output: &answer.output,
            token: &answer.token,
            user_id: answer.conversation.claims.principal.subject(),
            conversation: (&answer.conversation).into(),
            usage: answer.usage.into(),
            finish_reason: answer.finish.as_str(),
        }
    }
}

/// Where a conversation stands.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "Conversation"))]
pub(in crate::proto::api) struct ConversationBody {
    /// Its id, the same in all its tokens.
    #[cfg_attr(test, schemars(extend("format" = "uuid")))]
    id: String,
    /// How many turns it has.
    turn: u64,
    /// When it began.
    #[cfg_attr(test, schemars(extend("format" = "date-time")))]
    started_at: String,
    /// When its token stops being good; each turn puts it off.
    #[cfg_attr(test, schemars(extend("format" = "date-time")))]
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

/// The model tokens that a turn used, as the model service counts them.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "Usage"))]
struct UsageBody {
    /// Sent, cached ones included.
    input_tokens: u64,
    /// Received.
    output_tokens: u64,
    /// Sent, and cached by the provider.
    cached_tokens: u64,
}

impl From<Usage> for UsageBody {
    fn from(Usage { input_tokens, output_tokens, cached_tokens, .. }: Usage) -> Self {
        Self { input_tokens, output_tokens, cached_tokens }
    }
}

/// What a token holds.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "History"))]
pub(super) struct HistoryBody<'a> {
    /// All of it, oldest first.
    items: &'a [Item],
    /// Where the conversation stands.
    conversation: ConversationBody,
}

/// A piece of the reply's text.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "TurnDelta"))]
pub(super) struct TextBody<'a> {
    /// What comes next.
    text: &'a str,
}

/// The model asks for a tool. Answer with a result of this id in the next turn.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "TurnToolCall"))]
pub(super) struct CallBody<'a> {
    /// The call's id.
    id: &'a str,
    /// The tool.
    name: &'a str,
    /// The arguments, as JSON text of the model's own.
    args: &'a str,
}

/// What had flowed of a reply that was cut.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "PartialReply"))]
pub(super) struct PartialBody<'a> {
    /// The text so far.
    reply: &'a str,
    /// A token that holds it, its last item marked cut: to go on from, or to ignore.
    token: &'a str,
}

/// What a token holds, for its owner.
pub(super) fn history(items: &[Item], conversation: &Conversation) -> Vec<u8> {
    to_json(&HistoryBody { items, conversation: conversation.into() })
}

fn event(name: &'static str, body: &impl Serialize, out: &mut Vec<u8>) {
    sse::write_event(out, Some(name), &serde_json::to_string(body).unwrap_or_default());
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands out references")]
fn is_zero(count: &usize) -> bool {
    *count == 0
}

pub(super) fn to_json(body: &impl Serialize) -> Vec<u8> {
    // Our own structs of strings and numbers always serialize.
    serde_json::to_vec(body).unwrap_or_default()
}
