//! The sans-IO core: it gets bytes, the time and random bytes as arguments, and hands back what to send.
//!
//! Nothing here opens a socket or a file, reads the environment or a clock, starts a thread, draws randomness, keeps a
//! global or writes a log line. That is what lets a native server, a Lambda, a Worker and a test drive the same code and
//! get the same bytes. Start reading at [`exchange`].

#![warn(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

pub mod allowance;
pub mod api;
pub mod base64url;
mod builtin_model;
pub mod chat;
pub mod deployment;
pub mod error;
mod excerpt;
pub mod exchange;
pub(crate) mod fnv;
pub(crate) mod json;
pub mod key;
pub mod limits;
pub mod principal;
pub mod provider;
pub mod sse;
pub mod time;
pub mod token;
pub mod turn;
pub mod usage;
pub(crate) mod withheld;
