//! Repeated conversations. Some clients keep the conversation themselves, and send all of it in
//! each turn, together with the token.
//!
//! Only the items of the token are the conversation. The client's copy is compared with them and
//! then dropped, so a client cannot forge history. A difference is an error. A client may have
//! forgotten older turns, and it may remember turns that were trimmed from the token. The turns
//! that both have must be the same.
//!
//! APIs write the same turn in different forms, and clients keep less than they received. So a copy
//! is an echo if all of it equals items of the token in the order of the messages:
//!
//! - Messages are compared by their texts and images. A client may split and join them, and leave
//!   out blank ones. It may leave out the text beside a call, and one of several messages of the
//!   user in a row, such as a reminder that it sends only with the newest turn. It may leave out no
//!   other message in between.
//! - Calls and their results are compared by their ids. They may be in another order than in the
//!   token, and any of them may be missing. Some clients send each call with its result, although
//!   the model made all calls at once.
//! - Reasoning is compared apart, because many clients keep none or a part of it.
//!
//! A result for a call that waits is new, even if calls of the model follow it.
//!
//! Some clients repeat the last question without the reply to it: before the results of the calls
//! in that reply, or because the reply was empty. Such a question is an echo as well.

mod json;
mod own;
mod piece;
mod reasoning;

use std::collections::{BTreeMap, BTreeSet};

pub(in crate::proto) use self::reasoning::{is_blank as is_blank_json, is_empty as is_empty_reasoning};
use self::{
    own::OwnItems,
    piece::{content_of, same_content},
};
use super::{
    item::{Item, Role},
    note::is_summary,
};
use crate::proto::error::Error;

/// The index after the model's last item in `input`; 0 if the model has no item there.
fn after_last_reply(input: &[Item]) -> usize {
    after_last(input, |item| item.side() == Role::Assistant)
}

fn after_last(items: &[Item], is_wanted: impl Fn(&Item) -> bool) -> usize {
    items.iter().rposition(is_wanted).map_or(0, |last| last.saturating_add(1))
}

/// Compares what `input` repeats with `history`. Returns true for each item that is new.
///
/// `is_whole` is true if nothing was trimmed from `history`. A client cannot remember more then.
/// `compares_reasoning` is false if reasoning of the client is left out without a comparison.
///
/// # Errors
/// [`Error::ClientHistoryForbidden`] for a turn or reasoning of the model that `history` does not
/// have, and [`Error::RequestInvalid`] for such a turn of the user.
pub(super) fn new_items(
    history: &[Item],
    input: &[Item],
    is_whole: bool,
    compares_reasoning: bool,
) -> Result<Vec<bool>, Error> {
    let end = after_last_reply(input);
    if history.is_empty() && end > 0 {
        return Err(Error::ClientHistoryForbidden);
    }
    // Clients do not repeat a summary, and the turns that it replaced cannot be compared.
    let (kept, is_whole) = match history.split_first() {
        Some((first, kept)) if is_summary(first) => (kept, false),
        _ => (history, is_whole),
    };
    let mut is_new = new_results(kept, input);
    let (repeated, rest) = input.split_at_checked(end).unwrap_or((input, &[]));
    let copy: Vec<_> = repeated.iter().zip(&is_new).filter(|(_, is_new)| !**is_new).map(|(item, _)| item).collect();
    let mut own = OwnItems::new(kept);
    for (item, is_new) in input.iter().zip(&mut is_new).skip(end).rev() {
        *is_new = *is_new || !own.takes_result(item);
    }
    let compared = own.compare(&copy, is_whole);
    let has_content = copy.iter().any(|item| !item.says_nothing() || item.is_reference());
    let questions = match compared {
        Ok(()) if has_content => 0,
        compared => match repeated_questions(kept, &copy, rest, is_new.get(end..).unwrap_or_default(), is_whole) {
            0 => compared.map(|()| 0)?,
            questions => questions,
        },
    };
    let is_message = |item: &Item| matches!(item, Item::Message { .. });
    let messages = input.iter().zip(&mut is_new).skip(end).filter(|(item, _)| is_message(item));
    messages.take(questions).for_each(|(_, is_new)| *is_new = false);
    // Results that the token has are no input. As new items they get an error that names them.
    if !is_new.contains(&true) {
        is_new.iter_mut().skip(end).for_each(|is_new| *is_new = true);
    }
    if compares_reasoning && !reasoning::is_known(kept, &copy, is_whole) {
        return Err(Error::ClientHistoryForbidden);
    }
    Ok(is_new)
}

/// Returns true for each item of `input` that is a result for a waiting call.
///
/// A service can use an id again. Results before a repeated call can then be those of its earlier
/// call.
fn new_results(kept: &[Item], input: &[Item]) -> Vec<bool> {
    let mut waiting: BTreeMap<&str, usize> = BTreeMap::new();
    for id in waiting_calls(kept) {
        let count = waiting.entry(id).or_default();
        *count = count.saturating_add(1);
    }
    let answered: BTreeSet<_> = kept.iter().filter_map(result_id).filter(|id| waiting.contains_key(id)).collect();
    let mut is_new = vec![false; input.len()];
    for (item, is_new) in input.iter().zip(&mut is_new).rev() {
        match item {
            Item::Call { id, .. } if answered.contains(id.as_str()) => drop(waiting.remove(id.as_str())),
            Item::Result { id, .. } => {
                if let Some(count) = waiting.get_mut(id.as_str()).filter(|count| **count > 0) {
                    *count = count.saturating_sub(1);
                    *is_new = true;
                }
            }
            Item::Call { .. } | Item::Message { .. } | Item::Think { .. } => {}
        }
    }
    is_new
}

fn result_id(item: &Item) -> Option<&str> {
    match item {
        Item::Result { id, .. } => Some(id),
        Item::Call { .. } | Item::Message { .. } | Item::Think { .. } => None,
    }
}

/// The number of messages at the start of `rest` that repeat the last question, if the input leaves
/// out the reply to it. `rest` has the items after the model's last one.
///
/// Before the question, `copy` may repeat older turns. The question must be followed by new input,
/// because a user can ask the same again.
fn repeated_questions(kept: &[Item], copy: &[&Item], rest: &[Item], is_new: &[bool], is_whole: bool) -> usize {
    let older_and_current = open_question(kept).and_then(|question| kept.split_at_checked(question));
    let Some((older, current)) = older_and_current else { return 0 };
    if OwnItems::new(older).compare(copy, is_whole).is_err() {
        return 0;
    }
    let is_message = |item: &&Item| matches!(item, Item::Message { role: Role::User, .. });
    let mut known = current.iter().filter(is_message);
    let mut news = rest.iter().zip(is_new).filter(|(_, is_new)| **is_new).map(|(item, _)| item).peekable();
    let mut questions = 0_usize;
    while let Some(item) = news.next_if(is_message) {
        // One message can be compared with all that are known, so it is read once.
        let content = content_of(item);
        if !known.any(|known| same_content(content_of(known), &content)) {
            return questions;
        }
        questions = questions.saturating_add(1);
    }
    if news.peek().is_some() { questions } else { 0 }
}

/// The index of the last question, if the reply to it is empty or waits for results.
fn open_question(kept: &[Item]) -> Option<usize> {
    if ends_with_reply(kept) && waiting_calls(kept).is_empty() {
        return None;
    }
    let asked = after_last(kept, |item| matches!(item, Item::Message { role: Role::User, .. })).checked_sub(1)?;
    Some(after_last(kept.get(..asked)?, is_reply))
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
