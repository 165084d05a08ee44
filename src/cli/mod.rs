//! Arguments, dispatch, errors and exit codes: 0 done, 1 failed, 2 misuse.
//!
//! Answers go to standard output; what is said about them, errors and hints to standard error. Who stops reading our
//! answer, as `head` does, gets no error message.

mod caller_keys;
mod chat;
mod completions;
mod connect;
mod console;
mod error;
mod file;
mod home;
mod keys;
mod openapi;
mod render;
mod revoke;
mod secret;
mod send;
mod serve;
mod settings;
mod stored_token;
mod system;
mod token;
mod turn;

use std::process::ExitCode;

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use self::{
    console::Console,
    system::{System, is_empty_variable},
};
use crate::shell::LambdaEnvironment;

/// Runs the command line of this process.
#[must_use]
pub fn run() -> ExitCode {
    let mut arguments: Vec<_> = std::env::args_os().collect();
    // AWS Lambda starts a program without any.
    if arguments.len() == 1 && LambdaEnvironment::find(&System).is_some() {
        arguments.push("serve".into());
    }
    // clap prints its own errors and exits with 2.
    let matches = command().get_matches_from(arguments);
    let arguments = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    let outcome = match &arguments.command {
        Command::Chat(args) => chat::run(args),
        Command::Completions(args) => completions::run(args, command()),
        Command::Keys(args) => keys::run(args),
        Command::Openapi => openapi::run(),
        Command::Revoke(args) => revoke::run(args),
        Command::Send(args) => send::run(args),
        Command::Serve(args) => serve::run(args),
        Command::Token(args) => token::run(args),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.is_output_closed() => ExitCode::SUCCESS,
        Err(error) => {
            Console::system().error(&error);
            ExitCode::FAILURE
        }
    }
}

/// The command as clap knows it. Help shows the names of variables, never what is in them: some hold secrets. One that is
/// empty is not set, as everywhere ([`Sources`](crate::config::Sources)).
fn command() -> clap::Command {
    with_variables(Cli::command())
}

fn with_variables(command: clap::Command) -> clap::Command {
    let variable = |arg: clap::Arg| match arg.get_env().is_some_and(is_empty_variable) {
        true => arg.env(None::<&str>),
        false => arg.hide_env_values(true),
    };
    command.mut_args(variable).mut_subcommands(with_variables)
}

/// A stateless conversation proxy for language models: the token holds the chat, the server holds nothing
#[derive(Parser)]
#[command(version, about, disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Talk to a model; the chat is kept in a file and goes on next time
    Chat(chat::Args),
    /// Say one thing and print the reply
    Send(send::Args),
    /// Answer requests over HTTP
    Serve(Box<serve::Args>),
    /// Look into tokens, check them, make them of transcripts
    Token(token::Args),
    /// Make and change the keys that sign tokens
    Keys(keys::Args),
    /// Make tokens good no more, before their time
    Revoke(revoke::Args),
    /// Print the description of the HTTP API, an OpenAPI 3.1 document
    Openapi,
    /// Print a completion script
    Completions(completions::Args),
}
