//! The Responses API, `POST /v1/responses`: OpenAI's format, as the Open Responses specification of
//! 2026-04-24 defines it.
//!
//! The token is the id. `previous_response_id` brings one, and the `id` of the answer is `resp_`
//! followed by the next one. Clients require the same id in all events of a stream, and the token
//! exists only when the reply is complete:
//!
//! | stream | first events | id in the first event | id in the last event |
//! |---|---|---|---|
//! | `hold`, the default | when the reply is complete | the token | the token |
//! | `live`, on request | with the reply | an id without a token | the token |
//! | `store: false` | with the reply | an id without a token | the same |
//!
//! `metadata.holdall_stream` chooses `hold` or `live`. The server ignores unknown members. It
//! leaves out tools and similar entries that it cannot offer, and names them. It rejects other
//! members that it knows and does not support, with their name.

mod events;
mod reply;
mod request;
mod resource;

#[cfg(test)]
mod tests;

use serde::Serialize;

use self::{reply::ResponsesWriter, request::Request};
use super::{
    format::{Api, ErrorResponse, Operation, ParsedRequest, PublicError},
    openai_error::{self, TokenMember},
};
use crate::proto::{deployment::ApiSettings, error::Error};

/// The Responses API.
#[derive(Clone, Copy, Debug)]
pub struct Responses;

impl Api for Responses {
    fn path(&self) -> &'static str {
        "/v1/responses"
    }

    fn subpath_hint(&self) -> Option<&'static str> {
        Some(
            "The server stores no responses, and their ids must not be in URLs. Read a conversation with POST /v1/history. \
                Revoke it with POST /v1/revocations, if the server supports that. Continue it with `previous_response_id`.",
        )
    }

    fn parse_request(&self, body: &str, settings: &ApiSettings) -> Result<ParsedRequest, Error> {
        let Request { turn, repeated, live, encrypted_reasoning, names } = request::read(body)?;
        if turn.model.is_none() && turn.token.is_none() {
            return Err(Error::invalid(
                "`model` is missing. Send a name from GET /v1/models, or continue a conversation with `previous_response_id`.",
            ));
        }
        // Without `store`, the id has no token and is known from the start. There is no reason to
        // wait.
        let live = live.unwrap_or(settings.live_responses || !repeated.store);
        let writer = ResponsesWriter::new(repeated, names, live, encrypted_reasoning);
        Ok(ParsedRequest { turn, writer: Box::new(writer) })
    }

    fn error_response(&self, error: &PublicError<'_>) -> Option<ErrorResponse> {
        Some(openai_error::error_response(error, TokenMember::PreviousResponseId))
    }
}

/// The count of the model tokens that a response would send, `POST /v1/responses/input_tokens`.
#[derive(Clone, Copy, Debug)]
pub struct InputTokens;

impl Api for InputTokens {
    fn path(&self) -> &'static str {
        "/v1/responses/input_tokens"
    }

    fn operation(&self) -> Operation {
        Operation::CountTokens
    }

    fn token_count_body(&self, tokens: u64) -> Vec<u8> {
        let body = CountBody { object: "response.input_tokens", input_tokens: tokens };
        serde_json::to_vec(&body).unwrap_or_default()
    }

    fn parse_request(&self, body: &str, _: &ApiSettings) -> Result<ParsedRequest, Error> {
        let Request { turn, repeated, names, .. } = request::read(body)?;
        Ok(ParsedRequest { turn, writer: Box::new(ResponsesWriter::new(repeated, names, false, false)) })
    }

    fn error_response(&self, error: &PublicError<'_>) -> Option<ErrorResponse> {
        Responses.error_response(error)
    }
}

/// The answer to a count.
#[derive(Serialize)]
struct CountBody {
    object: &'static str,
    input_tokens: u64,
}
