//! Calls the model services with `fetch`, and the built-in model directly.
//!
//! The platform keeps the connections. This module has no queues and does not track which address
//! is healthy: isolates start and end, and do not know of each other. It follows no redirects, and
//! clients cannot choose an address. Dropping a call aborts it.

use std::{
    collections::HashMap,
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, future::ready};
use holdall::{
    config::{ConfigError, UpstreamConfig},
    principal::jwt::KeyDocument,
    upstream::{
        Call, TriedAddresses, Upstream, UpstreamError, UpstreamResponse, Verdict,
        builtin::{self, Words},
        rest,
    },
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header, response};
use wasm_bindgen::JsCast as _;
use worker::{
    send::{SendFuture, SendWrapper},
    wasm_bindgen_futures::{JsFuture, spawn_local},
    web_sys,
};

use crate::{
    clock::{scope, sleep},
    stream::{Pieces, array, headers, to_js, words},
};

/// The configured upstreams.
#[derive(Debug)]
pub(crate) struct Fetch(HashMap<String, Target>);

impl Fetch {
    /// Prepares the calls to these upstreams.
    ///
    /// # Errors
    /// [`ConfigError`] if a key is not a valid header value.
    pub(crate) fn new(upstreams: &[UpstreamConfig]) -> Result<Self, ConfigError> {
        let targets = upstreams.iter().map(|upstream| Ok((upstream.name.clone(), Target::new(upstream)?)));
        targets.collect::<Result<_, _>>().map(Self)
    }
}

impl Upstream for Fetch {
    type Response = FetchResponse;

    async fn call(&self, call: Call) -> Result<FetchResponse, UpstreamError> {
        let Call { upstream, user, is_last: _, tried, request } = call;
        let Some(target) = self.0.get(&upstream) else {
            return Err(UpstreamError::Unreachable { cause: format!("No upstream has the name `{upstream}`.") });
        };
        let (address, sending): (_, Sending) = match target {
            Target::Builtin(config) => {
                let answer = builtin::answer(&request, config.builtin_pace, sleep);
                (0, Box::pin(ready(answer.map(|(head, words)| (head, Body::Words(words))))))
            }
            Target::Remote(remote) => {
                let index = remote.choose(user, tried);
                (index, Box::pin(SendFuture::new(Arc::clone(remote).send(index, request))))
            }
        };
        Ok(FetchResponse { address, state: ResponseState::Sending(sending) })
    }
}

/// The longest time for which the rest of a complete response is read.
const REST_TIMEOUT: Duration = Duration::from_secs(1);

type Sending = Pin<Box<dyn Future<Output = Result<(response::Parts, Body), UpstreamError>> + Send>>;

/// A call in flight. Dropping it ends the call.
pub(crate) struct FetchResponse {
    address: usize,
    state: ResponseState,
}

enum ResponseState {
    Sending(Sending),
    Receiving(Body),
    Failed,
}

impl UpstreamResponse for FetchResponse {
    fn address(&self) -> usize {
        self.address
    }

    async fn head(&mut self) -> Result<response::Parts, UpstreamError> {
        let ResponseState::Sending(sending) = &mut self.state else {
            return Err(unreachable("The request was sent already.".to_owned()));
        };
        let sent = sending.await;
        self.state = ResponseState::Failed;
        let (head, body) = sent?;
        self.state = ResponseState::Receiving(body);
        Ok(head)
    }

    /// Isolates do not track which address is healthy.
    fn note_output(&mut self) {}

    /// Reads the rest of a complete response in the background, within limits. If a response is
    /// dropped before its end, the platform loses the connection.
    fn end(self, verdict: Verdict) {
        if let (Verdict::Complete, ResponseState::Receiving(body)) = (verdict, self.state) {
            spawn_local(rest::discard(body, sleep(REST_TIMEOUT)));
        }
    }
}

impl Stream for FetchResponse {
    type Item = Result<Bytes, UpstreamError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        match &mut self.state {
            ResponseState::Receiving(body) => body.poll_next_unpin(context),
            ResponseState::Failed | ResponseState::Sending(_) => Poll::Ready(None),
        }
    }
}

/// The bytes of a response as they arrive. Dropping them ends the call.
enum Body {
    Pieces { pieces: Option<Pieces>, _abort: AbortOnDrop },
    Words(Words),
}

impl Stream for Body {
    type Item = Result<Bytes, UpstreamError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        match &mut *self {
            Self::Pieces { pieces: None, .. } => Poll::Ready(None),
            Self::Pieces { pieces: Some(pieces), .. } => {
                let piece = pieces.poll_next_unpin(context);
                piece.map(|piece| Some(piece?.map_err(|cause| UpstreamError::Cut { cause })))
            }
            Self::Words(words) => words.poll_next_unpin(context),
        }
    }
}

#[derive(Debug)]
enum Target {
    Builtin(Box<UpstreamConfig>),
    Remote(Arc<Remote>),
}

impl Target {
    fn new(upstream: &UpstreamConfig) -> Result<Self, ConfigError> {
        if upstream.is_builtin() {
            return Ok(Self::Builtin(Box::new(upstream.clone())));
        }
        let remote = Remote { base_urls: upstream.base_urls.clone(), credential: upstream.credential()? };
        Ok(Self::Remote(Arc::new(remote)))
    }
}

struct Remote {
    base_urls: Vec<String>,
    credential: Option<(HeaderName, HeaderValue)>,
}

impl Remote {
    async fn send(
        self: Arc<Self>,
        index: usize,
        request: Request<Bytes>,
    ) -> Result<(response::Parts, Body), UpstreamError> {
        let (mut head, body) = request.into_parts();
        if let Some((name, value)) = &self.credential {
            head.headers.insert(name, value.clone());
        }
        let base_url =
            self.base_urls.get(index).ok_or_else(|| unreachable("The upstream has no address.".to_owned()))?;
        let url = format!("{base_url}{}", head.uri);
        let (answer, abort) = fetch(&url, &head.method, &head.headers, Some(&body)).await.map_err(unreachable)?;
        let mut parts = Response::builder().status(answer.status());
        if let Some(own) = parts.headers_mut() {
            *own = headers(&answer.headers());
        }
        let (parts, ()) = parts.body(()).map_err(|error| unreachable(error.to_string()))?.into_parts();
        Ok((parts, Body::Pieces { pieces: answer.body().map(Pieces::new), _abort: abort }))
    }

    /// The index of an address that this turn has not called yet. Users start at different
    /// addresses.
    fn choose(&self, user: u64, tried: TriedAddresses) -> usize {
        let count = self.base_urls.len().max(1);
        let first = usize::try_from(user % count as u64).unwrap_or_default();
        let order = (0..count).map(|step| (first + step) % count);
        order.clone().find(|index| !tried.contains(*index)).unwrap_or(first)
    }
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.base_urls).finish()
    }
}

fn unreachable(cause: String) -> UpstreamError {
    UpstreamError::Unreachable { cause }
}

/// Sends a request. Redirects are not followed, since they could send a credential to another
/// server. Keep the returned [`AbortOnDrop`] while the response is read: dropping it aborts the
/// request.
///
/// # Errors
/// The platform's message.
pub(crate) async fn fetch(
    url: &str,
    method: &Method,
    headers: &HeaderMap,
    body: Option<&[u8]>,
) -> Result<(web_sys::Response, AbortOnDrop), String> {
    let controller = web_sys::AbortController::new().map_err(|error| words(&error))?;
    let init = web_sys::RequestInit::new();
    init.set_method(method.as_str());
    init.set_headers(&to_js(headers)?);
    init.set_redirect(web_sys::RequestRedirect::Manual);
    init.set_signal(Some(&controller.signal()));
    if let Some(body) = body {
        init.set_body(&array(body));
    }
    // Also aborts the request if this future is dropped before the response arrives.
    let abort = AbortOnDrop(SendWrapper::new(controller));
    let answer = JsFuture::from(scope().fetch_with_str_and_init(url, &init)).await.map_err(|error| words(&error))?;
    let answer = answer.dyn_into::<web_sys::Response>().map_err(|_| "`fetch` did not return a response.".to_owned())?;
    Ok((answer, abort))
}

/// Fetches the key set of an identity issuer.
///
/// # Errors
/// A message about the failure. It contains nothing that the issuer sent.
pub(crate) async fn fetch_keys(url: String) -> Result<String, String> {
    let headers = HeaderMap::from_iter([(header::ACCEPT, HeaderValue::from_static(KeyDocument::ACCEPT))]);
    let (answer, _abort) = fetch(&url, &Method::GET, &headers, None).await?;
    if answer.status() != StatusCode::OK.as_u16() {
        return Err(format!("status {}", answer.status()));
    }
    // An announced length may be that of the compressed document. The size is checked while
    // reading.
    let mut document = KeyDocument::default();
    let mut pieces = answer.body().map(Pieces::new);
    while let Some(pieces) = &mut pieces
        && let Some(piece) = pieces.next().await
    {
        document.push(&piece?)?;
    }
    document.finish()
}

/// Aborts a `fetch` that is still in progress when dropped.
pub(crate) struct AbortOnDrop(SendWrapper<web_sys::AbortController>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}
