//! `holdall token history`: the conversation in a token, for people or as JSON Lines.

use crate::{
    cli::{
        console::Console,
        error::CliError,
        render,
        stored_token::{TokenArgs, items},
    },
    config::TokenSettings,
};

/// The arguments of `token history`.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    token: TokenArgs,
    /// Print JSON Lines, one item per line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    settings: TokenSettings,
}

/// Prints the conversation. An expired token can be read too.
///
/// # Errors
/// [`CliError`] if no token can be read, or standard output fails.
pub(super) fn run(args: &Args, console: Console) -> Result<(), CliError> {
    let token = args.token.load(&args.settings)?.open()?;
    if args.json {
        return console.print(token.history_lines());
    }
    items(&token)?.iter().try_for_each(|item| render::print_item(item, console))
}
