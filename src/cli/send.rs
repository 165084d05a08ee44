//! `holdall send`: one turn of the conversation in a token file. The file changes only after a
//! complete reply.

use std::path::PathBuf;

use super::{
    connect::{ConnectArgs, Connection, token_file_parser},
    console::Console,
    error::CliError,
    file::{LockHolder, TokenFile, read_standard_input},
    render::count,
    turn::{self, ReplyDisplay, TurnOutcome},
};
use crate::shell::client::{ClientError, TurnAnswer};

/// The arguments of `send`.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Args {
    /// Message to send; `-` is standard input
    text: String,
    /// Token file; a new conversation creates it
    #[arg(short, long, alias = "token", value_name = "FILE", value_parser = token_file_parser())]
    token_file: PathBuf,
    /// Print the complete response, or the error, as one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connect: ConnectArgs,
}

/// Takes the turn and prints the reply.
///
/// # Errors
/// [`CliError`] if the turn fails or the token cannot be stored. The file is then unchanged.
pub(super) fn run(args: &Args) -> Result<(), CliError> {
    let console = Console::system();
    let text = if args.text == "-" { piped_message()? } else { args.text.clone() };
    let file = TokenFile::open(&args.token_file, LockHolder::Command, console)?;
    let token = file.read()?;
    let connection = Connection::open(&args.connect, token.as_deref(), 0)?;
    let display = (!args.json).then(|| ReplyDisplay::new(console));
    match turn::take(&connection, &connection.request(token.as_deref(), &text), display.as_ref(), false)? {
        TurnOutcome::Done(answer) => finish(&answer, &file, args.json, console),
        TurnOutcome::Failed(error) => {
            if let (true, ClientError::Refused(refusal)) = (args.json, &error) {
                console.print_if_open(&format!("{}\n", refusal.json))?;
            }
            Err(connection.explain(&error, file.path()))
        }
        TurnOutcome::Interrupted => Err(CliError::new("interrupted")),
    }
}

/// Prints what is not printed yet, and stores the new token.
fn finish(answer: &TurnAnswer, file: &TokenFile, json: bool, console: Console) -> Result<(), CliError> {
    // Printed before the file is written: a program gets the new token even if it cannot be stored.
    if json {
        console.print_if_open(&format!("{}\n", answer.json))?;
    }
    let removed = answer.conversation.trimmed_items;
    if removed > 0 {
        console.warn(&format!("removed the oldest {} of the history to make room", count(removed, "item")));
    }
    match answer.finish_reason.as_str() {
        "length" => console.warn("the reply is incomplete: it reached the maximum length"),
        "content_filter" => console.warn("the reply is incomplete: the model service blocked the rest"),
        _ => {}
    }
    file.write(&answer.token).map_err(|error| {
        error.with_hint("the file still has the token from before this turn; free some space, then send again")
    })
}

/// The text of standard input without the line end at its end.
fn piped_message() -> Result<String, CliError> {
    let mut text = read_standard_input()?;
    let without_end = text.strip_suffix('\n').map(|text| text.strip_suffix('\r').unwrap_or(text)).map(str::len);
    text.truncate(without_end.unwrap_or(text.len()));
    Ok(text)
}
