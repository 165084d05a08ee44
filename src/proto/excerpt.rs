//! Excerpts of a caller's own text, for error messages.

/// The first 64 characters of `text`, without control characters.
pub(crate) fn excerpt(text: &str) -> Box<str> {
    text.chars().filter(|character| !character.is_control()).take(MAX_CHARS).collect()
}

const MAX_CHARS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_excerpt_is_short_and_has_no_control_characters() {
        assert_eq!(&*excerpt("call\n1\u{1b}[31m"), "call1[31m");
        assert_eq!(excerpt(&"é".repeat(65)).chars().count(), 64);
    }
}
