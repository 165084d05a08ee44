//! The reply: one `chat.completion`, or chunks of it as they come.
//!
//! Streamed, the role comes first, then text and calls, then a chunk with `finish_reason` and the token, then what was
//! used if that was asked for, then `[DONE]`. A stream that fails ends with `{"error"}` and without `[DONE]`: SDKs raise
//! the one, and who looks for the other alone must not take the reply for whole.

use serde::Serialize;

use crate::proto::{
    api::{
        conversation::ConversationBody,
        format::{PublicError, ReplyWriter},
        openai_error::{OpenAiError, TokenMember},
    },
    chat::Item,
    sse,
    token::Claims,
    turn::{Answer, Delta, Partial, Usage},
};

/// Writes one reply.
#[derive(Default)]
pub(super) struct ChatWriter {
    include_usage: bool,
    /// What all chunks of a stream have in common.
    head: Head,
    /// The calls that were streamed.
    calls: usize,
}

impl ChatWriter {
    pub(super) fn new(include_usage: bool) -> Self {
        Self { include_usage, ..Self::default() }
    }

    fn piece(&self, delta: Said<'_>, out: &mut Vec<u8>) {
        self.chunk(&[StreamedChoice::new(delta)], None, None, out);
    }

    fn chunk(&self, choices: &[StreamedChoice<'_>], usage: Option<UsageBody>, end: Option<End<'_>>, out: &mut Vec<u8>) {
        let usage = self.include_usage.then_some(usage);
        let chunk = Chunk { head: &self.head, object: "chat.completion.chunk", choices, usage, end };
        sse::write_event(out, None, &serde_json::to_string(&chunk).unwrap_or_default());
    }
}

impl ReplyWriter for ChatWriter {
    fn body(&mut self, answer: &Answer) -> Vec<u8> {
        let calls: Vec<_> = calls(answer).collect();
        let content = if answer.reply.is_empty() && !calls.is_empty() { None } else { Some(answer.reply.as_str()) };
        let token = answer.token.as_str();
        let message = Message {
            role: "assistant",
            content,
            refusal: None,
            annotations: [],
            tool_calls: calls,
            conversation_token: token,
        };
        let choice = Choice { index: 0, message, logprobs: None, finish_reason: answer.finish.as_str() };
        let completion = Completion {
            head: &Head::new(&answer.conversation.claims),
            object: "chat.completion",
            choices: [choice],
            usage: answer.usage.into(),
            end: End::new(answer),
        };
        // Our own structs of strings and numbers always serialize.
        serde_json::to_vec(&completion).unwrap_or_default()
    }

    fn start(&mut self, claims: &Claims, out: &mut Vec<u8>) {
        self.head = Head::new(claims);
        // Whether there will be text is not known yet; empty text would stand beside calls as a reply of its own.
        self.piece(Said { role: Some("assistant"), ..Said::default() }, out);
    }

    fn deltas(&mut self, deltas: &[Delta], out: &mut Vec<u8>) {
        for delta in deltas {
            match delta {
                Delta::Text(text) => self.piece(Said { content: Some(text), ..Said::default() }, out),
                Delta::Call { id, name, args } => {
                    let call = Call { index: Some(self.calls), ..Call::new(id, name, args) };
                    self.calls = self.calls.saturating_add(1);
                    self.piece(Said { tool_calls: Some([call]), ..Said::default() }, out);
                }
                Delta::Finish(_) | Delta::Think { .. } | Delta::Usage(_) => {}
            }
        }
    }

    fn finish(&mut self, answer: &Answer, out: &mut Vec<u8>) {
        let delta = Said { conversation_token: Some(&answer.token), ..Said::default() };
        let last = StreamedChoice { finish_reason: Some(answer.finish.as_str()), ..StreamedChoice::new(delta) };
        self.chunk(&[last], None, Some(End::new(answer)), out);
        if self.include_usage {
            self.chunk(&[], Some(answer.usage.into()), None, out);
        }
        sse::write_event(out, None, "[DONE]");
    }

    fn fail(&mut self, told: &PublicError<'_>, partial: Option<&Partial>, out: &mut Vec<u8>) {
        let error = OpenAiError::new(told, TokenMember::ConversationToken, partial);
        sse::write_event(out, None, &error.to_json());
    }
}

/// What an answer and all chunks of a stream have in common.
#[derive(Default, Serialize)]
struct Head {
    /// Names the answer; it is no token.
    id: String,
    /// Unix seconds.
    created: u64,
    /// The alias.
    model: String,
}

impl Head {
    fn new(claims: &Claims) -> Self {
        let id = claims.token_id.to_string().replace('-', "");
        Self { id: format!("chatcmpl-{id}"), created: claims.issued_at.0, model: claims.model.clone() }
    }
}

/// What an answer ends with, and the chunk with `finish_reason`.
#[derive(Serialize)]
struct End<'a> {
    /// The conversation's new last token.
    conversation_token: &'a str,
    /// Where the conversation stands.
    holdall: ConversationBody,
}

impl<'a> End<'a> {
    fn new(answer: &'a Answer) -> Self {
        Self { conversation_token: &answer.token, holdall: (&answer.conversation).into() }
    }
}

/// A whole reply.
#[derive(Serialize)]
pub(super) struct Completion<'a> {
    #[serde(flatten)]
    head: &'a Head,
    object: &'static str,
    choices: [Choice<'a>; 1],
    usage: UsageBody,
    #[serde(flatten)]
    end: End<'a>,
}

/// The reply.
#[derive(Serialize)]
struct Choice<'a> {
    /// Always 0.
    index: usize,
    message: Message<'a>,
    logprobs: Option<()>,
    /// Why it ended.
    finish_reason: &'static str,
}

/// What the model said.
#[derive(Serialize)]
struct Message<'a> {
    role: &'static str,
    /// `null` where there are only calls.
    content: Option<&'a str>,
    refusal: Option<()>,
    annotations: [(); 0],
    /// What it called; absent if nothing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<Call<'a>>,
    /// The conversation's new last token, once more: some clients keep the message alone.
    conversation_token: &'a str,
}

/// A piece of a reply. The last one but for usage has `finish_reason` and the token.
#[derive(Serialize)]
pub(super) struct Chunk<'a> {
    #[serde(flatten)]
    head: &'a Head,
    object: &'static str,
    choices: &'a [StreamedChoice<'a>],
    /// Where usage was asked for, `null` in all chunks but the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Option<UsageBody>>,
    #[serde(flatten)]
    end: Option<End<'a>>,
}

/// The piece.
#[derive(Serialize)]
struct StreamedChoice<'a> {
    /// Always 0.
    index: usize,
    delta: Said<'a>,
    logprobs: Option<()>,
    /// Why the reply ended; null before.
    finish_reason: Option<&'static str>,
}

impl<'a> StreamedChoice<'a> {
    fn new(delta: Said<'a>) -> Self {
        Self { index: 0, delta, logprobs: None, finish_reason: None }
    }
}

/// One fragment of a message; SDKs join their strings.
#[derive(Default, Serialize)]
struct Said<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_calls: Option<[Call<'a>; 1]>,
    /// The conversation's new last token, in the chunk with `finish_reason` alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    conversation_token: Option<&'a str>,
}

/// The model asks for a tool.
#[derive(Serialize)]
struct Call<'a> {
    /// Its place among the calls, in fragments alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    index: Option<usize>,
    /// The id that the result will name.
    id: &'a str,
    r#type: &'static str,
    function: Called<'a>,
}

/// What is called.
#[derive(Serialize)]
struct Called<'a> {
    /// The tool.
    name: &'a str,
    /// JSON text, as the model wrote it.
    arguments: &'a str,
}

impl<'a> Call<'a> {
    fn new(id: &'a str, name: &'a str, arguments: &'a str) -> Self {
        Self { index: None, id, r#type: "function", function: Called { name, arguments } }
    }
}

fn calls(answer: &Answer) -> impl Iterator<Item = Call<'_>> {
    answer.output.iter().filter_map(|item| match item {
        Item::Call { id, name, args } => Some(Call::new(id, name, args)),
        _ => None,
    })
}

/// The model tokens that the turn used.
#[derive(Serialize)]
struct UsageBody {
    prompt_tokens: u64,
    completion_tokens: u64,
    total_tokens: u64,
    prompt_tokens_details: InputDetails,
    completion_tokens_details: OutputDetails,
}

#[derive(Serialize)]
struct InputDetails {
    cached_tokens: u64,
}

#[derive(Serialize)]
struct OutputDetails {
    reasoning_tokens: u64,
}

impl From<Usage> for UsageBody {
    fn from(usage: Usage) -> Self {
        Self {
            prompt_tokens: usage.input_tokens,
            completion_tokens: usage.output_tokens,
            total_tokens: usage.input_tokens.saturating_add(usage.output_tokens),
            prompt_tokens_details: InputDetails { cached_tokens: usage.cached_tokens },
            completion_tokens_details: OutputDetails { reasoning_tokens: usage.reasoning_tokens },
        }
    }
}
