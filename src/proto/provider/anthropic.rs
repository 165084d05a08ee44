//! Anthropic Messages.
//!
//! Format: <https://docs.anthropic.com/en/api/messages>, version 2023-06-01. What the items hold and the format cannot
//! say: a `data:` image that is not base64 is refused. Blank text is left out, because the API refuses it; a message
//! that would be empty, or end with reasoning, then says [`NO_TEXT`], so that whose turn it is stays clear. What a reply
//! holds and the items cannot: blocks that we do not know are ignored, as are unknown events. A stream is whole with
//! `message_stop`.
//!
//! A thinking block is kept as the provider wants it back, with its signature; one without, which a bound on the reply
//! has broken off, is no use to anyone and is dropped. Text goes on at once: should a reply bring some after a call, it
//! stands before that call in the history.
//!
//! # Prompt caches
//! The API caches a prompt up to a block that says `cache_control`, and a later request finds it from such a mark of its
//! own, looking back over at most 20 blocks. So three blocks are marked, of four that the API allows:
//!
//! ```text
//!              tools, system ▮    user  assistant  user ▮    assistant …    user ▮
//!              stays for good     where the last request     where this one ends,
//!                                 ended: found there         for the next to find
//! ```
//! The third mark of one turn is where the second one of the next turn stands, however long the reply in between is.
//! So marks move from turn to turn, and the bytes of earlier turns are the same but for them: they are no part of the
//! prompt, and the API does not compare them.

mod reader;

use std::borrow::Cow;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, response};
use serde::Serialize;
use serde_json::{Number, value::RawValue};

use self::reader::Reply;
use super::{
    ModelCall, Provider, ReplyBounds, ReplyReader, TokenCount,
    call::{object, plain_id, post},
    reply,
};
use crate::proto::{
    chat::{Item, Output, Part, Role},
    error::Error,
    turn::{ModelOptions, Reasoning, ReplyFormat, Thinking, Tool, ToolChoice},
};

const NAME: &str = "anthropic";

/// The bound on a reply where the caller sets none: the format requires one.
const MAX_TOKENS: u32 = 4096;

/// The same where the model thinks as it sees fit, which counts towards the bound.
const MAX_TOKENS_THINKING: u32 = 16_384;

/// The longest id of a call.
const ID_BYTES: usize = 64;

/// What stands for a message without text.
const NO_TEXT: &str = "(no text)";

/// The dialect `anthropic`.
pub(super) struct Anthropic;

impl Provider for Anthropic {
    fn name(&self) -> &'static str {
        NAME
    }

    fn default_base_url(&self) -> &'static str {
        "https://api.anthropic.com"
    }

    fn request(&self, call: &ModelCall<'_>) -> Result<Request<Bytes>, Error> {
        versioned(post("/v1/messages", call.stream, &Body::new(call)?))
    }

    fn credential(&self) -> (HeaderName, &'static str) {
        (HeaderName::from_static("x-api-key"), "")
    }

    fn reply(&self, head: &response::Parts, bounds: ReplyBounds) -> Result<Box<dyn ReplyReader>, Error> {
        reply::reader::<Reply>(head, bounds)
    }

    fn count(&self, call: &ModelCall<'_>) -> Result<TokenCount, Error> {
        let body = Body::new(&ModelCall { prompt_cache: false, ..*call })?.counted();
        versioned(post("/v1/messages/count_tokens", false, &body)).map(|request| TokenCount::Request(Box::new(request)))
    }

    fn counted(&self, body: &[u8]) -> Result<u64, Error> {
        reply::input_tokens(body)
    }
}

fn versioned(request: Result<Request<Bytes>, Error>) -> Result<Request<Bytes>, Error> {
    let mut request = request?;
    let version = HeaderName::from_static("anthropic-version");
    request.headers_mut().insert(version, HeaderValue::from_static("2023-06-01"));
    Ok(request)
}

#[derive(Serialize)]
struct Body<'a> {
    model: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_tokens: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    system: Option<System<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<&'a Number>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_p: Option<&'a Number>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    stop_sequences: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    thinking: Option<ThinkingConfig>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_config: Option<OutputConfig<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<ToolEntry<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_choice: Option<Choice<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stream: Option<bool>,
    /// Last, so that a turn's bytes begin the next one's.
    messages: Vec<Message<'a>>,
}

impl<'a> Body<'a> {
    fn new(call: &ModelCall<'a>) -> Result<Self, Error> {
        let options = call.options;
        let mark = call.prompt_cache.then_some(CacheControl::Ephemeral);
        let system = call.system.filter(|text| !is_blank(text));
        let mut tools: Vec<_> = options.tools.iter().map(ToolEntry::new).collect();
        if let (None, Some(tool)) = (system, tools.last_mut()) {
            tool.cache_control = mark;
        }
        let mut messages = messages(call)?;
        if call.prompt_cache {
            mark_ends(&mut messages);
        }
        let thinking = ThinkingConfig::new(&options.reasoning);
        Ok(Self {
            model: call.model,
            max_tokens: Some(
                options.max_output_tokens.unwrap_or_else(|| ThinkingConfig::max_tokens(thinking.as_ref())),
            ),
            system: system.map(|text| System::new(text, mark)),
            temperature: options.temperature.as_ref(),
            top_p: options.top_p.as_ref(),
            stop_sequences: &options.stop,
            thinking,
            output_config: OutputConfig::new(options)?,
            // A choice without tools is refused.
            tool_choice: if tools.is_empty() { None } else { Choice::new(options) },
            tools,
            stream: Some(call.stream),
            messages,
        })
    }

    /// The same to be counted, with no word that counting does not know.
    fn counted(self) -> Self {
        Self { max_tokens: None, temperature: None, top_p: None, stop_sequences: &[], stream: None, ..self }
    }
}

#[derive(Serialize)]
#[serde(untagged)]
enum System<'a> {
    Blocks([Block<'a>; 1]),
    Text(&'a str),
}

impl<'a> System<'a> {
    fn new(text: &'a str, cache_control: Option<CacheControl>) -> Self {
        match cache_control {
            None => Self::Text(text),
            mark => Self::Blocks([Block::Ours(OurBlock { content: Content::Text { text }, cache_control: mark })]),
        }
    }
}

#[derive(Clone, Copy, Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum CacheControl {
    Ephemeral,
}

/// Whether the model is to think: as the caller says, or as an effort alone implies.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum ThinkingConfig {
    Adaptive,
    Disabled,
    Enabled { budget_tokens: u32 },
}

impl ThinkingConfig {
    fn new(reasoning: &Reasoning) -> Option<Self> {
        Some(match (reasoning.thinking, reasoning.effort) {
            (Some(Thinking::Adaptive), _) => Self::Adaptive,
            (Some(Thinking::Budget(budget_tokens)), _) => Self::Enabled { budget_tokens },
            (Some(Thinking::Disabled), _) | (None, Some("none")) => Self::Disabled,
            (None, Some(_)) => Self::Adaptive,
            (None, None) => return None,
        })
    }

    /// The bound on a reply where the caller sets none: a budget must lie below it.
    fn max_tokens(thought: Option<&Self>) -> u32 {
        match thought {
            Some(Self::Adaptive) => MAX_TOKENS_THINKING,
            Some(Self::Enabled { budget_tokens }) => budget_tokens.saturating_add(MAX_TOKENS),
            Some(Self::Disabled) | None => MAX_TOKENS,
        }
    }
}

#[derive(Serialize)]
struct OutputConfig<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    effort: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    format: Option<OutputFormat<'a>>,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum OutputFormat<'a> {
    JsonSchema { schema: &'a RawValue },
}

impl<'a> OutputConfig<'a> {
    fn new(options: &'a ModelOptions) -> Result<Option<Self>, Error> {
        let effort = match options.reasoning.effort {
            Some("none") | None => None,
            Some("minimal") => Some("low"),
            effort => effort,
        };
        let format = match &options.format {
            ReplyFormat::Json => {
                let detail = "the model service writes JSON by a schema only; ask for `json_schema`".to_owned();
                return Err(Error::Unsupported { detail });
            }
            ReplyFormat::Schema { schema, .. } => Some(OutputFormat::JsonSchema { schema }),
            ReplyFormat::Text => None,
        };
        Ok((effort.is_some() || format.is_some()).then_some(Self { effort, format }))
    }
}

#[derive(Serialize)]
struct ToolEntry<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    input_schema: Schema<'a>,
    /// Only ever `true`: `false` is what the format means without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    strict: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_control: Option<CacheControl>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Schema<'a> {
    /// Any object: the least that the format takes.
    Any {
        r#type: &'static str,
    },
    Given(&'a RawValue),
}

impl<'a> ToolEntry<'a> {
    fn new(tool: &'a Tool) -> Self {
        let input_schema = tool.parameters.as_deref().map_or(Schema::Any { r#type: "object" }, Schema::Given);
        Self {
            name: &tool.name,
            description: tool.description.as_deref(),
            input_schema,
            strict: tool.strict.filter(|strict| *strict),
            cache_control: None,
        }
    }
}

#[derive(Serialize)]
struct Choice<'a> {
    #[serde(flatten)]
    mode: Mode<'a>,
    /// Only ever `true`.
    #[serde(skip_serializing_if = "Option::is_none")]
    disable_parallel_tool_use: Option<bool>,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum Mode<'a> {
    Any,
    Auto,
    None,
    Tool { name: &'a str },
}

impl<'a> Choice<'a> {
    /// The choice; calls one at a time take one, too.
    fn new(options: &'a ModelOptions) -> Option<Self> {
        let single = options.parallel_calls.filter(|parallel| !parallel).map(|_| true);
        let mode = match &options.tool_choice {
            Some(ToolChoice::None) => return Some(Self { mode: Mode::None, disable_parallel_tool_use: None }),
            Some(ToolChoice::Auto) => Mode::Auto,
            Some(ToolChoice::Required) => Mode::Any,
            Some(ToolChoice::Tool(name)) => Mode::Tool { name },
            None if single.is_some() => Mode::Auto,
            None => return None,
        };
        Some(Self { mode, disable_parallel_tool_use: single })
    }
}

#[derive(Serialize)]
struct Message<'a> {
    role: Role,
    content: Vec<Block<'a>>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Block<'a> {
    Ours(OurBlock<'a>),
    /// The provider's own, as received.
    Theirs(&'a RawValue),
}

#[derive(Serialize)]
struct OurBlock<'a> {
    #[serde(flatten)]
    content: Content<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_control: Option<CacheControl>,
}

impl<'a> From<Content<'a>> for Block<'a> {
    fn from(content: Content<'a>) -> Self {
        Self::Ours(OurBlock { content, cache_control: None })
    }
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Content<'a> {
    Image {
        source: Source<'a>,
    },
    Text {
        text: &'a str,
    },
    ToolResult {
        tool_use_id: Cow<'a, str>,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        content: Vec<Block<'a>>,
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        is_error: bool,
    },
    ToolUse {
        id: Cow<'a, str>,
        name: &'a str,
        input: Input<'a>,
    },
}

#[derive(Serialize)]
#[serde(untagged)]
enum Input<'a> {
    Empty {},
    Given(&'a RawValue),
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum Source<'a> {
    Base64 { media_type: &'a str, data: &'a str },
    Url { url: &'a str },
}

/// The items, grouped: a reply's items in one assistant message; results, and the user message right after them, in one
/// user message.
///
/// Neither group reaches into another turn: a turn begins with what the user brings and ends with what the model said.
fn messages<'a>(call: &ModelCall<'a>) -> Result<Vec<Message<'a>>, Error> {
    let mut messages: Vec<Message<'_>> = Vec::new();
    for item in call.items {
        let (role, content) = match item {
            Item::Call { id, name, args } => (Role::Assistant, vec![tool_use(id, name, args)]),
            Item::Message { role, parts, .. } => (*role, blocks(parts)?),
            Item::Result { id, out, error } => {
                let content = match out {
                    Output::Parts(parts) => blocks(parts)?,
                    Output::Text(text) => text_block(text).into_iter().collect(),
                };
                let tool_use_id = plain_id(id, ID_BYTES);
                (Role::User, vec![Content::ToolResult { tool_use_id, content, is_error: *error }.into()])
            }
            Item::Think { provider_id, blob } if provider_id == call.provider_id => {
                (Role::Assistant, object(blob).map(Block::Theirs).into_iter().collect())
            }
            Item::Think { .. } => continue,
        };
        match messages.last_mut() {
            Some(last) if last.role == role && last.takes_more() => last.content.extend(content),
            _ => messages.push(Message { role, content }),
        }
    }
    for message in messages.iter_mut().filter(|message| !message.ends_with_ours()) {
        message.content.push(Content::Text { text: NO_TEXT }.into());
    }
    Ok(messages)
}

impl Message<'_> {
    /// Whether the next item of the same role goes into this message.
    fn takes_more(&self) -> bool {
        match self.role {
            Role::Assistant => true,
            Role::User => {
                matches!(self.content.last(), Some(Block::Ours(last)) if matches!(last.content, Content::ToolResult { .. }))
            }
        }
    }

    /// A message must not be empty, and the API says "The final block in an assistant message cannot be `thinking`".
    fn ends_with_ours(&self) -> bool {
        matches!(self.content.last(), Some(Block::Ours(_)))
    }

    /// Marks the last block, for the prompt to be cached up to here.
    fn mark_end(&mut self) {
        if let Some(Block::Ours(last)) = self.content.last_mut() {
            last.cache_control = Some(CacheControl::Ephemeral);
        }
    }
}

/// Marks where the request ends, and where the one before it ended: right before the last reply.
fn mark_ends(messages: &mut [Message<'_>]) {
    let is_reply = |message: &Message<'_>| message.role == Role::Assistant;
    let before = messages.iter().rposition(is_reply).and_then(|reply| messages.get_mut(..reply)?.last_mut());
    if let Some(before) = before {
        before.mark_end();
    }
    if let Some(end) = messages.last_mut() {
        end.mark_end();
    }
}

fn blocks(parts: &[Part]) -> Result<Vec<Block<'_>>, Error> {
    parts.iter().filter_map(|part| block(part).transpose()).collect()
}

/// A part as a block; `None` for blank text.
fn block(part: &Part) -> Result<Option<Block<'_>>, Error> {
    match part {
        Part::Image(url) => Ok(Some(Content::Image { source: source(url)? }.into())),
        Part::Text(text) => Ok(text_block(text)),
    }
}

fn text_block(text: &str) -> Option<Block<'_>> {
    (!is_blank(text)).then(|| Content::Text { text }.into())
}

fn is_blank(text: &str) -> bool {
    text.trim().is_empty()
}

/// An image by its URL, a `data:` URL (RFC 2397) taken apart.
fn source(url: &str) -> Result<Source<'_>, Error> {
    let Some(rest) = url.split_once(':').filter(|(scheme, _)| scheme.eq_ignore_ascii_case("data")) else {
        return Ok(Source::Url { url });
    };
    let (kind, data) = rest.1.split_once(',').unwrap_or_default();
    let (media_type, parameters) = kind.split_once(';').unwrap_or_default();
    if !parameters.rsplit(';').next().is_some_and(|last| last.eq_ignore_ascii_case("base64")) {
        return Err(Error::Unsupported { detail: "an inline image must be base64, for the model service".to_owned() });
    }
    Ok(Source::Base64 { media_type, data })
}

/// A call; arguments that are not an object, which a model may well have written, become the empty one.
fn tool_use<'a>(id: &'a str, name: &'a str, args: &'a str) -> Block<'a> {
    let input = object(args).map_or(Input::Empty {}, Input::Given);
    Content::ToolUse { id: plain_id(id, ID_BYTES), name, input }.into()
}

#[cfg(test)]
mod tests;
