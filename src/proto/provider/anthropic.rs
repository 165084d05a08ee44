//! Anthropic Messages, version 2023-06-01.
//!
//! Format: <https://docs.anthropic.com/en/api/messages>.
//!
//! | in the items, but not in the format | handling |
//! |---|---|
//! | a `data:` image that is not base64 | refused |
//! | blank text | left out, because the API refuses it |
//! | no text, or reasoning, at the end of a message | [`NO_TEXT`](request::NO_TEXT) is added |
//!
//! | in the reply, but not in the items | handling |
//! |---|---|
//! | unknown blocks and events | ignored |
//! | a thinking block without a signature | dropped; kept if the profile has `unsigned_thinking` |
//! | a thinking block that was cut off | dropped |
//! | text after a call | moved before the call, because text is passed on immediately |
//!
//! A thinking block is kept in the form that the API wants back, with its signature if it has one.
//! A stream is complete with `message_stop`, or if it ends after a `stop_reason`.
//!
//! # Prompt caches
//! The API caches a prompt up to a block with `cache_control`. A later request finds the cache
//! entry if it marks a block at most 20 blocks after it. So three blocks are marked, of four that
//! the API allows:
//!
//! ```text
//!              tools, system ▮    user  assistant  user ▮    assistant …    user ▮
//!              never changes      the end of the last        the end of this
//!                                 request: found there       request: for the next
//! ```
//! The third mark of one turn is at the place of the second mark of the next turn, no matter how
//! long the reply between them is. So the marks move from turn to turn, and the bytes of earlier
//! turns are the same except for the marks. The marks are not part of the prompt, and the API does
//! not compare them.

mod reader;
mod request;
mod wire;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, response};

use self::{
    reader::{NAME, Parser},
    request::Body,
};
use super::{
    call::{ModelCall, ReplyBounds, TokenCount, post},
    profile::Profile,
    reply,
    reply_json::parse_input_tokens,
    traits::{Provider, ReplyReader},
};
use crate::proto::error::Error;

/// The provider `anthropic`.
pub(super) struct Anthropic;

impl Provider for Anthropic {
    fn name(&self) -> &'static str {
        NAME
    }

    fn default_base_url(&self) -> &'static str {
        "https://api.anthropic.com"
    }

    fn request(&self, call: &ModelCall<'_>) -> Result<Request<Bytes>, Error> {
        versioned(post("/v1/messages", call.stream, &Body::new(call)?))
    }

    fn credential(&self) -> (HeaderName, &'static str) {
        (HeaderName::from_static("x-api-key"), "")
    }

    fn reply_reader(&self, head: &response::Parts, bounds: ReplyBounds, profile: &Profile) -> Box<dyn ReplyReader> {
        reply::reader::<Parser>(head, bounds, profile)
    }

    fn count_tokens(&self, call: &ModelCall<'_>) -> Result<TokenCount, Error> {
        let body = Body::new(&ModelCall { prompt_cache: false, ..*call })?.for_count();
        versioned(post("/v1/messages/count_tokens", false, &body)).map(|request| TokenCount::Request(Box::new(request)))
    }

    fn read_token_count(&self, body: &[u8]) -> Result<u64, Error> {
        parse_input_tokens(body)
    }
}

/// Adds the version of the API, which every request must name.
fn versioned(request: Result<Request<Bytes>, Error>) -> Result<Request<Bytes>, Error> {
    let mut request = request?;
    let version = HeaderName::from_static("anthropic-version");
    request.headers_mut().insert(version, HeaderValue::from_static("2023-06-01"));
    Ok(request)
}

#[cfg(test)]
mod tests;
