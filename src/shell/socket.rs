//! A connection's socket with timeouts for every wait for the client.
//!
//! hyper's timers start when the HTTP version is known, and they watch only reads. This socket
//! limits the time until the first bytes, which distinguish HTTP/2 from HTTP/1, and the time in
//! which the client accepts no bytes.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::{Sleep, sleep},
};

/// A socket that fails with [`io::ErrorKind::TimedOut`] if its client is too slow.
pub(super) struct Socket {
    stream: TcpStream,
    /// Runs until the client has sent enough bytes to tell the HTTP version.
    version_timer: Option<Pin<Box<Sleep>>>,
    /// The number of bytes of the HTTP/2 preface so far.
    preface_bytes: usize,
    write_timeout: Duration,
    /// Runs while the client accepts no bytes.
    write_timer: Option<Pin<Box<Sleep>>>,
}

impl Socket {
    pub(super) fn new(stream: TcpStream, version_timeout: Duration, write_timeout: Duration) -> Self {
        let version_timer = Some(Box::pin(sleep(version_timeout)));
        Self { stream, version_timer, preface_bytes: 0, write_timeout, write_timer: None }
    }

    /// Stops the first timeout when `bytes` tell the version: at the first byte that differs from
    /// the preface, or at its last byte.
    fn read_version(&mut self, bytes: &[u8]) {
        if self.version_timer.is_some() {
            let rest = PREFACE.get(self.preface_bytes..).unwrap_or_default();
            if rest.starts_with(bytes) && rest != bytes {
                self.preface_bytes = self.preface_bytes.saturating_add(bytes.len());
            } else {
                self.version_timer = None;
            }
        }
    }

    fn bound_write<T>(&mut self, context: &mut Context<'_>, outcome: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if outcome.is_ready() {
            self.write_timer = None;
            return outcome;
        }
        let write_timer = self.write_timer.get_or_insert_with(|| Box::pin(sleep(self.write_timeout)));
        ready!(write_timer.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        match (Pin::new(&mut this.stream).poll_read(context, buffer), &mut this.version_timer) {
            (Poll::Pending, Some(version_timer)) => {
                ready!(version_timer.as_mut().poll(context));
                Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
            }
            (outcome, _) => {
                this.read_version(buffer.filled().get(before..).unwrap_or_default());
                outcome
            }
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let outcome = Pin::new(&mut this.stream).poll_write(context, bytes);
        this.bound_write(context, outcome)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let outcome = Pin::new(&mut this.stream).poll_write_vectored(context, slices);
        this.bound_write(context, outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// The first bytes of an HTTP/2 client (RFC 9113 §3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
