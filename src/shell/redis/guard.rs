//! The guard on a store.

use std::{sync::Arc, time::Duration};

use tokio::task::AbortHandle;

use super::{
    admission::{Admission, AdmissionReply},
    client::StoreObserver,
    counts::Counts,
    fault::StoreFault,
    keys::HOLDER_BYTES,
    permit::{RedisPermit, StorePermit},
    settle_queue::SettleQueue,
    store::Store,
    turn_entry::TurnEntry,
};
use crate::{
    config::StoreConfig,
    guard::{AdmitRequest, Guard, KeyedHash, LimitSubject, LocalGuard, Moment, Revocation, Revoked, Rules},
    proto::{allowance::Allowance, error::Error, time::UnixSeconds},
    service::EntropySource as _,
    shell::entropy::SystemEntropy,
};

/// Admits turns by the counts of all instances.
#[derive(Debug)]
pub struct RedisGuard {
    store: Arc<Store>,
    queue: SettleQueue,
    /// Counts in this process while the store does not answer.
    local: LocalGuard,
    /// Watches the store while it does not answer. Ends with this guard.
    _watcher: OutageWatcher,
}

/// A task that notices the end of outages.
#[derive(Debug)]
struct OutageWatcher(AbortHandle);

impl OutageWatcher {
    fn start(store: Arc<Store>) -> Self {
        Self(tokio::spawn(async move { store.watch_outages().await }).abort_handle())
    }
}

impl Drop for OutageWatcher {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl RedisGuard {
    /// A guard that enforces `rules`. It connects with the first call. `observer` receives the
    /// outages of the store. Must be called within a Tokio runtime.
    ///
    /// # Errors
    /// The reason why the URL is invalid.
    pub fn new(rules: Rules, hash: KeyedHash, store: &StoreConfig, observer: StoreObserver) -> Result<Self, String> {
        let local = LocalGuard::new(rules.clone(), hash);
        let store = Arc::new(Store::new(rules, store, observer)?);
        let (queue, watcher) = (SettleQueue::start(Arc::clone(&store)), OutageWatcher::start(Arc::clone(&store)));
        Ok(Self { queue, store, local, _watcher: watcher })
    }

    /// Replaces the rules for new turns. Counts are kept for every period that the new rules have
    /// as well. The lease does not change: it depends on the longest duration of a turn, which only
    /// a start changes.
    pub fn set_rules(&self, rules: Rules) {
        let rules = Rules { lease: self.store.rules().lease, ..rules };
        self.local.set_rules(rules.clone());
        self.store.set_rules(rules);
    }

    /// Checks that the store answers, and returns warnings about its settings.
    ///
    /// # Errors
    /// The reason why it does not answer, for the operator.
    pub async fn warnings(&self) -> Result<Vec<String>, String> {
        self.store.warnings().await.map_err(|fault| fault.to_string())
    }

    /// Returns true if the store knows this deployment: its first admission records the birth.
    ///
    /// # Errors
    /// As [`Self::warnings`].
    pub async fn knows_deployment(&self) -> Result<bool, String> {
        self.store.has_birth().await.map_err(|fault| fault.to_string())
    }

    /// Waits until the store has the ends of all turns, at most for `limit`.
    pub async fn flush(&self, limit: Duration) {
        self.queue.flush(limit).await;
    }
}

impl Guard for RedisGuard {
    type Permit = RedisPermit;

    async fn admit(&self, request: AdmitRequest) -> Result<RedisPermit, Error> {
        let rules = self.store.rules();
        // In an outage, ends wait in the queue through no fault of the caller.
        if self.store.is_up() && self.queue.is_busy(&request.subject()) {
            return Err(Error::UserBusy { limit: rules.max_concurrent_turns });
        }
        let mut holder = [0; HOLDER_BYTES];
        SystemEntropy.fill(&mut holder)?;
        // From here on, the turn is given back if this future is dropped or the reply is lost.
        let turn = TurnEntry::new(&request, rules, holder);
        let mut permit = StorePermit::new(Arc::clone(&self.store), self.queue.clone(), turn);
        match self.store.admit(&permit.turn).await {
            Ok(Admission { reply: AdmissionReply::Admitted, counts }) => {
                let allowances = counts.allowances(&permit.turn.rules, permit.turn.purpose);
                permit.turn.admitted = Some(counts);
                Ok(RedisPermit::store(allowances, permit))
            }
            Ok(Admission { reply, counts }) => {
                permit.must_report = false;
                Err(refusal(&permit.turn, reply, &counts))
            }
            Err(fault) => {
                permit.must_report &= fault.may_have_run;
                let needs_store = needs_store(&permit.turn.rules);
                drop(permit);
                if needs_store { Err(fault.into()) } else { self.local.admit(request).await.map(RedisPermit::local) }
            }
        }
    }

    async fn allowances(&self, subject: LimitSubject, moment: Moment) -> Result<Vec<Allowance>, Error> {
        let rules = self.store.rules();
        match self.store.allowances(&rules, &subject).await {
            Ok(allowances) => Ok(allowances),
            Err(fault) if needs_store(&rules) => Err(fault.into()),
            Err(_) => self.local.allowances(subject, moment).await,
        }
    }

    fn max_concurrent_turns(&self) -> usize {
        self.store.rules().max_concurrent_turns
    }

    async fn revoke(&self, revocation: Revocation) -> Result<Revoked, Error> {
        let rules = self.store.rules();
        if !rules.revocation {
            return Err(Error::Unsupported {
                detail: "Revocation is off, so no server would enforce it. Set guard.revocation.".to_owned(),
            });
        }
        Ok(self.store.revoke(&rules, &revocation).await?)
    }

    fn refusing_for(&self) -> Duration {
        if needs_store(&self.store.rules()) { self.store.down_for() } else { Duration::ZERO }
    }
}

/// The error for a reply that does not admit the turn.
fn refusal(turn: &TurnEntry, reply: AdmissionReply, counts: &Counts) -> Error {
    let TurnEntry { rules, purpose, .. } = turn;
    let unavailable =
        |cause: &str| Error::GuardUnavailable { cause: format!("limits store: {cause}"), retryable: true };
    let mismatch = || unavailable("its counts do not match the rules");
    match reply {
        AdmissionReply::Abandoned | AdmissionReply::Admitted => unavailable("the turn was abandoned"),
        AdmissionReply::Busy => Error::UserBusy { limit: rules.max_concurrent_turns },
        AdmissionReply::OlderThanStore { birth_second } => Error::GuardUnavailable {
            cause: format!(
                "limits store: its birth is {}, after the token was issued; a revocation or use of the token may be \
                 lost (guard.dangerous_trust_empty_guard accepts such tokens)",
                UnixSeconds(birth_second)
            ),
            retryable: false,
        },
        AdmissionReply::QuotaExceeded { quota, count } => {
            let exhausted = counts.quota_exhausted(rules, *purpose, quota, count);
            exhausted.map_or_else(mismatch, |exhausted| Error::QuotaExceeded(Box::new(exhausted)))
        }
        AdmissionReply::RateExceeded { wait_micros } => {
            let exhausted = counts.rate_exhausted(rules, *purpose, wait_micros);
            exhausted.map_or_else(mismatch, |exhausted| Error::RateLimited(Box::new(exhausted)))
        }
        AdmissionReply::Revoked => Error::TokenRevoked,
        AdmissionReply::TokenUsed { in_flight } => Error::TokenUsed { in_progress: in_flight },
    }
}

/// Returns true if turns are refused while the store does not answer, because only the store knows
/// which tokens are revoked or spent.
fn needs_store(rules: &Rules) -> bool {
    rules.revocation || rules.single_use
}

impl From<StoreFault> for Error {
    fn from(fault: StoreFault) -> Self {
        Self::GuardUnavailable { cause: fault.to_string(), retryable: true }
    }
}
