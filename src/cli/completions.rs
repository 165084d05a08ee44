//! `holdall completions`: scripts that let a shell complete our arguments.

use clap_complete::Shell;

use super::{console::Console, error::CliError};

/// The arguments of `completions`.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Args {
    /// The shell to complete for
    shell: Shell,
}

/// Prints the script.
pub(super) fn run(args: &Args, mut command: clap::Command) -> Result<(), CliError> {
    // Written to memory first: the generator panics where it cannot write.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, "holdall", &mut script);
    Console::system().print(&String::from_utf8_lossy(&script))
}
