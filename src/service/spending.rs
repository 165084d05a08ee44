//! What a request has spent so far: the model tokens and the time of its upstream calls.
//!
//! ```text
//!  call ─▶ send ─▶ update, update, … ─▶ end_call(paid or not)      every call of the request
//!                        │                    │
//!                        ▼                    ▼
//!             HeldPermit: charge at the turn's end, even if a future was dropped
//! ```
//! The account lives outside of the futures that make the calls. A client that leaves drops those
//! futures, and the call in flight counts as far as it came. So does a call that this server
//! cancels, such as one that takes too long. A call costs nothing if the service refused it or was
//! not reached.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use crate::{
    guard::Charge,
    proto::usage::{Spent, Usage},
};

/// What a request has spent so far. Copies are the same account.
#[derive(Clone, Default)]
pub(super) struct Spending(Arc<Mutex<Account>>);

#[derive(Default)]
struct Account {
    /// The calls that have ended.
    ended: Spent,
    in_flight: Option<CallInFlight>,
    /// True once a call was prepared.
    has_called: bool,
    history_bytes: usize,
}

struct CallInFlight {
    sent: Duration,
    usage: Usage,
}

impl Spending {
    /// Records that a call is about to be made. It may wait in the upstream's queue.
    pub(super) fn call(&self) {
        self.with(|account| account.has_called = true);
    }

    /// True once a call was about to be made.
    pub(super) fn has_called(&self) -> bool {
        self.with(|account| account.has_called)
    }

    /// Records that a call's request is sent. `usage` is the estimate for the request.
    pub(super) fn send(&self, usage: Usage, now: Duration) {
        self.with(|account| account.in_flight = Some(CallInFlight { sent: now, usage }));
    }

    /// Records the usage of the call in flight so far. It replaces earlier records.
    pub(super) fn update(&self, usage: Usage) {
        self.with(|account| {
            if let Some(call) = &mut account.in_flight {
                call.usage = usage;
            }
        });
    }

    /// Ends the call in flight, if there is one. It costs nothing if `is_paid` is false.
    pub(super) fn end_call(&self, is_paid: bool, now: Duration) {
        self.with(|account| {
            let call = account.in_flight.take().filter(|_| is_paid);
            account.ended = call.map_or(account.ended, |call| account.ended.plus(call.spent(now)));
        });
    }

    /// Records the size of the turn's history so far.
    pub(super) fn history(&self, bytes: usize) {
        self.with(|account| account.history_bytes = bytes);
    }

    /// What all calls have cost so far.
    pub(super) fn total(&self, now: Duration) -> Spent {
        self.with(|account| account.total(now))
    }

    /// The charge for all calls so far.
    pub(super) fn charge(&self, now: Duration) -> Charge {
        self.with(|account| {
            let Spent { usage, elapsed } = account.total(now);
            let upstream_millis = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
            Charge { model_tokens: usage.total_tokens(), history_bytes: account.history_bytes as u64, upstream_millis }
        })
    }

    fn with<T>(&self, work: impl FnOnce(&mut Account) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Account {
    fn total(&self, now: Duration) -> Spent {
        self.in_flight.as_ref().map_or(self.ended, |call| self.ended.plus(call.spent(now)))
    }
}

impl CallInFlight {
    fn spent(&self, now: Duration) -> Spent {
        Spent { usage: self.usage, elapsed: now.saturating_sub(self.sent) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn usage(input_tokens: u64, output_tokens: u64) -> Usage {
        Usage { input_tokens, output_tokens, ..Usage::default() }
    }

    fn spent(input_tokens: u64, output_tokens: u64, elapsed: Duration) -> Spent {
        Spent { usage: usage(input_tokens, output_tokens), elapsed }
    }

    #[test]
    fn each_paid_call_counts_once_and_a_refused_one_does_not() {
        let spending = Spending::default();
        spending.send(usage(10, 0), seconds(1));
        spending.update(usage(10, 1));
        spending.update(usage(9, 2));
        assert_eq!(spending.total(seconds(3)), spent(9, 2, seconds(2)));
        spending.end_call(true, seconds(4));
        spending.end_call(true, seconds(9));
        assert_eq!(spending.total(seconds(9)), spent(9, 2, seconds(3)));
        spending.send(usage(100, 0), seconds(10));
        spending.end_call(false, seconds(20));
        spending.update(usage(7, 7));
        assert_eq!(spending.total(seconds(30)), spent(9, 2, seconds(3)));
    }

    #[test]
    fn the_call_in_flight_counts_as_far_as_it_came() {
        let spending = Spending::default();
        let copy = spending.clone();
        assert!(!spending.has_called());
        copy.call();
        assert!(spending.has_called());
        assert_eq!(spending.total(seconds(5)), Spent::default());
        copy.send(usage(10, 0), seconds(5));
        copy.end_call(true, seconds(6));
        copy.send(usage(20, 0), seconds(7));
        copy.update(usage(20, 4));
        copy.history(300);
        let charge = Charge { model_tokens: 34, history_bytes: 300, upstream_millis: 3_000 };
        assert_eq!(spending.charge(seconds(9)), charge);
    }
}
