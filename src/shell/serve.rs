//! The listener: HTTP/1.1 and HTTP/2 without TLS, connection limits, header timers, drain.
//!
//! TLS is the task of a proxy in front. Until its first head is complete, a connection costs at
//! most one head buffer. A connection without a request is closed after the time that a head may
//! take.

use std::{convert::Infallible, io, net::SocketAddr, sync::Arc, time::Duration};

use http::{HeaderValue, Request, Response, Version, header::CONNECTION};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    task::JoinSet,
    time,
};

use super::{
    busy::{InFlight, Requests},
    native::NativeService,
    prepared::{PreparedService, StartError, drain},
    socket::Socket,
    unread::{ReadLimits, WatchedBody},
};
use crate::{
    config::{Config, ServerConfig},
    guard,
    principal::Peer,
    service::{Log, slots::Slots},
};

/// Builds the service of a configuration and binds its listener. It accepts connections when
/// [`Server::run`] is awaited.
///
/// # Errors
/// [`StartError`] if the address cannot be bound, or if the upstreams or the guard cannot be set
/// up. A limits store that does not answer is not an error: [`Server::warnings`] reports it, and it
/// may start later.
pub async fn start(config: Config, log: Box<dyn Log>) -> Result<Server, StartError> {
    let (address, server) = (config.listen, config.server.clone());
    let prepared = PreparedService::new(config, log).await?;
    let listener = TcpListener::bind(address).await.map_err(StartError::Listen)?;
    Ok(Server { listener, config: server, prepared })
}

/// A bound listener with its service.
pub struct Server {
    listener: TcpListener,
    config: ServerConfig,
    prepared: PreparedService,
}

impl Server {
    /// The address in use, with the port that the system chose if the configured port is 0.
    ///
    /// # Errors
    /// [`io::Error`] if the system does not report the address.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// The service, for reloading.
    #[must_use]
    pub fn service(&self) -> Arc<NativeService> {
        Arc::clone(&self.prepared.service)
    }

    /// Warnings for the operator from the start.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.prepared.warnings
    }

    /// Handles connections until `stop` completes. Then the requests in flight may end, within the
    /// configured drain timeout.
    ///
    /// When this future completes or is dropped, all connections are closed.
    pub async fn run(self, stop: impl Future<Output = ()>) {
        let Self { listener, config, prepared } = self;
        // Ends with this future, like the connections.
        let _background = prepared.spawn_background_tasks();
        let service = prepared.service;
        let (close, closing) = watch::channel(());
        let mut acceptor = Acceptor {
            listener,
            slots: Arc::new(Semaphore::new(config.connections)),
            peers: Slots::new(usize::MAX, config.connections_per_peer),
            config: config.clone(),
            service: Arc::clone(&service),
            closing,
            connections: JoinSet::new(),
        };
        acceptor.accept_until(stop).await;
        service.drain();
        // Load balancers learn from `/ready` that this instance drains, and send requests until
        // then.
        acceptor.accept_until(time::sleep(config.lame_duck)).await;
        let connections = acceptor.close();
        let _ = close.send(());
        drain(&service, connections, config.drain_timeout).await;
    }
}

/// Accepts connections.
struct Acceptor {
    listener: TcpListener,
    config: ServerConfig,
    service: Arc<NativeService>,
    /// The slots for concurrent connections.
    slots: Arc<Semaphore>,
    /// The slots of each peer.
    peers: Slots,
    /// Changes when all connections must close.
    closing: watch::Receiver<()>,
    connections: JoinSet<()>,
}

impl Acceptor {
    /// Handles new connections until `end` completes.
    async fn accept_until(&mut self, end: impl Future<Output = ()>) {
        let mut end = std::pin::pin!(end);
        loop {
            // At the limit, connections wait in the system's queue, where they cost no memory here.
            let slot = tokio::select! {
                () = &mut end => return,
                slot = Arc::clone(&self.slots).acquire_owned() => slot.ok(),
            };
            let accepted = tokio::select! {
                () = &mut end => return,
                accepted = self.listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, address)) => self.spawn(stream, address, slot),
                // Usually there are no free descriptors: other connections must end first.
                Err(_) => time::sleep(ACCEPT_PAUSE).await,
            }
        }
    }

    /// Handles a connection in a task of its own. It is closed without a response if its peer has
    /// too many.
    fn spawn(&mut self, stream: TcpStream, address: SocketAddr, slot: Option<OwnedSemaphorePermit>) {
        let peer = address.ip();
        let counted = (!self.service.is_listed_proxy(peer)).then(|| guard::network(peer));
        let Ok(peer_slot) = self.peers.take(counted) else { return };
        // Deltas are small, and must not be delayed.
        let _ = stream.set_nodelay(true);
        // Removes the connections that have ended.
        while self.connections.try_join_next().is_some() {}
        let (service, config) = (Arc::clone(&self.service), self.config.clone());
        let connection = serve(stream, Peer(peer), service, config, self.closing.clone());
        self.connections.spawn(async move {
            connection.await;
            drop((slot, peer_slot));
        });
    }

    /// Closes the listener. Returns the connections.
    fn close(self) -> JoinSet<()> {
        self.connections
    }
}

/// Handles the requests of one connection until it ends, is idle for too long, or must close.
async fn serve(
    stream: TcpStream,
    peer: Peer,
    service: Arc<NativeService>,
    config: ServerConfig,
    mut closing: watch::Receiver<()>,
) {
    let requests = Requests::new();
    let limits = ReadLimits { pause: config.write_timeout, total: config.answer_timeout };
    let handler = service_fn(|mut request: Request<Incoming>| {
        request.extensions_mut().insert(peer);
        respond(Arc::clone(&service), request, requests.begin(), limits)
    });
    let socket = Socket::new(stream, config.head_timeout, config.write_timeout);
    let builder = connection_builder(&config);
    let mut connection = std::pin::pin!(builder.serve_connection(TokioIo::new(socket), handler));
    let (mut is_closing, mut was_idle) = (false, false);
    loop {
        tokio::select! {
            // An I/O error ends the connection. The record of each request says how far it came.
            _ = connection.as_mut() => return,
            _ = closing.changed(), if !is_closing => is_closing = true,
            () = requests.idle(config.head_timeout) => {
                // After the graceful shutdown, the client has kept the connection open, for example
                // with streams whose end it does not read.
                if was_idle {
                    return;
                }
                was_idle = true;
                requests.restart();
            }
        }
        connection.as_mut().graceful_shutdown();
    }
}

/// Responds to one request. A draining server closes an HTTP/1 connection after the response.
async fn respond(
    service: Arc<NativeService>,
    request: Request<Incoming>,
    in_flight: InFlight,
    limits: ReadLimits,
) -> Result<Response<WatchedBody>, Infallible> {
    let is_last = request.version() < Version::HTTP_2 && service.is_draining();
    let mut response = service.handle(request).await;
    if is_last {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(response.map(|body| WatchedBody::new(body, in_flight, limits)))
}

fn connection_builder(config: &ServerConfig) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        // Without a timer, the header timeout has no effect.
        .timer(TokioTimer::new())
        .header_read_timeout(config.head_timeout)
        .max_buf_size(config.head_bytes)
        .max_headers(HEADERS_MAX);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(u32::try_from(config.head_bytes).unwrap_or(u32::MAX))
        .max_concurrent_streams(STREAMS_MAX)
        .max_pending_accept_reset_streams(RESETS_MAX)
        .max_local_error_reset_streams(RESETS_MAX)
        .max_send_buf_size(SEND_BYTES)
        .keep_alive_interval(config.head_timeout)
        .keep_alive_timeout(config.head_timeout);
    builder
}

/// The pause after `accept` failed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// The most headers in a request.
const HEADERS_MAX: usize = 100;
/// The most concurrent requests on an HTTP/2 connection.
const STREAMS_MAX: u32 = 64;
/// The most streams of an HTTP/2 connection that the client reset before they were handled
/// (CVE-2023-44487), and the most that the server reset because of client errors (CVE-2025-8671).
/// One more ends the connection. A client that follows the protocol causes none of the latter.
const RESETS_MAX: usize = 64;
/// The most response bytes of an HTTP/2 stream that wait for the client's window.
const SEND_BYTES: usize = 64 << 10;
