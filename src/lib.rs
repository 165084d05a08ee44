//! Holdall: a stateless conversation proxy for language models.
//!
//! The client carries the conversation. Each turn it sends its token and one new message; the proxy checks the token,
//! rebuilds the history from it, calls the model, streams the reply, and hands back a fresh token. The server holds
//! nothing.
//!
//! | module | what is in it |
//! |---|---|
//! | [`proto`] | the sans-IO core: tokens, items, wire formats, and [`Exchange`], the state machine of a turn |
//! | [`service`] | routes and drives exchanges; generic over a [`Host`](service::Host): upstreams, guard, clock, entropy |
//! | `shell` | the native server: sockets, timers, randomness |
//! | `cli` | the `holdall` command |
//!
//! | feature | what it adds |
//! |---|---|
//! | `cli` (default) | the command line, `shell`, `lambda` and `redis` |
//! | `shell` | the native server, and `jwt` |
//! | `lambda` | the native server as an AWS Lambda function, and `shell` |
//! | `redis` | limits and revocation that instances share on a server of the Redis protocol, and `shell` |
//! | `jwt` | callers identified by JSON Web Tokens |
//!
//! Without default features the crate opens no socket and builds for `wasm32-unknown-unknown`.

#[cfg(feature = "cli")]
pub mod cli;
pub mod config;
pub mod guard;
pub mod principal;
pub mod problem;
pub mod proto;
pub mod service;
#[cfg(feature = "shell")]
pub mod shell;
pub mod upstream;

pub use crate::{
    proto::{
        deployment::Deployment,
        error::Error,
        exchange::Exchange,
        key::KeyRing,
        limits::Limits,
        token::{RawToken, TokenPolicy, issue},
    },
    service::Service,
    upstream::Upstream,
};
