//! `holdall token`: what a key holder can do with tokens: look into them, check them, read them out, make them.
//!
//! The keys are those of the settings, else the chat's own. Nothing here asks whose a token is but `verify`: whoever
//! holds the keys may read every conversation.

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
    /// Show what a token says: claims, sizes, times
    Inspect(inspect::Args),
    /// Say whether a user's token is good, or exactly why not
    Verify(verify::Args),
    /// Print the conversation
    History(history::Args),
    /// Print the conversation as a document
    Export(export::Args),
    /// Make a token of a transcript
    Import(import::Args),
}

/// Does what is asked.
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
