//! The reply: one `chat.completion`, or a stream of chunks.
//!
//! A stream has a chunk with the role, then chunks with text and tool calls, then a chunk with
//! `finish_reason` and the token in its `delta`, then a chunk without choices that has the token at
//! its top. A chunk with the usage follows if the request asks for it. The last event is `[DONE]`.
//! A line never has the token twice: many readers bound the length of a line.
//!
//! A client that may bring the reply back as its own history is also shown the opaque members of
//! the service, on the message and on its calls, and the mark of the service on the message. In a
//! stream they come when the reply is complete, in one piece.
//!
//! A failed stream ends with `{"error"}` and without `[DONE]`. SDKs raise the error. A client that
//! only looks for `[DONE]` does not mistake the reply for a complete one.

use std::borrow::Cow;

use serde::Serialize;
use serde_json::value::RawValue;

use super::PROVIDER;
use crate::proto::{
    api::{
        conversation::ConversationBody,
        format::{PublicError, ReplyWriter},
        openai_error::{OpenAiError, TokenMember},
        tools::{CallInput, ClientCall, ToolNames},
    },
    chat::{Item, Members, Owner, ServiceState, owner_mark},
    sse,
    token::Claims,
    turn::{Answer, Delta, Partial, Usage, is_of_provider},
};

/// Writes one reply.
#[derive(Default)]
pub(super) struct ChatWriter {
    /// True if the stream ends with a chunk that has the usage.
    include_usage: bool,
    /// The names of the request's tools.
    names: ToolNames,
    /// The members that all chunks of the stream share.
    head: Head,
    /// The number of tool calls in the stream so far.
    calls: usize,
    /// True if opaque members and the mark of their service are shown.
    shows_state: bool,
    /// True if the stream has the mark.
    is_marked: bool,
    /// The blob of the state of the next call in the stream.
    call_blob: String,
}

impl ChatWriter {
    pub(super) fn new(include_usage: bool, names: ToolNames) -> Self {
        Self { include_usage, names, ..Self::default() }
    }

    /// Writes the opaque members of the message, and keeps those of the next call.
    fn write_state(&mut self, provider_id: &str, blob: String, out: &mut Vec<u8>) {
        if !self.shows_state || !is_of_provider(provider_id, PROVIDER) {
            return;
        }
        let is_first = !std::mem::replace(&mut self.is_marked, true);
        let members = message_members(&blob).unwrap_or_default();
        if is_first || !members.0.is_empty() {
            let holdall_service = is_first.then(|| owner_mark(provider_id));
            self.write_delta(DeltaBody { members, holdall_service, ..DeltaBody::default() }, out);
        }
        self.call_blob = blob;
    }

    fn write_delta(&self, delta: DeltaBody<'_>, out: &mut Vec<u8>) {
        self.write_chunk(&[ChunkChoice::new(delta)], None, None, out);
    }

    fn write_chunk(
        &self,
        choices: &[ChunkChoice<'_>],
        usage: Option<UsageBody>,
        next: Option<NextToken<'_>>,
        out: &mut Vec<u8>,
    ) {
        let usage = self.include_usage.then_some(usage);
        let chunk = Chunk { head: &self.head, object: "chat.completion.chunk", choices, usage, next };
        sse::write_event(out, None, &serde_json::to_string(&chunk).unwrap_or_default());
    }
}

impl ReplyWriter for ChatWriter {
    fn show_service_state(&mut self) {
        self.shows_state = true;
    }

    fn body(&mut self, answer: &Answer) -> Vec<u8> {
        let completion = Completion {
            head: &Head::new(&answer.conversation.claims),
            object: "chat.completion",
            choices: [Choice {
                index: 0,
                message: Message::new(answer, &self.names, self.shows_state),
                logprobs: None,
                finish_reason: answer.finish.as_str(),
            }],
            usage: answer.usage.into(),
            next: NextToken::new(answer),
        };
        // Structs of strings and numbers always serialize.
        serde_json::to_vec(&completion).unwrap_or_default()
    }

    fn start(&mut self, claims: &Claims, out: &mut Vec<u8>) {
        self.head = Head::new(claims);
        // No `content` here: the reply may have only tool calls, and SDKs keep an empty text as a
        // text of its own.
        self.write_delta(DeltaBody { role: Some("assistant"), ..DeltaBody::default() }, out);
    }

    fn deltas(&mut self, deltas: &[Delta], out: &mut Vec<u8>) {
        for delta in deltas {
            match delta {
                Delta::Text(text) => {
                    self.write_delta(DeltaBody { content: Some(text), ..DeltaBody::default() }, out);
                }
                Delta::Call { id, name, args } => {
                    let blob = std::mem::take(&mut self.call_blob);
                    let call = Call {
                        index: Some(self.calls),
                        members: call_members(&blob, id).unwrap_or_default(),
                        ..Call::new(id, self.names.client_call(name, args))
                    };
                    self.write_delta(DeltaBody { tool_calls: Some([call]), ..DeltaBody::default() }, out);
                    self.calls = self.calls.saturating_add(1);
                }
                Delta::Think { provider_id, blob } => self.write_state(provider_id, blob.clone(), out),
                Delta::Finish(_) | Delta::Repaired(_) | Delta::StopSequence(_) | Delta::Usage(_) => {}
            }
        }
    }

    fn finish(&mut self, answer: &Answer, out: &mut Vec<u8>) {
        let delta = DeltaBody { conversation_token: Some(&answer.token), ..DeltaBody::default() };
        let last = ChunkChoice { finish_reason: Some(answer.finish.as_str()), ..ChunkChoice::new(delta) };
        self.write_chunk(&[last], None, None, out);
        self.write_chunk(&[], None, Some(NextToken::new(answer)), out);
        if self.include_usage {
            self.write_chunk(&[], Some(answer.usage.into()), None, out);
        }
        sse::write_event(out, None, "[DONE]");
    }

    fn fail(&mut self, error: &PublicError<'_>, partial: Option<&Partial>, out: &mut Vec<u8>) {
        let error = OpenAiError::new(error, TokenMember::ConversationToken, partial);
        sse::write_event(out, None, &error.to_json());
    }
}

/// The members that a completion and all chunks of a stream share.
#[derive(Default, Serialize)]
struct Head {
    /// The id of the answer. It is not a token.
    id: String,
    /// The time of the reply, in Unix seconds.
    created: u64,
    /// The alias of the model.
    model: String,
}

impl Head {
    fn new(claims: &Claims) -> Self {
        let id = claims.token_id.to_string().replace('-', "");
        Self { id: format!("chatcmpl-{id}"), created: claims.issued_at.0, model: claims.model.clone() }
    }
}

/// The members that Holdall adds to a completion, and to the chunk after that with `finish_reason`.
#[derive(Serialize)]
struct NextToken<'a> {
    conversation_token: &'a str,
    holdall: ConversationBody,
}

impl<'a> NextToken<'a> {
    fn new(answer: &'a Answer) -> Self {
        Self { conversation_token: &answer.token, holdall: ConversationBody::with_usage(answer) }
    }
}

/// A complete reply.
#[derive(Serialize)]
struct Completion<'a> {
    #[serde(flatten)]
    head: &'a Head,
    object: &'static str,
    choices: [Choice<'a>; 1],
    usage: UsageBody,
    #[serde(flatten)]
    next: NextToken<'a>,
}

/// The only choice of a completion.
#[derive(Serialize)]
struct Choice<'a> {
    /// Always 0.
    index: usize,
    message: Message<'a>,
    /// Always `null`.
    logprobs: Option<()>,
    finish_reason: &'static str,
}

/// The message of the model.
#[derive(Serialize)]
struct Message<'a> {
    role: &'static str,
    /// The text; `null` if there are only tool calls.
    content: Option<&'a str>,
    /// Always `null`.
    refusal: Option<()>,
    annotations: [(); 0],
    /// The tool calls; absent if there are none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<Call<'a>>,
    /// The next token again, because some clients keep only the message.
    conversation_token: &'a str,
    /// The opaque members of the service.
    #[serde(flatten)]
    members: Members<&'a RawValue>,
    /// The mark of the service.
    #[serde(skip_serializing_if = "Option::is_none")]
    holdall_service: Option<String>,
}

impl<'a> Message<'a> {
    fn new(answer: &'a Answer, names: &'a ToolNames, shows_state: bool) -> Self {
        let (mut tool_calls, mut members, mut holdall_service, mut call_blob) =
            (Vec::new(), Members::default(), None, "");
        for item in &answer.output {
            match item {
                Item::Call { id, name, args } => {
                    let members = call_members(std::mem::take(&mut call_blob), id).unwrap_or_default();
                    tool_calls.push(Call { members, ..Call::new(id, names.client_call(name, args)) });
                }
                Item::Think { provider_id, blob } if shows_state && is_of_provider(provider_id, PROVIDER) => {
                    members.0.extend(message_members(blob).unwrap_or_default().0);
                    holdall_service = Some(owner_mark(provider_id));
                    call_blob = blob;
                }
                _ => {}
            }
        }
        let has_only_calls = answer.reply.is_empty() && !tool_calls.is_empty();
        Self {
            role: "assistant",
            content: if has_only_calls { None } else { Some(&answer.reply) },
            refusal: None,
            annotations: [],
            tool_calls,
            conversation_token: &answer.token,
            members,
            holdall_service,
        }
    }
}

/// The opaque members of a message, as its state has them. Pieces of the content are left out:
/// clients of this API expect a text there.
fn message_members(blob: &str) -> Option<Members<&RawValue>> {
    let mut state = ServiceState::from_blob(blob).filter(|state| state.owner == Owner::Message)?;
    state.members.0.retain(|(name, _)| name != "content");
    Some(state.members)
}

/// The opaque members of the call with this id, as the state before it has them.
fn call_members<'a>(blob: &'a str, id: &str) -> Option<Members<&'a RawValue>> {
    let state = ServiceState::from_blob(blob)?;
    matches!(&state.owner, Owner::Call(owner) if owner == id).then_some(state.members)
}

/// A chunk of a streamed reply.
#[derive(Serialize)]
struct Chunk<'a> {
    #[serde(flatten)]
    head: &'a Head,
    object: &'static str,
    choices: &'a [ChunkChoice<'a>],
    /// Absent unless the request asks for the usage; then `null` in all chunks except the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Option<UsageBody>>,
    #[serde(flatten)]
    next: Option<NextToken<'a>>,
}

/// The only choice of a chunk.
#[derive(Serialize)]
struct ChunkChoice<'a> {
    /// Always 0.
    index: usize,
    delta: DeltaBody<'a>,
    /// Always `null`.
    logprobs: Option<()>,
    /// `null` until the reply has ended.
    finish_reason: Option<&'static str>,
}

impl<'a> ChunkChoice<'a> {
    fn new(delta: DeltaBody<'a>) -> Self {
        Self { index: 0, delta, logprobs: None, finish_reason: None }
    }
}

/// A fragment of the message. SDKs concatenate the strings of all fragments.
#[derive(Default, Serialize)]
struct DeltaBody<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_calls: Option<[Call<'a>; 1]>,
    /// The next token. It must be in one fragment only, because SDKs concatenate.
    #[serde(skip_serializing_if = "Option::is_none")]
    conversation_token: Option<&'a str>,
    /// The opaque members of the service.
    #[serde(flatten)]
    members: Members<&'a RawValue>,
    /// The mark of the service, in one fragment only.
    #[serde(skip_serializing_if = "Option::is_none")]
    holdall_service: Option<String>,
}

/// A tool call.
#[derive(Serialize)]
struct Call<'a> {
    /// The position among the tool calls of the stream. Absent in a completion.
    #[serde(skip_serializing_if = "Option::is_none")]
    index: Option<usize>,
    /// The id that the result must name.
    id: &'a str,
    r#type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    function: Option<CalledFunction<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    custom: Option<CalledCustom<'a>>,
    /// The opaque members of the service.
    #[serde(flatten)]
    members: Members<&'a RawValue>,
}

/// The function of a tool call.
#[derive(Serialize)]
struct CalledFunction<'a> {
    name: &'a str,
    /// JSON text, exactly as the model wrote it.
    arguments: &'a str,
}

/// The custom tool of a tool call.
#[derive(Serialize)]
struct CalledCustom<'a> {
    name: &'a str,
    input: Cow<'a, str>,
}

impl<'a> Call<'a> {
    fn new(id: &'a str, ClientCall { name, input, .. }: ClientCall<'a>) -> Self {
        let call =
            Self { index: None, id, r#type: "function", function: None, custom: None, members: Members::default() };
        match input {
            CallInput::Arguments(arguments) => Self { function: Some(CalledFunction { name, arguments }), ..call },
            CallInput::Text(input) => Self { r#type: "custom", custom: Some(CalledCustom { name, input }), ..call },
        }
    }
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
