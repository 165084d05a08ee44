//! Replies of OpenAI Chat Completions: chunks of a stream, or one completion.

use std::collections::BTreeSet;

use serde_json::value::RawValue;

use super::chunk::{Call, Choice, Chunk, Content, calls, optional_object, text};
use crate::proto::{
    chat::Members,
    error::Error,
    provider::{
        end::End, profile::Profile, reply::ReplyParser, reply_builder::ReplyBuilder, reply_json, upstream_error,
    },
    sse,
    turn::{Delta, FinishReason, Repair},
};

/// Parses a reply.
#[derive(Default)]
pub(super) struct Parser {
    said: TextSum,
}

impl ReplyParser for Parser {
    const KEEPS_STATE_AS: Option<&'static str> = Some("openai");

    fn event(&mut self, event: &sse::Event, reply: &mut ReplyBuilder, deltas: &mut Vec<Delta>) -> Result<(), Error> {
        if event.data.trim() == "[DONE]" {
            return reply.complete(deltas);
        }
        if event.name == "error" {
            return Err(upstream_error::from_event(&event.data, reply.profile()));
        }
        self.add_chunk(&reply_json::parse(&event.data)?, reply, deltas)
    }

    fn body(&mut self, body: &str, reply: &mut ReplyBuilder, deltas: &mut Vec<Delta>) -> Result<(), Error> {
        let chunk: Chunk<'_> = reply_json::parse(body)?;
        if chunk.choices.is_none() && chunk.error().is_none() {
            return Err(Error::malformed("the reply has no choices"));
        }
        self.add_chunk(&chunk, reply, deltas)
    }
}

impl Parser {
    fn add_chunk(&mut self, chunk: &Chunk<'_>, reply: &mut ReplyBuilder, deltas: &mut Vec<Delta>) -> Result<(), Error> {
        if let Some(error) = chunk.error() {
            return Err(upstream_error::from_reply(error, reply.profile()));
        }
        let choices = chunk.choices.as_ref().map(|choices| choices.0.as_slice()).unwrap_or_default();
        for (place, choice) in (0..).zip(choices) {
            match choice.index(place) {
                0 => self.add_choice(choice, reply, deltas)?,
                _ => reply.repair(Repair::Choices),
            }
        }
        deltas.extend(chunk.usage().map(Delta::Usage));
        Ok(())
    }

    fn add_choice(
        &mut self,
        choice: &Choice<'_>,
        reply: &mut ReplyBuilder,
        deltas: &mut Vec<Delta>,
    ) -> Result<(), Error> {
        let end = choice.finish_reason().and_then(|reason| End::of(&reason, reply.profile()));
        if let Some(delta) = choice.delta()? {
            self.add_message(&delta, end.is_some(), reply, deltas)?;
        } else if let Some(message) = choice.message()? {
            // Some services send the complete message after its pieces.
            if reply.has_said() {
                reply.repair(Repair::RepeatedText);
            } else {
                self.add_message(&message, false, reply, deltas)?;
            }
        } else if let Some(text) = choice.text() {
            reply.repair(Repair::ContentShape);
            reply.text(text, deltas);
        }
        if end == Some(End::Finished(FinishReason::Stop)) {
            let sequence = choice.stop_sequence().filter(|text| !is_end_word(text, reply.profile()));
            deltas.extend(sequence.map(Delta::StopSequence));
        }
        reply.set_end(end);
        Ok(())
    }

    /// Adds the members of a message or of a piece of one. `ends` is true for the last piece.
    fn add_message(
        &mut self,
        message: &Members<&RawValue>,
        ends: bool,
        reply: &mut ReplyBuilder,
        deltas: &mut Vec<Delta>,
    ) -> Result<(), Error> {
        let content = message.find("content").map(|raw| Content::read(raw)).transpose()?.unwrap_or_default();
        if content.in_pieces {
            reply.repair(Repair::ContentShape);
        }
        for piece in content.others {
            add_state_piece(piece, reply)?;
        }
        if ends && self.said.is_repeated_by(&content.text) {
            reply.repair(Repair::RepeatedText);
        } else {
            self.said.add(&content.text);
            reply.text(content.text, deltas);
        }
        let refusal = message.find("refusal").and_then(|raw| text(raw)).unwrap_or_default();
        reply.refusal(content.refusal, deltas);
        reply.refusal(refusal, deltas);
        for (name, value) in &message.0 {
            if name != "content" && reply.profile().keeps_message_member(name, true) {
                reply.message_member(name, value)?;
            }
        }
        add_calls(message, reply)
    }
}

/// Returns true for a word such as `end_turn`, which is no stop sequence. Callers choose words in
/// upper case as sequences, such as `END`.
fn is_end_word(text: &str, profile: &Profile) -> bool {
    !text.contains(char::is_uppercase) && matches!(End::of(text, profile), Some(End::Finished(_)))
}

/// Keeps a piece of the content that is not text.
fn add_state_piece(piece: &RawValue, reply: &mut ReplyBuilder) -> Result<(), Error> {
    if !reply.profile().keeps_message_member("content", true) {
        return Ok(());
    }
    match RawValue::from_string(format!("[{}]", piece.get())) {
        Ok(list) => reply.message_member("content", &list),
        Err(_) => Ok(()),
    }
}

fn add_calls(message: &Members<&RawValue>, reply: &mut ReplyBuilder) -> Result<(), Error> {
    let (entries, is_repaired) = message.find("tool_calls").map(|raw| calls(raw)).transpose()?.unwrap_or_default();
    if is_repaired {
        reply.repair(Repair::CallShape);
    }
    let mut seen = BTreeSet::new();
    for (place, entry) in (0..).zip(&entries) {
        let call = Call::read(entry)?;
        let index = call.index.unwrap_or(place);
        // Two entries of one list are two calls, even with the same index.
        let is_another = !seen.insert(index) && !call.name.is_empty();
        add_call(index, &call, is_another, reply)?;
    }
    // The older form, before there were several calls.
    let older = optional_object(message.find("function_call").copied(), "function_call")?;
    if let Some(function) = older.filter(|_| entries.is_empty()) {
        reply.repair(Repair::CallShape);
        add_call(0, &Call::of_function(&function), false, reply)?;
    }
    Ok(())
}

fn add_call(index: u64, call: &Call<'_>, is_another: bool, reply: &mut ReplyBuilder) -> Result<(), Error> {
    if call.is_repaired {
        reply.repair(Repair::CallShape);
    }
    if is_another {
        reply.another_call(index, &call.id, &call.name, &call.args)?;
    } else {
        reply.call_fragment(index, &call.id, &call.name, &call.args)?;
    }
    for (name, value) in &call.members.0 {
        if reply.profile().kept_call_members().contains(&name.as_str()) {
            reply.call_member(index, name, value)?;
        }
    }
    Ok(())
}

/// The length and a hash of the text so far, to find a last piece that repeats all of it.
#[derive(Default)]
struct TextSum {
    bytes: usize,
    hash: u64,
    pieces: usize,
}

impl TextSum {
    fn add(&mut self, text: &str) {
        if !text.is_empty() {
            self.bytes = self.bytes.saturating_add(text.len());
            self.hash = hash(self.hash, text);
            self.pieces = self.pieces.saturating_add(1);
        }
    }

    /// Returns true if `text` is the text of at least two pieces again. A shorter text may well be
    /// said twice.
    fn is_repeated_by(&self, text: &str) -> bool {
        self.pieces > 1 && self.bytes >= MIN_REPEATED_BYTES && self.bytes == text.len() && self.hash == hash(0, text)
    }
}

/// A polynomial hash, which can be continued.
fn hash(start: u64, text: &str) -> u64 {
    text.bytes()
        .fold(start, |hash, byte| hash.wrapping_mul(0x0100_0000_01b3).wrapping_add(u64::from(byte)).wrapping_add(1))
}

/// The shortest text whose repetition is recognized.
const MIN_REPEATED_BYTES: usize = 16;
