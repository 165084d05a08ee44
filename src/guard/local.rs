//! The guard in this process: turns at once per user. Counts live while turns do; nothing is kept after.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{Arc, Mutex, PoisonError},
};

use super::{Ask, Counted, Ending, Guard, Moment, Permit, Purpose, Revocation, Rules};
use crate::proto::{allowance::Allowance, error::Error};

/// Bounds how many turns one user has under way.
#[derive(Debug)]
pub struct LocalGuard {
    rules: Rules,
    under_way: Arc<Mutex<HashMap<Counted, usize>>>,
}

impl LocalGuard {
    /// A guard of these rules.
    #[must_use]
    pub fn new(rules: Rules) -> Self {
        Self { rules, under_way: Arc::default() }
    }
}

impl Guard for LocalGuard {
    type Permit = LocalPermit;

    async fn admit(&self, ask: Ask) -> Result<LocalPermit, Error> {
        let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        let limit = self.rules.turns_at_once;
        let counted = Counted::User(ask.principal.clone());
        let place = (ask.purpose != Purpose::Read).then(|| (counted.clone(), Arc::clone(&self.under_way)));
        if place.is_some() {
            let count = under_way.entry(counted).or_default();
            if *count >= limit {
                return Err(Error::UserBusy { limit });
            }
            *count = count.saturating_add(1);
        }
        Ok(LocalPermit { place })
    }

    async fn standing(&self, _: Counted, _: Moment) -> Result<Vec<Allowance>, Error> {
        Ok(Vec::new())
    }

    async fn revoke(&self, _: Revocation, _: Moment) -> Result<(), Error> {
        Err(Error::Unsupported {
            detail: "nothing is revoked here: that takes a store which all instances share (HOLDALL_REDIS_URL)"
                .to_owned(),
        })
    }
}

/// One admitted turn.
#[derive(Debug)]
pub struct LocalPermit {
    place: Option<(Counted, Arc<Mutex<HashMap<Counted, usize>>>)>,
}

impl Permit for LocalPermit {
    fn standing(&self) -> &[Allowance] {
        &[]
    }

    fn show(&mut self) {}

    async fn settle(self, _: Ending) {}
}

impl Drop for LocalPermit {
    fn drop(&mut self) {
        let Some((counted, under_way)) = self.place.take() else { return };
        let mut under_way = under_way.lock().unwrap_or_else(PoisonError::into_inner);
        if let Entry::Occupied(mut count) = under_way.entry(counted) {
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
    use crate::proto::{principal::Principal, time::UnixSeconds, token::Id};

    #[test]
    fn one_user_does_not_count_against_another() {
        let guard = LocalGuard::new(Rules { turns_at_once: 2, ..Rules::default() });
        let ask = |name: &str| Ask {
            purpose: Purpose::Turn,
            principal: Principal::new(name, "none").unwrap(),
            peer: None,
            conversation: Id::new(UnixSeconds(0), [0; 16]),
            presented: None,
            moment: Moment::default(),
        };
        let admit = |name: &str| guard.admit(ask(name)).now_or_never().unwrap();
        let (first, second) = (admit("alice").unwrap(), admit("alice").unwrap());
        assert_eq!(admit("alice").unwrap_err(), Error::UserBusy { limit: 2 });
        assert!(admit("bob").is_ok());
        drop(first);
        assert!(admit("alice").is_ok());
        drop(second);
        assert!(guard.under_way.lock().unwrap().is_empty());
    }
}
