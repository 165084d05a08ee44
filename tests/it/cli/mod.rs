//! The command line as a user meets it: the real binary in a folder of its own, its whole output and its exit code.
#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "clippy's exemptions know the tests, not what helps them"
)]

mod chat;
mod home;
mod keys;
mod misuse;
mod openapi;
mod revoke;
mod send;
mod serve;
#[cfg(target_os = "linux")]
mod terminal;
mod token;
