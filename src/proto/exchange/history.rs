//! Reading the history of a token for its owner, without a turn.

use super::{Caller, PresentedToken};
use crate::proto::{
    chat::Item,
    deployment::Deployment,
    error::Error,
    time::UnixSeconds,
    token::{Codec, TokenPurpose, RawToken},
    turn::Conversation,
};

/// Reads a token's history for its owner; an expired one too, until the conversation's greatest age.
///
/// # Errors
/// As for a turn's token.
pub fn read_history(
    core: &Deployment,
    token: &str,
    asker: &Caller,
    now: UnixSeconds,
    codec: &mut Codec,
) -> Result<(Vec<Item>, Conversation, PresentedToken), Error> {
    let caller = asker.caller(true)?.ok_or_else(|| Error::internal("a bearer without a token"))?;
    let verified = RawToken::new(token, &core.limits)?.authenticate(core.terms(), codec)?.verify(
        &caller,
        TokenPurpose::Read,
        &core.policy,
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
