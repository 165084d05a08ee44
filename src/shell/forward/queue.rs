//! The assignment of a limited number of slots to waiting calls. Users get slots round robin, and
//! each user's calls keep their order.
//!
//! ```text
//!            ┌ a line for each user ┐
//! ada  ──▶   │ a1 a2 a3 a4          │
//! bob  ──▶   │ b1                   │ ──▶ a1 b1 c1 a2 c2 a3 a4
//! cleo ──▶   │ c1 c2                │
//!            └──────────────────────┘
//! ```
//! The wait of a call depends on the number of waiting users, not on the number of calls that one
//! of them makes. One user also cannot fill the queue: if it is full, a call from a user with a
//! shorter line displaces the last call of the longest line.
//!
//! One user cannot hold all slots either, however long its calls take. A quarter of the slots, and
//! at least one, stays free for other users, even if there are none. A user that holds its share
//! waits until one of its own calls ends, and does not block the users behind it.
//!
//! This module only decides. It keeps the waiters, and does not wake them.

use std::collections::{HashMap, VecDeque, hash_map::Entry};

/// A limited number of slots, and the calls that wait for one. `T` is the waiter, which the owner
/// of the queue notifies when its call has a slot.
#[derive(Debug)]
pub(super) struct FairQueue<T> {
    slots: usize,
    /// The most slots that one user holds.
    share: usize,
    taken: usize,
    /// The number of slots that each user holds. No entry is 0.
    held: HashMap<u64, usize>,
    waiting_max: usize,
    waiting: usize,
    /// The waiting calls of each user. No line is empty.
    lines: HashMap<u64, VecDeque<(Ticket, T)>>,
    /// The users with a line, in the order of their turns. While a slot is free, all of them hold
    /// their share.
    turns: VecDeque<u64>,
    next_ticket: u64,
}

/// Identifies a waiting call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ticket(u64);

/// The result of asking for a slot.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Entered<T> {
    /// The call has a slot. Returns its waiter.
    Placed(T),
    /// The queue is full. Returns the call's waiter.
    Refused(T),
    /// The call waits. Contains the waiter of the call that it displaced, if any.
    Waiting(Ticket, Option<T>),
}

impl<T> FairQueue<T> {
    /// A queue for this many slots, in which at most `waiting_max` calls wait.
    pub(super) fn new(slots: usize, waiting_max: usize) -> Self {
        let others = (slots / 4).max(1);
        Self {
            slots,
            share: slots.saturating_sub(others).max(1),
            taken: 0,
            held: HashMap::new(),
            waiting_max,
            waiting: 0,
            lines: HashMap::new(),
            turns: VecDeque::new(),
            next_ticket: 0,
        }
    }

    /// Asks for a slot for a call of `user`.
    pub(super) fn enter(&mut self, user: u64, waiter: T) -> Entered<T> {
        if self.taken < self.slots && self.has_share_left(user) {
            self.take(user);
            return Entered::Placed(waiter);
        }
        let mut displaced = None;
        if self.waiting >= self.waiting_max {
            let own = self.lines.get(&user).map_or(0, VecDeque::len);
            // Afterwards this user's line must still be the shorter one.
            match self.longest() {
                Some((longest, length)) if length > own.saturating_add(1) => displaced = self.drop_last(longest),
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
        Entered::Waiting(ticket, displaced)
    }

    /// Returns a slot of `user`. If a call gets it, returns that call's user and waiter.
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

    /// Removes a waiting call. Does nothing if it has got a slot.
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
