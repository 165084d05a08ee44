//! The `holdall` command.

use std::process::ExitCode;

/// In the place of musl's, which asks the system for each large block anew, and has one lock for all threads.
#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    holdall::cli::run()
}
