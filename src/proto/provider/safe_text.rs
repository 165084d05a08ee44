//! The words of a model service as one line of limited length, without control characters.
//!
//! The line may still have the operator's keys and prompts. `secrets.rs` cuts them out before a
//! caller sees the line.

/// The most characters of a message that are read.
const MAX_LINE_CHARS: usize = 4_096;

/// `text` as one line of at most [`MAX_LINE_CHARS`] characters, without control characters.
pub(super) fn one_line(text: &str) -> String {
    let mut line = String::new();
    for word in text.split_whitespace().take(MAX_LINE_CHARS) {
        if !line.is_empty() {
            line.push(' ');
        }
        let shown = |c| if is_hidden(c) { char::REPLACEMENT_CHARACTER } else { c };
        line.extend(word.chars().take(MAX_LINE_CHARS).map(shown));
    }
    if let Some((end, _)) = line.char_indices().nth(MAX_LINE_CHARS) {
        line.truncate(end);
    }
    line
}

/// Returns true for characters that control a terminal or change the direction of text.
fn is_hidden(c: char) -> bool {
    c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_become_one_bounded_line() {
        assert_eq!(one_line(" a\r\n\tb\u{0}c\u{1b}[31m\u{202e} d "), "a b\u{fffd}c\u{fffd}[31m\u{fffd} d");
        assert_eq!(one_line(&"é".repeat(10_000)), "é".repeat(MAX_LINE_CHARS));
        assert_eq!(one_line(&"é ".repeat(10_000)).chars().count(), MAX_LINE_CHARS);
    }
}
