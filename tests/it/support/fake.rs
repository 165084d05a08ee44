//! A model service that does what the test says, when it says it.

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use futures_core::Stream;
use futures_util::stream;
use holdall::upstream::{Outcome, Tried, Upstream, UpstreamError};
use http::{Request, Response};
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};

type Piece = Result<Bytes, UpstreamError>;
type Pieces = Pin<Box<dyn Stream<Item = Piece> + Send>>;

/// The upstream that a service is given; copies are the same upstream.
#[derive(Clone, Default)]
pub(crate) struct FakeUpstream(Arc<Mutex<VecDeque<Call>>>);

/// One call of the service's, to be answered by the test.
pub(crate) struct Call {
    pub(crate) request: Request<Bytes>,
    /// The name of the upstream that was called.
    pub(crate) upstream: String,
    /// Whose call it is.
    pub(crate) user: u64,
    /// Whether there is nowhere else to go.
    pub(crate) is_last: bool,
    /// The addresses that the turn has called.
    pub(crate) tried: Tried,
    /// What the service made of the answer.
    pub(crate) outcome: Outcome,
    head: Option<oneshot::Sender<Result<Response<Pieces>, UpstreamError>>>,
    pieces: Option<mpsc::UnboundedSender<Piece>>,
    body: Option<mpsc::UnboundedReceiver<Piece>>,
}

impl FakeUpstream {
    /// The oldest call that was not taken yet.
    pub(crate) fn call(&self) -> Call {
        self.0.lock().unwrap().pop_front().expect("the upstream was not called")
    }

    /// Whether a call waits to be taken.
    pub(crate) fn is_called(&self) -> bool {
        !self.0.lock().unwrap().is_empty()
    }
}

impl Upstream for FakeUpstream {
    type Body = Pieces;

    async fn call(&self, call: holdall::upstream::Call) -> Result<Response<Pieces>, UpstreamError> {
        let (head, answer) = oneshot::channel();
        let (pieces, body) = mpsc::unbounded_channel();
        let holdall::upstream::Call { upstream, user, is_last, tried, outcome, request } = call;
        let (head, pieces, body) = (Some(head), Some(pieces), Some(body));
        let call = Call { request, upstream, user, is_last, tried, outcome, head, pieces, body };
        self.0.lock().unwrap().push_back(call);
        answer.await.unwrap_or_else(|_| Err(UpstreamError::Unreachable { cause: "the test let it go".to_owned() }))
    }
}

impl Call {
    /// The body of the request, as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(self.request.body()).unwrap()
    }

    /// Fails as a shell does that gets no answer.
    pub(crate) fn refuse(&mut self, error: UpstreamError) {
        let _ = self.head.take().unwrap().send(Err(error));
    }

    /// Answers with a head.
    pub(crate) fn head(&mut self, status: u16, headers: &[(&str, &str)]) {
        let mut body = self.body.take().unwrap();
        let pieces: Pieces = Box::pin(stream::poll_fn(move |context| body.poll_recv(context)));
        let mut head = Response::builder().status(status);
        for (name, value) in headers {
            head = head.header(*name, *value);
        }
        let _ = self.head.take().unwrap().send(Ok(head.body(pieces).unwrap()));
    }

    /// Answers with the head of an event stream.
    pub(crate) fn stream(&mut self) {
        self.head(200, &[("content-type", "text/event-stream")]);
    }

    /// Sends a piece of the body.
    pub(crate) fn send(&self, piece: impl Into<Bytes>) {
        let _ = self.pieces.as_ref().unwrap().send(Ok(piece.into()));
    }

    /// Streams a piece of text, as Chat Completions does.
    pub(crate) fn say(&self, text: &str) {
        let event = json!({ "choices": [{ "index": 0, "delta": { "content": text } }] });
        self.send(format!("data: {event}\n\n"));
    }

    /// Ends such a stream well.
    pub(crate) fn stop(&mut self) {
        let usage = json!({ "prompt_tokens": 3, "completion_tokens": 2 });
        let event = json!({ "choices": [{ "index": 0, "delta": {}, "finish_reason": "stop" }], "usage": usage });
        self.send(format!("data: {event}\n\ndata: [DONE]\n\n"));
        self.end();
    }

    /// Ends the body.
    pub(crate) fn end(&mut self) {
        self.pieces = None;
    }

    /// Breaks the answer off.
    pub(crate) fn break_off(&mut self) {
        let _ = self.pieces.take().unwrap().send(Err(UpstreamError::Cut { cause: "connection reset".to_owned() }));
    }

    /// Gives a whole answer that is no stream.
    pub(crate) fn reply(&mut self, text: &str) {
        self.head(200, &[("content-type", "application/json")]);
        self.send(completion(&json!({ "role": "assistant", "content": text })));
        self.end();
    }

    /// Whether nobody waits for this call's answer any more.
    pub(crate) fn is_cancelled(&self) -> bool {
        match (&self.head, &self.pieces) {
            (Some(head), _) => head.is_closed(),
            (None, Some(pieces)) => pieces.is_closed(),
            (None, None) => false,
        }
    }
}

/// A whole Chat Completions reply with this message.
pub(crate) fn completion(message: &Value) -> String {
    let choice = json!({ "index": 0, "message": message, "finish_reason": "stop" });
    json!({ "choices": [choice], "usage": { "prompt_tokens": 3, "completion_tokens": 2 } }).to_string()
}
