//! Holdall: a stateless conversation proxy for language models.

pub mod principal;
pub mod proto;
