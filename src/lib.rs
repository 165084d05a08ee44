//! Holdall: a stateless conversation proxy for language models.

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
