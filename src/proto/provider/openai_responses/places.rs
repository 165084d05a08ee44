//! The places of items in a response: their `output_index`.
//!
//! Some services leave it out. The id of the item, or the order of the `added` events, then gives
//! the place.

use std::collections::BTreeMap;

use super::wire::{ItemEvent, ItemId};
use crate::proto::{
    error::Error,
    provider::{
        reply_builder::ReplyBuilder,
        reply_json::{self, MAX_BLOCKS},
    },
    turn::Repair,
};

/// The places of the items so far.
#[derive(Default)]
pub(super) struct Places {
    /// The places of the items that were added and are not done, with the ids of the items. At most
    /// [`MAX_BLOCKS`].
    open: BTreeMap<u64, String>,
    /// The place of the latest open item with each id.
    by_id: BTreeMap<String, u64>,
    /// The place after the last item.
    next: u64,
}

impl Places {
    /// The place of an item that is added.
    ///
    /// # Errors
    /// [`Error::UpstreamMalformed`] for too many open items, and for ids that exceed the limit of
    /// the reply.
    pub(super) fn of_added(&mut self, event: &ItemEvent<'_>, reply: &mut ReplyBuilder) -> Result<u64, Error> {
        let place = event.output_index.unwrap_or_else(|| Self::repaired(self.next, reply));
        self.next = self.next.max(place.saturating_add(1));
        let id = id(event).unwrap_or_default();
        // Each item takes memory, even without an id.
        reply.count_kept_bytes(id.len().max(1))?;
        self.close(place);
        if self.open.len() == MAX_BLOCKS {
            return Err(Error::malformed(format!("the reply has more than {MAX_BLOCKS} open items")));
        }
        if !id.is_empty() {
            self.by_id.insert(id.clone(), place);
        }
        self.open.insert(place, id);
        Ok(place)
    }

    /// The place of an item that is done. An item that was not added follows the others.
    pub(super) fn of_done(&mut self, event: &ItemEvent<'_>, reply: &mut ReplyBuilder) -> u64 {
        let place = event.output_index.unwrap_or_else(|| {
            let known = self.find(id(event)).or_else(|| self.open.first_key_value().map(|(place, _)| *place));
            Self::repaired(known.unwrap_or(self.next), reply)
        });
        self.close(place);
        self.next = self.next.max(place.saturating_add(1));
        place
    }

    /// The place of the item that an event about a part belongs to: the last one, if the event does
    /// not say.
    pub(super) fn of_part(&self, event: &ItemEvent<'_>, reply: &mut ReplyBuilder) -> u64 {
        event.output_index.unwrap_or_else(|| {
            let known =
                self.find(event.item_id.clone()).or_else(|| self.open.last_key_value().map(|(place, _)| *place));
            Self::repaired(known.unwrap_or_else(|| self.next.saturating_sub(1)), reply)
        })
    }

    /// The place of one more item.
    pub(super) fn next(&mut self) -> u64 {
        self.next = self.next.saturating_add(1);
        self.next.saturating_sub(1)
    }

    /// The place of the open item with this id.
    fn find(&self, id: Option<String>) -> Option<u64> {
        self.by_id.get(&id?).copied()
    }

    /// Forgets the item at this place.
    fn close(&mut self, place: u64) {
        let id = self.open.remove(&place).unwrap_or_default();
        if self.by_id.get(&id) == Some(&place) {
            self.by_id.remove(&id);
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::provider::{COMPATIBLE, testing::BOUNDS};

    fn event(json: &str) -> ItemEvent<'_> {
        reply_json::parse(json).unwrap()
    }

    #[test]
    fn items_without_a_place_are_found_by_their_id_or_their_order() {
        let (mut places, mut reply) = (Places::default(), ReplyBuilder::new(BOUNDS, COMPATIBLE, None));
        for (place, id) in ["a", "b", "c"].into_iter().enumerate() {
            let added = format!(r#"{{"item":{{"id":"{id}"}}}}"#);
            assert_eq!(places.of_added(&event(&added), &mut reply).unwrap(), place as u64);
        }
        let part = event(r#"{"item_id":"b"}"#);
        assert_eq!(places.of_part(&part, &mut reply), 1);
        assert_eq!(places.of_done(&event(r#"{"item":{"id":"b"}}"#), &mut reply), 1);
        assert_eq!(places.of_part(&part, &mut reply), 2, "the last one");
        assert_eq!(places.of_done(&event("{}"), &mut reply), 0, "the first one");
        assert_eq!(places.of_done(&event(r#"{"output_index":2}"#), &mut reply), 2);
        assert_eq!(places.of_done(&event("{}"), &mut reply), 3, "one more");
    }

    #[test]
    fn open_items_are_bounded() {
        let bounds = crate::proto::provider::ReplyBounds { reply_bytes: 1 << 20, ..BOUNDS };
        let (mut places, mut reply) = (Places::default(), ReplyBuilder::new(bounds, COMPATIBLE, None));
        let added = event(r#"{"item":{"id":"a"}}"#);
        for _ in 0..MAX_BLOCKS {
            places.of_added(&added, &mut reply).unwrap();
        }
        assert_eq!((places.open.len(), places.by_id.len()), (MAX_BLOCKS, 1));
        assert!(matches!(places.of_added(&added, &mut reply), Err(Error::UpstreamMalformed { .. })));
        // The same place again, and a place of an item that is done, take no more memory.
        places.of_added(&event(r#"{"output_index":0,"item":{"id":"b"}}"#), &mut reply).unwrap();
        places.of_done(&event(r#"{"output_index":0}"#), &mut reply);
        places.of_added(&added, &mut reply).unwrap();
        assert_eq!((places.open.len(), places.by_id.len()), (MAX_BLOCKS, 1));
    }
}
