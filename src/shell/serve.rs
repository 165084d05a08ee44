//! The listener: HTTP/1.1 and HTTP/2 in clear text, connection limits, header timers, drain.
//!
//! TLS is left to what stands in front. A connection costs at most one head buffer until its head is whole, and ends
//! when it has been without a request for as long as a head may take.

use std::{convert::Infallible, io, net::SocketAddr, sync::Arc, time::Duration};

use http::{HeaderValue, Version, header::CONNECTION};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
    task::JoinSet,
    time,
};

use super::{
    NativeService, Prepared,
    busy::Requests,
    socket::Socket,
    unread::{Patience, Watched},
    wind_down,
};
use crate::{config::ServerConfig, guard, principal::Peer, service::slots::Slots};

/// A bound listener with its service.
pub struct Server {
    listener: TcpListener,
    config: ServerConfig,
    prepared: Prepared,
}

impl Server {
    pub(super) async fn bind(address: SocketAddr, config: ServerConfig, prepared: Prepared) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        Ok(Self { listener, config, prepared })
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
        Arc::clone(&self.prepared.service)
    }

    /// What an operator should know of, as it was seen at the start.
    #[must_use]
    pub fn notes(&self) -> &[String] {
        &self.prepared.notes
    }

    /// Answers until `stop` ends; then lets requests under way end, for as long as the configuration allows.
    ///
    /// Once this ends, or is dropped, no connection is open any more.
    pub async fn run(self, stop: impl Future<Output = ()>) {
        let Self { listener, config, prepared } = self;
        // Ends with this future, as the connections do.
        let _beside = prepared.work_beside();
        let service = prepared.service;
        let (leave, leaving) = watch::channel(());
        let mut acceptor = Acceptor {
            listener,
            places: Arc::new(Semaphore::new(config.connections)),
            peers: Slots::new(usize::MAX, config.connections_per_peer),
            config: config.clone(),
            service: Arc::clone(&service),
            leaving,
            connections: JoinSet::new(),
        };
        acceptor.accept_until(stop).await;
        service.drain();
        // Balancers find out by `/ready`, and send some more until then.
        acceptor.accept_until(time::sleep(config.lame_duck)).await;
        let connections = acceptor.close();
        let _ = leave.send(());
        wind_down(&service, connections, config.drain_timeout).await;
    }
}

/// Where connections come in.
struct Acceptor {
    listener: TcpListener,
    config: ServerConfig,
    service: Arc<NativeService>,
    /// Connections at once.
    places: Arc<Semaphore>,
    /// The same of one peer.
    peers: Slots,
    /// Changes when all are to leave.
    leaving: watch::Receiver<()>,
    connections: JoinSet<()>,
}

impl Acceptor {
    /// Serves those who come until `end` ends.
    async fn accept_until(&mut self, end: impl Future<Output = ()>) {
        let mut end = std::pin::pin!(end);
        loop {
            // Over the limit, connections wait in the system's queue instead of costing memory here.
            let place = tokio::select! {
                () = &mut end => return,
                place = Arc::clone(&self.places).acquire_owned() => place,
            };
            let (stream, address) = tokio::select! {
                () = &mut end => return,
                accepted = self.listener.accept() => match accepted {
                    Ok(accepted) => accepted,
                    Err(_) => {
                        // Out of descriptors, mostly: other connections must end first.
                        time::sleep(ACCEPT_PAUSE).await;
                        continue;
                    }
                },
            };
            // One connection too many of this peer is closed without a word.
            let Ok(share) = self.peers.take(Some(guard::network(address.ip()))) else { continue };
            // Deltas are small, and wanted at once.
            let _ = stream.set_nodelay(true);
            // What is left of the connections that have ended.
            while self.connections.try_join_next().is_some() {}
            let (service, config) = (Arc::clone(&self.service), self.config.clone());
            let connection = serve(stream, Peer(address.ip()), service, config, self.leaving.clone());
            self.connections.spawn(async move {
                connection.await;
                drop((place, share));
            });
        }
    }

    /// Lets nobody in any more; gives the connections that there are.
    fn close(self) -> JoinSet<()> {
        self.connections
    }
}

/// Answers the requests of one connection, until it ends, or has been idle for too long, or everything is to.
async fn serve(
    stream: TcpStream,
    peer: Peer,
    service: Arc<NativeService>,
    config: ServerConfig,
    mut leaving: watch::Receiver<()>,
) {
    let requests = Requests::new();
    let patience = Patience { pause: config.write_timeout, whole: config.answer_timeout };
    let answer = service_fn(|mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(peer);
        let (service, busy) = (Arc::clone(&service), requests.begin());
        async move {
            let is_last = request.version() < Version::HTTP_2 && service.is_draining();
            let mut answer = service.handle(request).await;
            if is_last {
                answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok::<_, Infallible>(answer.map(|body| Watched::new(body, busy, patience)))
        }
    });
    let socket = Socket::new(stream, config.head_timeout, config.write_timeout);
    let builder = connection_builder(&config);
    let mut connection = std::pin::pin!(builder.serve_connection(TokioIo::new(socket), answer));
    let (mut told, mut is_idle) = (false, false);
    loop {
        tokio::select! {
            // A broken connection is its client's affair; the request's record says how far it came.
            _ = connection.as_mut() => return,
            _ = leaving.changed(), if !told => told = true,
            () = requests.idle(config.head_timeout) => {
                // The client was told, and stays: with streams that it does not read to their end, for one.
                if is_idle {
                    return;
                }
                is_idle = true;
                requests.restart();
            }
        }
        connection.as_mut().graceful_shutdown();
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
        .max_pending_accept_reset_streams(RESETS_MAX)
        .max_local_error_reset_streams(RESETS_MAX)
        .max_send_buf_size(SEND_BYTES)
        .keep_alive_interval(config.head_timeout)
        .keep_alive_timeout(config.head_timeout);
    builder
}

/// How long to wait before accepting again after accepting failed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// The most headers in a request.
const HEADERS_MAX: usize = 100;
/// The most requests at once on an HTTP/2 connection.
const STREAMS_MAX: u32 = 64;
/// The most streams of an HTTP/2 connection that were reset before they were looked at (CVE-2023-44487), and the most that
/// its client's errors made us reset (CVE-2025-8671); one more ends the connection. Clients that keep to the rules cause
/// none of the latter.
const RESETS_MAX: usize = 64;
/// The most bytes of an answer that wait in an HTTP/2 stream for its client's window.
const SEND_BYTES: usize = 64 << 10;
