//! A reply that is a stream of server-sent events.

use std::mem;

use super::{ReplyParser, silence::Silence};
use crate::proto::{
    error::Error,
    provider::{
        half_pairs::{self, Half},
        reply_builder::ReplyBuilder,
        upstream_error,
    },
    sse,
    turn::{Delta, Repair},
};

/// Reads a stream of server-sent events.
pub(super) struct StreamReader<P> {
    decoder: sse::Decoder,
    parser: P,
    reply: ReplyBuilder,
    /// True after the first event. Comments do not count.
    started: bool,
    silence: Silence,
    /// The bytes that were read since the last event or comment.
    unjudged_bytes: usize,
    /// An event whose last text ends with half of a character. A later event may have the other.
    held: Option<Held>,
}

struct Held {
    event: sse::Event,
    half: Half,
    /// Events without text after it, at most [`MAX_SILENT`].
    silent: Vec<sse::Event>,
}

impl<P: ReplyParser> StreamReader<P> {
    pub(super) fn new(reply: ReplyBuilder, max_event_bytes: usize) -> Self {
        let decoder = sse::Decoder::new(max_event_bytes);
        Self {
            decoder,
            parser: P::default(),
            reply,
            started: false,
            silence: Silence::default(),
            unjudged_bytes: 0,
            held: None,
        }
    }

    pub(super) fn push(&mut self, bytes: &[u8], deltas: &mut Vec<Delta>) -> Result<(), Error> {
        self.reply.take_repairs(deltas);
        let mut input = bytes;
        while !self.reply.is_complete() {
            let before = input.len();
            let event = self.decoder.next_event(&mut input)?;
            self.unjudged_bytes = self.unjudged_bytes.saturating_add(before.saturating_sub(input.len()));
            // The start of an event is judged with its end.
            if event.is_none() && self.decoder.is_in_event() {
                break;
            }
            let read_bytes = mem::take(&mut self.unjudged_bytes);
            let Some(mut event) = event else {
                self.silence.add(read_bytes)?;
                break;
            };
            if self.decoder.has_replaced() {
                self.reply.repair(Repair::HalfCharacter);
            }
            if self.decoder.has_bare_line() {
                self.reply.repair(Repair::EventShape);
            }
            if event.data.trim().eq_ignore_ascii_case(END_MARKER) {
                END_MARKER.clone_into(&mut event.data);
            }
            if is_keep_alive(&event) {
                if event.name != "ping" || !event.data.starts_with('{') {
                    self.reply.repair(Repair::KeepAlive);
                    self.reply.take_repairs(deltas);
                }
                self.silence.add_keep_alive(read_bytes)?;
                continue;
            }
            self.started = true;
            let so_far = (deltas.len(), self.reply.counted_bytes());
            let outcome = self.take(event, deltas);
            let brings_output = so_far != (deltas.len(), self.reply.counted_bytes());
            self.reply.take_repairs(deltas);
            outcome?;
            if brings_output { self.silence.end() } else { self.silence.add_event(read_bytes)? }
        }
        Ok(())
    }

    /// Takes an event, after halves of characters in it are joined or replaced.
    fn take(&mut self, mut event: sse::Event, deltas: &mut Vec<Delta>) -> Result<(), Error> {
        let mut halves = half_pairs::find(&event.data);
        if !halves.is_empty() {
            self.reply.repair(Repair::HalfCharacter);
        }
        if let Some(Held { event: mut held, half: high, mut silent }) = self.held.take() {
            if halves.is_empty() && silent.len() < MAX_SILENT && half_pairs::is_silent(&event.data) {
                silent.push(event);
                self.held = Some(Held { event: held, half: high, silent });
                return Ok(());
            }
            match halves.first().and_then(|low| Some((*low, high.join(low)?))) {
                Some((low, character)) => {
                    high.replace(&mut held.data, character.encode_utf8(&mut [0; 4]));
                    low.replace(&mut event.data, "");
                    halves = half_pairs::find(&event.data);
                }
                None => high.replace(&mut held.data, REPLACEMENT),
            }
            self.parse(&held, deltas)?;
            silent.iter().try_for_each(|event| self.parse(event, deltas))?;
        }
        let open = halves.pop_if(|half| half.is_open());
        if !halves.is_empty() {
            event.data = half_pairs::replace_all(&event.data, &halves).into_owned();
        }
        match open {
            // The halves before it were replaced, so that its position may have changed.
            Some(_) => {
                let half = half_pairs::find(&event.data).pop();
                self.held = half.map(|half| Held { event, half, silent: Vec::new() });
            }
            None => self.parse(&event, deltas)?,
        }
        Ok(())
    }

    fn parse(&mut self, event: &sse::Event, deltas: &mut Vec<Delta>) -> Result<(), Error> {
        if self.reply.is_complete() {
            return Ok(());
        }
        match upstream_error::in_place_of_reply(&event.data, self.reply.profile()) {
            Some(error) => Err(error),
            None => self.parser.event(event, &mut self.reply, deltas),
        }
    }

    pub(super) fn finish(&mut self, deltas: &mut Vec<Delta>) -> Result<(), Error> {
        if self.reply.is_complete() {
            return Ok(());
        }
        if let Some(Held { mut event, half, silent }) = self.held.take() {
            half.replace(&mut event.data, REPLACEMENT);
            self.parse(&event, deltas)?;
            silent.iter().try_for_each(|event| self.parse(event, deltas))?;
        }
        self.reply.take_repairs(deltas);
        // Some services close the stream after the reason for the end, without an end marker. A
        // reason that nobody knows may belong to a stream that broke off.
        if !self.reply.has_known_end() {
            return Err(Error::UpstreamCut);
        }
        self.reply.repair(Repair::EndMarker);
        self.reply.complete(deltas)
    }

    pub(super) fn has_started(&self) -> bool {
        self.started
    }

    /// The bytes of the reply's content, or of an event that has not ended if there are more of
    /// those: some services send the complete reply in one event.
    pub(super) fn output_bytes(&self) -> usize {
        self.reply.output_bytes().max(self.decoder.held_bytes())
    }

    pub(super) fn is_complete(&self) -> bool {
        self.reply.is_complete()
    }
}

/// Returns true for an event that only keeps the connection open. Every event with a meaning has an
/// object, or is the end marker, or names an error. Objects that are cut off are no keep-alives,
/// nor are lists of objects.
fn is_keep_alive(event: &sse::Event) -> bool {
    let data: String = event.data.chars().filter(|c| !c.is_whitespace()).take(END_MARKER.len()).collect();
    let is_empty = data == "{}" && event.name.is_empty();
    let has_object = data.starts_with('{') && !is_empty || data.starts_with("[{");
    event.name == "ping" || !has_object && event.name != "error" && data != END_MARKER
}

/// The data of the event that ends a stream.
const END_MARKER: &str = "[DONE]";

/// The most events without text between two halves of a character.
const MAX_SILENT: usize = 16;

/// A half that stays alone.
const REPLACEMENT: &str = "\u{fffd}";
