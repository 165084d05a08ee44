//! Percent-encoding in paths and queries (RFC 3986 §2.1).

use percent_encoding::percent_decode_str;

/// Decodes a path segment or a query value: SDKs write the slash of a model name as `%2F`. A plus
/// sign stays a plus sign.
///
/// `None` if a `%` is not followed by two hexadecimal digits, or if the result is not UTF-8.
pub(super) fn percent_decoded(text: &str) -> Option<String> {
    let is_escape = |after: &str| {
        after.as_bytes().first_chunk().is_some_and(|digits: &[u8; 2]| digits.iter().all(u8::is_ascii_hexdigit))
    };
    if !text.split('%').skip(1).all(is_escape) {
        return None;
    }
    Some(percent_decode_str(text).decode_utf8().ok()?.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_decoded_once() {
        for (text, name) in [
            ("default", Some("default")),
            ("openai%2Fgpt-5%3a1", Some("openai/gpt-5:1")),
            ("openai/gpt-5", Some("openai/gpt-5")),
            ("%C3%A9%25", Some("é%")),
            ("%2525", Some("%25")),
            ("", Some("")),
            ("%", None),
            ("a%2", None),
            ("%+1", None),
            ("%zz", None),
            ("%é", None),
            ("%C3", None),
        ] {
            assert_eq!(percent_decoded(text).as_deref(), name, "{text}");
        }
    }
}
