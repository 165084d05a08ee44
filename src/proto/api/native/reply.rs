//! The reply of the native API, complete or as events.

use serde::Serialize;

use crate::proto::{
    api::{
        conversation::ConversationBody,
        format::{PublicError, ReplyWriter},
    },
    chat::Item,
    sse,
    token::Claims,
    turn::{Answer, Delta, Partial, Usage},
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
                Delta::Text(text) => write_event("delta", &TextBody { text }, out),
                Delta::Call { id, name, args } => write_event("tool_call", &CallBody { id, name, args }, out),
                Delta::Finish(_)
                | Delta::Repaired(_)
                | Delta::StopSequence(_)
                | Delta::Think { .. }
                | Delta::Usage(_) => {}
            }
        }
    }

    fn finish(&mut self, answer: &Answer, out: &mut Vec<u8>) {
        write_event("done", &AnswerBody::from(answer), out);
    }

    fn fail(&mut self, error: &PublicError<'_>, partial: Option<&Partial>, out: &mut Vec<u8>) {
        let partial = partial.map(|Partial { reply, token }| PartialBody { reply, token });
        // The problem document is a JSON object that this server wrote. `partial` becomes its last
        // member.
        let members = error.problem.trim_end().strip_suffix('}').unwrap_or("{");
        let last = partial.map_or_else(String::new, |partial| {
            format!(",\"partial\":{}", serde_json::to_string(&partial).unwrap_or_default())
        });
        sse::write_event(out, Some("error"), &format!("{members}{last}}}"));
    }
}

/// The answer to a turn, complete or as the event `done`.
#[derive(Serialize)]
struct AnswerBody<'a> {
    /// The text of the reply.
    reply: &'a str,
    /// The items that the turn added after its input.
    output: &'a [Item],
    /// The next token.
    token: &'a str,
    /// The owner of the conversation.
    user_id: &'a str,
    conversation: ConversationBody,
    usage: UsageBody,
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

/// The model tokens that a turn used in all its calls.
#[derive(Serialize)]
struct UsageBody {
    /// The model tokens sent, cached ones included.
    input_tokens: u64,
    /// The model tokens received.
    output_tokens: u64,
    /// The model tokens sent that the provider had cached.
    cached_tokens: u64,
    /// True if a count is an estimate, because the provider did not report it. Absent otherwise.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    estimated: bool,
}

impl From<Usage> for UsageBody {
    fn from(Usage { input_tokens, output_tokens, cached_tokens, estimated, .. }: Usage) -> Self {
        Self { input_tokens, output_tokens, cached_tokens, estimated }
    }
}

/// The data of the event `delta`.
#[derive(Serialize)]
struct TextBody<'a> {
    text: &'a str,
}

/// The data of the event `tool_call`.
#[derive(Serialize)]
struct CallBody<'a> {
    /// The id that the result must name.
    id: &'a str,
    /// The name of the tool.
    name: &'a str,
    /// The arguments: JSON text, exactly as the model wrote it.
    args: &'a str,
}

/// The member `partial` of the event `error`.
#[derive(Serialize)]
struct PartialBody<'a> {
    /// The text that the client has received.
    reply: &'a str,
    /// A token that holds the text. Its last item is marked as cut.
    token: &'a str,
}

fn write_event(name: &'static str, body: &impl Serialize, out: &mut Vec<u8>) {
    sse::write_event(out, Some(name), &serde_json::to_string(body).unwrap_or_default());
}

/// Serializes a body of this module's types. These are structs of strings and numbers, which always
/// serialize.
pub(super) fn to_json(body: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(body).unwrap_or_default()
}
