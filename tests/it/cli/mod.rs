//! The command line as a user runs it: the real binary in a folder of its own. The tests compare
//! the complete output and the exit code.
#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "clippy exempts tests, but not their helper functions"
)]

mod arguments;
mod chat;
mod home;
mod keys;
mod openapi;
mod revoke;
mod send;
mod serve;
#[cfg(target_os = "linux")]
mod terminal;
mod token;
mod upstreams;
mod variables;
