//! Upstreams over the network, and the built-in one beside them.
//!
//! One pooled client for all, HTTP/1.1 and HTTP/2. No redirects (they could carry a credential elsewhere), no proxy from
//! the environment, no address that a client chose. Certificates are checked against the Mozilla roots in the binary,
//! since a scratch image has none.

use std::{collections::HashMap, error::Error as _, fmt, pin::Pin, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_core::Stream;
use futures_util::{StreamExt as _, stream};
use http::{HeaderName, HeaderValue, Request, Response, header};
use tokio::time::{sleep, timeout};

use crate::{
    config::UpstreamConfig,
    proto::dialect,
    upstream::{Upstream, UpstreamError},
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

    async fn send(&self, remote: &Remote, request: Request<Bytes>) -> Result<Response<Pieces>, UpstreamError> {
        let (mut head, body) = request.into_parts();
        if let Some((name, value)) = &remote.credential {
            head.headers.insert(name, value.clone());
        }
        let url = format!("{}{}", remote.base_url, head.uri);
        let request = self.client.request(head.method, url).headers(head.headers).body(body);
        let response = request.send().await.map_err(|error| UpstreamError::Unreachable { cause: cause(error) })?;
        let mut answer = Response::builder().status(response.status());
        if let Some(headers) = answer.headers_mut() {
            *headers = response.headers().clone();
        }
        let pieces =
            response.bytes_stream().map(|piece| piece.map_err(|error| UpstreamError::Cut { cause: cause(error) }));
        let pieces: Pieces = Box::pin(pieces);
        answer.body(pieces).map_err(|error| UpstreamError::Unreachable { cause: error.to_string() })
    }
}

impl Upstream for Forward {
    type Body = Pieces;

    async fn call(&self, upstream: &str, request: Request<Bytes>) -> Result<Response<Pieces>, UpstreamError> {
        match self.targets.get(upstream) {
            Some(Target::Remote(remote)) => self.send(remote, request).await,
            Some(Target::Builtin { pace }) => builtin(&request, *pace),
            None => Err(UpstreamError::Unreachable { cause: format!("no upstream is called {upstream}") }),
        }
    }

    /// Reads on for a moment, off the turn's way: a connection dropped in mid-answer cannot be used again, and the next
    /// turn would pay for another TLS handshake.
    fn release(&self, mut body: Pieces) {
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

/// An answer's bytes as they come.
pub type Pieces = Pin<Box<dyn Stream<Item = Result<Bytes, UpstreamError>> + Send>>;

enum Target {
    Builtin { pace: Duration },
    Remote(Remote),
}

struct Remote {
    base_url: String,
    credential: Option<(HeaderName, HeaderValue)>,
}

impl Target {
    fn new(upstream: &UpstreamConfig) -> Result<Self, ForwardError> {
        if upstream.base_url.is_empty() {
            return Ok(Self::Builtin { pace: upstream.builtin_pace });
        }
        let credential = upstream.api_key.as_ref().map(|key| {
            let (name, prefix) = upstream.dialect.credential();
            let mut value = HeaderValue::from_str(&format!("{prefix}{}", &**key)).map_err(|_| {
                ForwardError(format!("the key of upstream {} holds a control character", upstream.name))
            })?;
            value.set_sensitive(true);
            Ok((name, value))
        });
        Ok(Self::Remote(Remote { base_url: upstream.base_url.clone(), credential: credential.transpose()? }))
    }
}

/// Asks the built-in model, which answers at once; its words come at `pace`.
fn builtin(request: &Request<Bytes>, pace: Duration) -> Result<Response<Pieces>, UpstreamError> {
    let unreachable = |cause: String| UpstreamError::Unreachable { cause };
    let pieces = dialect::builtin_answer(request.body()).map_err(|error| unreachable(error.to_string()))?;
    let streamed =
        request.headers().get(header::ACCEPT).is_some_and(|form| form == dialect::builtin_content_type(true));
    let pieces: Pieces = if pace.is_zero() {
        Box::pin(stream::iter(pieces.into_iter().map(Ok)))
    } else {
        Box::pin(stream::iter(pieces).then(move |piece| async move {
            sleep(pace).await;
            Ok(piece)
        }))
    };
    Response::builder()
        .header(header::CONTENT_TYPE, dialect::builtin_content_type(streamed))
        .body(pieces)
        .map_err(|error| unreachable(error.to_string()))
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
