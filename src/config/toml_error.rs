//! Errors of TOML text, in the words of this configuration.

use super::error::ConfigError;

/// An error of the TOML text `name`, with its key and line. The line is not quoted, because it may
/// contain a secret.
pub(super) fn toml_error(mut error: toml::de::Error, name: &str, text: &str) -> ConfigError {
    let line = error.span().and_then(|span| text.get(..span.start)).map(|before| before.matches('\n').count());
    let place = line.map_or_else(|| name.to_owned(), |line| format!("{name}, line {}", line.saturating_add(1)));
    let key = key_of(&mut error);
    let path = |field: &str| key.as_ref().map_or_else(|| field.to_owned(), |table| format!("{table}.{field}"));
    let subject = key.as_ref().map_or_else(|| place.clone(), |key| format!("`{key}` in {place}"));
    let message = error.message();
    ConfigError::Toml(if let Some((field, expected)) = quoted(message, "unknown field ") {
        format!("unknown key `{}` in {place}; {}", path(field), expected.trim_start_matches(", "))
    } else if let Some((field, _)) = quoted(message, "missing field ") {
        format!("missing key `{}` in {place}", path(field))
    } else if let Some((found, expected)) = message.strip_prefix("invalid type: ").and_then(|it| it.split_once(", ")) {
        // The value may be a secret in the wrong place.
        let found = found.split('"').next().unwrap_or_default().trim_end();
        format!("{subject}: {expected}, found {found}")
    } else {
        format!("{subject}: {message}")
    })
}

/// The name in backticks after `start`, and the rest of the message.
fn quoted<'a>(message: &'a str, start: &str) -> Option<(&'a str, &'a str)> {
    message.strip_prefix(start)?.strip_prefix('`')?.split_once('`')
}

/// The key of the error, or the table for an unknown key; with dots between the names of tables.
fn key_of(error: &mut toml::de::Error) -> Option<String> {
    // Without its input, the error ends with the line "in `key`".
    error.set_input(None);
    let text = error.to_string();
    Some(text.lines().last()?.strip_prefix("in `")?.strip_suffix('`')?.to_owned())
}
