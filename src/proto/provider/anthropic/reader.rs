//! Replies of Anthropic Messages: blocks that start, grow and stop.
//!
//! Compatible services deviate from the format. The reader accepts a reply that has one plain
//! meaning, and names the deviation as a [`Repair`].

use std::borrow::Cow;

use serde_json::value::RawValue;

use crate::proto::{
    error::Error,
    provider::{
        anthropic::wire::{
            BlockEvent, CompleteMessage, Counts, InputDelta, MessageDelta, MessageEnd, MessageStart, Shape,
            SignatureDelta, TextBlock, ThinkingBlock, ThinkingDelta, ThinkingStart, ToolUseBlock,
        },
        end::End,
        profile::CallIds,
        reply::ReplyParser,
        reply_builder::ReplyBuilder,
        reply_json, upstream_error,
    },
    sse,
    turn::{Delta, Repair},
};

/// The name of the provider.
pub(super) const NAME: &str = "anthropic";

/// Parses a reply. It keeps the counts, because each event has only some of them, and the open
/// block.
#[derive(Default)]
pub(super) struct Parser {
    counts: Counts,
    /// The number of the last block.
    last_index: Option<u64>,
    thinking: Option<OpenThinking>,
    /// A call that started with arguments. Its fragments, if there are any, replace them.
    started_call: Option<StartedCall>,
}

struct OpenThinking {
    index: u64,
    block: ThinkingBlock,
}

struct StartedCall {
    index: u64,
    id: String,
    name: String,
}

impl ReplyParser for Parser {
    const KEEPS_STATE_AS: Option<&'static str> = Some(NAME);
    const CALL_IDS: Option<CallIds> = Some(CallIds::OF_OTHER_FORMATS);

    fn event(&mut self, event: &sse::Event, reply: &mut ReplyBuilder, deltas: &mut Vec<Delta>) -> Result<(), Error> {
        let data = event.data.as_str();
        if data.trim() == "[DONE]" {
            reply.repair(Repair::EndMarker);
            return reply.complete(deltas);
        }
        if event.name == "error" {
            return Err(error(data, reply));
        }
        let (event_type, is_name) = reply_json::event_type(event)?;
        if is_name {
            reply.repair(Repair::EventShape);
        }
        match &*event_type {
            "content_block_delta" => {
                let BlockEvent { index, delta, .. } = reply_json::parse(data)?;
                let index = self.index(index, reply);
                delta.map_or(Ok(()), |delta| self.add_delta(index, delta.get(), reply, deltas))
            }
            "content_block_start" => {
                let BlockEvent { index, content_block, .. } = reply_json::parse(data)?;
                let next = self.last_index.map_or(0, |last| last.saturating_add(1));
                let index = index.unwrap_or_else(|| Self::repaired(next, reply));
                self.last_index = Some(index);
                // Some services leave out the event that ends a block.
                self.close_block(None, reply, deltas)?;
                content_block.map_or(Ok(()), |block| self.open_block(index, block.get(), reply, deltas))
            }
            "content_block_stop" => {
                let BlockEvent { index, .. } = reply_json::parse(data)?;
                let index = self.index(index, reply);
                self.close_block(Some(index), reply, deltas)
            }
            "error" => Err(error(data, reply)),
            "message_delta" => {
                let MessageDelta { delta, stop_reason, stop_sequence, usage } = reply_json::parse(data)?;
                end(MessageEnd { stop_reason, stop_sequence }, reply, deltas);
                end(delta.unwrap_or_default(), reply, deltas);
                self.count(usage, deltas);
                Ok(())
            }
            "message_start" => {
                let MessageStart { message } = reply_json::parse(data)?;
                self.count(message.and_then(|message| message.usage), deltas);
                Ok(())
            }
            "message_stop" => reply.complete(deltas),
            _ => Ok(()),
        }
    }

    fn body(&mut self, body: &str, reply: &mut ReplyBuilder, deltas: &mut Vec<Delta>) -> Result<(), Error> {
        let message: CompleteMessage<'_> = reply_json::parse(body)?;
        if message.message_type.as_deref() == Some("error") || message.error.is_some() {
            return Err(error(body, reply));
        }
        if message.content.is_none() && message.stop_reason.is_none() {
            return Err(Error::malformed("the reply has no content"));
        }
        if message.message_type.is_none() {
            reply.repair(Repair::EventShape);
        }
        match message.content {
            Some(content) => self.add_content(content, reply, deltas)?,
            None => reply.repair(Repair::ContentShape),
        }
        let CompleteMessage { stop_reason, stop_sequence, usage, .. } = message;
        end(MessageEnd { stop_reason, stop_sequence }, reply, deltas);
        self.count(usage, deltas);
        Ok(())
    }
}

impl Parser {
    /// The number of the block that an event belongs to: the last one, if it has none.
    fn index(&self, index: Option<u64>, reply: &mut ReplyBuilder) -> u64 {
        index.unwrap_or_else(|| Self::repaired(self.last_index.unwrap_or_default(), reply))
    }

    fn repaired(index: u64, reply: &mut ReplyBuilder) -> u64 {
        reply.repair(Repair::EventShape);
        index
    }

    /// Adds complete content: a text, or a list of blocks. A text in the list is a block of text.
    fn add_content(
        &mut self,
        content: &RawValue,
        reply: &mut ReplyBuilder,
        deltas: &mut Vec<Delta>,
    ) -> Result<(), Error> {
        if let Some(text) = reply_json::text(content) {
            reply.repair(Repair::ContentShape);
            reply.text(text, deltas);
            return Ok(());
        }
        for (index, block) in (0..).zip(CompleteMessage::blocks(content)?) {
            let text = reply_json::text(block);
            if text.is_some() || block.get() == "null" {
                reply.repair(Repair::ContentShape);
                reply.text(text.unwrap_or_default(), deltas);
            } else {
                self.open_block(index, block.get(), reply, deltas)?;
                self.close_block(Some(index), reply, deltas)?;
            }
        }
        Ok(())
    }

    /// Replaces the counts that an event brings.
    fn count(&mut self, counts: Option<Counts>, deltas: &mut Vec<Delta>) {
        if let Some(counts) = counts {
            self.counts.replace(counts);
            deltas.push(Delta::Usage(self.counts.usage()));
        }
    }

    /// Takes the start of a block. A block that is not streamed starts with all its content.
    fn open_block(
        &mut self,
        index: u64,
        block: &str,
        reply: &mut ReplyBuilder,
        deltas: &mut Vec<Delta>,
    ) -> Result<(), Error> {
        match &*shape_type(block, reply)? {
            "redacted_thinking" => {
                reply.count_bytes(block.len())?;
                reply.reasoning(index, NAME, block.to_owned(), deltas)
            }
            "text" => {
                reply.text(reply_json::parse::<TextBlock>(block)?.text.unwrap_or_default(), deltas);
                Ok(())
            }
            "thinking" => {
                reply.count_bytes(block.len())?;
                let ThinkingStart { thinking, signature } = reply_json::parse(block)?;
                let block = ThinkingBlock { thinking: thinking.unwrap_or_default(), signature };
                self.thinking = Some(OpenThinking { index, block });
                Ok(())
            }
            "tool_use" => self.open_call(index, reply_json::parse(block)?, reply),
            _ => Ok(()),
        }
    }

    /// Opens a call. A streamed call starts with an empty object, which its fragments replace.
    fn open_call(&mut self, index: u64, block: ToolUseBlock<'_>, reply: &mut ReplyBuilder) -> Result<(), Error> {
        let ToolUseBlock { id, name, input } = block;
        let [id, name] = [id, name].map(Option::unwrap_or_default);
        let args = match input.map(|input| (reply_json::text(input), input.get())) {
            Some((Some(text), _)) => {
                reply.repair(Repair::CallShape);
                text
            }
            Some((None, json)) if json != "null" && !is_empty_object(json) => json.to_owned(),
            _ => String::new(),
        };
        reply.call_fragment(index, &id, &name, &args)?;
        self.started_call = Some(StartedCall { index, id, name }).filter(|_| !args.is_empty());
        Ok(())
    }

    fn add_delta(
        &mut self,
        index: u64,
        delta: &str,
        reply: &mut ReplyBuilder,
        deltas: &mut Vec<Delta>,
    ) -> Result<(), Error> {
        let delta_type = shape_type(delta, reply)?;
        let thinking = self.thinking.as_mut().filter(|open| open.index == index).map(|open| &mut open.block);
        match (&*delta_type, thinking) {
            ("input_json_delta", _) if reply.has_call(index) => {
                let piece = reply_json::parse::<InputDelta<'_>>(delta)?.partial_json.map(reply_json::arguments);
                let (piece, is_json) = piece.unwrap_or_default();
                if is_json {
                    reply.repair(Repair::CallShape);
                }
                self.add_arguments(index, &piece, reply)
            }
            ("signature_delta", Some(block)) => {
                let SignatureDelta { signature } = reply_json::parse(delta)?;
                reply.count_bytes(signature.len())?;
                block.signature = Some(signature);
                Ok(())
            }
            ("text_delta" | "text", _) => {
                reply.text(reply_json::parse::<TextBlock>(delta)?.text.unwrap_or_default(), deltas);
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

    fn add_arguments(&mut self, index: u64, piece: &str, reply: &mut ReplyBuilder) -> Result<(), Error> {
        if piece.is_empty() {
            return Ok(());
        }
        match self.started_call.take_if(|call| call.index == index) {
            Some(StartedCall { id, name, .. }) => {
                reply.repair(Repair::CallShape);
                reply.complete_call(index, &id, &name, piece)
            }
            None => reply.call_fragment(index, "", "", piece),
        }
    }

    /// Passes on the thinking block that ended, if its service takes it back: signed, or unsigned
    /// where that is the habit. `None` ends any block.
    fn close_block(
        &mut self,
        index: Option<u64>,
        reply: &mut ReplyBuilder,
        deltas: &mut Vec<Delta>,
    ) -> Result<(), Error> {
        let Some(OpenThinking { index, block }) =
            self.thinking.take_if(|open| index.is_none_or(|index| open.index == index))
        else {
            return Ok(());
        };
        if !block.is_signed() && !reply.profile().unsigned_thinking {
            return Ok(());
        }
        let blob =
            serde_json::to_string(&block).map_err(|error| Error::internal(format!("thinking is not JSON: {error}")))?;
        reply.reasoning(index, NAME, blob, deltas)
    }
}

/// The type of a block or of a piece of one. Without a type, a member `text` makes it a text.
fn shape_type<'a>(json: &'a str, reply: &mut ReplyBuilder) -> Result<Cow<'a, str>, Error> {
    let shape: Shape<'_> = reply_json::parse(json)?;
    match shape.shape_type {
        Some(shape_type) => Ok(shape_type),
        None if shape.text.is_some() => {
            reply.repair(Repair::EventShape);
            Ok(Cow::Borrowed("text"))
        }
        None => Err(Error::malformed("a block of the reply has no type and no text")),
    }
}

fn is_empty_object(json: &str) -> bool {
    json.chars().filter(|c| !c.is_ascii_whitespace()).eq("{}".chars())
}

/// Sets the end, and names the stop sequence that caused it.
fn end(end: MessageEnd, reply: &mut ReplyBuilder, deltas: &mut Vec<Delta>) {
    reply.set_end(end.stop_reason.as_deref().and_then(|word| End::of(word, reply.profile())));
    deltas.extend(end.stop_sequence.filter(|text| !text.is_empty()).map(Delta::StopSequence));
}

/// The error of an `error` event or body. The error is in a member, in the event itself, or plain
/// text.
fn error(data: &str, reply: &ReplyBuilder) -> Error {
    upstream_error::from_event(data, reply.profile())
}
