//! An answer → what the platform makes one of: a document with the body in it, or the head of a stream.
//!
//! <https://docs.aws.amazon.com/lambda/latest/dg/urls-invocation.html#urls-payloads>

use std::collections::BTreeMap;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use http::{HeaderMap, Response, header, response};
use http_body_util::BodyExt as _;
use serde::Serialize;

use crate::service::Body;

/// An answer as one document.
pub(super) async fn buffered(answer: Response<Body>) -> Vec<u8> {
    let (head, body) = answer.into_parts();
    let body = match body.collect().await {
        Ok(body) => body.to_bytes(),
        Err(never) => match never {},
    };
    let text = std::str::from_utf8(&body).ok();
    let encoded = if text.is_some() { String::new() } else { BASE64_STANDARD.encode(&body) };
    write(&Document { head: Head::new(&head), body: text.unwrap_or(&encoded), is_base64_encoded: text.is_none() })
}

/// What a stream begins with.
pub(super) fn prelude(head: &response::Parts) -> Vec<u8> {
    write(&Head::new(head))
}

/// Our own structs of strings always serialize.
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
    /// The values of a name together, as RFC 9110 §5.3 has it.
    headers: BTreeMap<&'a str, String>,
    /// The one header whose values cannot be joined (RFC 9110 §5.3).
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

    fn answer(body: &'static [u8]) -> Response<Body> {
        let mut answer = Response::new(Full::new(bytes::Bytes::from_static(body)).boxed_unsync());
        *answer.status_mut() = StatusCode::ACCEPTED;
        for (name, value) in [("vary", "origin"), ("vary", "accept"), ("set-cookie", "a=1"), ("set-cookie", "b=2, c")] {
            answer.headers_mut().append(name, HeaderValue::from_static(value));
        }
        answer
    }

    async fn document(body: &'static [u8]) -> Value {
        serde_json::from_slice(&buffered(answer(body)).await).unwrap()
    }

    #[tokio::test]
    async fn an_answer_is_a_document_with_its_body() {
        let head = json!({ "statusCode": 202, "headers": { "vary": "origin, accept" }, "cookies": ["a=1", "b=2, c"] });
        let mut expected = head.clone();
        expected["body"] = json!("{\"reply\":\"é\"}\n");
        expected["isBase64Encoded"] = json!(false);
        assert_eq!(document("{\"reply\":\"é\"}\n".as_bytes()).await, expected);
        let (parts, _) = answer(b"").into_parts();
        assert_eq!(serde_json::from_slice::<Value>(&prelude(&parts)).unwrap(), head);
    }

    #[tokio::test]
    async fn what_is_no_text_is_base64() {
        let binary = document(b"\xff\x00").await;
        assert_eq!((&binary["body"], &binary["isBase64Encoded"]), (&json!("/wA="), &json!(true)));
        let empty = document(b"").await;
        assert_eq!((&empty["body"], &empty["isBase64Encoded"]), (&json!(""), &json!(false)));
    }
}
