//! The way of a request through the service: record, route, response.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::FutureExt as _;
use http::{HeaderName, Method, Request, Response, header, request};
use http_body_util::BodyExt as _;

use super::{
    body::{self, Body},
    host::{Clock as _, Host},
    record::{Record, RecordedBody, Recording},
    response::{error_response, request_id, without_content, write_common_headers},
    state::Service,
};
use crate::proto::error::Error;

impl<H: Host> Service<H> {
    /// Responds to one request. Dropping the future, or the response's body, ends the turn and
    /// cancels the upstream call.
    pub async fn handle<B>(self: Arc<Self>, request: Request<B>) -> Response<Body>
    where
        B: http_body::Body<Data = Bytes, Error: std::fmt::Display> + Send + 'static,
    {
        let (head, body) = request.into_parts();
        let mut body = Box::pin(body);
        let arrival = Arc::clone(&self).arrive(&head);
        let outcome = self.route(&head, body.as_mut(), &arrival.request_id, arrival.record.clone()).await;
        if let Err(error) = &outcome {
            // A client that is still sending may not read a response before it has finished. One
            // that waits for permission to send (RFC 9110 §10.1.1) sends nothing, and one that was
            // too slow has had its time.
            if !head.headers.contains_key(header::EXPECT) && !matches!(error, Error::RequestTimeout { .. }) {
                futures_util::select_biased! {
                    () = body::discard(body).fuse() => {}
                    () = self.host.clock().sleep(DISCARD_TIMEOUT).fuse() => {}
                }
            }
        }
        self.respond(&head, arrival, outcome)
    }

    /// Responds with `error` to bytes that are not a valid request, and logs it like
    /// [`Self::handle`]. `head` contains the part that could be read.
    pub fn refuse(self: Arc<Self>, head: &request::Parts, error: Error) -> Response<Body> {
        let arrival = Arc::clone(&self).arrive(head);
        self.respond(head, arrival, Err(error))
    }

    fn arrive(self: Arc<Self>, head: &request::Parts) -> Arrival<impl FnOnce(&Record) + Send + use<H>> {
        let request_id = request_id(self.host.clock(), self.host.entropy());
        let record = Record::new(&request_id, head, self.host.clock().elapsed());
        let recording = Recording::new(record.clone(), move |record: &Record| {
            self.log.record(&record.entry(self.host.clock().elapsed()));
        });
        Arrival { request_id, record, recording }
    }

    fn respond(
        &self,
        head: &request::Parts,
        arrival: Arrival<impl FnOnce(&Record) + Send + Unpin + 'static>,
        outcome: Result<Response<Body>, Error>,
    ) -> Response<Body> {
        let Arrival { request_id, record, recording } = arrival;
        let mut response = outcome.unwrap_or_else(|error| {
            record.fail(&error);
            error_response(error, head.uri.path(), &head.headers, &request_id)
        });
        write_common_headers(&request_id, response.headers_mut());
        if let Some(names) = record.ignored_header() {
            response.headers_mut().insert(X_HOLDALL_IGNORED, names);
        }
        self.settings.cors_origins.write_headers(head.headers.get(header::ORIGIN), response.headers_mut());
        record.status(response.status().as_u16());
        if head.method == Method::HEAD {
            response = without_content(response);
        }
        response.map(|body| RecordedBody::new(body, recording).boxed_unsync())
    }
}

/// A request from its arrival on.
struct Arrival<F: FnOnce(&Record)> {
    request_id: String,
    record: Record,
    /// Writes the record when the request has ended.
    recording: Recording<F>,
}

/// The names of what the request asked for and the server left out.
const X_HOLDALL_IGNORED: HeaderName = HeaderName::from_static("x-holdall-ignored");

/// How long the rest of a refused request is read.
const DISCARD_TIMEOUT: Duration = Duration::from_secs(1);
