//! The start of a caller's text, for an error message.

/// The first 64 characters of `text`, without control characters.
pub(crate) fn excerpt(text: &str) -> Box<str> {
    text.chars().filter(|character| !character.is_control()).take(64).collect()
}
