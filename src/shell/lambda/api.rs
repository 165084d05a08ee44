//! The Lambda Runtime API: the next event, its answer whole or as a stream, or that it is none of ours.
//!
//! <https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html>, and for streams
//! <https://docs.aws.amazon.com/lambda/latest/dg/runtimes-custom.html>. By hand instead of by `lambda_runtime`: that one
//! panics where a variable is missing, changes the environment of the running process, takes events of any size, and
//! brings a dozen crates more.

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use http_body_util::BodyExt as _;
use serde_json::json;
use tokio::sync::oneshot;

use super::answer;
use crate::{
    service::Body,
    shell::http::{SetupError, build_client, cause, client_builder},
};

/// A client of the Runtime API.
#[derive(Debug)]
pub(super) struct Api {
    client: reqwest::Client,
    /// Where its resources are, without a trailing slash.
    base: String,
}

/// One event, and what its answer has to name.
#[derive(Debug)]
pub(super) struct Invocation {
    id: String,
    /// Tells attempts at one event apart, where the platform makes several.
    attempt: Option<HeaderValue>,
    /// When the platform ends it, in milliseconds since 1970.
    pub(super) deadline_millis: Option<u64>,
    /// The event, or why there is none.
    pub(super) event: Result<Vec<u8>, String>,
}

impl Api {
    /// A client of the API at `address`, a host with a port; emulators put a scheme before it and a path after it.
    ///
    /// # Errors
    /// [`SetupError`] if the client cannot be set up.
    pub(super) fn new(address: &str) -> Result<Self, SetupError> {
        let client = build_client(client_builder()?)?;
        let address = address.trim_end_matches('/');
        let scheme = if address.starts_with("http://") { "" } else { "http://" };
        Ok(Self { client, base: format!("{scheme}{address}/2018-06-01/runtime") })
    }

    /// Waits for the next event, for as long as it takes; `None` where the runtime does not wait.
    ///
    /// # Errors
    /// Why it gives none.
    pub(super) async fn next(&self) -> Result<Option<Invocation>, String> {
        let answer = self.client.get(format!("{}/invocation/next", self.base)).send().await.map_err(cause)?;
        match answer.status() {
            StatusCode::OK => {}
            StatusCode::NO_CONTENT => return Ok(None),
            status => return Err(format!("status {}", status.as_u16())),
        }
        let headers = answer.headers().clone();
        let id =
            text(&headers, "lambda-runtime-aws-request-id").filter(|id| is_id(id)).ok_or("an event without an id")?;
        let (mut event, mut pieces) = (Vec::new(), answer.bytes_stream());
        let mut fits = true;
        while let Some(piece) = pieces.next().await {
            let piece = piece.map_err(cause)?;
            fits &= piece.len() <= EVENT_BYTES.saturating_sub(event.len());
            if fits {
                event.extend_from_slice(&piece);
            }
        }
        Ok(Some(Invocation {
            id: id.to_owned(),
            attempt: headers.get(INVOCATION_ID).cloned(),
            deadline_millis: text(&headers, "lambda-runtime-deadline-ms").and_then(|millis| millis.parse().ok()),
            event: if fits { Ok(event) } else { Err(format!("an event of over {EVENT_BYTES} bytes")) },
        }))
    }

    /// Answers an event with one document.
    ///
    /// # Errors
    /// Why the answer did not arrive.
    pub(super) async fn respond(&self, to: &Invocation, document: Vec<u8>) -> Result<(), String> {
        sent(self.post(to, "response").header(header::CONTENT_TYPE, "application/json").body(document)).await
    }

    /// Answers an event with a stream: the head, eight zero bytes, the body as it comes. Head and zeros are chunks of their
    /// own: some who read them count on it.
    ///
    /// # Errors
    /// Why the answer did not arrive; the turn has ended then.
    pub(super) async fn stream(&self, to: &Invocation, answer: Response<Body>) -> Result<(), String> {
        let (head, body) = answer.into_parts();
        let begin = [Bytes::from(answer::prelude(&head)), Bytes::from_static(&[0; 8])].map(Ok);
        let (flowing, ended) = oneshot::channel::<()>();
        let pieces = stream::iter(begin).chain(body.into_data_stream()).inspect(move |_| {
            // Goes with the stream.
            let _ = &flowing;
        });
        let request = self
            .post(to, "response")
            .header("lambda-runtime-function-response-mode", "streaming")
            .header(header::CONTENT_TYPE, "application/vnd.awslambda.http-integration-response")
            .body(reqwest::Body::wrap_stream(pieces));
        let outcome = sent(request).await;
        // Some say that they have it as soon as it begins.
        let _ = ended.await;
        outcome
    }

    /// Says that an event cannot be answered, and why.
    ///
    /// # Errors
    /// Why that did not arrive.
    pub(super) async fn fail(&self, to: &Invocation, why: &str) -> Result<(), String> {
        sent(fault(self.post(to, "error"), UNKNOWN, why)).await
    }

    /// Says that this process takes no events, and why.
    ///
    /// # Errors
    /// Why that did not arrive.
    pub(super) async fn fail_start(&self, why: &str) -> Result<(), String> {
        sent(fault(self.client.post(format!("{}/init/error", self.base)), NOT_STARTED, why)).await
    }

    fn post(&self, to: &Invocation, what: &str) -> reqwest::RequestBuilder {
        let request = self.client.post(format!("{}/invocation/{}/{what}", self.base, to.id));
        match &to.attempt {
            Some(attempt) => request.header(INVOCATION_ID, attempt.clone()),
            None => request,
        }
    }
}

/// `request` with what went wrong.
fn fault(request: reqwest::RequestBuilder, kind: &str, why: &str) -> reqwest::RequestBuilder {
    let told = json!({ "errorType": kind, "errorMessage": why, "stackTrace": [] });
    request
        .header("lambda-runtime-function-error-type", kind)
        .header(header::CONTENT_TYPE, "application/json")
        .body(told.to_string())
}

async fn sent(request: reqwest::RequestBuilder) -> Result<(), String> {
    let answer = request.send().await.map_err(cause)?;
    if answer.status().is_success() { Ok(()) } else { Err(format!("status {}", answer.status().as_u16())) }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// Whether a text can stand in a path as it is; ids are UUIDs.
fn is_id(id: &str) -> bool {
    (1..=128).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

const INVOCATION_ID: &str = "lambda-runtime-invocation-id";

/// What is told of events that are none of ours.
const UNKNOWN: &str = "Holdall.UnknownEvent";

/// What is told of a process that does not start.
const NOT_STARTED: &str = "Holdall.Configuration";

/// More than the platform's 6 MB, within which an event is.
const EVENT_BYTES: usize = 16 << 20;
