//! `holdall token`: commands for a key holder, to inspect, verify, export and import tokens.
//!
//! The keys come from the settings, or from the data folder. Only `verify` checks the user of a
//! token: a key holder can read every conversation.

mod export;
mod history;
mod import;
mod inspect;
mod transcript;
mod verify;

use clap::Subcommand;

use super::{console::Console, error::CliError};

/// The arguments of `token`.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Clone, Debug, Subcommand)]
enum Command {
    /// Print the claims, sizes and times of a token
    Inspect(inspect::Args),
    /// Check if a token is valid for a user, and print the exact cause if not
    Verify(verify::Args),
    /// Print the conversation in a token
    History(history::Args),
    /// Print the conversation in a token as a document
    Export(export::Args),
    /// Create a token from a transcript
    Import(import::Args),
}

/// Runs the command.
///
/// # Errors
/// [`CliError`] if the input is not valid, or standard output fails.
pub(super) fn run(args: &Args) -> Result<(), CliError> {
    let console = Console::system();
    match &args.command {
        Command::Inspect(args) => inspect::run(args, console),
        Command::Verify(args) => verify::run(args, console),
        Command::History(args) => history::run(args, console),
        Command::Export(args) => export::run(args, console),
        Command::Import(args) => import::run(args, console),
    }
}
