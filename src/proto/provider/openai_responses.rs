//! OpenAI Responses, used without its store: every request carries the whole conversation.
//!
//! Format: <https://platform.openai.com/docs/api-reference/responses>. What the items hold and the format cannot say: that
//! a tool failed; an image in an assistant message is named, not shown; texts that end a reply are refused, hints towards
//! repeatable sampling left out. What a reply holds and the items cannot: the `phase` of a message, calls of the
//! provider's own tools, and items and events that we do not know are ignored. A stream is whole with
//! `response.completed` or `response.incomplete`.
//!
//! # Reasoning
//! A reasoning item is kept as received, and sent back to the same provider in its place, where something that it led
//! to comes after it. It is dropped if it cannot be sent back: one with neither `encrypted_content` nor plain
//! `content` is only the name of something in a store that we do not use, and one that was broken off has no end. Models
//! that do not reason refuse reasoning, and even the word that asks for it ([`reasons`]). No id but a reasoning item's own
//! is ever sent.

mod reader;

use std::borrow::Cow;

use bytes::Bytes;
use http::{HeaderName, Request, header, response};
use serde::Serialize;
use serde_json::{Number, value::RawValue};

use self::reader::Reply;
use super::{
    ModelCall, Provider, ReplyBounds, ReplyReader, TokenCount,
    call::{estimate, object, plain_id, post},
    reply,
};
use crate::proto::{
    chat::{Item, Output, Part, Role},
    error::Error,
    turn::{Reasoning, ReplyFormat, Tool, ToolChoice},
};

const NAME: &str = "openai-responses";

/// The longest id of a call.
const ID_BYTES: usize = 64;

/// The dialect `openai-responses`.
pub(super) struct OpenAiResponses {
    /// Whether the server is OpenAI's own.
    own: bool,
}

impl OpenAiResponses {
    pub(super) const OWN: Self = Self { own: true };

    /// Others do not all count.
    const ELSEWHERE: Self = Self { own: false };
}

impl Provider for OpenAiResponses {
    fn name(&self) -> &'static str {
        NAME
    }

    fn default_base_url(&self) -> &'static str {
        "https://api.openai.com/v1"
    }

    fn elsewhere(&self) -> Option<&'static dyn Provider> {
        Some(&Self::ELSEWHERE)
    }

    fn request(&self, call: &ModelCall<'_>) -> Result<Request<Bytes>, Error> {
        post("/responses", call.stream, &Body::new(call)?)
    }

    fn credential(&self) -> (HeaderName, &'static str) {
        (header::AUTHORIZATION, "Bearer ")
    }

    fn reply(&self, head: &response::Parts, bounds: ReplyBounds) -> Result<Box<dyn ReplyReader>, Error> {
        reply::reader::<Reply>(head, bounds)
    }

    fn count(&self, call: &ModelCall<'_>) -> Result<TokenCount, Error> {
        if !self.own {
            return Ok(TokenCount::Known(estimate(call)));
        }
        post("/responses/input_tokens", false, &Body::new(call)?.counted())
            .map(|request| TokenCount::Request(Box::new(request)))
    }

    fn counted(&self, body: &[u8]) -> Result<u64, Error> {
        reply::input_tokens(body)
    }
}

#[derive(Serialize)]
struct Body<'a> {
    model: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    instructions: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_output_tokens: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<&'a Number>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_p: Option<&'a Number>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning: Option<ReasoningConfig>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<ToolEntry<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_choice: Option<Choice<'a>>,
    /// Only ever `false`: `true` is what the format means without it, and not everyone knows the word.
    #[serde(skip_serializing_if = "Option::is_none")]
    parallel_tool_calls: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    store: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    include: Option<[&'static str; 1]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stream: Option<bool>,
    /// Last, so that a turn's bytes begin the next one's.
    input: Vec<Entry<'a>>,
}

impl<'a> Body<'a> {
    fn new(call: &ModelCall<'a>) -> Result<Self, Error> {
        let options = call.options;
        if !options.stop.is_empty() {
            let detail = "the model service knows no texts that end a reply (`stop`); leave them out".to_owned();
            return Err(Error::Unsupported { detail });
        }
        // What concerns tools is refused without any.
        let has_tools = !options.tools.is_empty();
        Ok(Self {
            model: call.model,
            instructions: call.system,
            max_output_tokens: options.max_output_tokens,
            temperature: options.temperature.as_ref(),
            top_p: options.top_p.as_ref(),
            text: Text::new(&options.format),
            reasoning: ReasoningConfig::new(&options.reasoning),
            tools: options.tools.iter().map(ToolEntry::new).collect(),
            tool_choice: options.tool_choice.as_ref().filter(|_| has_tools).map(Choice::new),
            parallel_tool_calls: options.parallel_calls.filter(|parallel| !parallel && has_tools),
            store: Some(false),
            include: reasons(call.model).then_some(["reasoning.encrypted_content"]),
            stream: Some(call.stream),
            input: input(call),
        })
    }

    /// The same to be counted, with no word that counting does not know.
    fn counted(self) -> Self {
        Self {
            max_output_tokens: None,
            temperature: None,
            top_p: None,
            store: None,
            include: None,
            stream: None,
            ..self
        }
    }
}

/// Whether a model may reason, by its name at OpenAI and at those who pass on to it.
///
/// Those that do not are all of older families. They answer reasoning with "Reasoning input items can only be provided
/// to a reasoning or computer use model", and a request for it with "Encrypted content is not supported with this model".
fn reasons(model: &str) -> bool {
    const OLDER: [&str; 4] = ["chatgpt-", "gpt-3", "gpt-4", "gpt-5-chat"];
    let name = model.rsplit('/').next().unwrap_or_default();
    let name = name.strip_prefix("ft:").unwrap_or(name);
    !OLDER.iter().any(|family| name.starts_with(family))
}

#[derive(Serialize)]
struct Text<'a> {
    format: TextFormat<'a>,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum TextFormat<'a> {
    JsonObject,
    JsonSchema {
        name: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        description: Option<&'a str>,
        schema: &'a RawValue,
        #[serde(skip_serializing_if = "Option::is_none")]
        strict: Option<bool>,
    },
}

impl<'a> Text<'a> {
    fn new(format: &'a ReplyFormat) -> Option<Self> {
        let format = match format {
            ReplyFormat::Json => TextFormat::JsonObject,
            ReplyFormat::Schema { name, description, schema, strict } => {
                TextFormat::JsonSchema { name, description: description.as_deref(), schema, strict: *strict }
            }
            ReplyFormat::Text => return None,
        };
        Some(Self { format })
    }
}

#[derive(Serialize)]
struct ReasoningConfig {
    #[serde(skip_serializing_if = "Option::is_none")]
    effort: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    summary: Option<&'static str>,
}

impl ReasoningConfig {
    fn new(reasoning: &Reasoning) -> Option<Self> {
        let (effort, summary) = (reasoning.openai_effort(), reasoning.summary);
        (effort.is_some() || summary.is_some()).then_some(Self { effort, summary })
    }
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum ToolEntry<'a> {
    Function {
        name: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        description: Option<&'a str>,
        parameters: Schema<'a>,
        /// Always said: without it the server would make the schema a strict one, where others leave it as it is.
        strict: bool,
    },
}

#[derive(Serialize)]
#[serde(untagged)]
enum Schema<'a> {
    Given(&'a RawValue),
    /// No arguments, in words that a strict schema may have.
    Nothing {
        r#type: &'static str,
        properties: Nothing,
        #[serde(rename = "additionalProperties")]
        additional_properties: bool,
    },
}

#[derive(Serialize)]
struct Nothing {}

impl<'a> ToolEntry<'a> {
    fn new(tool: &'a Tool) -> Self {
        const NOTHING: Schema<'_> =
            Schema::Nothing { r#type: "object", properties: Nothing {}, additional_properties: false };
        Self::Function {
            name: &tool.name,
            description: tool.description.as_deref(),
            parameters: tool.parameters.as_deref().map_or(NOTHING, Schema::Given),
            strict: tool.strict.unwrap_or(false),
        }
    }
}

#[derive(Serialize)]
#[serde(untagged)]
enum Choice<'a> {
    Mode(&'static str),
    Tool(NamedTool<'a>),
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum NamedTool<'a> {
    Function { name: &'a str },
}

impl<'a> Choice<'a> {
    fn new(choice: &'a ToolChoice) -> Self {
        match choice {
            ToolChoice::Auto => Self::Mode("auto"),
            ToolChoice::None => Self::Mode("none"),
            ToolChoice::Required => Self::Mode("required"),
            ToolChoice::Tool(name) => Self::Tool(NamedTool::Function { name }),
        }
    }
}

#[derive(Serialize)]
#[serde(untagged)]
enum Entry<'a> {
    Ours(OurEntry<'a>),
    /// The provider's own, as received.
    Theirs(&'a RawValue),
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum OurEntry<'a> {
    FunctionCall { call_id: Cow<'a, str>, name: &'a str, arguments: &'a str },
    FunctionCallOutput { call_id: Cow<'a, str>, output: Content<'a> },
    Message { role: Role, content: Content<'a> },
}

#[derive(Serialize)]
#[serde(untagged)]
enum Content<'a> {
    Pieces(Vec<Piece<'a>>),
    Text(&'a str),
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Piece<'a> {
    InputImage { image_url: &'a str, detail: &'static str },
    InputText { text: &'a str },
    OutputText { text: &'a str },
}

impl<'a> Content<'a> {
    /// One text is written as text, anything else as pieces made by `piece`.
    fn new(parts: &'a [Part], piece: impl Fn(&'a Part) -> Piece<'a>) -> Self {
        match parts {
            [Part::Text(text)] => Self::Text(text),
            parts => Self::Pieces(parts.iter().map(piece).collect()),
        }
    }
}

fn shown(part: &Part) -> Piece<'_> {
    match part {
        Part::Image(url) => Piece::InputImage { image_url: url, detail: "auto" },
        Part::Text(text) => Piece::InputText { text },
    }
}

fn said(part: &Part) -> Piece<'_> {
    match part {
        Part::Image(_) => Piece::OutputText { text: "[image]" },
        Part::Text(text) => Piece::OutputText { text },
    }
}

/// An entry for each item, less the reasoning that is not for this model.
fn input<'a>(call: &ModelCall<'a>) -> Vec<Entry<'a>> {
    let reasons = reasons(call.model);
    let mut entries = Vec::with_capacity(call.items.len());
    for (place, item) in call.items.iter().enumerate() {
        let entry = match item {
            Item::Call { id, name, args } => {
                OurEntry::FunctionCall { call_id: plain_id(id, ID_BYTES), name, arguments: args }
            }
            Item::Message { role: Role::Assistant, parts, .. } => {
                OurEntry::Message { role: Role::Assistant, content: Content::new(parts, said) }
            }
            Item::Message { role: Role::User, parts, .. } => {
                OurEntry::Message { role: Role::User, content: Content::new(parts, shown) }
            }
            Item::Result { id, out, .. } => {
                let output = match out {
                    Output::Parts(parts) => Content::new(parts, shown),
                    Output::Text(text) => Content::Text(text),
                };
                OurEntry::FunctionCallOutput { call_id: plain_id(id, ID_BYTES), output }
            }
            Item::Think { provider_id, blob } => {
                let is_ours = reasons && provider_id == call.provider_id && led_to_something(call.items, place);
                entries.extend(object(blob).filter(|_| is_ours).map(Entry::Theirs));
                continue;
            }
        };
        entries.push(Entry::Ours(entry));
    }
    entries
}

/// Whether the model said or called something after the reasoning at `place`: the server refuses reasoning "provided
/// without its required following item". What follows a reply is the caller's from the first time that it is sent, so
/// that this stays as it is.
fn led_to_something(items: &[Item], place: usize) -> bool {
    let next = items.iter().skip(place).find(|item| !matches!(item, Item::Think { .. }));
    matches!(next, Some(Item::Call { .. } | Item::Message { role: Role::Assistant, .. }))
}

#[cfg(test)]
mod tests;
