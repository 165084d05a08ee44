//! The wire format of the built-in model, and its unit: the word.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::proto::{
    chat::{Item, Output, Part},
    provider::call::ModelCall,
    turn::ToolChoice,
};

/// The name of the event with a piece of text.
pub(super) const TEXT_EVENT: &str = "text";
/// The name of the event with a tool call.
pub(super) const CALL_EVENT: &str = "call";
/// The name of the event that ends a stream.
pub(super) const END_EVENT: &str = "end";

/// A request.
#[derive(Serialize, Deserialize)]
pub(super) struct Body<'a> {
    pub(super) model: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) system: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) tools: Vec<ToolName<'a>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) tool_choice: Option<Choice<'a>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) max_output_tokens: Option<u32>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) one_call: bool,
    #[serde(default, skip_serializing_if = "<[_]>::is_empty")]
    pub(super) stop: Cow<'a, [String]>,
    pub(super) stream: bool,
    /// Last, so that the bytes of a request are the beginning of the next request.
    pub(super) items: Cow<'a, [Item]>,
}

impl<'a> Body<'a> {
    pub(super) fn new(call: &ModelCall<'a>) -> Self {
        let options = call.options;
        Self {
            model: Cow::Borrowed(call.model),
            system: call.system.map(Cow::Borrowed),
            tools: options.tools.iter().map(|tool| ToolName { name: Cow::Borrowed(&tool.name) }).collect(),
            tool_choice: options.tool_choice.as_ref().map(Choice::from),
            max_output_tokens: options.max_output_tokens,
            one_call: options.parallel_calls == Some(false),
            stop: Cow::Borrowed(&options.stop),
            stream: call.stream,
            items: Cow::Borrowed(call.items),
        }
    }
}

#[derive(Serialize, Deserialize)]
pub(super) struct ToolName<'a> {
    pub(super) name: Cow<'a, str>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Choice<'a> {
    Auto,
    None,
    Required,
    Tool(Cow<'a, str>),
}

impl<'a> From<&'a ToolChoice> for Choice<'a> {
    fn from(choice: &'a ToolChoice) -> Self {
        match choice {
            ToolChoice::Auto => Self::Auto,
            ToolChoice::None => Self::None,
            ToolChoice::Required => Self::Required,
            ToolChoice::Tool(name) => Self::Tool(Cow::Borrowed(name)),
        }
    }
}

/// A complete answer, in the form of a reply that is not streamed.
#[derive(Serialize, Deserialize)]
pub(super) struct Answer {
    pub(super) text: String,
    pub(super) calls: Vec<Call>,
    pub(super) finish_reason: Reason,
    pub(super) usage: Counts,
}

#[derive(Serialize, Deserialize)]
pub(super) struct TextEvent<'a> {
    pub(super) text: Cow<'a, str>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct Call {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) args: String,
}

#[derive(Serialize, Deserialize)]
pub(super) struct EndEvent {
    pub(super) finish_reason: Reason,
    pub(super) usage: Counts,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Reason {
    Length,
    Stop,
    ToolCalls,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
pub(super) struct Counts {
    pub(super) input_tokens: u64,
    pub(super) output_tokens: u64,
}

/// The number of words in the system prompt and the items. An image counts as one word.
pub(super) fn input_words(system: Option<&str>, items: &[Item]) -> u64 {
    items.iter().map(item_words).fold(system.map_or(0, word_count), u64::saturating_add)
}

/// The number of words in a text.
pub(super) fn word_count(text: &str) -> u64 {
    text.split_whitespace().fold(0, |count, _| count.saturating_add(1))
}

fn item_words(item: &Item) -> u64 {
    match item {
        Item::Call { args, .. } => word_count(args),
        Item::Message { parts, .. } => parts.iter().map(part_words).fold(0, u64::saturating_add),
        Item::Result { out: Output::Parts(parts), .. } => parts.iter().map(part_words).fold(0, u64::saturating_add),
        Item::Result { out: Output::Text(text), .. } => word_count(text),
        Item::Think { .. } => 0,
    }
}

fn part_words(part: &Part) -> u64 {
    match part {
        Part::Image(_) => 1,
        Part::Text(text) => word_count(text),
    }
}
