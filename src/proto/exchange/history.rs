//! Reading the history of a token for its owner, without a turn.

use super::{Caller, PresentedToken};
use crate::proto::{
    chat::Item,
    deployment::Deployment,
    error::Error,
    time::UnixSeconds,
    token::{Codec, RawToken, TokenPurpose},
    turn::Conversation,
};

/// Reads a token's history for its owner; an expired one too, until the conversation's greatest age.
///
/// # Errors
/// As for a turn's token.
pub fn read_history(
    deployment: &Deployment,
    token: &str,
    caller: &Caller,
    now: UnixSeconds,
    codec: &mut Codec,
) -> Result<(Vec<Item>, Conversation, PresentedToken), Error> {
    let holder = caller.holder(true)?.ok_or_else(|| Error::internal("a bearer without a token"))?;
    let verified = RawToken::new(token, &deployment.limits)?.authenticate(deployment.token_context(), codec)?.verify(
        &holder,
        TokenPurpose::Read,
        &deployment.policy,
        now,
    )?;
    let conversation = Conversation {
        claims: verified.claims().clone(),
        history_bytes: verified.history_lines().len(),
        token_bytes: token.len(),
        trimmed_items: 0,
        summarized_items: 0,
        elided_images: 0,
    };
    let presented = PresentedToken::new(&verified, &[]);
    Ok((verified.history()?.items().to_vec(), conversation, presented))
}
