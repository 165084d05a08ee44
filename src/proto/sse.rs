//! Reads and writes server-sent events (WHATWG HTML §9.2, "Server-sent events").
//!
//! The decoder accepts bytes in pieces of any size and returns complete events. The events do not
//! depend on the sizes of the pieces. It reads each byte once.
//!
//! It is stricter than the standard: it refuses an event or a line over its limit, before it
//! allocates memory for it. It skips comments, `id` and `retry`, because the server never
//! reconnects to an upstream. It drops an unfinished event at the end of the stream. As in the
//! standard, bytes that are not UTF-8 become U+FFFD. Unlike the standard, a line that is an object
//! is an event without a name.

use std::{borrow::Cow, fmt, mem};

use bytes::BufMut;

use super::{error::Error, json::is_object, withheld::Withheld};

/// One event.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Event {
    /// The value of `event`; empty if the sender did not name one.
    pub name: String,
    /// The values of `data`, joined by `\n`.
    pub data: String,
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event").field("name", &self.name).field("data", &Withheld::text(&self.data)).finish()
    }
}

/// Reads events from bytes that arrive in pieces.
pub struct Decoder {
    max_event_bytes: usize,
    /// The start of a line whose end has not arrived.
    line: Vec<u8>,
    event: Event,
    /// True if the event has a `data` line, even an empty one. Events without `data` are dropped.
    has_data: bool,
    /// True after a line that ended with CR: a following LF belongs to it.
    after_cr: bool,
    /// True until the first line is read: a byte order mark can be at its start.
    at_start: bool,
    /// True if bytes that are not UTF-8 were replaced.
    has_replaced: bool,
    /// True after a line that is an object without a field name.
    has_bare_line: bool,
}

impl Decoder {
    /// A decoder that keeps at most `max_event_bytes` of an event and its unfinished line.
    #[must_use]
    pub fn new(max_event_bytes: usize) -> Self {
        let event = Event::default();
        Self {
            max_event_bytes,
            line: Vec::new(),
            event,
            has_data: false,
            after_cr: false,
            at_start: true,
            has_replaced: false,
            has_bare_line: false,
        }
    }

    /// Returns true if a line so far had bytes that are not UTF-8.
    #[must_use]
    pub fn has_replaced(&self) -> bool {
        self.has_replaced
    }

    /// Returns true if a part of an event has arrived, or a part of a line that may belong to one.
    /// Comments belong to none.
    #[must_use]
    pub fn is_in_event(&self) -> bool {
        self.has_data || !self.line.is_empty() && !self.line.starts_with(b":")
    }

    /// The bytes of the unfinished event and its unfinished line.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.line.len().saturating_add(self.event.data.len()).saturating_add(self.event.name.len())
    }

    /// Returns true if a line so far was an object without a field name.
    #[must_use]
    pub fn has_bare_line(&self) -> bool {
        self.has_bare_line
    }

    /// Removes bytes from the start of `input` until they complete an event. Returns `None` if
    /// `input` is empty first.
    ///
    /// # Errors
    /// [`Error::UpstreamMalformed`] for an event or a line over the limit.
    pub fn next_event(&mut self, input: &mut &[u8]) -> Result<Option<Event>, Error> {
        while !input.is_empty() {
            if mem::take(&mut self.after_cr) {
                *input = input.strip_prefix(b"\n").unwrap_or(input);
            }
            let mut pieces = input.splitn(2, |byte| matches!(byte, b'\r' | b'\n'));
            let line = pieces.next().unwrap_or_default();
            let Some(rest) = pieces.next() else {
                self.admit(line.len())?;
                self.line.extend_from_slice(line);
                *input = &[];
                break;
            };
            self.after_cr = input.get(line.len()) == Some(&b'\r');
            *input = rest;
            if let Some(event) = self.end_line(line)? {
                return Ok(Some(event));
            }
        }
        Ok(None)
    }

    /// Checks that `more_bytes` fit in addition to the bytes kept so far.
    fn admit(&self, more_bytes: usize) -> Result<(), Error> {
        if self.held_bytes().saturating_add(more_bytes) > self.max_event_bytes {
            return Err(Error::malformed(format!("an event is over the limit of {} bytes", self.max_event_bytes)));
        }
        Ok(())
    }

    /// Reads the line that `tail` ends. Returns the event if the line is empty.
    fn end_line(&mut self, tail: &[u8]) -> Result<Option<Event>, Error> {
        self.admit(tail.len())?;
        if self.line.is_empty() {
            return self.read_line(tail);
        }
        let mut line = mem::take(&mut self.line);
        line.extend_from_slice(tail);
        let event = self.read_line(&line);
        line.clear();
        self.line = line;
        event
    }

    fn read_line(&mut self, line: &[u8]) -> Result<Option<Event>, Error> {
        let line = String::from_utf8_lossy(line);
        if let Cow::Owned(replaced) = &line {
            // U+FFFD is longer than the bytes that it replaces.
            self.admit(replaced.len())?;
            self.has_replaced = true;
        }
        let line = if mem::take(&mut self.at_start) { line.strip_prefix('\u{feff}').unwrap_or(&line) } else { &*line };
        if line.is_empty() {
            let event = mem::take(&mut self.event);
            return Ok(mem::take(&mut self.has_data).then_some(event));
        }
        // No field has such a name. Some services send an error in mid-stream as a bare line.
        if !self.has_data && is_object(line) {
            self.has_bare_line = true;
            return Ok(Some(Event { data: line.trim_end().to_owned(), ..mem::take(&mut self.event) }));
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "data" => {
                if mem::replace(&mut self.has_data, true) {
                    self.event.data.push('\n');
                }
                self.event.data.push_str(value);
            }
            "event" => value.clone_into(&mut self.event.name),
            _ => {}
        }
        Ok(None)
    }
}

/// Appends an event: its name, if it has one, and a line for each line of `data`.
///
/// `name` must have no line end. Readers get every line end in `data` as `\n`.
pub fn write_event(out: &mut impl BufMut, name: Option<&'static str>, data: &str) {
    if let Some(name) = name {
        write_line(out, "event: ", name);
    }
    for line in lines(data) {
        write_line(out, "data: ", line);
    }
    out.put_slice(b"\n");
}

/// Appends a comment. Readers skip it. It keeps an idle connection open.
pub fn write_comment(out: &mut impl BufMut, text: &str) {
    for line in lines(text) {
        write_line(out, ": ", line);
    }
    out.put_slice(b"\n");
}

fn write_line(out: &mut impl BufMut, field: &str, value: &str) {
    out.put_slice(field.as_bytes());
    out.put_slice(value.as_bytes());
    out.put_slice(b"\n");
}

fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.split("\r\n").flat_map(|line| line.split(['\r', '\n']))
}

#[cfg(test)]
mod tests;
