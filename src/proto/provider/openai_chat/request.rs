//! Requests of OpenAI Chat Completions: options and tools. The messages are in [`messages`].

use serde::Serialize;
use serde_json::{Number, value::RawValue};

use super::messages::{Message, Typed, messages};
use crate::proto::{
    provider::{
        call::ModelCall,
        profile::{Seed, TokenLimit},
    },
    turn::{ReplyFormat, Tool, ToolChoice},
};

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
    random_seed: Option<i64>,
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
        let (options, limit, seed) = (call.options, call.profile.token_limit, call.profile.seed);
        // Without tools, the API refuses every option about tools.
        let has_tools = !options.tools.is_empty();
        Self {
            model: call.model,
            max_completion_tokens: options.max_output_tokens.filter(|_| limit == TokenLimit::MaxCompletionTokens),
            max_tokens: options.max_output_tokens.filter(|_| limit == TokenLimit::MaxTokens),
            temperature: options.temperature.as_ref(),
            top_p: options.top_p.as_ref(),
            stop: &options.stop,
            seed: options.seed.filter(|_| seed == Seed::Seed),
            random_seed: options.seed.filter(|_| seed == Seed::RandomSeed),
            response_format: TextFormat::new(&options.format),
            reasoning_effort: options.reasoning.openai_effort(),
            tools: options.tools.iter().map(|tool| Typed::Function { function: Function::new(tool) }).collect(),
            tool_choice: options.tool_choice.as_ref().filter(|_| has_tools).map(Choice::new),
            parallel_tool_calls: options.parallel_calls.filter(|parallel| !parallel && has_tools),
            stream: call.stream,
            stream_options: (call.stream && call.profile.stream_options)
                .then_some(StreamOptions { include_usage: true }),
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
