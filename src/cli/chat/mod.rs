//! `holdall chat`: lines in, replies out, the conversation kept in a file after each turn.
//!
//! At a terminal lines are edited and replies come word by word; from a pipe a line is a turn, and standard output has the
//! replies alone. A turn that fails leaves the chat where it was and does not end it.

mod input;
mod session;

use std::path::PathBuf;

use self::{
    input::{Input, Line},
    session::{After, Session},
};
use super::{
    connect::{ConnectArgs, Proxy},
    console::Console,
    error::CliError,
    file::{Holder, TokenFile},
    home,
};

/// The arguments of `chat`.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Args {
    /// File that keeps the chat [default: chat.token in the data folder, ~/.local/share/holdall]
    #[arg(short, long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Begin anew; the chat that FILE keeps is set aside as FILE.bak
    #[arg(long)]
    new: bool,
    #[command(flatten)]
    connect: ConnectArgs,
}

/// Talks until there are no more lines.
pub(super) fn run(args: &Args) -> Result<(), CliError> {
    let console = Console::system();
    let path = match &args.token_file {
        Some(path) => path.clone(),
        None => {
            home::make_folder()?;
            home::chat_file()?
        }
    };
    let file = TokenFile::open(&path, Holder::Chat, console)?;
    let aside = if args.new { file.set_aside()? } else { None };
    if let Some(aside) = aside {
        console.say(&format!("the old chat is kept in {}", aside.display()));
    }
    let token = file.read()?;
    let pace = if console.is_interactive() { PACE_MILLIS } else { 0 };
    let proxy = Proxy::open(&args.connect, token.as_deref(), pace)?;
    let mut session = Session::new(console, proxy, file, token);
    session.greet()?;
    let mut input = Input::open(console)?;
    let (mut lines, mut failed) = (0_u64, 0_u64);
    loop {
        let outcome = match input.next()? {
            Line::Blank => continue,
            Line::End => break,
            Line::Text(text) => session.line(&text),
            Line::Unreadable => Err(CliError::new("the line is not UTF-8")),
        };
        lines = lines.saturating_add(1);
        match outcome {
            Ok(After::GoOn) => {}
            Ok(After::Leave) => break,
            Err(error) if error.is_output_closed() => return Err(error),
            Err(error) => {
                console.error(&error);
                failed = failed.saturating_add(1);
            }
        }
    }
    session.bid_farewell();
    // A person has seen the errors; a script sees the exit code.
    if failed > 0 && !console.is_interactive() {
        return Err(CliError::new(format!("{failed} of {lines} lines failed")));
    }
    Ok(())
}

/// The pause between two words of the built-in model, so that a person sees them stream.
const PACE_MILLIS: u32 = 15;
