//! The guard in this process: turns at once per user. Counts live while turns do; nothing is kept after.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{Arc, Mutex, PoisonError},
};

use super::Guard;
use crate::proto::{error::Error, principal::Principal};

/// Bounds how many turns one user has under way.
#[derive(Debug)]
pub struct LocalGuard {
    limit: usize,
    under_way: Arc<Mutex<HashMap<Principal, usize>>>,
}

impl LocalGuard {
    /// A guard that admits `limit` turns at once for each user.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { limit, under_way: Arc::default() }
    }
}

impl Guard for LocalGuard {
    type Permit = LocalPermit;

    async fn admit(&self, principal: &Principal) -> Result<LocalPermit, Error> {
        let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        let count = under_way.entry(principal.clone()).or_default();
        if *count >= self.limit {
            return Err(Error::UserBusy { limit: self.limit });
        }
        *count = count.saturating_add(1);
        Ok(LocalPermit { principal: principal.clone(), under_way: Arc::clone(&self.under_way) })
    }
}

/// One admitted turn.
#[derive(Debug)]
pub struct LocalPermit {
    principal: Principal,
    under_way: Arc<Mutex<HashMap<Principal, usize>>>,
}

impl Drop for LocalPermit {
    fn drop(&mut self) {
        let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        if let Entry::Occupied(mut count) = under_way.entry(self.principal.clone()) {
            if *count.get() <= 1 {
                count.remove();
            } else {
                *count.get_mut() -= 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[test]
    fn one_user_does_not_count_against_another() {
        let guard = LocalGuard::new(2);
        let user = |name: &str| Principal::new(name, "none").unwrap();
        let admit = |name: &str| guard.admit(&user(name)).now_or_never().unwrap();
        let (first, second) = (admit("alice").unwrap(), admit("alice").unwrap());
        assert_eq!(admit("alice").unwrap_err(), Error::UserBusy { limit: 2 });
        assert!(admit("bob").is_ok());
        drop(first);
        assert!(admit("alice").is_ok());
        drop(second);
        assert!(guard.under_way.lock().unwrap().is_empty());
    }
}
