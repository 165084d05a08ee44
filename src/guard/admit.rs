//! The interface between the service and a guard: requests, permits and revocations.

use std::{net::IpAddr, time::Duration};

use super::{subject::LimitSubject, turn_end::TurnEnd};
use crate::proto::{
    allowance::Allowance, error::Error, exchange::PresentedToken, principal::Principal, time::UnixSeconds, token::Id,
};

/// Admits or refuses turns and reads. One guard serves all requests of a process.
pub trait Guard: Send + Sync + 'static {
    /// An admitted turn.
    type Permit: Permit;

    /// Admits a turn or a read. The service calls this once the token's claims, caller and times
    /// are checked, and before the costly work: the history of the token, and the upstream call.
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

/// An admitted turn. Dropping a permit ends its turn as [`TurnEnd::Failed`], without a charge.
pub trait Permit: Send + 'static {
    /// The caller's allowance under each limit, with this turn counted.
    fn allowances(&self) -> &[Allowance];

    /// Ends the turn.
    fn settle(self, end: TurnEnd) -> impl Future<Output = ()> + Send;

    /// Ends the turn without waiting for a store: the client has left.
    fn settle_later(self, end: TurnEnd);
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
    /// True if the request has no token and brings earlier replies of the model itself, with text
    /// or calls.
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
    /// Count model tokens. Consumes the read rate and a concurrency slot.
    Count,
    /// Read a history. Consumes the read rate and a concurrency slot.
    Read,
    /// Revoke own tokens. Consumes the read rate and a concurrency slot. Revoked tokens are
    /// accepted.
    Revoke,
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
