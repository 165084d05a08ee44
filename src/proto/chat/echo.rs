//! Repeated conversations. Some clients keep the conversation themselves, and send all of it in
//! each turn, together with the token.
//!
//! Only the items of the token are the conversation. The client's copy is compared with them and
//! then dropped, so a client cannot forge history. A difference is an error. A client may have
//! forgotten older turns, and it may remember turns that were trimmed from the token. The turns
//! that both have must be the same.
//!
//! APIs write the same turn in different forms. So turns are compared by their content: a reply by
//! its text and its calls, and input by its texts, images and results. Items of the model without
//! content, such as an empty message, are left out on both sides. Reasoning is compared apart,
//! because many clients keep none or a part of it.
//!
//! Some clients repeat the last question without the reply to it: before the results of the calls
//! in that reply, or because the reply was empty. Such a question is an echo as well.

mod json;
mod reasoning;
mod turn;

use std::collections::{BTreeMap, BTreeSet};

pub(in crate::proto) use self::reasoning::{is_blank as is_blank_json, is_empty as is_empty_reasoning};
use self::turn::{EchoTurn, turns};
use super::{
    item::{Item, Role},
    note::is_summary,
};
use crate::proto::error::Error;

/// The index after the model's last item in `input`; 0 if the model has no item there.
#[must_use]
pub fn after_last_reply(input: &[Item]) -> usize {
    after_last(input, |item| item.side() == Role::Assistant)
}

fn after_last(items: &[Item], is_wanted: impl Fn(&Item) -> bool) -> usize {
    items.iter().rposition(is_wanted).map_or(0, |last| last.saturating_add(1))
}

/// Compares what `input` repeats with `history`. Returns the index of the first new item.
///
/// `is_whole` is true if nothing was trimmed from `history`. A client cannot remember more then.
/// `compares_reasoning` is false if reasoning of the client is left out without a comparison.
///
/// # Errors
/// [`Error::ClientHistoryForbidden`] for a turn or reasoning of the model that `history` does not
/// have, and [`Error::RequestInvalid`] for such a turn of the user.
pub(super) fn first_new_item(
    history: &[Item],
    input: &[Item],
    is_whole: bool,
    compares_reasoning: bool,
) -> Result<usize, Error> {
    let end = after_last_reply(input);
    if history.is_empty() && end > 0 {
        return Err(Error::ClientHistoryForbidden);
    }
    // Clients do not repeat a summary, and the turns that it replaced cannot be compared.
    let (kept, is_whole) = match history.split_first() {
        Some((first, kept)) if is_summary(first) => (kept, false),
        _ => (history, is_whole),
    };
    let repeated = input.get(..end).unwrap_or_default();
    let copy = turns(repeated);
    let compared = match compare(&turns(kept), &copy, is_whole) {
        Ok(()) if copy.is_empty() && has_blank_message(repeated) && ends_with_reply(kept) => {
            Err(Error::ClientHistoryForbidden)
        }
        // A reply without content is in the place of one that the token has.
        Err(_) if copy.last().is_some_and(|turn| !turn.by_model) => Err(Error::ClientHistoryForbidden),
        compared => compared.map(|()| end),
    };
    let first_new = match compared {
        Ok(end) if !copy.is_empty() => end,
        compared => after_question(kept, input, is_whole).map_or(compared, Ok)?,
    };
    let echo = input.get(..first_new).unwrap_or_default();
    if compares_reasoning && !reasoning::is_known(kept, echo, is_whole) {
        return Err(Error::ClientHistoryForbidden);
    }
    Ok(first_new)
}

/// Compares the newest turns of both. `theirs` may be shorter.
fn compare(ours: &[EchoTurn<'_>], theirs: &[EchoTurn<'_>], is_whole: bool) -> Result<(), Error> {
    let mut ours = ours.iter().rev();
    for (at, turn) in theirs.iter().enumerate().rev() {
        match ours.next() {
            Some(known) if known.has_content_of(turn) => {}
            Some(known) if at == 0 && known.ends_with_content_of(turn) => {}
            // Only a trimmed turn can be unknown.
            None if !is_whole => break,
            _ => return Err(mismatch(turn)),
        }
    }
    Ok(())
}

/// The error for a turn that differs from the conversation in the token.
fn mismatch(turn: &EchoTurn<'_>) -> Error {
    if turn.by_model {
        Error::ClientHistoryForbidden
    } else {
        Error::invalid(
            "The messages in the request differ from the conversation in the token. Send only new messages. To continue \
            from an earlier turn, send the token of that turn.",
        )
    }
}

/// The index of the first new item if `input` repeats the last question without the reply to it.
///
/// Before the question, `input` may repeat older turns. The question must be followed by new input,
/// because a user can ask the same again.
fn after_question(kept: &[Item], input: &[Item], is_whole: bool) -> Option<usize> {
    let question = open_question(kept)?;
    let (older, current) = kept.split_at_checked(question)?;
    let (copy, rest) = input.split_at_checked(after_last(input, is_reply))?;
    compare(&turns(older), &turns(copy), is_whole).ok()?;
    let repeated = repeated_items(current, rest);
    let silent = after_last_reply(rest);
    let is_echo = repeated > 0 && repeated.max(silent) < rest.len();
    let is_silent = rest.get(repeated..silent).unwrap_or_default().iter().all(|item| item.side() == Role::Assistant);
    (is_echo && is_silent).then(|| copy.len().saturating_add(repeated.max(silent)))
}

/// The index of the last question, if the reply to it is empty or waits for results.
fn open_question(kept: &[Item]) -> Option<usize> {
    if ends_with_reply(kept) && waiting_calls(kept).is_empty() {
        return None;
    }
    let asked = after_last(kept, |item| matches!(item, Item::Message { role: Role::User, .. })).checked_sub(1)?;
    Some(after_last(kept.get(..asked)?, is_reply))
}

/// The number of items at the start of `rest` that repeat user items of `current`, in order. A
/// result for a waiting call is new.
fn repeated_items(current: &[Item], rest: &[Item]) -> usize {
    let waiting: BTreeSet<_> = waiting_calls(current).into_iter().collect();
    let mut known = current.iter().filter(|item| item.side() == Role::User);
    let mut repeated = 0_usize;
    for (at, item) in rest.iter().enumerate() {
        match item {
            Item::Result { id, .. } if waiting.contains(id.as_str()) => break,
            item if item.side() == Role::Assistant => {}
            item => {
                // One item can be compared with all that are known.
                let turn = EchoTurn::of_item(item);
                if !known.any(|known| EchoTurn::of_item(known).has_content_of(&turn)) {
                    break;
                }
                repeated = at.saturating_add(1);
            }
        }
    }
    repeated
}

/// The ids of the calls that have no result yet, in order. Only calls after the last user message
/// count.
pub(super) fn waiting_calls(items: &[Item]) -> Vec<&str> {
    let mut answers: BTreeMap<&str, usize> = BTreeMap::new();
    let mut waiting = Vec::new();
    for item in items.iter().rev() {
        match item {
            Item::Result { id, .. } => {
                let count = answers.entry(id).or_default();
                *count = count.saturating_add(1);
            }
            Item::Call { id, .. } => match answers.get_mut(id.as_str()).filter(|count| **count > 0) {
                Some(count) => *count = count.saturating_sub(1),
                None => waiting.push(id.as_str()),
            },
            Item::Message { role: Role::User, .. } => break,
            Item::Message { .. } | Item::Think { .. } => {}
        }
    }
    waiting.reverse();
    waiting
}

/// Returns true if the last reply has content.
fn ends_with_reply(items: &[Item]) -> bool {
    let last = after_last(items, |item| item.side() == Role::User);
    items.get(last..).unwrap_or_default().iter().any(is_reply)
}

/// Returns true for a message of the model without content among `items`.
fn has_blank_message(items: &[Item]) -> bool {
    items.iter().any(|item| matches!(item, Item::Message { .. }) && item.says_nothing())
}

/// Returns true for an item of the model with content.
pub(in crate::proto) fn is_reply(item: &Item) -> bool {
    item.side() == Role::Assistant && !item.says_nothing()
}

/// The number of turns in the items. A turn begins with the first user item, and with each user
/// item after an item of the model. Results of calls also begin a turn.
pub(super) fn count_turns(items: &[Item]) -> usize {
    let begins = |(at, item): (usize, &Item)| {
        let before = at.checked_sub(1).and_then(|before| items.get(before));
        item.side() == Role::User && before.is_none_or(|before| before.side() == Role::Assistant)
    };
    items.iter().enumerate().filter(|item| begins(*item)).count()
}

#[cfg(test)]
mod tests;
