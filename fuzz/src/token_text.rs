//! Text as a stranger sends it.
//!
//! It must be refused, never panic; and since no fuzzer makes a tag, it is tried again with the right tag behind it,
//! where `agreement` says what must hold: above all that the text is the only one for its header and payload.

use super::{agreement, reference};

/// Takes any bytes; what is not UTF-8 cannot arrive as a token.
pub fn check(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    agreement::check(text);
    agreement::check(&reference::sign(text));
}
