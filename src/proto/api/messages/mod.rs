//! The Messages API, `POST /v1/messages` and `POST /v1/messages/count_tokens`: the format of
//! Anthropic's SDKs.
//!
//! Format: <https://docs.anthropic.com/en/api/messages>, version 2023-06-01, whatever version or
//! betas the headers name. Holdall adds the member `conversation_token`: in a request, at the top
//! of the answer, and in its last block. In a request it is also read from the last message of the
//! model. In a stream, `message_delta` and `message_stop` have it. SDKs rebuild `message_stop` from
//! the members that they know.
//!
//! The server ignores unknown members. It leaves out tools and edits of the context that it cannot
//! offer, and names them. It rejects other members that it knows and does not support, with their
//! name. It also ignores `cache_control`, because the operator configures the prompt cache. A reply
//! that one of `stop_sequences` ended has the stop reason `stop_sequence` if the provider reports
//! the text that ended it, and else `end_turn`.

mod content;
mod error;
mod reply;
mod request;

use serde::Serialize;

use self::{error::ErrorBody, reply::MessagesWriter, request::RawMessages};
use super::{
    body,
    format::{Api, ErrorResponse, Operation, ParsedRequest, PublicError},
};
use crate::proto::{deployment::ApiSettings, error::Error};

/// The Messages API.
#[derive(Clone, Copy, Debug)]
pub struct Messages;

impl Api for Messages {
    fn path(&self) -> &'static str {
        "/v1/messages"
    }

    fn subpath_hint(&self) -> Option<&'static str> {
        Some("Batches are not supported. POST each message to /v1/messages, or to /v1/messages/count_tokens to count.")
    }

    fn parse_request(&self, body: &str, _: &ApiSettings) -> Result<ParsedRequest, Error> {
        let raw: RawMessages<'_> = body::parse(body)?;
        if raw.max_tokens.is_none() {
            return Err(Error::invalid(
                "`max_tokens` is missing. Send the maximum number of model tokens in the reply.",
            ));
        }
        parsed(raw)
    }

    fn error_response(&self, error: &PublicError<'_>) -> Option<ErrorResponse> {
        Some(ErrorBody::new(error, None).into_response())
    }
}

/// The count of the model tokens that a message would send, `POST /v1/messages/count_tokens`.
#[derive(Clone, Copy, Debug)]
pub struct CountTokens;

impl Api for CountTokens {
    fn path(&self) -> &'static str {
        "/v1/messages/count_tokens"
    }

    fn operation(&self) -> Operation {
        Operation::CountTokens
    }

    fn token_count_body(&self, tokens: u64) -> Vec<u8> {
        serde_json::to_vec(&CountBody { input_tokens: tokens }).unwrap_or_default()
    }

    fn parse_request(&self, body: &str, _: &ApiSettings) -> Result<ParsedRequest, Error> {
        parsed(body::parse(body)?)
    }

    fn error_response(&self, error: &PublicError<'_>) -> Option<ErrorResponse> {
        Messages.error_response(error)
    }
}

/// The answer to a count.
#[derive(Serialize)]
struct CountBody {
    input_tokens: u64,
}

fn parsed(raw: RawMessages<'_>) -> Result<ParsedRequest, Error> {
    let (turn, shows_thinking) = raw.into_turn()?;
    Ok(ParsedRequest { turn, writer: Box::new(MessagesWriter::new(shows_thinking)) })
}

#[cfg(test)]
mod tests;
