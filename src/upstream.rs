//! What a shell must supply to reach model services.

pub mod builtin;

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_core::Stream;
use http::{Request, Response};

use crate::proto::error::Error;

/// A way to the model services. Dropping a call, or its body, cancels it.
pub trait Upstream: Send + Sync + 'static {
    /// The bytes of an answer as they come.
    type Body: Stream<Item = Result<Bytes, UpstreamError>> + Send + Unpin + 'static;

    /// Makes a call, with the operator's credential for its upstream.
    fn call(&self, call: Call) -> impl Future<Output = Result<Response<Self::Body>, UpstreamError>> + Send;

    /// Takes back the body of an answer that was whole before its last byte: some formats say their end before the
    /// connection is free for the next call.
    fn release(&self, body: Self::Body) {
        drop(body);
    }
}

/// One call of an upstream.
pub struct Call {
    /// The upstream's name.
    pub upstream: String,
    /// Whose call it is: the same number for the same user, while this process lives. Where calls have to wait, users take
    /// turns.
    pub user: u64,
    /// Whether there is nowhere else to go, so that an upstream is to be tried that has been failing.
    pub is_last: bool,
    /// Which of the upstream's addresses this turn has called before, so that it goes to another if it can.
    pub tried: Tried,
    /// Where what came of it will stand.
    pub outcome: Outcome,
    /// What to send; its URI is a path.
    pub request: Request<Bytes>,
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { upstream, user, is_last, tried, outcome, request: _ } = self;
        let mut call = f.debug_struct("Call");
        call.field("upstream", upstream).field("user", user).field("is_last", is_last).field("tried", tried);
        call.field("outcome", outcome).finish_non_exhaustive()
    }
}

/// Which addresses of an upstream were called, of 64 at most. Copies are the same.
#[derive(Clone, Debug, Default)]
pub struct Tried(Arc<AtomicU64>);

impl Tried {
    /// The address of that number is called.
    pub fn set(&self, index: usize) {
        self.0.fetch_or(bit(index), Ordering::Relaxed);
    }

    /// Whether it was called.
    #[must_use]
    pub fn has(&self, index: usize) -> bool {
        self.0.load(Ordering::Relaxed) & bit(index) != 0
    }
}

/// None for a number above 63, which so is never known to have been called.
fn bit(index: usize) -> u64 {
    u32::try_from(index).ok().and_then(|index| 1_u64.checked_shl(index)).unwrap_or(0)
}

/// What came of a call, told by who reads the answer to who made the call: whether an address works shows only in what it
/// answers. It also tells the other way for how long the call was not made yet. Copies are the same outcome.
#[derive(Clone, Debug, Default)]
pub struct Outcome(Arc<OutcomeState>);

#[derive(Debug, Default)]
struct OutcomeState {
    what: AtomicU8,
    waited_micros: AtomicU64,
}

impl Outcome {
    /// The upstream is at fault: it did not answer, or not with a reply or a refusal.
    pub fn set_failed(&self) {
        self.0.what.store(FAILED, Ordering::Relaxed);
    }

    /// Something of a reply has come. What fails after that is told as failed all the same.
    pub fn set_answers(&self) {
        self.0.what.store(ANSWERS, Ordering::Relaxed);
    }

    /// The upstream answered as it should, with a whole reply or a refusal.
    pub fn set_worked(&self) {
        self.0.what.store(WORKED, Ordering::Relaxed);
    }

    /// Whether something of a reply, or a refusal, has come, and nothing has failed since.
    #[must_use]
    pub fn answers(&self) -> bool {
        matches!(self.0.what.load(Ordering::Relaxed), ANSWERS | WORKED)
    }

    /// Whether it worked; `None` as long as that is not known.
    #[must_use]
    pub fn worked(&self) -> Option<bool> {
        match self.0.what.load(Ordering::Relaxed) {
            WORKED => Some(true),
            FAILED => Some(false),
            _ => None,
        }
    }

    /// The call waited for so long before it was made, or not made.
    pub fn set_waited(&self, waited: Duration) {
        self.0.waited_micros.store(u64::try_from(waited.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// For how long the call waited before it was made, in whole microseconds: time that the model has no part in.
    #[must_use]
    pub fn waited(&self) -> Duration {
        Duration::from_micros(self.0.waited_micros.load(Ordering::Relaxed))
    }
}

const WORKED: u8 = 1;
const FAILED: u8 = 2;
const ANSWERS: u8 = 3;

/// Why an upstream's answer did not come, or not whole. Never holds what was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum UpstreamError {
    /// The body ended before its end. Code `upstream_cut`.
    Cut {
        /// What happened, for the operator.
        cause: String,
    },
    /// It has been failing, and is left alone for a while; nothing was sent. Code `upstream_unavailable`.
    Ejected,
    /// As many calls are under way as it takes, and as many wait as may; nothing was sent. Code `overloaded`.
    Overloaded,
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
            Self::Ejected => f.write_str("not asked: it has been failing"),
            Self::Overloaded => f.write_str("not asked: as many calls wait for it as may"),
            Self::Unreachable { cause } => write!(f, "no answer: {cause}"),
        }
    }
}

impl From<UpstreamError> for Error {
    fn from(error: UpstreamError) -> Self {
        match error {
            UpstreamError::Cut { .. } => Self::UpstreamCut,
            UpstreamError::Ejected => {
                Self::UpstreamUnavailable { cause: "ejected: it has been failing".to_owned(), retry_after: None }
            }
            UpstreamError::Overloaded => Self::Overloaded,
            UpstreamError::Unreachable { cause } => Self::UpstreamUnavailable { cause, retry_after: None },
        }
    }
}
