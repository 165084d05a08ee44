//! Replies of OpenAI Chat Completions: chunks of a stream, or one completion.

use serde::Deserialize;
use serde_json::Value;

use crate::proto::{
    error::Error,
    json::List,
    provider::{
        end::End,
        reply::ReplyParser,
        reply_builder::ReplyBuilder,
        reply_json::{self, MAX_BLOCKS},
        upstream_error,
    },
    sse,
    turn::{Delta, Usage},
};

/// The most choices in a chunk. The request asks for one.
const MAX_CHOICES: usize = 128;

/// Parses a reply.
#[derive(Default)]
pub(super) struct Parser;

impl ReplyParser for Parser {
    fn event(&mut self, event: &sse::Event, reply: &mut ReplyBuilder, deltas: &mut Vec<Delta>) -> Result<(), Error> {
        if event.data.trim() == "[DONE]" {
            return reply.complete(deltas);
        }
        let chunk: Chunk = reply_json::parse(&event.data)?;
        add_chunk(chunk, reply, deltas)
    }

    fn body(&mut self, body: &str, reply: &mut ReplyBuilder, deltas: &mut Vec<Delta>) -> Result<(), Error> {
        let chunk: Chunk = reply_json::parse(body)?;
        if chunk.choices.is_none() && chunk.error.is_none() {
            return Err(Error::malformed("the reply has no choices"));
        }
        add_chunk(chunk, reply, deltas)
    }
}

/// A chunk of a stream (with `delta`) or a complete answer (with `message`).
#[derive(Deserialize)]
struct Chunk {
    choices: Option<List<ChunkChoice, MAX_CHOICES>>,
    #[serde(default, deserialize_with = "reply_json::error_member")]
    error: Option<Value>,
    usage: Option<Counts>,
}

#[derive(Deserialize)]
struct ChunkChoice {
    index: Option<u64>,
    delta: Option<MessageDelta>,
    message: Option<MessageDelta>,
    finish_reason: Option<String>,
}

#[derive(Deserialize)]
struct MessageDelta {
    content: Option<String>,
    refusal: Option<String>,
    tool_calls: Option<List<CallDelta, { MAX_BLOCKS }>>,
}

#[derive(Deserialize)]
struct CallDelta {
    index: Option<u64>,
    id: Option<String>,
    function: Option<FunctionDelta>,
}

#[derive(Deserialize)]
struct FunctionDelta {
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

fn add_chunk(chunk: Chunk, reply: &mut ReplyBuilder, deltas: &mut Vec<Delta>) -> Result<(), Error> {
    if let Some(error) = chunk.error {
        return Err(upstream_error::from_reply(&error, reply.profile()));
    }
    for choice in chunk.choices.unwrap_or_default().0 {
        if choice.index.unwrap_or_default() == 0 {
            add_choice(choice, reply, deltas)?;
        }
    }
    if let Some(counts) = chunk.usage {
        deltas.push(Delta::Usage(counts.into()));
    }
    Ok(())
}

fn add_choice(choice: ChunkChoice, reply: &mut ReplyBuilder, deltas: &mut Vec<Delta>) -> Result<(), Error> {
    // Some providers also stream the message so far, in addition to the delta.
    if let Some(message) = choice.delta.or(choice.message) {
        reply.text(message.content.unwrap_or_default(), deltas);
        reply.refusal(message.refusal.unwrap_or_default(), deltas);
        for (position, call) in (0..).zip(message.tool_calls.unwrap_or_default().0) {
            let (name, args) = call.function.map_or((None, None), |function| (function.name, function.arguments));
            let [id, name, args] = [call.id, name, args].map(Option::unwrap_or_default);
            reply.call_fragment(call.index.unwrap_or(position), &id, &name, &args)?;
        }
    }
    if let Some(reason) = choice.finish_reason {
        reply.set_end(End::of(&reason, reply.profile()));
    }
    Ok(())
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
