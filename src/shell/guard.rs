//! The guard of the native server: on the configured limits store, or else in this process.

use std::time::Duration;

#[cfg(feature = "redis")]
use super::{
    log::StderrLog,
    redis::{RedisGuard, RedisPermit, StoreEvent, StoreObserver},
};
#[cfg(feature = "redis")]
use crate::service::{Log as _, Notice};
use crate::{
    config::StoreConfig,
    guard::{
        AdmitRequest, Guard, KeyedHash, LimitSubject, LocalGuard, LocalPermit, Moment, Permit, Revocation, Revoked,
        Rules, TurnEnd,
    },
    proto::{allowance::Allowance, error::Error},
    service::EntropySource as _,
    shell::entropy::SystemEntropy,
};

/// The guard of the native server.
#[derive(Debug)]
pub enum NativeGuard {
    /// Counts in this process.
    Local(LocalGuard),
    /// Counts across all instances.
    #[cfg(feature = "redis")]
    Redis(Box<RedisGuard>),
}

impl NativeGuard {
    /// A guard that enforces `rules`, on `store` if there is one. It reports outages of the store
    /// in the operator's log. Must be called within a Tokio runtime.
    ///
    /// # Errors
    /// The reason why the store's URL is invalid; with a store, the lack of the feature `redis`.
    pub fn new(rules: Rules, store: Option<&StoreConfig>) -> Result<Self, String> {
        match store {
            None => Ok(Self::Local(LocalGuard::new(rules, random_hash()))),
            #[cfg(feature = "redis")]
            Some(store) => Self::on_store(rules, store, Box::new(log_event)),
            #[cfg(not(feature = "redis"))]
            Some(_) => Err("guard.redis_url: this binary was built without the feature `redis`".to_owned()),
        }
    }

    /// A guard on a store that does not write to the log, for a command that reports errors itself.
    ///
    /// # Errors
    /// The reason why the store's URL is invalid.
    #[cfg(feature = "redis")]
    pub fn without_log(rules: Rules, store: &StoreConfig) -> Result<Self, String> {
        Self::on_store(rules, store, Box::new(|_| ()))
    }

    #[cfg(feature = "redis")]
    fn on_store(rules: Rules, store: &StoreConfig, observer: StoreObserver) -> Result<Self, String> {
        let guard = RedisGuard::new(rules, random_hash(), store, observer);
        let guard = guard.map_err(|fault| format!("guard.redis_url: {fault}"))?;
        Ok(Self::Redis(Box::new(guard)))
    }

    /// Replaces the rules for new turns. Counts are kept for every period that the new rules have
    /// as well.
    pub fn set_rules(&self, rules: Rules) {
        match self {
            Self::Local(guard) => guard.set_rules(rules),
            #[cfg(feature = "redis")]
            Self::Redis(guard) => guard.set_rules(rules),
        }
    }

    /// The warnings for the operator about the store: its settings, or that it does not answer.
    pub async fn warnings(&self) -> Vec<String> {
        match self {
            Self::Local(_) => Vec::new(),
            #[cfg(feature = "redis")]
            Self::Redis(guard) => guard.warnings().await.unwrap_or_else(|fault| vec![fault]),
        }
    }

    /// Returns true if the store knows this deployment, which has admitted a turn there.
    ///
    /// # Errors
    /// The reason why the store does not answer, for the operator.
    pub async fn knows_deployment(&self) -> Result<bool, String> {
        match self {
            Self::Local(_) => Ok(true),
            #[cfg(feature = "redis")]
            Self::Redis(guard) => guard.knows_deployment().await,
        }
    }

    /// Waits until the store has the ends of all turns, at most for `limit`.
    #[cfg_attr(not(feature = "redis"), expect(unused_variables, reason = "only a store can be behind"))]
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

    async fn admit(&self, request: AdmitRequest) -> Result<NativePermit, Error> {
        match self {
            Self::Local(guard) => guard.admit(request).await.map(NativePermit::Local),
            #[cfg(feature = "redis")]
            Self::Redis(guard) => guard.admit(request).await.map(|permit| NativePermit::Redis(Box::new(permit))),
        }
    }

    async fn allowances(&self, subject: LimitSubject, moment: Moment) -> Result<Vec<Allowance>, Error> {
        match self {
            Self::Local(guard) => guard.allowances(subject, moment).await,
            #[cfg(feature = "redis")]
            Self::Redis(guard) => guard.allowances(subject, moment).await,
        }
    }

    fn max_concurrent_turns(&self) -> usize {
        match self {
            Self::Local(guard) => guard.max_concurrent_turns(),
            #[cfg(feature = "redis")]
            Self::Redis(guard) => guard.max_concurrent_turns(),
        }
    }

    async fn revoke(&self, revocation: Revocation) -> Result<Revoked, Error> {
        match self {
            Self::Local(guard) => guard.revoke(revocation).await,
            #[cfg(feature = "redis")]
            Self::Redis(guard) => guard.revoke(revocation).await,
        }
    }

    fn refusing_for(&self) -> Duration {
        match self {
            Self::Local(guard) => guard.refusing_for(),
            #[cfg(feature = "redis")]
            Self::Redis(guard) => guard.refusing_for(),
        }
    }
}

/// An admitted turn.
#[derive(Debug)]
pub enum NativePermit {
    /// Counted in this process.
    Local(LocalPermit),
    /// Counted by the store.
    #[cfg(feature = "redis")]
    Redis(Box<RedisPermit>),
}

impl Permit for NativePermit {
    fn allowances(&self) -> &[Allowance] {
        match self {
            Self::Local(permit) => permit.allowances(),
            #[cfg(feature = "redis")]
            Self::Redis(permit) => permit.allowances(),
        }
    }

    async fn settle(self, end: TurnEnd) {
        match self {
            Self::Local(permit) => permit.settle(end).await,
            #[cfg(feature = "redis")]
            Self::Redis(permit) => permit.settle(end).await,
        }
    }

    fn settle_later(self, end: TurnEnd) {
        match self {
            Self::Local(permit) => permit.settle_later(end),
            #[cfg(feature = "redis")]
            Self::Redis(permit) => permit.settle_later(end),
        }
    }
}

/// A hash under a new random key.
fn random_hash() -> KeyedHash {
    let mut key = [0; 32];
    // Without random bytes no token can be issued, so nothing is ever counted.
    let _ = SystemEntropy.fill(&mut key);
    KeyedHash::new(key)
}

/// Writes a notice to the operator's log.
#[cfg(feature = "redis")]
fn log_event(event: StoreEvent<'_>) {
    let (notice, detail) = match event {
        StoreEvent::Found => ("guard_store_found", String::new()),
        StoreEvent::Lost(cause) => ("guard_store_lost", cause.to_owned()),
        StoreEvent::Troubled(cause) => ("guard_store_troubled", cause.to_owned()),
    };
    StderrLog.notice(&Notice { notice, detail });
}
