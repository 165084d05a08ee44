//! Events in payload format 2.0, converted to requests.
//!
//! Function URLs and HTTP APIs send the same document:
//! <https://docs.aws.amazon.com/lambda/latest/dg/urls-invocation.html>,
//! <https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html>.
//! Other members (authorizers, path parameters) are ignored: the service identifies callers only by
//! their credentials.

use std::{collections::BTreeMap, net::IpAddr};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, Uri, header};
use http_body_util::Full;
use serde::Deserialize;

use crate::principal::Peer;

/// The sender of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EventSource {
    /// A function URL, which can stream responses.
    FunctionUrl,
    /// An API Gateway HTTP API, which needs buffered responses.
    HttpApi,
}

/// An event as a request.
#[derive(Debug)]
pub(super) struct Event {
    pub(super) source: EventSource,
    /// The request. It is incomplete if there is a fault.
    pub(super) request: Request<Full<Bytes>>,
    /// The reason why the event is not a valid request, as a sentence for the client.
    pub(super) fault: Option<String>,
}

/// Reads an event.
///
/// # Errors
/// The reason why the event is not supported. It does not quote the event.
pub(super) fn read(event: &[u8]) -> Result<Event, String> {
    let text = std::str::from_utf8(event).map_err(|_| "the event is not UTF-8".to_owned())?;
    let EventKind { version, request_context } =
        serde_json::from_str(text).map_err(|_| format!("the event is not a JSON object; {EXPECTED}"))?;
    let domain = match (version.as_deref(), request_context) {
        (Some("2.0"), Some(EventKindContext { domain_name, http: Some(_) })) => domain_name,
        (Some(version @ "1.0"), _) => return Err(format!("the event has payload format {version}; {EXPECTED}")),
        _ => return Err(format!("the event is of another kind; {EXPECTED}")),
    };
    let domain = domain.unwrap_or_default();
    // `<url-id>.lambda-url.<region>.on.aws`; an HTTP API has `<api-id>.execute-api.…`, or a custom
    // domain.
    let is_url = domain.split('.').nth(1) == Some("lambda-url");
    let source = if is_url { EventSource::FunctionUrl } else { EventSource::HttpApi };
    let mut request = Request::new(Full::default());
    let raw = serde_json::from_str(text).map_err(|error| wrong_member(&error));
    let fault = raw.and_then(|raw| fill(&mut request, raw)).err();
    Ok(Event { source, request, fault })
}

/// The members that identify the kind of an event.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct EventKind {
    #[serde(default)]
    version: Option<String>,
    #[serde(default)]
    request_context: Option<EventKindContext>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct EventKindContext {
    #[serde(default)]
    domain_name: Option<String>,
    #[serde(default)]
    http: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawEvent {
    raw_path: String,
    #[serde(default)]
    raw_query_string: Option<String>,
    #[serde(default)]
    cookies: Option<Vec<String>>,
    #[serde(default)]
    headers: Option<BTreeMap<String, String>>,
    #[serde(default)]
    body: Option<String>,
    #[serde(default)]
    is_base64_encoded: bool,
    request_context: RawContext,
}

#[derive(Deserialize)]
struct RawContext {
    #[serde(default)]
    stage: Option<String>,
    http: RawHttp,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawHttp {
    method: String,
    #[serde(default)]
    source_ip: Option<String>,
}

/// The fault of an event that is not as documented. It does not quote the event.
fn wrong_member(error: &serde_json::Error) -> String {
    let (column, line) = (error.column(), error.line());
    format!("The event lacks a member or has one of the wrong type, before byte {column} of line {line}.")
}

/// Fills `request` from an event. The path and the headers come first, because the format of an
/// error response depends on them.
fn fill(request: &mut Request<Full<Bytes>>, raw: RawEvent) -> Result<(), String> {
    let RawEvent { raw_path, raw_query_string, cookies, headers, body, is_base64_encoded, request_context } = raw;
    let RawContext { stage, http } = request_context;
    *request.uri_mut() = uri(within_stage(&raw_path, stage.as_deref()), raw_query_string.as_deref())?;
    let mut fault = Ok(());
    for (name, value) in headers.unwrap_or_default() {
        match field(&name, &value) {
            Ok((name, value)) => {
                request.headers_mut().append(name, value);
            }
            // A header is never dropped silently, because the request may depend on it.
            Err(other) => fault = fault.and(Err(other)),
        }
    }
    fault?;
    *request.method_mut() =
        Method::from_bytes(http.method.as_bytes()).map_err(|_| "The method is invalid.".to_owned())?;
    if let Some(cookies) = cookies.filter(|cookies| !cookies.is_empty()) {
        let value = HeaderValue::from_str(&cookies.join("; ")).map_err(|_| "A cookie is invalid.".to_owned())?;
        request.headers_mut().insert(header::COOKIE, value);
    }
    if let Some(address) = http.source_ip.and_then(|address| address.parse::<IpAddr>().ok()) {
        request.extensions_mut().insert(Peer(address));
    }
    *request.body_mut() = Full::new(match body {
        Some(body) if is_base64_encoded => {
            Bytes::from(BASE64_STANDARD.decode(body).map_err(|_| "The body of the event is not base64.".to_owned())?)
        }
        body => Bytes::from(body.unwrap_or_default()),
    });
    Ok(())
}

fn field(name: &str, value: &str) -> Result<(HeaderName, HeaderValue), String> {
    let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| "The name of a header is invalid.".to_owned())?;
    let value = HeaderValue::from_str(value).map_err(|_| format!("The value of the header `{name}` is invalid."))?;
    Ok((name, value))
}

/// The path without the stage of an HTTP API. The name of the stage is the first segment, except
/// for the stage `$default`.
fn within_stage<'a>(path: &'a str, stage: Option<&str>) -> &'a str {
    let below = stage.and_then(|stage| path.strip_prefix('/')?.strip_prefix(stage));
    match below {
        Some("") => "/",
        Some(below) if below.starts_with('/') => below,
        _ => path,
    }
}

/// The URI of a request. The platform decodes a part of the path, so characters that are not valid
/// in a URI are encoded again.
fn uri(path: &str, query: Option<&str>) -> Result<Uri, String> {
    let mut uri = String::with_capacity(path.len());
    if !path.starts_with('/') {
        uri.push('/');
    }
    write_encoded(path, b"/%:@!$&'()*+,;=-._~", &mut uri);
    if let Some(query) = query.filter(|query| !query.is_empty()) {
        uri.push('?');
        write_encoded(query, b"/?%:@!$&'()*+,;=-._~[]", &mut uri);
    }
    uri.parse().map_err(|_| "The path is invalid.".to_owned())
}

/// Writes letters, digits and `plain` unchanged, and other bytes percent-encoded (RFC 3986 §2.1).
fn write_encoded(text: &str, plain: &[u8], out: &mut String) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || plain.contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.extend([byte >> 4, byte & 15].map(|digit| char::from_digit(digit.into(), 16).unwrap_or_default()));
        }
    }
}

/// The supported events.
const EXPECTED: &str = "this function accepts events of function URLs and HTTP APIs in payload format 2.0";

#[cfg(test)]
mod tests;
