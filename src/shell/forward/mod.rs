//! Calls of the configured upstreams: over the network, or to the built-in model.
//!
//! Upstreams with the same authorities and proxy share one HTTP client with a connection pool, for
//! HTTP/1.1 and HTTP/2. Each
//! upstream has a limit on its concurrent calls, a queue, and a record of the health of each
//! address. A client of the server cannot choose an address.

mod health;
mod pool;
mod queue;

use std::{
    collections::HashMap,
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures_core::Stream;
use futures_util::{
    FutureExt as _, StreamExt as _,
    future::{self, BoxFuture},
};
use http::{HeaderName, HeaderValue, Request, Response, StatusCode, response};
use tokio::time::sleep;

use self::pool::{AddressLease, Pool};
use crate::{
    config::{NetworkConfig, ProxyConfig, UpstreamConfig},
    shell::{
        http::{PROXY_CREDENTIAL, PROXY_UNREACHABLE, build_client, cause, client_builder},
        tls::SetupError,
    },
    upstream::{
        Call, Upstream, UpstreamError, UpstreamResponse, Verdict,
        builtin::{self, Words},
        rest,
    },
};

/// The configured upstreams.
pub struct Forward {
    /// The upstreams by name.
    upstreams: HashMap<String, PooledUpstream>,
}

impl Forward {
    /// Prepares calls to these upstreams. Nothing is connected yet.
    ///
    /// # Errors
    /// [`SetupError`] if TLS or a proxy cannot be set up, or if an operator's key is not a valid
    /// header value.
    pub fn new(upstreams: Vec<UpstreamConfig>) -> Result<Self, SetupError> {
        let connect = upstreams.iter().map(|upstream| upstream.connect_timeout).max().unwrap_or(Duration::from_secs(5));
        let mut clients = Clients { connect_timeout: connect, clients: Vec::new() };
        let upstreams = upstreams
            .into_iter()
            .map(|upstream| Ok((upstream.name.clone(), PooledUpstream::new(&upstream, &mut clients)?)));
        Ok(Self { upstreams: upstreams.collect::<Result<_, _>>()? })
    }
}

impl Upstream for Forward {
    type Response = ForwardResponse;

    async fn call(&self, call: Call) -> Result<ForwardResponse, UpstreamError> {
        let Call { upstream, user, is_last, tried, request } = call;
        let Some(PooledUpstream { pool, kind }) = self.upstreams.get(&upstream) else {
            return Err(unreachable(format!("unknown upstream `{upstream}`")));
        };
        let lease = pool.acquire(user, is_last, tried).await?;
        let sending = match kind {
            Kind::Builtin { pace } => future::ready(builtin::answer(&request, *pace, sleep)).boxed(),
            Kind::Remote(remote) => remote.send(lease.index(), request).boxed(),
        };
        Ok(ForwardResponse { lease, state: ResponseState::Sending(sending) })
    }
}

impl fmt::Debug for Forward {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.upstreams.keys()).finish()
    }
}

/// A call in flight over the network, or to the built-in model.
pub struct ForwardResponse {
    // Dropped first: the connection is closed before the slot is free for the next call.
    state: ResponseState,
    lease: AddressLease,
}

enum ResponseState {
    Sending(BoxFuture<'static, Result<(response::Parts, Words), UpstreamError>>),
    Receiving(Words),
    Failed,
}

impl UpstreamResponse for ForwardResponse {
    fn address(&self) -> usize {
        self.lease.index()
    }

    async fn head(&mut self) -> Result<response::Parts, UpstreamError> {
        let ResponseState::Sending(sending) = &mut self.state else {
            return Err(unreachable("the request was already sent".to_owned()));
        };
        let sent = sending.await;
        self.state = ResponseState::Failed;
        let (head, body) = sent?;
        self.state = ResponseState::Receiving(body);
        Ok(head)
    }

    fn note_output(&mut self) {
        self.lease.note_output();
    }

    /// Ends the call and releases its slot. The rest of a complete response is read in the
    /// background, for up to a second.
    fn end(self, verdict: Verdict) {
        let Self { state, lease } = self;
        match (verdict, state) {
            (Verdict::Complete, ResponseState::Receiving(body)) => {
                lease.end(verdict);
                tokio::spawn(rest::discard(body, sleep(REST_TIMEOUT)));
            }
            (_, state) => {
                drop(state);
                lease.end(verdict);
            }
        }
    }
}

impl Stream for ForwardResponse {
    type Item = Result<Bytes, UpstreamError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        match &mut self.state {
            ResponseState::Receiving(body) => body.as_mut().poll_next(context),
            ResponseState::Failed | ResponseState::Sending(_) => Poll::Ready(None),
        }
    }
}

impl fmt::Debug for ForwardResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ForwardResponse").field("lease", &self.lease).finish_non_exhaustive()
    }
}

struct PooledUpstream {
    pool: Arc<Pool>,
    kind: Kind,
}

enum Kind {
    Builtin { pace: Duration },
    Remote(Remote),
}

struct Remote {
    client: reqwest::Client,
    /// True if every connection is one to a proxy, except for a tunnel.
    has_proxy: bool,
    base_urls: Vec<String>,
    credential: Option<(HeaderName, HeaderValue)>,
}

impl Remote {
    /// The future that sends a request to one of the addresses.
    fn send(
        &self,
        index: usize,
        request: Request<Bytes>,
    ) -> impl Future<Output = Result<(response::Parts, Words), UpstreamError>> + use<> {
        let (mut head, body) = request.into_parts();
        if let Some((name, value)) = &self.credential {
            head.headers.insert(name, value.clone());
        }
        let base_url = self.base_urls.get(index).cloned().unwrap_or_default();
        let is_plain = self.has_proxy && base_url.starts_with("http:");
        let url = format!("{base_url}{}", head.uri);
        let sending = self.client.request(head.method, url).headers(head.headers).body(body).send();
        async move {
            let answer = sending.await.map_err(|error| {
                // The errors of a tunnel name the proxy themselves.
                let is_of_proxy = is_plain && error.is_connect();
                unreachable(format!("{}{}", if is_of_proxy { PROXY_UNREACHABLE } else { "" }, cause(error)))
            })?;
            // Not an answer of the model service, which would be shown to the caller.
            if answer.status() == StatusCode::PROXY_AUTHENTICATION_REQUIRED {
                return Err(unreachable(PROXY_CREDENTIAL.to_owned()));
            }
            let mut head = Response::builder().status(answer.status());
            if let Some(headers) = head.headers_mut() {
                *headers = answer.headers().clone();
            }
            let (head, ()) = head.body(()).map_err(|error| unreachable(error.to_string()))?.into_parts();
            let pieces =
                answer.bytes_stream().map(|piece| piece.map_err(|error| UpstreamError::Cut { cause: cause(error) }));
            Ok((head, Box::pin(pieces) as Words))
        }
    }
}

fn unreachable(cause: String) -> UpstreamError {
    UpstreamError::Unreachable { cause }
}

impl PooledUpstream {
    fn new(upstream: &UpstreamConfig, clients: &mut Clients) -> Result<Self, SetupError> {
        let pool = Pool::new(upstream.base_urls.len(), upstream.concurrency);
        Ok(Self { pool, kind: Kind::new(upstream, clients)? })
    }
}

impl Kind {
    fn new(upstream: &UpstreamConfig, clients: &mut Clients) -> Result<Self, SetupError> {
        if upstream.is_builtin() {
            return Ok(Self::Builtin { pace: upstream.builtin_pace });
        }
        let credential = upstream.credential().map_err(|error| SetupError(error.to_string()))?;
        let client = clients.with(&upstream.network)?;
        let has_proxy = matches!(upstream.network.proxy, ProxyConfig::Fixed(_));
        Ok(Self::Remote(Remote { client, has_proxy, base_urls: upstream.base_urls.clone(), credential }))
    }
}

/// The HTTP clients, one for each set of authorities and proxy.
struct Clients {
    connect_timeout: Duration,
    clients: Vec<(NetworkConfig, reqwest::Client)>,
}

impl Clients {
    fn with(&mut self, network: &NetworkConfig) -> Result<reqwest::Client, SetupError> {
        if let Some((_, client)) = self.clients.iter().find(|(known, _)| known == network) {
            return Ok(client.clone());
        }
        let client = build_client(client_builder(network)?.connect_timeout(self.connect_timeout))?;
        self.clients.push((network.clone(), client.clone()));
        Ok(client)
    }
}

/// The longest time for which the rest of a complete response is read.
const REST_TIMEOUT: Duration = Duration::from_secs(1);
