//! Output of the commands: results go to standard output, everything else to standard error.
//!
//! Colours and the spinner appear on a terminal only. Colours also need `NO_COLOR` to be unset
//! (no-color.org).
//!
//! Texts come from models, servers, tokens and files. They could rewrite the screen, or swap the
//! order of what it shows. So [`clean`] goes over each text before a terminal, and over every
//! message. Standard output that is not a terminal gets each text unchanged.

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
        self.write_output(&self.printable(text))
    }

    /// Writes a bold label, a space, a text and a line end to standard output.
    ///
    /// # Errors
    /// Those of [`Self::print`].
    pub(super) fn print_labelled(self, label: &str, text: &str) -> Result<(), CliError> {
        self.write_output(&format!("{} {}\n", self.bold(&self.printable(label)), self.printable(text)))
    }

    fn write_output(self, text: &str) -> Result<(), CliError> {
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
        self.write_error(&format!("{}\n", message(line)));
    }

    /// Writes a dim line to standard error.
    pub(super) fn dim_note(self, line: &str) {
        self.write_error(&format!("{}\n", paint(self.color_errors, DIM, &message(line))));
    }

    /// Writes one of this program's own texts to standard error, without a line end.
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
        self.labelled_note(RED, "error:", &error.to_string());
        if let Some(hint) = error.hint() {
            self.labelled_note(BOLD, "hint:", hint);
        }
    }

    /// Reports a problem that does not stop the command.
    pub(super) fn warn(self, line: &str) {
        self.labelled_note(YELLOW, "warning:", line);
    }

    fn labelled_note(self, style: &str, label: &str, text: &str) {
        self.write_error(&format!("{} {}\n", paint(self.color_errors, style, label), message(text)));
    }

    /// Bold text for standard output.
    pub(super) fn bold(self, text: &str) -> String {
        paint(self.color_output, BOLD, text)
    }

    /// A text for standard output: clean on a terminal, else unchanged.
    fn printable(self, text: &str) -> Cow<'_, str> {
        if self.output_is_terminal { clean(text) } else { Cow::Borrowed(text) }
    }
}

/// A text that is safe for a terminal.
///
/// These characters become U+FFFD: C0 controls except tab and line feed, DEL, C1 controls, and the
/// controls of text direction (UAX #9 §2). So no escape sequence such as CSI or OSC is left.
/// Carriage returns are removed, because texts with CR LF are common.
fn clean(text: &str) -> Cow<'_, str> {
    let is_unsafe = |character: char| {
        character.is_control() && !matches!(character, '\n' | '\t') || BIDI_CONTROLS.contains(&character)
    };
    if text.contains(is_unsafe) { text.replace('\r', "").replace(is_unsafe, "\u{fffd}").into() } else { text.into() }
}

/// A clean message for standard error. Its further lines are indented, so that a text of others
/// cannot look like another message.
fn message(text: &str) -> String {
    clean(text).replace('\n', "\n  ")
}

/// The characters that change the direction of text.
const BIDI_CONTROLS: [char; 12] = [
    '\u{61c}', '\u{200e}', '\u{200f}', '\u{202a}', '\u{202b}', '\u{202c}', '\u{202d}', '\u{202e}', '\u{2066}',
    '\u{2067}', '\u{2068}', '\u{2069}',
];

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
        assert_eq!(clean("a\tb\r\nü"), "a\tb\nü");
        assert_eq!(clean("\u{1b}[2J\r\u{7}\u{9b}0m"), "\u{fffd}[2J\u{fffd}\u{fffd}0m");
        // OSC, ended by BEL and by ST; C1 forms; DEL; NUL.
        assert_eq!(clean("\u{1b}]0;x\u{7}"), "\u{fffd}]0;x\u{fffd}");
        assert_eq!(clean("\u{9d}52;c;eA==\u{9c}\u{7f}\0"), "\u{fffd}52;c;eA==\u{fffd}\u{fffd}\u{fffd}");
        for control in BIDI_CONTROLS {
            assert_eq!(clean(&format!("a{control}b")), "a\u{fffd}b");
        }
        for code in (0..0x20).chain(0x7f..0xa0) {
            let text = char::from_u32(code).unwrap().to_string();
            assert_eq!(clean(&text) == text, code == 9 || code == 10, "{code}");
        }
        let plain = "שלום, \u{200d}é — ok";
        assert!(matches!(clean(plain), Cow::Borrowed(text) if text == plain));
    }

    #[test]
    fn a_message_cannot_look_like_another_one() {
        assert_eq!(message("a\nhint: run \u{1b}[31mthis"), "a\n  hint: run \u{fffd}[31mthis");
    }
}
