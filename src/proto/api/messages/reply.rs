//! The reply: one message, or the events of a stream.
//!
//! ```text
//! message_start ─▶ each block: content_block_start ─▶ content_block_delta … ─▶ content_block_stop
//!               ─▶ message_delta ─▶ message_stop
//! ```
//! A failed stream ends with the event `error`. Blocks are numbered from 0, and one block is open
//! at a time. A streamed reply has the same blocks as a complete one. The usage comes at the end;
//! where the format requires counts at the start, they are 0.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::error::ErrorBody;
use crate::proto::{
    api::{
        carried_state::CarriedState,
        conversation::ConversationBody,
        format::{PublicError, ReplyWriter},
    },
    chat::{Item, Part, owner_mark},
    json::Object,
    sse,
    token::Claims,
    turn::{Answer, Delta, FinishReason, Partial, Usage, is_of_provider},
};

/// Writes one reply.
pub(super) struct MessagesWriter {
    shown: Shown,
    /// The number of blocks in the stream so far.
    blocks: usize,
    /// True if the last block is text and still open.
    text_is_open: bool,
}

/// The parts of reasoning that are shown.
#[derive(Clone, Copy)]
struct Shown {
    /// False if thinking blocks must be empty except for their signatures.
    thinking: bool,
    /// True if blocks have the mark of their service, and if there are blocks for the opaque
    /// members of services with other formats.
    state: bool,
}

impl MessagesWriter {
    pub(super) fn new(shows_thinking: bool) -> Self {
        let shown = Shown { thinking: shows_thinking, state: false };
        Self { shown, blocks: 0, text_is_open: false }
    }

    fn write_text(&mut self, text: &str, out: &mut Vec<u8>) {
        if !self.text_is_open {
            self.start_block(&Block::text(""), out);
            self.text_is_open = true;
        }
        self.write_delta(BlockDelta::Text { text }, out);
    }

    /// Writes a complete block, in the fragments that SDKs expect.
    fn write_block(&mut self, block: Block<'_>, out: &mut Vec<u8>) {
        self.end_text(out);
        match block {
            Block::Thinking { thinking, signature, holdall_service } => {
                let empty = Block::Thinking { thinking: "".into(), signature: "".into(), holdall_service };
                self.start_block(&empty, out);
                if !thinking.is_empty() {
                    self.write_delta(BlockDelta::Thinking { thinking: &thinking }, out);
                }
                self.write_delta(BlockDelta::Signature { signature: &signature }, out);
            }
            Block::ToolUse { id, name, input, caller } => {
                self.start_block(&Block::ToolUse { id, name, input: ToolInput::Empty {}, caller }, out);
                self.write_delta(BlockDelta::InputJson { partial_json: input.as_json() }, out);
            }
            block => self.start_block(&block, out),
        }
        self.stop_block(out);
    }

    fn end_text(&mut self, out: &mut Vec<u8>) {
        if std::mem::take(&mut self.text_is_open) {
            self.stop_block(out);
        }
    }

    fn start_block(&mut self, content_block: &Block<'_>, out: &mut Vec<u8>) {
        self.blocks = self.blocks.saturating_add(1);
        Event::ContentBlockStart { index: self.index(), content_block }.write(out);
    }

    fn write_delta(&self, delta: BlockDelta<'_>, out: &mut Vec<u8>) {
        Event::ContentBlockDelta { index: self.index(), delta }.write(out);
    }

    fn stop_block(&self, out: &mut Vec<u8>) {
        Event::ContentBlockStop { index: self.index() }.write(out);
    }

    /// The number of the last block.
    fn index(&self) -> usize {
        self.blocks.saturating_sub(1)
    }
}

impl ReplyWriter for MessagesWriter {
    fn show_service_state(&mut self) {
        self.shown.state = true;
    }

    fn body(&mut self, answer: &Answer) -> Vec<u8> {
        let message = Message {
            content: content(answer, self.shown),
            stop_reason: Some(stop_reason(answer)),
            stop_sequence: answer.stop_sequence.as_deref(),
            usage: answer.usage.into(),
            next: Some(NextToken::new(answer)),
            ..Message::new(&answer.conversation.claims)
        };
        // Structs of strings and numbers always serialize.
        serde_json::to_vec(&message).unwrap_or_default()
    }

    fn start(&mut self, claims: &Claims, out: &mut Vec<u8>) {
        Event::MessageStart { message: Message::new(claims) }.write(out);
    }

    fn deltas(&mut self, deltas: &[Delta], out: &mut Vec<u8>) {
        for delta in deltas {
            match delta {
                Delta::Call { id, name, args } => self.write_block(Block::tool_use(id, name, args), out),
                Delta::Finish(_) | Delta::Repaired(_) | Delta::StopSequence(_) | Delta::Usage(_) => {}
                Delta::Text(text) => self.write_text(text, out),
                Delta::Think { provider_id, blob } => {
                    // Reasoning separates two texts, as in the history, even if no block shows it.
                    self.end_text(out);
                    if let Some(block) = Block::thinking(provider_id, blob, self.shown) {
                        self.write_block(block, out);
                    }
                }
            }
        }
    }

    fn finish(&mut self, answer: &Answer, out: &mut Vec<u8>) {
        self.end_text(out);
        let delta = MessageDelta {
            stop_reason: stop_reason(answer),
            stop_sequence: answer.stop_sequence.as_deref(),
            ..MessageDelta::default()
        };
        Event::MessageDelta { delta, usage: answer.usage.into(), next: NextToken::new(answer) }.write(out);
        Event::MessageStop { conversation_token: &answer.token }.write(out);
    }

    fn fail(&mut self, error: &PublicError<'_>, partial: Option<&Partial>, out: &mut Vec<u8>) {
        sse::write_event(out, Some("error"), &ErrorBody::new(error, partial).to_json());
    }
}

fn stop_reason(answer: &Answer) -> &'static str {
    match answer.finish {
        FinishReason::ContentFilter => "refusal",
        FinishReason::Length => "max_tokens",
        FinishReason::Stop if answer.stop_sequence.is_some() => "stop_sequence",
        FinishReason::Stop => "end_turn",
        FinishReason::ToolCalls => "tool_use",
    }
}

/// One event of a stream.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Event<'a> {
    ContentBlockDelta {
        index: usize,
        delta: BlockDelta<'a>,
    },
    ContentBlockStart {
        index: usize,
        content_block: &'a Block<'a>,
    },
    ContentBlockStop {
        index: usize,
    },
    MessageDelta {
        delta: MessageDelta<'a>,
        usage: DeltaUsage,
        #[serde(flatten)]
        next: NextToken<'a>,
    },
    MessageStart {
        message: Message<'a>,
    },
    MessageStop {
        conversation_token: &'a str,
    },
}

impl Event<'_> {
    fn name(&self) -> &'static str {
        match self {
            Self::ContentBlockDelta { .. } => "content_block_delta",
            Self::ContentBlockStart { .. } => "content_block_start",
            Self::ContentBlockStop { .. } => "content_block_stop",
            Self::MessageDelta { .. } => "message_delta",
            Self::MessageStart { .. } => "message_start",
            Self::MessageStop { .. } => "message_stop",
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        sse::write_event(out, Some(self.name()), &serde_json::to_string(self).unwrap_or_default());
    }
}

/// A fragment of a block.
#[derive(Serialize)]
#[serde(tag = "type")]
enum BlockDelta<'a> {
    #[serde(rename = "input_json_delta")]
    InputJson { partial_json: &'a str },
    #[serde(rename = "signature_delta")]
    Signature { signature: &'a str },
    #[serde(rename = "text_delta")]
    Text { text: &'a str },
    #[serde(rename = "thinking_delta")]
    Thinking { thinking: &'a str },
}

/// A message: complete, or as it starts in a stream. All members that the format requires are
/// present, even if they are `null`.
#[derive(Serialize)]
struct Message<'a> {
    /// The id of the message. It is not a token.
    id: String,
    r#type: &'static str,
    role: &'static str,
    /// The alias of the model.
    model: &'a str,
    content: Vec<TokenBlock<'a>>,
    /// `null` at the start of a stream.
    stop_reason: Option<&'static str>,
    /// The text that ended the reply, if the model service names it.
    stop_sequence: Option<&'a str>,
    stop_details: Option<()>,
    container: Option<()>,
    usage: MessageUsage,
    #[serde(flatten)]
    next: Option<NextToken<'a>>,
}

impl<'a> Message<'a> {
    /// The message at the start of a stream.
    fn new(claims: &'a Claims) -> Self {
        Self {
            id: format!("msg_{}", claims.token_id.to_string().replace('-', "")),
            r#type: "message",
            role: "assistant",
            model: &claims.model,
            content: Vec::new(),
            stop_reason: None,
            stop_sequence: None,
            stop_details: None,
            container: None,
            usage: Usage::default().into(),
            next: None,
        }
    }
}

/// The members that Holdall adds at the end of a reply.
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

/// The changes of the message that the event `message_delta` reports.
#[derive(Default, Serialize)]
struct MessageDelta<'a> {
    stop_reason: &'static str,
    /// The text that ended the reply, if the model service names it.
    stop_sequence: Option<&'a str>,
    stop_details: Option<()>,
    container: Option<()>,
}

/// A block of a complete message. The last one has the next token, because programs append the
/// blocks of an answer to their messages.
#[derive(Serialize)]
struct TokenBlock<'a> {
    #[serde(flatten)]
    block: Block<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    conversation_token: Option<&'a str>,
}

/// The blocks of a complete message.
fn content(answer: &Answer, shown: Shown) -> Vec<TokenBlock<'_>> {
    let blocks = answer.output.iter().flat_map(|item| blocks(item, shown));
    let mut content: Vec<_> = blocks.map(|block| TokenBlock { block, conversation_token: None }).collect();
    if let Some(last) = content.last_mut() {
        last.conversation_token = Some(&answer.token);
    }
    content
}

/// A block of a message.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Block<'a> {
    RedactedThinking {
        data: Cow<'a, str>,
        /// The mark of the service.
        #[serde(skip_serializing_if = "Option::is_none")]
        holdall_service: Option<String>,
    },
    Text {
        text: &'a str,
        citations: Option<()>,
    },
    Thinking {
        thinking: Cow<'a, str>,
        signature: Cow<'a, str>,
        /// The mark of the service.
        #[serde(skip_serializing_if = "Option::is_none")]
        holdall_service: Option<String>,
    },
    ToolUse {
        id: &'a str,
        name: &'a str,
        input: ToolInput<'a>,
        caller: ToolCaller,
    },
}

impl<'a> Block<'a> {
    fn text(text: &'a str) -> Self {
        Self::Text { text, citations: None }
    }

    fn tool_use(id: &'a str, name: &'a str, args: &'a str) -> Self {
        Self::ToolUse { id, name, input: ToolInput::new(args), caller: ToolCaller { r#type: "direct" } }
    }

    /// The block for reasoning. `None` if it is not shown: reasoning in another provider's format
    /// is opaque to clients, and they need it only if they bring it back.
    fn thinking(provider_id: &'a str, blob: &'a str, shown: Shown) -> Option<Self> {
        if let Some(state) = CarriedState::of_item(provider_id, blob) {
            return shown.state.then(|| Self::carrying(&state, shown));
        }

        #[derive(Deserialize)]
        struct Blob<'a> {
            #[serde(borrow)]
            r#type: Cow<'a, str>,
            #[serde(borrow)]
            thinking: Option<Cow<'a, str>>,
            #[serde(borrow)]
            signature: Option<Cow<'a, str>>,
            #[serde(borrow)]
            data: Option<Cow<'a, str>>,
        }

        let Object(blob) =
            is_of_provider(provider_id, "anthropic").then(|| serde_json::from_str::<Object<Blob<'a>>>(blob).ok())??;
        let holdall_service = shown.state.then(|| owner_mark(provider_id));
        match &*blob.r#type {
            "redacted_thinking" => Some(Self::RedactedThinking { data: blob.data?, holdall_service }),
            "thinking" => Some(Self::Thinking {
                thinking: blob.thinking.filter(|_| shown.thinking).unwrap_or_default(),
                signature: blob.signature.unwrap_or_default(),
                holdall_service,
            }),
            _ => None,
        }
    }

    /// The block for the opaque members of a service with another format. The text of reasoning is
    /// shown, anything else is redacted.
    fn carrying(state: &CarriedState<'a>, shown: Shown) -> Self {
        match state.reasoning().filter(|_| shown.thinking) {
            Some((thinking, signature)) => {
                Self::Thinking { thinking, signature: signature.into(), holdall_service: None }
            }
            None => Self::RedactedThinking { data: state.text().into(), holdall_service: None },
        }
    }
}

/// The arguments of a tool call, which must be an object in this format.
#[derive(Serialize)]
#[serde(untagged)]
enum ToolInput<'a> {
    Empty {},
    Object(&'a RawValue),
}

impl<'a> ToolInput<'a> {
    /// The arguments. A model can write something that is not an object; then this is an empty
    /// object.
    fn new(args: &'a str) -> Self {
        let raw = serde_json::from_str::<&RawValue>(args).ok();
        raw.filter(|raw| raw.get().starts_with('{')).map_or(Self::Empty {}, Self::Object)
    }

    fn as_json(&self) -> &'a str {
        match self {
            Self::Empty {} => "{}",
            Self::Object(raw) => raw.get(),
        }
    }
}

/// The caller of a tool: always the model itself, never code that it runs.
#[derive(Serialize)]
struct ToolCaller {
    r#type: &'static str,
}

/// The blocks of an item.
fn blocks(item: &Item, shown: Shown) -> Vec<Block<'_>> {
    match item {
        Item::Call { id, name, args } => vec![Block::tool_use(id, name, args)],
        Item::Message { parts, .. } => parts.iter().filter_map(text_block).collect(),
        Item::Result { .. } => Vec::new(),
        Item::Think { provider_id, blob } => Block::thinking(provider_id, blob, shown).into_iter().collect(),
    }
}

fn text_block(part: &Part) -> Option<Block<'_>> {
    match part {
        Part::Text(text) if !text.is_empty() => Some(Block::text(text)),
        _ => None,
    }
}

/// The usage of a message. Cached input is counted apart from `input_tokens`.
#[derive(Serialize)]
struct MessageUsage {
    #[serde(flatten)]
    counts: DeltaUsage,
    cache_creation: Option<()>,
    inference_geo: Option<()>,
    service_tier: Option<()>,
}

/// The usage in the event `message_delta`.
#[derive(Serialize)]
struct DeltaUsage {
    input_tokens: u64,
    cache_creation_input_tokens: u64,
    cache_read_input_tokens: u64,
    output_tokens: u64,
    output_tokens_details: Option<OutputDetails>,
    server_tool_use: Option<()>,
}

#[derive(Serialize)]
struct OutputDetails {
    thinking_tokens: u64,
}

impl From<Usage> for DeltaUsage {
    fn from(usage: Usage) -> Self {
        let cached = usage.cached_tokens.saturating_add(usage.cache_written_tokens);
        Self {
            input_tokens: usage.input_tokens.saturating_sub(cached),
            cache_creation_input_tokens: usage.cache_written_tokens,
            cache_read_input_tokens: usage.cached_tokens,
            output_tokens: usage.output_tokens,
            output_tokens_details: Some(usage.reasoning_tokens)
                .filter(|tokens| *tokens > 0)
                .map(|thinking_tokens| OutputDetails { thinking_tokens }),
            server_tool_use: None,
        }
    }
}

impl From<Usage> for MessageUsage {
    fn from(usage: Usage) -> Self {
        Self { counts: usage.into(), cache_creation: None, inference_geo: None, service_tier: None }
    }
}
