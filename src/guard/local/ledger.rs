//! Who has taken what: a bounded table of callers, by a keyed hash of who they are.
//!
//! What a caller has taken is of no matter once it has come back: its rate is full again and its periods are over. Each
//! look-up looks at two entries more, in turn, and drops those that matter no more, so that after as many requests as
//! there are entries all have been looked at twice. At most [`CALLERS_MOST`] are kept. Where a new one comes, the one of a
//! few that would matter for the shortest time goes, and of those the one with the fewest turns: a flood of new names
//! pushes out its own. What is forgotten so was counted for nothing, in the caller's favour; the other way, counting the
//! names of a flood together, would have let it shut out everyone new. A caller with turns under way stays, and those are
//! bounded by the requests at once.

use std::{collections::HashMap, time::Duration};

use super::{caller::CallerState, limits::Limits};
use crate::guard::{LimitSubject, Moment, Seed};

/// The callers that matter.
#[derive(Debug)]
pub(super) struct Ledger {
    places: HashMap<Key, usize>,
    entries: Vec<(Key, CallerState)>,
    /// The entry to be looked at next.
    hand: usize,
    seed: Seed,
    most: usize,
}

/// A keyed hash of who is counted: 128 bits, under keys of this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key([u64; 2]);

impl Ledger {
    /// A ledger of as many callers as are remembered.
    pub(super) fn new(seed: Seed) -> Self {
        Self::of(CALLERS_MOST, seed)
    }

    /// A ledger of at most so many callers.
    pub(super) fn of(most: usize, seed: Seed) -> Self {
        Self { places: HashMap::new(), entries: Vec::new(), hand: 0, seed, most }
    }

    pub(super) fn key(&self, counted: &LimitSubject) -> Key {
        Key(self.seed.numbers(counted))
    }

    /// What is known of a caller, if anything is.
    pub(super) fn find(&self, key: Key) -> Option<&CallerState> {
        self.places.get(&key).and_then(|at| self.entries.get(*at)).map(|(_, caller)| caller)
    }

    pub(super) fn find_mut(&mut self, key: Key) -> Option<&mut CallerState> {
        self.places.get(&key).and_then(|at| self.entries.get_mut(*at)).map(|(_, caller)| caller)
    }

    /// A caller's entry, made if there is none.
    pub(super) fn entry(&mut self, key: Key, limits: &Limits, moment: Moment) -> &mut CallerState {
        let at = match self.places.get(&key) {
            Some(at) => *at,
            None => {
                if self.entries.len() >= self.most {
                    self.push_out(limits, moment);
                }
                let at = self.entries.len();
                self.places.insert(key, at);
                self.entries.push((key, CallerState::default()));
                at
            }
        };
        &mut self.entries[at].1
    }

    /// Looks at a few entries, and drops those that matter no more.
    pub(super) fn tidy(&mut self, limits: &Limits, moment: Moment) {
        for _ in 0..LOOKED_AT {
            let Some(at) = self.next() else { return };
            let (_, caller) = &self.entries[at];
            if caller.places == 0 && caller.matters_for(limits, moment) == Duration::ZERO {
                self.remove(at);
            }
        }
    }

    /// Does `work` to each caller.
    pub(super) fn each(&mut self, work: impl Fn(&mut CallerState)) {
        self.entries.iter_mut().for_each(|(_, caller)| work(caller));
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    fn push_out(&mut self, limits: &Limits, moment: Moment) {
        let looked_at: Vec<_> = (0..CHOSEN_FROM.min(self.entries.len())).filter_map(|_| self.next()).collect();
        let idle = looked_at.into_iter().filter(|at| self.entries[*at].1.places == 0);
        let least = idle.min_by_key(|at| {
            let caller = &self.entries[*at].1;
            (caller.matters_for(limits, moment), caller.turns())
        });
        if let Some(at) = least {
            self.remove(at);
        }
    }

    /// Moves the hand on, and gives the entry that it was at.
    fn next(&mut self) -> Option<usize> {
        let at = if self.hand < self.entries.len() { self.hand } else { 0 };
        self.hand = at.saturating_add(1);
        (at < self.entries.len()).then_some(at)
    }

    /// The last entry takes the place of the one removed.
    fn remove(&mut self, at: usize) {
        let (key, _) = self.entries.swap_remove(at);
        self.places.remove(&key);
        if let Some((moved, _)) = self.entries.get(at) {
            self.places.insert(*moved, at);
        }
        self.hand = self.hand.min(at);
    }
}

/// Callers that are remembered at once: some 35 MB under a rate and two periods, as measured.
const CALLERS_MOST: usize = 100_000;
/// Entries that a look-up looks at beside its own. Two, so that entries go faster than each look-up can add one.
const LOOKED_AT: usize = 2;
/// Entries of which one goes where there are too many.
const CHOSEN_FROM: usize = 16;
