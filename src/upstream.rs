//! What a shell must supply to reach model services.

use std::fmt;

use bytes::Bytes;
use futures_core::Stream;
use http::{Request, Response};

use crate::proto::error::Error;

/// A way to the model services. Dropping a call, or its body, cancels it.
pub trait Upstream: Send + Sync + 'static {
    /// The bytes of an answer as they come.
    type Body: Stream<Item = Result<Bytes, UpstreamError>> + Send + Unpin + 'static;

    /// Sends `request`, whose URI is a path, to the upstream of this name, with the operator's credential for it.
    fn call(
        &self,
        upstream: &str,
        request: Request<Bytes>,
    ) -> impl Future<Output = Result<Response<Self::Body>, UpstreamError>> + Send;

    /// Takes back the body of an answer that was whole before its last byte: some formats say their end before the
    /// connection is free for the next call.
    fn release(&self, body: Self::Body) {
        drop(body);
    }
}

/// Why an upstream's answer did not come, or not whole. Never holds what was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum UpstreamError {
    /// The body ended before its end. Code `upstream_cut`.
    Cut {
        /// What happened, for the operator.
        cause: String,
    },
    /// No answer came. Code `upstream_unavailable`.
    Unreachable {
        /// What happened, for the operator.
        cause: String,
    },
}

impl std::error::Error for UpstreamError {}

impl fmt::Display for UpstreamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cut { cause } => write!(f, "answer cut: {cause}"),
            Self::Unreachable { cause } => write!(f, "no answer: {cause}"),
        }
    }
}

impl From<UpstreamError> for Error {
    fn from(error: UpstreamError) -> Self {
        match error {
            UpstreamError::Cut { .. } => Self::UpstreamCut,
            UpstreamError::Unreachable { cause } => Self::UpstreamUnavailable { cause, retry_after: None },
        }
    }
}
