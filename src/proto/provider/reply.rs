//! Readers for the two forms of a reply: a stream of events, and one JSON body.
//!
//! ```text
//!  bytes ─▶ StreamReader (events) ─┐
//!                                  ├─▶ ReplyParser ─▶ ReplyBuilder ─▶ deltas
//!  bytes ─▶ BodyReader (one body) ─┘
//! ```
//!
//! The content type announces the form, and the first bytes decide it: some services send a body
//! where a stream was requested, or announce another type. A [`ReplyParser`] knows the words of one
//! provider. [`ReplyBuilder`] has the rules that are the same for all. Errors never quote the
//! reply, because they are logged and a reply is message text.

mod body;
mod silence;
mod stream;

use http::{header, response};

use self::{body::BodyReader, silence::Silence, stream::StreamReader};
use super::{
    call::{EVENT_STREAM, JSON, ReplyBounds},
    profile::{CallIds, Profile},
    reply_builder::ReplyBuilder,
    traits::ReplyReader,
};
use crate::proto::{
    error::Error,
    sse,
    turn::{Delta, Repair},
};

/// The reply format of one provider. Its default value is its state before the reply.
pub(super) trait ReplyParser: Default + Send + 'static {
    /// The name of the provider, if the opaque members of its replies are kept
    /// ([`service_state`](super::service_state)).
    const KEEPS_STATE_AS: Option<&'static str> = None;

    /// The form of call ids in the format, if the profile does not decide it.
    const CALL_IDS: Option<CallIds> = None;

    /// Takes one event of a stream. The event that ends the reply calls [`ReplyBuilder::complete`].
    fn event(&mut self, event: &sse::Event, reply: &mut ReplyBuilder, deltas: &mut Vec<Delta>) -> Result<(), Error>;

    /// Takes the body of a reply that is not a stream. The reader completes the reply afterwards.
    fn body(&mut self, body: &str, reply: &mut ReplyBuilder, deltas: &mut Vec<Delta>) -> Result<(), Error>;
}

/// A reader for the form of reply that `head` announces, at the service that `profile` describes.
pub(super) fn reader<P: ReplyParser>(
    head: &response::Parts,
    bounds: ReplyBounds,
    profile: &Profile,
) -> Box<dyn ReplyReader> {
    let value = head.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media_type = value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let announced = match media_type.as_str() {
        EVENT_STREAM => Some(Form::Stream),
        JSON | "text/json" => Some(Form::Body),
        _ => None,
    };
    let profile = Profile { call_ids: P::CALL_IDS.unwrap_or(profile.call_ids), ..*profile };
    let reply = ReplyBuilder::new(bounds, profile, P::KEEPS_STATE_AS);
    let state = State::Unread { start: Vec::new(), silence: Silence::default(), reply: Some(Box::new(reply)) };
    Box::new(Reader::<P> { announced, max_bytes: max_wire_bytes(bounds), state })
}

/// The most bytes of one event or one body. JSON writes one byte as six at worst (`\u0000`), and
/// the envelope comes on top.
fn max_wire_bytes(bounds: ReplyBounds) -> usize {
    bounds.reply_bytes.saturating_mul(6).saturating_add(64 << 10)
}

/// The form of a reply.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Body,
    Stream,
}

impl Form {
    /// The form of a reply that starts with these bytes. `None` if there are too few.
    ///
    /// # Errors
    /// [`Error::UpstreamMalformed`] if neither the bytes nor the content type tell the form.
    fn of(start: &[u8], announced: Option<Self>) -> Result<Option<Self>, Error> {
        let Some(first) = start.first() else { return Ok(None) };
        let is_line = |name: &&[u8]| start.starts_with(name) || name.starts_with(start);
        match announced {
            _ if matches!(first, b'{' | b'[') => Ok(Some(Self::Body)),
            _ if STREAM_STARTS.iter().any(|name| start.starts_with(name)) => Ok(Some(Self::Stream)),
            _ if STREAM_STARTS.iter().any(is_line) => Ok(None),
            Some(form) => Ok(Some(form)),
            None => Err(no_form()),
        }
    }
}

/// The error for a reply that is neither a stream nor a JSON body.
fn no_form() -> Error {
    Error::malformed("the content type does not announce a reply, and it is neither a stream nor JSON")
}

/// The starts of the first line of a stream.
const STREAM_STARTS: [&[u8]; 5] = [b":", b"data:", b"event:", b"id:", b"retry:"];

/// A byte order mark in UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Reads a reply of either form.
struct Reader<P> {
    announced: Option<Form>,
    max_bytes: usize,
    state: State<P>,
}

enum State<P> {
    Body(BodyReader<P>),
    Stream(StreamReader<P>),
    /// The form is not known yet. `start` has the first bytes, without white space before them.
    Unread {
        start: Vec<u8>,
        silence: Silence,
        reply: Option<Box<ReplyBuilder>>,
    },
}

impl<P: ReplyParser> Reader<P> {
    /// Adds the first bytes of the reply. Returns those that are to be read, once the form is
    /// known.
    fn start(&mut self, bytes: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        let State::Unread { start, silence, reply } = &mut self.state else { return Ok(None) };
        silence.add(bytes.len())?;
        start.extend_from_slice(bytes);
        let read = start.strip_prefix(BYTE_ORDER_MARK).unwrap_or(start).trim_ascii_start();
        let is_mark = !read.is_empty() && BYTE_ORDER_MARK.starts_with(read);
        let form = if is_mark { None } else { Form::of(read, self.announced)? };
        let read = read.to_vec();
        let Some((form, mut reply)) = form.and_then(|form| Some((form, reply.take()?))) else {
            *start = read;
            return Ok(None);
        };
        if self.announced != Some(form) {
            reply.repair(Repair::ContentType);
        }
        self.state = match form {
            Form::Body => State::Body(BodyReader::new(*reply, self.max_bytes)),
            Form::Stream => State::Stream(StreamReader::new(*reply, self.max_bytes)),
        };
        Ok(Some(read))
    }
}

impl<P: ReplyParser> ReplyReader for Reader<P> {
    fn push(&mut self, bytes: &[u8], deltas: &mut Vec<Delta>) -> Result<(), Error> {
        let started = self.start(bytes)?;
        let bytes = started.as_deref().unwrap_or(bytes);
        match &mut self.state {
            State::Body(reader) => reader.push(bytes),
            State::Stream(reader) => reader.push(bytes, deltas),
            State::Unread { .. } => Ok(()),
        }
    }

    fn finish(&mut self, deltas: &mut Vec<Delta>) -> Result<(), Error> {
        match &mut self.state {
            State::Body(reader) => reader.finish(deltas),
            State::Stream(reader) => reader.finish(deltas),
            State::Unread { .. } if self.announced.is_none() => Err(no_form()),
            State::Unread { .. } => Err(Error::UpstreamCut),
        }
    }

    fn has_started(&self) -> bool {
        match &self.state {
            State::Body(reader) => reader.has_started(),
            State::Stream(reader) => reader.has_started(),
            State::Unread { .. } => false,
        }
    }

    fn output_bytes(&self) -> usize {
        match &self.state {
            State::Body(reader) => reader.output_bytes(),
            State::Stream(reader) => reader.output_bytes(),
            State::Unread { .. } => 0,
        }
    }

    fn is_complete(&self) -> bool {
        match &self.state {
            State::Body(reader) => reader.is_complete(),
            State::Stream(reader) => reader.is_complete(),
            State::Unread { .. } => false,
        }
    }
}

#[cfg(test)]
mod tests;
