//! Clients: a well-behaved one, and a bare socket for everything else.

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::{
    body::Incoming,
    client::conn::{http1, http2},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
    time::timeout,
};

use super::{answer::Answer, hand};

/// A time limit that only a hanging test reaches.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A connection of a well-behaved client.
pub(crate) enum Client {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

impl Client {
    /// Connects. Requests are sent one after another.
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        Self::try_connect(address).await.unwrap()
    }

    /// Connects. `None` if the server does not listen.
    pub(crate) async fn try_connect(address: SocketAddr) -> Option<Self> {
        let stream = TcpStream::connect(address).await.ok()?;
        stream.set_nodelay(true).unwrap();
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.ok()?;
        tokio::spawn(connection);
        Some(Self::Http1(sender))
    }

    /// Connects with HTTP/2 without TLS, with prior knowledge (RFC 9113 §3.3).
    pub(crate) async fn connect_http2(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        Self::Http2(sender)
    }

    /// Sends a request. Returns the head of the response.
    pub(crate) async fn open(&mut self, request: Request<Full<Bytes>>) -> hyper::Result<Response<Incoming>> {
        let sending = async {
            match self {
                Self::Http1(sender) => {
                    sender.ready().await?;
                    sender.send_request(request).await
                }
                Self::Http2(sender) => {
                    sender.ready().await?;
                    sender.send_request(request).await
                }
            }
        };
        timeout(PATIENCE, sending).await.expect("no response")
    }

    /// Sends a request. Returns the complete response, if there is one.
    pub(crate) async fn try_send(&mut self, request: Request<Full<Bytes>>) -> hyper::Result<Answer> {
        let (head, body) = self.open(request).await?.into_parts();
        let body = timeout(PATIENCE, body.collect()).await.expect("the response does not end")?.to_bytes();
        Ok(Answer { status: head.status, headers: head.headers, body })
    }

    /// Sends a request. Returns the complete response.
    pub(crate) async fn send(&mut self, request: Request<Full<Bytes>>) -> Answer {
        self.try_send(request).await.unwrap()
    }

    /// Sends a body of JSON to a path.
    pub(crate) async fn post(&mut self, path: &str, body: &Value) -> Answer {
        self.send(json_request(path, body)).await
    }

    /// Takes a turn.
    pub(crate) async fn turn(&mut self, body: &Value) -> Answer {
        self.post("/v1/turns", body).await
    }
}

/// Runs an attack while a well-behaved client takes one turn after another, and one more
/// afterwards.
pub(crate) async fn beside<T>(address: SocketAddr, attack: impl Future<Output = T>) -> T {
    // With a user name: unnamed callers are counted by address, which is also the attacker's.
    let hi = json!({ "input": "My name is Ada.", "user_id": "ada" });
    let outcome = {
        let turns = async {
            let mut client = Client::connect(address).await;
            loop {
                match client.try_send(json_request("/v1/turns", &hi)).await {
                    Ok(answer) => assert_eq!(answer.status, StatusCode::OK),
                    // While the attack keeps this thread busy, the connection may be idle for too
                    // long. The client then opens another one.
                    Err(_) => {
                        client = Client::connect(address).await;
                        assert_eq!(client.turn(&hi).await.status, StatusCode::OK);
                    }
                }
            }
        };
        tokio::select! {
            outcome = timeout(PATIENCE, attack) => outcome.expect("the attack does not end"),
            never = turns => never,
        }
    };
    assert_eq!(Client::connect(address).await.turn(&hi).await.status, StatusCode::OK);
    outcome
}

/// A request with a body of JSON.
pub(crate) fn json_request(path: &str, body: &Value) -> Request<Full<Bytes>> {
    hand::post(path).body(Full::new(body.to_string().into())).unwrap()
}

/// A socket for bytes that no client library sends.
pub(crate) struct Raw(pub(crate) TcpStream);

impl Raw {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        Self(TcpStream::connect(address).await.unwrap())
    }

    /// Connects from the loopback address `127.0.0.n`, as another peer.
    pub(crate) async fn connect_from(peer: u8, address: SocketAddr) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(([127, 0, 0, peer], 0).into()).unwrap();
        Self(socket.connect(address).await.unwrap())
    }

    /// Sends bytes. Ignores that the server has closed the connection.
    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = timeout(PATIENCE, self.0.write_all(bytes.as_ref())).await.expect("the server does not read");
    }

    /// Closes the sending side.
    pub(crate) async fn finish(&mut self) {
        let _ = self.0.shutdown().await;
    }

    /// All bytes that the server sends until it closes the connection.
    pub(crate) async fn rest(&mut self) -> String {
        let mut bytes = Vec::new();
        let reading = async {
            let mut piece = [0; 4096];
            // A reset ends a response as well.
            while let Ok(1..) = self.0.read(&mut piece).await.inspect(|length| bytes.extend(&piece[..*length])) {}
        };
        timeout(PATIENCE, reading).await.expect("the server does not close");
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The bytes that the server sends, up to the end of `mark`.
    pub(crate) async fn until(&mut self, mark: &str) -> String {
        let mut text = Vec::new();
        let reading = async {
            while !text.ends_with(mark.as_bytes()) {
                text.push(self.0.read_u8().await.expect("the server closed"));
            }
        };
        timeout(PATIENCE, reading).await.unwrap_or_else(|_| panic!("`{mark}` does not arrive"));
        String::from_utf8(text).unwrap()
    }
}
