//! The integration tests: one binary, a module for each surface.

#[cfg(feature = "cli")]
mod cli;
