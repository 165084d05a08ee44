//! Any text, as a stranger can send it.
//!
//! The crate must refuse it and never panic. A fuzzer cannot find a tag, so the text is also
//! checked with the right tag after it, by the rules of `agreement`. Above all, no other text may
//! be valid for the same header and payload.

use super::{agreement, reference};

/// Takes any bytes. Bytes that are not UTF-8 cannot arrive as a token.
pub fn check(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    agreement::check(text);
    agreement::check(&reference::sign(text));
}
