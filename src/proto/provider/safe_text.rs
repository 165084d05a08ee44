//! Makes the words of model services safe to show.
//!
//! A service's message can contain anything, even the operator's key. It is shown as one line of
//! limited length, without control characters and without anything that looks like a key.

use std::borrow::Cow;

/// The most characters of a message that are shown.
const MAX_MESSAGE_CHARS: usize = 300;

/// A run of at least this many letters, digits and `_` is treated as a key if it has a digit. A
/// hyphen ends a run, so that model names with a date stay readable.
const MIN_KEY_CHARS: usize = 20;

/// The shortest stretch of a secret text that is removed, in characters. Shorter ones occur by
/// chance.
const MIN_STRETCH_CHARS: usize = 16;

const REDACTED: &str = "[redacted]";

/// `text` as one line of at most [`MAX_MESSAGE_CHARS`] characters, without control characters and
/// without anything that looks like a key.
pub(super) fn safe_text(text: &str) -> String {
    let mut safe = String::new();
    let mut after_bearer = false;
    for word in text.split_whitespace().take(MAX_MESSAGE_CHARS) {
        if !safe.is_empty() {
            safe.push(' ');
        }
        if after_bearer {
            safe.push_str(REDACTED);
        } else {
            push_word(&mut safe, word);
        }
        let letters = word.trim_end_matches(|c: char| !c.is_ascii_alphabetic()).as_bytes();
        after_bearer = letters.last_chunk::<6>().is_some_and(|end| end.eq_ignore_ascii_case(b"bearer"));
    }
    match safe.char_indices().nth(MAX_MESSAGE_CHARS) {
        Some((end, _)) => safe.get(..end).unwrap_or_default().to_owned(),
        None => safe,
    }
}

/// Appends a word. Anything that looks like a key is replaced by [`REDACTED`]. After the prefix of
/// a known kind of key, the rest of the word is dropped.
fn push_word(safe: &mut String, word: &str) {
    // Each run ends with one character that is in no key, except the last run.
    for run in word.split_inclusive(|c| !is_key_char(c)) {
        let key = run.trim_end_matches(|c| !is_key_char(c));
        if key.len() > 3 && key.starts_with("sk-") {
            return safe.push_str(REDACTED);
        }
        let is_key =
            key.split('-').any(|part| part.len() >= MIN_KEY_CHARS && part.bytes().any(|byte| byte.is_ascii_digit()));
        safe.push_str(if is_key { REDACTED } else { key });
        let end = run.strip_prefix(key).unwrap_or_default();
        safe.extend(end.chars().map(|c| if is_hidden(c) { char::REPLACEMENT_CHARACTER } else { c }));
    }
}

fn is_key_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '-')
}

/// Returns true for characters that control a terminal or change the direction of text.
fn is_hidden(c: char) -> bool {
    c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// `message` without the stretches that occur in `secret` and for which `is_public` is false.
///
/// A stretch has at least 16 characters, or all characters of a shorter secret. Runs of white space
/// count as one space. If a stretch shows only after escapes are decoded, nothing of the message
/// remains: the places in it are not known. `message` is a [`safe_text`], so it is short.
pub(in crate::proto) fn without_stretches<'a>(
    message: &'a str,
    secret: &str,
    is_public: impl Fn(&str) -> bool,
) -> Cow<'a, str> {
    let shown = without_plain_stretches(message, secret, &is_public);
    let (plain, secret) = (fully_decoded(&shown), fully_decoded(secret));
    let is_escaped = matches!(without_plain_stretches(&plain, &secret, is_public), Cow::Owned(_));
    if is_escaped { Cow::Borrowed(REDACTED) } else { shown }
}

/// A text in which no escapes are left, in one line. Quoted quotes are escaped several times.
fn fully_decoded(text: &str) -> String {
    let plain = (0..MAX_DECODINGS).fold(text.to_owned(), |text, _| decoded(&text).into_owned());
    plain.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The most times that escapes are decoded.
pub(super) const MAX_DECODINGS: usize = 4;

fn without_plain_stretches<'a>(message: &'a str, secret: &str, is_public: impl Fn(&str) -> bool) -> Cow<'a, str> {
    let secret = secret.split_whitespace().collect::<Vec<_>>().join(" ");
    let stretch_chars = secret.chars().count().min(MIN_STRETCH_CHARS);
    if stretch_chars < MIN_SECRET_CHARS {
        return Cow::Borrowed(message);
    }
    let (mut shown, mut hidden_to, mut is_changed) = (String::new(), 0, false);
    for (at, character) in message.char_indices() {
        let rest = message.get(at..).unwrap_or_default();
        let end = rest.char_indices().nth(stretch_chars).map_or(rest.len(), |(end, _)| end);
        let stretch = rest.get(..end).unwrap_or_default();
        let is_whole = stretch.chars().count() == stretch_chars;
        if is_whole && secret.contains(stretch) && !is_public(stretch) {
            if at >= hidden_to {
                shown.push_str(REDACTED);
            }
            (hidden_to, is_changed) = (at.saturating_add(end), true);
        }
        if at >= hidden_to {
            shown.push(character);
        }
    }
    if is_changed { Cow::Owned(shown) } else { Cow::Borrowed(message) }
}

/// `text` with the escapes of JSON, Python and HTML replaced by what they stand for.
pub(super) fn decoded(text: &str) -> Cow<'_, str> {
    if !text.contains(['\\', '&']) {
        return Cow::Borrowed(text);
    }
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(['\\', '&']) {
        let (before, escape) = rest.split_at(at);
        plain.push_str(before);
        let (character, after) = unescape(escape).unwrap_or_else(|| first_char(escape));
        plain.push(character);
        rest = after;
    }
    plain.push_str(rest);
    Cow::Owned(plain)
}

/// The character that the escape at the start of `text` stands for, and the text after it.
fn unescape(text: &str) -> Option<(char, &str)> {
    if let Some(entity) = text.strip_prefix('&') {
        let (name, after) = entity.split_at_checked(entity.find(';').filter(|end| *end <= MAX_ENTITY_BYTES)?)?;
        return Some((entity_char(name)?, after.strip_prefix(';')?));
    }
    let (kind, after) = first_char(text.strip_prefix('\\').filter(|rest| !rest.is_empty())?);
    match kind {
        'u' => unicode(after),
        'x' => hex(after, 2).and_then(|(code, after)| Some((char::from_u32(code)?, after))),
        'b' | 'f' | 'n' | 'r' | 't' => Some((' ', after)),
        '"' | '\'' | '/' | '\\' => Some((kind, after)),
        _ => None,
    }
}

/// The character of `\uXXXX`, which may be one half of two.
fn unicode(text: &str) -> Option<(char, &str)> {
    let (code, after) = hex(text, 4)?;
    let low = after.strip_prefix("\\u").and_then(|low| hex(low, 4)).filter(|(low, _)| (0xdc00..0xe000).contains(low));
    match (char::from_u32(code), low) {
        (Some(character), _) => Some((character, after)),
        (None, Some((low, after))) if code < 0xdc00 => {
            let pair = 0x1_0000_u32.checked_add(((code & 0x3ff) << 10) | (low & 0x3ff))?;
            Some((char::from_u32(pair)?, after))
        }
        (None, _) => Some((char::REPLACEMENT_CHARACTER, after)),
    }
}

fn hex(text: &str, digits: usize) -> Option<(u32, &str)> {
    let (code, after) = text.split_at_checked(digits)?;
    let is_hex = code.bytes().all(|byte| byte.is_ascii_hexdigit());
    Some((u32::from_str_radix(code, 16).ok().filter(|_| is_hex)?, after))
}

fn entity_char(name: &str) -> Option<char> {
    match name {
        "amp" => Some('&'),
        "apos" => Some('\''),
        "gt" => Some('>'),
        "lt" => Some('<'),
        "nbsp" => Some(' '),
        "quot" => Some('"'),
        _ => {
            let number = name.strip_prefix('#')?;
            let code = match number.strip_prefix(['x', 'X']) {
                Some(digits) => u32::from_str_radix(digits, 16),
                None => number.parse(),
            };
            char::from_u32(code.ok()?)
        }
    }
}

/// The first character of a text, and the rest. The text is not empty.
fn first_char(text: &str) -> (char, &str) {
    let mut chars = text.chars();
    (chars.next().unwrap_or_default(), chars.as_str())
}

/// The longest HTML entity that is read, without its `&` and `;`.
const MAX_ENTITY_BYTES: usize = 8;

/// The shortest secret that is looked for, in characters. A shorter one would hide common words.
const MIN_SECRET_CHARS: usize = 6;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_removed_from_messages() {
        for (message, shown) in [
            ("Incorrect API key provided: sk-ab12***wxyz. See", "Incorrect API key provided: [redacted] See"),
            ("key=sk-ant-api03-XyZ, bad", "key=[redacted] bad"),
            ("sent `Authorization: Bearer abc.def/g=` to", "sent `Authorization: Bearer [redacted] to"),
            ("a BEARER: abc", "a BEARER: [redacted]"),
            ("(gsk_abcdefghij0123456789abcdef)", "([redacted])"),
            ("abcdefghij012345678 is short", "abcdefghij012345678 is short"),
            ("no model claude-sonnet-4-5-20250929", "no model claude-sonnet-4-5-20250929"),
            ("max_completion_tokens_is_too_large", "max_completion_tokens_is_too_large"),
            ("task-list and risk-free sk- stay", "task-list and risk-free sk- stay"),
        ] {
            assert_eq!(safe_text(message), shown);
        }
    }

    #[test]
    fn messages_are_one_short_line() {
        assert_eq!(safe_text(" a\r\n\tb\u{0}c\u{1b}[31m\u{202e} d "), "a b\u{fffd}c\u{fffd}[31m\u{fffd} d");
        assert_eq!(safe_text(&"é".repeat(10_000)), "é".repeat(300));
        assert_eq!(safe_text(&"é ".repeat(10_000)).chars().count(), 300);
        let key_at_the_end = format!("{} {}", "a".repeat(290), "k1".repeat(30));
        assert_eq!(safe_text(&key_at_the_end), format!("{} [redacted", "a".repeat(290)));
    }

    #[test]
    fn stretches_of_a_secret_are_removed() {
        let prompt = "You are Ada,\n  the gardener of ACME. Never name the moon.";
        for (message, shown) in [
            ("cannot parse: the gardener of ACME. Never name the moon, sorry", "cannot parse:[redacted], sorry"),
            ("the gardener of A", "[redacted]"),
            ("the gardener of", "the gardener of"),
            ("You are Ada, the gardener of ACME. X You are Ada, the g", "[redacted]X [redacted]"),
            ("", ""),
        ] {
            assert_eq!(without_stretches(message, prompt, |_| false), shown, "{message}");
        }
        let public = |stretch: &str| "I said: the gardener of ACME".contains(stretch);
        assert_eq!(without_stretches("bad: the gardener of ACME", prompt, public), "bad: the gardener of ACME");
    }

    #[test]
    fn escapes_are_decoded() {
        for (text, plain) in [
            ("plain", "plain"),
            (r#"a\nb\tc\"d\'e\\f\/"#, r#"a b c"d'e\f/"#),
            (r"\u0041\u00e9\ud83d\udc4b\x41", "Aé\u{1f44b}A"),
            (r"\ud83d\u0041 \udc4b", "\u{fffd}A \u{fffd}"),
            ("&lt;&#65;&#x42;&amp;&quot;&apos;&gt;", "<AB&\"'>"),
            (r"\q \u12 \u+123 & &x; &nothing; \", r"\q \u12 \u+123 & &x; &nothing; \"),
        ] {
            assert_eq!(decoded(text), plain, "{text}");
        }
    }

    #[test]
    fn an_escaped_secret_hides_the_whole_message() {
        let prompt = "Say \"moon\" to nobody.\nÄrger is a\tword.";
        for message in [
            r#"bad: {"content":"Say \"moon\" to nobody."}"#,
            r#"bad: "{\"content\":\"Say \\\"moon\\\" to nobody.\"}""#,
            r"bad: nobody.\nÄrger is",
            r"bad: nobody.\n\u00c4rger is a\tword",
            "bad: Say &quot;moon&quot; to nobody",
            r"bad: 'Say \x22moon\x22 to nobody'",
        ] {
            assert_eq!(without_stretches(message, prompt, |_| false), "[redacted]", "{message}");
        }
        let message = r#"bad: {"type":"\u0041"} and nothing else"#;
        assert_eq!(without_stretches(message, prompt, |_| false), message);
        let escaped = r"Write a\tb and C:\new always";
        assert_eq!(without_stretches(r"no: Write a\tb and C:\new", escaped, |_| false), "no: [redacted]");
        assert_eq!(without_stretches(r"no: Write a\\tb and C:\\new", escaped, |_| false), "[redacted]");
    }

    #[test]
    fn a_short_secret_is_removed_completely() {
        for (message, secret, shown) in [
            ("key hunter2 is bad", "hunter2", "key [redacted] is bad"),
            ("key hunter is bad", "hunter", "key [redacted] is bad"),
            ("key hunte is bad", "hunte", "key hunte is bad"),
            ("key hunter", "hunter2", "key hunter"),
        ] {
            assert_eq!(without_stretches(message, secret, |_| false), shown);
        }
    }
}
