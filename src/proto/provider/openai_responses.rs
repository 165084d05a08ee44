//! OpenAI Responses without its store: every request has the complete conversation.
//!
//! Format: <https://platform.openai.com/docs/api-reference/responses>.
//!
//! | in the items, but not in the format | handling |
//! |---|---|
//! | a tool that failed | the result is sent as if the tool had worked |
//! | an image in an assistant message | replaced by the text `[image]` |
//! | stop sequences | refused |
//! | a seed | left out |
//!
//! | in the reply, but not in the items | handling |
//! |---|---|
//! | the `phase` of a message | ignored |
//! | calls of the provider's own tools | ignored |
//! | unknown items and events | ignored |
//!
//! A stream is complete with `response.completed` or `response.incomplete`. Output that only this
//! event has is read from it.
//!
//! # Reasoning
//! A reasoning item is kept as received. It is sent back to the same provider, at its place in the
//! conversation, if output of the model follows it. It is dropped if it cannot be sent back:
//! without `encrypted_content` and plain `content` it only names an entry in a store that is not
//! used, and an item that was cut off is not complete. Models that do not reason refuse reasoning
//! items, and even a request for them ([`reasons`](request::reasons)). No other item ids are sent.

mod places;
mod reader;
mod request;
mod wire;

use bytes::Bytes;
use http::{HeaderName, Request, header, response};

use self::{
    reader::{NAME, Parser},
    request::Body,
};
use super::{
    call::{ModelCall, ReplyBounds, TokenCount, images, post},
    profile::Profile,
    reply,
    reply_json::parse_input_tokens,
    traits::{Provider, ReplyReader},
};
use crate::proto::error::Error;

/// The provider `openai-responses`.
pub(super) struct OpenAiResponses;

impl Provider for OpenAiResponses {
    fn name(&self) -> &'static str {
        NAME
    }

    fn default_base_url(&self) -> &'static str {
        "https://api.openai.com/v1"
    }

    fn request(&self, call: &ModelCall<'_>) -> Result<Request<Bytes>, Error> {
        post("/responses", call.stream, &Body::new(call)?)
    }

    fn credential(&self) -> (HeaderName, &'static str) {
        (header::AUTHORIZATION, "Bearer ")
    }

    fn reply_reader(&self, head: &response::Parts, bounds: ReplyBounds, profile: &Profile) -> Box<dyn ReplyReader> {
        reply::reader::<Parser>(head, bounds, profile)
    }

    fn count_tokens(&self, call: &ModelCall<'_>) -> Result<TokenCount, Error> {
        let request = post("/responses/input_tokens", false, &Body::new(call)?.for_count())?;
        if !call.profile.counts_tokens {
            return Ok(TokenCount::Known(images(call.items).estimated_tokens(request.body().len())));
        }
        Ok(TokenCount::Request(Box::new(request)))
    }

    fn read_token_count(&self, body: &[u8]) -> Result<u64, Error> {
        parse_input_tokens(body)
    }
}

#[cfg(test)]
mod tests;
