//! A model service that a test controls step by step.

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
};

use bytes::Bytes;
use futures_core::Stream;
use futures_util::{StreamExt as _, stream};
use holdall::upstream::{TriedAddresses, Upstream, UpstreamError, UpstreamResponse, Verdict};
use http::{Request, Response, response};
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};

type Piece = Result<Bytes, UpstreamError>;
type Pieces = Pin<Box<dyn Stream<Item = Piece> + Send>>;

/// The upstream of a service under test. It has one address. Copies are the same upstream.
#[derive(Clone, Default)]
pub(crate) struct FakeUpstream(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    calls: VecDeque<Call>,
    /// True if calls wait for [`Call::grant_slot`] before they start.
    queues: bool,
}

/// An upstream call of the service. The test answers it.
pub(crate) struct Call {
    pub(crate) request: Request<Bytes>,
    /// The name of the upstream that was called.
    pub(crate) upstream: String,
    /// The user's queue id.
    pub(crate) user: u64,
    /// True if the call goes to the last target.
    pub(crate) is_last: bool,
    /// The addresses that the turn has already called.
    pub(crate) tried: TriedAddresses,
    verdict: Arc<Mutex<Option<Verdict>>>,
    slot: Option<oneshot::Sender<()>>,
    head: Option<oneshot::Sender<Result<Response<Pieces>, UpstreamError>>>,
    pieces: Option<mpsc::UnboundedSender<Piece>>,
    body: Option<mpsc::UnboundedReceiver<Piece>>,
}

impl FakeUpstream {
    /// The oldest call that the test has not taken yet.
    pub(crate) fn call(&self) -> Call {
        self.0.lock().unwrap().calls.pop_front().expect("the upstream was not called")
    }

    /// Makes new calls wait for a slot.
    pub(crate) fn queue_calls(&self) {
        self.0.lock().unwrap().queues = true;
    }

    /// True if there is a call that the test has not taken yet.
    pub(crate) fn is_called(&self) -> bool {
        !self.0.lock().unwrap().calls.is_empty()
    }
}

impl Upstream for FakeUpstream {
    type Response = FakeResponse;

    async fn call(&self, call: holdall::upstream::Call) -> Result<FakeResponse, UpstreamError> {
        let holdall::upstream::Call { upstream, user, is_last, tried, request } = call;
        let (slot, granted) = oneshot::channel();
        let (head, answer) = oneshot::channel();
        let (pieces, body) = mpsc::unbounded_channel();
        let (head, pieces, body) = (Some(head), Some(pieces), Some(body));
        let verdict = Arc::<Mutex<Option<Verdict>>>::default();
        let response = FakeResponse { head: Some(answer), body: None, verdict: Arc::clone(&verdict) };
        let waits = {
            let mut state = self.0.lock().unwrap();
            let slot = state.queues.then_some(slot);
            state.calls.push_back(Call { request, upstream, user, is_last, tried, verdict, slot, head, pieces, body });
            state.queues
        };
        if waits {
            let _ = granted.await;
        }
        Ok(response)
    }
}

/// The service's end of a [`Call`].
pub(crate) struct FakeResponse {
    head: Option<oneshot::Receiver<Result<Response<Pieces>, UpstreamError>>>,
    body: Option<Pieces>,
    verdict: Arc<Mutex<Option<Verdict>>>,
}

impl UpstreamResponse for FakeResponse {
    fn address(&self) -> usize {
        0
    }

    async fn head(&mut self) -> Result<response::Parts, UpstreamError> {
        let answer = self.head.as_mut().expect("the head is read once").await;
        self.head = None;
        let dropped = || UpstreamError::Unreachable { cause: "the test dropped the call".to_owned() };
        let (head, body) = answer.unwrap_or_else(|_| Err(dropped()))?.into_parts();
        self.body = Some(body);
        Ok(head)
    }

    fn note_output(&mut self) {}

    fn end(self, verdict: Verdict) {
        *self.verdict.lock().unwrap() = Some(verdict);
    }
}

impl Stream for FakeResponse {
    type Item = Piece;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Piece>> {
        self.body.as_mut().expect("the head comes first").poll_next_unpin(context)
    }
}

impl Call {
    /// The verdict with which the service ended the call, `None` before the end or if it reported
    /// none.
    pub(crate) fn verdict(&self) -> Option<Verdict> {
        *self.verdict.lock().unwrap()
    }

    /// Gives the call the slot for which it waits.
    pub(crate) fn grant_slot(&mut self) {
        let _ = self.slot.take().expect("the upstream queues").send(());
    }

    /// The body of the request, as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(self.request.body()).unwrap()
    }

    /// Fails the call before the head of a response.
    pub(crate) fn refuse(&mut self, error: UpstreamError) {
        let _ = self.head.take().unwrap().send(Err(error));
    }

    /// Sends the head of a response.
    pub(crate) fn head(&mut self, status: u16, headers: &[(&str, &str)]) {
        let mut body = self.body.take().unwrap();
        let pieces: Pieces = Box::pin(stream::poll_fn(move |context| body.poll_recv(context)));
        let mut head = Response::builder().status(status);
        for (name, value) in headers {
            head = head.header(*name, *value);
        }
        let _ = self.head.take().unwrap().send(Ok(head.body(pieces).unwrap()));
    }

    /// Sends the head of an event stream.
    pub(crate) fn stream(&mut self) {
        self.head(200, &[("content-type", "text/event-stream")]);
    }

    /// Sends a piece of the body.
    pub(crate) fn send(&self, piece: impl Into<Bytes>) {
        let _ = self.pieces.as_ref().unwrap().send(Ok(piece.into()));
    }

    /// Streams a piece of text in Chat Completions format.
    pub(crate) fn say(&self, text: &str) {
        let event = json!({ "choices": [{ "index": 0, "delta": { "content": text } }] });
        self.send(format!("data: {event}\n\n"));
    }

    /// Ends a Chat Completions stream with a complete reply.
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

    /// Interrupts the body.
    pub(crate) fn break_off(&mut self) {
        let _ = self.pieces.take().unwrap().send(Err(UpstreamError::Cut { cause: "connection reset".to_owned() }));
    }

    /// Sends a complete reply without streaming.
    pub(crate) fn reply(&mut self, text: &str) {
        self.head(200, &[("content-type", "application/json")]);
        self.send(completion(&json!({ "role": "assistant", "content": text })));
        self.end();
    }

    /// True if the service no longer waits for the response.
    pub(crate) fn is_cancelled(&self) -> bool {
        match (&self.head, &self.pieces) {
            (Some(head), _) => head.is_closed(),
            (None, Some(pieces)) => pieces.is_closed(),
            (None, None) => false,
        }
    }
}

/// A complete Chat Completions reply with this message.
pub(crate) fn completion(message: &Value) -> String {
    let choice = json!({ "index": 0, "message": message, "finish_reason": "stop" });
    json!({ "choices": [choice], "usage": { "prompt_tokens": 3, "completion_tokens": 2 } }).to_string()
}
