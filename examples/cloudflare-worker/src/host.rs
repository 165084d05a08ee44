//! The service of an isolate, and the way of a request to it and back.

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
    guard::{LocalGuard, Seed},
    principal::Peer,
    service::{self, Body, Clock as _, Log as _, Notice},
};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, response};
use http_body::{Body as _, Frame};
use http_body_util::{BodyExt as _, Collected, Full, StreamBody};
use wasm_bindgen::JsCast as _;
use worker::{Context, Env, send::SendFuture, web_sys};

use crate::{
    clock::IsolateClock,
    log::ConsoleLog,
    settings,
    stream::{Pieces, array, headers, to_js},
    upstream::{Fetch, fetch_keys},
    visit::Visit,
};

type IsolateService = Service<Fetch, LocalGuard, IsolateClock>;

/// What an isolate answers with.
pub(crate) enum Host {
    /// The configuration is not one that may start; the log says why.
    Broken,
    /// The service, and how long its answers may take to be taken.
    Serving(Arc<IsolateService>, Duration),
}

impl Host {
    /// Builds the service of the bindings.
    pub(crate) fn start(env: &Env) -> Self {
        match settings::load(env).and_then(build) {
            Ok((service, answer_timeout)) => Self::Serving(Arc::new(service), answer_timeout),
            Err(error) => {
                let hint = error.hint().map(|hint| format!("; {hint}")).unwrap_or_default();
                tell("configuration_refused", format!("{error}{hint}"));
                Self::Broken
            }
        }
    }

    /// Answers one request.
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
                let error = Error::RequestInvalid { detail: error.to_string() };
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
            // Nobody is there to read it.
            None => Ok(web_sys::Response::new()?),
        }
    }

    /// Fetches an issuer's keys beside the request, if that is due. The fetch has begun when this ends, so that it is not
    /// the request's own, which ends if its client leaves.
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
    let Config { deployment, access, settings, upstreams, guard, warnings, server, .. } = config;
    warnings.into_iter().for_each(|warning| tell("configuration_warning", warning));
    let (upstream, clock) = (Fetch::new(&upstreams)?, IsolateClock::default());
    let mut seed = [0; 32];
    // Without randomness no turn is begun, and nobody is counted.
    let _ = clock.fill_random(&mut seed);
    let guard = LocalGuard::new(guard, Seed::new(seed));
    let service = Service::new(deployment, access, settings, upstream, guard, clock, Box::new(ConsoleLog));
    let service = service.fetching_keys(Box::new(|url| Box::pin(SendFuture::new(fetch_keys(url)))));
    Ok((service, server.answer_timeout))
}

fn tell(notice: &'static str, detail: String) {
    ConsoleLog.notice(&Notice { notice, detail });
}

/// A body that comes in.
type Incoming = StreamBody<BoxStream<'static, Result<Frame<Bytes>, String>>>;

/// A request as the service takes it.
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

/// An answer whose length is known.
async fn whole(response: Response<Body>) -> worker::Result<web_sys::Response> {
    let (head, body) = response.into_parts();
    let Ok(bytes) = body.collect().await.map(Collected::to_bytes);
    let init = init(&head)?;
    Ok(web_sys::Response::new_with_opt_js_u8_array_and_init(Some(&array(&bytes)), &init)?)
}

/// An answer as it comes.
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

/// What a balancer is told of an isolate that serves nobody.
fn unready() -> Response<Body> {
    let mut response = Response::new(Full::from("{\"status\":\"the configuration was refused\"}").boxed_unsync());
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    response.headers_mut().insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    service::mark(&service::request_id(&IsolateClock::default()), response.headers_mut());
    response
}

/// What anyone else is told of it, in the shape of the request's door.
fn refuse(request: Option<&Request<Incoming>>) -> Response<Body> {
    let id = service::request_id(&IsolateClock::default());
    let error = Error::Internal { cause: "the configuration was refused".to_owned() };
    let mut response = match request {
        Some(request) => service::refusal(error, request.uri().path(), request.headers(), &id),
        None => service::refusal(error, "", &HeaderMap::new(), &id),
    };
    service::mark(&id, response.headers_mut());
    response
}

/// Who called, by the word of Cloudflare's edge, which sets it whatever the client says.
const CF_CONNECTING_IP: &str = "cf-connecting-ip";
