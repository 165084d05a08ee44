//! Responses being read: items that are added, grow and are done.

use serde::Deserialize;
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

/// A reply being read. A refusal by the model is text that ends as `content_filter`, whatever its status.
#[derive(Default)]
pub(super) struct Reply {
    refused: bool,
    /// Whether the message under way has come in pieces.
    in_pieces: bool,
}

impl Format for Reply {
    const MAY_STOP: bool = false;

    fn event(&mut self, event: &sse::Event, draft: &mut Draft, deltas: &mut Vec<Delta>) -> Result<(), Error> {
        let data = event.data.as_str();
        if data.trim() == "[DONE]" {
            return Err(Error::UpstreamCut);
        }
        match &*reply::kind(data)? {
            "error" => Err(error(data)),
            kind @ ("response.completed" | "response.failed" | "response.incomplete") => {
                let Ended { mut response } = reply::parse(data)?;
                response.status = response.status.or_else(|| kind.strip_prefix("response.").map(str::to_owned));
                self.end(response, draft, deltas)?;
                draft.complete(deltas)
            }
            "response.function_call_arguments.delta" => {
                let ArgumentsDelta { output_index, delta } = reply::parse(data)?;
                if draft.has_call(output_index) { draft.call(output_index, "", "", &delta) } else { Ok(()) }
            }
            "response.output_item.added" => {
                let ItemEvent { output_index, item } = reply::parse(data)?;
                open_item(output_index, item.get(), draft)
            }
            "response.output_item.done" => {
                let ItemEvent { output_index, item } = reply::parse(data)?;
                self.take_item(output_index, item.get(), draft, deltas)
            }
            kind @ ("response.output_text.delta" | "response.refusal.delta") => {
                let TextDelta { delta } = reply::parse(data)?;
                self.in_pieces = true;
                self.refused |= kind == "response.refusal.delta" && !delta.is_empty();
                draft.text(delta, deltas);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn body(&mut self, body: &str, draft: &mut Draft, deltas: &mut Vec<Delta>) -> Result<(), Error> {
        let Whole { output, error } = reply::parse(body)?;
        if let Some(error) = error {
            return Err(refusal::from_reply(&error));
        }
        for (index, item) in (0..).zip(output.0) {
            self.take_item(index, item.get(), draft, deltas)?;
        }
        self.end(reply::parse(body)?, draft, deltas)
    }
}

#[derive(Deserialize)]
struct Ended {
    response: Response,
}

/// How a response ends; in a stream the event says as much.
#[derive(Deserialize)]
struct Response {
    status: Option<String>,
    #[serde(default, deserialize_with = "reply::small")]
    error: Option<Value>,
    incomplete_details: Option<IncompleteDetails>,
    usage: Option<Counts>,
}

#[derive(Deserialize)]
struct IncompleteDetails {
    reason: Option<String>,
}

#[derive(Deserialize)]
struct Whole<'a> {
    #[serde(borrow)]
    output: List<&'a RawValue, { reply::BLOCKS }>,
    #[serde(default, deserialize_with = "reply::small")]
    error: Option<Value>,
}

#[derive(Deserialize)]
struct ItemEvent<'a> {
    output_index: u64,
    #[serde(borrow)]
    item: &'a RawValue,
}

#[derive(Deserialize)]
struct TextDelta {
    delta: String,
}

#[derive(Deserialize)]
struct ArgumentsDelta {
    output_index: u64,
    delta: String,
}

#[derive(Deserialize)]
struct CallItem {
    call_id: String,
    name: String,
    arguments: Option<String>,
}

#[derive(Deserialize)]
struct MessageItem {
    content: List<Said, { reply::BLOCKS }>,
}

#[derive(Deserialize)]
struct Said {
    text: Option<String>,
    refusal: Option<String>,
}

#[derive(Deserialize)]
struct ReasoningItem<'a> {
    #[serde(borrow)]
    content: Option<List<&'a RawValue, { reply::BLOCKS }>>,
    encrypted_content: Option<String>,
    status: Option<String>,
}

#[derive(Deserialize)]
struct Counts {
    input_tokens: Option<u64>,
    input_tokens_details: Option<InputDetails>,
    output_tokens: Option<u64>,
    output_tokens_details: Option<OutputDetails>,
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
    /// Takes an item that is whole; of a message only what has not come in pieces.
    fn take_item(&mut self, index: u64, item: &str, draft: &mut Draft, deltas: &mut Vec<Delta>) -> Result<(), Error> {
        match &*reply::kind(item)? {
            "function_call" => {
                let CallItem { call_id, name, arguments } = reply::parse(item)?;
                draft.whole_call(index, &call_id, &name, &arguments.unwrap_or_default())
            }
            "message" if std::mem::take(&mut self.in_pieces) => Ok(()),
            "message" => {
                for said in reply::parse::<MessageItem>(item)?.content.0 {
                    let refusal = said.refusal.unwrap_or_default();
                    self.refused |= !refusal.is_empty();
                    draft.text(said.text.unwrap_or_default(), deltas);
                    draft.text(refusal, deltas);
                }
                Ok(())
            }
            "reasoning" => {
                let ReasoningItem { content, encrypted_content, status } = reply::parse(item)?;
                let is_whole = status.is_none_or(|status| status == "completed");
                if is_whole
                    && (encrypted_content.is_some_and(|text| !text.is_empty())
                        || content.is_some_and(|list| !list.0.is_empty()))
                {
                    draft.count_held(item.len())?;
                    draft.think(index, NAME, item.to_owned(), deltas)?;
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn end(&self, response: Response, draft: &mut Draft, deltas: &mut Vec<Delta>) -> Result<(), Error> {
        if let Some(error) = response.error {
            return Err(refusal::from_reply(&error));
        }
        let why = response.incomplete_details.and_then(|details| details.reason);
        let reason = match (response.status.as_deref(), why.as_deref()) {
            (Some("cancelled" | "failed"), _) => {
                return Err(Error::UpstreamUnavailable { cause: "the response failed".to_owned(), retry_after: None });
            }
            (Some("in_progress" | "queued"), _) => return Err(Error::malformed("the response has not ended")),
            _ if self.refused => FinishReason::ContentFilter,
            (Some("incomplete"), Some("content_filter")) => FinishReason::ContentFilter,
            (Some("incomplete"), _) => FinishReason::Length,
            // What no one has named yet counts as a normal end.
            _ => FinishReason::Stop,
        };
        draft.end(reason);
        if let Some(counts) = response.usage {
            deltas.push(Delta::Usage(counts.into()));
        }
        Ok(())
    }
}

/// Opens a call, which its fragments then fill; nothing else is of use before it is whole.
fn open_item(index: u64, item: &str, draft: &mut Draft) -> Result<(), Error> {
    if reply::kind(item)? == "function_call" {
        let CallItem { call_id, name, arguments } = reply::parse(item)?;
        draft.call(index, &call_id, &name, &arguments.unwrap_or_default())?;
    }
    Ok(())
}

/// An error told in a stream: in a member of its own, or in the event itself.
fn error(json: &str) -> Error {
    let event = reply::value(json);
    refusal::from_reply(event.get("error").filter(|error| error.is_object()).unwrap_or(&event))
}

impl From<Counts> for Usage {
    fn from(counts: Counts) -> Self {
        let (input, output) = (counts.input_tokens_details, counts.output_tokens_details);
        Self {
            input_tokens: counts.input_tokens.unwrap_or_default(),
            output_tokens: counts.output_tokens.unwrap_or_default(),
            cached_tokens: input.as_ref().and_then(|input| input.cached_tokens).unwrap_or_default(),
            cache_written_tokens: input.and_then(|input| input.cache_write_tokens).unwrap_or_default(),
            reasoning_tokens: output.and_then(|output| output.reasoning_tokens).unwrap_or_default(),
        }
    }
}
