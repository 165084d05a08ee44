//! The events of a Responses stream: each named by its `type`, and numbered without a gap.

use serde::Serialize;

use super::resource::{OutputItem, PartBody, ResponseBody};
use crate::proto::{api::openai_error::OpenAiError, sse};

/// Writes the events of one stream.
#[derive(Default)]
pub(super) struct Events {
    /// The number of the next event.
    sequence: u64,
}

impl Events {
    /// Tells where the response stands.
    pub(super) fn response(&mut self, name: &'static str, response: &ResponseBody<'_>, out: &mut Vec<u8>) {
        self.event(name, &ResponseEvent { response }, out);
    }

    /// Tells of an error, in the words of the specification and in those of the SDKs.
    pub(super) fn error(&mut self, error: &OpenAiError<'_>, out: &mut Vec<u8>) {
        let OpenAiError { code, message, param, .. } = error;
        self.event("error", &ErrorEvent { code, message, param: param.as_deref(), error }, out);
    }

    /// Says that no event follows.
    pub(super) fn end(&mut self, out: &mut Vec<u8>) {
        sse::write_event(out, None, "[DONE]");
    }

    /// Writes an item from beginning to end; `at` is its place in the output.
    pub(super) fn item(&mut self, at: usize, item: &OutputItem, out: &mut Vec<u8>) {
        match item {
            OutputItem::Call { id, arguments, .. } => {
                self.item_event(ITEM_ADDED, at, &item.announced(), out);
                let piece = Piece { item_id: id, output_index: at, ..Piece::default() };
                if !arguments.is_empty() {
                    let piece = Piece { delta: Some(arguments), ..piece };
                    self.event("response.function_call_arguments.delta", &piece, out);
                }
                let piece = Piece { arguments: Some(arguments), ..piece };
                self.event("response.function_call_arguments.done", &piece, out);
                self.item_event(ITEM_DONE, at, item, out);
            }
            OutputItem::Message { content, .. } => {
                self.begin_message(at, item, out);
                content.iter().for_each(|part| self.text(at, item.id(), part.text(), out));
                self.end_message(at, item, out);
            }
            OutputItem::Reasoning { id, summary, content, .. } => {
                self.item_event(ITEM_ADDED, at, &item.announced(), out);
                for parts in [summary, content] {
                    for (index, part) in parts.iter().enumerate() {
                        let place = OutputPosition { id, at, index };
                        self.begin_part(place, part, out);
                        self.piece(place, part, part.text(), out);
                        self.end_part(place, part, out);
                    }
                }
                self.item_event(ITEM_DONE, at, item, out);
            }
        }
    }

    /// Begins a message.
    pub(super) fn begin_message(&mut self, at: usize, item: &OutputItem, out: &mut Vec<u8>) {
        self.item_event(ITEM_ADDED, at, &item.announced(), out);
        self.begin_part(OutputPosition { id: item.id(), at, index: 0 }, &PartBody::output(""), out);
    }

    /// Goes on with a message, by its id.
    pub(super) fn text(&mut self, at: usize, id: &str, text: &str, out: &mut Vec<u8>) {
        self.piece(OutputPosition { id, at, index: 0 }, &PartBody::output(""), text, out);
    }

    /// Ends a message, which is of one part.
    pub(super) fn end_message(&mut self, at: usize, item: &OutputItem, out: &mut Vec<u8>) {
        if let OutputItem::Message { id, content, .. } = item {
            content.iter().for_each(|part| self.end_part(OutputPosition { id, at, index: 0 }, part, out));
        }
        self.item_event(ITEM_DONE, at, item, out);
    }

    fn begin_part(&mut self, place: OutputPosition<'_>, part: &PartBody, out: &mut Vec<u8>) {
        let piece = Piece { part: Some(&part.announced()), ..place.piece(part) };
        self.event(Names::of(part).part_added, &piece, out);
    }

    fn piece(&mut self, place: OutputPosition<'_>, part: &PartBody, text: &str, out: &mut Vec<u8>) {
        if !text.is_empty() {
            let piece = Piece { delta: Some(text), logprobs: logprobs(part), ..place.piece(part) };
            self.event(Names::of(part).delta, &piece, out);
        }
    }

    fn end_part(&mut self, place: OutputPosition<'_>, part: &PartBody, out: &mut Vec<u8>) {
        let piece = Piece { text: Some(part.text()), logprobs: logprobs(part), ..place.piece(part) };
        self.event(Names::of(part).done, &piece, out);
        let piece = Piece { part: Some(part), ..place.piece(part) };
        self.event(Names::of(part).part_done, &piece, out);
    }

    fn item_event(&mut self, name: &'static str, at: usize, item: &OutputItem, out: &mut Vec<u8>) {
        self.event(name, &ItemEvent { output_index: at, item }, out);
    }

    fn event(&mut self, name: &'static str, body: &impl Serialize, out: &mut Vec<u8>) {
        let event = Event { r#type: name, sequence_number: self.sequence, body };
        self.sequence = self.sequence.saturating_add(1);
        sse::write_event(out, Some(name), &serde_json::to_string(&event).unwrap_or_default());
    }
}

const ITEM_ADDED: &str = "response.output_item.added";
const ITEM_DONE: &str = "response.output_item.done";

/// Where a part stands.
#[derive(Clone, Copy)]
struct OutputPosition<'a> {
    id: &'a str,
    /// The item's place in the output.
    at: usize,
    /// The part's place among its kind.
    index: usize,
}

impl<'a> OutputPosition<'a> {
    fn piece(self, part: &PartBody) -> Piece<'a> {
        let Self { id, at, index } = self;
        let piece = Piece { item_id: id, output_index: at, ..Piece::default() };
        match part {
            PartBody::Summary { .. } => Piece { summary_index: Some(index), ..piece },
            PartBody::Output { .. } | PartBody::Reasoning { .. } => Piece { content_index: Some(index), ..piece },
        }
    }
}

/// What the events about a kind of part are called.
struct Names {
    part_added: &'static str,
    delta: &'static str,
    done: &'static str,
    part_done: &'static str,
}

impl Names {
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

/// There are none, and the SDKs want to be told so where there could be.
fn logprobs(part: &PartBody) -> Option<[(); 0]> {
    matches!(part, PartBody::Output { .. }).then_some([])
}

#[derive(Serialize)]
pub(super) struct Event<'a, T> {
    r#type: &'static str,
    sequence_number: u64,
    #[serde(flatten)]
    body: &'a T,
}

/// Where the response stands.
#[derive(Serialize)]
pub(super) struct ResponseEvent<'a> {
    response: &'a ResponseBody<'a>,
}

/// An item that begins, or has ended.
#[derive(Serialize)]
pub(super) struct ItemEvent<'a> {
    output_index: usize,
    item: &'a OutputItem,
}

/// A piece of an item.
#[derive(Clone, Copy, Default, Serialize)]
pub(super) struct Piece<'a> {
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
    logprobs: Option<[(); 0]>,
}

/// What went wrong, in the words of the specification and in those of the SDKs.
#[derive(Serialize)]
pub(super) struct ErrorEvent<'a> {
    code: &'a str,
    message: &'a str,
    param: Option<&'a str>,
    error: &'a OpenAiError<'a>,
}
