//! The request members that upstreams have refused in the last hour.
//!
//! An entry belongs to an upstream and a model of the configuration, never to a user.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use crate::proto::provider::OwnMember;

/// The members that were refused, by upstream and model.
#[derive(Default)]
pub(super) struct RefusedMembers(Mutex<BTreeMap<(String, String), Entry>>);

struct Entry {
    members: Vec<OwnMember>,
    until: Duration,
}

impl RefusedMembers {
    /// The members to leave out.
    pub(super) fn of(&self, upstream: &str, model: &str, now: Duration) -> Vec<OwnMember> {
        let entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if entries.is_empty() {
            return Vec::new();
        }
        let entry = entries.get(&(upstream.to_owned(), model.to_owned())).filter(|entry| entry.until > now);
        entry.map(|entry| entry.members.clone()).unwrap_or_default()
    }

    /// Records that a call without `members` succeeded.
    pub(super) fn remember(&self, upstream: &str, model: &str, members: &[OwnMember], now: Duration) {
        if members.is_empty() {
            return;
        }
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        entries.retain(|_, entry| entry.until > now);
        let key = (upstream.to_owned(), model.to_owned());
        if entries.len() < ENTRIES_MAX || entries.contains_key(&key) {
            let entry = entries.entry(key).or_insert_with(|| Entry { members: Vec::new(), until: now + TTL });
            entry.until = now + TTL;
            for member in members {
                if !entry.members.contains(member) {
                    entry.members.push(*member);
                }
            }
        }
    }
}

/// The time for which a refusal is remembered.
const TTL: Duration = Duration::from_secs(3_600);

/// The most entries. A configuration has far fewer upstreams and models.
const ENTRIES_MAX: usize = 1_024;

#[cfg(test)]
mod tests {
    use super::*;

    const fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_refusal_is_remembered_for_an_hour_for_its_upstream_and_model() {
        let refused = RefusedMembers::default();
        refused.remember("a", "m", &[OwnMember::StreamOptions], seconds(10));
        assert_eq!(refused.of("a", "m", seconds(3_609)), [OwnMember::StreamOptions]);
        assert!(refused.of("a", "m", seconds(3_610)).is_empty());
        assert!(refused.of("a", "n", seconds(10)).is_empty() && refused.of("b", "m", seconds(10)).is_empty());
        refused.remember("a", "m", &[OwnMember::MaxTokens], seconds(20));
        // Requests at the same time find the same members.
        refused.remember("a", "m", &[OwnMember::StreamOptions, OwnMember::MaxTokens], seconds(21));
        assert_eq!(refused.of("a", "m", seconds(3_611)), [OwnMember::StreamOptions, OwnMember::MaxTokens]);
    }

    #[test]
    fn the_table_is_bounded() {
        let refused = RefusedMembers::default();
        for model in 0..ENTRIES_MAX {
            refused.remember("a", &model.to_string(), &[OwnMember::Include], seconds(0));
        }
        refused.remember("a", "more", &[OwnMember::Include], seconds(1));
        assert!(refused.of("a", "more", seconds(1)).is_empty());
        refused.remember("a", "0", &[OwnMember::Include], seconds(1));
        assert_eq!(refused.of("a", "0", seconds(3_600)), [OwnMember::Include]);
        refused.remember("a", "more", &[OwnMember::Include], seconds(3_600));
        assert!(!refused.of("a", "more", seconds(3_601)).is_empty(), "old entries make room");
    }
}
