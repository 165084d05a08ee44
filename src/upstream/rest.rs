//! Reads the end of a response whose reply is already complete.

use std::pin::pin;

use bytes::Bytes;
use futures_util::{FutureExt as _, Stream, StreamExt as _};

use super::UpstreamError;

/// Reads the rest of `body` and drops it, at most 4 KiB and until `timeout` completes.
///
/// Some formats announce the end of a reply before the last byte of the body, usually before the
/// last chunk and an empty line. A connection that is dropped before that byte cannot be used
/// again, and the next call pays for another TLS handshake.
pub async fn discard(
    mut body: impl Stream<Item = Result<Bytes, UpstreamError>> + Unpin,
    timeout: impl Future<Output = ()>,
) {
    let reading = async {
        let mut bytes = 0_usize;
        while let Some(Ok(piece)) = body.next().await {
            bytes = bytes.saturating_add(piece.len());
            if bytes > REST_BYTES {
                break;
            }
        }
    };
    futures_util::select_biased! {
        () = pin!(reading.fuse()) => {}
        () = pin!(timeout.fuse()) => {}
    }
}

const REST_BYTES: usize = 4 << 10;
