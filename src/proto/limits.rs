//! All size limits of the protocol in one struct. Each name has its unit.
//!
//! A limit counts what a reader has to hold in memory: inflated bytes of a history, decoded bytes
//! of an image. Each limit is checked before memory is allocated. It holds when a token is issued
//! and when it is verified, so that the server accepts every token that it issues.

/// The limits on one request, its token and its reply. docs/configuration.md has the defaults.
///
/// A value equal to its limit is allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Bytes of a request body as it arrives.
    pub body_bytes: usize,
    /// Bytes of a token's text.
    pub token_bytes: usize,
    /// Bytes of the inflated history in a token, without the claims line.
    pub history_bytes: usize,
    /// Bytes of one input message or tool result, as its line in the history without inline images.
    pub message_bytes: usize,
    /// Bytes of one decoded inline image (`data:` URL).
    pub image_bytes: usize,
    /// Items (lines) in a history.
    pub history_items: usize,
    /// Bytes of one reply, as its lines in the history.
    pub reply_bytes: usize,
    /// Bytes of free room that a turn needs for its reply. With less room, the turn is refused or
    /// trimmed before the model is called.
    pub reply_reserve_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_bytes: 4 << 20,
            token_bytes: 3 << 20,
            history_bytes: 4 << 20,
            message_bytes: 256 << 10,
            image_bytes: 1 << 20,
            history_items: 16_384,
            reply_bytes: 1 << 20,
            reply_reserve_bytes: 16 << 10,
        }
    }
}
