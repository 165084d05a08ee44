//! Output of the commands: results go to standard output, everything else to standard error.
//!
//! Colours and the spinner appear on a terminal only. Colours also need `NO_COLOR` to be unset
//! (no-color.org). On a terminal, control characters in the text of a model or a file become
//! U+FFFD, because they could rewrite the screen.

use std::{
    borrow::Cow,
    io::{self, IsTerminal as _, Write as _},
};

use super::{
    error::{CliError, system_message},
    system::System,
};
use crate::{config::Sources as _, shell::StderrLog};

/// The standard streams of this process.
#[derive(Clone, Copy, Debug)]
pub(super) struct Console {
    /// True if standard input is a terminal.
    pub(super) input_is_terminal: bool,
    /// True if standard output is a terminal.
    pub(super) output_is_terminal: bool,
    /// True if standard error is a terminal that can erase a line.
    pub(super) can_spin: bool,
    color_output: bool,
    color_errors: bool,
    /// True if standard error is written through the queue of the log.
    queues_errors: bool,
}

impl Console {
    /// The console of this process.
    pub(super) fn system() -> Self {
        let dumb = System.variable("TERM").is_none_or(|kind| *kind == "dumb");
        let color = !dumb && System.variable("NO_COLOR").is_none();
        let (output, errors) = (io::stdout().is_terminal(), io::stderr().is_terminal());
        Self {
            input_is_terminal: io::stdin().is_terminal(),
            output_is_terminal: output,
            can_spin: errors && !dumb,
            color_output: color && output,
            color_errors: color && errors,
            queues_errors: false,
        }
    }

    /// The console of a server, which must not wait for the reader of standard error.
    pub(super) fn of_server() -> Self {
        Self { queues_errors: true, ..Self::system() }
    }

    /// A console without a terminal.
    #[cfg(test)]
    pub(super) fn plain() -> Self {
        Self {
            input_is_terminal: false,
            output_is_terminal: false,
            can_spin: false,
            color_output: false,
            color_errors: false,
            queues_errors: false,
        }
    }

    /// Returns true if a person types the input and reads the output.
    pub(super) fn is_interactive(self) -> bool {
        self.input_is_terminal && self.output_is_terminal
    }

    /// Writes to standard output and flushes it.
    ///
    /// # Errors
    /// [`CliError::output_closed`] if the reader closed the pipe. [`CliError`] for other failures.
    pub(super) fn print(self, text: &str) -> Result<(), CliError> {
        let mut out = io::stdout().lock();
        out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(|error| match error.kind() {
            io::ErrorKind::BrokenPipe => CliError::output_closed(),
            _ => CliError::new(format!("cannot write to standard output: {}", system_message(&error))),
        })
    }

    /// Writes to standard output and ignores a closed pipe, for commands that continue without a
    /// reader.
    ///
    /// # Errors
    /// [`CliError`] for other failures than a closed pipe.
    pub(super) fn print_if_open(self, text: &str) -> Result<(), CliError> {
        match self.print(text) {
            Err(error) if error.is_output_closed() => Ok(()),
            printed => printed,
        }
    }

    /// Writes a line to standard error.
    pub(super) fn note(self, line: &str) {
        self.write_error(&format!("{line}\n"));
    }

    /// Writes a dim line to standard error.
    pub(super) fn dim_note(self, line: &str) {
        self.note(&paint(self.color_errors, DIM, line));
    }

    /// Writes to standard error without a line end.
    pub(super) fn write_error(self, text: &str) {
        if self.queues_errors {
            StderrLog.text(text);
        } else {
            // If standard error fails, no stream is left to report that.
            let _ = io::stderr().lock().write_all(text.as_bytes());
        }
    }

    /// Reports an error with its hint.
    pub(super) fn error(self, error: &CliError) {
        self.note(&format!("{} {error}", paint(self.color_errors, RED, "error:")));
        if let Some(hint) = error.hint() {
            self.note(&format!("{} {hint}", paint(self.color_errors, BOLD, "hint:")));
        }
    }

    /// Reports a problem that does not stop the command.
    pub(super) fn warn(self, line: &str) {
        self.note(&format!("{} {line}", paint(self.color_errors, YELLOW, "warning:")));
    }

    /// Bold text for standard output.
    pub(super) fn bold(self, text: &str) -> String {
        paint(self.color_output, BOLD, text)
    }

    /// Text from a model or a file, safe for standard output: unchanged unless that is a terminal.
    pub(super) fn printable(self, text: &str) -> Cow<'_, str> {
        if self.output_is_terminal { without_controls(text) } else { Cow::Borrowed(text) }
    }
}

/// Replaces each control character except tab and line feed with U+FFFD. Carriage returns are
/// removed, because texts with CR LF are common.
fn without_controls(text: &str) -> Cow<'_, str> {
    let is_unsafe = |character: char| character.is_control() && !matches!(character, '\n' | '\t');
    if text.contains(is_unsafe) { text.replace('\r', "").replace(is_unsafe, "\u{fffd}").into() } else { text.into() }
}

fn paint(color: bool, style: &str, text: &str) -> String {
    if color { format!("\u{1b}[{style}m{text}\u{1b}[0m") } else { text.to_owned() }
}

/// SGR parameters (ECMA-48 §8.3.117).
const BOLD: &str = "1";
const DIM: &str = "2";
const RED: &str = "1;31";
const YELLOW: &str = "1;33";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_replaced() {
        assert_eq!(without_controls("a\tb\r\nü"), "a\tb\nü");
        assert_eq!(without_controls("\u{1b}[2J\r\u{7}\u{9b}0m"), "\u{fffd}[2J\u{fffd}\u{fffd}0m");
    }
}
