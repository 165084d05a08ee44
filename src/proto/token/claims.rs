//! The claims of a token: owner, conversation, times and usage. Checks them against the caller and
//! the time.
//!
//! On the wire, names follow RFC 7519 §4.1. The claims are written as compact JSON in one order,
//! and read in any order. Unknown, duplicate and `null` members are refused, and so is a number
//! that is not plain digits.

use serde::{Deserialize, Deserializer, Serialize};

use super::{TokenFault, frames::CLAIMS_BYTES, id::Id};
use crate::proto::{
    error::Error,
    json::{Object, object_from_str, present},
    principal::Principal,
    time::{LEEWAY_SECONDS, UnixSeconds},
    usage::Usage,
};

/// The deployment's rules for its tokens, the same on all instances.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenPolicy {
    /// The deployment's name (`iss`).
    pub issuer: String,
    /// A token expires this long after its issue.
    pub ttl_seconds: u64,
    /// A token expires at the latest this long after the first turn of its conversation.
    pub max_age_seconds: u64,
    /// True if new tokens are sealed. Both kinds verify in any case.
    pub seal: bool,
}

impl Default for TokenPolicy {
    fn default() -> Self {
        Self { issuer: "holdall".to_owned(), ttl_seconds: 7 * 86_400, max_age_seconds: 30 * 86_400, seal: true }
    }
}

/// The claims of one token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    /// `iss`: the deployment.
    pub issuer: String,
    /// `sub` and `idp`: the user, and the identity provider that authenticated it.
    pub principal: Principal,
    /// `cid`: the conversation.
    pub conversation: Id,
    /// `jti`: this token.
    pub token_id: Id,
    /// `par`: the token that this one continues; absent after the first turn.
    pub parent: Option<Id>,
    /// `born`: the time of the first turn.
    pub born_at: UnixSeconds,
    /// `iat`: the time when this token was issued.
    pub issued_at: UnixSeconds,
    /// `exp`: the time when it expires, by the settings of the instance that issued it.
    pub expires_at: UnixSeconds,
    /// `turn`: the number of turns so far, from 1.
    pub turn: u64,
    /// `model`: the alias of the model.
    pub model: String,
    /// `use`: the model tokens so far, for information.
    pub usage: Usage,
    /// `use.ms`: the upstream time so far in milliseconds, for information.
    pub upstream_millis: u64,
    /// `asserted`: a client brought items of the model, and nothing proves that a model made them.
    /// True for every later token of the conversation.
    pub asserted: bool,
}

impl Claims {
    /// The claims of a conversation's first token.
    #[must_use]
    pub fn first(principal: Principal, model: String, ids: [Id; 2], now: UnixSeconds, policy: &TokenPolicy) -> Self {
        let [conversation, token_id] = ids;
        Self {
            issuer: policy.issuer.clone(),
            principal,
            conversation,
            token_id,
            parent: None,
            born_at: now,
            issued_at: now,
            expires_at: expiry(now, now, policy),
            turn: 1,
            model,
            usage: Usage::default(),
            upstream_millis: 0,
            asserted: false,
        }
    }

    /// The claims of the token that continues this one.
    #[must_use]
    pub fn next(&self, model: String, token_id: Id, now: UnixSeconds, policy: &TokenPolicy) -> Self {
        // The clock can be behind the clock of the first turn. The token must not be older than its
        // conversation.
        let issued_at = now.max(self.born_at);
        Self {
            parent: Some(self.token_id),
            token_id,
            issued_at,
            expires_at: expiry(issued_at, self.born_at, policy),
            turn: self.turn.saturating_add(1).min(UnixSeconds::MAX.0),
            model,
            ..self.clone()
        }
    }

    /// Adds the usage of a turn.
    pub fn add_usage(&mut self, turn: Usage, millis: u64) {
        let add = |sum: &mut u64, more: u64| *sum = sum.saturating_add(more).min(UnixSeconds::MAX.0);
        add(&mut self.usage.input_tokens, turn.input_tokens);
        add(&mut self.usage.output_tokens, turn.output_tokens);
        add(&mut self.usage.cached_tokens, turn.cached_tokens);
        add(&mut self.upstream_millis, millis);
    }

    /// The time when this token expires: its own expiry, or an earlier one by `policy`.
    #[must_use]
    pub fn effective_expiry(&self, policy: &TokenPolicy) -> UnixSeconds {
        self.expires_at.min(expiry(self.issued_at, self.born_at, policy))
    }

    /// The claims as one line of compact JSON, with its line end.
    ///
    /// # Errors
    /// [`Error::RequestInvalid`] if it is longer than 4 KiB.
    pub(super) fn to_line(&self) -> Result<String, Error> {
        if self.turn == 0 || self.model.is_empty() {
            return Err(Error::internal("the claims have no turn or no model"));
        }
        let mut line =
            serde_json::to_string(&RawClaims::from(self)).map_err(|error| Error::internal(error.to_string()))?;
        line.push('\n');
        if line.len() > CLAIMS_BYTES {
            return Err(Error::invalid(format!(
                "The user id, the issuer and the model have {} bytes; the limit is {CLAIMS_BYTES}.",
                line.len()
            )));
        }
        Ok(line)
    }

    /// Reads a claims line.
    pub(super) fn from_line(line: &str) -> Result<Self, TokenFault> {
        object_from_str::<RawClaims>(line).ok().and_then(RawClaims::into_claims).ok_or(TokenFault::Claims)
    }

    /// Checks the deployment, then the caller. Until this has passed, `token_invalid` is the only
    /// answer.
    pub(super) fn check_holder(&self, holder: &TokenHolder, policy: &TokenPolicy) -> Result<(), TokenFault> {
        if self.issuer != policy.issuer {
            return Err(TokenFault::Issuer);
        }
        let owns = match holder {
            TokenHolder::Known(principal) => self.principal == *principal,
            TokenHolder::Bearer => self.principal.is_anonymous(),
        };
        if owns { Ok(()) } else { Err(TokenFault::Subject) }
    }

    /// Checks the times. Call it only after [`Self::check_holder`]: its answer is for the owner.
    pub(super) fn check_times(
        &self,
        purpose: TokenPurpose,
        policy: &TokenPolicy,
        now: UnixSeconds,
    ) -> Result<(), Error> {
        let ordered = self.born_at <= self.issued_at && self.issued_at <= self.expires_at;
        if !ordered || self.issued_at > now.plus(LEEWAY_SECONDS) {
            return Err(TokenFault::Times.into());
        }
        let expires_at = match purpose {
            TokenPurpose::Continue => self.effective_expiry(policy),
            TokenPurpose::Read => self.born_at.plus(policy.max_age_seconds),
        };
        if now < expires_at.plus(LEEWAY_SECONDS) { Ok(()) } else { Err(Error::TokenExpired { expires_at, now }) }
    }
}

/// The caller that presents a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenHolder {
    /// A caller without a name. It owns every token of an anonymous user that it presents.
    Bearer,
    /// This user.
    Known(Principal),
}

/// The use that a token is verified for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenPurpose {
    /// To continue the conversation.
    Continue,
    /// To read the history. The owner can do so until [`TokenPolicy::max_age_seconds`].
    Read,
}

/// The claims on the wire, in the order of writing.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawClaims {
    iss: String,
    sub: String,
    idp: String,
    cid: Id,
    jti: Id,
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    par: Option<Id>,
    born: UnixSeconds,
    iat: UnixSeconds,
    exp: UnixSeconds,
    turn: u64,
    model: String,
    #[serde(rename = "use", deserialize_with = "object")]
    used: RawUsage,
    /// `true` or absent.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    asserted: Option<bool>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawUsage {
    r#in: u64,
    out: u64,
    cached: u64,
    ms: u64,
}

impl RawClaims {
    fn into_claims(self) -> Option<Claims> {
        let RawUsage { r#in, out, cached, ms } = self.used;
        let numbers = [self.born.0, self.iat.0, self.exp.0, self.turn, r#in, out, cached, ms];
        let is_large = numbers.into_iter().any(|number| number > UnixSeconds::MAX.0);
        if is_large || self.turn == 0 || self.model.is_empty() || self.asserted == Some(false) {
            return None;
        }
        Some(Claims {
            issuer: self.iss,
            principal: Principal::new(self.sub, self.idp).ok()?,
            conversation: self.cid,
            token_id: self.jti,
            parent: self.par,
            born_at: self.born,
            issued_at: self.iat,
            expires_at: self.exp,
            turn: self.turn,
            model: self.model,
            usage: Usage { input_tokens: r#in, output_tokens: out, cached_tokens: cached, ..Usage::default() },
            upstream_millis: ms,
            asserted: self.asserted.is_some(),
        })
    }
}

impl From<&Claims> for RawClaims {
    fn from(claims: &Claims) -> Self {
        Self {
            iss: claims.issuer.clone(),
            sub: claims.principal.subject().to_owned(),
            idp: claims.principal.idp().to_owned(),
            cid: claims.conversation,
            jti: claims.token_id,
            par: claims.parent,
            born: claims.born_at,
            iat: claims.issued_at,
            exp: claims.expires_at,
            turn: claims.turn,
            model: claims.model.clone(),
            used: RawUsage {
                r#in: claims.usage.input_tokens,
                out: claims.usage.output_tokens,
                cached: claims.usage.cached_tokens,
                ms: claims.upstream_millis,
            },
            asserted: claims.asserted.then_some(true),
        }
    }
}

fn object<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<T, D::Error> {
    Object::deserialize(deserializer).map(|object| object.0)
}

fn expiry(issued_at: UnixSeconds, born_at: UnixSeconds, policy: &TokenPolicy) -> UnixSeconds {
    issued_at.plus(policy.ttl_seconds).min(born_at.plus(policy.max_age_seconds))
}
