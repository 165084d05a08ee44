//! The calls that wait for their results.

use std::collections::{BTreeMap, VecDeque};

/// The calls without a result so far. A client may send thousands of items, so no call is searched
/// among the others.
#[derive(Default)]
pub(super) struct WaitingCalls {
    /// The numbers of the waiting calls with each id, oldest first.
    by_id: BTreeMap<String, VecDeque<usize>>,
    /// The number of the next call.
    next: usize,
}

impl WaitingCalls {
    pub(super) fn add(&mut self, id: &str) {
        self.by_id.entry(id.to_owned()).or_default().push_back(self.next);
        self.next = self.next.saturating_add(1);
    }

    /// Takes the result of the oldest call with this id. Returns false if no such call waits.
    pub(super) fn answer(&mut self, id: &str) -> bool {
        let Some(calls) = self.by_id.get_mut(id) else { return false };
        calls.pop_front();
        if calls.is_empty() {
            self.by_id.remove(id);
        }
        true
    }

    /// The id of the oldest call.
    pub(super) fn oldest(&self) -> Option<&str> {
        self.by_id.iter().min_by_key(|(_, calls)| calls.front().copied()).map(|(id, _)| id.as_str())
    }
}

impl<'a> FromIterator<&'a str> for WaitingCalls {
    fn from_iter<I: IntoIterator<Item = &'a str>>(ids: I) -> Self {
        let mut waiting = Self::default();
        ids.into_iter().for_each(|id| waiting.add(id));
        waiting
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_answer_calls_in_any_order() {
        let mut waiting: WaitingCalls = ["b", "a", "b"].into_iter().collect();
        assert_eq!(waiting.oldest(), Some("b"));
        assert!(waiting.answer("b"));
        assert_eq!(waiting.oldest(), Some("a"));
        waiting.add("c");
        assert!(waiting.answer("a") && waiting.answer("b"));
        assert!(!waiting.answer("a") && !waiting.answer("b"));
        assert_eq!(waiting.oldest(), Some("c"));
        assert!(waiting.answer("c"));
        assert!(waiting.oldest().is_none() && waiting.by_id.is_empty(), "answered calls take no memory");
    }
}
