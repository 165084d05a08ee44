//! Who gets the next place among a bounded number of places: users take turns, and each user's own calls come in their
//! order.
//!
//! ```text
//!            ┌ a line for each user ┐
//! ada  ──▶   │ a1 a2 a3 a4          │
//! bob  ──▶   │ b1                   │ ──▶ a1 b1 c1 a2 c2 a3 a4
//! cleo ──▶   │ c1 c2                │
//!            └──────────────────────┘
//! ```
//! So how long one waits goes by how many users wait, not by how much one of them asks for. Nor can one keep the others
//! from waiting: where no more may wait, the last of the longest line gives way to who comes with a shorter one.
//!
//! Nor can one hold all places, however long its calls take: a quarter of them, and one at least, is left to others even
//! where there are none. Who holds its share waits for one of its own calls to end, and keeps nobody behind it from a place.
//! Decides only; it holds what is put in, and wakes nobody.

use std::collections::{HashMap, VecDeque, hash_map::Entry};

/// A bounded number of places, and who waits for one. `T` is whatever is to be told once there is a place.
#[derive(Debug)]
pub(super) struct FairQueue<T> {
    places: usize,
    /// The most places that one user holds.
    share: usize,
    taken: usize,
    /// Of these, each user's; none of the counts is 0.
    held: HashMap<u64, usize>,
    most: usize,
    waiting: usize,
    /// Who waits, by user; none of the lines is empty.
    lines: HashMap<u64, VecDeque<(Ticket, T)>>,
    /// The users with a line, in the order of their turns. While a place is free, all of them hold their share.
    turns: VecDeque<u64>,
    next_ticket: u64,
}

/// Names one who waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ticket(u64);

/// What came of asking for a place.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Entered<T> {
    /// There was one, and it is taken; what was to be told comes back.
    Placed(T),
    /// No more may wait; what was to be told comes back.
    Refused(T),
    /// One has to wait; where somebody had to give way, who was.
    Waiting(Ticket, Option<T>),
}

impl<T> FairQueue<T> {
    /// So many places, for which at most `most` wait.
    pub(super) fn new(places: usize, most: usize) -> Self {
        let others = (places / 4).max(1);
        Self {
            places,
            share: places.saturating_sub(others).max(1),
            taken: 0,
            held: HashMap::new(),
            most,
            waiting: 0,
            lines: HashMap::new(),
            turns: VecDeque::new(),
            next_ticket: 0,
        }
    }

    /// Asks for a place for `user`.
    pub(super) fn enter(&mut self, user: u64, waiter: T) -> Entered<T> {
        if self.taken < self.places && self.has_share_left(user) {
            self.take(user);
            return Entered::Placed(waiter);
        }
        let mut gave_way = None;
        if self.waiting >= self.most {
            let own = self.lines.get(&user).map_or(0, VecDeque::len);
            // One more here and one less there must leave this line the shorter still.
            match self.longest() {
                Some((longest, length)) if length > own.saturating_add(1) => gave_way = self.drop_last(longest),
                _ => return Entered::Refused(waiter),
            }
        }
        let ticket = Ticket(self.next_ticket);
        self.next_ticket = self.next_ticket.wrapping_add(1);
        let line = self.lines.entry(user).or_default();
        if line.is_empty() {
            self.turns.push_back(user);
        }
        line.push_back((ticket, waiter));
        self.waiting += 1;
        Entered::Waiting(ticket, gave_way)
    }

    /// Gives back a place of `user`'s; it is the next one's, who is to be told, or free. With whoever is next comes whose
    /// the place is then.
    pub(super) fn release(&mut self, user: u64) -> Option<(u64, T)> {
        self.give_back(user);
        let at = self.turns.iter().position(|user| self.has_share_left(*user))?;
        let next = self.turns.remove(at)?;
        let line = self.lines.get_mut(&next)?;
        let (_, waiter) = line.pop_front()?;
        if line.is_empty() {
            self.lines.remove(&next);
        } else {
            self.turns.push_back(next);
        }
        self.waiting = self.waiting.saturating_sub(1);
        self.take(next);
        Some((next, waiter))
    }

    /// Waits no longer; nothing happens if the ticket's turn has come.
    pub(super) fn leave(&mut self, user: u64, ticket: Ticket) {
        let Some(line) = self.lines.get_mut(&user) else { return };
        let Some(at) = line.iter().position(|(other, _)| *other == ticket) else { return };
        line.remove(at);
        self.waiting = self.waiting.saturating_sub(1);
        self.forget_if_empty(user);
    }

    fn has_share_left(&self, user: u64) -> bool {
        self.held.get(&user).is_none_or(|held| *held < self.share)
    }

    fn take(&mut self, user: u64) {
        self.taken = self.taken.saturating_add(1);
        let held = self.held.entry(user).or_default();
        *held = held.saturating_add(1);
    }

    fn give_back(&mut self, user: u64) {
        self.taken = self.taken.saturating_sub(1);
        if let Entry::Occupied(mut held) = self.held.entry(user) {
            *held.get_mut() = held.get().saturating_sub(1);
            if *held.get() == 0 {
                held.remove();
            }
        }
    }

    fn longest(&self) -> Option<(u64, usize)> {
        self.lines.iter().map(|(user, line)| (*user, line.len())).max_by_key(|(_, length)| *length)
    }

    fn drop_last(&mut self, user: u64) -> Option<T> {
        let (_, waiter) = self.lines.get_mut(&user)?.pop_back()?;
        self.waiting = self.waiting.saturating_sub(1);
        self.forget_if_empty(user);
        Some(waiter)
    }

    fn forget_if_empty(&mut self, user: u64) {
        if self.lines.get(&user).is_some_and(VecDeque::is_empty) {
            self.lines.remove(&user);
            self.turns.retain(|other| *other != user);
        }
    }
}

#[cfg(test)]
mod tests;
