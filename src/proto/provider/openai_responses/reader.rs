//! Replies of OpenAI Responses: items that are added, grow and are done.

use serde::Deserialize;
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
    turn::{Delta, FinishReason, Usage},
};

/// The name of the provider.
pub(super) const NAME: &str = "openai-responses";

/// Parses a reply.
#[derive(Default)]
pub(super) struct Parser {
    /// True if the open message came in pieces.
    in_pieces: bool,
}

impl ReplyParser for Parser {
    fn event(&mut self, event: &sse::Event, reply: &mut ReplyBuilder, deltas: &mut Vec<Delta>) -> Result<(), Error> {
        let data = event.data.as_str();
        if data.trim() == "[DONE]" {
            return Err(Error::UpstreamCut);
        }
        match &*reply_json::object_type(data)? {
            "error" => Err(error(data, reply)),
            kind @ ("response.completed" | "response.failed" | "response.incomplete") => {
                let EndEvent { mut response } = reply_json::parse(data)?;
                response.status = response.status.or_else(|| kind.strip_prefix("response.").map(str::to_owned));
                end(response, reply, deltas)?;
                reply.complete(deltas)
            }
            "response.function_call_arguments.delta" => {
                let ArgumentsDelta { output_index, delta } = reply_json::parse(data)?;
                if reply.has_call(output_index) { reply.call_fragment(output_index, "", "", &delta) } else { Ok(()) }
            }
            "response.output_item.added" => {
                let ItemEvent { output_index, item } = reply_json::parse(data)?;
                open_item(output_index, item.get(), reply)
            }
            "response.output_item.done" => {
                let ItemEvent { output_index, item } = reply_json::parse(data)?;
                self.add_item(output_index, item.get(), reply, deltas)
            }
            kind @ ("response.output_text.delta" | "response.refusal.delta") => {
                let TextDelta { delta } = reply_json::parse(data)?;
                self.in_pieces = true;
                if kind == "response.refusal.delta" {
                    reply.refusal(delta, deltas)
                } else {
                    reply.text(delta, deltas)
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn body(&mut self, body: &str, reply: &mut ReplyBuilder, deltas: &mut Vec<Delta>) -> Result<(), Error> {
        let CompleteResponse { output, error } = reply_json::parse(body)?;
        if let Some(error) = error {
            return Err(upstream_error::from_reply(&error, reply.profile()));
        }
        for (index, item) in (0..).zip(output.0) {
            self.add_item(index, item.get(), reply, deltas)?;
        }
        end(reply_json::parse(body)?, reply, deltas)
    }
}

#[derive(Deserialize)]
struct EndEvent {
    response: Response,
}

/// The end of a response. In a stream, the type of the event can replace the status.
#[derive(Deserialize)]
struct Response {
    status: Option<String>,
    #[serde(default, deserialize_with = "reply_json::error_member")]
    error: Option<Value>,
    incomplete_details: Option<IncompleteDetails>,
    usage: Option<Counts>,
}

#[derive(Deserialize)]
struct IncompleteDetails {
    reason: Option<String>,
}

#[derive(Deserialize)]
struct CompleteResponse<'a> {
    #[serde(borrow)]
    output: List<&'a RawValue, { MAX_BLOCKS }>,
    #[serde(default, deserialize_with = "reply_json::error_member")]
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
    content: List<MessagePart, { MAX_BLOCKS }>,
}

#[derive(Deserialize)]
struct MessagePart {
    text: Option<String>,
    refusal: Option<String>,
}

#[derive(Deserialize)]
struct ReasoningItem<'a> {
    #[serde(borrow)]
    content: Option<List<&'a RawValue, { MAX_BLOCKS }>>,
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

impl Parser {
    /// Adds a complete item. A message that came in pieces is already added.
    fn add_item(
        &mut self,
        index: u64,
        item: &str,
        reply: &mut ReplyBuilder,
        deltas: &mut Vec<Delta>,
    ) -> Result<(), Error> {
        match &*reply_json::object_type(item)? {
            "function_call" => {
                let CallItem { call_id, name, arguments } = reply_json::parse(item)?;
                reply.complete_call(index, &call_id, &name, &arguments.unwrap_or_default())
            }
            "message" if std::mem::take(&mut self.in_pieces) => Ok(()),
            "message" => {
                for part in reply_json::parse::<MessageItem>(item)?.content.0 {
                    reply.text(part.text.unwrap_or_default(), deltas);
                    reply.refusal(part.refusal.unwrap_or_default(), deltas);
                }
                Ok(())
            }
            "reasoning" => add_reasoning(index, item, reply, deltas),
            _ => Ok(()),
        }
    }
}

/// Sets the finish reason and the counts, or returns the error of a failed response.
fn end(response: Response, reply: &mut ReplyBuilder, deltas: &mut Vec<Delta>) -> Result<(), Error> {
    if let Some(error) = response.error {
        return Err(upstream_error::from_reply(&error, reply.profile()));
    }
    let detail = response.incomplete_details.and_then(|details| details.reason);
    let reason = match (response.status.as_deref(), detail.as_deref()) {
        (Some("cancelled" | "failed"), _) => {
            return Err(Error::UpstreamUnavailable { cause: "the response failed".to_owned(), retry_after: None });
        }
        (Some("in_progress" | "queued"), _) => return Err(Error::malformed("the response has not ended")),
        (Some("incomplete"), Some("content_filter")) => FinishReason::ContentFilter,
        (Some("incomplete"), _) => FinishReason::Length,
        // An unknown status or reason counts as a normal end.
        _ => FinishReason::Stop,
    };
    reply.set_end(Some(End::Finished(reason)));
    if let Some(counts) = response.usage {
        deltas.push(Delta::Usage(counts.into()));
    }
    Ok(())
}

/// Adds reasoning that can be sent back: it is complete, and is more than the name of a stored
/// item.
fn add_reasoning(index: u64, item: &str, reply: &mut ReplyBuilder, deltas: &mut Vec<Delta>) -> Result<(), Error> {
    let ReasoningItem { content, encrypted_content, status } = reply_json::parse(item)?;
    let is_complete = status.is_none_or(|status| status == "completed");
    let has_content =
        encrypted_content.is_some_and(|text| !text.is_empty()) || content.is_some_and(|list| !list.0.is_empty());
    if is_complete && has_content {
        reply.count_bytes(item.len())?;
        reply.reasoning(index, NAME, item.to_owned(), deltas)?;
    }
    Ok(())
}

/// Opens a call. Its fragments follow. Other items are read only once they are complete.
fn open_item(index: u64, item: &str, reply: &mut ReplyBuilder) -> Result<(), Error> {
    if reply_json::object_type(item)? == "function_call" {
        let CallItem { call_id, name, arguments } = reply_json::parse(item)?;
        reply.call_fragment(index, &call_id, &name, &arguments.unwrap_or_default())?;
    }
    Ok(())
}

/// The error of an `error` event: in a member of its own, or in the event itself.
fn error(json: &str, reply: &ReplyBuilder) -> Error {
    let event = reply_json::error_value(json);
    upstream_error::from_reply(event.get("error").filter(|error| error.is_object()).unwrap_or(&event), reply.profile())
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
