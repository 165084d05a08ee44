//! Replies of OpenAI Responses: items that are added, grow and are done.
//!
//! Compatible services deviate from the format. The reader accepts a reply that has one plain
//! meaning, and names the deviation as a [`Repair`].

use std::collections::BTreeSet;

use crate::proto::{
    error::Error,
    provider::{
        end::End,
        openai_responses::{
            places::Places,
            wire::{CallItem, EndEvent, ItemEvent, MessageItem, MessagePart, ReasoningItem, Response},
        },
        profile::{CallIds, Profile},
        reply::ReplyParser,
        reply_builder::ReplyBuilder,
        reply_json, upstream_error,
    },
    sse,
    turn::{Delta, FinishReason, Repair},
};

/// The name of the provider.
pub(super) const NAME: &str = "openai-responses";

/// Parses a reply.
#[derive(Default)]
pub(super) struct Parser {
    places: Places,
    /// True if the open message came in pieces.
    in_pieces: bool,
    /// True if the open part of a message came in pieces.
    part_in_pieces: bool,
    /// True if the reply has reasoning.
    has_reasoning: bool,
    /// True if the reply has a message.
    has_message: bool,
    /// The ids of the calls so far.
    calls: BTreeSet<String>,
    /// The numbers of the calls whose arguments came in pieces.
    with_pieces: BTreeSet<u64>,
}

impl ReplyParser for Parser {
    const KEEPS_STATE_AS: Option<&'static str> = Some(NAME);
    const CALL_IDS: Option<CallIds> = Some(CallIds::OF_OTHER_FORMATS);

    fn event(&mut self, event: &sse::Event, reply: &mut ReplyBuilder, deltas: &mut Vec<Delta>) -> Result<(), Error> {
        let data = event.data.as_str();
        if data.trim() == "[DONE]" {
            return Err(Error::UpstreamCut);
        }
        if event.name == "error" {
            return Err(error(data, reply));
        }
        let (event_type, is_name) = reply_json::event_type(event)?;
        if is_name {
            reply.repair(Repair::EventShape);
        }
        match &*event_type {
            "error" => Err(error(data, reply)),
            kind @ ("response.completed" | "response.failed" | "response.incomplete") => {
                let mut response = reply_json::parse::<EndEvent<'_>>(data)?.response.unwrap_or_default();
                let kind = kind.strip_prefix("response.").unwrap_or_default();
                let is_worse = |status: &String| badness(status, reply.profile()) > badness(kind, reply.profile());
                response.status = response.status.filter(is_worse).or_else(|| Some(kind.to_owned()));
                self.add_late_output(&mut response, reply, deltas)?;
                end(response, reply, deltas)?;
                reply.complete(deltas)
            }
            "response.function_call_arguments.delta" => {
                let event: ItemEvent<'_> = reply_json::parse(data)?;
                let index = self.places.of_part(&event, reply);
                let piece = event.delta.unwrap_or_default();
                self.add_arguments(index, &piece, reply)
            }
            "response.function_call_arguments.done" => {
                let event: ItemEvent<'_> = reply_json::parse(data)?;
                let index = self.places.of_part(&event, reply);
                let arguments = event.arguments.filter(|_| !self.with_pieces.contains(&index));
                let Some(arguments) = arguments else { return Ok(()) };
                self.add_arguments(index, &reply_json::arguments(arguments).0, reply)
            }
            "response.output_item.added" => {
                let event: ItemEvent<'_> = reply_json::parse(data)?;
                let index = self.places.of_added(&event, reply)?;
                event.item.map_or(Ok(()), |item| self.open_item(index, item.get(), reply))
            }
            "response.output_item.done" => {
                let event: ItemEvent<'_> = reply_json::parse(data)?;
                let index = self.places.of_done(&event, reply);
                event.item.map_or(Ok(()), |item| self.add_item(index, item.get(), reply, deltas))
            }
            kind @ ("response.output_text.delta" | "response.refusal.delta") => {
                let delta = reply_json::parse::<ItemEvent<'_>>(data)?.delta.unwrap_or_default();
                (self.in_pieces, self.part_in_pieces, self.has_message) = (true, true, true);
                if kind == "response.refusal.delta" {
                    reply.refusal(delta, deltas)
                } else {
                    reply.text(delta, deltas)
                }
                Ok(())
            }
            "response.output_text.done" | "response.refusal.done" => {
                let ItemEvent { text, refusal, .. } = reply_json::parse(data)?;
                self.end_part(text.unwrap_or_default(), refusal.unwrap_or_default(), reply, deltas);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn body(&mut self, body: &str, reply: &mut ReplyBuilder, deltas: &mut Vec<Delta>) -> Result<(), Error> {
        let mut response: Response<'_> = reply_json::parse(body)?;
        let output = response.output.take();
        if response.error.is_none() && output.is_none() && response.output_text.is_none() {
            return Err(Error::malformed("the response has no output"));
        }
        for (index, item) in (0..).zip(output.unwrap_or_default().0) {
            self.add_item(index, item.get(), reply, deltas)?;
        }
        self.add_output_text(&response, reply, deltas);
        end(response, reply, deltas)
    }
}

impl Parser {
    /// Opens a call. Its fragments follow. Other items are read only once they are complete.
    fn open_item(&mut self, index: u64, item: &str, reply: &mut ReplyBuilder) -> Result<(), Error> {
        if reply_json::object_type(item)? == "function_call" {
            let (call, args) = self.call(reply_json::parse(item)?, reply)?;
            reply.call_fragment(index, &call.id, &call.name, &args)?;
        }
        Ok(())
    }

    /// Adds a piece of a call's arguments.
    fn add_arguments(&mut self, index: u64, piece: &str, reply: &mut ReplyBuilder) -> Result<(), Error> {
        if piece.is_empty() || !reply.has_call(index) {
            return Ok(());
        }
        self.with_pieces.insert(index);
        reply.call_fragment(index, "", "", piece)
    }

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
                let mut call: CallItem<'_> = reply_json::parse(item)?;
                if call.call_id.as_ref().is_none_or(String::is_empty) {
                    reply.repair(Repair::CallId);
                    call.call_id = call.id.take();
                }
                let (call, args) = self.call(call, reply)?;
                reply.complete_call(index, &call.id, &call.name, &args)
            }
            "message" if std::mem::take(&mut self.in_pieces) => Ok(()),
            "message" => {
                self.has_message = true;
                add_message(item, reply, deltas)
            }
            "reasoning" => {
                self.has_reasoning = true;
                add_reasoning(index, item, reply, deltas)
            }
            _ => Ok(()),
        }
    }

    /// Ends a part of a message. Adds its text, if it did not come in pieces.
    fn end_part(&mut self, text: String, refusal: String, reply: &mut ReplyBuilder, deltas: &mut Vec<Delta>) {
        if std::mem::take(&mut self.part_in_pieces) || text.is_empty() && refusal.is_empty() {
            return;
        }
        (self.in_pieces, self.has_message) = (true, true);
        reply.repair(Repair::LateOutput);
        reply.text(text, deltas);
        reply.refusal(refusal, deltas);
    }

    /// Adds the text next to the output, if there is no message.
    fn add_output_text(&mut self, response: &Response<'_>, reply: &mut ReplyBuilder, deltas: &mut Vec<Delta>) {
        let text = response.output_text.and_then(reply_json::text).filter(|text| !text.is_empty());
        if let Some(text) = text.filter(|_| !self.has_message) {
            reply.repair(Repair::ContentShape);
            reply.text(text, deltas);
        }
    }

    /// Reads a call, and remembers its id.
    fn call(&mut self, item: CallItem<'_>, reply: &mut ReplyBuilder) -> Result<(CallName, String), Error> {
        let CallItem { call_id, name, arguments, .. } = item;
        let call = CallName { id: call_id.unwrap_or_default(), name: name.unwrap_or_default() };
        let (args, is_json) = arguments.map(reply_json::arguments).unwrap_or_default();
        if is_json {
            reply.repair(Repair::CallShape);
        }
        reply.count_bytes(call.id.len())?;
        self.calls.insert(call.id.clone());
        Ok((call, args.into_owned()))
    }

    /// Adds the output that only the last event has: kinds of items that the stream did not have,
    /// and calls with other ids. A call without an id in the stream can be any of them.
    fn add_late_output(
        &mut self,
        response: &mut Response<'_>,
        reply: &mut ReplyBuilder,
        deltas: &mut Vec<Delta>,
    ) -> Result<(), Error> {
        let (has_message, has_reasoning) = (self.has_message, self.has_reasoning);
        let calls = self.calls.clone();
        for item in response.output.take().unwrap_or_default().0 {
            let kind = reply_json::object_type(item.get()).unwrap_or_default();
            let is_late = match &*kind {
                "function_call" => {
                    let CallItem { id, call_id, .. } = reply_json::parse(item.get())?;
                    !calls.contains("") && !calls.contains(&call_id.or(id).unwrap_or_default())
                }
                "message" => !has_message,
                "reasoning" => !has_reasoning,
                _ => false,
            };
            if is_late {
                reply.repair(Repair::LateOutput);
                self.in_pieces = false;
                let index = self.places.next();
                self.add_item(index, item.get(), reply, deltas)?;
            }
        }
        self.add_output_text(response, reply, deltas);
        Ok(())
    }
}

/// The id and the name of a call.
struct CallName {
    id: String,
    name: String,
}

/// Adds the texts of a message: a list of parts, or a plain text.
fn add_message(item: &str, reply: &mut ReplyBuilder, deltas: &mut Vec<Delta>) -> Result<(), Error> {
    let Some(content) = reply_json::parse::<MessageItem<'_>>(item)?.content else { return Ok(()) };
    if let Some(text) = reply_json::text(content) {
        reply.repair(Repair::ContentShape);
        reply.text(text, deltas);
        return Ok(());
    }
    for part in MessagePart::list(content)? {
        reply.text(part.text.unwrap_or_default(), deltas);
        reply.refusal(part.refusal.unwrap_or_default(), deltas);
    }
    Ok(())
}

/// Adds reasoning that can be sent back.
fn add_reasoning(index: u64, item: &str, reply: &mut ReplyBuilder, deltas: &mut Vec<Delta>) -> Result<(), Error> {
    if reply_json::parse::<ReasoningItem<'_>>(item)?.is_kept() {
        reply.count_bytes(item.len())?;
        reply.reasoning(index, NAME, item.to_owned(), deltas)?;
    }
    Ok(())
}

/// Sets the end and the counts, or returns the error of a failed response.
fn end(response: Response<'_>, reply: &mut ReplyBuilder, deltas: &mut Vec<Delta>) -> Result<(), Error> {
    if let Some(counts) = response.usage {
        deltas.push(Delta::Usage(counts.into()));
    }
    if let Some(error) = response.error {
        return Err(upstream_error::from_reply(&error, reply.profile()));
    }
    let reason = response.incomplete_details.and_then(|details| details.reason).unwrap_or_default();
    let status = response.status.unwrap_or_default().to_ascii_lowercase();
    let end = match status.as_str() {
        "in_progress" | "queued" => return Err(Error::malformed("the response has not ended")),
        "incomplete" => match End::of(&reason, reply.profile()) {
            Some(End::Unknown(_)) | None => {
                reply.repair(Repair::EndReason);
                Some(End::Finished(FinishReason::Length))
            }
            end => end,
        },
        status => End::of(status, reply.profile()),
    };
    reply.set_end(end);
    Ok(())
}

/// How bad a status is. The kind of an event decides, unless the status next to it is worse.
fn badness(status: &str, profile: &Profile) -> u8 {
    if status.eq_ignore_ascii_case("incomplete") {
        return 1;
    }
    match End::of(status, profile) {
        Some(End::Finished(FinishReason::ContentFilter | FinishReason::Length)) => 1,
        Some(End::Cut | End::Failed(_) | End::Unusable(_)) => 2,
        Some(End::Finished(_) | End::Unknown(_)) | None => 0,
    }
}

/// The error of an `error` event: in a member of its own, in the event itself, or as plain text.
fn error(data: &str, reply: &ReplyBuilder) -> Error {
    upstream_error::from_event(data, reply.profile())
}
