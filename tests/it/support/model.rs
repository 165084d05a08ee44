//! A model service on bare sockets. A test controls each byte.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::Notify,
    task::JoinHandle,
    time::timeout,
};

/// A step on a connection, after a request was read.
#[derive(Clone)]
pub(crate) enum Step {
    /// Sends bytes.
    Send(Bytes),
    /// Sends the same bytes this many times, or until the client closes the connection.
    Repeat(Bytes, usize),
    /// Waits until the client leaves.
    Wait,
    /// Resets the connection.
    Reset,
    /// Reads another request, and runs the script's steps for it.
    Again,
}

impl Step {
    pub(crate) fn send(bytes: impl Into<Bytes>) -> Self {
        Self::Send(bytes.into())
    }
}

/// The steps for each request, by the request's number.
type Script = dyn Fn(usize) -> Vec<Step> + Send + Sync;

/// A running model service. Dropping it stops it.
pub(crate) struct Model {
    address: SocketAddr,
    seen: Arc<Seen>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct Seen {
    requests: Mutex<Vec<Received>>,
    connections: AtomicUsize,
    sent_bytes: AtomicUsize,
    left: Notify,
}

/// A received request.
#[derive(Clone)]
pub(crate) struct Received {
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Model {
    /// Starts a model service that runs the steps of `script` for each request, and then closes the
    /// connection.
    pub(crate) async fn start(script: impl Fn(usize) -> Vec<Step> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, seen) = (listener.local_addr().unwrap(), Arc::<Seen>::default());
        let script: Arc<Script> = Arc::new(script);
        let all = Arc::clone(&seen);
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                all.connections.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(serve(stream, Arc::clone(&script), Arc::clone(&all)));
            }
        });
        Self { address, seen, task }
    }

    /// Stops it, and waits until its port is closed.
    pub(crate) async fn stop(mut self) {
        self.task.abort();
        let _ = (&mut self.task).await;
    }

    /// Its address.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its base URL.
    pub(crate) fn url(&self) -> String {
        format!("http://{}/base", self.address)
    }

    /// Takes the requests so far.
    pub(crate) fn requests(&self) -> Vec<Received> {
        std::mem::take(&mut *self.seen.requests.lock().unwrap())
    }

    /// The number of connections so far.
    pub(crate) fn connections(&self) -> usize {
        self.seen.connections.load(Ordering::Relaxed)
    }

    /// The number of bytes that clients have accepted so far.
    pub(crate) fn sent_bytes(&self) -> usize {
        self.seen.sent_bytes.load(Ordering::Relaxed)
    }

    /// Waits until a client has closed a connection at [`Step::Wait`].
    pub(crate) async fn left(&self) {
        timeout(Duration::from_secs(20), self.seen.left.notified()).await.expect("the client does not leave");
    }
}

impl Drop for Model {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(mut stream: TcpStream, script: Arc<Script>, seen: Arc<Seen>) {
    stream.set_nodelay(true).unwrap();
    while let Some(request) = read_request(&mut stream).await {
        let number = {
            let mut requests = seen.requests.lock().unwrap();
            requests.push(request);
            requests.len() - 1
        };
        let mut again = false;
        for step in script(number) {
            match step {
                Step::Send(bytes) => drop(stream.write_all(&bytes).await),
                Step::Repeat(bytes, times) => {
                    for _ in 0..times {
                        if stream.write_all(&bytes).await.is_err() {
                            break;
                        }
                        seen.sent_bytes.fetch_add(bytes.len(), Ordering::Relaxed);
                    }
                }
                Step::Wait => {
                    let _ = stream.read(&mut [0]).await;
                    seen.left.notify_one();
                }
                Step::Reset => stream.set_zero_linger().unwrap(),
                Step::Again => again = true,
            }
        }
        if !again {
            return;
        }
    }
}

async fn read_request(stream: &mut TcpStream) -> Option<Received> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).unwrap();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap_or("0");
    let mut body = vec![0; length.parse().unwrap()];
    stream.read_exact(&mut body).await.ok()?;
    Some(Received { head, body: String::from_utf8(body).unwrap() })
}
