//! Guards: what bounds a caller beyond a single request (design §9).
//!
//! ```text
//! turn ─▶ admit ─▶ permit ─▶ upstream ─▶ settle(ending)
//!           │ revoked, used, too fast, used up, busy: the error        │ whole: counts what was used
//!           ▼                                                          │ cut: the token is spent
//!         Error                                                        │ left: counts, and the token is good
//!                                                                      └ failed: as if it had not been
//! ```
//! A guard is asked once before the model is called and told once after. What it remembers are counts and hashes.

mod gcra;
mod local;
mod rules;
mod seed;

use std::{net::IpAddr, time::Duration};

use crate::proto::{
    allowance::Allowance, error::Error, exchange::PresentedToken, principal::Principal, time::UnixSeconds, token::Id,
};

#[cfg(feature = "redis")]
pub(crate) use self::rules::COUNTS;
pub use self::{
    local::{LocalGuard, LocalPermit},
    rules::{Quota, Rate, Rules, Store},
    seed::Seed,
};

/// Admits turns, or says why not.
pub trait Guard: Send + Sync + 'static {
    /// An admitted turn.
    type Permit: Permit;

    /// Asks for a turn. Comes after every check of the request and before the upstream is called.
    ///
    /// # Errors
    /// [`Error::TokenRevoked`], [`Error::TokenUsed`], [`Error::RateLimited`], [`Error::QuotaExceeded`],
    /// [`Error::UserBusy`], or [`Error::GuardUnavailable`] where what must be known cannot be.
    fn admit(&self, ask: AdmitRequest) -> impl Future<Output = Result<Self::Permit, Error>> + Send;

    /// Where a caller stands under each limit.
    ///
    /// # Errors
    /// [`Error::GuardUnavailable`].
    fn standing(
        &self,
        counted: LimitSubject,
        moment: Moment,
    ) -> impl Future<Output = Result<Vec<Allowance>, Error>> + Send;

    /// How many turns a caller may have under way.
    fn turns_at_once(&self) -> usize;

    /// Ends the use of tokens before their time. For a user, gives the last second whose tokens are revoked: the one it
    /// is by the clock that all instances share.
    ///
    /// # Errors
    /// [`Error::Unsupported`] without a shared store; [`Error::GuardUnavailable`].
    fn revoke(&self, revocation: Revocation) -> impl Future<Output = Result<Option<UnixSeconds>, Error>> + Send;
}

/// An admitted turn. Dropping it ends the turn without a word: as failed, as left once the model was called, or as cut if
/// something had been shown.
pub trait Permit: Send + 'static {
    /// Where the caller stands with this turn counted.
    fn standing(&self) -> &[Allowance];

    /// The model is about to be called: a client that leaves from here on has had its turn.
    fn call(&mut self);

    /// Something of the reply was shown to the client: the token is spent from here on.
    fn show(&mut self);

    /// Ends the turn.
    fn settle(self, ending: TurnEnd) -> impl Future<Output = ()> + Send;

    /// Ends the turn of a client that has left, without waiting for anything: as dropping it does, but for what it used
    /// until then, which counts once the model was called.
    fn leave(self, used: Charge);
}

/// What a guard is asked.
#[derive(Clone, Debug)]
pub struct AdmitRequest {
    /// What for.
    pub purpose: GuardPurpose,
    /// Whose turn it is.
    pub principal: Principal,
    /// Where the request came from.
    pub peer: Option<IpAddr>,
    /// The conversation that it begins or continues.
    pub conversation: Id,
    /// The token that it continues; none begins a conversation.
    pub presented: Option<PresentedToken>,
    /// When.
    pub moment: Moment,
}

impl AdmitRequest {
    /// Whom the limits count.
    #[must_use]
    pub fn subject(&self) -> LimitSubject {
        LimitSubject::of(&self.principal, self.peer)
    }
}

/// What a caller wants to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GuardPurpose {
    /// Have model tokens counted: takes from the rate alone.
    Count,
    /// Read a history: takes nothing, and is refused where the token was revoked.
    Read,
    /// Take a turn.
    Turn,
}

/// Whom limits count.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum LimitSubject {
    /// Whoever calls from this address: callers without a name, who could take a new one for each turn. Of an IPv6
    /// address the first 64 bits count, which one network has.
    Peer(IpAddr),
    /// A user.
    User(Principal),
}

impl LimitSubject {
    /// Whom to count for a turn of this principal's from this address.
    #[must_use]
    pub fn of(principal: &Principal, peer: Option<IpAddr>) -> Self {
        match peer {
            Some(peer) if principal.is_anonymous() => Self::Peer(network(peer)),
            _ => Self::User(principal.clone()),
        }
    }
}

/// Whom an address stands for: itself, or of an IPv6 address the network of 64 bits that one party has.
pub(crate) fn network(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6((u128::from(address) & !u128::from(u64::MAX)).into()),
        address @ IpAddr::V4(_) => address,
    }
}

/// A point in time, by both clocks.
#[derive(Clone, Copy, Debug, Default)]
pub struct Moment {
    /// The time of day.
    pub now: UnixSeconds,
    /// The time since some fixed moment; never goes back.
    pub elapsed: Duration,
}

/// How an admitted turn ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TurnEnd {
    /// It broke off after something was shown: the token is spent.
    Cut(Charge),
    /// It failed before anything was shown; the token is good for another try, and nothing counts.
    Failed,
    /// Its client left before anything was shown: the token is good for another try, and the turn counts, since leaving
    /// is the client's doing.
    ClientLeft(Charge),
    /// It is whole.
    Complete(Charge),
}

impl TurnEnd {
    /// The end of a turn that is left once the model is called, if this is how it ends when it is left now.
    pub(crate) fn called(self) -> Self {
        if self == Self::Failed { Self::ClientLeft(Charge::default()) } else { self }
    }

    /// The same, having used this.
    pub(crate) fn having(self, used: Charge) -> Self {
        match self {
            Self::Cut(_) => Self::Cut(used),
            Self::Failed => Self::Failed,
            Self::ClientLeft(_) => Self::ClientLeft(used),
            Self::Complete(_) => Self::Complete(used),
        }
    }
}

/// What a turn used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Charge {
    /// Model tokens, in and out.
    pub model_tokens: u64,
    /// The inflated history that the turn carried, its own items included.
    pub history_bytes: u64,
    /// For how long the upstream worked.
    pub upstream_millis: u64,
}

/// What is to be good no more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Revocation {
    /// Every token of a conversation.
    Conversation {
        /// Its id.
        id: Id,
    },
    /// One token.
    Token {
        /// Its id.
        id: Id,
    },
    /// Every token of a user's that was issued until now, this second included.
    User {
        /// The user.
        principal: Principal,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_no_name_counts_by_address() {
        let (anonymous, ada) = (Principal::anonymous([1; 16]), Principal::new("ada", "none").unwrap());
        let peer = |text: &str| Some(text.parse().unwrap());
        let of = |text: &str| LimitSubject::of(&anonymous, peer(text));
        assert_eq!(of("192.0.2.7"), LimitSubject::Peer("192.0.2.7".parse().unwrap()));
        assert_eq!(of("::ffff:192.0.2.7"), of("192.0.2.7"));
        assert_eq!(of("2001:db8:1:2::1"), of("2001:db8:1:2:ffff::2"));
        assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
        assert_eq!(LimitSubject::of(&ada, peer("192.0.2.7")), LimitSubject::User(ada.clone()));
        assert_eq!(LimitSubject::of(&anonymous, None), LimitSubject::User(anonymous.clone()));
    }
}
