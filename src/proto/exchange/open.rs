//! The first step of a turn: verify the token by its claims, and fix the claims of the next one.
//!
//! The step does not inflate the history of the token, which costs much more than everything else.
//! So a server can ask its limits after this step, and refuse a request at a small cost.

use std::sync::Arc;

use super::{
    caller::Caller,
    client_history,
    state::Exchange,
    turn_state::{PresentedToken, TurnState},
};
use crate::proto::{
    chat::Item,
    deployment::{Deployment, Model},
    error::Error,
    principal::Principal,
    time::UnixSeconds,
    token::{Claims, Codec, Id, NONCE_BYTES, PackedToken, RawToken, TokenHolder, TokenPurpose},
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

/// The token is verified except for its history, and the claims of the next token are fixed.
pub struct Opened {
    /// The token to continue.
    pub(super) token: Option<PackedToken>,
    pub(super) model: Model,
    pub(super) input: Vec<Item>,
    pub(super) system: Option<String>,
    pub(super) options: ModelOptions,
    pub(super) truncation: Option<Truncation>,
}

impl Exchange<Opened> {
    /// Verifies the token of `request` for `caller`, selects the model, and fixes the claims of the
    /// next token. A request without a token starts a conversation. The history of the token is
    /// checked by the next step.
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
        let token = match (&request.token, &holder) {
            (Some(token), Some(holder)) => {
                Some(verify(&deployment, token, holder, TokenPurpose::Continue, now, codec)?)
            }
            _ => None,
        };
        let old = token.as_ref().map(PackedToken::claims);
        let (model, claims) = next_claims(&deployment, request.model.as_deref(), old, holder, now, entropy)?;
        let presented = token.as_ref().map(|token| PresentedToken::new(token, &request));
        let TurnRequest { mut input, system, options, truncation, stream, .. } = request;
        if model.accepts_client_history {
            client_history::adopt(&mut input, &model);
        } else {
            client_history::ignore_state(&mut input);
        }
        let brings_history = token.is_none() && model.accepts_client_history && client_history::has_reply(&input);
        let turn = TurnState {
            presented,
            brings_history,
            stream,
            buffered: !stream,
            ..TurnState::new(deployment, claims, &model, entropy.nonce)
        };
        let state = Opened { token, model, input, system, options, truncation };
        Ok(Self { turn: Box::new(turn), state })
    }

    /// The inflated size of the token's history, by which the work of the next step grows.
    #[must_use]
    pub fn token_history_bytes(&self) -> usize {
        self.state.token.as_ref().map_or(0, PackedToken::history_bytes)
    }

    /// Returns true if the request has no token and brings earlier replies of the model itself.
    #[must_use]
    pub fn brings_history(&self) -> bool {
        self.turn.brings_history
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
) -> Result<PackedToken, Error> {
    let token = RawToken::new(token, &deployment.limits)?.authenticate(deployment.token_context(), codec)?;
    token.verify(holder, purpose, &deployment.policy, now)
}

/// Selects the model: the requested alias, or else the alias of the token, or else the first model.
/// Also returns the claims of the token to issue. A token with items that a client brought is
/// refused if the model does not accept such items.
fn next_claims(
    deployment: &Deployment,
    alias: Option<&str>,
    old: Option<&Claims>,
    holder: Option<TokenHolder>,
    now: UnixSeconds,
    entropy: &Entropy,
) -> Result<(Model, Claims), Error> {
    let alias = alias.or_else(|| old.map(|claims| claims.model.as_str()));
    let (model, alias) = deployment.models.find(alias)?;
    let (token_id, alias) = (Id::new(now, entropy.token_id), alias.to_owned());
    let claims = match (old, holder) {
        (Some(old), _) => old.next(alias, token_id, now, &deployment.policy),
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
