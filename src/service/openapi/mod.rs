//! The `OpenAPI` 3.1 document of the server: `GET /openapi.json`.
//!
//! People maintain docs/openapi.json, and the program contains it. The tests of this module compare
//! the document with the code in both directions: every request, answer, event, error, path and
//! status. The document is data, so that no parser and no writer carries a description of itself.
//! Data can be checked as strictly as schemas derived from types, and more completely: it also
//! covers the formats that hand-written code parses.

use http::{HeaderMap, HeaderValue, Response, StatusCode, header, request};

use super::{
    body::{Body, full},
    response::json_bytes,
};
use crate::proto::fnv::fnv1a;

#[cfg(test)]
#[cfg(not(target_arch = "wasm32"))] // The tests need more stack than a WebAssembly module has.
mod tests;

/// The document, JSON.
pub const DOCUMENT: &str = include_str!("../../../docs/openapi.json");

/// Answers with the document, or with 304 if the client already has this version.
pub(super) fn answer(head: &request::Parts) -> Response<Body> {
    let tag = format!("\"{HASH:016x}\"");
    let mut response = if is_known(&head.headers, &tag) {
        let mut unchanged = Response::new(full(""));
        *unchanged.status_mut() = StatusCode::NOT_MODIFIED;
        unchanged
    } else {
        json_bytes(DOCUMENT.as_bytes())
    };
    let headers = response.headers_mut();
    // Another version of the server may answer the next request. The client must revalidate its
    // copy.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        headers.insert(header::ETAG, tag);
    }
    response
}

/// True if the client has the version with this tag (RFC 9110 §13.1.2).
fn is_known(headers: &HeaderMap, tag: &str) -> bool {
    let lists = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|list| list.to_str().ok());
    let mut tags = lists.flat_map(|list| list.split(',')).map(str::trim);
    tags.any(|known| known == "*" || known.strip_prefix("W/").unwrap_or(known) == tag)
}

/// The hash of the document; it differs between versions.
const HASH: u64 = fnv1a(DOCUMENT.as_bytes());
