//! What an error may repeat of a setting. Operators put a key where the name of a variable belongs,
//! or a password into a URL, and errors reach logs and tickets.

/// A URL for an error: itself in backticks, or an ellipsis if it may hold a secret.
pub(crate) fn url(text: &str) -> String {
    let is_plain = text.contains("://") && !text.contains(['@', '?', '#', '%']) && !text.contains(char::is_control);
    if is_plain && !text.split('/').any(may_be_secret) {
        return format!("`{text}`");
    }
    HIDDEN.to_owned()
}

/// A variable for an error: `the variable` and its name, or only `a variable` if the name may be a
/// secret.
pub(super) fn variable(name: &str) -> String {
    if is_variable_name(name) { format!("the variable `{name}`") } else { "a variable".to_owned() }
}

/// The next step after the error of a variable whose name is not shown.
pub(super) fn variable_hint(name: &str) -> &'static str {
    if is_variable_name(name) { "" } else { "; write the name of a variable, such as `MODEL_KEY`, and not its value" }
}

/// True for a name in the usual form of a variable.
fn is_variable_name(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_uppercase() || first == '_')
        && name.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_')
        && !name.split('_').any(may_be_secret)
        && name.len() <= NAME_MAX_BYTES
}

/// True for a part of a text that looks as if it were random: long, with letters and digits.
pub(super) fn may_be_secret(part: &str) -> bool {
    part.len() >= SECRET_MIN_BYTES
        && part.bytes().any(|byte| byte.is_ascii_digit())
        && part.bytes().any(|byte| byte.is_ascii_alphabetic())
        && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
}

/// The sign of a text that is not shown.
const HIDDEN: &str = "`…` (not shown: it may hold a secret)";
/// The shortest part that may be a secret. The keys of most services are longer.
const SECRET_MIN_BYTES: usize = 16;
/// The longest name of a variable that is shown.
const NAME_MAX_BYTES: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_in_the_place_of_a_variable_is_not_shown() {
        for name in ["OPENAI_API_KEY", "KEY", "_KEY", "MODEL_KEY_2", "HOLDALL_UPSTREAM_KEY2"] {
            assert_eq!(variable(name), format!("the variable `{name}`"));
            assert_eq!(variable_hint(name), "");
        }
        for name in [
            "",
            "sk-proj-4f9a1c7e2b8d",
            "sk_live_4f9a1c7e2b8d",
            "hk_AAAA",
            "4F9A1C7E2B8D",
            "AKIAIOSFODNN7EXAMPLE",
            "A4F9A1C7E2B8D4F9A1C7E2B8D",
            "K_4F9A1C7E2B8D4F9A1C7E2B8D",
            "key",
            "Bearer X",
            "KEY=1",
            "\u{c4}",
            &"A".repeat(65),
        ] {
            assert_eq!(variable(name), "a variable", "{name}");
            assert!(!variable_hint(name).is_empty());
        }
    }

    #[test]
    fn a_url_with_a_secret_is_not_shown() {
        for text in
            ["http://a.test", "ftp://a.test/b", "https://model-service.example:8443/v1/openai", "http://[::1]:1/"]
        {
            assert_eq!(url(text), format!("`{text}`"));
        }
        for text in [
            "",
            "sk-proj-4f9a1c7e2b8d",
            "https://ada:hunter2@a.test",
            "https://hunter2@a.test",
            "https://a.test/v1?key=hunter2",
            "https://a.test/v1#hunter2",
            "https://ada%3ahunter2%40a.test",
            "https://a.test/4f9a1c7e2b8d4f9a1c7e2b8d/v1",
            "https://a.test/\u{1b}[2J",
        ] {
            assert_eq!(url(text), HIDDEN, "{text}");
        }
    }
}
