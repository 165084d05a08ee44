//! The command line: arguments, dispatch and exit codes.
//!
//! The exit code is 0 for success, 1 for a failure and 2 for wrong arguments. Results go to
//! standard output. Messages, errors and hints go to standard error. If the reader closes standard
//! output, as `head` does, the command stops without an error message.

mod caller_keys;
mod chat;
mod completions;
mod connect;
mod console;
mod error;
mod file;
mod home;
mod keys;
mod keys_file;
mod openapi;
mod owner;
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
mod upstreams;

use std::{process::ExitCode, time::Duration};

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use self::{
    console::Console,
    system::{System, is_empty_variable},
};
use crate::shell::{LambdaEnvironment, StderrLog};

/// Runs the command line of this process.
#[must_use]
pub fn run() -> ExitCode {
    let mut arguments: Vec<_> = std::env::args_os().collect();
    // AWS Lambda starts the program without arguments.
    if arguments.len() == 1 && LambdaEnvironment::detect(&System).is_some() {
        arguments.push("serve".into());
    }
    // For wrong arguments, clap prints an error and exits with code 2.
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
        Command::Upstreams(args) => upstreams::run(args),
    };
    let exit_code = match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.is_output_closed() => ExitCode::SUCCESS,
        Err(error) => {
            let is_server = matches!(arguments.command, Command::Serve(_));
            let console = if is_server { Console::of_server() } else { Console::system() };
            console.error(&error);
            ExitCode::FAILURE
        }
    };
    StderrLog.flush(LAST_LINES_TIMEOUT);
    exit_code
}

/// The longest time for the last lines of the log.
const LAST_LINES_TIMEOUT: Duration = Duration::from_secs(1);

/// The command for clap. Its help shows the names of variables without their values, because some
/// are secrets. An empty variable counts as not set, as in [`Sources`](crate::config::Sources).
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

#[derive(Parser)]
#[command(version, about, disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Chat with a model; the chat is saved and continues next time
    Chat(chat::Args),
    /// Send one message and print the reply
    Send(send::Args),
    /// Serve the APIs over HTTP
    Serve(Box<serve::Args>),
    /// Inspect, verify, export and import tokens
    Token(token::Args),
    /// Create, list and rotate keys
    Keys(keys::Args),
    /// Revoke tokens before they expire
    Revoke(revoke::Args),
    /// List the upstreams with the profile of each service
    Upstreams(Box<upstreams::Args>),
    /// Print the OpenAPI 3.1 description of the HTTP API
    Openapi,
    /// Print a completion script for a shell
    Completions(completions::Args),
}
