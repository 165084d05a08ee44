//! The one integration binary: a module per surface. Data is in `tests/vectors/`.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test ends where something is not as it says")]

mod apis;
#[cfg(feature = "cli")]
mod cli;
mod client_history;
mod corpus;
mod guard;
mod http;
mod identity;
mod isolation;
mod jose;
#[cfg(feature = "lambda")]
mod lambda;
mod layering;
#[cfg(target_os = "linux")]
mod memory;
mod network;
mod oddities;
mod readme;
mod streaming;
mod summary;
mod support;
mod survival;
mod testkit;
mod upstream;
mod vectors;
mod worst;
