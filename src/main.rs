//! The `holdall` command.

use std::process::ExitCode;

/// Replaces the allocator of musl, which requests each large block from the system again and has
/// one lock for all threads.
#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    holdall::cli::run()
}
