//! Routes requests to doors and drives exchanges; generic over what a shell supplies, bound to no runtime.
//!
//! ```text
//! request ─▶ route ─▶ identity ─▶ body ─▶ door ─▶ Exchange::begin ─▶ guard ─▶ upstream
//!                                                                              │
//! answer ◀─ door ◀──────────────── flow: bytes to deltas, timers ◀─────────────┘
//! ```
//! The service keeps nothing between requests but counters, and compression contexts that hold no text.

mod attempts;
mod body;
mod call;
mod cors;
mod flow;
mod host;
mod identity;
mod limits;
mod models;
pub mod openapi;
mod pages;
mod record;
mod revocations;
mod route;
mod side_call;
mod slots;
mod turn;
mod uri;
mod usage;

use std::{
    net::IpAddr,
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_util::{
    FutureExt as _,
    future::{self, AbortHandle, Abortable, BoxFuture, Shared},
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, header, request};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use serde::Serialize;

use self::{
    body::full,
    record::{Record, RecordedBody, Recording},
    route::api_of,
};
use crate::{
    guard::{self, AdmitRequest, Guard, GuardPurpose, Moment, Seed},
    principal::{Access, Identity},
    problem::Problem,
    proto::{
        deployment::Deployment,
        error::Error,
        exchange::{Caller, Entropy, PresentedToken},
        token::{Claims, Codec, Id},
    },
};

pub(crate) use self::slots::Slots;
pub use self::{
    body::Body,
    host::{Clock, EntropySource, Host, Sleep},
    record::{Entry, Log, Notice},
};
pub use crate::config::{CorsOrigins, OriginError, Settings, Timeouts};

/// How long whoever carries a request can wait for the end of its answer, from its arrival on: to be found in the request's
/// extensions, where a platform ends what takes longer. The upstream's time is cut to it, so that what has come by then
/// still reaches the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeLeft(pub Duration);

/// The service: one for a process, shared by all its connections.
pub struct Service<H> {
    reloadable: RwLock<Reloadable>,
    settings: Settings,
    host: H,
    log: Box<dyn Log>,
    slots: Slots,
    /// Makes users into numbers, other ones in each process.
    users: Seed,
    codecs: Mutex<Vec<Codec>>,
    draining: AtomicBool,
    stopped: Stopped,
    stop: AbortHandle,
    /// Fetches an issuer's keys, where each request sees to them itself.
    #[cfg(feature = "jwt")]
    fetch_keys: Option<FetchKeys>,
}

/// Fetches the key set at a URL, or says why it cannot.
#[cfg(feature = "jwt")]
pub type FetchKeys = Box<dyn Fn(String) -> BoxFuture<'static, Result<String, String>> + Send + Sync>;

/// What a reload replaces.
#[derive(Clone)]
struct Reloadable {
    deployment: Arc<Deployment>,
    access: Arc<Access>,
}

/// Ends once the service was told to stop.
type Stopped = Shared<BoxFuture<'static, ()>>;

impl<H: Host> Service<H> {
    /// A service that answers from its first request on.
    pub fn new(deployment: Deployment, access: Access, settings: Settings, host: H, log: Box<dyn Log>) -> Self {
        let slots = Slots::new(settings.concurrent_requests, settings.requests_per_peer);
        let mut users = [0; 32];
        // Without randomness no turn is begun, and nobody is counted.
        let _ = host.entropy().fill(&mut users);
        let (stop, registration) = AbortHandle::new_pair();
        Self {
            reloadable: RwLock::new(Reloadable { deployment: Arc::new(deployment), access: Arc::new(access) }),
            settings,
            host,
            log,
            slots,
            users: Seed::new(users),
            codecs: Mutex::default(),
            draining: AtomicBool::new(false),
            stopped: Abortable::new(future::pending::<()>(), registration).map(drop).boxed().shared(),
            stop,
            #[cfg(feature = "jwt")]
            fetch_keys: None,
        }
    }

    /// Answers one request. Dropping the future, or the body it gives, ends the turn and cancels the upstream's call.
    pub async fn handle<B>(self: Arc<Self>, request: Request<B>) -> Response<Body>
    where
        B: http_body::Body<Data = Bytes, Error: std::fmt::Display> + Send + 'static,
    {
        let (head, body) = request.into_parts();
        let mut body = Box::pin(body);
        let arrival = Arc::clone(&self).arrive(&head);
        let outcome = self.route(&head, body.as_mut(), &arrival.request_id, arrival.record.clone()).await;
        if let Err(error) = &outcome {
            // A client that is still sending may never look at an answer that comes before it is done; one that asks
            // first (RFC 9110 §10.1.1), or has been waited for already, is not.
            if !head.headers.contains_key(header::EXPECT) && !matches!(error, Error::RequestTimeout { .. }) {
                futures_util::select_biased! {
                    () = body::discard(body).fuse() => {}
                    () = self.host.clock().sleep(DISCARD_TIMEOUT).fuse() => {}
                }
            }
        }
        self.answer(&head, arrival, outcome)
    }

    /// Answers what came to be no request on its way here, with `error`: just as [`Self::handle`] refuses one, and in the
    /// log as well. `head` is as much as could be read.
    pub fn refuse(self: Arc<Self>, head: &request::Parts, error: Error) -> Response<Body> {
        let arrival = Arc::clone(&self).arrive(head);
        self.answer(head, arrival, Err(error))
    }

    fn arrive(self: Arc<Self>, head: &request::Parts) -> Arrival<impl FnOnce(&Record) + Send + use<H>> {
        let request_id = request_id(self.host.clock(), self.host.entropy());
        let record = Record::new(&request_id, head, self.host.clock().elapsed());
        let recording = Recording::new(record.clone(), move |record: &Record| {
            self.log.record(&record.entry(self.host.clock().elapsed()));
        });
        Arrival { request_id, record, recording }
    }

    fn answer(
        &self,
        head: &request::Parts,
        arrival: Arrival<impl FnOnce(&Record) + Send + Unpin + 'static>,
        outcome: Result<Response<Body>, Error>,
    ) -> Response<Body> {
        let Arrival { request_id, record, recording } = arrival;
        let mut response = outcome.unwrap_or_else(|error| {
            record.fail(&error);
            refusal(error, head.uri.path(), &head.headers, &request_id)
        });
        mark(&request_id, response.headers_mut());
        self.settings.cors_origins.write_headers(head.headers.get(header::ORIGIN), response.headers_mut());
        record.status(response.status().as_u16());
        if head.method == Method::HEAD {
            response = without_content(response);
        }
        response.map(|body| RecordedBody::new(body, recording).boxed_unsync())
    }

    /// Puts a line into the log, beside those of requests.
    pub fn notice(&self, notice: &'static str, detail: String) {
        self.log.notice(&Notice { notice, detail });
    }

    /// Replaces keys, terms, bounds, models and who may call for the requests to come; those under way end as they
    /// began. What was fetched of an issuer's keys stays.
    pub fn reload(&self, deployment: Deployment, mut access: Access) {
        let mut reloadable = self.reloadable.write().unwrap_or_else(PoisonError::into_inner);
        access.authenticator.inherit(&reloadable.access.authenticator);
        *reloadable = Reloadable { deployment: Arc::new(deployment), access: Arc::new(access) };
    }

    /// The guard, for what can be changed about it.
    pub fn guard(&self) -> &H::Guard {
        self.host.guard()
    }

    /// Says at `/ready` from now on that no more requests should be sent here.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// Whether it was told to [`Self::drain`].
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// Ends the turns under way: their clients get an error, with what had flowed.
    pub fn stop(&self) {
        self.stop.abort();
    }

    /// The requests under way.
    pub fn requests_under_way(&self) -> usize {
        self.slots.taken()
    }

    /// Asks the guard.
    async fn admit(
        &self,
        purpose: GuardPurpose,
        peer: Option<IpAddr>,
        claims: &Claims,
        presented: Option<PresentedToken>,
    ) -> Result<<H::Guard as Guard>::Permit, Error> {
        let (principal, conversation) = (claims.principal.clone(), claims.conversation);
        self.host
            .guard()
            .admit(AdmitRequest { purpose, principal, peer, conversation, presented, moment: self.moment() })
            .await
    }

    fn moment(&self) -> Moment {
        Moment { now: self.host.clock().now(), elapsed: self.host.clock().elapsed() }
    }

    fn deployment(&self) -> Arc<Deployment> {
        self.reloadable().deployment
    }

    fn access(&self) -> Arc<Access> {
        self.reloadable().access
    }

    fn reloadable(&self) -> Reloadable {
        self.reloadable.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Lends a compression context, one that was used before if there is one.
    fn with_codec<T>(&self, work: impl FnOnce(&mut Codec) -> Result<T, Error>) -> Result<T, Error> {
        let kept = self.codecs.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut codec = kept.or_else(Codec::new).ok_or_else(|| Error::internal("no memory for a zstd context"))?;
        let outcome = work(&mut codec);
        let mut kept = self.codecs.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < CODECS_KEPT {
            kept.push(codec);
        }
        outcome
    }

    fn entropy(&self) -> Result<Entropy, Error> {
        let mut entropy = Entropy { token_id: [0; 16], conversation: [0; 16], user: [0; 16], nonce: [0; 24] };
        let source = self.host.entropy();
        source.fill(&mut entropy.token_id)?;
        source.fill(&mut entropy.conversation)?;
        source.fill(&mut entropy.user)?;
        source.fill(&mut entropy.nonce)?;
        Ok(entropy)
    }
}

/// What is noted of a request from its arrival on.
struct Arrival<F: FnOnce(&Record)> {
    request_id: String,
    record: Record,
    recording: Recording<F>,
}

/// Who sent a request, as far as its head and its connection say.
struct Sender {
    identity: Identity,
    peer: Option<IpAddr>,
}

impl Sender {
    /// Whose request it is among those at once: the client's address, or of an IPv6 one its network.
    fn network(&self) -> Option<IpAddr> {
        self.peer.map(guard::network)
    }
}

/// A request for a turn whose body has arrived.
struct Incoming {
    sender: Sender,
    body: Bytes,
    /// When its answer must have ended, where something ends it then.
    ends: Option<Duration>,
    request_id: String,
    record: Record,
}

/// How long what is left of a refused request is read on.
const DISCARD_TIMEOUT: Duration = Duration::from_secs(1);

/// Contexts kept for reuse; more may be in use at once.
const CODECS_KEPT: usize = 64;

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const REQUEST_ID: HeaderName = HeaderName::from_static("request-id");

/// A new id for a request.
pub fn request_id(clock: &impl Clock, entropy: &impl EntropySource) -> String {
    let mut random = [0; 16];
    // A request without a random id is still answered; an exchange without randomness is not begun.
    let _ = entropy.fill(&mut random);
    format!("req_{}", Id::new(clock.now(), random))
}

/// Writes what every answer has: the request's id, and that nobody keeps it if it does not say otherwise itself.
pub fn mark(request_id: &str, headers: &mut HeaderMap) {
    if let Ok(id) = HeaderValue::from_str(request_id) {
        headers.insert(X_REQUEST_ID, id.clone());
        headers.insert(REQUEST_ID, id);
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
}

/// The answer that `error` is to a request at `path` with these headers, in the shape of the door there.
pub fn refusal(error: Error, path: &str, headers: &HeaderMap, request_id: &str) -> Response<Body> {
    let problem = Problem::new(error, request_id);
    let problem = match api_of(path).or_else(|| models::api(path, headers)) {
        Some(api) => problem.shaped(|told| api.refusal(told)),
        None => problem,
    };
    let mut response = Response::new(full(""));
    *response.status_mut() = problem.status();
    problem.write_headers(response.headers_mut());
    limits::write_headers(problem.standing(), response.headers_mut());
    response.map(|_| full(problem.into_body()))
}

/// What HEAD gets of an answer (RFC 9110 §9.3.2). Over HTTP/1 hyper drops the content by itself; over HTTP/2 it would send
/// it, which clients take for a broken stream.
fn without_content(response: Response<Body>) -> Response<Body> {
    let (mut head, content) = response.into_parts();
    if let Some(length_bytes) = content.size_hint().exact() {
        head.headers.insert(header::CONTENT_LENGTH, length_bytes.into());
    }
    Response::from_parts(head, full(""))
}

/// `user_hint` is a user that the request names in passing; it counts where nobody vouches for the caller.
fn caller(identity: Identity, user_id: Option<String>, user_hint: Option<String>) -> Caller {
    match identity {
        Identity::Anonymous => Caller::Unauthenticated { user_id: user_id.or(user_hint) },
        Identity::Known(principal) => Caller::Authenticated { principal, user_id },
    }
}

fn json_response(body: &impl Serialize) -> Response<Body> {
    // Our own structs of strings and numbers always serialize.
    json_bytes(serde_json::to_vec(body).unwrap_or_default())
}

fn json_bytes(body: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(full(body));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
