//! The JSON of replies of OpenAI Responses. Members that services leave out are optional.

use serde::Deserialize;
use serde_json::{Value, value::RawValue};

use crate::proto::{
    error::Error,
    json::List,
    provider::reply_json::{self, MAX_BLOCKS},
    turn::Usage,
};

/// The last event of a stream.
#[derive(Deserialize)]
pub(super) struct EndEvent<'a> {
    #[serde(borrow)]
    pub(super) response: Option<Response<'a>>,
}

/// A response, complete or at its end.
#[derive(Default, Deserialize)]
pub(super) struct Response<'a> {
    pub(super) status: Option<String>,
    #[serde(default, deserialize_with = "reply_json::error_member")]
    pub(super) error: Option<Value>,
    pub(super) incomplete_details: Option<IncompleteDetails>,
    #[serde(borrow)]
    pub(super) output: Option<List<&'a RawValue, { MAX_BLOCKS }>>,
    /// The text of the output, which SDKs make from it. Some services send it alone.
    #[serde(borrow)]
    pub(super) output_text: Option<&'a RawValue>,
    pub(super) usage: Option<Counts>,
}

#[derive(Deserialize)]
pub(super) struct IncompleteDetails {
    pub(super) reason: Option<String>,
}

/// An event about an item, or about a part of one.
#[derive(Deserialize)]
pub(super) struct ItemEvent<'a> {
    pub(super) output_index: Option<u64>,
    pub(super) item_id: Option<String>,
    #[serde(borrow)]
    pub(super) item: Option<&'a RawValue>,
    pub(super) delta: Option<String>,
    pub(super) text: Option<String>,
    pub(super) refusal: Option<String>,
    #[serde(borrow)]
    pub(super) arguments: Option<&'a RawValue>,
}

#[derive(Deserialize)]
pub(super) struct ItemId {
    pub(super) id: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct CallItem<'a> {
    pub(super) id: Option<String>,
    pub(super) call_id: Option<String>,
    pub(super) name: Option<String>,
    #[serde(borrow)]
    pub(super) arguments: Option<&'a RawValue>,
}

#[derive(Deserialize)]
pub(super) struct MessageItem<'a> {
    #[serde(borrow)]
    pub(super) content: Option<&'a RawValue>,
}

#[derive(Deserialize)]
pub(super) struct MessagePart {
    pub(super) text: Option<String>,
    pub(super) refusal: Option<String>,
}

impl MessagePart {
    /// The parts of a content that is a list.
    pub(super) fn list(content: &RawValue) -> Result<Vec<Self>, Error> {
        let parts: Result<List<Self, MAX_BLOCKS>, _> = serde_json::from_str(content.get());
        parts.map(|parts| parts.0).map_err(|_| Error::malformed("the content of a message is not a list, or too long"))
    }
}

#[derive(Deserialize)]
pub(super) struct ReasoningItem<'a> {
    #[serde(borrow)]
    content: Option<&'a RawValue>,
    encrypted_content: Option<String>,
    status: Option<String>,
}

impl ReasoningItem<'_> {
    /// Returns true for reasoning that can be sent back: it is complete, and is more than the name
    /// of a stored item.
    pub(super) fn is_kept(&self) -> bool {
        let is_complete = self.status.as_ref().is_none_or(|status| status.eq_ignore_ascii_case("completed"));
        let is_encrypted = self.encrypted_content.as_ref().is_some_and(|text| !text.is_empty());
        let is_plain = self.content.is_some_and(|content| {
            let content: String = content.get().chars().filter(|c| !c.is_ascii_whitespace()).collect();
            !matches!(content.as_str(), "null" | "[]" | "\"\"" | "{}")
        });
        is_complete && (is_encrypted || is_plain)
    }
}

#[derive(Deserialize)]
pub(super) struct Counts {
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

impl From<Counts> for Usage {
    fn from(counts: Counts) -> Self {
        let (input, output) = (counts.input_tokens_details, counts.output_tokens_details);
        Self {
            input_tokens: counts.input_tokens.unwrap_or_default(),
            output_tokens: counts.output_tokens.unwrap_or_default(),
            cached_tokens: input.as_ref().and_then(|input| input.cached_tokens).unwrap_or_default(),
            cache_written_tokens: input.and_then(|input| input.cache_write_tokens).unwrap_or_default(),
            reasoning_tokens: output.and_then(|output| output.reasoning_tokens).unwrap_or_default(),
            estimated: false,
        }
    }
}
