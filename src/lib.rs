//! Holdall: a stateless conversation proxy for language models.

pub mod config;
pub mod guard;
pub mod principal;
pub mod problem;
pub mod proto;
pub mod service;
pub mod upstream;
