//! The interface of a provider format: it writes requests and reads replies.

use bytes::Bytes;
use http::{HeaderName, Request, response};

use super::{
    call::{ModelCall, ReplyBounds, TokenCount, images},
    profile::Profile,
    upstream_error,
};
use crate::proto::{error::Error, turn::Delta};

/// The wire format of a model service.
pub trait Provider: Sync {
    /// The name in configuration: `openai`, `openai-responses`, `anthropic` or `builtin`.
    fn name(&self) -> &'static str;

    /// The base URL of the official service, without a trailing slash. It is used if none is
    /// configured.
    fn default_base_url(&self) -> &'static str;

    /// The request for one model call. Its URI is a path to append to the upstream's base URL.
    ///
    /// It has every header except the credential. The same call always gives the same bytes.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for options that the format cannot express.
    fn request(&self, call: &ModelCall<'_>) -> Result<Request<Bytes>, Error>;

    /// The header for the operator's key, and the prefix of its value.
    fn credential(&self) -> (HeaderName, &'static str);

    /// A reader for the body of one successful (2xx) reply of the service that `profile` describes.
    /// `head` announces a stream or one JSON value, and the first bytes decide.
    fn reply_reader(&self, head: &response::Parts, bounds: ReplyBounds, profile: &Profile) -> Box<dyn ReplyReader>;

    /// The number of model tokens that a call would send. It is an estimate from the request if the
    /// service cannot count.
    ///
    /// # Errors
    /// As [`Self::request`].
    fn count_tokens(&self, call: &ModelCall<'_>) -> Result<TokenCount, Error> {
        let body_bytes = self.request(call)?.body().len();
        Ok(TokenCount::Known(images(call.items).estimated_tokens(body_bytes)))
    }

    /// Reads the answer to a request from [`Self::count_tokens`].
    ///
    /// # Errors
    /// [`Error::UpstreamMalformed`].
    fn read_token_count(&self, _body: &[u8]) -> Result<u64, Error> {
        Err(Error::malformed("no count was requested"))
    }

    /// The error that an answer with a 4xx or 5xx status means. `body` is the beginning of its
    /// body, and `request` the body of the request, which the answer may quote.
    fn error_from_answer(&self, head: &response::Parts, body: &[u8], profile: &Profile, request: &[u8]) -> Error {
        upstream_error::from_answer(head, body, profile, request)
    }
}

/// Reads the body of one reply, in pieces of any size.
pub trait ReplyReader: Send {
    /// Takes the next bytes. Appends the deltas that they complete to `deltas`.
    ///
    /// # Errors
    /// - [`Error::UpstreamMalformed`] for bytes that the format does not allow, or that exceed
    ///   [`ReplyBounds`].
    /// - [`Error::UpstreamRefused`] or [`Error::UpstreamUnavailable`] for an error that is reported
    ///   inside a stream.
    ///
    /// The deltas that were appended before the error are valid. Do not use the reader again after
    /// an error.
    fn push(&mut self, bytes: &[u8], deltas: &mut Vec<Delta>) -> Result<(), Error>;

    /// Declares that no more bytes follow. Appends the last deltas to `deltas`.
    ///
    /// # Errors
    /// [`Error::UpstreamCut`] if the reply is not complete, and the errors of [`Self::push`].
    fn finish(&mut self, deltas: &mut Vec<Delta>) -> Result<(), Error>;

    /// Returns true once the provider has sent any part of the reply, even a part that is not
    /// shown, such as reasoning.
    fn has_started(&self) -> bool;

    /// The bytes of text, calls and reasoning so far, handed out or held. Bytes whose content is
    /// not known yet count as they are.
    fn output_bytes(&self) -> usize;

    /// Returns true at the end of the reply. The connection need not be read further.
    fn is_complete(&self) -> bool;
}
