//! The history of a token, read for its owner without a turn.

use super::{caller::Caller, open::verify, turn_state::PresentedToken};
use crate::proto::{
    chat::Item,
    deployment::Deployment,
    error::Error,
    time::UnixSeconds,
    token::{Codec, TokenPurpose},
    turn::Conversation,
};

/// Reads the history of a token for its owner. An expired token can be read until the conversation
/// reaches its maximum age.
///
/// # Errors
/// As for the token of a turn: [`Error::TokenTooLarge`], [`Error::TokenInvalid`],
/// [`Error::TokenExpired`], and [`Error::RequestInvalid`] for a user name that the caller cannot
/// have.
pub fn read_history(
    deployment: &Deployment,
    token: &str,
    caller: &Caller,
    now: UnixSeconds,
    codec: &mut Codec,
) -> Result<(Vec<Item>, Conversation, PresentedToken), Error> {
    let holder = caller.holder(true)?.ok_or_else(|| Error::internal("a bearer without a token"))?;
    let verified = verify(deployment, token, &holder, TokenPurpose::Read, now, codec)?;
    let conversation = Conversation {
        claims: verified.claims().clone(),
        history_bytes: verified.history_lines().len(),
        token_bytes: token.len(),
        trimmed_items: 0,
        summarized_items: 0,
        elided_images: 0,
    };
    let presented = PresentedToken::new(&verified, &[]);
    Ok((verified.history()?.into_items(), conversation, presented))
}
