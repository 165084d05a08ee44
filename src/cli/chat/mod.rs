//! `holdall chat`: reads lines, prints replies, and stores the conversation in a token file after
//! each turn.
//!
//! On a terminal the user can edit the line, and the reply appears word by word. From a pipe, each
//! line is one turn, and standard output contains only the replies and the output of chat commands.
//! After a turn that fails, the chat is unchanged and continues with the next line.

mod input;
mod session;

use std::path::PathBuf;

use self::{
    input::{Input, Line},
    session::{Next, Session},
};
use super::{
    connect::{ConnectArgs, Connection, token_file_parser},
    console::Console,
    error::CliError,
    file::{LockHolder, TokenFile},
    home,
};

/// The arguments of `chat`.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Args {
    /// Token file of the chat [default: ~/.local/share/holdall/chat.token]
    #[arg(short, long, alias = "token", value_name = "FILE", value_parser = token_file_parser())]
    token_file: Option<PathBuf>,
    /// Start a new chat; the old one moves to `FILE.bak`
    #[arg(long)]
    new: bool,
    #[command(flatten)]
    connect: ConnectArgs,
}

/// Chats until the input ends.
///
/// # Errors
/// [`CliError`] if the chat cannot start, if standard input or output fails, or if a line of a pipe
/// failed.
pub(super) fn run(args: &Args) -> Result<(), CliError> {
    let console = Console::system();
    let mut session = start(args, console)?;
    let mut input = Input::open(console)?;
    let (mut lines, mut failed) = (0_u64, 0_u64);
    loop {
        let outcome = match input.next()? {
            Line::Blank => continue,
            Line::End => break,
            Line::Text(text) => session.handle(&text),
            Line::NotUtf8 => Err(CliError::new("the line is not UTF-8")),
        };
        lines = lines.saturating_add(1);
        match outcome {
            Ok(Next::Continue) => {}
            Ok(Next::Leave) => break,
            Err(error) if error.is_output_closed() => return Err(error),
            Err(error) => {
                console.error(&error);
                failed = failed.saturating_add(1);
            }
        }
    }
    session.say_goodbye();
    // A person has seen the errors. A script needs the exit code.
    if failed > 0 && !console.is_interactive() {
        return Err(CliError::new(format!("{failed} of {lines} lines failed")));
    }
    Ok(())
}

/// Opens the token file and the server, and greets a person.
fn start(args: &Args, console: Console) -> Result<Session, CliError> {
    let path = match &args.token_file {
        Some(path) => path.clone(),
        None => {
            home::create_folder()?;
            home::chat_file()?
        }
    };
    let file = TokenFile::open(&path, LockHolder::Chat, console)?;
    let backup = if args.new { file.back_up()? } else { None };
    if let Some(backup) = backup {
        console.note(&format!("The old chat is now in {}.", backup.display()));
    }
    let token = file.read()?;
    let pace = if console.is_interactive() { PACE_MILLIS } else { 0 };
    let connection = Connection::open(&args.connect, token.as_deref(), pace)?;
    let session = Session::new(console, connection, file, token);
    session.greet()?;
    Ok(session)
}

/// The pause between two words of the built-in model, so that a person sees them appear.
const PACE_MILLIS: u32 = 15;
