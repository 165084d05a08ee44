//! What all replies have in common, whatever their format: their form, their bounds, and when one is whole.
//!
//! ```text
//!  bytes ─▶ Streamed (events) ─┐
//!                              ├─▶ Format ─▶ Draft ─▶ deltas
//!  bytes ─▶ Whole (one body) ──┘
//! ```
//!
//! A [`Format`] knows a provider's words. [`Draft`] keeps the rules: text goes on at once, calls are held until they
//! are whole, reasoning that comes after a call stays behind it, and the end is said once, after everything else. What
//! is wrong with a reply is told without quoting it, since causes go to logs and a reply is message text.

use std::borrow::Cow;

use http::{header, response};
use serde::{Deserialize, Deserializer, de::IgnoredAny};
use serde_json::{Value, value::RawValue};

use super::{
    ReplyBounds, ReplyReader,
    call::{EVENT_STREAM, JSON},
};
use crate::proto::{
    error::Error,
    json::Object,
    sse,
    turn::{Delta, FinishReason},
};

/// The longest error that is read; none that means anything is so long.
const ERROR_BYTES: usize = 64 << 10;

/// The most blocks, entries or parts in one reply that is not streamed.
pub(super) const BLOCKS: usize = 4_096;

/// The most calls in one reply, and pieces of reasoning after the first of them; providers stop at 128 tools.
const PIECES: usize = 128;

/// How one provider words a reply; what it keeps beside the [`Draft`] starts at its default.
pub(super) trait Format: Default + Send + 'static {
    /// Takes one event of a streamed reply; the one that ends it calls [`Draft::complete`].
    fn event(&mut self, event: &sse::Event, draft: &mut Draft, deltas: &mut Vec<Delta>) -> Result<(), Error>;

    /// Takes the one body of a reply that is not streamed, up to its end, which needs no saying.
    fn body(&mut self, body: &str, draft: &mut Draft, deltas: &mut Vec<Delta>) -> Result<(), Error>;

    /// Whether a stream may just stop once the reason is known; most formats say their end.
    const MAY_STOP: bool;
}

/// The reader for the form that `head` announces.
pub(super) fn reader<F: Format>(head: &response::Parts, bounds: ReplyBounds) -> Result<Box<dyn ReplyReader>, Error> {
    let (format, draft) = (F::default(), Draft::new(bounds));
    let value = head.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media_type = value.split(';').next().unwrap_or_default().trim();
    if media_type.eq_ignore_ascii_case(EVENT_STREAM) {
        let decoder = sse::Decoder::new(wire_bytes(bounds));
        return Ok(Box::new(Streamed { decoder, format, draft, begun: false }));
    }
    if media_type.eq_ignore_ascii_case(JSON) {
        let max_bytes = wire_bytes(bounds);
        return Ok(Box::new(Whole { body: Vec::new(), max_bytes, format, draft, begun: false }));
    }
    let shown: String = media_type.chars().take(80).collect();
    Err(Error::malformed(format!("content type is `{shown}`, neither {EVENT_STREAM} nor {JSON}")))
}

/// The most bytes of one event or one body: JSON writes a byte as six at worst (`\u0000`), and has an envelope.
fn wire_bytes(bounds: ReplyBounds) -> usize {
    bounds.reply_bytes.saturating_mul(6).saturating_add(64 << 10)
}

struct Streamed<F> {
    decoder: sse::Decoder,
    format: F,
    draft: Draft,
    /// An event has come; comments are none.
    begun: bool,
}

impl<F: Format> ReplyReader for Streamed<F> {
    fn push(&mut self, bytes: &[u8], deltas: &mut Vec<Delta>) -> Result<(), Error> {
        let mut input = bytes;
        while !self.draft.complete {
            let Some(event) = self.decoder.next_event(&mut input)? else { break };
            self.begun = true;
            self.format.event(&event, &mut self.draft, deltas)?;
        }
        Ok(())
    }

    fn finish(&mut self, deltas: &mut Vec<Delta>) -> Result<(), Error> {
        if self.draft.complete {
            return Ok(());
        }
        if F::MAY_STOP && self.draft.reason.is_some() {
            return self.draft.complete(deltas);
        }
        Err(Error::UpstreamCut)
    }

    fn has_started(&self) -> bool {
        self.begun
    }

    fn is_complete(&self) -> bool {
        self.draft.complete
    }
}

struct Whole<F> {
    body: Vec<u8>,
    max_bytes: usize,
    format: F,
    draft: Draft,
    /// A byte has come.
    begun: bool,
}

impl<F: Format> ReplyReader for Whole<F> {
    fn push(&mut self, bytes: &[u8], _deltas: &mut Vec<Delta>) -> Result<(), Error> {
        if self.body.len().saturating_add(bytes.len()) > self.max_bytes {
            return Err(Error::malformed(format!("the reply is over the bound of {} bytes", self.max_bytes)));
        }
        self.body.extend_from_slice(bytes);
        self.begun |= !bytes.is_empty();
        Ok(())
    }

    fn finish(&mut self, deltas: &mut Vec<Delta>) -> Result<(), Error> {
        if self.draft.complete {
            return Ok(());
        }
        let body = std::mem::take(&mut self.body);
        let body = str::from_utf8(&body).map_err(|error| match error.error_len() {
            None => Error::UpstreamCut,
            Some(_) => Error::malformed("the reply is not UTF-8"),
        })?;
        self.format.body(body, &mut self.draft, deltas).map_err(|error| {
            // Only a body can break off; an event that holds half a value is the provider's defect.
            let breaks_off = serde_json::from_str::<IgnoredAny>(body).is_err_and(|error| error.is_eof());
            if breaks_off { Error::UpstreamCut } else { error }
        })?;
        self.draft.complete(deltas)
    }

    fn has_started(&self) -> bool {
        self.begun
    }

    fn is_complete(&self) -> bool {
        self.draft.complete
    }
}

/// Reads JSON that must be an object; members that are not asked for are ignored.
pub(super) fn parse<'a, T: Deserialize<'a>>(json: &'a str) -> Result<T, Error> {
    serde_json::from_str::<Object<T>>(json).map(|object| object.0).map_err(|error| {
        let kind = if error.is_data() { "JSON of another shape" } else { "not JSON" };
        Error::malformed(format!(
            "what stands in the reply is {kind} (line {}, column {})",
            error.line(),
            error.column()
        ))
    })
}

/// A count of input, as more than one provider words it.
pub(super) fn input_tokens(body: &[u8]) -> Result<u64, Error> {
    #[derive(Deserialize)]
    struct Counted {
        input_tokens: u64,
    }

    let body = str::from_utf8(body).map_err(|_| Error::malformed("the count is not UTF-8"))?;
    parse::<Counted>(body).map(|counted| counted.input_tokens)
}

/// Reads what a provider says of an error; what is too long for that says nothing.
pub(super) fn small<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    let raw: Option<&RawValue> = Option::deserialize(deserializer)?;
    Ok(raw.map(|raw| value(raw.get())))
}

/// Reads JSON of a length that an error may have; read JSON takes many times its text.
pub(super) fn value(json: &str) -> Value {
    let short = Some(json).filter(|json| json.len() <= ERROR_BYTES);
    short.and_then(|json| serde_json::from_str(json).ok()).unwrap_or_default()
}

/// The member `type`, by which formats tell their objects apart.
pub(super) fn kind(json: &str) -> Result<Cow<'_, str>, Error> {
    #[derive(Deserialize)]
    struct Tagged<'a> {
        #[serde(borrow, rename = "type")]
        kind: Cow<'a, str>,
    }

    parse::<Tagged<'_>>(json).map(|tagged| tagged.kind)
}

/// A reply on its way to being whole.
pub(super) struct Draft {
    /// Calls, and what was thought after the first of them.
    held: Vec<HeldBack>,
    /// The bytes of all calls and all reasoning so far.
    held_bytes: usize,
    max_held_bytes: usize,
    /// Why the reply ends, as far as it has said.
    reason: Option<FinishReason>,
    has_started: bool,
    complete: bool,
}

/// What waits for the end; the index is the provider's own count.
struct HeldBack {
    index: u64,
    piece: Piece,
}

enum Piece {
    Call(OpenCall),
    Think { provider_id: &'static str, blob: String },
}

struct OpenCall {
    id: String,
    name: String,
    args: String,
}

impl Draft {
    pub(super) fn new(bounds: ReplyBounds) -> Self {
        let max_held_bytes = bounds.reply_bytes.saturating_mul(2);
        Self { held: Vec::new(), held_bytes: 0, max_held_bytes, reason: None, has_started: false, complete: false }
    }

    pub(super) fn text(&mut self, text: String, deltas: &mut Vec<Delta>) {
        if !text.is_empty() {
            self.has_started = true;
            deltas.push(Delta::Text(text));
        }
    }

    /// Takes a whole piece of reasoning, whose bytes were counted: it goes on at once, or after the calls before it.
    pub(super) fn think(
        &mut self,
        index: u64,
        provider_id: &'static str,
        blob: String,
        deltas: &mut Vec<Delta>,
    ) -> Result<(), Error> {
        self.has_started = true;
        if self.held.is_empty() {
            deltas.push(Delta::Think { provider_id: provider_id.to_owned(), blob });
            return Ok(());
        }
        self.hold(index, Piece::Think { provider_id, blob })
    }

    /// Counts bytes of calls or reasoning that are being held.
    pub(super) fn count_held(&mut self, bytes: usize) -> Result<(), Error> {
        self.held_bytes = self.held_bytes.saturating_add(bytes);
        if self.held_bytes > self.max_held_bytes {
            return Err(Error::malformed(format!(
                "calls and reasoning are over the bound of {} bytes",
                self.max_held_bytes
            )));
        }
        Ok(())
    }

    /// Adds a fragment to the call at `index`, which opens with its first one.
    ///
    /// Another id at the same index opens another call: some providers number none or all of them 0. The id and the
    /// name may come once or with every fragment.
    pub(super) fn call(&mut self, index: u64, id: &str, name: &str, args: &str) -> Result<(), Error> {
        self.count_held(id.len().saturating_add(name.len()).saturating_add(args.len()))?;
        match self.open_call(index, id) {
            Some(call) => {
                if call.id.is_empty() {
                    id.clone_into(&mut call.id);
                }
                if call.name != name {
                    call.name.push_str(name);
                }
                call.args.push_str(args);
                Ok(())
            }
            None => {
                let call = OpenCall { id: id.to_owned(), name: name.to_owned(), args: args.to_owned() };
                self.hold(index, Piece::Call(call))
            }
        }
    }

    /// Takes a whole call; what fragments have said of it counts no more.
    pub(super) fn whole_call(&mut self, index: u64, id: &str, name: &str, args: &str) -> Result<(), Error> {
        if let Some(call) = self.open_call(index, id) {
            call.name.clear();
            call.args.clear();
        }
        self.call(index, id, name, args)
    }

    fn open_call(&mut self, index: u64, id: &str) -> Option<&mut OpenCall> {
        let call = self.held.iter_mut().rev().find_map(|held| match &mut held.piece {
            Piece::Call(call) if held.index == index => Some(call),
            _ => None,
        });
        call.filter(|call| id.is_empty() || call.id.is_empty() || call.id == id)
    }

    fn hold(&mut self, index: u64, piece: Piece) -> Result<(), Error> {
        if self.held.len() >= PIECES {
            return Err(Error::malformed(format!("more than {PIECES} calls")));
        }
        self.held.push(HeldBack { index, piece });
        Ok(())
    }

    pub(super) fn has_call(&self, index: u64) -> bool {
        self.held.iter().any(|held| held.index == index && matches!(held.piece, Piece::Call(_)))
    }

    /// Notes why the reply ends; a later word on it replaces an earlier one.
    pub(super) fn end(&mut self, reason: FinishReason) {
        self.reason = Some(reason);
    }

    /// Ends the reply: gives out what was held in its order, then the end.
    ///
    /// Without a reason, a reply that said something has stopped; one that said nothing is no reply. Where a
    /// bound or a filter broke it off, its calls are left out: nobody answers those, and the conversation would wait.
    pub(super) fn complete(&mut self, deltas: &mut Vec<Delta>) -> Result<(), Error> {
        let reason = match self.reason {
            Some(reason) => reason,
            None if self.has_started || !self.held.is_empty() => FinishReason::Stop,
            None => return Err(Error::malformed("the reply ended without having begun")),
        };
        self.held.sort_by_key(|held| held.index);
        let broke_off = matches!(reason, FinishReason::ContentFilter | FinishReason::Length);
        let mut pieces = Vec::with_capacity(self.held.len());
        for held in self.held.drain(..) {
            match held.piece {
                Piece::Call(_) if broke_off => {}
                Piece::Call(call) => pieces.push(call.into_delta()?),
                Piece::Think { provider_id, blob } => {
                    pieces.push(Delta::Think { provider_id: provider_id.to_owned(), blob })
                }
            }
        }
        let calls = pieces.iter().any(|piece| matches!(piece, Delta::Call { .. }));
        let reason = match reason {
            FinishReason::Stop if calls => FinishReason::ToolCalls,
            FinishReason::ToolCalls if !calls => FinishReason::Stop,
            reason => reason,
        };
        deltas.extend(pieces);
        deltas.push(Delta::Finish(reason));
        self.complete = true;
        Ok(())
    }
}

impl OpenCall {
    fn into_delta(self) -> Result<Delta, Error> {
        let Self { id, name, args } = self;
        if id.is_empty() || name.is_empty() {
            return Err(Error::malformed("a call has no id or no name"));
        }
        let args = if args.is_empty() { "{}".to_owned() } else { args };
        Ok(Delta::Call { id, name, args })
    }
}

#[cfg(test)]
mod tests;
