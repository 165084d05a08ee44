//! A bounded table of callers, indexed by a keyed hash of the subject.
//!
//! A caller's entry expires when its rate is full again and its periods are over. Each lookup
//! inspects [`SWEPT_PER_LOOKUP`] other entries in turn and drops the expired ones, so after as many
//! lookups as there are entries, each entry was inspected twice.
//!
//! At most [`CALLERS_MAX`] callers are kept. To add one to a full table, the table inspects
//! [`EVICTION_SAMPLE`] entries and drops the one that expires first; of equal ones, the one with
//! the fewest turns. So a flood of new names evicts its own entries. An evicted caller has its full
//! limits again. The alternative, to count all names of a flood together, would let the flood lock
//! out every new caller. A caller with turns or reads in flight is never dropped; the limit on
//! concurrent requests bounds their number.

use std::{collections::HashMap, time::Duration};

use super::{caller::CallerState, compiled_rules::CompiledRules};
use crate::guard::{admit::Moment, keyed_hash::KeyedHash, subject::LimitSubject};

/// The callers that have counts.
#[derive(Debug)]
pub(super) struct CallerTable {
    /// The index in `entries` for each key.
    index: HashMap<Key, usize>,
    entries: Vec<(Key, CallerState)>,
    /// The index of the entry to inspect next.
    next: usize,
    hash: KeyedHash,
    max_callers: usize,
}

/// The keyed hash of a subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key([u64; 2]);

impl CallerTable {
    /// A table of at most [`CALLERS_MAX`] callers.
    pub(super) fn new(hash: KeyedHash) -> Self {
        Self::with_max_callers(CALLERS_MAX, hash)
    }

    /// A table of at most `max_callers` callers.
    pub(super) fn with_max_callers(max_callers: usize, hash: KeyedHash) -> Self {
        Self { index: HashMap::new(), entries: Vec::new(), next: 0, hash, max_callers }
    }

    pub(super) fn key(&self, subject: &LimitSubject) -> Key {
        Key(self.hash.hash(subject))
    }

    /// The counts of a caller; `None` if it has none.
    pub(super) fn find(&self, key: Key) -> Option<&CallerState> {
        self.index.get(&key).and_then(|index| self.entries.get(*index)).map(|(_, caller)| caller)
    }

    pub(super) fn find_mut(&mut self, key: Key) -> Option<&mut CallerState> {
        self.index.get(&key).and_then(|index| self.entries.get_mut(*index)).map(|(_, caller)| caller)
    }

    /// The entry of a caller. Adds it if it does not exist.
    pub(super) fn entry(&mut self, key: Key, rules: &CompiledRules, moment: Moment) -> &mut CallerState {
        let index = match self.index.get(&key) {
            Some(index) => *index,
            None => {
                if self.entries.len() >= self.max_callers {
                    self.evict(rules, moment);
                }
                let index = self.entries.len();
                self.index.insert(key, index);
                self.entries.push((key, CallerState::default()));
                index
            }
        };
        &mut self.entries[index].1
    }

    /// Inspects a few entries and drops the expired ones.
    pub(super) fn sweep(&mut self, rules: &CompiledRules, moment: Moment) {
        for _ in 0..SWEPT_PER_LOOKUP {
            let Some(index) = self.advance() else { return };
            let (_, caller) = &self.entries[index];
            if caller.in_flight == 0 && caller.expires_in(rules, moment) == Duration::ZERO {
                self.remove(index);
            }
        }
    }

    /// Calls `update` for each caller.
    pub(super) fn for_each(&mut self, update: impl Fn(&mut CallerState)) {
        self.entries.iter_mut().for_each(|(_, caller)| update(caller));
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    fn evict(&mut self, rules: &CompiledRules, moment: Moment) {
        let sample: Vec<_> = (0..EVICTION_SAMPLE.min(self.entries.len())).filter_map(|_| self.advance()).collect();
        let idle = sample.into_iter().filter(|index| self.entries[*index].1.in_flight == 0);
        let first_to_expire = idle.min_by_key(|index| {
            let caller = &self.entries[*index].1;
            (caller.expires_in(rules, moment), caller.turns())
        });
        if let Some(index) = first_to_expire {
            self.remove(index);
        }
    }

    /// Returns the index of the entry to inspect, and advances to the next one.
    fn advance(&mut self) -> Option<usize> {
        let index = if self.next < self.entries.len() { self.next } else { 0 };
        self.next = index.saturating_add(1);
        (index < self.entries.len()).then_some(index)
    }

    /// Removes an entry. The last entry moves to its index.
    fn remove(&mut self, index: usize) {
        let (key, _) = self.entries.swap_remove(index);
        self.index.remove(&key);
        if let Some((moved, _)) = self.entries.get(index) {
            self.index.insert(*moved, index);
        }
        self.next = self.next.min(index);
    }
}

/// The most callers in the table: about 35 MB with a rate and two periods, as measured.
const CALLERS_MAX: usize = 100_000;
/// Entries inspected by a lookup. At 2, entries leave faster than lookups, which add at most one
/// each, can add them.
const SWEPT_PER_LOOKUP: usize = 2;
/// Entries inspected to find the one to evict.
const EVICTION_SAMPLE: usize = 16;
