//! The reply: from its first bytes to the fresh token, or to a failure with a partial token.

use std::time::Duration;

use super::{
    state::{Exchange, Ready, Replying},
    turn_state::TurnUsage,
};
use crate::proto::{
    error::Error,
    token::Codec,
    turn::{Answer, Delta, FinishReason, Partial, Repair, Usage},
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
        // A full reply is complete. Errors after its end do not matter.
        if self.state.reply.is_full() { Ok(()) } else { outcome.map_err(|error| self.reply_error(error)) }
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

    /// The usage of the turn so far.
    #[must_use]
    pub fn turn_usage(&self) -> TurnUsage {
        self.turn.usage(self.state.reply.usage(), self.state.reply.text_bytes())
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

    /// Declares that no more bytes follow. Appends the last deltas to `deltas`. Estimates the
    /// counts of model tokens if the upstream has reported none.
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
        let input_tokens = self.turn.usage(Usage::default(), 0).estimated_tokens;
        self.state.reply.estimate_missing_usage(input_tokens);
        Ok(())
    }

    /// Issues the fresh token. Calls [`Self::close`] first if that was not done. `elapsed` is the
    /// time from the call of the model to the end of its reply.
    ///
    /// # Errors
    /// A [`Failure`] if the reply is not complete.
    pub fn finish(
        mut self,
        elapsed: Duration,
        deltas: &mut Vec<Delta>,
        codec: &mut Codec,
    ) -> Result<Answer, Box<Failure>> {
        if let Err(error) = self.close(deltas) {
            return Err(Box::new(self.fail(error, elapsed, codec)));
        }
        let finish = self.state.reply.finish_reason().unwrap_or(FinishReason::Stop);
        let stop_sequence = self.state.reply.take_stop_sequence();
        let (text, items, usage) = self.state.reply.into_parts();
        let answer = self.turn.issue(&text, items, usage, finish, elapsed, codec);
        answer.map(|answer| Answer { stop_sequence, ..answer }).map_err(|error| Box::new(error.into()))
    }

    /// Ends the turn with `error`. If text was streamed to the client, the failure has a token that
    /// holds the text, marked as cut.
    #[must_use]
    pub fn fail(self, error: Error, elapsed: Duration, codec: &mut Codec) -> Failure {
        if !self.turn.stream || !self.state.reply.has_text() {
            return error.into();
        }
        let (text, items, usage) = self.state.reply.into_cut_parts();
        // If the partial reply does not fit into a token, the client still has the old one.
        let answer = self.turn.issue(&text, items, usage, FinishReason::Stop, elapsed, codec).ok();
        let partial = answer.map(|answer| Partial { reply: answer.reply, token: answer.token });
        Failure { error, partial }
    }
}
