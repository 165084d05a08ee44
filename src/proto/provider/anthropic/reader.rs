//! Messages being read: blocks that start, grow and stop.

use serde::{Deserialize, Serialize};
use serde_json::{Value, value::RawValue};

use super::NAME;
use crate::proto::{
    error::Error,
    json::List,
    provider::{
        refusal,
        reply::{self, Draft, Format},
    },
    sse,
    turn::{Delta, FinishReason, Usage},
};

/// A reply being read: the counts so far, since each event brings only some of them, and the thinking under way.
#[derive(Default)]
pub(super) struct Reply {
    counts: Counts,
    thinking: Option<OpenThinking>,
}

struct OpenThinking {
    index: u64,
    block: ThinkingBlock,
}

impl Format for Reply {
    const MAY_STOP: bool = false;

    fn event(&mut self, event: &sse::Event, draft: &mut Draft, deltas: &mut Vec<Delta>) -> Result<(), Error> {
        let data = event.data.as_str();
        match &*reply::kind(data)? {
            "content_block_delta" => {
                let BlockDelta { index, delta } = reply::parse(data)?;
                self.take_delta(index, delta.get(), draft, deltas)
            }
            "content_block_start" => {
                let BlockStart { index, content_block } = reply::parse(data)?;
                self.open_block(index, content_block.get(), draft, deltas)
            }
            "content_block_stop" => self.close_block(reply::parse::<BlockStop>(data)?.index, draft, deltas),
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
        for (index, block) in (0..).zip(whole.content.0) {
            self.open_block(index, block.get(), draft, deltas)?;
            self.close_block(index, draft, deltas)?;
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
struct BlockStop {
    index: u64,
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
    content: List<&'a RawValue, { reply::BLOCKS }>,
    stop_reason: Option<String>,
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

impl Reply {
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

    /// Takes what a block starts with; one that is not streamed starts with all of it.
    fn open_block(&mut self, index: u64, block: &str, draft: &mut Draft, deltas: &mut Vec<Delta>) -> Result<(), Error> {
        match &*reply::kind(block)? {
            "redacted_thinking" => {
                draft.count_held(block.len())?;
                draft.think(index, NAME, block.to_owned(), deltas)
            }
            "text" => {
                draft.text(reply::parse::<TextBlock>(block)?.text, deltas);
                Ok(())
            }
            "thinking" => {
                draft.count_held(block.len())?;
                let ThinkingStart { thinking, signature } = reply::parse(block)?;
                let [thinking, signature] = [thinking, signature].map(Option::unwrap_or_default);
                self.thinking = Some(OpenThinking { index, block: ThinkingBlock { thinking, signature } });
                Ok(())
            }
            "tool_use" => {
                let ToolUseBlock { id, name, input } = reply::parse(block)?;
                // A streamed call starts with an empty object, which its fragments replace.
                let args = input.map(RawValue::get).filter(|args| !is_empty_object(args)).unwrap_or_default();
                draft.call(index, &id, &name, args)
            }
            _ => Ok(()),
        }
    }

    fn take_delta(&mut self, index: u64, delta: &str, draft: &mut Draft, deltas: &mut Vec<Delta>) -> Result<(), Error> {
        let thinking = self.thinking.as_mut().filter(|open| open.index == index).map(|open| &mut open.block);
        match (&*reply::kind(delta)?, thinking) {
            ("input_json_delta", _) if draft.has_call(index) => {
                draft.call(index, "", "", &reply::parse::<InputDelta>(delta)?.partial_json)
            }
            ("signature_delta", Some(block)) => {
                block.signature = reply::parse::<SignatureDelta>(delta)?.signature;
                draft.count_held(block.signature.len())
            }
            ("text_delta", _) => {
                draft.text(reply::parse::<TextBlock>(delta)?.text, deltas);
                Ok(())
            }
            ("thinking_delta", Some(block)) => {
                let ThinkingDelta { thinking } = reply::parse(delta)?;
                draft.count_held(thinking.len())?;
                block.thinking.push_str(&thinking);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Hands on the thinking that has come to its end, if it was signed.
    fn close_block(&mut self, index: u64, draft: &mut Draft, deltas: &mut Vec<Delta>) -> Result<(), Error> {
        match self.thinking.take_if(|open| open.index == index) {
            Some(open) if !open.block.signature.is_empty() => {
                let blob = serde_json::to_string(&open.block)
                    .map_err(|error| Error::internal(format!("thinking is not JSON: {error}")))?;
                draft.think(index, NAME, blob, deltas)
            }
            _ => Ok(()),
        }
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
        #[serde(default, deserialize_with = "reply::small")]
        error: Option<Value>,
    }

    Ok(refusal::from_reply(&reply::parse::<Reported>(json)?.error.unwrap_or_default()))
}
