//! Requests of OpenAI Chat Completions: options, tools, and messages.

use std::borrow::Cow;

use serde::Serialize;
use serde_json::{Number, value::RawValue};

use crate::proto::{
    chat::{Item, Output, Part, Role},
    provider::{
        call::{ModelCall, plain_id},
        profile::TokenLimit,
    },
    turn::{ReplyFormat, Tool, ToolChoice},
};

/// The longest id of a tool call, in bytes. OpenAI says "Expected a string with maximum length 40".
const MAX_ID_BYTES: usize = 40;

#[derive(Serialize)]
pub(super) struct Body<'a> {
    model: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_completion_tokens: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_tokens: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<&'a Number>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_p: Option<&'a Number>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    stop: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_format: Option<TextFormat<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning_effort: Option<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<Typed<Function<'a>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_choice: Option<Choice<'a>>,
    /// `false` or absent. Absent means `true`, and not every service knows the member.
    #[serde(skip_serializing_if = "Option::is_none")]
    parallel_tool_calls: Option<bool>,
    stream: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    stream_options: Option<StreamOptions>,
    /// Last, so that the bytes of a request are the beginning of the next request.
    messages: Vec<Message<'a>>,
}

impl<'a> Body<'a> {
    pub(super) fn new(call: &ModelCall<'a>) -> Self {
        let (options, limit) = (call.options, call.profile.token_limit);
        // Without tools, the API refuses every option about tools.
        let has_tools = !options.tools.is_empty();
        Self {
            model: call.model,
            max_completion_tokens: options.max_output_tokens.filter(|_| limit == TokenLimit::MaxCompletionTokens),
            max_tokens: options.max_output_tokens.filter(|_| limit == TokenLimit::MaxTokens),
            temperature: options.temperature.as_ref(),
            top_p: options.top_p.as_ref(),
            stop: &options.stop,
            seed: options.seed,
            response_format: TextFormat::new(&options.format),
            reasoning_effort: options.reasoning.openai_effort(),
            tools: options.tools.iter().map(|tool| Typed::Function { function: Function::new(tool) }).collect(),
            tool_choice: options.tool_choice.as_ref().filter(|_| has_tools).map(Choice::new),
            parallel_tool_calls: options.parallel_calls.filter(|parallel| !parallel && has_tools),
            stream: call.stream,
            stream_options: call.stream.then_some(StreamOptions { include_usage: true }),
            messages: messages(call),
        }
    }
}

#[derive(Serialize)]
struct StreamOptions {
    include_usage: bool,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum TextFormat<'a> {
    JsonObject,
    JsonSchema { json_schema: NamedSchema<'a> },
}

#[derive(Serialize)]
struct NamedSchema<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    schema: &'a RawValue,
    #[serde(skip_serializing_if = "Option::is_none")]
    strict: Option<bool>,
}

impl<'a> TextFormat<'a> {
    fn new(format: &'a ReplyFormat) -> Option<Self> {
        match format {
            ReplyFormat::Json => Some(Self::JsonObject),
            ReplyFormat::Schema { name, description, schema, strict } => Some(Self::JsonSchema {
                json_schema: NamedSchema { name, description: description.as_deref(), schema, strict: *strict },
            }),
            ReplyFormat::Text => None,
        }
    }
}

/// The type of a tool, of a choice among tools, and of a call. There is only one.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum Typed<T> {
    Function { function: T },
}

#[derive(Serialize)]
struct Function<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parameters: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    strict: Option<bool>,
}

impl<'a> Function<'a> {
    fn new(tool: &'a Tool) -> Self {
        Self {
            name: &tool.name,
            description: tool.description.as_deref(),
            parameters: tool.parameters.as_deref(),
            strict: tool.strict,
        }
    }
}

#[derive(Serialize)]
#[serde(untagged)]
enum Choice<'a> {
    Mode(&'static str),
    Tool(Typed<FunctionName<'a>>),
}

#[derive(Serialize)]
struct FunctionName<'a> {
    name: &'a str,
}

impl<'a> Choice<'a> {
    fn new(choice: &'a ToolChoice) -> Self {
        match choice {
            ToolChoice::Auto => Self::Mode("auto"),
            ToolChoice::None => Self::Mode("none"),
            ToolChoice::Required => Self::Mode("required"),
            ToolChoice::Tool(name) => Self::Tool(Typed::Function { function: FunctionName { name } }),
        }
    }
}

#[derive(Serialize)]
#[serde(tag = "role", rename_all = "lowercase")]
enum Message<'a> {
    System {
        content: &'a str,
    },
    User {
        content: Content<'a>,
    },
    Assistant {
        /// `null` if there are only calls.
        content: Option<Content<'a>>,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        tool_calls: Vec<Call<'a>>,
    },
    Tool {
        tool_call_id: Cow<'a, str>,
        content: Content<'a>,
    },
}

#[derive(Serialize)]
struct Call<'a> {
    id: Cow<'a, str>,
    #[serde(flatten)]
    call: Typed<CalledFunction<'a>>,
}

#[derive(Serialize)]
struct CalledFunction<'a> {
    name: &'a str,
    arguments: &'a str,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Content<'a> {
    Text(&'a str),
    Pieces(Vec<Piece<'a>>),
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Piece<'a> {
    ImageUrl { image_url: Url<'a> },
    Text { text: &'a str },
}

#[derive(Serialize)]
struct Url<'a> {
    url: &'a str,
}

impl<'a> Content<'a> {
    /// A single text is written as text. Other content is written as pieces, made by `piece`.
    fn new(parts: &'a [Part], piece: impl Fn(&'a Part) -> Piece<'a>) -> Self {
        match parts {
            [Part::Text(text)] => Self::Text(text),
            parts => Self::Pieces(parts.iter().map(piece).collect()),
        }
    }
}

/// A part of a user message.
fn user_piece(part: &Part) -> Piece<'_> {
    match part {
        Part::Image(url) => Piece::ImageUrl { image_url: Url { url } },
        Part::Text(text) => Piece::Text { text },
    }
}

/// A part of another message, which may have only text.
fn text_piece(part: &Part) -> Piece<'_> {
    match part {
        Part::Image(_) => Piece::Text { text: "[image]" },
        Part::Text(text) => Piece::Text { text },
    }
}

/// The system prompt, then one message for each item. Calls go into the assistant message directly
/// before them: both belong to one reply, and so to one turn.
fn messages<'a>(call: &ModelCall<'a>) -> Vec<Message<'a>> {
    let mut messages: Vec<_> = call.system.map(|content| Message::System { content }).into_iter().collect();
    for item in call.items {
        match item {
            Item::Call { id, name, args } => {
                let id = plain_id(id, MAX_ID_BYTES);
                let call = Call { id, call: Typed::Function { function: CalledFunction { name, arguments: args } } };
                match messages.last_mut() {
                    Some(Message::Assistant { tool_calls, .. }) => tool_calls.push(call),
                    _ => messages.push(Message::Assistant { content: None, tool_calls: vec![call] }),
                }
            }
            Item::Message { role: Role::Assistant, parts, .. } => {
                messages.push(Message::Assistant {
                    content: Some(Content::new(parts, text_piece)),
                    tool_calls: Vec::new(),
                });
            }
            Item::Message { role: Role::User, parts, .. } => {
                messages.push(Message::User { content: Content::new(parts, user_piece) });
            }
            Item::Result { id, out, .. } => {
                let content = match out {
                    Output::Parts(parts) => Content::new(parts, text_piece),
                    Output::Text(text) => Content::Text(text),
                };
                messages.push(Message::Tool { tool_call_id: plain_id(id, MAX_ID_BYTES), content });
            }
            Item::Think { .. } => {}
        }
    }
    messages
}
