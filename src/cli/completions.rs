//! `holdall completions`: scripts that complete the command line in a shell.

use clap_complete::Shell;

use super::{console::Console, error::CliError};

/// The arguments of `completions`.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Args {
    /// Shell that runs the script
    shell: Shell,
}

/// Prints the script.
///
/// # Errors
/// [`CliError`] if standard output fails.
pub(super) fn run(args: &Args, mut command: clap::Command) -> Result<(), CliError> {
    // The script goes to memory first: the generator panics if it cannot write.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, "holdall", &mut script);
    Console::system().print(&String::from_utf8_lossy(&script))
}
