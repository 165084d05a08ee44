//! The APIs, through the whole service.

mod chat_completions;
mod matrix;
mod messages;
mod responses;
