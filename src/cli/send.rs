//! `holdall send`: one turn of the conversation in a file. The file is replaced once the reply is whole, and only then.

use std::{io::Read as _, path::PathBuf};

use super::{
    connect::{ConnectArgs, Proxy},
    console::Console,
    error::{CliError, system_message},
    file::{Holder, TokenFile},
    turn::{self, Outcome, Screen},
};
use crate::shell::client::ClientError;

/// The arguments of `send`.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Args {
    /// What to say; `-` reads it from standard input
    text: String,
    /// File that holds the conversation; a new one begins if there is none
    #[arg(short, long, value_name = "FILE")]
    token_file: PathBuf,
    /// Print the whole answer, or the whole error, as a line of JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connect: ConnectArgs,
}

/// Takes the turn.
pub(super) fn run(args: &Args) -> Result<(), CliError> {
    let console = Console::system();
    let text = if args.text == "-" { standard_input()? } else { args.text.clone() };
    let file = TokenFile::open(&args.token_file, Holder::Command, console)?;
    let token = file.read()?;
    let proxy = Proxy::open(&args.connect, token.as_deref(), 0)?;
    let screen = (!args.json).then(|| Screen::new(console));
    match turn::take(&proxy, &proxy.request(token.as_deref(), &text), screen.as_ref(), false)? {
        Outcome::Done(answer) => {
            // Before the file is touched, so that a fresh token that cannot be stored is not lost to a program.
            if args.json {
                console.print_if_read(&format!("{}\n", answer.json))?;
            }
            if answer.conversation.trimmed_items > 0 {
                console.warn(&format!("{} items were left out to make room", answer.conversation.trimmed_items));
            }
            if matches!(answer.finish_reason.as_str(), "length" | "content_filter") {
                console.warn(&format!("the reply is not whole: {}", answer.finish_reason));
            }
            file.write(&answer.token)
                .map_err(|error| error.with_hint("the file is as it was before this turn; make room and send again"))
        }
        Outcome::Failed(error) => {
            if let (true, ClientError::Refused(refusal)) = (args.json, &error) {
                console.print_if_read(&format!("{}\n", refusal.json))?;
            }
            Err(proxy.explain(&error, file.path()))
        }
        Outcome::Interrupted => Err(CliError::new("interrupted")),
    }
}

fn standard_input() -> Result<String, CliError> {
    let mut text = String::new();
    std::io::stdin()
        .read_to_string(&mut text)
        .map_err(|error| CliError::new(format!("cannot read standard input: {}", system_message(&error))))?;
    // The line end is the file's, not the speaker's.
    let ends = text.strip_suffix('\n').map(|text| text.strip_suffix('\r').unwrap_or(text)).map(str::len);
    text.truncate(ends.unwrap_or(text.len()));
    Ok(text)
}
