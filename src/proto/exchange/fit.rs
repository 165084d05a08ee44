//! Room for the reply: reserved before the model is called, made by trimming or by a summary.

use super::{
    summary::MAX_SUMMARY_BYTES,
    turn_state::{Overrun, Plan, TurnState},
};
use crate::proto::{chat::History, error::Error, token::Codec, turn::Truncation};

/// The result of [`fit`].
pub(super) enum Fit {
    /// There is room for the reply.
    Fits,
    /// There will be room once a summary replaces the oldest `items`.
    NeedsSummary { items: usize },
}

/// Makes room for the reply, as `plan.truncation` says.
///
/// # Errors
/// [`Error::HistoryTooLarge`].
pub(super) fn fit(turn: &mut TurnState, plan: &mut Plan, codec: &mut Codec) -> Result<Fit, Error> {
    let mut trimmer = Trimmer::new(turn);
    while let Some(overrun) = turn.overrun() {
        let items = match plan.truncation {
            Truncation::Refuse => None,
            Truncation::Oldest => trimmer.items_to_trim(turn, &plan.history, &overrun),
            Truncation::Summarize => {
                return items_to_summarize(turn, &plan.history, &overrun)
                    .map(|items| Fit::NeedsSummary { items })
                    .ok_or(Error::HistoryTooLarge(overrun.excess));
            }
        };
        trim(turn, plan, items.ok_or(Error::HistoryTooLarge(overrun.excess))?, codec)?;
    }
    Ok(Fit::Fits)
}

/// Removes the oldest `items` from history and token.
fn trim(turn: &mut TurnState, plan: &mut Plan, items: usize, codec: &mut Codec) -> Result<(), Error> {
    plan.history.drop_oldest(items);
    turn.base = match turn.base.take() {
        Some(base) => base.without_oldest(items, codec)?,
        None => None,
    };
    turn.item_count = plan.history.items().len();
    turn.trimmed_items = turn.trimmed_items.saturating_add(items);
    Ok(())
}

/// Decides how much to trim in each round.
///
/// The number of missing bytes is an estimate, because frames compress unevenly. So the room is
/// measured again after each round. Each round compresses the rest again, so each round trims at
/// least twice as much as the round before, up to a small part of a token.
struct Trimmer {
    min_bytes: usize,
    max_step: usize,
}

impl Trimmer {
    fn new(turn: &TurnState) -> Self {
        let limits = &turn.deployment.limits;
        Self { min_bytes: 0, max_step: limits.token_bytes.min(limits.history_bytes) / 32 }
    }

    /// The number of items to trim in this round. `None` if the base does not have enough.
    fn items_to_trim(&mut self, turn: &TurnState, history: &History, overrun: &Overrun) -> Option<usize> {
        let bytes = overrun.bytes.max(self.min_bytes);
        self.min_bytes = bytes.saturating_mul(2).min(self.max_step);
        oldest_of_base(turn, history, bytes, overrun.items)
            .or_else(|| oldest_of_base(turn, history, overrun.bytes, overrun.items))
    }
}

/// The number of items to replace by a summary. `None` if even all turns of the base are not
/// enough.
///
/// Half of the conversation is replaced if possible, so that not every turn needs a summary.
fn items_to_summarize(turn: &TurnState, history: &History, overrun: &Overrun) -> Option<usize> {
    // JSON escapes can make the summary longer, at worst six times. Twice is enough for most.
    let summary_bytes = MAX_SUMMARY_BYTES.saturating_mul(2);
    let needed = overrun.bytes.saturating_add(summary_bytes);
    let half = turn.base.as_ref().map_or(0, |base| base.history_lines().len()) / 2;
    let items = overrun.items.saturating_add(1);
    oldest_of_base(turn, history, needed.max(half), items)
        .or_else(|| oldest_of_base(turn, history, needed, items))
        .or_else(|| oldest_of_base(turn, history, overrun.bytes, items))
}

/// The number of items in the oldest turns that hold at least `bytes` and `items`. The new input is
/// the last turn and always stays: only turns of the base count.
fn oldest_of_base(turn: &TurnState, history: &History, bytes: usize, items: usize) -> Option<usize> {
    history.oldest_turns(bytes, items).filter(|items| *items <= turn.base_items())
}
