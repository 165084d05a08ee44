//! The reply: from its first bytes to the fresh token, or to a failure with a partial token.

use super::{
    metering::{call_usage, is_paid},
    state::{Exchange, Ready, Replying},
};
use crate::proto::{
    error::Error,
    token::Codec,
    turn::{Answer, Delta, FinishReason, Partial, Repair},
    usage::{Spent, Usage},
};

/// The end of a turn that failed.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The cause.
    pub error: Error,
    /// The text that was streamed before the failure, with a token to continue from. None if no
    /// text was streamed.
    pub partial: Option<Partial>,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self { error, partial: None }
    }
}

impl Exchange<Replying> {
    /// Takes the next bytes of the reply. Appends the deltas to show to the client.
    ///
    /// # Errors
    /// The errors of [`ReplyReader::push`](crate::proto::provider::ReplyReader::push). The deltas
    /// that were appended before are valid. Continue with [`Self::fail`] or [`Self::into_retry`].
    pub fn push(&mut self, bytes: &[u8], deltas: &mut Vec<Delta>) -> Result<(), Error> {
        let mut read = Vec::new();
        let outcome = self.state.reader.push(bytes, &mut read);
        self.deliver(read, deltas);
        if self.state.reply.is_full() {
            // A full reply is complete. Errors after its end do not matter.
            self.state.closed |= outcome.is_err();
            return Ok(());
        }
        outcome.map_err(|error| self.reply_error(error))
    }

    /// The error of the reader, as the turn ends with it.
    fn reply_error(&self, error: Error) -> Error {
        let error = self.turn.shown_error(error, &self.state.request);
        if self.state.reader.has_started() { error.about_paid_reply() } else { error }
    }

    /// Keeps the deltas that have room, and hands them to the caller.
    fn deliver(&mut self, read: Vec<Delta>, deltas: &mut Vec<Delta>) {
        let before = deltas.len();
        deltas.extend(read.into_iter().filter_map(|delta| self.state.reply.add(delta)));
        if deltas.len() > before && !self.turn.buffered {
            self.state.retry = None;
        }
    }

    /// Returns true at the end of the reply: the upstream has sent it all, or it has filled its
    /// room.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.state.reply.is_full() || self.state.reader.is_complete()
    }

    /// Returns true if the reply has filled its room before its end, where services report the
    /// counts of model tokens. Read them with [`Self::read_on`], or leave it: they are then
    /// estimated.
    #[must_use]
    pub fn lacks_counts(&self) -> bool {
        self.state.reply.is_full() && !self.state.closed && !self.state.reader.is_complete()
    }

    /// Returns true once the service has sent the complete reply, whether or not it had room.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.state.reader.is_complete()
    }

    /// Takes bytes after the reply has filled its room, only for the counts. `None` declares that
    /// no more bytes follow.
    pub fn read_on(&mut self, bytes: Option<&[u8]>) {
        let mut read = Vec::new();
        let outcome = match bytes {
            Some(bytes) => self.state.reader.push(bytes, &mut read),
            None => self.state.reader.finish(&mut read),
        };
        self.state.closed |= bytes.is_none() || outcome.is_err();
        for delta in read {
            self.state.reply.add(delta);
        }
    }

    /// The model tokens of this call so far: as the service reports them, or estimated.
    #[must_use]
    pub fn call_usage(&self) -> Usage {
        call_usage(&*self.state.reader, self.state.reply.reported(), self.state.request_usage)
    }

    /// Returns true if the operator pays for this call although it failed with `error`: the model
    /// has begun a reply, and the service did not send an error in its place.
    #[must_use]
    pub fn is_paid(&self, error: &Error) -> bool {
        is_paid(&*self.state.reader, self.state.reply.reported(), error)
    }

    /// The bytes of the reply's text so far.
    #[must_use]
    pub fn reply_bytes(&self) -> usize {
        self.state.reply.text_bytes()
    }

    /// The deviations from the provider's format that were repaired so far.
    pub fn repairs(&self) -> impl Iterator<Item = Repair> {
        self.state.reply.repairs()
    }

    /// Returns true if the model has started to work, so that the operator pays for the call.
    #[must_use]
    pub fn has_started(&self) -> bool {
        self.state.reader.has_started()
    }

    /// Returns true if [`Self::into_retry`] gives a turn: no delta was handed out that the client
    /// may have seen.
    #[must_use]
    pub fn can_retry(&self) -> bool {
        self.state.retry.is_some()
    }

    /// Drops the reply, and returns the turn before this attempt. `None` once a delta was
    /// handed out that the client may have seen.
    #[must_use]
    pub fn into_retry(self) -> Option<Exchange<Ready>> {
        Some(Exchange { turn: self.turn, state: *self.state.retry? })
    }

    /// Declares that no more bytes follow. Appends the last deltas to `deltas`.
    /// [`Self::call_usage`] is then the usage of the complete call.
    ///
    /// # Errors
    /// [`Error::UpstreamCut`] or [`Error::UpstreamMalformed`] if the reply is not complete.
    /// Continue with [`Self::fail`] or [`Self::into_retry`].
    pub fn close(&mut self, deltas: &mut Vec<Delta>) -> Result<(), Error> {
        if !self.state.closed && !self.state.reply.is_full() {
            let mut read = Vec::new();
            let outcome = self.state.reader.finish(&mut read);
            self.deliver(read, deltas);
            outcome.map_err(|error| self.reply_error(error))?;
        }
        self.state.closed = true;
        self.state.reply.finish_reason().map(drop).ok_or(Error::UpstreamCut)?;
        if self.state.reader.is_complete() && self.state.reply.reported().total_tokens() == 0 {
            self.state.reply.add(Delta::Repaired(Repair::UsageEstimated));
        }
        Ok(())
    }

    /// Issues the fresh token, after [`Self::close`]. `spent` is what all calls for this turn have
    /// cost: this one, and others such as a summary.
    ///
    /// # Errors
    /// A [`Failure`] if the reply is not complete, or if the token cannot be issued.
    pub fn finish(mut self, spent: Spent, codec: &mut Codec) -> Result<Answer, Box<Failure>> {
        let finish = match self.state.reply.finish_reason() {
            Some(finish) if self.state.closed => finish,
            _ => return Err(Box::new(self.fail(Error::UpstreamCut, spent, codec))),
        };
        let stop_sequence = self.state.reply.take_stop_sequence();
        let (text, items) = self.state.reply.into_parts();
        let answer = self.turn.issue(&text, items, finish, spent, codec);
        answer.map(|answer| Answer { stop_sequence, ..answer }).map_err(|error| Box::new(error.into()))
    }

    /// Ends the turn with `error`. If text was streamed to the client, the failure has a token that
    /// holds the text, marked as cut. `spent` is what all calls for this turn have cost.
    #[must_use]
    pub fn fail(self, error: Error, spent: Spent, codec: &mut Codec) -> Failure {
        if !self.turn.stream || !self.state.reply.has_text() {
            return error.into();
        }
        let (text, items) = self.state.reply.into_cut_parts();
        // If the partial reply does not fit into a token, the client still has the old one.
        let answer = self.turn.issue(&text, items, FinishReason::Stop, spent, codec).ok();
        let partial = answer.map(|answer| Partial { reply: answer.reply, token: answer.token });
        Failure { error, partial }
    }
}
