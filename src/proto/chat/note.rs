//! Notes that replace content in the history: for an inline image, and for turns that were
//! summarized.

use super::item::{Item, Output, Part, Role};
use crate::proto::excerpt::excerpt;

/// The item with a note instead of each inline image, and the number of inline images.
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
            && url.starts_with(DATA_SCHEME)
        {
            *part = Part::Text(image_note(url));
            elided = elided.saturating_add(1);
        }
    }
    (item, elided)
}

/// The note for an inline image, with the type and the size of the image.
pub(super) fn image_note(url: &str) -> String {
    let (kind, data) = url.split_once(',').unwrap_or_default();
    let kind = kind.split([':', ';']).nth(1).unwrap_or_default();
    format!("{IMAGE_NOTE_START}{}, {} bytes]", excerpt(kind), data.len().saturating_mul(3) / 4)
}

/// Returns true for a note that [`image_note`] wrote.
pub(super) fn is_image_note(text: &str) -> bool {
    text.starts_with(IMAGE_NOTE_START) && text.ends_with(" bytes]")
}

const IMAGE_NOTE_START: &str = "[inline image left out: ";

/// Returns true for a message that replaced older turns.
pub(super) fn is_summary(item: &Item) -> bool {
    let Item::Message { role: Role::User, parts, .. } = item else { return false };
    matches!(parts.as_slice(), [Part::Text(text)] if text.starts_with(SUMMARY_HEADING))
}

/// The first line of a summary message.
pub const SUMMARY_HEADING: &str = "[Summary of the earlier conversation]";

/// The beginning of the URL of an inline image (RFC 2397). In capitals, it is refused as input.
pub(super) const DATA_SCHEME: &str = "data:";
