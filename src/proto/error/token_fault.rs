//! The reason why a token was refused, for the operator's log.

use thiserror::Error;

/// The check at which a token failed, in the order of the checks. The caller never learns it.
///
/// The text starts with the name of the check and a colon, as the test vectors name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TokenFault {
    /// The text has a byte outside `[A-Za-z0-9._-]`.
    #[error("charset: a byte outside [A-Za-z0-9._-]")]
    Charset,
    /// The text does not have exactly two dots.
    #[error("layout: not exactly two dots")]
    Layout,
    /// The header is not one that a key of the ring would write.
    #[error("header: not one that a key of the ring would write")]
    Header,
    /// The tag does not match.
    #[error("tag: does not match")]
    Tag,
    /// The payload is not canonical base64url.
    #[error("payload: not canonical base64url")]
    Payload,
    /// The sealed payload does not decrypt.
    #[error("seal: does not decrypt")]
    Seal,
    /// The padding does not have the size that the length requires.
    #[error("padding: not the size that the length requires")]
    Padding,
    /// The frames break a rule.
    #[error("frames: {0}")]
    Frames(&'static str),
    /// The lines break a rule.
    #[error("lines: {0}")]
    Lines(&'static str),
    /// The claims do not parse.
    #[error("claims: do not parse")]
    Claims,
    /// The token belongs to another deployment.
    #[error("issuer: another deployment's token")]
    Issuer,
    /// The token belongs to another caller.
    #[error("subject: another caller's token")]
    Subject,
    /// The times contradict each other, or are in the future.
    #[error("times: contradict each other or are in the future")]
    Times,
    /// An item does not parse.
    #[error("items: one does not parse")]
    Items,
}
