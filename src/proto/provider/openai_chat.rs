//! OpenAI Chat Completions, also the format of Ollama, vLLM, llama.cpp, Groq and OpenRouter.
//!
//! Format: <https://platform.openai.com/docs/api-reference/chat>.
//!
//! | in the items, but not in the format | handling |
//! |---|---|
//! | a tool that failed | the result is sent as if the tool had worked |
//! | an image in a tool result or an assistant message | replaced by the text `[image]` |
//! | reasoning | only the opaque members that the service itself gave |
//! | a budget for reasoning | replaced by the nearest effort |
//!
//! | in the reply, but not in the items | handling |
//! |---|---|
//! | opaque members that the [profile](super::profile) names | kept as reasoning |
//! | other unknown members | ignored |
//! | choices after the first | ignored |
//!
//! A stream is complete with `[DONE]`, or if it ends after a `finish_reason`: not all services send
//! `[DONE]`.

mod chunk;
mod messages;
mod reader;
mod request;

use bytes::Bytes;
use http::{HeaderName, Request, header, response};

use self::{reader::Parser, request::Body};
use super::{
    call::{ModelCall, ReplyBounds, post},
    profile::Profile,
    reply,
    traits::{Provider, ReplyReader},
};
use crate::proto::error::Error;

/// The provider `openai`.
pub(super) struct OpenAiChat;

impl Provider for OpenAiChat {
    fn name(&self) -> &'static str {
        "openai"
    }

    fn default_base_url(&self) -> &'static str {
        "https://api.openai.com/v1"
    }

    fn request(&self, call: &ModelCall<'_>) -> Result<Request<Bytes>, Error> {
        post("/chat/completions", call.stream, &Body::new(call))
    }

    fn credential(&self) -> (HeaderName, &'static str) {
        (header::AUTHORIZATION, "Bearer ")
    }

    fn reply_reader(&self, head: &response::Parts, bounds: ReplyBounds, profile: &Profile) -> Box<dyn ReplyReader> {
        reply::reader::<Parser>(head, bounds, profile)
    }
}

#[cfg(test)]
mod tests;
