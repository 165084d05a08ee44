//! Arguments, dispatch, errors and exit codes: 0 done, 1 failed, 2 misuse.
//!
//! Answers go to standard output; what is said about them, errors and hints to standard error. Who stops reading our
//! answer, as `head` does, gets no error message.

mod caller_keys;
mod chat;
mod completions;
mod connect;
mod console;
mod file;
mod home;
mod keys;
mod openapi;
mod revoke;
mod send;
mod serve;
mod settings;
mod token;
mod turn;

use std::{fmt, process::ExitCode};

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use self::{console::Console, settings::System};
use crate::{config::ConfigError, shell::LambdaEnvironment};

/// Runs the command line of this process.
#[must_use]
pub fn run() -> ExitCode {
    let mut arguments: Vec<_> = std::env::args_os().collect();
    // AWS Lambda starts a program without any.
    if arguments.len() == 1 && LambdaEnvironment::detect(&System).is_some() {
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
        Err(error) if error.is_closed() => ExitCode::SUCCESS,
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
    let variable = |arg: clap::Arg| match arg.get_env().is_some_and(settings::is_empty) {
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

/// Why a command failed, and what to do about it.
#[derive(Debug)]
pub(crate) struct CliError {
    message: String,
    hint: Option<String>,
    closed: bool,
}

impl CliError {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), hint: None, closed: false }
    }

    pub(crate) fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    /// Nobody reads our output any more: a reason to stop, not one to complain.
    fn closed() -> Self {
        Self { closed: true, ..Self::new("nobody reads standard output") }
    }

    /// The error with its hint.
    fn in_a_line(&self) -> String {
        let hint = self.hint.as_ref().map(|hint| format!("; {hint}")).unwrap_or_default();
        format!("{}{hint}", self.message)
    }

    fn is_closed(&self) -> bool {
        self.closed
    }
}

impl std::error::Error for CliError {}

impl fmt::Display for CliError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<ConfigError> for CliError {
    fn from(error: ConfigError) -> Self {
        Self { hint: error.hint().map(str::to_owned), ..Self::new(error.to_string()) }
    }
}
