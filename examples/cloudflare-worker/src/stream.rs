//! Converts bytes and headers between JavaScript and Rust.

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

/// The chunks of an incoming body. Dropping them cancels the body.
pub(crate) struct Pieces(SendWrapper<IntoStream<'static>>);

impl Pieces {
    /// Reads from a JavaScript stream.
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
    let piece = piece.dyn_ref::<Uint8Array>().ok_or_else(|| "A chunk of the body is not bytes.".to_owned())?;
    Ok(piece.to_vec().into())
}

/// Copies bytes into a JavaScript array.
pub(crate) fn array(bytes: &[u8]) -> Uint8Array {
    Uint8Array::from(bytes)
}

/// Converts incoming headers. Entries that are not valid in HTTP are left out.
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

/// Converts outgoing headers.
///
/// # Errors
/// A message about the first header that the platform rejects. It does not contain the header's
/// value.
pub(crate) fn to_js(headers: &HeaderMap) -> Result<JsValue, String> {
    let own = web_sys::Headers::new().map_err(|error| words(&error))?;
    for (name, value) in headers {
        let value = value.to_str().map_err(|_| format!("The header `{name}` is not ASCII."))?;
        own.append(name.as_str(), value).map_err(|_| format!("The platform rejects the header `{name}`."))?;
    }
    Ok(own.into())
}

/// The message of a JavaScript error.
pub(crate) fn words(error: &JsValue) -> String {
    let message = error.dyn_ref::<worker::js_sys::Error>().map(|error| String::from(error.message()));
    message.or_else(|| error.as_string()).unwrap_or_else(|| "an error without a message".to_owned())
}
