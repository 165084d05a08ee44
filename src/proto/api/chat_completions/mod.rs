//! The Chat Completions door, `POST /v1/chat/completions`: what OpenAI's older SDKs and most other clients speak.
//!
//! Format: <https://platform.openai.com/docs/api-reference/chat>. Beside it the token travels as `conversation_token`, in
//! a member of the request, at the top of the answer and in its message; streamed, in the chunk with `finish_reason`, at
//! the top and in `delta`. It stands in that one delta alone, because SDKs join the deltas' strings.
//!
//! Members that we do not know are ignored; those that we know and cannot honour are refused by name.

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

/// The Chat Completions format.
#[derive(Clone, Copy, Debug)]
pub struct ChatCompletions;

impl Api for ChatCompletions {
    fn path(&self) -> &'static str {
        "/v1/chat/completions"
    }

    fn subpath_hint(&self) -> Option<&'static str> {
        Some(
            "completions are not stored here: what was said is in `conversation_token`; POST it to /v1/history to read \
             it, and to /v1/chat/completions to go on",
        )
    }

    fn parse_request(&self, body: &str, _: &ApiSettings) -> Result<ParsedRequest, Error> {
        let (turn, include_usage) = body::read::<RawChat<'_>>(body)?.into_turn()?;
        Ok(ParsedRequest { turn, writer: Box::new(ChatWriter::new(include_usage)) })
    }

    fn error_response(&self, told: &PublicError<'_>) -> Option<ErrorResponse> {
        Some(openai_error::refusal(told, TokenMember::ConversationToken))
    }
}

#[cfg(test)]
mod tests;
