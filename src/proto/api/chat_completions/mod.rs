//! The Chat Completions API, `POST /v1/chat/completions`: the format of OpenAI's older SDKs and of
//! most other clients.
//!
//! Format: <https://platform.openai.com/docs/api-reference/chat>. Holdall adds the member
//! `conversation_token`: in a request, at the top of the answer, and in its message. In a request
//! it is also read from the last message of the model. In a stream, the `delta` of the chunk with
//! `finish_reason` has it, and the top of the next chunk, which has no choice. So no line has it
//! twice, and only one delta has it: SDKs concatenate the strings of the deltas.
//!
//! The server ignores unknown members. It leaves out tools that it cannot offer, and names them. It
//! rejects other members that it knows and does not support, with their name.

mod messages;
mod reply;
mod request;

use self::{
    reply::ChatWriter,
    request::{RawChat, Request},
};
use super::{
    body,
    format::{Api, ErrorResponse, ParsedRequest, PublicError},
    openai_error::{self, TokenMember},
};
use crate::proto::{deployment::ApiSettings, error::Error};

/// The name of the provider format that has this API's opaque members.
const PROVIDER: &str = "openai";

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
        let Request { turn, names, include_usage } = body::parse::<RawChat<'_>>(body)?.read()?;
        Ok(ParsedRequest { turn, writer: Box::new(ChatWriter::new(include_usage, names)) })
    }

    fn error_response(&self, error: &PublicError<'_>) -> Option<ErrorResponse> {
        Some(openai_error::error_response(error, TokenMember::ConversationToken))
    }
}

#[cfg(test)]
mod tests;
