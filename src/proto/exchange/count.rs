//! The number of model tokens that a turn would send. Some providers count it; for the others it is
//! estimated.

use bytes::Bytes;
use http::{Request, response};

use super::{metering::SideAnswer, open::Opened, state::Exchange};
use crate::proto::{error::Error, provider::TokenCount, token::Codec, usage::Usage};

/// The input of a turn is being counted.
pub struct Counting {
    count: TokenCount,
}

impl Exchange<Opened> {
    /// Counts the model tokens that the turn would send, without taking the turn.
    ///
    /// # Errors
    /// As [`Exchange::plan`], except [`Error::HistoryTooLarge`]: a count needs no room for a reply.
    pub fn count(self, codec: &mut Codec) -> Result<Exchange<Counting>, Error> {
        let (turn, plan) = self.join(codec)?;
        let count = turn.target.provider.count_tokens(&plan.call(&turn.target, false))?;
        Ok(Exchange { turn, state: Counting { count } })
    }
}

impl Exchange<Counting> {
    /// The count, if it needs no call of an upstream.
    #[must_use]
    pub fn known_count(&self) -> Option<u64> {
        match self.state.count {
            TokenCount::Request(_) => None,
            TokenCount::Known(tokens) => Some(tokens),
        }
    }

    /// The request to send to [`Exchange::upstream`] if [`Self::known_count`] is `None`.
    #[must_use]
    pub fn request(&self) -> Request<Bytes> {
        match &self.state.count {
            TokenCount::Request(request) => Request::clone(request),
            TokenCount::Known(_) => Request::default(),
        }
    }

    /// Reads the count from the upstream's complete answer. The error is the one that the answer
    /// means, if it is not a count. To count costs no model tokens.
    #[must_use]
    pub fn read_count(&self, head: &response::Parts, body: &[u8]) -> SideAnswer<u64> {
        if let Err(error) = self.turn.check_side_answer(head, body, self.request().body()) {
            return SideAnswer { content: Err(error), usage: None };
        }
        SideAnswer { content: self.turn.target.provider.read_token_count(body), usage: Some(Usage::default()) }
    }
}
