//! What is printed, and how: answers to standard output, all else to standard error.
//!
//! Colours and the spinner are for a terminal alone, and colours not where `NO_COLOR` is set (no-color.org). On a terminal
//! control characters of a model's or a file's text are shown as a mark instead of obeyed: they could rewrite the screen.

use std::{
    borrow::Cow,
    io::{self, IsTerminal as _, Write as _},
};

use super::{
    error::{CliError, system_message},
    system::System,
};
use crate::config::Sources as _;

/// Where this process prints.
#[derive(Clone, Copy, Debug)]
pub(super) struct Console {
    /// Lines are typed, not piped.
    pub(super) input_is_terminal: bool,
    /// Answers are seen, not piped.
    pub(super) output_is_terminal: bool,
    /// Standard error can redraw a line.
    pub(super) can_spin: bool,
    color_output: bool,
    color_errors: bool,
}

impl Console {
    /// This process's own.
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
        }
    }

    /// One that nobody looks at.
    #[cfg(test)]
    pub(super) fn plain() -> Self {
        Self {
            input_is_terminal: false,
            output_is_terminal: false,
            can_spin: false,
            color_output: false,
            color_errors: false,
        }
    }

    /// Whether a person types and reads.
    pub(super) fn is_interactive(self) -> bool {
        self.input_is_terminal && self.output_is_terminal
    }

    /// Writes to standard output, at once.
    ///
    /// # Errors
    /// [`CliError::output_closed`] if nobody reads any more; that is no failure of ours.
    pub(super) fn print(self, text: &str) -> Result<(), CliError> {
        let mut out = io::stdout().lock();
        out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(|error| match error.kind() {
            io::ErrorKind::BrokenPipe => CliError::output_closed(),
            _ => CliError::new(format!("cannot write to standard output: {}", system_message(&error))),
        })
    }

    /// The same, for what is to go on without a reader.
    ///
    /// # Errors
    /// [`CliError`] for any other failure.
    pub(super) fn print_if_read(self, text: &str) -> Result<(), CliError> {
        match self.print(text) {
            Err(error) if error.is_output_closed() => Ok(()),
            printed => printed,
        }
    }

    /// Writes a line to standard error.
    pub(super) fn say(self, line: &str) {
        self.say_raw(&format!("{line}\n"));
    }

    /// The same in the background, so to speak.
    pub(super) fn whisper(self, line: &str) {
        self.say(&paint(self.color_errors, DIM, line));
    }

    /// Writes to standard error, without a line end.
    pub(super) fn say_raw(self, text: &str) {
        // Nobody is left to tell if this fails.
        let _ = io::stderr().lock().write_all(text.as_bytes());
    }

    /// Tells an error, and the next step if there is one.
    pub(super) fn error(self, error: &CliError) {
        self.say(&format!("{} {error}", paint(self.color_errors, RED, "error:")));
        if let Some(hint) = error.hint() {
            self.say(&format!("{} {hint}", paint(self.color_errors, BOLD, "hint:")));
        }
    }

    /// Tells of something that does not keep the command from its work.
    pub(super) fn warn(self, line: &str) {
        self.say(&format!("{} {line}", paint(self.color_errors, YELLOW, "warning:")));
    }

    /// Text that stands out on standard output.
    pub(super) fn bold(self, text: &str) -> String {
        paint(self.color_output, BOLD, text)
    }

    /// Text of others, fit to be printed.
    pub(super) fn show(self, text: &str) -> Cow<'_, str> {
        if self.output_is_terminal { harmless(text) } else { Cow::Borrowed(text) }
    }
}

/// The text with every control character but tab and line end replaced; carriage returns go, as in CR LF.
fn harmless(text: &str) -> Cow<'_, str> {
    let harms = |character: char| character.is_control() && !matches!(character, '\n' | '\t');
    if text.contains(harms) { text.replace('\r', "").replace(harms, "\u{fffd}").into() } else { text.into() }
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
    fn text_cannot_drive_the_terminal() {
        assert_eq!(harmless("a\tb\r\nü"), "a\tb\nü");
        assert_eq!(harmless("\u{1b}[2J\r\u{7}\u{9b}0m"), "\u{fffd}[2J\u{fffd}\u{fffd}0m");
    }
}
