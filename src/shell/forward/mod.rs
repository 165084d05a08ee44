//! Upstreams over the network, and the built-in one beside them.
//!
//! One pooled client for all, HTTP/1.1 and HTTP/2. Each upstream has its bound on calls at once, its queue, and an eye on
//! which of its addresses work. No redirects (they could carry a credential elsewhere), no proxy from
//! the environment, no address that a client chose. Certificates are checked against the Mozilla roots in the binary,
//! since a scratch image has none.

mod health;
mod pool;
mod queue;

use std::{
    collections::HashMap,
    error::Error as _,
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures_core::Stream;
use futures_util::StreamExt as _;
use http::{HeaderName, HeaderValue, Request, Response, response};
use tokio::time::{sleep, timeout};

use self::pool::{Pool, Visit};
use crate::{
    config::UpstreamConfig,
    upstream::{
        Call, Upstream, UpstreamError,
        builtin::{self, Words},
    },
};

/// The configured upstreams.
pub struct Forward {
    client: reqwest::Client,
    targets: HashMap<String, Target>,
}

impl Forward {
    /// Ways to these upstreams; nothing is connected yet.
    ///
    /// # Errors
    /// [`ForwardError`] if TLS cannot be set up, or a key is no header value.
    pub fn new(upstreams: Vec<UpstreamConfig>) -> Result<Self, ForwardError> {
        let connect = upstreams.iter().map(|upstream| upstream.connect_timeout).max().unwrap_or(Duration::from_secs(5));
        let client = client_builder()?.connect_timeout(connect).build().map_err(set_up)?;
        let targets = upstreams.into_iter().map(|upstream| Ok((upstream.name.clone(), Target::new(&upstream)?)));
        Ok(Self { client, targets: targets.collect::<Result<_, _>>()? })
    }

    async fn send(
        &self,
        remote: &Remote,
        index: usize,
        request: Request<Bytes>,
    ) -> Result<(response::Parts, Words), UpstreamError> {
        let unreachable = |cause: String| UpstreamError::Unreachable { cause };
        let (mut head, body) = request.into_parts();
        if let Some((name, value)) = &remote.credential {
            head.headers.insert(name, value.clone());
        }
        let base_url = remote.base_urls.get(index).ok_or_else(|| unreachable("no such address".to_owned()))?;
        let url = format!("{base_url}{}", head.uri);
        let request = self.client.request(head.method, url).headers(head.headers).body(body);
        let answer = request.send().await.map_err(|error| unreachable(cause(error)))?;
        let mut head = Response::builder().status(answer.status());
        if let Some(headers) = head.headers_mut() {
            *headers = answer.headers().clone();
        }
        let (head, ()) = head.body(()).map_err(|error| unreachable(error.to_string()))?.into_parts();
        let pieces =
            answer.bytes_stream().map(|piece| piece.map_err(|error| UpstreamError::Cut { cause: cause(error) }));
        Ok((head, Box::pin(pieces)))
    }
}

impl Upstream for Forward {
    type Body = Pieces;

    async fn call(&self, call: Call) -> Result<Response<Pieces>, UpstreamError> {
        let Call { upstream, user, is_last, tried, outcome, request } = call;
        let Some(Target { pool, kind }) = self.targets.get(&upstream) else {
            return Err(UpstreamError::Unreachable { cause: format!("no upstream is called {upstream}") });
        };
        let visit = pool.enter(user, is_last, &tried, outcome.clone()).await?;
        let answer = match kind {
            Kind::Builtin { pace } => builtin::answer(&request, *pace, sleep),
            Kind::Remote(remote) => self.send(remote, visit.index(), request).await,
        };
        // The visit ends here then, before anyone else can tell.
        let (head, inner) = answer.inspect_err(|_| outcome.set_failed())?;
        Ok(Response::from_parts(head, Pieces { inner, visit: Some(visit) }))
    }

    /// Reads on for a moment, off the turn's way: a connection dropped in mid-answer cannot be used again, and the next
    /// turn would pay for another TLS handshake.
    fn release(&self, mut body: Pieces) {
        drop(body.visit.take());
        let rest = async move {
            let mut bytes = 0;
            while let Some(Ok(piece)) = body.next().await {
                bytes += piece.len();
                if bytes > REST_BYTES {
                    break;
                }
            }
        };
        tokio::spawn(timeout(REST_TIMEOUT, rest));
    }
}

impl fmt::Debug for Forward {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.targets.keys()).finish()
    }
}

/// Why the upstreams cannot be set up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForwardError(String);

impl std::error::Error for ForwardError {}

impl fmt::Display for ForwardError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An answer's bytes as they come; dropping them ends the call.
pub struct Pieces {
    inner: Words,
    visit: Option<Visit>,
}

impl Stream for Pieces {
    type Item = Result<Bytes, UpstreamError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(visit) = &mut self.visit {
            visit.look();
        }
        self.inner.as_mut().poll_next(context)
    }
}

impl fmt::Debug for Pieces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pieces").field("visit", &self.visit).finish_non_exhaustive()
    }
}

struct Target {
    pool: Arc<Pool>,
    kind: Kind,
}

enum Kind {
    Builtin { pace: Duration },
    Remote(Remote),
}

struct Remote {
    base_urls: Vec<String>,
    credential: Option<(HeaderName, HeaderValue)>,
}

impl Target {
    fn new(upstream: &UpstreamConfig) -> Result<Self, ForwardError> {
        let pool = Pool::new(upstream.base_urls.len(), upstream.concurrency);
        Ok(Self { pool, kind: Kind::new(upstream)? })
    }
}

impl Kind {
    fn new(upstream: &UpstreamConfig) -> Result<Self, ForwardError> {
        if upstream.is_builtin() {
            return Ok(Self::Builtin { pace: upstream.builtin_pace });
        }
        let credential = upstream.credential().map_err(|error| ForwardError(error.to_string()))?;
        Ok(Self::Remote(Remote { base_urls: upstream.base_urls.clone(), credential }))
    }
}

/// As much as is read of an answer after its end; the last chunk and an empty line, as a rule.
const REST_BYTES: usize = 4 << 10;
/// For as long.
const REST_TIMEOUT: Duration = Duration::from_secs(1);

/// What all our HTTP clients have in common.
pub(super) fn client_builder() -> Result<reqwest::ClientBuilder, ForwardError> {
    let builder = reqwest::Client::builder();
    Ok(builder.tls_backend_preconfigured(tls()?).redirect(reqwest::redirect::Policy::none()).no_proxy())
}

/// Why a client could not be built.
#[expect(clippy::needless_pass_by_value, reason = "goes into map_err")]
pub(super) fn set_up(error: reqwest::Error) -> ForwardError {
    ForwardError(format!("cannot set up the HTTP client: {error}"))
}

fn tls() -> Result<rustls::ClientConfig, ForwardError> {
    let roots = rustls::RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| ForwardError(format!("cannot set up TLS: {error}")))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

/// What failed, in the system's own words and those of the layer above it, without the URL.
pub(super) fn cause(error: reqwest::Error) -> String {
    let error = error.without_url();
    let (mut above, mut text) = (None, error.to_string());
    let mut source = error.source();
    while let Some(inner) = source {
        above = Some(std::mem::replace(&mut text, inner.to_string()));
        source = inner.source();
    }
    match above {
        // Some layers quote the one below.
        Some(above) if !above.contains(&text) => format!("{above}: {text}"),
        Some(above) => above,
        None => text,
    }
}
