//! The lines of a chat: from an editor on a terminal, or from standard input.

use std::io::{self, BufRead as _};

use rustyline::{Config, DefaultEditor, error::ReadlineError};

use crate::cli::{
    console::Console,
    error::{CliError, system_message},
};

/// The source of lines.
pub(super) enum Input {
    /// A line editor on a terminal.
    Editor {
        /// The editor.
        editor: Box<DefaultEditor>,
        /// The console for hints.
        console: Console,
    },
    /// Standard input without a terminal.
    Pipe(io::StdinLock<'static>),
}

/// One line of input.
pub(super) enum Line {
    /// A line of white space.
    Blank,
    /// The end of the input.
    End,
    /// A line that is not UTF-8.
    NotUtf8,
    /// A line that is not blank, without white space at its end. Pasted text can have several
    /// lines.
    Text(String),
}

impl Input {
    /// Opens an editor if a person types and reads, else standard input.
    ///
    /// # Errors
    /// [`CliError`] if the terminal has no line editing.
    pub(super) fn open(console: Console) -> Result<Self, CliError> {
        if !console.is_interactive() {
            return Ok(Self::Pipe(io::stdin().lock()));
        }
        let config = Config::builder().auto_add_history(true).history_ignore_space(false).build();
        let editor = DefaultEditor::with_config(config)
            .map_err(|error| CliError::new(format!("cannot edit lines on this terminal: {error}")))?;
        Ok(Self::Editor { editor: Box::new(editor), console })
    }

    /// Waits for the next line.
    ///
    /// # Errors
    /// [`CliError`] if the terminal or standard input cannot be read.
    pub(super) fn next(&mut self) -> Result<Line, CliError> {
        match self {
            Self::Editor { editor, console } => edited_line(editor, *console),
            Self::Pipe(stdin) => piped_line(stdin),
        }
    }
}

fn edited_line(editor: &mut DefaultEditor, console: Console) -> Result<Line, CliError> {
    match editor.readline(&(PROMPT, console.bold(PROMPT))) {
        Ok(text) => Ok(text_line(&text)),
        Err(ReadlineError::Eof) => Ok(Line::End),
        Err(ReadlineError::Interrupted) => {
            console.dim_note("Press Ctrl-D or type /quit to leave.");
            Ok(Line::Blank)
        }
        Err(ReadlineError::Io(error)) if error.kind() == io::ErrorKind::InvalidData => Ok(Line::NotUtf8),
        Err(error) => Err(CliError::new(format!("cannot read from the terminal: {error}"))),
    }
}

fn piped_line(stdin: &mut io::StdinLock<'static>) -> Result<Line, CliError> {
    let mut bytes = Vec::new();
    let read = stdin.read_until(b'\n', &mut bytes);
    read.map_err(|error| CliError::new(format!("cannot read standard input: {}", system_message(&error))))?;
    if bytes.is_empty() {
        return Ok(Line::End);
    }
    Ok(String::from_utf8(bytes).map_or(Line::NotUtf8, |text| text_line(&text)))
}

fn text_line(text: &str) -> Line {
    let text = text.trim_end();
    if text.trim_start().is_empty() { Line::Blank } else { Line::Text(text.to_owned()) }
}

const PROMPT: &str = "> ";
