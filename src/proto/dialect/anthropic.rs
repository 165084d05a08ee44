//! Anthropic Messages.
//!
//! Format: <https://docs.anthropic.com/en/api/messages>, version 2023-06-01. What the items hold and the format cannot
//! say: a `data:` image that is not base64 is refused. Blank text is left out, because the API refuses it; a message
//! that would be empty then says [`NO_TEXT`], so that whose turn it is stays clear. What a reply holds and the items
//! cannot: thinking and blocks that we do not know are ignored, as are unknown events. A stream is whole with
//! `message_stop`.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, response};
use serde::{Deserialize, Serialize};
use serde_json::{Number, Value, value::RawValue};

use super::{
    Delta, Dialect, Error, FinishReason, ModelCall, ReplyBounds, ReplyReader, Tool, ToolChoice, post, refusal,
    reply::{self, Draft, Format},
};
use crate::proto::{
    chat::{Item, Output, Part, Role, Usage},
    sse,
};

const NAME: &str = "anthropic";

/// The bound on a reply where the caller sets none: the format requires one.
const MAX_TOKENS: u32 = 4096;

/// What stands for a message without text.
const NO_TEXT: &str = "(no text)";

/// The dialect `anthropic`.
pub(super) struct Anthropic;

impl Dialect for Anthropic {
    fn name(&self) -> &'static str {
        NAME
    }

    fn default_base_url(&self) -> &'static str {
        "https://api.anthropic.com"
    }

    fn request(&self, call: &ModelCall<'_>) -> Result<Request<Bytes>, Error> {
        let mut request = post("/v1/messages", call.stream, &Body::new(call)?)?;
        let version = HeaderName::from_static("anthropic-version");
        request.headers_mut().insert(version, HeaderValue::from_static("2023-06-01"));
        Ok(request)
    }

    fn credential(&self) -> (HeaderName, &'static str) {
        (HeaderName::from_static("x-api-key"), "")
    }

    fn reply(&self, head: &response::Parts, bounds: ReplyBounds) -> Result<Box<dyn ReplyReader>, Error> {
        reply::reader::<Reply>(head, bounds)
    }
}

#[derive(Serialize)]
struct Body<'a> {
    model: &'a str,
    max_tokens: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    system: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<&'a Number>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<ToolEntry<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_choice: Option<Choice<'a>>,
    stream: bool,
    /// Last, so that a turn's bytes begin the next one's.
    messages: Vec<Message<'a>>,
}

impl<'a> Body<'a> {
    fn new(call: &ModelCall<'a>) -> Result<Self, Error> {
        let options = call.options;
        // A choice without tools is refused.
        let tool_choice = options.tool_choice.as_ref().filter(|_| !options.tools.is_empty()).map(Choice::new);
        Ok(Self {
            model: call.model,
            max_tokens: options.max_output_tokens.unwrap_or(MAX_TOKENS),
            system: call.system.filter(|text| !is_blank(text)),
            temperature: options.temperature.as_ref(),
            tools: options.tools.iter().map(ToolEntry::new).collect(),
            tool_choice,
            stream: call.stream,
            messages: messages(call.items)?,
        })
    }
}

#[derive(Serialize)]
struct ToolEntry<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    input_schema: Schema<'a>,
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
        Self { name: &tool.name, description: tool.description.as_deref(), input_schema }
    }
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum Choice<'a> {
    Any,
    Auto,
    None,
    Tool { name: &'a str },
}

impl<'a> Choice<'a> {
    fn new(choice: &'a ToolChoice) -> Self {
        match choice {
            ToolChoice::Auto => Self::Auto,
            ToolChoice::None => Self::None,
            ToolChoice::Required => Self::Any,
            ToolChoice::Tool(name) => Self::Tool { name },
        }
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
#[serde(tag = "type", rename_all = "snake_case")]
enum OurBlock<'a> {
    Image {
        source: Source<'a>,
    },
    Text {
        text: &'a str,
    },
    ToolResult {
        tool_use_id: &'a str,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        content: Vec<Block<'a>>,
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        is_error: bool,
    },
    ToolUse {
        id: &'a str,
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
fn messages(items: &[Item]) -> Result<Vec<Message<'_>>, Error> {
    let mut messages: Vec<Message<'_>> = Vec::new();
    for item in items {
        let (role, content) = match item {
            Item::Call { id, name, args } => (Role::Assistant, vec![tool_use(id, name, args)]),
            Item::Message { role, parts, .. } => (*role, blocks(parts)?),
            Item::Result { id, out, error } => {
                let content = match out {
                    Output::Parts(parts) => blocks(parts)?,
                    Output::Text(text) => text_block(text).into_iter().collect(),
                };
                (Role::User, vec![Block::Ours(OurBlock::ToolResult { tool_use_id: id, content, is_error: *error })])
            }
            Item::Think { by, blob } if by == NAME => {
                (Role::Assistant, object(blob).map(Block::Theirs).into_iter().collect())
            }
            Item::Think { .. } => continue,
        };
        match messages.last_mut() {
            Some(last) if last.role == role && last.takes_more() => last.content.extend(content),
            _ => messages.push(Message { role, content }),
        }
    }
    for message in messages.iter_mut().filter(|message| message.content.is_empty()) {
        message.content.push(Block::Ours(OurBlock::Text { text: NO_TEXT }));
    }
    Ok(messages)
}

impl Message<'_> {
    /// Whether the next item of the same role goes into this message.
    fn takes_more(&self) -> bool {
        match self.role {
            Role::Assistant => true,
            Role::User => matches!(self.content.last(), Some(Block::Ours(OurBlock::ToolResult { .. }))),
        }
    }
}

fn blocks(parts: &[Part]) -> Result<Vec<Block<'_>>, Error> {
    parts.iter().filter_map(|part| block(part).transpose()).collect()
}

/// A part as a block; `None` for blank text.
fn block(part: &Part) -> Result<Option<Block<'_>>, Error> {
    match part {
        Part::Image(url) => Ok(Some(Block::Ours(OurBlock::Image { source: source(url)? }))),
        Part::Text(text) => Ok(text_block(text)),
    }
}

fn text_block(text: &str) -> Option<Block<'_>> {
    (!is_blank(text)).then_some(Block::Ours(OurBlock::Text { text }))
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
    Block::Ours(OurBlock::ToolUse { id, name, input })
}

/// The text as raw JSON, if it is an object.
fn object(text: &str) -> Option<&RawValue> {
    serde_json::from_str::<&RawValue>(text).ok().filter(|raw| raw.get().starts_with('{'))
}

/// A reply being read: the counts so far, since each event brings only some of them.
#[derive(Default)]
struct Reply {
    counts: Counts,
}

impl Format for Reply {
    const MAY_STOP: bool = false;

    fn event(&mut self, event: &sse::Event, draft: &mut Draft, deltas: &mut Vec<Delta>) -> Result<(), Error> {
        let data = event.data.as_str();
        match &*reply::kind(data)? {
            "content_block_delta" => {
                let BlockDelta { index, delta } = reply::parse(data)?;
                take_delta(index, delta.get(), draft, deltas)
            }
            "content_block_start" => {
                let BlockStart { index, content_block } = reply::parse(data)?;
                take_block(index, content_block.get(), draft, deltas)
            }
            "error" => Err(error(data)?),
            "message_delta" => {
                let MessageDelta { delta, usage } = reply::parse(data)?;
                end(delta.stop_reason.as_deref(), draft);
                self.count(usage, deltas);
                Ok(())
            }
            "message_start" => {
                let MessageStart { message } = reply::parse(data)?;
                self.count(message.usage, deltas);
                Ok(())
            }
            "message_stop" => draft.complete(deltas),
            _ => Ok(()),
        }
    }

    fn body(&mut self, body: &str, draft: &mut Draft, deltas: &mut Vec<Delta>) -> Result<(), Error> {
        if reply::kind(body)? == "error" {
            return Err(error(body)?);
        }
        let whole: WholeMessage<'_> = reply::parse(body)?;
        for (index, block) in (0..).zip(whole.content) {
            take_block(index, block.get(), draft, deltas)?;
        }
        end(whole.stop_reason.as_deref(), draft);
        self.count(whole.usage, deltas);
        Ok(())
    }
}

#[derive(Deserialize)]
struct BlockDelta<'a> {
    index: u64,
    #[serde(borrow)]
    delta: &'a RawValue,
}

#[derive(Deserialize)]
struct BlockStart<'a> {
    index: u64,
    #[serde(borrow)]
    content_block: &'a RawValue,
}

#[derive(Deserialize)]
struct MessageDelta {
    delta: Ending,
    usage: Option<Counts>,
}

#[derive(Deserialize)]
struct Ending {
    stop_reason: Option<String>,
}

#[derive(Deserialize)]
struct MessageStart {
    message: Started,
}

#[derive(Deserialize)]
struct Started {
    usage: Option<Counts>,
}

#[derive(Deserialize)]
struct WholeMessage<'a> {
    #[serde(borrow)]
    content: Vec<&'a RawValue>,
    stop_reason: Option<String>,
    usage: Option<Counts>,
}

#[derive(Deserialize)]
struct TextBlock {
    text: String,
}

#[derive(Deserialize)]
struct ToolUseBlock<'a> {
    id: String,
    name: String,
    #[serde(borrow)]
    input: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct InputDelta {
    partial_json: String,
}

#[derive(Default, Deserialize)]
struct Counts {
    input_tokens: Option<u64>,
    cache_creation_input_tokens: Option<u64>,
    cache_read_input_tokens: Option<u64>,
    output_tokens: Option<u64>,
}

impl Reply {
    fn count(&mut self, counts: Option<Counts>, deltas: &mut Vec<Delta>) {
        let Some(new) = counts else { return };
        let old = &self.counts;
        self.counts = Counts {
            input_tokens: new.input_tokens.or(old.input_tokens),
            cache_creation_input_tokens: new.cache_creation_input_tokens.or(old.cache_creation_input_tokens),
            cache_read_input_tokens: new.cache_read_input_tokens.or(old.cache_read_input_tokens),
            output_tokens: new.output_tokens.or(old.output_tokens),
        };
        deltas.push(Delta::Usage(self.counts.usage()));
    }
}

impl Counts {
    /// Cached input is counted apart here, and within the input by us.
    fn usage(&self) -> Usage {
        let input = [self.input_tokens, self.cache_creation_input_tokens, self.cache_read_input_tokens];
        Usage {
            input_tokens: input.into_iter().flatten().fold(0, u64::saturating_add),
            output_tokens: self.output_tokens.unwrap_or_default(),
            cached_tokens: self.cache_read_input_tokens.unwrap_or_default(),
            cache_written_tokens: self.cache_creation_input_tokens.unwrap_or_default(),
            reasoning_tokens: 0,
        }
    }
}

/// Takes a block: a whole one, or what a streamed one starts with.
fn take_block(index: u64, block: &str, draft: &mut Draft, deltas: &mut Vec<Delta>) -> Result<(), Error> {
    match &*reply::kind(block)? {
        "text" => draft.text(reply::parse::<TextBlock>(block)?.text, deltas),
        "tool_use" => {
            let ToolUseBlock { id, name, input } = reply::parse(block)?;
            // A streamed call starts with an empty object, which its fragments replace.
            let args = input.map(RawValue::get).filter(|args| !is_empty_object(args)).unwrap_or_default();
            draft.call(index, &id, &name, args)?;
        }
        _ => {}
    }
    Ok(())
}

fn take_delta(index: u64, delta: &str, draft: &mut Draft, deltas: &mut Vec<Delta>) -> Result<(), Error> {
    match &*reply::kind(delta)? {
        "input_json_delta" if draft.has_call(index) => {
            draft.call(index, "", "", &reply::parse::<InputDelta>(delta)?.partial_json)?;
        }
        "text_delta" => draft.text(reply::parse::<TextBlock>(delta)?.text, deltas),
        _ => {}
    }
    Ok(())
}

fn is_empty_object(json: &str) -> bool {
    json.chars().filter(|c| !c.is_ascii_whitespace()).eq("{}".chars())
}

/// What no one has named yet counts as a normal end.
fn end(stop_reason: Option<&str>, draft: &mut Draft) {
    let Some(name) = stop_reason else { return };
    draft.end(match name {
        "max_tokens" | "model_context_window_exceeded" => FinishReason::Length,
        "refusal" => FinishReason::ContentFilter,
        "tool_use" => FinishReason::ToolCalls,
        _ => FinishReason::Stop,
    });
}

fn error(json: &str) -> Result<Error, Error> {
    #[derive(Deserialize)]
    struct Reported {
        #[serde(default)]
        error: Value,
    }

    Ok(refusal::from_reply(&reply::parse::<Reported>(json)?.error))
}

#[cfg(test)]
mod tests;
