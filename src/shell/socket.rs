//! A connection's socket, on which no wait for the client is without an end.
//!
//! hyper's timers begin once the version is known, and watch reading alone. So this one bounds the first bytes, which tell
//! HTTP/2 from HTTP/1, and the time for which a client may take nothing of what is written to it.

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

/// A socket that fails with [`io::ErrorKind::TimedOut`] where its client lets it wait for too long.
pub(super) struct Socket {
    stream: TcpStream,
    /// Runs until the client has shown which version it speaks.
    greeting: Option<Pin<Box<Sleep>>>,
    /// The bytes of the HTTP/2 preface that have come.
    preface_bytes: usize,
    write_timeout: Duration,
    /// Runs while the client takes nothing.
    stalled: Option<Pin<Box<Sleep>>>,
}

impl Socket {
    pub(super) fn new(stream: TcpStream, greeting_timeout: Duration, write_timeout: Duration) -> Self {
        let greeting = Some(Box::pin(sleep(greeting_timeout)));
        Self { stream, greeting, preface_bytes: 0, write_timeout, stalled: None }
    }

    /// Ends the greeting once `bytes` show the version: at the first that is not the preface's, or at its last.
    fn greet(&mut self, bytes: &[u8]) {
        if self.greeting.is_some() {
            let rest = PREFACE.get(self.preface_bytes..).unwrap_or_default();
            if rest.starts_with(bytes) && rest != bytes {
                self.preface_bytes = self.preface_bytes.saturating_add(bytes.len());
            } else {
                self.greeting = None;
            }
        }
    }

    fn bound_write<T>(&mut self, context: &mut Context<'_>, outcome: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if outcome.is_ready() {
            self.stalled = None;
            return outcome;
        }
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(self.write_timeout)));
        ready!(stalled.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        match (Pin::new(&mut this.stream).poll_read(context, buffer), &mut this.greeting) {
            (Poll::Pending, Some(greeting)) => {
                ready!(greeting.as_mut().poll(context));
                Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
            }
            (outcome, _) => {
                this.greet(buffer.filled().get(before..).unwrap_or_default());
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

/// What an HTTP/2 client says first (RFC 9113 §3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
