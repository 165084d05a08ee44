//! Bytes between JavaScript's streams and ours.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use http::{HeaderMap, HeaderName, HeaderValue};
use wasm_bindgen::{JsCast as _, JsValue};
use wasm_streams::readable::{IntoStream, ReadableStream};
use worker::{js_sys::Uint8Array, send::SendWrapper, web_sys};

/// The pieces of a body that comes in. Dropping them cancels it.
pub(crate) struct Pieces(SendWrapper<IntoStream<'static>>);

impl Pieces {
    /// Takes over a stream.
    pub(crate) fn new(stream: web_sys::ReadableStream) -> Self {
        Self(SendWrapper::new(ReadableStream::from_raw(stream.unchecked_into()).into_stream()))
    }
}

impl Stream for Pieces {
    type Item = Result<Bytes, String>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0
            .poll_next_unpin(context)
            .map(|piece| Some(piece?.map_err(|error| words(&error)).and_then(|piece| bytes(&piece))))
    }
}

fn bytes(piece: &JsValue) -> Result<Bytes, String> {
    let piece = piece.dyn_ref::<Uint8Array>().ok_or_else(|| "a piece that is no bytes".to_owned())?;
    Ok(piece.to_vec().into())
}

/// Bytes as JavaScript has them.
pub(crate) fn array(bytes: &[u8]) -> Uint8Array {
    Uint8Array::from(bytes)
}

/// Headers that came in. What is no header by HTTP's rules is left out.
pub(crate) fn headers(headers: &web_sys::Headers) -> HeaderMap {
    let entries = worker::Headers(headers.clone());
    let parse = |(name, value): (String, String)| {
        Some((HeaderName::from_bytes(name.as_bytes()).ok()?, HeaderValue::from_bytes(value.as_bytes()).ok()?))
    };
    let mut map = HeaderMap::new();
    entries.entries().filter_map(parse).for_each(|(name, value)| {
        map.append(name, value);
    });
    map
}

/// Headers that go out.
///
/// # Errors
/// What the platform says of the first that it does not take; its value is not shown.
pub(crate) fn to_js(headers: &HeaderMap) -> Result<JsValue, String> {
    let own = web_sys::Headers::new().map_err(|error| words(&error))?;
    for (name, value) in headers {
        let value = value.to_str().map_err(|_| format!("the header {name} is not ASCII"))?;
        own.append(name.as_str(), value).map_err(|_| format!("the platform does not take the header {name}"))?;
    }
    Ok(own.into())
}

/// What a JavaScript error says.
pub(crate) fn words(error: &JsValue) -> String {
    let message = error.dyn_ref::<worker::js_sys::Error>().map(|error| String::from(error.message()));
    message.or_else(|| error.as_string()).unwrap_or_else(|| "an error without words".to_owned())
}
