//! The first step of a turn: verify the token, and fix the claims of the next one.
//!
//! The step does not read the items of the history, with two exceptions. If the model accepts
//! history from clients, only the items tell new input from repeated input. And before the step
//! fails, it checks the items, because errors have a fixed order (docs/design.md, "The order of
//! checks").

use std::sync::Arc;

use super::{
    caller::Caller,
    client_history,
    state::Exchange,
    turn_state::{PresentedToken, TurnState},
};
use crate::proto::{
    chat::{self, History, Item},
    deployment::{Deployment, Model},
    error::Error,
    principal::Principal,
    time::UnixSeconds,
    token::{Claims, Codec, Id, NONCE_BYTES, RawToken, TokenHolder, TokenPurpose, VerifiedToken},
    turn::{ModelOptions, Truncation, TurnRequest},
};

/// The random bytes of one exchange. They must come fresh from the operating system each time, and
/// must never be used again.
pub struct Entropy {
    /// For the id of the token to issue.
    pub token_id: [u8; 16],
    /// For the id of a new conversation.
    pub conversation: [u8; 16],
    /// For the name of a new anonymous user.
    pub user: [u8; 16],
    /// For the seal of the token.
    pub nonce: [u8; NONCE_BYTES],
}

/// The token is verified, and the claims of the next token are fixed.
pub struct Opened {
    pub(super) model: Model,
    pub(super) input: Vec<Item>,
    pub(super) system: Option<String>,
    pub(super) options: ModelOptions,
    pub(super) truncation: Option<Truncation>,
    /// The history, if it had to be read in this step.
    pub(super) history: Option<History>,
}

impl Exchange<Opened> {
    /// Verifies the token of `request` for `caller`, selects the model, and fixes the claims of the
    /// next token. A request without a token starts a conversation.
    ///
    /// # Errors
    /// - [`Error::RequestInvalid`] for a user name that the caller cannot have.
    /// - [`Error::TokenTooLarge`], [`Error::TokenInvalid`] and [`Error::TokenExpired`]. A turn
    ///   whose own token would expire immediately also gets `TokenExpired`.
    /// - [`Error::ModelUnknown`].
    /// - [`Error::AssertedHistoryForbidden`] for a token with client history, if the model refuses
    ///   client history.
    pub fn open(
        deployment: Arc<Deployment>,
        request: TurnRequest,
        caller: &Caller,
        now: UnixSeconds,
        entropy: &Entropy,
        codec: &mut Codec,
    ) -> Result<Self, Error> {
        let holder = caller.holder(request.token.is_some())?;
        let base = match (&request.token, &holder) {
            (Some(token), Some(holder)) => {
                Some(verify(&deployment, token, holder, TokenPurpose::Continue, now, codec)?)
            }
            _ => None,
        };
        let next = next_claims(&deployment, request.model.as_deref(), base.as_ref(), holder, now, entropy);
        let (model, mut claims) = match (next, &base) {
            (Ok(next), _) => next,
            (Err(error), Some(base)) => return Err(base.history().err().unwrap_or(error)),
            (Err(error), None) => return Err(error),
        };
        let TurnRequest { mut input, system, options, truncation, stream, .. } = request;
        if model.accepts_client_history {
            client_history::adopt(&mut input, &model);
        } else {
            client_history::ignore_state(&mut input);
        }
        let history = base.as_ref().and_then(|base| early_history(&model, &input, base)).transpose()?;
        let new_input = new_input(&model, &input, base.as_ref(), history.as_ref());
        let presented = base.as_ref().map(|base| PresentedToken::new(base, &input));
        claims.asserted |= model.accepts_client_history && client_history::is_in(&new_input);
        let brings_history = model.accepts_client_history && client_history::has_reply(&new_input);
        let turn = TurnState {
            base,
            presented,
            brings_history,
            stream,
            buffered: !stream,
            ..TurnState::new(deployment, claims, &model, entropy.nonce)
        };
        let state = Opened { model, input, system, options, truncation, history };
        Ok(Self { turn: Box::new(turn), state })
    }
}

/// Verifies a token for `holder`.
pub(super) fn verify(
    deployment: &Deployment,
    token: &str,
    holder: &TokenHolder,
    purpose: TokenPurpose,
    now: UnixSeconds,
    codec: &mut Codec,
) -> Result<VerifiedToken, Error> {
    let token = RawToken::new(token, &deployment.limits)?.authenticate(deployment.token_context(), codec)?;
    token.verify(holder, purpose, &deployment.policy, now)
}

/// Reads the history if only its items tell which part of `input` is new.
fn early_history(model: &Model, input: &[Item], base: &VerifiedToken) -> Option<Result<History, Error>> {
    let may_be_new = model.accepts_client_history && chat::after_last_reply(input) > 0;
    may_be_new.then(|| base.history())
}

/// The items of `input` that do not repeat the conversation.
///
/// Without `history`, all items up to the model's last one count as repeated. [`Exchange::plan`]
/// refuses the turn if they are not.
fn new_input<'a>(
    model: &Model,
    input: &'a [Item],
    base: Option<&VerifiedToken>,
    history: Option<&History>,
) -> Vec<&'a Item> {
    let is_new = match (base, history) {
        (None, _) => None,
        // An error here comes again from `plan`, which refuses the turn then.
        (base, Some(history)) => new_items(model, input, base, history).ok(),
        (Some(_), None) => return input.iter().skip(chat::after_last_reply(input)).collect(),
    };
    let is_new = is_new.unwrap_or_else(|| vec![true; input.len()]);
    input.iter().zip(is_new).filter(|(_, is_new)| *is_new).map(|(item, _)| item).collect()
}

/// Returns true for each item of `input` that does not repeat the conversation.
pub(super) fn new_items(
    model: &Model,
    input: &[Item],
    base: Option<&VerifiedToken>,
    history: &History,
) -> Result<Vec<bool>, Error> {
    let turns = match base.map(|base| base.claims()) {
        // The client brought turns that the count does not have. More may have been trimmed.
        Some(claims) if claims.asserted => u64::MAX,
        claims => claims.map_or(0, |claims| claims.turn),
    };
    history.new_items(input, turns, model.accepts_client_history)
}

/// Selects the model: the requested alias, or else the alias of the token, or else the first model.
/// Also returns the claims of the token to issue. A token with items that a client brought is
/// refused if the model does not accept such items.
fn next_claims(
    deployment: &Deployment,
    alias: Option<&str>,
    base: Option<&VerifiedToken>,
    holder: Option<TokenHolder>,
    now: UnixSeconds,
    entropy: &Entropy,
) -> Result<(Model, Claims), Error> {
    let alias = alias.or_else(|| base.map(|base| base.claims().model.as_str()));
    let (model, alias) = deployment.models.find(alias)?;
    let (token_id, alias) = (Id::new(now, entropy.token_id), alias.to_owned());
    let claims = match (base, holder) {
        (Some(base), _) => base.claims().next(alias, token_id, now, &deployment.policy),
        (None, holder) => {
            let principal = match holder {
                Some(TokenHolder::Known(principal)) => principal,
                _ => Principal::anonymous(entropy.user),
            };
            let conversation = Id::new(now, entropy.conversation);
            Claims::first(principal, alias, [conversation, token_id], now, &deployment.policy)
        }
    };
    // A token that is already expired at its issue would lose the turn that was paid for.
    if claims.expires_at <= now.max(claims.born_at) {
        return Err(Error::TokenExpired { expires_at: claims.expires_at, now });
    }
    if claims.asserted && !model.accepts_client_history {
        return Err(Error::AssertedHistoryForbidden);
    }
    Ok((model.clone(), claims))
}
