//! The interface that a shell implements so that the service can call model services.
//!
//! ```text
//! Upstream::call ──▶ UpstreamResponse::head ──▶ next, next, … ──▶ end(verdict)
//!   wait for a         send the request,          pieces of          the upstream judges
//!   slot, choose       wait for the head          the body           the address by it
//!   an address
//! ```

pub mod builtin;
pub mod rest;

use std::fmt;

use bytes::Bytes;
use futures_core::Stream;
use http::{Request, response};

use crate::proto::error::Error;

/// Calls the configured model services.
pub trait Upstream: Send + Sync + 'static {
    /// A call in flight.
    type Response: UpstreamResponse;

    /// Starts a call: waits for a slot if the upstream limits its concurrent calls, and chooses an
    /// address. Nothing is sent yet.
    ///
    /// The service measures how long this takes, and does not count that time as the model's.
    /// Dropping the future leaves the queue.
    ///
    /// # Errors
    /// [`UpstreamError::Ejected`] and [`UpstreamError::Overloaded`]; [`UpstreamError::Unreachable`]
    /// for an unknown upstream.
    fn call(&self, call: Call) -> impl Future<Output = Result<Self::Response, UpstreamError>> + Send;
}

/// A call in flight at one address, and the response to it. As a stream, it yields the pieces of
/// the response's body.
///
/// The service ends each call with a [`Verdict`], by which the upstream judges the address.
/// Dropping the value cancels the call without a verdict: the client left, the server stops, or
/// other targets need the rest of the time. That never counts as a failure of the address, but an
/// implementation may rank an address lower if it was silent until then.
pub trait UpstreamResponse: Stream<Item = Result<Bytes, UpstreamError>> + Send + Unpin + 'static {
    /// The index of the called address among the upstream's addresses.
    fn address(&self) -> usize;

    /// Sends the request, with the operator's credential for the upstream, and waits for the head
    /// of the response. Call it once, before the stream is polled.
    ///
    /// # Errors
    /// [`UpstreamError::Unreachable`].
    fn head(&mut self) -> impl Future<Output = Result<response::Parts, UpstreamError>> + Send;

    /// Records that a part of a reply has arrived. The address then counts as responding before the
    /// reply ends, which may take minutes.
    fn note_output(&mut self);

    /// Ends the call. After [`Verdict::Complete`], an implementation may read the rest of the body
    /// so that the connection can be used again.
    fn end(self, verdict: Verdict);
}

/// The outcome of an upstream call, as the service judges it from the response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The address works, and this server needs no more of its reply: the call is cancelled.
    Cancelled,
    /// The address sent a complete reply.
    Complete,
    /// The address is at fault: it sent no response, an interrupted reply, or neither a reply nor a
    /// refusal.
    Failed,
    /// The address works, but the upstream refused the request.
    Refused,
}

/// One upstream call.
pub struct Call {
    /// The upstream's name.
    pub upstream: String,
    /// The user's queue id. Stable for one user during this process. The upstream
    /// serves the queues of its users round robin.
    pub user: u64,
    /// True if this is the last target: the upstream makes the call even if all its addresses are
    /// ejected.
    pub is_last: bool,
    /// The addresses of this upstream that the turn has already called. The upstream prefers
    /// another one.
    pub tried: TriedAddresses,
    /// The request to send. Its URI is a path below the address.
    pub request: Request<Bytes>,
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { upstream, user, is_last, tried, request: _ } = self;
        let mut call = f.debug_struct("Call");
        call.field("upstream", upstream).field("user", user).field("is_last", is_last).field("tried", tried);
        call.finish_non_exhaustive()
    }
}

/// A set of addresses of one upstream, by index. It holds the indices 0 to 63 and ignores others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TriedAddresses(u64);

impl TriedAddresses {
    /// Adds an address.
    pub fn insert(&mut self, index: usize) {
        self.0 |= bit(index);
    }

    /// True if the set contains the address.
    #[must_use]
    pub fn contains(self, index: usize) -> bool {
        self.0 & bit(index) != 0
    }
}

/// The bit of an index, 0 for an index above 63.
fn bit(index: usize) -> u64 {
    u32::try_from(index).ok().and_then(|index| 1_u64.checked_shl(index)).unwrap_or(0)
}

/// The reason why an upstream's response is missing or incomplete. It never contains anything that
/// was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum UpstreamError {
    /// The body ended early. Code `upstream_cut`.
    Cut {
        /// The cause, for the operator.
        cause: String,
    },
    /// Every address is ejected after failures; nothing was sent. Code `upstream_unavailable`.
    Ejected,
    /// All slots are taken and the queue is full; nothing was sent. Code `overloaded`.
    Overloaded,
    /// There was no response. Code `upstream_unavailable`.
    Unreachable {
        /// The cause, for the operator.
        cause: String,
    },
}

impl std::error::Error for UpstreamError {}

impl fmt::Display for UpstreamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cut { cause } => write!(f, "the response was interrupted: {cause}"),
            Self::Ejected => f.write_str("not called: every address is ejected after repeated failures"),
            Self::Overloaded => f.write_str("not called: no slot became free, or the queue is full"),
            Self::Unreachable { cause } => write!(f, "no response: {cause}"),
        }
    }
}

impl From<UpstreamError> for Error {
    fn from(error: UpstreamError) -> Self {
        match error {
            UpstreamError::Cut { .. } => Self::UpstreamCut,
            UpstreamError::Ejected => {
                Self::UpstreamUnavailable { cause: "ejected after repeated failures".to_owned(), retry_after: None }
            }
            UpstreamError::Overloaded => Self::Overloaded,
            UpstreamError::Unreachable { cause } => Self::UpstreamUnavailable { cause, retry_after: None },
        }
    }
}
