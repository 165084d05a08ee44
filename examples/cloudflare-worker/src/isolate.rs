//! The service of an isolate, and the conversion of requests and responses.

use std::{net::IpAddr, rc::Rc, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::{
    StreamExt as _, TryStreamExt as _,
    future::poll_immediate,
    stream::{self, BoxStream},
};
use holdall::{
    Error, Service,
    config::{Config, ConfigError},
    guard::{KeyedHash, LocalGuard},
    principal::Peer,
    service::{self, Body, EntropySource as _, Host, Log as _, Notice},
};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, response};
use http_body::{Body as _, Frame};
use http_body_util::{BodyExt as _, Collected, Full, StreamBody};
use wasm_bindgen::JsCast as _;
use worker::{Context, Env, send::SendFuture, web_sys};

use crate::{
    clock::IsolateClock,
    entropy::IsolateEntropy,
    log::ConsoleLog,
    settings,
    stream::{Pieces, array, headers, to_js},
    upstream::{Fetch, fetch_keys},
    visit::Visit,
};

type IsolateService = Service<IsolateHost>;

/// The parts of the service in an isolate.
pub(crate) struct IsolateHost {
    upstream: Fetch,
    guard: LocalGuard,
    clock: IsolateClock,
}

impl Host for IsolateHost {
    type Upstream = Fetch;
    type Guard = LocalGuard;
    type Clock = IsolateClock;
    type Entropy = IsolateEntropy;

    fn upstream(&self) -> &Fetch {
        &self.upstream
    }

    fn guard(&self) -> &LocalGuard {
        &self.guard
    }

    fn clock(&self) -> &IsolateClock {
        &self.clock
    }

    fn entropy(&self) -> &IsolateEntropy {
        &IsolateEntropy
    }
}

/// The state of an isolate, which decides how it responds.
pub(crate) enum Isolate {
    /// The configuration has an error; the log has the reason.
    Broken,
    /// The service, and the longest time that a client may take to read a response.
    Serving(Arc<IsolateService>, Duration),
}

impl Isolate {
    /// Builds the service from the bindings.
    pub(crate) fn start(env: &Env) -> Self {
        match settings::load(env).and_then(build) {
            Ok((service, answer_timeout)) => Self::Serving(Arc::new(service), answer_timeout),
            Err(error) => {
                let hint = error.hint().map(|hint| format!(" (hint: {hint})")).unwrap_or_default();
                tell("configuration_refused", format!("{error}{hint}"));
                Self::Broken
            }
        }
    }

    /// Responds to one request.
    pub(crate) async fn answer(
        &self,
        request: &web_sys::Request,
        context: &Context,
    ) -> worker::Result<web_sys::Response> {
        let (answer, answer_timeout) = match (self, read(request)) {
            (Self::Serving(service, limit), Ok(request)) => (Arc::clone(service).handle(request), *limit),
            (Self::Serving(service, _), Err(error)) => {
                let (mut head, ()) = Request::new(()).into_parts();
                head.headers = headers(&request.headers());
                let error = Error::RequestInvalid { detail: format!("The request cannot be read: {error}.") };
                return whole(Arc::clone(service).refuse(&head, error)).await;
            }
            (Self::Broken, Ok(request)) if matches!(request.uri().path(), "/ready" | "/readyz") => {
                return whole(unready()).await;
            }
            (Self::Broken, request) => return whole(refuse(request.ok().as_ref())).await,
        };
        self.refresh_keys(context).await;
        let visit = Rc::new(Visit::new(request.signal()));
        context.wait_until(Rc::clone(&visit).over(answer_timeout));
        match visit.unless_left(answer).await {
            Some(response) if response.body().size_hint().exact().is_none() => streamed(response, &visit),
            Some(response) => {
                let answer = whole(response).await;
                visit.end();
                answer
            }
            // The client has left, so this response is never read.
            None => Ok(web_sys::Response::new()?),
        }
    }

    /// Fetches an issuer's keys in the background, if that is due. The fetch has already started
    /// when this returns. Therefore it does not belong to the request, which ends if its client
    /// leaves.
    async fn refresh_keys(&self, context: &Context) {
        let Self::Serving(service, _) = self else { return };
        if service.are_keys_due() {
            let service = Arc::clone(service);
            let mut fetching = Box::pin(async move { service.refresh_keys().await });
            if poll_immediate(&mut fetching).await.is_none() {
                context.wait_until(fetching);
            }
        }
    }
}

fn build(config: Config) -> Result<(IsolateService, Duration), ConfigError> {
    let Config { deployment, access, service, upstreams, guard, warnings, server, .. } = config;
    warnings.into_iter().for_each(|warning| tell("configuration_warning", warning));
    let upstream = Fetch::new(&upstreams)?;
    let mut key = [0; 32];
    // If this fails, no turn can start, and the guard never uses the key.
    let _ = IsolateEntropy.fill(&mut key);
    let guard = LocalGuard::new(guard, KeyedHash::new(key));
    let host = IsolateHost { upstream, guard, clock: IsolateClock::default() };
    let service = Service::new(deployment, access, service, host, Box::new(ConsoleLog));
    let service = service.fetching_keys(Box::new(|url| Box::pin(SendFuture::new(fetch_keys(url)))));
    Ok((service, server.answer_timeout))
}

fn tell(notice: &'static str, detail: String) {
    ConsoleLog.notice(&Notice { notice, detail });
}

/// The body of an incoming request.
type Incoming = StreamBody<BoxStream<'static, Result<Frame<Bytes>, String>>>;

/// Converts a request to the form that the service accepts.
fn read(request: &web_sys::Request) -> Result<Request<Incoming>, http::Error> {
    let headers = headers(&request.headers());
    let peer = headers.get(CF_CONNECTING_IP).and_then(|peer| peer.to_str().ok()?.parse::<IpAddr>().ok());
    let mut read = Request::builder().method(request.method().as_str()).uri(request.url());
    if let Some(own) = read.headers_mut() {
        *own = headers;
    }
    if let Some(peer) = peer {
        read = read.extension(Peer(peer));
    }
    let pieces = match request.body() {
        Some(body) => Pieces::new(body).map_ok(Frame::data).boxed(),
        None => stream::empty().boxed(),
    };
    read.body(StreamBody::new(pieces))
}

/// Converts a response of known length.
async fn whole(response: Response<Body>) -> worker::Result<web_sys::Response> {
    let (head, body) = response.into_parts();
    let Ok(bytes) = body.collect().await.map(Collected::to_bytes);
    let init = init(&head)?;
    Ok(web_sys::Response::new_with_opt_js_u8_array_and_init(Some(&array(&bytes)), &init)?)
}

/// Converts a streamed response, which is sent as it arrives.
fn streamed(response: Response<Body>, visit: &Visit) -> worker::Result<web_sys::Response> {
    let (head, body) = response.into_parts();
    let stream = wasm_streams::ReadableStream::from_stream(visit.pieces(body)).into_raw();
    let init = init(&head)?;
    Ok(web_sys::Response::new_with_opt_readable_stream_and_init(Some(stream.unchecked_ref()), &init)?)
}

fn init(head: &response::Parts) -> worker::Result<web_sys::ResponseInit> {
    let init = web_sys::ResponseInit::new();
    init.set_status(head.status.as_u16());
    init.set_headers(&to_js(&head.headers).map_err(worker::Error::RustError)?);
    Ok(init)
}

/// The response of `/ready` if the configuration has an error.
fn unready() -> Response<Body> {
    let mut response = Response::new(Full::from("{\"status\":\"configuration error\"}").boxed_unsync());
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    response.headers_mut().insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    service::write_common_headers(&request_id(), response.headers_mut());
    response
}

/// The response of all other paths if the configuration has an error, in the format of the
/// request's API.
fn refuse(request: Option<&Request<Incoming>>) -> Response<Body> {
    let id = request_id();
    let error = Error::Internal { cause: "The configuration has an error.".to_owned() };
    let mut response = match request {
        Some(request) => service::error_response(error, request.uri().path(), request.headers(), &id),
        None => service::error_response(error, "", &HeaderMap::new(), &id),
    };
    service::write_common_headers(&id, response.headers_mut());
    response
}

fn request_id() -> String {
    service::request_id(&IsolateClock::default(), &IsolateEntropy)
}

/// The header with the client's address. Cloudflare's edge sets it, whatever the client sends.
const CF_CONNECTING_IP: &str = "cf-connecting-ip";
