//! The JSON of replies of Anthropic Messages. Members that services leave out are optional.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::{Value, value::RawValue};

use crate::proto::{
    error::Error,
    json::List,
    provider::reply_json::{self, MAX_BLOCKS},
    turn::Usage,
};

/// An event about one block.
#[derive(Deserialize)]
pub(super) struct BlockEvent<'a> {
    pub(super) index: Option<u64>,
    #[serde(borrow)]
    pub(super) content_block: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) delta: Option<&'a RawValue>,
}

/// The end of a message. Some services put the reason next to `delta`.
#[derive(Deserialize)]
pub(super) struct MessageDelta {
    pub(super) delta: Option<MessageEnd>,
    pub(super) stop_reason: Option<String>,
    pub(super) stop_sequence: Option<String>,
    pub(super) usage: Option<Counts>,
}

#[derive(Default, Deserialize)]
pub(super) struct MessageEnd {
    pub(super) stop_reason: Option<String>,
    pub(super) stop_sequence: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct MessageStart {
    pub(super) message: Option<StartedMessage>,
}

#[derive(Deserialize)]
pub(super) struct StartedMessage {
    pub(super) usage: Option<Counts>,
}

#[derive(Deserialize)]
pub(super) struct CompleteMessage<'a> {
    #[serde(borrow, rename = "type")]
    pub(super) message_type: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(super) content: Option<&'a RawValue>,
    pub(super) stop_reason: Option<String>,
    pub(super) stop_sequence: Option<String>,
    pub(super) usage: Option<Counts>,
    #[serde(default, deserialize_with = "reply_json::error_member")]
    pub(super) error: Option<Value>,
}

impl CompleteMessage<'_> {
    /// The blocks of content that is a list.
    pub(super) fn blocks(content: &RawValue) -> Result<Vec<&RawValue>, Error> {
        let blocks: Result<List<&RawValue, MAX_BLOCKS>, _> = serde_json::from_str(content.get());
        blocks.map(|blocks| blocks.0).map_err(|_| Error::malformed("the content is not a list, or too long"))
    }
}

/// What tells the kind of a block or of a piece of one.
#[derive(Deserialize)]
pub(super) struct Shape<'a> {
    #[serde(borrow, rename = "type")]
    pub(super) shape_type: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(super) text: Option<&'a RawValue>,
}

#[derive(Deserialize)]
pub(super) struct TextBlock {
    pub(super) text: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct ThinkingStart {
    pub(super) thinking: Option<String>,
    pub(super) signature: Option<String>,
}

/// A thinking block as the service wants it back.
#[derive(Serialize)]
#[serde(tag = "type", rename = "thinking")]
pub(super) struct ThinkingBlock {
    pub(super) thinking: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) signature: Option<String>,
}

impl ThinkingBlock {
    pub(super) fn is_signed(&self) -> bool {
        self.signature.as_ref().is_some_and(|signature| !signature.is_empty())
    }
}

#[derive(Deserialize)]
pub(super) struct ThinkingDelta {
    pub(super) thinking: String,
}

#[derive(Deserialize)]
pub(super) struct SignatureDelta {
    pub(super) signature: String,
}

#[derive(Deserialize)]
pub(super) struct ToolUseBlock<'a> {
    pub(super) id: Option<String>,
    pub(super) name: Option<String>,
    #[serde(borrow)]
    pub(super) input: Option<&'a RawValue>,
}

#[derive(Deserialize)]
pub(super) struct InputDelta<'a> {
    #[serde(borrow)]
    pub(super) partial_json: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
pub(super) struct Counts {
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

impl Counts {
    /// Replaces the counts that `new` has.
    pub(super) fn replace(&mut self, new: Self) {
        let old = std::mem::take(self);
        *self = Self {
            input_tokens: new.input_tokens.or(old.input_tokens),
            cache_creation_input_tokens: new.cache_creation_input_tokens.or(old.cache_creation_input_tokens),
            cache_read_input_tokens: new.cache_read_input_tokens.or(old.cache_read_input_tokens),
            output_tokens: new.output_tokens.or(old.output_tokens),
            output_tokens_details: new.output_tokens_details.or(old.output_tokens_details),
        };
    }

    /// The counts in neutral terms. This format counts cached input separately; [`Usage`] includes
    /// it in the input.
    pub(super) fn usage(&self) -> Usage {
        let input = [self.input_tokens, self.cache_creation_input_tokens, self.cache_read_input_tokens];
        let reasoning = self.output_tokens_details.as_ref().and_then(|details| details.thinking_tokens);
        Usage {
            input_tokens: input.into_iter().flatten().fold(0, u64::saturating_add),
            output_tokens: self.output_tokens.unwrap_or_default(),
            cached_tokens: self.cache_read_input_tokens.unwrap_or_default(),
            cache_written_tokens: self.cache_creation_input_tokens.unwrap_or_default(),
            reasoning_tokens: reasoning.unwrap_or_default(),
            estimated: false,
        }
    }
}
