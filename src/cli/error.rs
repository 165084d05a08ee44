//! The error of a command: a message, and a hint with the next step where there is one.

use std::{fmt, io, path::Path};

use crate::config::ConfigError;

/// A failed command, as standard error shows it: `error: MESSAGE`, then `hint: HINT`.
#[derive(Debug)]
pub(crate) struct CliError {
    message: String,
    hint: Option<String>,
    output_closed: bool,
}

impl CliError {
    /// An error without a hint.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), hint: None, output_closed: false }
    }

    /// A failed system call on a file: `cannot ACTION PATH: CAUSE`.
    pub(crate) fn file(action: &str, path: &Path, error: &io::Error) -> Self {
        Self::new(format!("cannot {action} `{}`: {}", path.display(), system_message(error)))
    }

    /// Standard output is closed: the command stops and reports success.
    pub(crate) fn output_closed() -> Self {
        Self { output_closed: true, ..Self::new("standard output is closed") }
    }

    /// The same error with a hint; an earlier hint is replaced.
    pub(crate) fn with_hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    /// The next step for the user, where there is one.
    pub(crate) fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// True for [`Self::output_closed`].
    pub(crate) fn is_output_closed(&self) -> bool {
        self.output_closed
    }

    /// Message and hint in one line, for logs that take one line per error.
    pub(crate) fn one_line(&self) -> String {
        let hint = self.hint.as_ref().map(|hint| format!("; {hint}")).unwrap_or_default();
        format!("{}{hint}", self.message)
    }
}

impl std::error::Error for CliError {}

impl fmt::Display for CliError {
    /// Writes the message only.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<ConfigError> for CliError {
    fn from(error: ConfigError) -> Self {
        Self { hint: error.hint().map(str::to_owned), ..Self::new(error.to_string()) }
    }
}

/// The system's message for an error, without the error number.
pub(crate) fn system_message(error: &io::Error) -> String {
    let text = error.to_string();
    text.split_once(" (os error ").map_or(text.as_str(), |(message, _)| message).to_owned()
}
