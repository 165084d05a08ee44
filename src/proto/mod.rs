//! The core: tokens, items, API and provider formats, and the state machine of a turn.
//!
//! The core is sans-IO: bytes, the time and random bytes are arguments, and the bytes to send are
//! results. It opens no socket or file, reads no environment and no clock, starts no thread, has no
//! global variables, and writes no log. So a native server, a Lambda function, a Cloudflare Worker
//! and a test run the same code and get the same bytes. Start reading at [`exchange`].

#![warn(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

pub mod allowance;
pub mod api;
pub mod base64url;
mod builtin_model;
pub mod chat;
pub mod deployment;
pub mod error;
pub(crate) mod escapes;
pub(crate) mod excerpt;
pub mod exchange;
pub(crate) mod fnv;
pub(crate) mod json;
pub mod key;
pub mod limits;
pub mod principal;
pub mod provider;
pub(crate) mod secrets;
pub mod sse;
pub mod time;
pub mod token;
pub mod turn;
pub mod usage;
pub(crate) mod withheld;
