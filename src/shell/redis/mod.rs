//! The guard on a server of the Redis protocol: limits that hold over all instances, single use, revocation.
//!
//! ```text
//!                 admit.lua                                   settle.lua
//! turn ─▶ admit ─────────────▶ permit ─▶ upstream ─▶ settle ─────────────▶ counted, spent or given back
//!           │ all or nothing: lease of the token,       │ once, however often it is told
//!           │ a place, the rate, turns, conversations   └ no answer: told again beside, for a lease
//!           ▼
//!         Error
//! ```
//! One round trip before a turn and one after. Time is the store's own. Each key but the birth expires by itself; names
//! are hashes, values are numbers, random bytes and keyed hashes: there is no text at the store (`keys`).
//!
//! **Checked, in this order:** the store's birth, revocation (user, conversation, token), single use, rate, quotas,
//! places; of rate and quotas the longest wait is told. Nothing is taken where anything refuses. What a turn uses counts in
//! the period in which it began, left by its client as well; failed, it gives back turn and conversation, and what it took
//! of the rate stays taken, as in [`LocalGuard`]. To read a history asks for the first two; to count model tokens takes
//! a place and from the rate.
//!
//! **Birth.** The store notes when it first saw itself empty. While revocation or single use are on, tokens issued in an
//! earlier second get `guard_unavailable`: what is known of them may be lost. They are issued by an instance's clock; one
//! that is behind the store's by a few seconds has the tokens of the first few seconds refused. A fleet that is given its
//! first store has nothing to lose yet: `dangerous_trust_empty_guard` lets its older tokens through, and can go once `ttl`
//! is over.
//!
//! **Single use** is a lease while the turn is under way, named by random bytes and holding the keyed hash of the input;
//! the store forgets it after [`Rules::lease`](super::Rules::lease), should nobody come back. Whole or cut, the token is
//! spent until it would have expired. Spent, it is taken again for ten minutes from its first use with the same input: the
//! answer may have been lost. A turn that failed, or was left before anything was shown, gives it back.
//!
//! **Without the store** each call fails within the time-out, and at once for a second after one that did. Where revocation
//! or single use are on, turns are refused (`guard_unavailable`); else the limits of one instance count ([`LocalGuard`]).
//! Where it is not known whether a turn was admitted, the store is told in the background that it failed, and refuses to
//! admit it later. What answers and is no single store of this protocol (a cluster's node, a Sentinel, another server) is
//! as good as none, and named in the operator's log.

mod fault;
mod keys;
mod link;
mod scripts;
mod settling;
mod standing;

use std::{
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

pub use self::link::{News, Watch};
use self::{
    fault::StoreFault,
    keys::{HOLDER_BYTES, Keys},
    link::Link,
    scripts::{Admission, AdmissionReply, Scripts, TurnEntry},
    settling::Settling,
    standing::Counts,
};
use crate::{
    guard::{
        AdmitRequest, Charge, Guard, GuardPurpose, LimitSubject, LocalGuard, LocalPermit, Moment, Permit, Revocation,
        Rules, Seed, Store, TurnEnd,
    },
    proto::{allowance::Allowance, error::Error, time::UnixSeconds},
};

/// Admits turns by what all instances have counted.
#[derive(Debug)]
pub struct RedisGuard {
    shared: Arc<Shared>,
    settling: Settling,
    local: LocalGuard,
}

/// What calls need, wherever they come from.
#[derive(Debug)]
struct Shared {
    rules: RwLock<Arc<Rules>>,
    keys: Keys,
    scripts: Scripts,
    link: Link,
}

impl RedisGuard {
    /// A guard of these rules; nothing is connected yet. To be called on a runtime. `watch` is told when the store is lost
    /// and found.
    ///
    /// # Errors
    /// What is wrong with the store's URL.
    pub fn new(rules: Rules, seed: Seed, store: &Store, watch: Watch) -> Result<Self, String> {
        let local = LocalGuard::new(rules.clone(), seed);
        let (keys, scripts) = (Keys::new(&store.namespace), Scripts::new());
        let shared =
            Arc::new(Shared { rules: RwLock::new(Arc::new(rules)), keys, scripts, link: Link::new(store, watch)? });
        Ok(Self { settling: Settling::start(Arc::clone(&shared)), shared, local })
    }

    /// Replaces the rules for the turns to come. What was counted stays counted in every period that the new rules have.
    /// Leases stay as long as they were: they go by how long a turn may take, which only a start changes.
    pub fn set_rules(&self, rules: Rules) {
        let rules = Rules { lease: self.shared.rules().lease, ..rules };
        self.local.set_rules(rules.clone());
        *self.shared.rules.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(rules);
    }

    /// Sees whether the store answers, and says what an operator should know of it.
    ///
    /// # Errors
    /// Why it does not, in words for the operator.
    pub async fn look(&self) -> Result<Vec<String>, String> {
        self.shared.link.look().await.map_err(|fault| fault.to_string())
    }

    /// Whether the store has seen this deployment take a turn.
    ///
    /// # Errors
    /// As [`Self::look`].
    pub async fn is_known(&self) -> Result<bool, String> {
        let Shared { link, keys, .. } = &*self.shared;
        link.has(&keys.birth()).await.map_err(|fault| fault.to_string())
    }

    /// Waits until the store was told of all turns that have ended, or for `limit`.
    pub async fn flush(&self, limit: Duration) {
        self.settling.flush(limit).await;
    }

    async fn ask(&self, turn: &TurnEntry) -> Result<Admission, StoreFault> {
        let Shared { keys, scripts, link, .. } = &*self.shared;
        link.run(&scripts.admit(keys, turn)).await
    }

    fn refusal(rules: &Rules, verdict: AdmissionReply, counts: &Counts) -> Error {
        let unavailable =
            |cause: String| Error::GuardUnavailable { cause: format!("guard store: {cause}"), retryable: true };
        let told = || unavailable("its counts do not fit the rules".to_owned());
        match verdict {
            AdmissionReply::Admitted | AdmissionReply::Stale => unavailable("the turn was given up".to_owned()),
            AdmissionReply::Busy => Error::UserBusy { limit: rules.turns_at_once },
            AdmissionReply::Fast(wait) => {
                counts.too_fast(rules, wait).map_or_else(told, |of| Error::RateLimited(Box::new(of)))
            }
            AdmissionReply::Older(birth) => Error::GuardUnavailable {
                cause: format!(
                    "guard store: born at {}, after the token was issued; what it knew of older tokens may be lost \
                     (guard.dangerous_trust_empty_guard)",
                    UnixSeconds(birth)
                ),
                retryable: false,
            },
            AdmissionReply::Revoked => Error::TokenRevoked,
            AdmissionReply::Short(quota, count) => {
                counts.used_up(rules, quota, count).map_or_else(told, |of| Error::QuotaExceeded(Box::new(of)))
            }
            AdmissionReply::Charge { under_way } => Error::TokenUsed { in_progress: under_way },
        }
    }
}

impl Guard for RedisGuard {
    type Permit = RedisPermit;

    async fn admit(&self, ask: AdmitRequest) -> Result<RedisPermit, Error> {
        let rules = self.shared.rules();
        // Without the store such turns wait to be told of through no fault of their caller's.
        if ask.purpose != GuardPurpose::Read && self.shared.link.is_up() && self.settling.is_busy(&ask.subject()) {
            return Err(Error::UserBusy { limit: rules.turns_at_once });
        }
        let mut holder = [0; HOLDER_BYTES];
        getrandom::fill(&mut holder).map_err(|error| Error::internal(format!("no random bytes: {error}")))?;
        // From here on the turn is given back if this is dropped, or the answer gets lost.
        let mut asking = SharedPermit::new(self, TurnEntry::new(&ask, rules, holder));
        match self.ask(&asking.turn).await {
            Ok(Admission { verdict: AdmissionReply::Admitted, counts }) => {
                let standing = counts.standing(&asking.turn.rules);
                asking.turn.admitted = Some(counts);
                Ok(RedisPermit { standing, of: Of::Store(Box::new(asking)) })
            }
            Ok(Admission { verdict, counts }) => {
                asking.is_open = false;
                Err(Self::refusal(&asking.turn.rules, verdict, &counts))
            }
            Err(fault) => {
                asking.is_open &= fault.may_have_run;
                let fails_closed = fails_closed(&asking.turn.rules);
                drop(asking);
                if fails_closed {
                    return Err(fault.into());
                }
                let permit = self.local.admit(ask).await?;
                Ok(RedisPermit { standing: permit.standing().to_vec(), of: Of::Process(permit) })
            }
        }
    }

    async fn standing(&self, counted: LimitSubject, moment: Moment) -> Result<Vec<Allowance>, Error> {
        let (Shared { keys, scripts, link, .. }, rules) = (&*self.shared, self.shared.rules());
        match link.run(&scripts.standing(keys, &rules, &counted)).await {
            Ok(numbers) => Ok(Counts::new(numbers).standing(&rules)),
            Err(fault) if fails_closed(&rules) => Err(fault.into()),
            Err(_) => self.local.standing(counted, moment).await,
        }
    }

    fn turns_at_once(&self) -> usize {
        self.shared.rules().turns_at_once
    }

    async fn revoke(&self, revocation: Revocation) -> Result<Option<UnixSeconds>, Error> {
        let (Shared { keys, scripts, link, .. }, rules) = (&*self.shared, self.shared.rules());
        if !rules.revocation {
            return Err(Error::Unsupported {
                detail: "This server does not revoke: `guard.revocation` is off.".to_owned(),
            });
        }
        let second: u64 = link.run(&scripts.revoke(keys, &rules, &revocation)).await?;
        Ok(matches!(revocation, Revocation::User { .. }).then_some(UnixSeconds(second)))
    }
}

impl Shared {
    fn rules(&self) -> Arc<Rules> {
        Arc::clone(&self.rules.read().unwrap_or_else(PoisonError::into_inner))
    }

    async fn settle(&self, turn: &TurnEntry, ending: TurnEnd) -> Result<(), StoreFault> {
        let part: String = self.link.run(&self.scripts.settle(&self.keys, turn, ending)).await?;
        if part.is_empty() {
            return Ok(());
        }
        let fault = StoreFault::of_part(&part);
        self.link.trouble(&fault);
        Err(fault)
    }
}

/// Whether a turn may not go on without the store's word.
fn fails_closed(rules: &Rules) -> bool {
    rules.revocation || rules.single_use
}

impl From<StoreFault> for Error {
    fn from(fault: StoreFault) -> Self {
        Self::GuardUnavailable { cause: fault.to_string(), retryable: true }
    }
}

/// One admitted turn.
#[derive(Debug)]
pub struct RedisPermit {
    standing: Vec<Allowance>,
    of: Of,
}

#[derive(Debug)]
enum Of {
    /// The store was out of reach.
    Process(LocalPermit),
    Store(Box<SharedPermit>),
}

impl Permit for RedisPermit {
    fn standing(&self) -> &[Allowance] {
        &self.standing
    }

    fn call(&mut self) {
        match &mut self.of {
            Of::Process(permit) => permit.call(),
            Of::Store(permit) => permit.ending = permit.ending.called(),
        }
    }

    fn show(&mut self) {
        match &mut self.of {
            Of::Process(permit) => permit.show(),
            Of::Store(permit) => permit.ending = TurnEnd::Cut(Charge::default()),
        }
    }

    async fn settle(self, ending: TurnEnd) {
        match self.of {
            Of::Process(permit) => permit.settle(ending).await,
            Of::Store(permit) => permit.settle(ending).await,
        }
    }

    fn leave(self, used: Charge) {
        match self.of {
            Of::Process(permit) => permit.leave(used),
            Of::Store(mut permit) => permit.ending = permit.ending.having(used),
        }
    }
}

/// What a turn has taken at the store. Dropped, it tells in the background how the turn ended.
#[derive(Debug)]
struct SharedPermit {
    shared: Arc<Shared>,
    settling: Settling,
    turn: TurnEntry,
    /// How the turn ends if nothing more is said.
    ending: TurnEnd,
    /// Whether there is something to tell.
    is_open: bool,
}

impl SharedPermit {
    fn new(guard: &RedisGuard, turn: TurnEntry) -> Self {
        let (shared, settling) = (Arc::clone(&guard.shared), guard.settling.clone());
        // Reading takes nothing.
        let is_open = turn.purpose != GuardPurpose::Read;
        Self { shared, settling, turn, ending: TurnEnd::Failed, is_open }
    }

    /// Waits for the store no longer than a call may take; whoever stops waiting has it told all the same.
    async fn settle(mut self, ending: TurnEnd) {
        self.ending = ending;
        if self.is_open {
            match self.shared.settle(&self.turn, ending).await {
                Err(fault) if fault.is_of_store => {}
                _ => self.is_open = false,
            }
        }
    }
}

impl Drop for SharedPermit {
    fn drop(&mut self) {
        if self.is_open
            && let Err(fault) = self.settling.tell(self.turn.clone(), self.ending)
        {
            self.shared.link.trouble(&fault);
        }
    }
}
