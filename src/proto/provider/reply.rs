//! Readers for the two forms of a reply: a stream of events, and one JSON body.
//!
//! ```text
//!  bytes ─▶ StreamReader (events) ─┐
//!                                  ├─▶ ReplyParser ─▶ ReplyBuilder ─▶ deltas
//!  bytes ─▶ BodyReader (one body) ─┘
//! ```
//!
//! A [`ReplyParser`] knows the words of one provider. [`ReplyBuilder`] has the rules that are the
//! same for all. Errors never quote the reply, because they are logged and a reply is message text.

use http::{header, response};
use serde::de::IgnoredAny;

use super::{
    call::{EVENT_STREAM, JSON, ReplyBounds},
    profile::Profile,
    reply_builder::ReplyBuilder,
    traits::ReplyReader,
};
use crate::proto::{error::Error, sse, turn::Delta};

/// The reply format of one provider. Its default value is its state before the reply.
pub(super) trait ReplyParser: Default + Send + 'static {
    /// Takes one event of a stream. The event that ends the reply calls [`ReplyBuilder::complete`].
    fn event(&mut self, event: &sse::Event, reply: &mut ReplyBuilder, deltas: &mut Vec<Delta>) -> Result<(), Error>;

    /// Takes the body of a reply that is not a stream. The reader completes the reply afterwards.
    fn body(&mut self, body: &str, reply: &mut ReplyBuilder, deltas: &mut Vec<Delta>) -> Result<(), Error>;

    /// True if a stream may end without an end marker once the finish reason is known.
    const END_MARKER_IS_OPTIONAL: bool;
}

/// A reader for the form of reply that `head` announces, at the service that `profile` describes.
pub(super) fn reader<P: ReplyParser>(
    head: &response::Parts,
    bounds: ReplyBounds,
    profile: &Profile,
) -> Result<Box<dyn ReplyReader>, Error> {
    let (parser, reply) = (P::default(), ReplyBuilder::new(bounds, *profile));
    let value = head.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media_type = value.split(';').next().unwrap_or_default().trim();
    if media_type.eq_ignore_ascii_case(EVENT_STREAM) {
        let decoder = sse::Decoder::new(max_wire_bytes(bounds));
        return Ok(Box::new(StreamReader { decoder, parser, reply, started: false }));
    }
    if media_type.eq_ignore_ascii_case(JSON) {
        let max_bytes = max_wire_bytes(bounds);
        return Ok(Box::new(BodyReader { body: Vec::new(), max_bytes, parser, reply, started: false }));
    }
    let shown: String = media_type.chars().take(80).collect();
    Err(Error::malformed(format!("content type is `{shown}`, neither {EVENT_STREAM} nor {JSON}")))
}

/// The most bytes of one event or one body. JSON writes one byte as six at worst (`\u0000`), and
/// the envelope comes on top.
fn max_wire_bytes(bounds: ReplyBounds) -> usize {
    bounds.reply_bytes.saturating_mul(6).saturating_add(64 << 10)
}

/// Reads a stream of server-sent events.
struct StreamReader<P> {
    decoder: sse::Decoder,
    parser: P,
    reply: ReplyBuilder,
    /// True after the first event. Comments do not count.
    started: bool,
}

impl<P: ReplyParser> ReplyReader for StreamReader<P> {
    fn push(&mut self, bytes: &[u8], deltas: &mut Vec<Delta>) -> Result<(), Error> {
        let mut input = bytes;
        while !self.reply.is_complete() {
            let Some(event) = self.decoder.next_event(&mut input)? else { break };
            self.started = true;
            self.parser.event(&event, &mut self.reply, deltas)?;
        }
        Ok(())
    }

    fn finish(&mut self, deltas: &mut Vec<Delta>) -> Result<(), Error> {
        if self.reply.is_complete() {
            return Ok(());
        }
        if P::END_MARKER_IS_OPTIONAL && self.reply.has_finish_reason() {
            return self.reply.complete(deltas);
        }
        Err(Error::UpstreamCut)
    }

    fn has_started(&self) -> bool {
        self.started
    }

    fn is_complete(&self) -> bool {
        self.reply.is_complete()
    }
}

/// Reads one JSON body.
struct BodyReader<P> {
    body: Vec<u8>,
    max_bytes: usize,
    parser: P,
    reply: ReplyBuilder,
    /// True after the first byte.
    started: bool,
}

impl<P: ReplyParser> ReplyReader for BodyReader<P> {
    fn push(&mut self, bytes: &[u8], _deltas: &mut Vec<Delta>) -> Result<(), Error> {
        if self.body.len().saturating_add(bytes.len()) > self.max_bytes {
            return Err(Error::malformed(format!("the reply exceeds the limit of {} bytes", self.max_bytes)));
        }
        self.body.extend_from_slice(bytes);
        self.started |= !bytes.is_empty();
        Ok(())
    }

    fn finish(&mut self, deltas: &mut Vec<Delta>) -> Result<(), Error> {
        if self.reply.is_complete() {
            return Ok(());
        }
        let body = std::mem::take(&mut self.body);
        let body = str::from_utf8(&body).map_err(|error| match error.error_len() {
            None => Error::UpstreamCut,
            Some(_) => Error::malformed("the reply is not UTF-8"),
        })?;
        self.parser.body(body, &mut self.reply, deltas).map_err(|error| {
            // Only a body can break off. An event with incomplete JSON is a fault of the provider.
            let breaks_off = serde_json::from_str::<IgnoredAny>(body).is_err_and(|error| error.is_eof());
            if breaks_off { Error::UpstreamCut } else { error }
        })?;
        self.reply.complete(deltas)
    }

    fn has_started(&self) -> bool {
        self.started
    }

    fn is_complete(&self) -> bool {
        self.reply.is_complete()
    }
}

#[cfg(test)]
mod tests;
