//! Notes that replace content in the history: for an inline image, and for turns that were summarized.

use super::item::{Item, Output, Part, Role};
use crate::proto::excerpt::excerpt;

/// The item as a later turn is to find it: a note in the place of each inline image. Also how many there were.
#[must_use]
pub fn without_inline_images(item: &Item) -> (Item, usize) {
    let mut item = item.clone();
    let parts = match &mut item {
        Item::Message { parts, .. } | Item::Result { out: Output::Parts(parts), .. } => parts.as_mut_slice(),
        _ => &mut [],
    };
    let mut elided = 0_usize;
    for part in parts {
        if let Part::Image(url) = part
            && url.starts_with(INLINE)
        {
            *part = Part::Text(elision(url));
            elided = elided.saturating_add(1);
        }
    }
    (item, elided)
}

/// The note that stands for an inline image: its type and its size.
pub(super) fn elision(url: &str) -> String {
    let (kind, data) = url.split_once(',').unwrap_or_default();
    let kind = kind.split([':', ';']).nth(1).unwrap_or_default();
    format!("{ELISION}{}, {} bytes]", excerpt(kind), data.len().saturating_mul(3) / 4)
}

/// Whether a text is such a note.
pub(super) fn is_elision(text: &str) -> bool {
    text.starts_with(ELISION) && text.ends_with(" bytes]")
}

const ELISION: &str = "[inline image left out: ";

/// Whether an item stands for turns that were summarized.
pub(super) fn is_summary(item: &Item) -> bool {
    let Item::Message { role: Role::User, parts, .. } = item else { return false };
    matches!(parts.as_slice(), [Part::Text(text)] if text.starts_with(SUMMARY_LEAD))
}

/// What the message begins with that stands for turns that were summarized.
pub const SUMMARY_LEAD: &str = "[Summary of the earlier conversation]";

/// What the URL of an image begins with that travels in it (RFC 2397). In capitals it is refused as input.
pub(super) const INLINE: &str = "data:";
