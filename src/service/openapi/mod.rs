//! The API's description, an `OpenAPI` 3.1 document: `GET /openapi.json`.
//!
//! It is kept as a file, `docs/openapi.json`, so that it can be read and compared without a server. A test makes it anew
//! of the types that are read and written, of the doors and of the pages, and fails where the file says otherwise.

use http::{HeaderMap, HeaderValue, Response, StatusCode, header, request};

use super::{
    body::{Body, full},
    response::json_bytes,
};

#[cfg(test)]
mod document;
#[cfg(test)]
mod examples;
#[cfg(test)]
mod schemas;
#[cfg(test)]
mod tests;

/// The document, JSON.
pub const DOCUMENT: &str = include_str!("../../../docs/openapi.json");

/// Answers with the document, or says that it is still what the client has.
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
    // Another version of the server may answer next: a copy is good as long as the server says so.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        headers.insert(header::ETAG, tag);
    }
    response
}

/// Whether a client has what the tag names (RFC 9110 §13.1.2).
fn is_known(headers: &HeaderMap, tag: &str) -> bool {
    let lists = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|list| list.to_str().ok());
    let mut tags = lists.flat_map(|list| list.split(',')).map(str::trim);
    tags.any(|known| known == "*" || known.strip_prefix("W/").unwrap_or(known) == tag)
}

/// Tells one version of the document from another.
const HASH: u64 = fnv1a(DOCUMENT.as_bytes());

/// FNV-1a (draft-eastlake-fnv), which can be reckoned while compiling.
const fn fnv1a(mut bytes: &[u8]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    while let [first, rest @ ..] = bytes {
        hash = (hash ^ *first as u64).wrapping_mul(0x0100_0000_01b3);
        bytes = rest;
    }
    hash
}
