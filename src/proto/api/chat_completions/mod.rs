//! The Chat Completions API, `POST /v1/chat/completions`: the format of OpenAI's older SDKs and of
//! most other clients.
//!
//! Format: <https://platform.openai.com/docs/api-reference/chat>. Holdall adds the member
//! `conversation_token`: in a request, at the top of the answer, and in its message. In a stream,
//! the chunk with `finish_reason` has it, at the top and in `delta`. Only that one delta has it,
//! because SDKs concatenate the strings of the deltas.
//!
//! The server ignores unknown members. It rejects members that it knows and does not support, with
//! their name.

mod messages;
mod reply;
mod request;

use self::{reply::ChatWriter, request::RawChat};
use super::{
    body,
    format::{Api, ErrorResponse, ParsedRequest, PublicError},
    openai_error::{self, TokenMember},
};
use crate::proto::{deployment::ApiSettings, error::Error};

/// The Chat Completions API.
#[derive(Clone, Copy, Debug)]
pub struct ChatCompletions;

impl Api for ChatCompletions {
    fn path(&self) -> &'static str {
        "/v1/chat/completions"
    }

    fn subpath_hint(&self) -> Option<&'static str> {
        Some(
            "The server stores no completions: the conversation is in `conversation_token`. POST it to /v1/history to \
                read it, or to /v1/chat/completions to continue.",
        )
    }

    fn parse_request(&self, body: &str, _: &ApiSettings) -> Result<ParsedRequest, Error> {
        let (turn, include_usage) = body::parse::<RawChat<'_>>(body)?.into_turn()?;
        Ok(ParsedRequest { turn, writer: Box::new(ChatWriter::new(include_usage)) })
    }

    fn error_response(&self, error: &PublicError<'_>) -> Option<ErrorResponse> {
        Some(openai_error::error_response(error, TokenMember::ConversationToken))
    }
}

#[cfg(test)]
mod tests;
