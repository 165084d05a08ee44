//! The interface between the service and a guard: requests, permits and revocations.

use std::{net::IpAddr, time::Duration};

use super::{
    subject::LimitSubject,
    turn_end::{Charge, TurnEnd},
};
use crate::proto::{
    allowance::Allowance, error::Error, exchange::PresentedToken, principal::Principal, time::UnixSeconds, token::Id,
};

/// Admits or refuses turns. One guard serves all requests of a process.
pub trait Guard: Send + Sync + 'static {
    /// An admitted turn.
    type Permit: Permit;

    /// Admits a turn. The service calls this after all checks of the request and before it calls
    /// the upstream.
    ///
    /// # Errors
    /// [`Error::TokenRevoked`], [`Error::TokenUsed`], [`Error::RateLimited`],
    /// [`Error::QuotaExceeded`], [`Error::UserBusy`], or [`Error::GuardUnavailable`] if the guard
    /// cannot read the counts that it needs. A refused turn consumes nothing.
    fn admit(&self, request: AdmitRequest) -> impl Future<Output = Result<Self::Permit, Error>> + Send;

    /// Returns the caller's allowance under each limit, in the order of the rules.
    ///
    /// # Errors
    /// [`Error::GuardUnavailable`] if the guard cannot read the counts.
    fn allowances(
        &self,
        subject: LimitSubject,
        moment: Moment,
    ) -> impl Future<Output = Result<Vec<Allowance>, Error>> + Send;

    /// The most turns that one caller may have in flight.
    fn max_concurrent_turns(&self) -> usize;

    /// Revokes tokens before they expire.
    ///
    /// # Errors
    /// [`Error::Unsupported`] without a shared store; [`Error::GuardUnavailable`] if the store does
    /// not answer.
    fn revoke(&self, revocation: Revocation) -> impl Future<Output = Result<Revoked, Error>> + Send;

    /// How long the guard has refused every turn because its store does not answer; zero if it
    /// admits turns. Calls nothing: the answer is that of the last calls.
    fn refusing_for(&self) -> Duration {
        Duration::ZERO
    }
}

/// The effect of a revocation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Revoked {
    /// For a user, the last second whose tokens are revoked: the current second of the clock that
    /// all instances share.
    pub until: Option<UnixSeconds>,
    /// For a user, the number of live conversations that ended, if the guard counts them.
    pub live_conversations: Option<u64>,
    /// True if the token or conversation was already revoked.
    pub was_revoked: bool,
}

/// An admitted turn.
///
/// Dropping a permit ends its turn: as [`TurnEnd::Failed`] before [`Self::model_called`], as
/// [`TurnEnd::ClientLeft`] after it, and as [`TurnEnd::Cut`] after [`Self::reply_started`].
pub trait Permit: Send + 'static {
    /// The caller's allowance under each limit, with this turn counted.
    fn allowances(&self) -> &[Allowance];

    /// Reports that the service is about to call the model. If the client leaves after this, the
    /// turn counts.
    fn model_called(&mut self);

    /// Reports that the client has received a part of the reply. From here on the token is spent.
    fn reply_started(&mut self);

    /// Ends the turn.
    fn settle(self, end: TurnEnd) -> impl Future<Output = ()> + Send;

    /// Ends the turn of a client that has left, and does not wait for a store. The end is the same
    /// as when the permit is dropped. In addition, `charge` counts if the model was called.
    fn client_left(self, charge: Charge);
}

/// A request to admit a turn.
#[derive(Clone, Debug)]
pub struct AdmitRequest {
    /// The purpose, which decides what is checked and consumed.
    pub purpose: GuardPurpose,
    /// The principal of the turn.
    pub principal: Principal,
    /// The address of the client, if it is known.
    pub peer: Option<IpAddr>,
    /// The conversation that the turn starts or continues.
    pub conversation: Id,
    /// The token that the turn continues.
    pub presented: Option<PresentedToken>,
    /// True if the request brings earlier replies of the model itself, with text or calls.
    pub brings_history: bool,
    /// The current time.
    pub moment: Moment,
}

impl AdmitRequest {
    /// The subject that the limits count.
    #[must_use]
    pub fn subject(&self) -> LimitSubject {
        LimitSubject::new(&self.principal, self.peer)
    }

    /// Returns true if the request starts a conversation: it has no token, and brings no earlier
    /// replies of the model.
    #[must_use]
    pub fn starts_conversation(&self) -> bool {
        self.presented.is_none() && !self.brings_history
    }
}

/// The purpose of an [`AdmitRequest`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GuardPurpose {
    /// Count model tokens. Consumes the rate and a concurrency slot, but no quota.
    Count,
    /// Read a history. Consumes nothing; the guard checks only revocation.
    Read,
    /// Take a turn. Consumes the rate, the quotas and a concurrency slot.
    Turn,
}

/// A point in time, on the wall clock and on the monotonic clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct Moment {
    /// The time of day.
    pub now: UnixSeconds,
    /// The time since a fixed moment. It never decreases.
    pub elapsed: Duration,
}

/// The tokens to revoke.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Revocation {
    /// Every token of a conversation.
    Conversation {
        /// The conversation's id.
        id: Id,
    },
    /// One token.
    Token {
        /// The token's id.
        id: Id,
    },
    /// Every token that a user was issued until now, the current second included.
    User {
        /// The user.
        principal: Principal,
    },
}
