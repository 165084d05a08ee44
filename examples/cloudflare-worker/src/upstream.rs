//! Calls the model services with `fetch`, and the built-in model directly.
//!
//! The platform keeps the connections. This module has no queues and does not track which address is
//! healthy: isolates start and end, and do not know of each other. It follows no redirects, and
//! clients cannot choose an address. Dropping a call aborts it.

use std::{
    collections::HashMap,
    fmt,
    pin::{Pin, pin},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, future::select};
use holdall::{
    config::{ConfigError, UpstreamConfig},
    principal::jwt::KeyDocument,
    upstream::{
        Call, Tried, Upstream, UpstreamError,
        builtin::{self, Words},
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
    type Body = Answer;

    async fn call(&self, call: Call) -> Result<Response<Answer>, UpstreamError> {
        let Call { upstream, user, is_last: _, tried, outcome, request } = call;
        let Some(target) = self.0.get(&upstream) else {
            return Err(UpstreamError::Unreachable { cause: format!("No upstream has the name `{upstream}`.") });
        };
        let answer = match target {
            Target::Builtin(config) => {
                builtin::answer(&request, config.builtin_pace, sleep).map(|(head, words)| (head, Answer::Words(words)))
            }
            Target::Remote(remote) => SendFuture::new(remote.send(user, &tried, request)).await,
        };
        let (head, body) = answer.inspect_err(|_| outcome.set_failed())?;
        Ok(Response::from_parts(head, body))
    }

    /// Reads the rest of a response in the background, within limits. If a response is dropped
    /// before its end, the platform loses the connection.
    fn release(&self, mut body: Answer) {
        spawn_local(async move {
            let rest = pin!(async {
                let mut bytes = 0;
                while let Some(Ok(piece)) = body.next().await {
                    bytes += piece.len();
                    if bytes > REST_BYTES {
                        break;
                    }
                }
            });
            select(rest, sleep(REST_TIMEOUT)).await;
        });
    }
}

/// The most bytes that [`Fetch::release`] reads of a response. The rest is usually the last chunk
/// and an empty line.
const REST_BYTES: usize = 4 << 10;
/// The longest time that [`Fetch::release`] reads.
const REST_TIMEOUT: Duration = Duration::from_secs(1);

/// The bytes of a response as they arrive. Dropping them ends the call.
pub(crate) enum Answer {
    Pieces { pieces: Option<Pieces>, _abort: AbortOnDrop },
    Words(Words),
}

impl Stream for Answer {
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
    Builtin(UpstreamConfig),
    Remote(Remote),
}

impl Target {
    fn new(upstream: &UpstreamConfig) -> Result<Self, ConfigError> {
        if upstream.is_builtin() {
            return Ok(Self::Builtin(upstream.clone()));
        }
        let remote = Remote { base_urls: upstream.base_urls.clone(), credential: upstream.credential()? };
        Ok(Self::Remote(remote))
    }
}

struct Remote {
    base_urls: Vec<String>,
    credential: Option<(HeaderName, HeaderValue)>,
}

impl Remote {
    async fn send(
        &self,
        user: u64,
        tried: &Tried,
        request: Request<Bytes>,
    ) -> Result<(response::Parts, Answer), UpstreamError> {
        let (mut head, body) = request.into_parts();
        if let Some((name, value)) = &self.credential {
            head.headers.insert(name, value.clone());
        }
        let index = self.choose(user, tried);
        tried.set(index);
        let base_url =
            self.base_urls.get(index).ok_or_else(|| unreachable("The upstream has no address.".to_owned()))?;
        let url = format!("{base_url}{}", head.uri);
        let (answer, abort) = fetch(&url, &head.method, &head.headers, Some(&body)).await.map_err(unreachable)?;
        let mut parts = Response::builder().status(answer.status());
        if let Some(own) = parts.headers_mut() {
            *own = headers(&answer.headers());
        }
        let (parts, ()) = parts.body(()).map_err(|error| unreachable(error.to_string()))?.into_parts();
        Ok((parts, Answer::Pieces { pieces: answer.body().map(Pieces::new), _abort: abort }))
    }

    /// The index of an address that this turn has not called yet. Users start at different
    /// addresses.
    fn choose(&self, user: u64, tried: &Tried) -> usize {
        let count = self.base_urls.len().max(1);
        let first = usize::try_from(user % count as u64).unwrap_or_default();
        let order = (0..count).map(|step| (first + step) % count);
        order.clone().find(|index| !tried.has(*index)).unwrap_or(first)
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
