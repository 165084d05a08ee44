//! The escapes with which texts are quoted in JSON, Python, HTML and URLs.

use std::borrow::Cow;

/// The characters that begin an escape.
pub(in crate::proto) const ESCAPES: [char; 3] = ['\\', '&', '%'];

/// `text` with the escapes of JSON, Python, HTML and URLs replaced by what they stand for.
pub(in crate::proto) fn decoded(text: &str) -> Cow<'_, str> {
    if !text.contains(ESCAPES) {
        return Cow::Borrowed(text);
    }
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(ESCAPES) {
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
pub(in crate::proto) fn unescape(text: &str) -> Option<(char, &str)> {
    if text.starts_with('%') {
        return percent_decoded(text);
    }
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

/// The character of one to four `%XX`.
fn percent_decoded(text: &str) -> Option<(char, &str)> {
    let (mut bytes, mut rest) = (Vec::new(), text);
    while let Some((byte, after)) = rest.strip_prefix('%').and_then(|rest| hex(rest, 2)) {
        bytes.push(u8::try_from(byte).ok()?);
        rest = after;
        if let Ok(character) = str::from_utf8(&bytes) {
            return Some((character.chars().next()?, rest));
        }
        if bytes.len() == 4 {
            return None;
        }
    }
    None
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_decoded() {
        for (text, plain) in [
            ("plain", "plain"),
            (r#"a\nb\tc\"d\'e\\f\/"#, r#"a b c"d'e\f/"#),
            (r"\u0041\u00e9\ud83d\udc4b\x41", "Aé\u{1f44b}A"),
            (r"\ud83d\u0041 \udc4b", "\u{fffd}A \u{fffd}"),
            ("&lt;&#65;&#x42;&amp;&quot;&apos;&gt;", "<AB&\"'>"),
            ("%41%c3%A9%f0%9f%91%8b%20", "Aé\u{1f44b} "),
            ("100% %4 %zz %c3%28 %ff%ff%ff%ff%ff", "100% %4 %zz %c3( %ff%ff%ff%ff%ff"),
            (r"\q \u12 \u+123 & &x; &nothing; \", r"\q \u12 \u+123 & &x; &nothing; \"),
        ] {
            assert_eq!(decoded(text), plain, "{text}");
        }
    }
}
