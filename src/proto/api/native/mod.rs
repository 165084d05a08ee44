//! The native API, `POST /v1/turns`: a token and an input in, a reply and the next token out
//! (docs/api.md).
//!
//! The server rejects unknown members, with their name. A client can only speak as the user. A
//! streamed reply is `event: delta` and `event: tool_call`, then `event: done` with the complete
//! answer, or `event: error` with the problem document.

mod history;
mod reply;
mod request;
mod revocation;

use self::{reply::NativeWriter, request::RawTurn};
use super::{
    body,
    format::{Api, ErrorResponse, ParsedRequest, PublicError},
};
use crate::proto::{deployment::ApiSettings, error::Error};

pub use self::{
    history::{history_answer, history_request},
    revocation::{RevocationRequest, RevocationScope, revocation_answer, revocation_request},
};

/// The native API.
#[derive(Clone, Copy, Debug)]
pub struct Native;

impl Api for Native {
    fn path(&self) -> &'static str {
        "/v1/turns"
    }

    fn parse_request(&self, body: &str, _: &ApiSettings) -> Result<ParsedRequest, Error> {
        let turn = body::parse::<RawTurn<'_>>(body)?.into_turn()?;
        Ok(ParsedRequest { turn, writer: Box::new(NativeWriter) })
    }

    fn error_response(&self, _: &PublicError<'_>) -> Option<ErrorResponse> {
        None
    }
}

#[cfg(test)]
mod tests;
