//! The mirror of a dialect: the formats in which clients ask for a turn and are answered.
//!
//! A door reads bytes into a [`TurnRequest`] and writes deltas and an [`Answer`] as bytes; what a turn is, whom it may
//! concern and what it may cost is decided in [`exchange`](crate::proto::exchange).

mod body;
pub mod chat_completions;
#[cfg(test)]
pub mod described;
pub mod messages;
pub mod native;
mod openai_error;
pub mod responses;

use super::{
    deployment::ApiSettings,
    error::Error,
    token::Claims,
    turn::{Answer, Delta, Partial, TurnRequest},
};

/// One format that clients speak.
pub trait Api: Sync {
    /// The path it answers `POST` at.
    fn path(&self) -> &'static str;

    /// What is not offered at the paths below [`Self::path`], and what to use instead; `None` if nothing is known there.
    fn below(&self) -> Option<&'static str> {
        None
    }

    /// What the requests at this path ask for.
    fn purpose(&self) -> Operation {
        Operation::Turn
    }

    /// Writes how many model tokens the turn would send, where that is the [`Self::purpose`].
    fn counted(&self, _tokens: u64) -> Vec<u8> {
        Vec::new()
    }

    /// Reads a request body, and makes the writer for its reply.
    ///
    /// # Errors
    /// [`Error::RequestInvalid`], [`Error::RoleForbidden`] or [`Error::Unsupported`], each naming the member.
    fn request(&self, body: &str, settings: &ApiSettings) -> Result<ParsedRequest, Error>;

    /// An error in this format's own shape; `None` for the problem document.
    fn refusal(&self, told: &PublicError<'_>) -> Option<ErrorResponse>;

    /// What the API's description says of it.
    #[cfg(test)]
    fn described(&self, schemas: &mut described::Schemas) -> described::ApiDescription;
}

/// All doors: one line each.
pub const APIS: &[&dyn Api] = &[
    &chat_completions::ChatCompletions,
    &messages::CountTokens,
    &messages::Messages,
    &native::Native,
    &responses::InputTokens,
    &responses::Responses,
];

/// What the requests at a path ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// To be told how many model tokens the turn would send.
    CountTokens,
    /// To take the turn.
    Turn,
}

/// What a door read of a request.
pub struct ParsedRequest {
    /// The turn.
    pub turn: TurnRequest,
    /// Writes its reply; knows what the format repeats of the request.
    pub writer: Box<dyn ReplyWriter>,
}

/// Writes one reply: whole by [`Self::answer`], or as server-sent events by the others, in their order.
pub trait ReplyWriter: Send {
    /// The whole reply, as JSON.
    fn answer(&mut self, answer: &Answer) -> Vec<u8>;

    /// Appends what begins a streamed reply; `claims` are those of the token that it is to end with.
    fn begin(&mut self, claims: &Claims, out: &mut Vec<u8>);

    /// Appends the events for deltas that are ready together.
    fn deltas(&mut self, deltas: &[Delta], out: &mut Vec<u8>);

    /// Whether deltas are kept until the end, so that the client must be told that work goes on.
    fn holds(&self) -> bool {
        false
    }

    /// Appends what ends a whole reply.
    fn done(&mut self, answer: &Answer, out: &mut Vec<u8>);

    /// Appends what ends a failed one.
    fn error(&mut self, told: &PublicError<'_>, partial: Option<&Partial>, out: &mut Vec<u8>);
}

/// An error as it may be told to a caller, in any format.
#[derive(Clone, Copy, Debug)]
pub struct PublicError<'a> {
    /// The error; what its `Display` says is safe to show, its cause is not.
    pub error: &'a Error,
    /// The HTTP status that the error has by itself.
    pub status: u16,
    /// Our id for the request.
    pub request_id: &'a str,
    /// The problem document (RFC 9457), a JSON object.
    pub problem: &'a str,
}

/// An error in a format's own shape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorResponse {
    /// The HTTP status, 400 to 599.
    pub status: u16,
    /// The body, JSON.
    pub body: Vec<u8>,
}
