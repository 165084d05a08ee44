//! Reading the history of a token for its owner, without a turn.

use super::{Asker, Presented};
use crate::proto::{
    chat::Item,
    deployment::Core,
    error::Error,
    time::UnixSeconds,
    token::{Codec, Purpose, RawToken},
    turn::Conversation,
};

/// Reads a token's history for its owner; an expired one too, until the conversation's greatest age.
///
/// # Errors
/// As for a turn's token.
pub fn read_history(
    core: &Core,
    token: &str,
    asker: &Asker,
    now: UnixSeconds,
    codec: &mut Codec,
) -> Result<(Vec<Item>, Conversation, Presented), Error> {
    let caller = asker.caller(true)?.ok_or_else(|| Error::internal("a bearer without a token"))?;
    let verified = RawToken::new(token, &core.limits)?.authenticate(core.terms(), codec)?.verify(
        &caller,
        Purpose::Read,
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
    let presented = Presented::new(&verified, &[]);
    Ok((verified.history()?.items().to_vec(), conversation, presented))
}
