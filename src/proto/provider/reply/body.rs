//! A reply that is one JSON body.

use std::borrow::Cow;

use serde::de::IgnoredAny;

use super::ReplyParser;
use crate::proto::{
    error::Error,
    provider::{half_pairs, reply_builder::ReplyBuilder, upstream_error},
    turn::{Delta, Repair},
};

/// Reads one JSON body.
pub(super) struct BodyReader<P> {
    body: Vec<u8>,
    max_bytes: usize,
    parser: P,
    reply: ReplyBuilder,
    /// The bytes that have arrived of a body that is not read yet, or that cannot be read.
    unread_bytes: usize,
    /// True after the first byte of an object or a list. Another body is not from the model.
    started: bool,
}

impl<P: ReplyParser> BodyReader<P> {
    pub(super) fn new(reply: ReplyBuilder, max_bytes: usize) -> Self {
        Self { body: Vec::new(), max_bytes, parser: P::default(), reply, unread_bytes: 0, started: false }
    }

    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.unread_bytes = self.unread_bytes.saturating_add(bytes.len());
        if self.unread_bytes > self.max_bytes {
            return Err(Error::malformed(format!("the reply exceeds the limit of {} bytes", self.max_bytes)));
        }
        self.body.extend_from_slice(bytes);
        self.started = matches!(self.body.first(), Some(b'{' | b'['));
        Ok(())
    }

    pub(super) fn finish(&mut self, deltas: &mut Vec<Delta>) -> Result<(), Error> {
        if self.reply.is_complete() {
            return Ok(());
        }
        let body = std::mem::take(&mut self.body);
        // The end of a character may be missing because the body is cut off.
        if str::from_utf8(&body).is_err_and(|error| error.error_len().is_none()) {
            return Err(Error::UpstreamCut);
        }
        let body = String::from_utf8_lossy(&body);
        let halves = half_pairs::find(&body);
        if !halves.is_empty() || matches!(body, Cow::Owned(_)) {
            self.reply.repair(Repair::HalfCharacter);
        }
        self.reply.take_repairs(deltas);
        let body = half_pairs::replace_all(&body, &halves);
        let outcome = self.parser.body(&body, &mut self.reply, deltas);
        self.reply.take_repairs(deltas);
        let outcome = outcome.map_err(|error| {
            // Only a body can break off. An event with incomplete JSON is a fault of the provider.
            let breaks_off = serde_json::from_str::<IgnoredAny>(&body).is_err_and(|error| error.is_eof());
            match error {
                _ if breaks_off => Error::UpstreamCut,
                Error::UpstreamMalformed { .. } => {
                    upstream_error::in_place_of_reply(&body, self.reply.profile()).unwrap_or(error)
                }
                error => error,
            }
        });
        if !matches!(outcome, Err(Error::UpstreamCut | Error::UpstreamMalformed { .. })) {
            self.unread_bytes = 0;
        }
        outcome?;
        self.reply.complete(deltas)
    }

    pub(super) fn has_started(&self) -> bool {
        self.started
    }

    /// The bytes of the reply's content, or those of a body that is no reply and no error.
    pub(super) fn output_bytes(&self) -> usize {
        self.reply.output_bytes().max(self.unread_bytes)
    }

    pub(super) fn is_complete(&self) -> bool {
        self.reply.is_complete()
    }
}
