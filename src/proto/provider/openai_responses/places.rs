//! The places of items in a response: their `output_index`.
//!
//! Some services leave it out. The id of the item, or the order of the `added` events, then gives
//! the place.

use super::wire::{ItemEvent, ItemId};
use crate::proto::{
    error::Error,
    provider::{reply_builder::ReplyBuilder, reply_json},
    turn::Repair,
};

/// The places of the items so far.
#[derive(Default)]
pub(super) struct Places {
    /// The ids of the items, with their places, in the order of the `added` events.
    added: Vec<(String, u64)>,
    /// The place after the last item.
    next: u64,
}

impl Places {
    /// The place of an item that is added.
    ///
    /// # Errors
    /// [`Error::UpstreamMalformed`] for ids that exceed the limit of the reply.
    pub(super) fn of_added(&mut self, event: &ItemEvent<'_>, reply: &mut ReplyBuilder) -> Result<u64, Error> {
        let place = event.output_index.unwrap_or_else(|| Self::repaired(self.next, reply));
        self.next = self.next.max(place.saturating_add(1));
        let id = id(event).unwrap_or_default();
        // Each item takes memory, even without an id.
        reply.count_bytes(id.len().max(1))?;
        self.added.push((id, place));
        Ok(place)
    }

    /// The place of an item that is done. An item that was not added follows the others.
    pub(super) fn of_done(&mut self, event: &ItemEvent<'_>, reply: &mut ReplyBuilder) -> u64 {
        let place = event.output_index.unwrap_or_else(|| {
            let known = self.find(id(event)).or_else(|| self.added.first().map(|(_, place)| *place));
            Self::repaired(known.unwrap_or(self.next), reply)
        });
        self.added.retain(|(_, added)| *added != place);
        self.next = self.next.max(place.saturating_add(1));
        place
    }

    /// The place of the item that an event about a part belongs to: the last one, if the event does
    /// not say.
    pub(super) fn of_part(&self, event: &ItemEvent<'_>, reply: &mut ReplyBuilder) -> u64 {
        event.output_index.unwrap_or_else(|| {
            let known = self.find(event.item_id.clone()).or_else(|| self.added.last().map(|(_, place)| *place));
            Self::repaired(known.unwrap_or_else(|| self.next.saturating_sub(1)), reply)
        })
    }

    /// The place of one more item.
    pub(super) fn next(&mut self) -> u64 {
        self.next = self.next.saturating_add(1);
        self.next.saturating_sub(1)
    }

    fn find(&self, id: Option<String>) -> Option<u64> {
        let id = id.filter(|id| !id.is_empty())?;
        self.added.iter().rev().find(|(added, _)| *added == id).map(|(_, place)| *place)
    }

    fn repaired(place: u64, reply: &mut ReplyBuilder) -> u64 {
        reply.repair(Repair::EventShape);
        place
    }
}

/// The id of the event's item.
fn id(event: &ItemEvent<'_>) -> Option<String> {
    let item = event.item?.get();
    reply_json::parse::<ItemId>(item).ok()?.id.or_else(|| event.item_id.clone())
}
