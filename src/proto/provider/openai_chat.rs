//! OpenAI Chat Completions: also what Ollama, vLLM, llama.cpp, Groq and OpenRouter speak.
//!
//! Format: <https://platform.openai.com/docs/api-reference/chat>. What the items hold and the format cannot say: an
//! image in a tool's result or in an assistant message is named, not shown; a provider's reasoning is left out. A budget
//! for reasoning becomes the effort that comes close. What a reply holds and the items cannot: members that we do not know are ignored, choices but the first too. A stream is
//! whole with `[DONE]`, or when it stops after a `finish_reason`, since not all who speak this send `[DONE]`.

use std::borrow::Cow;

use bytes::Bytes;
use http::{HeaderName, Request, header, response};
use serde::{Deserialize, Serialize};
use serde_json::{Number, Value, value::RawValue};

use super::{
    ModelCall, Provider, ReplyBounds, ReplyReader,
    call::{plain_id, post},
    refusal,
    reply::{self, Draft, Format},
};
use crate::proto::{
    chat::{Item, Output, Part, Role},
    error::Error,
    json::List,
    sse,
    turn::{Delta, FinishReason, ReplyFormat, Tool, ToolChoice, Usage},
};

/// The longest id of a call; OpenAI says "Expected a string with maximum length 40".
const ID_BYTES: usize = 40;

/// The dialect `openai`.
pub(super) struct OpenAiChat {
    /// Whether the server is OpenAI's own.
    own: bool,
}

impl OpenAiChat {
    pub(super) const OWN: Self = Self { own: true };

    /// Others know the bound on a reply by its older name. OpenAI refuses that one for its newer models; Ollama, for one,
    /// passes over the newer one in silence (ollama/ollama#7125).
    const ELSEWHERE: Self = Self { own: false };
}

impl Provider for OpenAiChat {
    fn name(&self) -> &'static str {
        "openai"
    }

    fn default_base_url(&self) -> &'static str {
        "https://api.openai.com/v1"
    }

    fn elsewhere(&self) -> Option<&'static dyn Provider> {
        Some(&Self::ELSEWHERE)
    }

    fn request(&self, call: &ModelCall<'_>) -> Result<Request<Bytes>, Error> {
        post("/chat/completions", call.stream, &Body::new(call, self.own))
    }

    fn credential(&self) -> (HeaderName, &'static str) {
        (header::AUTHORIZATION, "Bearer ")
    }

    fn reply(&self, head: &response::Parts, bounds: ReplyBounds) -> Result<Box<dyn ReplyReader>, Error> {
        reply::reader::<Reply>(head, bounds)
    }
}

#[derive(Serialize)]
struct Body<'a> {
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
    /// Only ever `false`: `true` is what the format means without it, and not everyone knows the word.
    #[serde(skip_serializing_if = "Option::is_none")]
    parallel_tool_calls: Option<bool>,
    stream: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    stream_options: Option<StreamOptions>,
    /// Last, so that a turn's bytes begin the next one's.
    messages: Vec<Message<'a>>,
}

impl<'a> Body<'a> {
    fn new(call: &ModelCall<'a>, own: bool) -> Self {
        let options = call.options;
        // What concerns tools is refused without any.
        let has_tools = !options.tools.is_empty();
        Self {
            model: call.model,
            max_completion_tokens: options.max_output_tokens.filter(|_| own),
            max_tokens: options.max_output_tokens.filter(|_| !own),
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

/// The one kind of tool, of choice among tools, and of call.
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
    Tool(Typed<Named<'a>>),
}

#[derive(Serialize)]
struct Named<'a> {
    name: &'a str,
}

impl<'a> Choice<'a> {
    fn new(choice: &'a ToolChoice) -> Self {
        match choice {
            ToolChoice::Auto => Self::Mode("auto"),
            ToolChoice::None => Self::Mode("none"),
            ToolChoice::Required => Self::Mode("required"),
            ToolChoice::Tool(name) => Self::Tool(Typed::Function { function: Named { name } }),
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
        /// `null` where there are only calls.
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
    call: Typed<Called<'a>>,
}

#[derive(Serialize)]
struct Called<'a> {
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
        Part::Image(url) => Piece::ImageUrl { image_url: Url { url } },
        Part::Text(text) => Piece::Text { text },
    }
}

fn named(part: &Part) -> Piece<'_> {
    match part {
        Part::Image(_) => Piece::Text { text: "[image]" },
        Part::Text(text) => Piece::Text { text },
    }
}

/// The system prompt, then a message for each item, but calls go into the assistant message right before them.
///
/// An assistant message and its calls are of one reply, and so of one turn.
fn messages<'a>(call: &ModelCall<'a>) -> Vec<Message<'a>> {
    let mut messages: Vec<_> = call.system.map(|content| Message::System { content }).into_iter().collect();
    for item in call.items {
        match item {
            Item::Call { id, name, args } => {
                let id = plain_id(id, ID_BYTES);
                let call = Call { id, call: Typed::Function { function: Called { name, arguments: args } } };
                match messages.last_mut() {
                    Some(Message::Assistant { tool_calls, .. }) => tool_calls.push(call),
                    _ => messages.push(Message::Assistant { content: None, tool_calls: vec![call] }),
                }
            }
            Item::Message { role: Role::Assistant, parts, .. } => {
                messages.push(Message::Assistant { content: Some(Content::new(parts, named)), tool_calls: Vec::new() });
            }
            Item::Message { role: Role::User, parts, .. } => {
                messages.push(Message::User { content: Content::new(parts, shown) });
            }
            Item::Result { id, out, .. } => {
                let content = match out {
                    Output::Parts(parts) => Content::new(parts, named),
                    Output::Text(text) => Content::Text(text),
                };
                messages.push(Message::Tool { tool_call_id: plain_id(id, ID_BYTES), content });
            }
            Item::Think { .. } => {}
        }
    }
    messages
}

/// The most choices in a chunk; one was asked for.
const CHOICES: usize = 128;

/// A reply being read. A refusal by the model is text that ends as `content_filter`, whatever its `finish_reason`.
#[derive(Default)]
struct Reply {
    refused: bool,
}

impl Format for Reply {
    const MAY_STOP: bool = true;

    fn event(&mut self, event: &sse::Event, draft: &mut Draft, deltas: &mut Vec<Delta>) -> Result<(), Error> {
        if event.data.trim() == "[DONE]" {
            return draft.complete(deltas);
        }
        let chunk: Chunk = reply::parse(&event.data)?;
        self.take(chunk, draft, deltas)
    }

    fn body(&mut self, body: &str, draft: &mut Draft, deltas: &mut Vec<Delta>) -> Result<(), Error> {
        let chunk: Chunk = reply::parse(body)?;
        self.take(chunk, draft, deltas)
    }
}

/// A streamed chunk (`delta`) or a whole completion (`message`).
#[derive(Deserialize)]
struct Chunk {
    choices: Option<List<ChunkChoice, CHOICES>>,
    #[serde(default, deserialize_with = "reply::small")]
    error: Option<Value>,
    usage: Option<Counts>,
}

#[derive(Deserialize)]
struct ChunkChoice {
    index: Option<u64>,
    delta: Option<Said>,
    message: Option<Said>,
    finish_reason: Option<String>,
}

#[derive(Deserialize)]
struct Said {
    content: Option<String>,
    refusal: Option<String>,
    tool_calls: Option<List<SaidCall, { reply::BLOCKS }>>,
}

#[derive(Deserialize)]
struct SaidCall {
    index: Option<u64>,
    id: Option<String>,
    function: Option<SaidFunction>,
}

#[derive(Deserialize)]
struct SaidFunction {
    name: Option<String>,
    arguments: Option<String>,
}

#[derive(Deserialize)]
struct Counts {
    prompt_tokens: Option<u64>,
    completion_tokens: Option<u64>,
    prompt_tokens_details: Option<InputDetails>,
    completion_tokens_details: Option<OutputDetails>,
}

#[derive(Deserialize)]
struct InputDetails {
    cached_tokens: Option<u64>,
    cache_write_tokens: Option<u64>,
}

#[derive(Deserialize)]
struct OutputDetails {
    reasoning_tokens: Option<u64>,
}

impl Reply {
    fn take(&mut self, chunk: Chunk, draft: &mut Draft, deltas: &mut Vec<Delta>) -> Result<(), Error> {
        if let Some(error) = chunk.error {
            return Err(refusal::from_reply(&error));
        }
        for choice in chunk.choices.unwrap_or_default().0 {
            if choice.index.unwrap_or_default() == 0 {
                self.take_choice(choice, draft, deltas)?;
            }
        }
        if let Some(counts) = chunk.usage {
            deltas.push(Delta::Usage(counts.into()));
        }
        Ok(())
    }

    fn take_choice(&mut self, choice: ChunkChoice, draft: &mut Draft, deltas: &mut Vec<Delta>) -> Result<(), Error> {
        // Some providers stream the message so far beside the delta.
        if let Some(said) = choice.delta.or(choice.message) {
            draft.text(said.content.unwrap_or_default(), deltas);
            let refusal = said.refusal.unwrap_or_default();
            self.refused |= !refusal.is_empty();
            draft.text(refusal, deltas);
            for (place, call) in (0..).zip(said.tool_calls.unwrap_or_default().0) {
                let (name, args) = call.function.map_or((None, None), |function| (function.name, function.arguments));
                let [id, name, args] = [call.id, name, args].map(Option::unwrap_or_default);
                draft.call(call.index.unwrap_or(place), &id, &name, &args)?;
            }
        }
        if let Some(reason) = choice.finish_reason {
            draft.end(if self.refused { FinishReason::ContentFilter } else { finish_reason(&reason) });
        }
        Ok(())
    }
}

/// What no one has named yet counts as a normal end.
fn finish_reason(name: &str) -> FinishReason {
    match name {
        "content_filter" => FinishReason::ContentFilter,
        "function_call" | "tool_calls" => FinishReason::ToolCalls,
        "length" => FinishReason::Length,
        _ => FinishReason::Stop,
    }
}

impl From<Counts> for Usage {
    fn from(counts: Counts) -> Self {
        let (input, output) = (counts.prompt_tokens_details, counts.completion_tokens_details);
        Self {
            input_tokens: counts.prompt_tokens.unwrap_or_default(),
            output_tokens: counts.completion_tokens.unwrap_or_default(),
            cached_tokens: input.as_ref().and_then(|input| input.cached_tokens).unwrap_or_default(),
            cache_written_tokens: input.and_then(|input| input.cache_write_tokens).unwrap_or_default(),
            reasoning_tokens: output.and_then(|output| output.reasoning_tokens).unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests;
