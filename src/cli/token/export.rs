//! `token export`: the conversation of a token as a document.

use clap::ValueEnum;

use crate::cli::{
    console::Console,
    error::CliError,
    render,
    stored_token::{TokenSource, items},
};

/// The arguments of `token export`.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Args {
    /// Form of the document
    #[arg(long, value_enum, default_value_t = Document::Markdown)]
    format: Document,
    #[command(flatten)]
    source: TokenSource,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Document {
    /// Headings and text, for people
    Markdown,
    /// One item a line, as the token holds them; `import` reads it back
    Jsonl,
}

/// Prints the document.
pub(super) fn run(args: &Args, console: Console) -> Result<(), CliError> {
    let token = args.source.load()?.open()?;
    match args.format {
        Document::Jsonl => console.print(token.history_lines()),
        Document::Markdown => console.print(&render::markdown(token.claims(), &items(&token)?)),
    }
}
