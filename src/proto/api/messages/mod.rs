//! The Messages door, `POST /v1/messages` and `POST /v1/messages/count_tokens`: what Anthropic's SDKs speak.
//!
//! Format: <https://docs.anthropic.com/en/api/messages>, version 2023-06-01; whatever version or betas the headers name.
//! Beside it the token travels as `conversation_token`, in a member of the request and at the top of the answer;
//! streamed, on `message_delta` and on `message_stop`, because SDKs make that last event anew from what they know.
//!
//! Members that we do not know are ignored; those that we know and cannot honour are refused by name. What is asked of
//! the provider's own prompt cache is ignored as well: the operator sees to that. Which of the texts in
//! `stop_sequences` ended a reply is not known to all providers, so that such a reply ends as any other, with `end_turn`.

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

/// The Messages format.
#[derive(Clone, Copy, Debug)]
pub struct Messages;

impl Api for Messages {
    fn path(&self) -> &'static str {
        "/v1/messages"
    }

    fn subpath_hint(&self) -> Option<&'static str> {
        Some("batches are not offered; POST each message to /v1/messages, or to /v1/messages/count_tokens to count")
    }

    fn parse_request(&self, body: &str, _: &ApiSettings) -> Result<ParsedRequest, Error> {
        let raw: RawMessages<'_> = body::read(body)?;
        if raw.max_tokens.is_none() {
            return Err(Error::invalid("`max_tokens` is required: the most model tokens that the reply may have"));
        }
        asked(raw)
    }

    fn error_response(&self, told: &PublicError<'_>) -> Option<ErrorResponse> {
        Some(ErrorBody::new(told, None).into_refusal())
    }
}

/// The question that goes with it: how many model tokens a message would send.
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
        asked(body::read(body)?)
    }

    fn error_response(&self, told: &PublicError<'_>) -> Option<ErrorResponse> {
        Messages.error_response(told)
    }
}

/// How many model tokens the message would send.
#[derive(Serialize)]
struct CountBody {
    input_tokens: u64,
}

fn asked(raw: RawMessages<'_>) -> Result<ParsedRequest, Error> {
    let (turn, shows_thinking) = raw.into_turn()?;
    Ok(ParsedRequest { turn, writer: Box::new(MessagesWriter::new(shows_thinking)) })
}

#[cfg(test)]
mod tests;
