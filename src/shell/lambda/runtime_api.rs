//! A client of the Lambda Runtime API: it gets events, and sends responses and errors.
//!
//! <https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html>, and for streams
//! <https://docs.aws.amazon.com/lambda/latest/dg/runtimes-custom.html>.
//!
//! The crate `lambda_runtime` is not used: it panics if a variable is missing, changes the
//! environment of the running process, accepts events of any size, and adds a dozen crates.

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use http_body_util::BodyExt as _;
use serde_json::json;
use tokio::sync::oneshot;

use super::response;
use crate::{
    config::NetworkConfig,
    service::Body,
    shell::{
        http::{build_client, cause, client_builder},
        tls::SetupError,
    },
};

/// A client of the Runtime API.
#[derive(Debug)]
pub(super) struct RuntimeApi {
    client: reqwest::Client,
    /// The base URL of its resources, without a trailing slash.
    base: String,
}

/// One event, and the ids that its response needs.
#[derive(Debug)]
pub(super) struct Invocation {
    id: String,
    /// Identifies the attempt, if the platform sends an event several times.
    attempt: Option<HeaderValue>,
    /// The time at which the platform stops the function, in milliseconds since 1970.
    pub(super) deadline_millis: Option<u64>,
    /// The event, or the reason why it cannot be used.
    pub(super) event: Result<Vec<u8>, String>,
}

impl RuntimeApi {
    /// A client of the API at `address`: a host and a port. Emulators add a scheme and a path.
    ///
    /// # Errors
    /// [`SetupError`] if the client cannot be set up.
    pub(super) fn new(address: &str) -> Result<Self, SetupError> {
        let client = build_client(client_builder(&NetworkConfig::default())?)?;
        let address = address.trim_end_matches('/');
        let scheme = if address.starts_with("http://") { "" } else { "http://" };
        Ok(Self { client, base: format!("{scheme}{address}/2018-06-01/runtime") })
    }

    /// Waits for the next event, without a timeout. `None` if the API responds without an event.
    ///
    /// # Errors
    /// The reason why the API sends no event.
    pub(super) async fn next(&self) -> Result<Option<Invocation>, String> {
        let response = self.client.get(format!("{}/invocation/next", self.base)).send().await.map_err(cause)?;
        match response.status() {
            StatusCode::OK => {}
            StatusCode::NO_CONTENT => return Ok(None),
            status => return Err(format!("status {}", status.as_u16())),
        }
        let headers = response.headers().clone();
        let id = text(&headers, "lambda-runtime-aws-request-id").filter(|id| is_id(id)).ok_or("the event has no id")?;
        let (mut event, mut pieces) = (Vec::new(), response.bytes_stream());
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
            event: if fits { Ok(event) } else { Err(format!("the event is over the limit of {EVENT_BYTES} bytes")) },
        }))
    }

    /// Responds to an event with one document.
    ///
    /// # Errors
    /// The reason why the response did not arrive.
    pub(super) async fn respond(&self, to: &Invocation, document: Vec<u8>) -> Result<(), String> {
        send(self.post(to, "response").header(header::CONTENT_TYPE, "application/json").body(document)).await
    }

    /// Responds to an event with a stream: the head, eight zero bytes, then the body as it arrives.
    /// The head and the zeros are separate chunks, because some readers expect that.
    ///
    /// # Errors
    /// The reason why the response did not arrive. The turn has ended then.
    pub(super) async fn stream(&self, to: &Invocation, response: Response<Body>) -> Result<(), String> {
        let (head, body) = response.into_parts();
        let begin = [Bytes::from(response::prelude(&head)), Bytes::from_static(&[0; 8])].map(Ok);
        let (streaming, ended) = oneshot::channel::<()>();
        let pieces = stream::iter(begin).chain(body.into_data_stream()).inspect(move |_| {
            // The sender is dropped with the stream.
            let _ = &streaming;
        });
        let request = self
            .post(to, "response")
            .header("lambda-runtime-function-response-mode", "streaming")
            .header(header::CONTENT_TYPE, "application/vnd.awslambda.http-integration-response")
            .body(reqwest::Body::wrap_stream(pieces));
        let outcome = send(request).await;
        // Some servers respond when the stream starts.
        let _ = ended.await;
        outcome
    }

    /// Reports that an event cannot be handled, and why.
    ///
    /// # Errors
    /// The reason why the report did not arrive.
    pub(super) async fn report_failure(&self, to: &Invocation, reason: &str) -> Result<(), String> {
        send(with_error(self.post(to, "error"), UNKNOWN_EVENT, reason)).await
    }

    /// Reports that this process cannot start, and why.
    ///
    /// # Errors
    /// The reason why the report did not arrive.
    pub(super) async fn report_start_failure(&self, reason: &str) -> Result<(), String> {
        send(with_error(self.client.post(format!("{}/init/error", self.base)), NOT_STARTED, reason)).await
    }

    fn post(&self, to: &Invocation, resource: &str) -> reqwest::RequestBuilder {
        let request = self.client.post(format!("{}/invocation/{}/{resource}", self.base, to.id));
        match &to.attempt {
            Some(attempt) => request.header(INVOCATION_ID, attempt.clone()),
            None => request,
        }
    }
}

/// `request` with an error as its body.
fn with_error(request: reqwest::RequestBuilder, kind: &str, reason: &str) -> reqwest::RequestBuilder {
    let body = json!({ "errorType": kind, "errorMessage": reason, "stackTrace": [] });
    request
        .header("lambda-runtime-function-error-type", kind)
        .header(header::CONTENT_TYPE, "application/json")
        .body(body.to_string())
}

async fn send(request: reqwest::RequestBuilder) -> Result<(), String> {
    let status = request.send().await.map_err(cause)?.status();
    if status.is_success() { Ok(()) } else { Err(format!("status {}", status.as_u16())) }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// Returns true if `id` can be a segment of a path. Ids are UUIDs.
fn is_id(id: &str) -> bool {
    (1..=128).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

const INVOCATION_ID: &str = "lambda-runtime-invocation-id";

/// The error type for events that cannot be handled.
const UNKNOWN_EVENT: &str = "Holdall.UnknownEvent";

/// The error type for a process that cannot start.
const NOT_STARTED: &str = "Holdall.Configuration";

/// The largest event. The platform's own limit is 6 MB.
const EVENT_BYTES: usize = 16 << 20;
