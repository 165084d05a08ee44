//! One model call, and the helpers that every provider format writes it with.

use std::borrow::Cow;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Uri, header};
use serde::Serialize;
use serde_json::value::RawValue;

use super::profile::Profile;
use crate::proto::{
    chat::Item,
    error::Error,
    fnv::fnv1a,
    turn::{ModelOptions, Tool},
    usage::estimated_tokens,
};

/// One call of a model, in neutral terms.
#[derive(Clone, Copy)]
pub struct ModelCall<'a> {
    /// The provider's name for the model.
    pub model: &'a str,
    /// The service that is called: the name of its wire format, followed by `@host` if the host is
    /// not the official one. Reasoning of other services is left out of the request.
    pub provider_id: &'a str,
    /// What is known of the service.
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

/// The limits on reading a reply.
#[derive(Clone, Copy, Debug)]
pub struct ReplyBounds {
    /// The most bytes of text and arguments that the caller keeps.
    ///
    /// Escapes and envelopes make the wire format longer. So a reader buffers one event or one body
    /// of up to six times this, plus 64 KiB. It holds calls until they are complete, and reasoning
    /// that follows a call: together up to twice this. It does not limit text, which it passes on.
    pub reply_bytes: usize,
}

/// An estimate of the model tokens that a call would send, from the bytes of its items, its tools
/// and its system prompt.
pub(super) fn estimate(call: &ModelCall<'_>) -> u64 {
    let items = call.items.iter().map(Item::line_bytes).fold(0, usize::saturating_add);
    let tools = call.options.tools.iter().map(tool_bytes).fold(0, usize::saturating_add);
    let system = call.system.map_or(0, str::len);
    estimated_tokens(items.saturating_add(tools).saturating_add(system))
}

fn tool_bytes(tool: &Tool) -> usize {
    let description = tool.description.as_ref().map_or(0, String::len);
    let schema = tool.parameters.as_ref().map_or(0, |schema| schema.get().len());
    tool.name.len().saturating_add(description).saturating_add(schema)
}

/// The id of a tool call in a form that the provider accepts: 1 to `max_bytes` characters of
/// `[A-Za-z0-9_-]`. `max_bytes` must be over 17.
///
/// An id of another form, from a client or another provider, becomes a similar text with a hash of
/// the id. The call and its result get the same id, in every turn.
pub(super) fn plain_id(id: &str, max_bytes: usize) -> Cow<'_, str> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    if (1..=max_bytes).contains(&id.len()) && id.chars().all(is_plain) {
        return Cow::Borrowed(id);
    }
    let similar = id.chars().take(max_bytes.saturating_sub(17)).map(|c| if is_plain(c) { c } else { '_' });
    let hash = fnv1a(id.as_bytes());
    Cow::Owned(format!("{}_{hash:016x}", similar.collect::<String>()))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ids_of_another_form_are_replaced() {
        let longest = "x".repeat(64);
        for id in ["c", "call_Ab-9", &longest] {
            assert_eq!(plain_id(id, 64), id);
        }
        for (id, expected) in [
            ("", "_cbf29ce484222325"),
            ("functions.add:0", "functions_add_0_0281487c23866cd1"),
            ("a b", "a_b_e63f991904833892"),
            ("a\u{e9}b", "a_b_9d454880e402cdfa"),
        ] {
            assert_eq!(plain_id(id, 64), expected);
        }
        let long = "x".repeat(65);
        for max_bytes in [40, 64] {
            let id = plain_id(&long, max_bytes);
            assert_eq!((id.len(), &id), (max_bytes, &plain_id(&long, max_bytes)));
            assert!(id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'));
            assert_ne!(id, plain_id(&format!("{long}x"), max_bytes));
        }
    }
}
