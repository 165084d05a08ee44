//! One model call, and the helpers that every provider format writes it with.

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Uri, header};
use serde::Serialize;
use serde_json::value::RawValue;

use super::profile::Profile;
use crate::proto::{
    chat::{Item, Output, Part},
    error::Error,
    turn::ModelOptions,
    usage::Images,
};

/// One call of a model, in neutral terms.
#[derive(Clone, Copy)]
pub struct ModelCall<'a> {
    /// The provider's name for the model.
    pub model: &'a str,
    /// The service that is called: the name of its wire format, followed by `@host` if the host is
    /// not the official one. Reasoning of other services is left out of the request.
    pub provider_id: &'a str,
    /// The profile of the service.
    pub profile: Profile,
    /// True if the request should ask for prompt caching. Only some formats have a word for it.
    pub prompt_cache: bool,
    /// The system prompt of this turn.
    pub system: Option<&'a str>,
    /// The history, followed by the new input.
    pub items: &'a [Item],
    /// The caller's options for the model.
    pub options: &'a ModelOptions,
    /// True if the reply should be a stream.
    pub stream: bool,
}

/// The number of model tokens that a call would send.
#[derive(Debug)]
pub enum TokenCount {
    /// The provider counts, if it is sent this request. Its URI is a path to append to the
    /// upstream's base URL.
    Request(Box<Request<Bytes>>),
    /// The count, or an estimate.
    Known(u64),
}

/// The limits on reading a reply, and the turn that it belongs to.
#[derive(Clone, Copy, Debug)]
pub struct ReplyBounds {
    /// The number of the turn. It is a part of the ids of calls to which the service gave none, so
    /// that they are unique in the conversation and the same at every attempt.
    pub turn: u64,
    /// The most bytes of text and arguments that the caller keeps.
    ///
    /// Escapes and envelopes make the wire format longer. So a reader buffers one event or one body
    /// of up to six times this, plus 64 KiB. It holds calls until they are complete, and reasoning
    /// that follows a call: together up to twice this. It does not limit text, which it passes on.
    pub reply_bytes: usize,
}

/// The images in the items of a request.
pub(in crate::proto) fn images(items: &[Item]) -> Images {
    let parts = items.iter().flat_map(|item| match item {
        Item::Message { parts, .. } | Item::Result { out: Output::Parts(parts), .. } => parts.as_slice(),
        Item::Call { .. } | Item::Result { .. } | Item::Think { .. } => &[],
    });
    parts.fold(Images::default(), |images, part| match part {
        Part::Image(url) => {
            Images { count: images.count.saturating_add(1), bytes: images.bytes.saturating_add(url.len()) }
        }
        Part::Text(_) => images,
    })
}

/// `text` as raw JSON, if it is a JSON object.
pub(super) fn object(text: &str) -> Option<&RawValue> {
    serde_json::from_str::<&RawValue>(text).ok().filter(|raw| raw.get().starts_with('{'))
}

/// A POST request with `body` as JSON. It asks for a stream or for JSON, as `stream` says.
pub(super) fn post(path: &'static str, stream: bool, body: &impl Serialize) -> Result<Request<Bytes>, Error> {
    let body = serde_json::to_vec(body).map_err(|error| Error::internal(format!("request is not JSON: {error}")))?;
    let mut request = Request::new(Bytes::from(body));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = Uri::from_static(path);
    let accept = if stream { EVENT_STREAM } else { JSON };
    request.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(JSON));
    request.headers_mut().insert(header::ACCEPT, HeaderValue::from_static(accept));
    Ok(request)
}

/// The media type of a stream of server-sent events.
pub(super) const EVENT_STREAM: &str = "text/event-stream";
/// The media type of JSON.
pub(super) const JSON: &str = "application/json";
