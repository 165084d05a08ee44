//! An HTTP proxy between the server and its model service.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

/// How a proxy treats a request.
#[derive(Clone, Copy)]
pub(crate) enum Policy {
    /// Connects for everyone.
    Open,
    /// Connects only with this value of `Proxy-Authorization`; otherwise, status 407.
    Protected(&'static str),
    /// Status 403.
    Closed,
}

/// A running proxy. Dropping it stops it.
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    heads: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

impl Proxy {
    pub(crate) async fn start(policy: Policy) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, heads) = (listener.local_addr().unwrap(), Arc::<Mutex<Vec<String>>>::default());
        let all = Arc::clone(&heads);
        let task = tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                tokio::spawn(serve(client, policy, Arc::clone(&all)));
            }
        });
        Self { address, heads, task }
    }

    /// Takes the heads of the requests so far.
    pub(crate) fn heads(&self) -> Vec<String> {
        std::mem::take(&mut *self.heads.lock().unwrap())
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Opens a tunnel, or passes on a request for an `http:` URL.
async fn serve(mut client: TcpStream, policy: Policy, heads: Arc<Mutex<Vec<String>>>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let Ok(byte) = client.read_u8().await else { return };
        head.push(byte);
    }
    let text = String::from_utf8(head.clone()).unwrap();
    heads.lock().unwrap().push(text.clone());
    let refusal = match policy {
        Policy::Open => None,
        Policy::Protected(credential) if text.to_ascii_lowercase().contains("proxy-authorization: ") => {
            (!text.contains(credential)).then_some("407 No")
        }
        Policy::Protected(_) => Some("407 Who are you"),
        Policy::Closed => Some("403 No"),
    };
    if let Some(status) = refusal {
        let _ = client.write_all(format!("HTTP/1.1 {status}\r\ncontent-length: 2\r\n\r\nno").as_bytes()).await;
        // Closing with unread bytes would reset the connection.
        let _ = client.shutdown().await;
        let _ = client.read_to_end(&mut Vec::new()).await;
        return;
    }
    let target = text.split(' ').nth(1).unwrap();
    let is_tunnel = text.starts_with("CONNECT ");
    let address = target.trim_start_matches("http://").split('/').next().unwrap();
    let mut server = TcpStream::connect(address).await.unwrap();
    if is_tunnel {
        client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await.unwrap();
    } else {
        server.write_all(&head).await.unwrap();
    }
    let _ = copy_bidirectional(&mut client, &mut server).await;
}
