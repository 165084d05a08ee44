//! `holdall token export`: the conversation in a token as a document.

use clap::ValueEnum;

use crate::{
    cli::{
        console::Console,
        error::CliError,
        render,
        stored_token::{TokenArgs, items},
    },
    config::TokenSettings,
};

/// The arguments of `token export`.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    token: TokenArgs,
    /// Format: `markdown` for people, `jsonl` for `holdall token import`
    #[arg(long, value_enum, default_value_t = Format::Markdown)]
    format: Format,
    /// Print JSON Lines, the same as `--format jsonl`
    #[arg(long, conflicts_with = "format")]
    json: bool,
    #[command(flatten)]
    settings: TokenSettings,
}

// Plain comments: documentation here would turn the help into its long form.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    // Headings and text.
    Markdown,
    // One item per line, as in the token.
    Jsonl,
}

/// Prints the document.
///
/// # Errors
/// [`CliError`] if no token can be read, or standard output fails.
pub(super) fn run(args: &Args, console: Console) -> Result<(), CliError> {
    let token = args.token.load(&args.settings)?.open()?;
    let format = if args.json { Format::Jsonl } else { args.format };
    match format {
        Format::Jsonl => console.print(token.history_lines()),
        Format::Markdown => console.print(&render::markdown(token.claims(), &items(&token)?)),
    }
}
