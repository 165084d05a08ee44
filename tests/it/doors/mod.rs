//! The doors, through the whole service.

mod chat_completions;
mod matrix;
mod responses;
//! The doors for stock clients, through the whole service.

mod messages;
