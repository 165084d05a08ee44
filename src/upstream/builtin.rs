//! The built-in model as an upstream. It answers immediately, and can send its words at a pace.

use std::{pin::Pin, time::Duration};

use bytes::Bytes;
use futures_core::Stream;
use futures_util::{StreamExt as _, stream};
use http::{Request, Response, header, response};

use super::UpstreamError;
use crate::proto::provider;

/// The bytes of an answer, word by word.
pub type Words = Pin<Box<dyn Stream<Item = Result<Bytes, UpstreamError>> + Send>>;

/// Answers a request to the built-in model. If `pace` is not zero, `rest` is awaited with it before
/// each word.
///
/// # Errors
/// [`UpstreamError::Unreachable`] for a request that the model cannot read.
pub fn answer<F>(
    request: &Request<Bytes>,
    pace: Duration,
    rest: impl Fn(Duration) -> F + Send + 'static,
) -> Result<(response::Parts, Words), UpstreamError>
where
    F: Future<Output = ()> + Send + 'static,
{
    let unreachable = |cause: String| UpstreamError::Unreachable { cause };
    let pieces = provider::builtin_answer(request.body()).map_err(|error| unreachable(error.to_string()))?;
    let streamed =
        request.headers().get(header::ACCEPT).is_some_and(|form| form == provider::builtin_content_type(true));
    let words: Words = if pace.is_zero() {
        Box::pin(stream::iter(pieces.into_iter().map(Ok)))
    } else {
        Box::pin(stream::iter(pieces).then(move |piece| {
            let rest = rest(pace);
            async move {
                rest.await;
                Ok(piece)
            }
        }))
    };
    let head = Response::builder().header(header::CONTENT_TYPE, provider::builtin_content_type(streamed)).body(());
    let (head, ()) = head.map_err(|error| unreachable(error.to_string()))?.into_parts();
    Ok((head, words))
}
