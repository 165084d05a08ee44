//! Arguments, dispatch, errors and exit codes: 0 done, 1 failed, 2 misuse.
//!
//! Answers go to standard output; what is said about them, errors and hints to standard error.

mod serve;
mod settings;

use std::{fmt, process::ExitCode};

use clap::{Parser, Subcommand};

use crate::config::ConfigError;

/// Runs the command line of this process.
#[must_use]
pub fn run() -> ExitCode {
    // clap prints its own errors and exits with 2.
    let outcome = match Cli::parse().command {
        Command::Serve(args) => serve::run(&args),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            if let Some(hint) = &error.hint {
                eprintln!("hint: {hint}");
            }
            ExitCode::FAILURE
        }
    }
}

#[derive(Parser)]
#[command(version, about = "A stateless conversation proxy for language models", disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Answer requests over HTTP
    Serve(serve::Args),
}

/// Why a command failed, and what to do about it.
#[derive(Debug)]
pub(crate) struct CliError {
    message: String,
    hint: Option<String>,
}

impl CliError {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), hint: None }
    }

    pub(crate) fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }
}

impl std::error::Error for CliError {}

impl fmt::Display for CliError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<ConfigError> for CliError {
    fn from(error: ConfigError) -> Self {
        Self { message: error.to_string(), hint: error.hint().map(str::to_owned) }
    }
}
