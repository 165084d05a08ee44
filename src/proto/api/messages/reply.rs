//! The reply: one message, or the events of one.
//!
//! ```text
//! message_start · (content_block_start · content_block_delta … · content_block_stop) … · message_delta · message_stop
//! ```
//! A stream that fails ends with `error` instead. Blocks are numbered from 0, and only one is open at a time; text and
//! reasoning make the same blocks streamed and whole. What the model used is told at the end: where the format wants
//! counts at the start, they are 0.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::error::ErrorBody;
use crate::proto::{
    api::{
        conversation::ConversationBody,
        format::{PublicError, ReplyWriter},
    },
    chat::{Item, Part},
    json::Object,
    sse,
    token::Claims,
    turn::{Answer, Delta, FinishReason, Partial, Usage, is_of_provider},
};

/// Writes one reply.
pub(super) struct MessagesWriter {
    /// Whether the words of reasoning are shown; else its blocks are empty but for their signatures.
    shows_thinking: bool,
    /// How many blocks of a stream have begun.
    begun: usize,
    /// Whether the last of them is text that may go on.
    in_text: bool,
}

impl MessagesWriter {
    pub(super) fn new(shows_thinking: bool) -> Self {
        Self { shows_thinking, begun: 0, in_text: false }
    }

    fn text(&mut self, text: &str, out: &mut Vec<u8>) {
        if !self.in_text {
            self.start(&Block::text(""), out);
            self.in_text = true;
        }
        self.delta(BlockDelta::Text { text }, out);
    }

    /// Writes a block that comes as a whole, in the pieces in which SDKs expect it.
    fn block(&mut self, block: Block<'_>, out: &mut Vec<u8>) {
        self.end_text(out);
        match block {
            Block::Thinking { thinking, signature } => {
                self.start(&Block::Thinking { thinking: "".into(), signature: "".into() }, out);
                if !thinking.is_empty() {
                    self.delta(BlockDelta::Thinking { thinking: &thinking }, out);
                }
                self.delta(BlockDelta::Signature { signature: &signature }, out);
            }
            Block::ToolUse { id, name, input, caller } => {
                self.start(&Block::ToolUse { id, name, input: Input::Empty {}, caller }, out);
                self.delta(BlockDelta::InputJson { partial_json: input.as_json() }, out);
            }
            whole => self.start(&whole, out),
        }
        self.stop(out);
    }

    fn end_text(&mut self, out: &mut Vec<u8>) {
        if std::mem::take(&mut self.in_text) {
            self.stop(out);
        }
    }

    fn start(&mut self, content_block: &Block<'_>, out: &mut Vec<u8>) {
        self.begun = self.begun.saturating_add(1);
        Event::ContentBlockStart { index: self.index(), content_block }.write(out);
    }

    fn delta(&self, delta: BlockDelta<'_>, out: &mut Vec<u8>) {
        Event::ContentBlockDelta { index: self.index(), delta }.write(out);
    }

    fn stop(&self, out: &mut Vec<u8>) {
        Event::ContentBlockStop { index: self.index() }.write(out);
    }

    /// The number of the block that began last.
    fn index(&self) -> usize {
        self.begun.saturating_sub(1)
    }
}

impl ReplyWriter for MessagesWriter {
    fn body(&mut self, answer: &Answer) -> Vec<u8> {
        let message = Message {
            content: answer.output.iter().flat_map(|item| blocks(item, self.shows_thinking)).collect(),
            stop_reason: Some(stop_reason(answer.finish)),
            usage: answer.usage.into(),
            end: Some(End::new(answer)),
            ..Message::new(&answer.conversation.claims)
        };
        // Our own structs of strings and numbers always serialize.
        serde_json::to_vec(&message).unwrap_or_default()
    }

    fn start(&mut self, claims: &Claims, out: &mut Vec<u8>) {
        Event::MessageStart { message: Message::new(claims) }.write(out);
    }

    fn deltas(&mut self, deltas: &[Delta], out: &mut Vec<u8>) {
        for delta in deltas {
            match delta {
                Delta::Call { id, name, args } => self.block(Block::tool_use(id, name, args), out),
                Delta::Finish(_) | Delta::Usage(_) => {}
                Delta::Text(text) => self.text(text, out),
                Delta::Think { provider_id, blob } => {
                    // Also reasoning that is not shown parts the text around it, as it does in the history.
                    self.end_text(out);
                    if let Some(block) = Block::thinking(provider_id, blob, self.shows_thinking) {
                        self.block(block, out);
                    }
                }
            }
        }
    }

    fn finish(&mut self, answer: &Answer, out: &mut Vec<u8>) {
        self.end_text(out);
        let delta = Ending { stop_reason: stop_reason(answer.finish), ..Ending::default() };
        Event::MessageDelta { delta, usage: answer.usage.into(), end: End::new(answer) }.write(out);
        Event::MessageStop { conversation_token: &answer.token }.write(out);
    }

    fn fail(&mut self, told: &PublicError<'_>, partial: Option<&Partial>, out: &mut Vec<u8>) {
        sse::write_event(out, Some("error"), &ErrorBody::new(told, partial).to_json());
    }
}

fn stop_reason(finish: FinishReason) -> &'static str {
    match finish {
        FinishReason::ContentFilter => "refusal",
        FinishReason::Length => "max_tokens",
        FinishReason::Stop => "end_turn",
        FinishReason::ToolCalls => "tool_use",
    }
}

/// One event of a stream.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Event<'a> {
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
        delta: Ending,
        usage: DeltaUsage,
        #[serde(flatten)]
        end: End<'a>,
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

/// A piece of a block.
#[derive(Serialize)]
#[serde(tag = "type")]
pub(super) enum BlockDelta<'a> {
    #[serde(rename = "input_json_delta")]
    InputJson { partial_json: &'a str },
    #[serde(rename = "signature_delta")]
    Signature { signature: &'a str },
    #[serde(rename = "text_delta")]
    Text { text: &'a str },
    #[serde(rename = "thinking_delta")]
    Thinking { thinking: &'a str },
}

/// A message, whole or as it begins; members that the format requires are there, were they `null`.
#[derive(Serialize)]
pub(super) struct Message<'a> {
    /// Names the message; it is no token.
    id: String,
    r#type: &'static str,
    role: &'static str,
    /// The alias.
    model: &'a str,
    content: Vec<Block<'a>>,
    /// Why it ended; null where it begins.
    stop_reason: Option<&'static str>,
    stop_sequence: Option<()>,
    stop_details: Option<()>,
    container: Option<()>,
    usage: MessageUsage,
    #[serde(flatten)]
    end: Option<End<'a>>,
}

impl<'a> Message<'a> {
    /// A message of which nothing is known yet.
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
            end: None,
        }
    }
}

/// What is ours at the end.
#[derive(Serialize)]
pub(super) struct End<'a> {
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

#[derive(Default, Serialize)]
pub(super) struct Ending {
    stop_reason: &'static str,
    stop_sequence: Option<()>,
    stop_details: Option<()>,
    container: Option<()>,
}

/// A piece of what the model said.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Block<'a> {
    RedactedThinking { data: Cow<'a, str> },
    Text { text: &'a str, citations: Option<()> },
    Thinking { thinking: Cow<'a, str>, signature: Cow<'a, str> },
    ToolUse { id: &'a str, name: &'a str, input: Input<'a>, caller: ToolCaller },
}

impl<'a> Block<'a> {
    fn text(text: &'a str) -> Self {
        Self::Text { text, citations: None }
    }

    fn tool_use(id: &'a str, name: &'a str, args: &'a str) -> Self {
        Self::ToolUse { id, name, input: Input::new(args), caller: ToolCaller { r#type: "direct" } }
    }

    /// Reasoning, if it is in this format's own words.
    fn thinking(provider_id: &str, blob: &'a str, shows_thinking: bool) -> Option<Self> {
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
        match &*blob.r#type {
            "redacted_thinking" => Some(Self::RedactedThinking { data: blob.data? }),
            "thinking" => Some(Self::Thinking {
                thinking: blob.thinking.filter(|_| shows_thinking).unwrap_or_default(),
                signature: blob.signature.unwrap_or_default(),
            }),
            _ => None,
        }
    }
}

#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum Input<'a> {
    Empty {},
    Given(&'a RawValue),
}

impl<'a> Input<'a> {
    /// The arguments, which the format has as an object; what is none, as a model may well have written, is the empty one.
    fn new(args: &'a str) -> Self {
        let raw = serde_json::from_str::<&RawValue>(args).ok();
        raw.filter(|raw| raw.get().starts_with('{')).map_or(Self::Empty {}, Self::Given)
    }

    fn as_json(&self) -> &'a str {
        match self {
            Self::Empty {} => "{}",
            Self::Given(raw) => raw.get(),
        }
    }
}

/// Who calls: the model itself, no code of its own.
#[derive(Serialize)]
pub(super) struct ToolCaller {
    r#type: &'static str,
}

/// The blocks that show an item.
fn blocks(item: &Item, shows_thinking: bool) -> Vec<Block<'_>> {
    match item {
        Item::Call { id, name, args } => vec![Block::tool_use(id, name, args)],
        Item::Message { parts, .. } => parts.iter().filter_map(text_block).collect(),
        Item::Result { .. } => Vec::new(),
        Item::Think { provider_id, blob } => Block::thinking(provider_id, blob, shows_thinking).into_iter().collect(),
    }
}

fn text_block(part: &Part) -> Option<Block<'_>> {
    match part {
        Part::Text(text) if !text.is_empty() => Some(Block::text(text)),
        _ => None,
    }
}

/// The counts that a message tells, cached input apart from the rest.
#[derive(Serialize)]
pub(super) struct MessageUsage {
    #[serde(flatten)]
    counts: DeltaUsage,
    cache_creation: Option<()>,
    inference_geo: Option<()>,
    service_tier: Option<()>,
}

/// Those of them that the end of a stream tells.
#[derive(Serialize)]
pub(super) struct DeltaUsage {
    input_tokens: u64,
    cache_creation_input_tokens: u64,
    cache_read_input_tokens: u64,
    output_tokens: u64,
    output_tokens_details: Option<OutputDetails>,
    server_tool_use: Option<()>,
}

#[derive(Serialize)]
pub(super) struct OutputDetails {
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
