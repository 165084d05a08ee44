//! Replies of Anthropic Messages: blocks that start, grow and stop.

use serde::{Deserialize, Serialize};
use serde_json::{Value, value::RawValue};

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

/// The name of the provider.
pub(super) const NAME: &str = "anthropic";

/// Parses a reply. It keeps the counts, because each event has only some of them, and the open
/// thinking block.
#[derive(Default)]
pub(super) struct Parser {
    counts: Counts,
    thinking: Option<OpenThinking>,
}

struct OpenThinking {
    index: u64,
    block: ThinkingBlock,
}

impl ReplyParser for Parser {
    fn event(&mut self, event: &sse::Event, reply: &mut ReplyBuilder, deltas: &mut Vec<Delta>) -> Result<(), Error> {
        let data = event.data.as_str();
        match &*reply_json::object_type(data)? {
            "content_block_delta" => {
                let BlockDelta { index, delta } = reply_json::parse(data)?;
                self.add_delta(index, delta.get(), reply, deltas)
            }
            "content_block_start" => {
                let BlockStart { index, content_block } = reply_json::parse(data)?;
                self.open_block(index, content_block.get(), reply, deltas)
            }
            "content_block_stop" => self.close_block(reply_json::parse::<BlockStop>(data)?.index, reply, deltas),
            "error" => Err(error(data, reply)?),
            "message_delta" => {
                let MessageDelta { delta, usage } = reply_json::parse(data)?;
                end(&delta, reply, deltas);
                self.count(usage, deltas);
                Ok(())
            }
            "message_start" => {
                let MessageStart { message } = reply_json::parse(data)?;
                self.count(message.usage, deltas);
                Ok(())
            }
            "message_stop" => reply.complete(deltas),
            _ => Ok(()),
        }
    }

    fn body(&mut self, body: &str, reply: &mut ReplyBuilder, deltas: &mut Vec<Delta>) -> Result<(), Error> {
        if reply_json::object_type(body)? == "error" {
            return Err(error(body, reply)?);
        }
        let message: CompleteMessage<'_> = reply_json::parse(body)?;
        for (index, block) in (0..).zip(message.content.0) {
            self.open_block(index, block.get(), reply, deltas)?;
            self.close_block(index, reply, deltas)?;
        }
        let CompleteMessage { stop_reason, stop_sequence, .. } = message;
        end(&MessageEnd { stop_reason, stop_sequence }, reply, deltas);
        self.count(message.usage, deltas);
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
struct BlockStop {
    index: u64,
}

#[derive(Deserialize)]
struct MessageDelta {
    delta: MessageEnd,
    usage: Option<Counts>,
}

#[derive(Deserialize)]
struct MessageEnd {
    stop_reason: Option<String>,
    stop_sequence: Option<String>,
}

#[derive(Deserialize)]
struct MessageStart {
    message: StartedMessage,
}

#[derive(Deserialize)]
struct StartedMessage {
    usage: Option<Counts>,
}

#[derive(Deserialize)]
struct CompleteMessage<'a> {
    #[serde(borrow)]
    content: List<&'a RawValue, { MAX_BLOCKS }>,
    stop_reason: Option<String>,
    stop_sequence: Option<String>,
    usage: Option<Counts>,
}

#[derive(Deserialize)]
struct TextBlock {
    text: String,
}

#[derive(Deserialize)]
struct ThinkingStart {
    thinking: Option<String>,
    signature: Option<String>,
}

/// A thinking block as the provider wants it back.
#[derive(Serialize)]
#[serde(tag = "type", rename = "thinking")]
struct ThinkingBlock {
    thinking: String,
    signature: String,
}

#[derive(Deserialize)]
struct ThinkingDelta {
    thinking: String,
}

#[derive(Deserialize)]
struct SignatureDelta {
    signature: String,
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
    output_tokens_details: Option<OutputDetails>,
}

#[derive(Deserialize)]
struct OutputDetails {
    thinking_tokens: Option<u64>,
}

impl Parser {
    /// Replaces the counts that an event brings.
    fn count(&mut self, counts: Option<Counts>, deltas: &mut Vec<Delta>) {
        let Some(new) = counts else { return };
        let old = std::mem::take(&mut self.counts);
        self.counts = Counts {
            input_tokens: new.input_tokens.or(old.input_tokens),
            cache_creation_input_tokens: new.cache_creation_input_tokens.or(old.cache_creation_input_tokens),
            cache_read_input_tokens: new.cache_read_input_tokens.or(old.cache_read_input_tokens),
            output_tokens: new.output_tokens.or(old.output_tokens),
            output_tokens_details: new.output_tokens_details.or(old.output_tokens_details),
        };
        deltas.push(Delta::Usage(self.counts.usage()));
    }

    /// Takes the start of a block. A block that is not streamed starts with all its content.
    fn open_block(
        &mut self,
        index: u64,
        block: &str,
        reply: &mut ReplyBuilder,
        deltas: &mut Vec<Delta>,
    ) -> Result<(), Error> {
        match &*reply_json::object_type(block)? {
            "redacted_thinking" => {
                reply.count_bytes(block.len())?;
                reply.reasoning(index, NAME, block.to_owned(), deltas)
            }
            "text" => {
                reply.text(reply_json::parse::<TextBlock>(block)?.text, deltas);
                Ok(())
            }
            "thinking" => {
                reply.count_bytes(block.len())?;
                let ThinkingStart { thinking, signature } = reply_json::parse(block)?;
                let [thinking, signature] = [thinking, signature].map(Option::unwrap_or_default);
                self.thinking = Some(OpenThinking { index, block: ThinkingBlock { thinking, signature } });
                Ok(())
            }
            "tool_use" => {
                let ToolUseBlock { id, name, input } = reply_json::parse(block)?;
                // A streamed call starts with an empty object, which its fragments replace.
                let args = input.map(RawValue::get).filter(|args| !is_empty_object(args)).unwrap_or_default();
                reply.call_fragment(index, &id, &name, args)
            }
            _ => Ok(()),
        }
    }

    fn add_delta(
        &mut self,
        index: u64,
        delta: &str,
        reply: &mut ReplyBuilder,
        deltas: &mut Vec<Delta>,
    ) -> Result<(), Error> {
        let thinking = self.thinking.as_mut().filter(|open| open.index == index).map(|open| &mut open.block);
        match (&*reply_json::object_type(delta)?, thinking) {
            ("input_json_delta", _) if reply.has_call(index) => {
                reply.call_fragment(index, "", "", &reply_json::parse::<InputDelta>(delta)?.partial_json)
            }
            ("signature_delta", Some(block)) => {
                block.signature = reply_json::parse::<SignatureDelta>(delta)?.signature;
                reply.count_bytes(block.signature.len())
            }
            ("text_delta", _) => {
                reply.text(reply_json::parse::<TextBlock>(delta)?.text, deltas);
                Ok(())
            }
            ("thinking_delta", Some(block)) => {
                let ThinkingDelta { thinking } = reply_json::parse(delta)?;
                reply.count_bytes(thinking.len())?;
                block.thinking.push_str(&thinking);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Passes on the thinking block that ended, if it is signed.
    fn close_block(&mut self, index: u64, reply: &mut ReplyBuilder, deltas: &mut Vec<Delta>) -> Result<(), Error> {
        match self.thinking.take_if(|open| open.index == index) {
            Some(open) if !open.block.signature.is_empty() => {
                let blob = serde_json::to_string(&open.block)
                    .map_err(|error| Error::internal(format!("thinking is not JSON: {error}")))?;
                reply.reasoning(index, NAME, blob, deltas)
            }
            _ => Ok(()),
        }
    }
}

impl Counts {
    /// The counts in neutral terms. This format counts cached input separately; [`Usage`] includes
    /// it in the input.
    fn usage(&self) -> Usage {
        let input = [self.input_tokens, self.cache_creation_input_tokens, self.cache_read_input_tokens];
        Usage {
            input_tokens: input.into_iter().flatten().fold(0, u64::saturating_add),
            output_tokens: self.output_tokens.unwrap_or_default(),
            cached_tokens: self.cache_read_input_tokens.unwrap_or_default(),
            cache_written_tokens: self.cache_creation_input_tokens.unwrap_or_default(),
            reasoning_tokens: self
                .output_tokens_details
                .as_ref()
                .and_then(|details| details.thinking_tokens)
                .unwrap_or_default(),
        }
    }
}

fn is_empty_object(json: &str) -> bool {
    json.chars().filter(|c| !c.is_ascii_whitespace()).eq("{}".chars())
}

/// Sets the end, and names the stop sequence that caused it.
fn end(end: &MessageEnd, reply: &mut ReplyBuilder, deltas: &mut Vec<Delta>) {
    reply.set_end(end.stop_reason.as_deref().and_then(|word| End::of(word, reply.profile())));
    deltas.extend(end.stop_sequence.clone().map(Delta::StopSequence));
}

/// The error that an `error` event or body means.
fn error(json: &str, reply: &ReplyBuilder) -> Result<Error, Error> {
    #[derive(Deserialize)]
    struct WithError {
        #[serde(default, deserialize_with = "reply_json::error_member")]
        error: Option<Value>,
    }

    let error = reply_json::parse::<WithError>(json)?.error.unwrap_or_default();
    Ok(upstream_error::from_reply(&error, reply.profile()))
}
