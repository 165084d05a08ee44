//! The events of a Responses stream. Each has its `type` as the event name, and a sequence number
//! without gaps.

use serde::Serialize;

use super::resource::{OutputItem, PartBody, ResponseBody};
use crate::proto::{api::openai_error::OpenAiError, sse};

/// Writes the events of one stream.
#[derive(Default)]
pub(super) struct EventWriter {
    /// The sequence number of the next event.
    sequence: u64,
}

impl EventWriter {
    /// Writes the state of the response.
    pub(super) fn write_response(&mut self, name: &'static str, response: &ResponseBody<'_>, out: &mut Vec<u8>) {
        self.write(name, &ResponseEvent { response }, out);
    }

    /// Writes an error, both as the specification and as the SDKs expect it.
    pub(super) fn write_error(&mut self, error: &OpenAiError<'_>, out: &mut Vec<u8>) {
        let OpenAiError { code, message, param, .. } = error;
        self.write("error", &ErrorEvent { code, message, param: param.as_deref(), error }, out);
    }

    /// Ends the stream.
    pub(super) fn write_end(&mut self, out: &mut Vec<u8>) {
        sse::write_event(out, None, "[DONE]");
    }

    /// Writes all events of an item. `at` is its position in the output.
    pub(super) fn write_item(&mut self, at: usize, item: &OutputItem, out: &mut Vec<u8>) {
        match item {
            OutputItem::Call { id, arguments, .. } => {
                self.write_item_event(ITEM_ADDED, at, &item.announced(), out);
                self.write_arguments(at, id, arguments, out);
                self.write_item_event(ITEM_DONE, at, item, out);
            }
            OutputItem::CustomCall { id, input, .. } => {
                self.write_item_event(ITEM_ADDED, at, &item.announced(), out);
                self.write_input(at, id, input, out);
                self.write_item_event(ITEM_DONE, at, item, out);
            }
            OutputItem::Message { content, .. } => {
                self.start_message(at, item, out);
                content.iter().for_each(|part| self.write_text(at, item.id(), part.text(), out));
                self.end_message(at, item, out);
            }
            OutputItem::Reasoning { id, summary, content, .. } => {
                self.write_item_event(ITEM_ADDED, at, &item.announced(), out);
                for parts in [summary, content] {
                    for (index, part) in parts.iter().enumerate() {
                        let position = OutputPosition { id, at, index };
                        self.start_part(position, part, out);
                        self.write_delta(position, part, part.text(), out);
                        self.end_part(position, part, out);
                    }
                }
                self.write_item_event(ITEM_DONE, at, item, out);
            }
        }
    }

    fn write_arguments(&mut self, at: usize, id: &str, arguments: &str, out: &mut Vec<u8>) {
        let fragment = Fragment { item_id: id, output_index: at, ..Fragment::default() };
        if !arguments.is_empty() {
            let fragment = Fragment { delta: Some(arguments), ..fragment };
            self.write("response.function_call_arguments.delta", &fragment, out);
        }
        let fragment = Fragment { arguments: Some(arguments), ..fragment };
        self.write("response.function_call_arguments.done", &fragment, out);
    }

    fn write_input(&mut self, at: usize, id: &str, input: &str, out: &mut Vec<u8>) {
        let fragment = Fragment { item_id: id, output_index: at, ..Fragment::default() };
        if !input.is_empty() {
            self.write("response.custom_tool_call_input.delta", &Fragment { delta: Some(input), ..fragment }, out);
        }
        self.write("response.custom_tool_call_input.done", &Fragment { input: Some(input), ..fragment }, out);
    }

    /// Writes the first events of a message.
    pub(super) fn start_message(&mut self, at: usize, item: &OutputItem, out: &mut Vec<u8>) {
        self.write_item_event(ITEM_ADDED, at, &item.announced(), out);
        self.start_part(OutputPosition { id: item.id(), at, index: 0 }, &PartBody::output(""), out);
    }

    /// Writes a piece of the text of the message `id`.
    pub(super) fn write_text(&mut self, at: usize, id: &str, text: &str, out: &mut Vec<u8>) {
        self.write_delta(OutputPosition { id, at, index: 0 }, &PartBody::output(""), text, out);
    }

    /// Writes the last events of a message, which has one part.
    pub(super) fn end_message(&mut self, at: usize, item: &OutputItem, out: &mut Vec<u8>) {
        if let OutputItem::Message { id, content, .. } = item {
            content.iter().for_each(|part| self.end_part(OutputPosition { id, at, index: 0 }, part, out));
        }
        self.write_item_event(ITEM_DONE, at, item, out);
    }

    fn start_part(&mut self, position: OutputPosition<'_>, part: &PartBody, out: &mut Vec<u8>) {
        let fragment = Fragment { part: Some(&part.announced()), ..position.fragment(part) };
        self.write(EventNames::of(part).part_added, &fragment, out);
    }

    fn write_delta(&mut self, position: OutputPosition<'_>, part: &PartBody, text: &str, out: &mut Vec<u8>) {
        if !text.is_empty() {
            let fragment = Fragment { delta: Some(text), logprobs: logprobs(part), ..position.fragment(part) };
            self.write(EventNames::of(part).delta, &fragment, out);
        }
    }

    fn end_part(&mut self, position: OutputPosition<'_>, part: &PartBody, out: &mut Vec<u8>) {
        let fragment = Fragment { text: Some(part.text()), logprobs: logprobs(part), ..position.fragment(part) };
        self.write(EventNames::of(part).done, &fragment, out);
        let fragment = Fragment { part: Some(part), ..position.fragment(part) };
        self.write(EventNames::of(part).part_done, &fragment, out);
    }

    fn write_item_event(&mut self, name: &'static str, at: usize, item: &OutputItem, out: &mut Vec<u8>) {
        self.write(name, &ItemEvent { output_index: at, item }, out);
    }

    fn write(&mut self, name: &'static str, body: &impl Serialize, out: &mut Vec<u8>) {
        let event = Event { r#type: name, sequence_number: self.sequence, body };
        self.sequence = self.sequence.saturating_add(1);
        sse::write_event(out, Some(name), &serde_json::to_string(&event).unwrap_or_default());
    }
}

const ITEM_ADDED: &str = "response.output_item.added";
const ITEM_DONE: &str = "response.output_item.done";

/// The position of a part in the output.
#[derive(Clone, Copy)]
struct OutputPosition<'a> {
    /// The id of the item.
    id: &'a str,
    /// The position of the item in the output.
    at: usize,
    /// The position of the part in its list.
    index: usize,
}

impl<'a> OutputPosition<'a> {
    fn fragment(self, part: &PartBody) -> Fragment<'a> {
        let Self { id, at, index } = self;
        let fragment = Fragment { item_id: id, output_index: at, ..Fragment::default() };
        match part {
            PartBody::Summary { .. } => Fragment { summary_index: Some(index), ..fragment },
            PartBody::Output { .. } | PartBody::Reasoning { .. } => Fragment { content_index: Some(index), ..fragment },
        }
    }
}

/// The names of the events about one kind of part.
struct EventNames {
    part_added: &'static str,
    delta: &'static str,
    done: &'static str,
    part_done: &'static str,
}

impl EventNames {
    fn of(part: &PartBody) -> Self {
        let (part_added, part_done) = match part {
            PartBody::Summary { .. } => {
                ("response.reasoning_summary_part.added", "response.reasoning_summary_part.done")
            }
            PartBody::Output { .. } | PartBody::Reasoning { .. } => {
                ("response.content_part.added", "response.content_part.done")
            }
        };
        let (delta, done) = match part {
            PartBody::Output { .. } => ("response.output_text.delta", "response.output_text.done"),
            PartBody::Reasoning { .. } => ("response.reasoning.delta", "response.reasoning.done"),
            PartBody::Summary { .. } => {
                ("response.reasoning_summary_text.delta", "response.reasoning_summary_text.done")
            }
        };
        Self { part_added, delta, done, part_done }
    }
}

/// The log probabilities of output text, always empty. SDKs require the member.
fn logprobs(part: &PartBody) -> Option<[(); 0]> {
    matches!(part, PartBody::Output { .. }).then_some([])
}

#[derive(Serialize)]
struct Event<'a, T> {
    r#type: &'static str,
    sequence_number: u64,
    #[serde(flatten)]
    body: &'a T,
}

/// The state of the response.
#[derive(Serialize)]
struct ResponseEvent<'a> {
    response: &'a ResponseBody<'a>,
}

/// An item that starts, or that is complete.
#[derive(Serialize)]
struct ItemEvent<'a> {
    output_index: usize,
    item: &'a OutputItem,
}

/// A fragment of an item. The event decides which members are present.
#[derive(Clone, Copy, Default, Serialize)]
struct Fragment<'a> {
    item_id: &'a str,
    output_index: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_index: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    summary_index: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    part: Option<&'a PartBody>,
    #[serde(skip_serializing_if = "Option::is_none")]
    delta: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    arguments: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    input: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    logprobs: Option<[(); 0]>,
}

/// An error. `code`, `message` and `param` follow the specification; `error` is for the SDKs.
#[derive(Serialize)]
struct ErrorEvent<'a> {
    code: &'a str,
    message: &'a str,
    param: Option<&'a str>,
    error: &'a OpenAiError<'a>,
}
