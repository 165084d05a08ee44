//! Responses in the form that the platform expects: a document with the body, or the head of a
//! stream.
//!
//! <https://docs.aws.amazon.com/lambda/latest/dg/urls-invocation.html#urls-payloads>

use std::collections::BTreeMap;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use http::{HeaderMap, Response, header, response};
use http_body_util::BodyExt as _;
use serde::Serialize;

use crate::service::Body;

/// A response as one document.
pub(super) async fn document(response: Response<Body>) -> Vec<u8> {
    let (head, body) = response.into_parts();
    let body = match body.collect().await {
        Ok(body) => body.to_bytes(),
        Err(never) => match never {},
    };
    let text = std::str::from_utf8(&body).ok();
    let encoded = if text.is_some() { String::new() } else { BASE64_STANDARD.encode(&body) };
    write(&Document { head: Head::new(&head), body: text.unwrap_or(&encoded), is_base64_encoded: text.is_none() })
}

/// The head of a stream.
pub(super) fn prelude(head: &response::Parts) -> Vec<u8> {
    write(&Head::new(head))
}

/// Serialization cannot fail: the structs contain only strings and numbers.
fn write(document: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(document).unwrap_or_default()
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document<'a> {
    #[serde(flatten)]
    head: Head<'a>,
    body: &'a str,
    is_base64_encoded: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Head<'a> {
    status_code: u16,
    /// The values of each name, joined as in RFC 9110 §5.3.
    headers: BTreeMap<&'a str, String>,
    /// `Set-Cookie`, the only header whose values cannot be joined (RFC 9110 §5.3).
    cookies: Vec<String>,
}

impl<'a> Head<'a> {
    fn new(head: &'a response::Parts) -> Self {
        let names = head.headers.keys().filter(|name| *name != header::SET_COOKIE);
        Self {
            status_code: head.status.as_u16(),
            headers: names.map(|name| (name.as_str(), values(&head.headers, name).join(", "))).collect(),
            cookies: values(&head.headers, &header::SET_COOKIE),
        }
    }
}

fn values(headers: &HeaderMap, name: &header::HeaderName) -> Vec<String> {
    headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()).collect()
}

#[cfg(test)]
mod tests {
    use http::{HeaderValue, StatusCode};
    use http_body_util::Full;
    use serde_json::{Value, json};

    use super::*;

    fn response(body: &'static [u8]) -> Response<Body> {
        let mut response = Response::new(Full::new(bytes::Bytes::from_static(body)).boxed_unsync());
        *response.status_mut() = StatusCode::ACCEPTED;
        for (name, value) in [("vary", "origin"), ("vary", "accept"), ("set-cookie", "a=1"), ("set-cookie", "b=2, c")] {
            response.headers_mut().append(name, HeaderValue::from_static(value));
        }
        response
    }

    async fn parsed(body: &'static [u8]) -> Value {
        serde_json::from_slice(&document(response(body)).await).unwrap()
    }

    #[tokio::test]
    async fn a_response_is_a_document_with_its_body() {
        let head = json!({ "statusCode": 202, "headers": { "vary": "origin, accept" }, "cookies": ["a=1", "b=2, c"] });
        let mut expected = head.clone();
        expected["body"] = json!("{\"reply\":\"é\"}\n");
        expected["isBase64Encoded"] = json!(false);
        assert_eq!(parsed("{\"reply\":\"é\"}\n".as_bytes()).await, expected);
        let (parts, _) = response(b"").into_parts();
        assert_eq!(serde_json::from_slice::<Value>(&prelude(&parts)).unwrap(), head);
    }

    #[tokio::test]
    async fn a_binary_body_is_base64() {
        let binary = parsed(b"\xff\x00").await;
        assert_eq!((&binary["body"], &binary["isBase64Encoded"]), (&json!("/wA="), &json!(true)));
        let empty = parsed(b"").await;
        assert_eq!((&empty["body"], &empty["isBase64Encoded"]), (&json!(""), &json!(false)));
    }
}
