//! The guard of the native server: on the store that the configuration names, else in this process.

use std::time::Duration;

#[cfg(feature = "redis")]
use crate::shell::redis::{News, RedisGuard, RedisPermit, Watch};
use crate::{
    guard::{
        AdmitRequest, Charge, Guard, LimitSubject, LocalGuard, LocalPermit, Moment, Permit, Revocation, Rules, Seed,
        Store, TurnEnd,
    },
    proto::{allowance::Allowance, error::Error, time::UnixSeconds},
};
#[cfg(feature = "redis")]
use crate::{
    service::{Log as _, Notice},
    shell::StderrLog,
};

/// What turns are admitted by.
#[derive(Debug)]
pub enum NativeGuard {
    /// Counts of this process.
    Local(LocalGuard),
    /// Counts of all instances.
    #[cfg(feature = "redis")]
    Redis(Box<RedisGuard>),
}

impl NativeGuard {
    /// A guard of these rules, on `store` if there is one. To be called on a runtime.
    ///
    /// # Errors
    /// Why there is no way to the store, without the feature `redis` too.
    pub fn new(rules: Rules, store: Option<&Store>) -> Result<Self, String> {
        match store {
            None => Ok(Self::Local(LocalGuard::new(rules, seed()))),
            #[cfg(feature = "redis")]
            Some(store) => Self::shared(rules, store, Box::new(tell)),
            #[cfg(not(feature = "redis"))]
            Some(_) => Err("guard.redis_url: this was built without the feature `redis`".to_owned()),
        }
    }

    /// A guard on a store, for a command that says itself what went wrong.
    ///
    /// # Errors
    /// As [`Self::new`].
    #[cfg(feature = "redis")]
    pub fn quiet(rules: Rules, store: &Store) -> Result<Self, String> {
        Self::shared(rules, store, Box::new(|_| ()))
    }

    #[cfg(feature = "redis")]
    fn shared(rules: Rules, store: &Store, watch: Watch) -> Result<Self, String> {
        let guard =
            RedisGuard::new(rules, seed(), store, watch).map_err(|fault| format!("guard.redis_url: {fault}"))?;
        Ok(Self::Redis(Box::new(guard)))
    }

    /// Replaces the rules for the turns to come; what was counted stays counted in every period that the new ones have.
    pub fn set_rules(&self, rules: Rules) {
        match self {
            Self::Local(guard) => guard.set_rules(rules),
            #[cfg(feature = "redis")]
            Self::Redis(guard) => guard.set_rules(rules),
        }
    }

    /// What an operator should know of the store, that it does not answer for one.
    pub async fn look(&self) -> Vec<String> {
        match self {
            Self::Local(_) => Vec::new(),
            #[cfg(feature = "redis")]
            Self::Redis(guard) => guard.look().await.unwrap_or_else(|fault| vec![fault]),
        }
    }

    /// Whether the store has seen this deployment take a turn.
    ///
    /// # Errors
    /// Why it does not answer, in words for the operator.
    pub async fn is_known(&self) -> Result<bool, String> {
        match self {
            Self::Local(_) => Ok(true),
            #[cfg(feature = "redis")]
            Self::Redis(guard) => guard.is_known().await,
        }
    }

    /// Waits until the store was told of all turns that have ended, or for `limit`.
    #[cfg_attr(not(feature = "redis"), expect(unused_variables, reason = "nothing is told late in one process"))]
    pub async fn flush(&self, limit: Duration) {
        match self {
            Self::Local(_) => {}
            #[cfg(feature = "redis")]
            Self::Redis(guard) => guard.flush(limit).await,
        }
    }
}

impl Guard for NativeGuard {
    type Permit = NativePermit;

    async fn admit(&self, ask: AdmitRequest) -> Result<NativePermit, Error> {
        match self {
            Self::Local(guard) => guard.admit(ask).await.map(NativePermit::Local),
            #[cfg(feature = "redis")]
            Self::Redis(guard) => guard.admit(ask).await.map(|permit| NativePermit::Redis(Box::new(permit))),
        }
    }

    async fn standing(&self, counted: LimitSubject, moment: Moment) -> Result<Vec<Allowance>, Error> {
        match self {
            Self::Local(guard) => guard.standing(counted, moment).await,
            #[cfg(feature = "redis")]
            Self::Redis(guard) => guard.standing(counted, moment).await,
        }
    }

    fn turns_at_once(&self) -> usize {
        match self {
            Self::Local(guard) => guard.turns_at_once(),
            #[cfg(feature = "redis")]
            Self::Redis(guard) => guard.turns_at_once(),
        }
    }

    async fn revoke(&self, revocation: Revocation) -> Result<Option<UnixSeconds>, Error> {
        match self {
            Self::Local(guard) => guard.revoke(revocation).await,
            #[cfg(feature = "redis")]
            Self::Redis(guard) => guard.revoke(revocation).await,
        }
    }
}

/// One admitted turn.
#[derive(Debug)]
pub enum NativePermit {
    /// Counted in this process.
    Local(LocalPermit),
    /// Counted by the store.
    #[cfg(feature = "redis")]
    Redis(Box<RedisPermit>),
}

impl Permit for NativePermit {
    fn standing(&self) -> &[Allowance] {
        match self {
            Self::Local(permit) => permit.standing(),
            #[cfg(feature = "redis")]
            Self::Redis(permit) => permit.standing(),
        }
    }

    fn call(&mut self) {
        match self {
            Self::Local(permit) => permit.call(),
            #[cfg(feature = "redis")]
            Self::Redis(permit) => permit.call(),
        }
    }

    fn show(&mut self) {
        match self {
            Self::Local(permit) => permit.show(),
            #[cfg(feature = "redis")]
            Self::Redis(permit) => permit.show(),
        }
    }

    async fn settle(self, ending: TurnEnd) {
        match self {
            Self::Local(permit) => permit.settle(ending).await,
            #[cfg(feature = "redis")]
            Self::Redis(permit) => permit.settle(ending).await,
        }
    }

    fn leave(self, used: Charge) {
        match self {
            Self::Local(permit) => permit.leave(used),
            #[cfg(feature = "redis")]
            Self::Redis(permit) => permit.leave(used),
        }
    }
}

/// What this process knows callers by.
fn seed() -> Seed {
    let mut random = [0; 32];
    // Where there is no randomness no token is issued either, and nobody is counted.
    let _ = getrandom::fill(&mut random);
    Seed::new(random)
}

/// Puts a line into the operator's log, beside those of requests.
#[cfg(feature = "redis")]
fn tell(news: News<'_>) {
    let (notice, detail) = match news {
        News::Found => ("guard_store_found", String::new()),
        News::Lost(cause) => ("guard_store_lost", cause.to_owned()),
        News::Troubled(cause) => ("guard_store_troubled", cause.to_owned()),
    };
    StderrLog.notice(&Notice { notice, detail });
}
