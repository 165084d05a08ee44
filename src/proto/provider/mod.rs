//! Wire formats, one file each, over the neutral items: a provider more is one file and one line here, a door more one
//! file and one line in [`api`].
//!
//! ```text
//!  items ──▶ Dialect::request ──▶ bytes to the upstream
//!  deltas ◀── ReplyReader::push ◀── bytes from the upstream
//! ```
//!
//! A dialect opens no socket and keeps nothing between replies. It writes the same items to the same bytes each time,
//! so that a provider's prompt cache hits turn after turn, and it reads a reply in pieces of any size: what it says
//! does not depend on where the network cut.
//!
//! In every request the messages are the last member, and what is written for an item never depends on an item of a
//! later turn. So the bytes of a turn, less what closes them, begin the bytes of the next. For that each reply must
//! have left at least one item, were it an empty message.
//!
//! What only one provider understands, its reasoning, goes to that provider alone: the one at the very address that it
//! came from ([`ModelCall::provider`]).

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, Request, response};

use super::{error::Error, turn::Delta};

mod anthropic;
mod builtin;
mod call;
mod openai_chat;
mod openai_responses;
mod refusal;
mod reply;

pub use self::call::{ModelCall, ReplyBounds, TokenCount};

pub use builtin::{answer as builtin_answer, content_type as builtin_content_type};

/// One format that upstreams speak.
pub trait Provider: Sync {
    /// The name in configuration: `openai`, `openai-responses`, `anthropic`, `builtin`.
    fn name(&self) -> &'static str;

    /// The base URL used where none is configured, without a trailing slash.
    fn default_base_url(&self) -> &'static str;

    /// How the format is spoken at other addresses than [`Self::default_base_url`], if that differs.
    fn elsewhere(&self) -> Option<&'static dyn Provider> {
        None
    }

    /// The request for one model call; its URI is a path to append to the upstream's base URL.
    ///
    /// Carries every header but the credential. The same call gives the same bytes.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for what the format cannot say.
    fn request(&self, call: &ModelCall<'_>) -> Result<Request<Bytes>, Error>;

    /// The header in which the operator's key travels, and its value's prefix.
    fn credential(&self) -> (HeaderName, &'static str);

    /// A reader for one successful (2xx) reply, streamed or whole as its head says.
    ///
    /// # Errors
    /// [`Error::UpstreamMalformed`] if the head announces neither form, an HTML page for instance.
    fn reply(&self, head: &response::Parts, bounds: ReplyBounds) -> Result<Box<dyn ReplyReader>, Error>;

    /// How many model tokens a call would send; an estimate where the format has no way to ask.
    ///
    /// # Errors
    /// As [`Self::request`].
    fn count(&self, call: &ModelCall<'_>) -> Result<TokenCount, Error> {
        Ok(TokenCount::Known(call::estimate(call)))
    }

    /// Reads the answer to what [`Self::count`] asked.
    ///
    /// # Errors
    /// [`Error::UpstreamMalformed`].
    fn counted(&self, _body: &[u8]) -> Result<u64, Error> {
        Err(Error::malformed("nothing was asked"))
    }

    /// What an answer with this 4xx or 5xx status amounts to; `retry_after` is the wait that its head asks for.
    fn refusal(&self, status: u16, retry_after: Option<Duration>, body: &[u8]) -> Error {
        refusal::from_answer(status, retry_after, body)
    }
}

/// Reads one reply, fed in pieces of any size.
pub trait ReplyReader: Send {
    /// Takes the next bytes and appends what they complete to `deltas`.
    ///
    /// # Errors
    /// [`Error::UpstreamMalformed`] for what the format does not allow or what passes [`ReplyBounds`];
    /// [`Error::UpstreamRefused`] or [`Error::UpstreamUnavailable`] for an error reported inside a stream. What was
    /// appended before stays good; after an error the reader must not be fed again.
    fn push(&mut self, bytes: &[u8], deltas: &mut Vec<Delta>) -> Result<(), Error>;

    /// Says that no byte follows, and appends what was still open.
    ///
    /// # Errors
    /// [`Error::UpstreamCut`] if the reply has not come to its end; else as [`Self::push`].
    fn finish(&mut self, deltas: &mut Vec<Delta>) -> Result<(), Error>;

    /// Whether the provider has said anything of a reply, were it nothing to be shown: reasoning, or that it begins.
    fn has_started(&self) -> bool;

    /// Whether the reply has come to its end, so that the connection need not be read further.
    fn is_complete(&self) -> bool;
}

/// The dialect with this name in configuration.
#[must_use]
pub fn by_name(name: &str) -> Option<&'static dyn Provider> {
    PROVIDERS.iter().copied().find(|provider| provider.name() == name)
}

/// All dialects: one line each.
pub const PROVIDERS: &[&dyn Provider] = &[
    &anthropic::Anthropic, //
    &builtin::Builtin,
    &openai_chat::OpenAiChat::OWN,
    &openai_responses::OpenAiResponses::OWN,
];

#[cfg(test)]
pub(in crate::proto) mod testing;
