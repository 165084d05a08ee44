//! Permits of the guard on a store.

use std::sync::Arc;

use super::{settle_queue::SettleQueue, store::Store, turn_entry::TurnEntry};
use crate::{
    guard::{Charge, LocalPermit, Permit, TurnEnd},
    proto::allowance::Allowance,
};

/// An admitted turn.
#[derive(Debug)]
pub struct RedisPermit {
    allowances: Vec<Allowance>,
    inner: InnerPermit,
}

/// The permit of the guard that admitted the turn.
#[derive(Debug)]
enum InnerPermit {
    /// The store did not answer, so the limits of this process apply.
    Local(LocalPermit),
    Store(Box<StorePermit>),
}

impl RedisPermit {
    pub(super) fn local(permit: LocalPermit) -> Self {
        Self { allowances: permit.allowances().to_vec(), inner: InnerPermit::Local(permit) }
    }

    pub(super) fn store(allowances: Vec<Allowance>, permit: StorePermit) -> Self {
        Self { allowances, inner: InnerPermit::Store(Box::new(permit)) }
    }
}

impl Permit for RedisPermit {
    fn allowances(&self) -> &[Allowance] {
        &self.allowances
    }

    async fn settle(self, end: TurnEnd) {
        match self.inner {
            InnerPermit::Local(permit) => permit.settle(end).await,
            InnerPermit::Store(permit) => permit.settle(end).await,
        }
    }

    fn settle_later(self, end: TurnEnd) {
        match self.inner {
            InnerPermit::Local(permit) => permit.settle_later(end),
            InnerPermit::Store(mut permit) => permit.end = end,
        }
    }
}

/// The resources that a turn holds at the store. Dropping it queues the report of the turn's end.
#[derive(Debug)]
pub(super) struct StorePermit {
    store: Arc<Store>,
    queue: SettleQueue,
    pub(super) turn: TurnEntry,
    /// How the turn ends if the permit is dropped.
    end: TurnEnd,
    /// True if the end must be reported to the store.
    pub(super) must_report: bool,
}

impl StorePermit {
    pub(super) fn new(store: Arc<Store>, queue: SettleQueue, turn: TurnEntry) -> Self {
        Self { store, queue, turn, end: TurnEnd::Failed(Charge::default()), must_report: true }
    }

    /// Reports the end, and waits for the store as long as one call may take. If the caller stops
    /// waiting, or the store does not answer, the drop queues the report.
    async fn settle(mut self, end: TurnEnd) {
        self.end = end;
        if self.must_report {
            match self.store.settle(&self.turn, end).await {
                Err(fault) if fault.affects_all_calls => {}
                _ => self.must_report = false,
            }
        }
    }
}

impl Drop for StorePermit {
    fn drop(&mut self) {
        if self.must_report
            && let Err(fault) = self.queue.push(self.turn.clone(), self.end)
        {
            self.store.report_trouble(&fault);
        }
    }
}
