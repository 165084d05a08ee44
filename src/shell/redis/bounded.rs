//! A connection to the store whose answers have a limit. Without one, a server that answers with an
//! endless text would fill the memory until the call times out.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A stream that fails after [`ANSWER_BYTES`] without a call in between.
pub(super) struct BoundedAnswers<S> {
    stream: S,
    /// The bytes that may still come before the next call.
    left: usize,
}

impl<S> BoundedAnswers<S> {
    pub(super) fn new(stream: S) -> Self {
        Self { stream, left: ANSWER_BYTES }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for BoundedAnswers<S> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.left == 0 {
            return Poll::Ready(Err(io::Error::other(format!("an answer is over the limit of {ANSWER_BYTES} bytes"))));
        }
        let before = buffer.filled().len();
        ready!(Pin::new(&mut this.stream).poll_read(context, buffer))?;
        this.left = this.left.saturating_sub(buffer.filled().len().saturating_sub(before));
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for BoundedAnswers<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = ready!(Pin::new(&mut this.stream).poll_write(context, bytes))?;
        if written > 0 {
            this.left = ANSWER_BYTES;
        }
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// The most bytes of the answers to the calls in flight. One has a few hundred.
const ANSWER_BYTES: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test]
    async fn answers_have_a_limit_and_a_call_renews_it() {
        let (ours, theirs) = tokio::io::duplex(ANSWER_BYTES * 2);
        let (mut bounded, mut server) = (BoundedAnswers::new(ours), theirs);
        let mut answer = vec![0; ANSWER_BYTES];
        server.write_all(&answer).await.unwrap();
        bounded.read_exact(&mut answer).await.unwrap();
        bounded.write_all(b"a").await.unwrap();
        server.write_all(&answer).await.unwrap();
        server.write_all(b"b").await.unwrap();
        bounded.read_exact(&mut answer).await.unwrap();
        let error = bounded.read_u8().await.unwrap_err();
        assert_eq!(error.to_string(), "an answer is over the limit of 1048576 bytes");
    }
}
