//! The store as the guard and its permits use it.

use std::{
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use tokio::time::sleep;

use super::{
    admission::Admission,
    client::{StoreClient, StoreObserver},
    counts::allowances,
    fault::StoreFault,
    keys::Keys,
    scripts::Scripts,
    turn_entry::TurnEntry,
};
use crate::{
    config::StoreConfig,
    guard::{LimitSubject, Revocation, Revoked, Rules, TurnEnd},
    proto::{allowance::Allowance, time::UnixSeconds},
};

/// The store of one deployment, with the current rules.
#[derive(Debug)]
pub(super) struct Store {
    rules: RwLock<Arc<Rules>>,
    keys: Keys,
    scripts: Scripts,
    client: StoreClient,
}

impl Store {
    /// A store that enforces `rules`. It connects with the first call.
    ///
    /// # Errors
    /// The reason why the URL is invalid.
    pub(super) fn new(rules: Rules, store: &StoreConfig, observer: StoreObserver) -> Result<Self, String> {
        Ok(Self {
            rules: RwLock::new(Arc::new(rules)),
            keys: Keys::new(&store.namespace),
            scripts: Scripts::new(),
            client: StoreClient::new(store, observer)?,
        })
    }

    pub(super) fn rules(&self) -> Arc<Rules> {
        Arc::clone(&self.rules.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn set_rules(&self, rules: Rules) {
        *self.rules.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(rules);
    }

    /// Admits or refuses a turn.
    pub(super) async fn admit(&self, turn: &TurnEntry) -> Result<Admission, StoreFault> {
        self.client.run(&self.scripts.admit(&self.keys, turn)).await
    }

    /// Ends a turn. It is safe to repeat this.
    pub(super) async fn settle(&self, turn: &TurnEntry, end: TurnEnd) -> Result<(), StoreFault> {
        let part_error: String = self.client.run(&self.scripts.settle(&self.keys, turn, end)).await?;
        if part_error.is_empty() {
            return Ok(());
        }
        let fault = StoreFault::of_script_part(&part_error);
        self.report_trouble(&fault);
        Err(fault)
    }

    /// The allowance of a caller under each limit of `rules`.
    pub(super) async fn allowances(&self, rules: &Rules, subject: &LimitSubject) -> Result<Vec<Allowance>, StoreFault> {
        let numbers: Vec<i64> = self.client.run(&self.scripts.allowances(&self.keys, rules, subject)).await?;
        Ok(allowances(rules, &numbers))
    }

    /// Revokes tokens.
    pub(super) async fn revoke(&self, rules: &Rules, revocation: &Revocation) -> Result<Revoked, StoreFault> {
        let reply: (u64, i64, bool) = self.client.run(&self.scripts.revoke(&self.keys, rules, revocation)).await?;
        let (second, live_conversations, was_revoked) = reply;
        Ok(match revocation {
            Revocation::User { .. } => Revoked {
                until: Some(UnixSeconds(second)),
                live_conversations: u64::try_from(live_conversations).ok(),
                was_revoked: false,
            },
            Revocation::Conversation { .. } | Revocation::Token { .. } => Revoked { was_revoked, ..Revoked::default() },
        })
    }

    /// Checks that the store answers, and returns warnings about its settings.
    pub(super) async fn warnings(&self) -> Result<Vec<String>, StoreFault> {
        self.client.warnings().await
    }

    /// Returns true if the birth is recorded. The first admission of a deployment records it.
    pub(super) async fn has_birth(&self) -> Result<bool, StoreFault> {
        self.client.has(&self.keys.birth()).await
    }

    /// How long the store has not answered; zero if the last call reached it.
    pub(super) fn down_for(&self) -> Duration {
        self.client.down_for()
    }

    /// Waits until the store does not answer, and then until it does. Meanwhile it makes one small
    /// write after each pause of the circuit breaker, so that the end of an outage is noticed
    /// without a turn.
    pub(super) async fn watch_outages(&self) {
        loop {
            self.client.went_down().await;
            while !self.is_up() {
                sleep(RECOVERY_PAUSE).await;
                // A write, because a server that only reads admits no turn.
                let _ = self.client.set(&self.keys.recovery(), RECOVERY_PAUSE).await;
            }
        }
    }

    /// Returns true if the last call reached the store.
    pub(super) fn is_up(&self) -> bool {
        self.client.is_up()
    }

    /// Reports a fault of a store that answers, at most once a minute.
    pub(super) fn report_trouble(&self, fault: &StoreFault) {
        self.client.report_trouble(fault);
    }
}

/// The pause between two attempts to reach a store that does not answer. It is longer than the
/// pause of the circuit breaker, so that an attempt is a call.
const RECOVERY_PAUSE: Duration = Duration::from_millis(1_500);
