//! Every bound the protocol keeps, in one struct; the unit is in each name.
//!
//! A limit counts what a reader would have to hold: inflated bytes for a history, decoded bytes for an image. Each is
//! checked before memory is taken, and on issuing as well as on verifying, so that a token we issue is one we accept.

/// The bounds on one request, its token and its reply.
///
/// The defaults are those of the design, §7. All sizes are in bytes and inclusive: a value equal to its limit passes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// A request body as it arrives.
    pub body_bytes: usize,
    /// The text of a token.
    pub token_bytes: usize,
    /// The history inside a token, inflated, without the claims line.
    pub history_bytes: usize,
    /// One input message or tool result, as its line in the history.
    pub message_bytes: usize,
    /// One inline image (`data:` URL), decoded.
    pub image_bytes: usize,
    /// Lines (items) in a history.
    pub history_items: usize,
    /// One reply, as its lines in the history.
    pub reply_bytes: usize,
    /// The room for a reply below which a turn is refused (or trimmed) before the model is called.
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
