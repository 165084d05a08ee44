//! The one integration binary: a module per surface. Data is in `tests/vectors/`.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test ends where something is not as it says")]

mod http;
mod identity;
mod streaming;
mod support;
mod survival;
mod upstream;
