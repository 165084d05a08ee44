//! An event of payload format 2.0 → the request that it stands for.
//!
//! Function URLs and HTTP APIs send the same document:
//! <https://docs.aws.amazon.com/lambda/latest/dg/urls-invocation.html>,
//! <https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html>. What else it
//! says (authorizers, path parameters) is passed over: who calls is decided by the credentials that the service knows.

use std::{collections::BTreeMap, net::IpAddr};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, Uri, header};
use http_body_util::Full;
use serde::Deserialize;

use crate::principal::Peer;

/// What sends events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// A function's own URL, which streams its answers.
    FunctionUrl,
    /// An API Gateway HTTP API, which wants them whole.
    HttpApi,
}

/// An event as a request.
#[derive(Debug)]
pub(super) struct Event {
    pub(super) origin: Origin,
    /// The request, or as much of it as can be read.
    pub(super) request: Request<Full<Bytes>>,
    /// What makes it none.
    pub(super) fault: Option<String>,
}

/// Reads an event.
///
/// # Errors
/// What it is instead of one of ours, without a word of what is in it.
pub(super) fn read(event: &[u8]) -> Result<Event, String> {
    let text = std::str::from_utf8(event).map_err(|_| "an event that is not UTF-8".to_owned())?;
    let Kind { version, request_context } =
        serde_json::from_str(text).map_err(|_| format!("an event that is no JSON object; {EXPECTED}"))?;
    let domain = match (version.as_deref(), request_context) {
        (Some("2.0"), Some(KindContext { domain_name, http: Some(_) })) => domain_name,
        (Some(version @ "1.0"), _) => return Err(format!("an event of payload format {version}; {EXPECTED}")),
        _ => return Err(format!("an event of another kind; {EXPECTED}")),
    };
    let domain = domain.unwrap_or_default();
    // `<url-id>.lambda-url.<region>.on.aws`; an HTTP API has `<api-id>.execute-api.…`, or a name of its owner.
    let is_url = domain.split('.').nth(1) == Some("lambda-url");
    let origin = if is_url { Origin::FunctionUrl } else { Origin::HttpApi };
    let mut request = Request::new(Full::default());
    let raw = serde_json::from_str(text).map_err(|error| unlike(&error));
    let fault = raw.and_then(|raw| fill(&mut request, raw)).err();
    Ok(Event { origin, request, fault })
}

/// What tells events apart.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Kind {
    #[serde(default)]
    version: Option<String>,
    #[serde(default)]
    request_context: Option<KindContext>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct KindContext {
    #[serde(default)]
    domain_name: Option<String>,
    #[serde(default)]
    http: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw {
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

/// Where an event is not as documented; its own words stay out of it.
fn unlike(error: &serde_json::Error) -> String {
    format!("event: a member is missing or of another type, before byte {} of line {}", error.column(), error.line())
}

/// Makes `request` what an event says. A refusal is in the shape that path and headers ask for, so they come first.
fn fill(request: &mut Request<Full<Bytes>>, raw: Raw) -> Result<(), String> {
    let Raw { raw_path, raw_query_string, cookies, headers, body, is_base64_encoded, request_context } = raw;
    let RawContext { stage, http } = request_context;
    *request.uri_mut() = uri(within_stage(&raw_path, stage.as_deref()), raw_query_string.as_deref())?;
    let mut fault = Ok(());
    for (name, value) in headers.unwrap_or_default() {
        match field(&name, &value) {
            Ok((name, value)) => {
                request.headers_mut().append(name, value);
            }
            // Nothing is left out in silence: it may be what the request depends on.
            Err(other) => fault = fault.and(Err(other)),
        }
    }
    fault?;
    *request.method_mut() =
        Method::from_bytes(http.method.as_bytes()).map_err(|_| "a method that is none".to_owned())?;
    if let Some(cookies) = cookies.filter(|cookies| !cookies.is_empty()) {
        let value = HeaderValue::from_str(&cookies.join("; ")).map_err(|_| "a cookie that is none".to_owned())?;
        request.headers_mut().insert(header::COOKIE, value);
    }
    if let Some(address) = http.source_ip.and_then(|address| address.parse::<IpAddr>().ok()) {
        request.extensions_mut().insert(Peer(address));
    }
    *request.body_mut() = Full::new(match body {
        Some(body) if is_base64_encoded => {
            Bytes::from(BASE64_STANDARD.decode(body).map_err(|_| "event: a body that is no base64".to_owned())?)
        }
        body => Bytes::from(body.unwrap_or_default()),
    });
    Ok(())
}

fn field(name: &str, value: &str) -> Result<(HeaderName, HeaderValue), String> {
    let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| "a header whose name is none".to_owned())?;
    let value = HeaderValue::from_str(value).map_err(|_| format!("{name}: a value that no header has"))?;
    Ok((name, value))
}

/// The path below an HTTP API's stage, whose name is the path's first segment; the stage `$default` has none.
fn within_stage<'a>(path: &'a str, stage: Option<&str>) -> &'a str {
    let below = stage.and_then(|stage| path.strip_prefix('/')?.strip_prefix(stage));
    match below {
        Some("") => "/",
        Some(below) if below.starts_with('/') => below,
        _ => path,
    }
}

/// Paths come decoded in part: what a URI cannot hold is written as it would have been sent.
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
    uri.parse().map_err(|_| "a path that is none".to_owned())
}

/// Writes letters, digits and `plain` as they are, other bytes percent-encoded (RFC 3986 §2.1).
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

/// What would have been one of ours.
const EXPECTED: &str = "this function takes events of function URLs and of HTTP APIs with payload format 2.0";

#[cfg(test)]
mod tests;
