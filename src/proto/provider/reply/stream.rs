//! A reply that is a stream of server-sent events.

use super::ReplyParser;
use crate::proto::{
    error::Error,
    provider::{
        half_pairs::{self, Half},
        reply_builder::ReplyBuilder,
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
    /// An event whose last text ends with half of a character. The next event may have the other.
    held: Option<(sse::Event, Half)>,
}

impl<P: ReplyParser> StreamReader<P> {
    pub(super) fn new(reply: ReplyBuilder, max_event_bytes: usize) -> Self {
        let decoder = sse::Decoder::new(max_event_bytes);
        Self { decoder, parser: P::default(), reply, started: false, held: None }
    }

    pub(super) fn push(&mut self, bytes: &[u8], deltas: &mut Vec<Delta>) -> Result<(), Error> {
        self.reply.take_repairs(deltas);
        let mut input = bytes;
        while !self.reply.is_complete() {
            let Some(event) = self.decoder.next_event(&mut input)? else { break };
            if is_keep_alive(&event) {
                if !event.data.starts_with('{') {
                    self.reply.repair(Repair::KeepAlive);
                    self.reply.take_repairs(deltas);
                }
                continue;
            }
            self.started = true;
            let outcome = self.take(event, deltas);
            self.reply.take_repairs(deltas);
            outcome?;
        }
        Ok(())
    }

    /// Takes an event, after halves of characters in it are joined or replaced.
    fn take(&mut self, mut event: sse::Event, deltas: &mut Vec<Delta>) -> Result<(), Error> {
        let mut halves = half_pairs::find(&event.data);
        if !halves.is_empty() {
            self.reply.repair(Repair::HalfCharacter);
        }
        if let Some((mut held, high)) = self.held.take() {
            match halves.first().and_then(|low| Some((*low, high.join(low)?))) {
                Some((low, character)) => {
                    high.replace(&mut held.data, character.encode_utf8(&mut [0; 4]));
                    low.replace(&mut event.data, "");
                    halves = half_pairs::find(&event.data);
                }
                None => high.replace(&mut held.data, REPLACEMENT),
            }
            self.parse(&held, deltas)?;
        }
        let open = halves.pop_if(|half| half.is_open());
        if !halves.is_empty() {
            event.data = half_pairs::replace_all(&event.data, &halves).into_owned();
        }
        match open {
            // The halves before it were replaced, so that its position may have changed.
            Some(_) => self.held = half_pairs::find(&event.data).pop().map(|half| (event, half)),
            None => self.parse(&event, deltas)?,
        }
        Ok(())
    }

    fn parse(&mut self, event: &sse::Event, deltas: &mut Vec<Delta>) -> Result<(), Error> {
        if self.reply.is_complete() {
            return Ok(());
        }
        self.parser.event(event, &mut self.reply, deltas)
    }

    pub(super) fn finish(&mut self, deltas: &mut Vec<Delta>) -> Result<(), Error> {
        if self.reply.is_complete() {
            return Ok(());
        }
        if let Some((mut held, half)) = self.held.take() {
            half.replace(&mut held.data, REPLACEMENT);
            self.parse(&held, deltas)?;
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

    pub(super) fn is_complete(&self) -> bool {
        self.reply.is_complete()
    }
}

/// Returns true for an event that only keeps the connection open.
fn is_keep_alive(event: &sse::Event) -> bool {
    let data = event.data.trim().trim_matches(['"', '[', ']']);
    let is_word = |word: &&str| data.eq_ignore_ascii_case(word);
    data.is_empty() && !event.data.contains(['[', ']']) || KEEP_ALIVE_WORDS.iter().any(is_word) || event.name == "ping"
}

/// The words of events that keep the connection open.
const KEEP_ALIVE_WORDS: [&str; 5] = ["heartbeat", "keep-alive", "keepalive", "ping", "pong"];

/// A half that stays alone.
const REPLACEMENT: &str = "\u{fffd}";
