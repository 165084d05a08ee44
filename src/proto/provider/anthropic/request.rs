//! Requests of Anthropic Messages: options, tools, and messages with cache marks.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::{Number, value::RawValue};

use crate::proto::{
    chat::{Item, Output, Part, Role, ServiceState},
    error::Error,
    provider::{
        call::{ModelCall, object},
        call_ids::CallIdWriter,
        profile::CallIds,
    },
    turn::{ModelOptions, Reasoning, ReplyFormat, Thinking, Tool, ToolChoice},
};

/// The limit on a reply's model tokens if the caller sets none. The format requires a limit.
const MAX_TOKENS: u32 = 4096;

/// The same for adaptive thinking, which counts towards the limit.
const MAX_TOKENS_WITH_THINKING: u32 = 16_384;

/// The text of a message that has no other text.
pub(super) const NO_TEXT: &str = "(no text)";

#[derive(Serialize)]
pub(super) struct Body<'a> {
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
    /// Last, so that the bytes of a request are the beginning of the next request.
    messages: Vec<Message<'a>>,
}

impl<'a> Body<'a> {
    pub(super) fn new(call: &ModelCall<'a>) -> Result<Self, Error> {
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
            // The API refuses a choice without tools.
            tool_choice: if tools.is_empty() { None } else { Choice::new(options) },
            tools,
            stream: Some(call.stream),
            messages,
        })
    }

    /// The same body without the members that a count does not accept.
    pub(super) fn for_count(self) -> Self {
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
            mark => {
                Self::Blocks([Block::Written(WrittenBlock { content: Content::Text { text }, cache_control: mark })])
            }
        }
    }
}

#[derive(Clone, Copy, Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum CacheControl {
    Ephemeral,
}

/// The thinking mode: the caller's, or the one that an effort implies.
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

    /// The limit on a reply if the caller sets none. A thinking budget must be below it.
    fn max_tokens(thinking: Option<&Self>) -> u32 {
        match thinking {
            Some(Self::Adaptive) => MAX_TOKENS_WITH_THINKING,
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
            Some("ultra") => Some("max"),
            effort => effort,
        };
        let format = match &options.format {
            ReplyFormat::Json => {
                let detail = "The model service writes JSON only by a schema. Send `json_schema`.".to_owned();
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
    /// `true` or absent: absent means `false` in this format.
    #[serde(skip_serializing_if = "Option::is_none")]
    strict: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_control: Option<CacheControl>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Schema<'a> {
    /// Any object. The format requires a schema.
    Any {
        r#type: &'static str,
    },
    Json(&'a RawValue),
}

impl<'a> ToolEntry<'a> {
    fn new(tool: &'a Tool) -> Self {
        let input_schema = tool.parameters.as_deref().map_or(Schema::Any { r#type: "object" }, Schema::Json);
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
    /// `true` or absent.
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
    /// The choice. One call at a time also needs a choice.
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
    Written(WrittenBlock<'a>),
    /// A block of the provider, as received.
    Received(&'a RawValue),
}

#[derive(Serialize)]
struct WrittenBlock<'a> {
    #[serde(flatten)]
    content: Content<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_control: Option<CacheControl>,
}

impl<'a> From<Content<'a>> for Block<'a> {
    fn from(content: Content<'a>) -> Self {
        Self::Written(WrittenBlock { content, cache_control: None })
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
    Json(&'a RawValue),
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum Source<'a> {
    Base64 { media_type: &'a str, data: &'a str },
    Url { url: &'a str },
}

/// The items, grouped into messages. The items of a reply form one assistant message. Tool results,
/// and the user message directly after them, form one user message.
///
/// A group never spans two turns, because a turn begins with user items and ends with the model's.
fn messages<'a>(call: &ModelCall<'a>) -> Result<Vec<Message<'a>>, Error> {
    let mut messages: Vec<Message<'_>> = Vec::new();
    let mut ids = CallIdWriter::new(CallIds::OF_OTHER_FORMATS);
    let mut own_id = None;
    for item in call.items {
        let (role, content) = match item {
            Item::Call { id, name, args } => {
                let is_own = own_id.take().as_ref() == Some(id);
                (Role::Assistant, vec![tool_use(ids.call(id, is_own), name, args)])
            }
            Item::Message { role, parts, .. } => (*role, blocks(parts)?),
            Item::Result { id, out, error } => {
                let content = match out {
                    Output::Parts(parts) => blocks(parts)?,
                    Output::Text(text) => text_block(text).into_iter().collect(),
                };
                let tool_use_id = ids.result(id);
                (Role::User, vec![Content::ToolResult { tool_use_id, content, is_error: *error }.into()])
            }
            Item::Think { provider_id, blob } if provider_id == call.provider_id => {
                if let Some(state) = ServiceState::from_blob(blob) {
                    own_id = state.into_call_id();
                    continue;
                }
                (Role::Assistant, thinking(blob, call).into_iter().collect())
            }
            Item::Think { .. } => continue,
        };
        match messages.last_mut() {
            Some(last) if last.role == role && last.takes_more() => last.content.extend(content),
            _ => messages.push(Message { role, content }),
        }
    }
    for message in messages.iter_mut().filter(|message| !message.ends_with_written_block()) {
        message.content.push(Content::Text { text: NO_TEXT }.into());
    }
    Ok(messages)
}

impl Message<'_> {
    /// Returns true if the next item of the same role goes into this message.
    fn takes_more(&self) -> bool {
        match self.role {
            Role::Assistant => true,
            Role::User => {
                matches!(self.content.last(), Some(Block::Written(last)) if matches!(last.content, Content::ToolResult { .. }))
            }
        }
    }

    /// Returns false for an empty message and for one that ends with thinking. The API refuses
    /// both: "The final block in an assistant message cannot be `thinking`".
    fn ends_with_written_block(&self) -> bool {
        matches!(self.content.last(), Some(Block::Written(_)))
    }

    /// Marks the last block: the API caches the prompt up to here.
    fn mark_end(&mut self) {
        if let Some(Block::Written(last)) = self.content.last_mut() {
            last.cache_control = Some(CacheControl::Ephemeral);
        }
    }
}

/// Marks the end of the request, and the end of the previous request: directly before the last
/// reply.
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

/// The parts as blocks, without blank text.
fn blocks(parts: &[Part]) -> Result<Vec<Block<'_>>, Error> {
    parts.iter().filter_map(|part| block(part).transpose()).collect()
}

/// The part as a block. `None` for blank text.
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

/// An image by its URL, or the data of a `data:` URL (RFC 2397).
fn source(url: &str) -> Result<Source<'_>, Error> {
    let Some(rest) = url.split_once(':').filter(|(scheme, _)| scheme.eq_ignore_ascii_case("data")) else {
        return Ok(Source::Url { url });
    };
    let (kind, data) = rest.1.split_once(',').unwrap_or_default();
    let (media_type, parameters) = kind.split_once(';').unwrap_or_default();
    if !parameters.rsplit(';').next().is_some_and(|last| last.eq_ignore_ascii_case("base64")) {
        return Err(Error::Unsupported {
            detail: "The model service accepts inline images only in base64.".to_owned(),
        });
    }
    Ok(Source::Base64 { media_type: image_type(media_type), data })
}

/// The media type of an image, as the API accepts it: in lower case, and `image/jpeg` for
/// `image/jpg`. Other types stay unchanged.
fn image_type(media_type: &str) -> &str {
    const NAMES: [(&str, &str); 7] = [
        ("image/gif", "image/gif"),
        ("image/jpeg", "image/jpeg"),
        ("image/jpg", "image/jpeg"),
        ("image/pjpeg", "image/jpeg"),
        ("image/png", "image/png"),
        ("image/webp", "image/webp"),
        ("image/x-png", "image/png"),
    ];
    let media_type = media_type.trim();
    NAMES.into_iter().find(|(name, _)| media_type.eq_ignore_ascii_case(name)).map_or(media_type, |(_, known)| known)
}

/// The block of a reasoning item, if it is one that can go back. The official API refuses thinking
/// without a signature.
fn thinking<'a>(blob: &'a str, call: &ModelCall<'_>) -> Option<Block<'a>> {
    #[derive(Deserialize)]
    struct Tagged<'a> {
        #[serde(borrow, rename = "type")]
        block_type: Cow<'a, str>,
        #[serde(borrow)]
        signature: Option<Cow<'a, str>>,
    }

    let Tagged { block_type, signature } = serde_json::from_str(blob).ok()?;
    let is_accepted = match &*block_type {
        "redacted_thinking" => true,
        "thinking" => call.profile.unsigned_thinking || signature.is_some_and(|text| !text.is_empty()),
        _ => false,
    };
    object(blob).filter(|_| is_accepted).map(Block::Received)
}

/// A tool call. Arguments that are not a JSON object become an empty object: the format allows
/// nothing else, but models sometimes write it.
fn tool_use<'a>(id: Cow<'a, str>, name: &'a str, args: &'a str) -> Block<'a> {
    let input = object(args).map_or(Input::Empty {}, Input::Json);
    Content::ToolUse { id, name, input }.into()
}
