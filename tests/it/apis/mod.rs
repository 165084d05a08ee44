//! The APIs, through the whole service.

mod chat_completions;
mod generous;
mod matrix;
mod messages;
mod responses;
