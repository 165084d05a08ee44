//! Where the lines of a chat come from: an editor at a terminal, else standard input as it is.

use std::io::{self, BufRead as _};

use rustyline::{Config, DefaultEditor, error::ReadlineError};

use crate::cli::{
    console::Console,
    error::{CliError, system_message},
};

/// The source of lines.
pub(super) enum Input {
    Editor { editor: Box<DefaultEditor>, console: Console },
    Pipe(io::StdinLock<'static>),
}

/// What was entered.
pub(super) enum Line {
    /// Nothing to act on.
    Blank,
    /// There are no more.
    End,
    /// A line, or several where they were pasted; not blank.
    Text(String),
    /// Not UTF-8.
    Unreadable,
}

impl Input {
    pub(super) fn open(console: Console) -> Result<Self, CliError> {
        if !console.is_interactive() {
            return Ok(Self::Pipe(io::stdin().lock()));
        }
        let cannot = |error: ReadlineError| CliError::new(format!("cannot edit lines here: {error}"));
        let config = Config::builder().auto_add_history(true).history_ignore_space(false).build();
        let editor = DefaultEditor::with_config(config).map_err(cannot)?;
        Ok(Self::Editor { editor: Box::new(editor), console })
    }

    /// Waits for the next line.
    pub(super) fn next(&mut self) -> Result<Line, CliError> {
        let text = match self {
            Self::Editor { editor, console } => match editor.readline(&(PROMPT, console.bold(PROMPT))) {
                Ok(text) => text,
                Err(ReadlineError::Eof) => return Ok(Line::End),
                Err(ReadlineError::Interrupted) => {
                    console.whisper("Ctrl-D or /quit leaves");
                    return Ok(Line::Blank);
                }
                Err(ReadlineError::Io(error)) if error.kind() == io::ErrorKind::InvalidData => {
                    return Ok(Line::Unreadable);
                }
                Err(error) => return Err(CliError::new(format!("cannot read from the terminal: {error}"))),
            },
            Self::Pipe(stdin) => {
                let mut bytes = Vec::new();
                let read = stdin.read_until(b'\n', &mut bytes);
                read.map_err(|error| CliError::new(format!("cannot read standard input: {}", system_message(&error))))?;
                if bytes.is_empty() {
                    return Ok(Line::End);
                }
                match String::from_utf8(bytes) {
                    Ok(text) => text,
                    Err(_) => return Ok(Line::Unreadable),
                }
            }
        };
        let text = text.trim_end();
        Ok(if text.trim_start().is_empty() { Line::Blank } else { Line::Text(text.to_owned()) })
    }
}

const PROMPT: &str = "> ";
