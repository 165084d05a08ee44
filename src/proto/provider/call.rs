//! One model call, and the helpers with which every provider format writes it.

use std::borrow::Cow;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Uri, header};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::proto::{
    chat::Item,
    error::Error,
    fnv::fnv1a,
    turn::{ModelOptions, Tool},
};

/// All that a model is to be asked.
#[derive(Clone, Copy)]
pub struct ModelCall<'a> {
    /// The provider's name for the model.
    pub model: &'a str,
    /// Who serves it: the dialect's name at its own address, that and `@host` elsewhere. Reasoning by others stays here.
    pub provider_id: &'a str,
    /// Whether to ask the provider to cache the prompt, where it wants to be asked.
    pub prompt_cache: bool,
    /// The system prompt for this turn.
    pub system: Option<&'a str>,
    /// The history with the new input at its end.
    pub items: &'a [Item],
    /// What the caller asked of the model.
    pub options: &'a ModelOptions,
    /// Whether the reply is to be streamed.
    pub stream: bool,
}

/// How many model tokens a call would send.
#[derive(Debug)]
pub enum TokenCount {
    /// The provider is to be asked with this; its URI is a path to append to the upstream's base URL.
    Request(Box<Request<Bytes>>),
    /// So many, or about so many.
    Known(u64),
}

/// How much of a reply is read.
#[derive(Clone, Copy, Debug)]
pub struct ReplyBounds {
    /// The most text and arguments that will be kept. A single event or a whole body may be a few times longer, since
    /// escapes and envelopes add to it: a reader buffers up to six times this and 64 KiB. It holds calls back until they
    /// are whole, and reasoning that comes after one; both together up to twice this. Text it hands on, for the caller
    /// to bound.
    pub reply_bytes: usize,
}

/// About how many model tokens a call would send: four bytes of text each, as is common for English.
pub(super) fn estimate(call: &ModelCall<'_>) -> u64 {
    let items = call.items.iter().map(Item::line_bytes).fold(0, usize::saturating_add);
    let tool = |tool: &Tool| {
        let schema = tool.parameters.as_ref().map_or(0, |schema| schema.get().len());
        tool.name.len().saturating_add(tool.description.as_ref().map_or(0, String::len)).saturating_add(schema)
    };
    let tools = call.options.tools.iter().map(tool).fold(0, usize::saturating_add);
    let bytes = items.saturating_add(tools).saturating_add(call.system.map_or(0, str::len));
    u64::try_from(bytes.div_ceil(4)).unwrap_or(u64::MAX)
}

/// The id of a call as a provider takes it: 1 to `most_bytes` of `[A-Za-z0-9_-]`, where `most_bytes` is above 17.
///
/// Others than that, which another provider or a client may have given, become a likeness and a hash (FNV-1a, 64 bits): the
/// same for a call and its result, in every turn.
pub(super) fn plain_id(id: &str, most_bytes: usize) -> Cow<'_, str> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    if (1..=most_bytes).contains(&id.len()) && id.chars().all(is_plain) {
        return Cow::Borrowed(id);
    }
    let hash = fnv1a(id.as_bytes());
    let likeness = id.chars().take(most_bytes.saturating_sub(17)).map(|c| if is_plain(c) { c } else { '_' });
    Cow::Owned(format!("{}_{hash:016x}", likeness.collect::<String>()))
}

/// The text as raw JSON, if it is an object.
pub(super) fn object(text: &str) -> Option<&RawValue> {
    serde_json::from_str::<&RawValue>(text).ok().filter(|raw| raw.get().starts_with('{'))
}

/// A request that carries `body` as JSON and asks for the form of reply that `stream` says.
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

pub(super) const EVENT_STREAM: &str = "text/event-stream";
pub(super) const JSON: &str = "application/json";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_that_fit_stay_and_others_become_ones_that_do() {
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
        for most in [40, 64] {
            let id = plain_id(&long, most);
            assert_eq!((id.len(), &id), (most, &plain_id(&long, most)));
            assert!(id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'));
            assert_ne!(id, plain_id(&format!("{long}x"), most));
        }
    }
}
