//! The listener: HTTP/1.1 and HTTP/2 in clear text, connection limits, header timers, drain.
//!
//! TLS is left to what stands in front. A connection costs at most one head buffer until its head is whole.

use std::{convert::Infallible, io, net::SocketAddr, sync::Arc, time::Duration};

use http_body_util::Either;
use hyper::{Version, body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{conn::auto, graceful::GracefulShutdown},
};
use tokio::{net::TcpListener, sync::Semaphore, task::JoinSet, time};

use super::{NativeService, socket::Socket, unread::Watched};
use crate::{config::ServerConfig, principal::Peer};

/// A bound listener with its service.
pub struct Server {
    listener: TcpListener,
    config: ServerConfig,
    service: Arc<NativeService>,
    notes: Vec<String>,
}

impl Server {
    pub(super) async fn bind(
        address: SocketAddr,
        config: ServerConfig,
        service: NativeService,
        notes: Vec<String>,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        Ok(Self { listener, config, service: Arc::new(service), notes })
    }

    /// The address in use, with the port that the system chose where port 0 was asked for.
    ///
    /// # Errors
    /// [`io::Error`] if the system does not say.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// The service, for reloading.
    #[must_use]
    pub fn service(&self) -> Arc<NativeService> {
        Arc::clone(&self.service)
    }

    /// What an operator should know of, as it was seen at the start.
    #[must_use]
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Answers until `stop` ends; then lets requests under way end, for as long as the configuration allows.
    ///
    /// Once this ends, or is dropped, no connection is open any more.
    pub async fn run(self, stop: impl Future<Output = ()>) {
        let Self { listener, config, service, notes: _ } = self;
        let places = Arc::new(Semaphore::new(config.connections));
        let mut connections = JoinSet::new();
        let graceful = GracefulShutdown::new();
        let mut stop = std::pin::pin!(stop);
        loop {
            // Over the limit, connections wait in the system's queue instead of costing memory here.
            let place = tokio::select! {
                () = &mut stop => break,
                place = Arc::clone(&places).acquire_owned() => place,
            };
            let (stream, peer) = tokio::select! {
                () = &mut stop => break,
                accepted = listener.accept() => match accepted {
                    Ok(accepted) => accepted,
                    Err(_) => {
                        // Out of descriptors, mostly: other connections must end first.
                        time::sleep(ACCEPT_PAUSE).await;
                        continue;
                    }
                },
            };
            // Deltas are small, and wanted at once.
            let _ = stream.set_nodelay(true);
            let service = Arc::clone(&service);
            let answer = service_fn(move |mut request: hyper::Request<Incoming>| {
                request.extensions_mut().insert(Peer(peer.ip()));
                let service = Arc::clone(&service);
                async move {
                    let is_http2 = request.version() == Version::HTTP_2;
                    let answer = service.handle(request).await;
                    let body = |body| match is_http2 {
                        true => Either::Left(Watched::new(body, config.write_timeout)),
                        false => Either::Right(body),
                    };
                    Ok::<_, Infallible>(answer.map(body))
                }
            });
            let builder = connection_builder(&config);
            let socket = Socket::new(stream, config.head_timeout, config.write_timeout);
            let connection = builder.serve_connection(TokioIo::new(socket), answer).into_owned();
            let connection = graceful.watch(connection);
            // What is left of the connections that have ended.
            while connections.try_join_next().is_some() {}
            connections.spawn(async move {
                // A broken connection is its client's affair; the request's record says how far it came.
                let _ = connection.await;
                drop(place);
            });
        }
        drop(listener);
        service.drain();
        let mut ended = std::pin::pin!(graceful.shutdown());
        if time::timeout(config.drain_timeout, &mut ended).await.is_err() {
            // Streams that cannot end well are to end with a word, and with what had flowed.
            service.stop();
            let _ = time::timeout(LAST_WORDS, ended).await;
        }
        // Turns that end here give back what they have taken.
        connections.shutdown().await;
        service.guard().flush(LAST_WORDS).await;
    }
}

fn connection_builder(config: &ServerConfig) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        // Without a timer the header timeout does nothing.
        .timer(TokioTimer::new())
        .header_read_timeout(config.head_timeout)
        .max_buf_size(config.head_bytes)
        .max_headers(HEADERS_MAX);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(u32::try_from(config.head_bytes).unwrap_or(u32::MAX))
        .max_concurrent_streams(STREAMS_MAX)
        .keep_alive_interval(config.head_timeout)
        .keep_alive_timeout(config.head_timeout);
    builder
}

/// How long clients may take their last bytes after the time to drain is over.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// How long to wait before accepting again after accepting failed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// The most headers in a request.
const HEADERS_MAX: usize = 100;
/// The most requests at once on an HTTP/2 connection.
const STREAMS_MAX: u32 = 64;
