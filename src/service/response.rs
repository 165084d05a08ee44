//! Parts that the responses of all paths share: JSON bodies, error responses, common headers.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, header};
use http_body::Body as _;
use serde::Serialize;

use super::{
    body::{Body, full},
    host::{Clock, EntropySource},
    pages::api_for_errors,
    ratelimit_headers,
};
use crate::{
    problem::Problem,
    proto::{error::Error, token::Id},
};

/// A response with `body` as JSON.
pub(super) fn json_response(body: &impl Serialize) -> Response<Body> {
    // Our own structs of strings and numbers always serialize.
    json_bytes(serde_json::to_vec(body).unwrap_or_default())
}

/// A response with a body that is JSON text.
pub(super) fn json_bytes(body: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(full(body));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// The response for `error` to a request at `path` with these headers, in the format of the API at
/// that path.
pub fn error_response(error: Error, path: &str, headers: &HeaderMap, request_id: &str) -> Response<Body> {
    let problem = Problem::new(error, request_id);
    let problem = match api_for_errors(path, headers) {
        Some(api) => problem.shaped(|error| api.error_response(error)),
        None => problem,
    };
    let mut response = Response::new(full(""));
    *response.status_mut() = problem.status();
    problem.write_headers(response.headers_mut());
    ratelimit_headers::write(problem.allowances(), response.headers_mut());
    response.map(|_| full(problem.into_body()))
}

/// Writes the headers that every response has: the request id, and `no-store` unless the response
/// sets its own `Cache-Control`.
pub fn write_common_headers(request_id: &str, headers: &mut HeaderMap) {
    if let Ok(id) = HeaderValue::from_str(request_id) {
        headers.insert(X_REQUEST_ID, id.clone());
        headers.insert(REQUEST_ID, id);
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
}

/// A new request id: `req_` and a UUIDv7 (RFC 9562).
pub fn request_id(clock: &impl Clock, entropy: &impl EntropySource) -> String {
    let mut random = [0; 16];
    // A request with a less random id still gets a response. A turn without randomness does not
    // start.
    let _ = entropy.fill(&mut random);
    format!("req_{}", Id::new(clock.now(), random))
}

/// The response to HEAD (RFC 9110 §9.3.2). Over HTTP/1, hyper drops the content by itself. Over
/// HTTP/2 it would send it, and clients would see a broken stream.
pub(super) fn without_content(response: Response<Body>) -> Response<Body> {
    let (mut head, content) = response.into_parts();
    if let Some(length_bytes) = content.size_hint().exact() {
        head.headers.insert(header::CONTENT_LENGTH, length_bytes.into());
    }
    Response::from_parts(head, full(""))
}

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const REQUEST_ID: HeaderName = HeaderName::from_static("request-id");
