//! A service that a test drives step by step: without a runtime or sockets, and with a clock that
//! the test advances.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use futures_util::FutureExt as _;
use holdall::{
    config::Config,
    guard::{Guard, KeyedHash, LocalGuard},
    service::{Body, Entry, Host, Log, Notice, Service},
};
use http::{Method, Request, Response, header, response};
use http_body_util::{BodyExt as _, Full};
use serde_json::Value;

use super::{answer::Answer, clock::TestClock, config, entropy::TestEntropy, fake::FakeUpstream, upstream};

/// A service, and the parts of its host.
pub(crate) struct Hand<G = LocalGuard> {
    pub(crate) service: Arc<Service<TestHost<G>>>,
    pub(crate) clock: TestClock,
    pub(crate) entropy: TestEntropy,
    pub(crate) upstream: FakeUpstream,
    pub(crate) log: Records,
}

/// The host of a service under test.
pub(crate) struct TestHost<G> {
    upstream: FakeUpstream,
    guard: G,
    clock: TestClock,
    entropy: TestEntropy,
}

impl<G: Guard> Host for TestHost<G> {
    type Upstream = FakeUpstream;
    type Guard = G;
    type Clock = TestClock;
    type Entropy = TestEntropy;

    fn upstream(&self) -> &FakeUpstream {
        &self.upstream
    }

    fn guard(&self) -> &G {
        &self.guard
    }

    fn clock(&self) -> &TestClock {
        &self.clock
    }

    fn entropy(&self) -> &TestEntropy {
        &self.entropy
    }
}

/// A log that keeps its entries and notices.
#[derive(Clone, Default)]
pub(crate) struct Records {
    entries: Arc<Mutex<Vec<Entry>>>,
    notices: Arc<Mutex<Vec<Notice>>>,
}

impl Records {
    /// Takes the entries so far.
    pub(crate) fn take(&self) -> Vec<Entry> {
        std::mem::take(&mut *self.entries.lock().unwrap())
    }

    /// Takes the notices so far.
    pub(crate) fn take_notices(&self) -> Vec<Notice> {
        std::mem::take(&mut *self.notices.lock().unwrap())
    }
}

impl Log for Records {
    fn record(&self, entry: &Entry) {
        self.entries.lock().unwrap().push(entry.clone());
    }

    fn notice(&self, notice: &Notice) {
        self.notices.lock().unwrap().push(notice.clone());
    }
}

impl Hand {
    /// A service with these settings and a Chat Completions upstream, without retries.
    pub(crate) fn new(settings: &str) -> Self {
        Self::of(config(&format!("retries = 0\n{settings}\n{}", upstream("openai", "http://model.test"))))
    }

    /// A service with this configuration.
    pub(crate) fn of(config: Config) -> Self {
        let guard = LocalGuard::new(config.guard.clone(), KeyedHash::new([7; 32]));
        Self::guarded(config, guard)
    }
}

impl<G: Guard> Hand<G> {
    /// A service with this configuration and a guard of the test.
    pub(crate) fn guarded(config: Config, guard: G) -> Self {
        let (clock, entropy, upstream, log) = <(TestClock, TestEntropy, FakeUpstream, Records)>::default();
        let host = TestHost { upstream: upstream.clone(), guard, clock: clock.clone(), entropy: entropy.clone() };
        let service = Service::new(config.deployment, config.access, config.service, host, Box::new(log.clone()));
        Self { service: Arc::new(service), clock, entropy, upstream, log }
    }

    /// Sends a request.
    pub(crate) fn ask<B>(&self, request: Request<B>) -> PendingCall
    where
        B: http_body::Body<Data = Bytes, Error: std::fmt::Display> + Send + 'static,
    {
        PendingCall::new(Arc::clone(&self.service).handle(request))
    }

    /// Sends a JSON body to a path.
    pub(crate) fn post(&self, path: &str, body: impl Into<Bytes>) -> PendingCall {
        self.ask(post(path).body(Full::new(body.into())).unwrap())
    }

    /// Sends a GET request.
    pub(crate) fn get(&self, path: &str) -> PendingCall {
        let request = Request::builder().uri(path).header(header::HOST, "localhost");
        self.ask(request.body(Full::<Bytes>::default()).unwrap())
    }

    /// Sends a turn.
    pub(crate) fn turn(&self, body: &Value) -> PendingCall {
        self.post("/v1/turns", body.to_string())
    }

    /// Takes a complete turn, in which the model replies with `reply`. The response must be
    /// successful.
    #[track_caller]
    pub(crate) fn whole_turn(&self, body: &Value, reply: &str) -> Value {
        let mut asked = self.turn(body);
        asked.wait();
        self.upstream.call().reply(reply);
        asked.answer().json()
    }
}

/// The head of a request with a JSON body.
pub(crate) fn post(path: &str) -> http::request::Builder {
    Request::builder()
        .method(Method::POST)
        .uri(path)
        .header(header::HOST, "localhost")
        .header(header::CONTENT_TYPE, "application/json")
}

/// A request in flight. Dropping it means that the client leaves.
pub(crate) struct PendingCall {
    handling: Pin<Box<dyn Future<Output = Response<Body>> + Send>>,
    answer: Option<Response<Body>>,
}

impl PendingCall {
    /// A request that a service handles.
    pub(crate) fn new(handling: impl Future<Output = Response<Body>> + Send + 'static) -> Self {
        Self { handling: Box::pin(handling), answer: None }
    }

    /// Runs the service as far as possible. Returns true if it then waits.
    pub(crate) fn is_waiting(&mut self) -> bool {
        if self.answer.is_none() {
            self.answer = self.handling.as_mut().now_or_never();
        }
        self.answer.is_none()
    }

    /// Runs the service as far as possible. It must then wait.
    #[track_caller]
    pub(crate) fn wait(&mut self) {
        assert!(self.is_waiting(), "there is already a response");
    }

    /// The head of the response, which must be available, and the rest of the body.
    #[track_caller]
    pub(crate) fn head(mut self) -> IncomingReply {
        assert!(!self.is_waiting(), "there is no response yet");
        let (head, body) = self.answer.unwrap().into_parts();
        IncomingReply { head, body, ended: false }
    }

    /// The complete response, which must be available.
    #[track_caller]
    pub(crate) fn answer(self) -> Answer {
        self.head().whole()
    }
}

/// A response whose body arrives.
pub(crate) struct IncomingReply {
    pub(crate) head: response::Parts,
    body: Body,
    ended: bool,
}

impl IncomingReply {
    /// The chunks that are available now. The flag is true if the body has ended.
    pub(crate) fn chunks(&mut self) -> (Vec<Bytes>, bool) {
        let mut chunks = Vec::new();
        loop {
            match self.body.frame().now_or_never() {
                None => return (chunks, false),
                Some(None) => return (chunks, true),
                Some(Some(frame)) => chunks.push(ok(frame).into_data().unwrap()),
            }
        }
    }

    /// The available text. The body may end.
    pub(crate) fn text_so_far(&mut self) -> String {
        let (chunks, ended) = self.chunks();
        self.ended |= ended;
        String::from_utf8(chunks.concat()).unwrap()
    }

    /// True if [`Self::text_so_far`] has reached the end of the body.
    pub(crate) fn has_ended(&self) -> bool {
        self.ended
    }

    /// The available text. The body must not end.
    #[track_caller]
    pub(crate) fn text(&mut self) -> String {
        let (chunks, ended) = self.chunks();
        assert!(!ended, "{chunks:?}");
        String::from_utf8(chunks.concat()).unwrap()
    }

    /// The rest as text. The body must end.
    #[track_caller]
    pub(crate) fn rest(&mut self) -> String {
        let (chunks, ended) = self.chunks();
        assert!(ended, "{chunks:?}");
        String::from_utf8(chunks.concat()).unwrap()
    }

    /// The complete response, which must be available.
    #[track_caller]
    pub(crate) fn whole(mut self) -> Answer {
        let (chunks, ended) = self.chunks();
        assert!(ended, "the response does not end: {chunks:?}");
        Answer { status: self.head.status, headers: self.head.headers, body: chunks.concat().into() }
    }
}

fn ok<T>(outcome: Result<T, Infallible>) -> T {
    match outcome {
        Ok(value) => value,
        Err(never) => match never {},
    }
}
