//! The native answer: whole, or event by event.

use serde::Serialize;

use crate::proto::{
    api::{
        conversation::ConversationBody,
        format::{PublicError, ReplyWriter},
    },
    chat::Item,
    sse,
    token::Claims,
    turn::{Answer, Conversation, Delta, Partial, Usage},
};

/// Writes one reply.
pub(super) struct NativeWriter;

impl ReplyWriter for NativeWriter {
    fn body(&mut self, answer: &Answer) -> Vec<u8> {
        to_json(&AnswerBody::from(answer))
    }

    fn start(&mut self, _: &Claims, _: &mut Vec<u8>) {}

    fn deltas(&mut self, deltas: &[Delta], out: &mut Vec<u8>) {
        for delta in deltas {
            match delta {
                Delta::Text(text) => event("delta", &TextBody { text }, out),
                Delta::Call { id, name, args } => event("tool_call", &CallBody { id, name, args }, out),
                Delta::Finish(_) | Delta::Think { .. } | Delta::Usage(_) => {}
            }
        }
    }

    fn finish(&mut self, answer: &Answer, out: &mut Vec<u8>) {
        event("done", &AnswerBody::from(answer), out);
    }

    fn fail(&mut self, told: &PublicError<'_>, partial: Option<&Partial>, out: &mut Vec<u8>) {
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

/// The model tokens that a turn used, as the model service counts them.
#[derive(Serialize)]
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
pub(super) struct HistoryBody<'a> {
    /// All of it, oldest first.
    items: &'a [Item],
    /// Where the conversation stands.
    conversation: ConversationBody,
}

/// A piece of the reply's text.
#[derive(Serialize)]
pub(super) struct TextBody<'a> {
    /// What comes next.
    text: &'a str,
}

/// The model asks for a tool. Answer with a result of this id in the next turn.
#[derive(Serialize)]
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

pub(super) fn to_json(body: &impl Serialize) -> Vec<u8> {
    // Our own structs of strings and numbers always serialize.
    serde_json::to_vec(body).unwrap_or_default()
}
