//! The history of a token, read for its owner without a turn.

use super::{caller::Caller, open::verify, turn_state::PresentedToken};
use crate::proto::{
    chat::Item,
    deployment::Deployment,
    error::Error,
    limits::Limits,
    time::UnixSeconds,
    token::{Claims, Codec, PackedToken, TokenPurpose},
    turn::{Conversation, TurnRequest},
};

/// A token that its owner presents without a turn. Its history is still compressed.
pub struct PresentedHistory {
    token: PackedToken,
    token_bytes: usize,
}

impl PresentedHistory {
    /// Verifies a token for its owner, except for its history. An expired token is valid here until
    /// the conversation reaches its maximum age.
    ///
    /// # Errors
    /// As for the token of a turn: [`Error::TokenTooLarge`], [`Error::TokenInvalid`],
    /// [`Error::TokenExpired`], and [`Error::RequestInvalid`] for a user name that the caller
    /// cannot have.
    pub fn open(
        deployment: &Deployment,
        token: &str,
        caller: &Caller,
        now: UnixSeconds,
        codec: &mut Codec,
    ) -> Result<Self, Error> {
        let holder = caller.holder(true)?.ok_or_else(|| Error::internal("a bearer without a token"))?;
        let token_bytes = token.len();
        Ok(Self { token: verify(deployment, token, &holder, TokenPurpose::Read, now, codec)?, token_bytes })
    }

    /// The claims of the token.
    #[must_use]
    pub fn claims(&self) -> &Claims {
        self.token.claims()
    }

    /// The token as the guard needs it.
    #[must_use]
    pub fn presented(&self) -> PresentedToken {
        PresentedToken::new(&self.token, &TurnRequest::default())
    }

    /// The inflated size of the history, by which the work of [`Self::read`] grows.
    #[must_use]
    pub fn history_bytes(&self) -> usize {
        self.token.history_bytes()
    }

    /// Inflates and parses the history.
    ///
    /// # Errors
    /// [`Error::TokenInvalid`] for a history that cannot be read.
    pub fn read(self, limits: &Limits, codec: &mut Codec) -> Result<(Vec<Item>, Conversation), Error> {
        let Self { token, token_bytes } = self;
        let token = token.unpack(limits, codec)?;
        let conversation = Conversation {
            claims: token.claims().clone(),
            history_bytes: token.history_lines().len(),
            token_bytes,
            trimmed_items: 0,
            summarized_items: 0,
            elided_images: 0,
        };
        Ok((token.history()?.into_items(), conversation))
    }
}
