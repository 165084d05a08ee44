//! The APIs: the formats in which clients request a turn and get the reply.
//! [`provider`](crate::proto::provider) is the opposite side.
//!
//! An API parses bytes into a [`TurnRequest`](crate::proto::turn::TurnRequest), and writes deltas
//! and an [`Answer`](crate::proto::turn::Answer) as bytes. It decides nothing about the turn
//! itself: [`exchange`](crate::proto::exchange) checks its token, its caller and its limits.

mod body;
mod carried_state;
pub mod chat_completions;
mod conversation;
mod format;
mod ignored;
mod json_fault;
pub mod messages;
pub mod native;
mod openai_error;
pub mod responses;
mod tools;

pub use self::{
    format::{Api, ErrorResponse, Operation, ParsedRequest, PublicError, ReplyWriter},
    ignored::known_kind,
};

/// All APIs, one line each.
pub const APIS: &[&dyn Api] = &[
    &chat_completions::ChatCompletions,
    &messages::CountTokens,
    &messages::Messages,
    &native::Native,
    &responses::InputTokens,
    &responses::Responses,
];
