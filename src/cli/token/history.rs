//! `token history`: the conversation of a token, for people or as JSON Lines.

use crate::cli::{
    console::Console,
    error::CliError,
    render,
    stored_token::{TokenSource, items},
};

/// The arguments of `token history`.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Args {
    /// JSON instead; for a history, one item a line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    source: TokenSource,
}

/// Prints the history.
pub(super) fn run(args: &Args, console: Console) -> Result<(), CliError> {
    let token = args.source.load()?.open()?;
    if args.json {
        return console.print(token.history_lines());
    }
    items(&token)?.iter().try_for_each(|item| console.print(&render::item(item, console)))
}
