//! The Responses door, `POST /v1/responses`: OpenAI's Responses API, as the Open Responses specification of 2026-04-24
//! writes it down (design §5).
//!
//! The token is the id: `previous_response_id` brings one, and the answer's `id` is `resp_` and the next. Clients want one
//! id in all events of a stream, and a token exists only once the reply is whole:
//!
//! | stream | first events | id of the first | id of the last |
//! |---|---|---|---|
//! | `hold`, the default | when the reply is whole | the token | the token |
//! | `live`, where asked for | with the reply | one that is no token | the token |
//! | `store: false` | with the reply | one that is no token | the same |
//!
//! `metadata.holdall_stream` chooses between the first two. What the API has and this door has not is refused by name;
//! members that we do not know are passed over.

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

/// The Responses format.
#[derive(Clone, Copy, Debug)]
pub struct Responses;

impl Api for Responses {
    fn path(&self) -> &'static str {
        "/v1/responses"
    }

    fn subpath_hint(&self) -> Option<&'static str> {
        Some(
            "no response is kept here, and its id is not for URLs: read a conversation by POST /v1/history, end one by \
             POST /v1/revocations where the server offers it, and go on with one by `previous_response_id`",
        )
    }

    fn parse_request(&self, body: &str, settings: &ApiSettings) -> Result<ParsedRequest, Error> {
        let Request { turn, repeated, live, encrypted_reasoning } = request::read(body)?;
        if turn.model.is_none() && turn.token.is_none() {
            return Err(Error::invalid("`model` is missing, which only a conversation has; GET /v1/models lists them"));
        }
        // An id that is no token is there from the start: nothing to wait for.
        let live = live.unwrap_or(settings.live_responses || !repeated.store);
        Ok(ParsedRequest { turn, writer: Box::new(ResponsesWriter::new(repeated, live, encrypted_reasoning)) })
    }

    fn error_response(&self, told: &PublicError<'_>) -> Option<ErrorResponse> {
        Some(openai_error::refusal(told, TokenMember::PreviousResponseId))
    }
}

/// The count that goes with it, `POST /v1/responses/input_tokens`.
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
        let Request { turn, repeated, .. } = request::read(body)?;
        Ok(ParsedRequest { turn, writer: Box::new(ResponsesWriter::new(repeated, false, false)) })
    }

    fn error_response(&self, told: &PublicError<'_>) -> Option<ErrorResponse> {
        Responses.error_response(told)
    }
}

/// How many model tokens the turn would send.
#[derive(Serialize)]
struct CountBody {
    object: &'static str,
    input_tokens: u64,
}
