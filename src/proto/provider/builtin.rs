//! The built-in model as a provider. It needs no network.
//!
//! Its wire format is our own. A request is one JSON object, with `items` last:
//! ```text
//! {"model", "system"?, "tools"?: [{"name"}],
//!  "tool_choice"?: "auto"|"none"|"required"|{"tool": name}, "max_output_tokens"?,
//!  "one_call"?: true, "stop"?: [text], "stream", "items": [as in a history]}
//! ```
//! A streamed reply is a stream of server-sent events:
//!
//! | event | data |
//! |---|---|
//! | `text` | `{"text"}`: one word, with the whitespace before it |
//! | `call` | `{"id","name","args"}` |
//! | `end` | `{"finish_reason","usage":{"input_tokens","output_tokens"}}` |
//!
//! A stream without `end` is cut. A reply that is not streamed is one JSON object with `text`,
//! `calls`, `finish_reason` and `usage`. A model token is one word. The model ignores options for
//! sampling, reasoning and the format of the text. [`builtin_model`](crate::proto::builtin_model)
//! decides what it answers.

mod answer;
mod reader;
mod wire;

use bytes::Bytes;
use http::{HeaderName, Request, header, response};

use self::{
    reader::Parser,
    wire::{Body, input_words},
};
use super::{
    call::{ModelCall, ReplyBounds, TokenCount, post},
    profile::Profile,
    reply,
    traits::{Provider, ReplyReader},
};
use crate::proto::error::Error;

pub use self::answer::{answer, content_type};

/// The provider `builtin`.
pub(super) struct Builtin;

impl Provider for Builtin {
    fn name(&self) -> &'static str {
        "builtin"
    }

    fn default_base_url(&self) -> &'static str {
        ""
    }

    fn request(&self, call: &ModelCall<'_>) -> Result<Request<Bytes>, Error> {
        post("/answer", call.stream, &Body::new(call))
    }

    fn credential(&self) -> (HeaderName, &'static str) {
        (header::AUTHORIZATION, "Bearer ")
    }

    fn reply_reader(&self, head: &response::Parts, bounds: ReplyBounds, profile: &Profile) -> Box<dyn ReplyReader> {
        reply::reader::<Parser>(head, bounds, profile)
    }

    fn count_tokens(&self, call: &ModelCall<'_>) -> Result<TokenCount, Error> {
        Ok(TokenCount::Known(input_words(call.system, call.items)))
    }
}

#[cfg(test)]
mod tests;
