//! The exchange and the three states that lead to each other: ready, refused, replying.
//!
//! The states are only data here. The operations of each state are in a file of their own.

use bytes::Bytes;
use http::{Request, response};

use super::{
    reply::BoundedReply,
    turn_state::{Plan, PresentedToken, TurnState},
};
use crate::proto::{provider::ReplyReader, token::Claims, usage::Usage};

/// One turn, in state `S`. The module page of [`exchange`](super) shows the states and a
/// complete turn.
pub struct Exchange<S> {
    pub(super) turn: Box<TurnState>,
    pub(super) state: S,
}

/// The request for the upstream is written.
pub struct Ready {
    pub(super) request: Request<Bytes>,
    /// The content of the call, for the next target. It can be megabytes, so the last target
    /// does not keep it.
    pub(super) plan: Option<Box<Plan>>,
}

/// The upstream answered with a 4xx or 5xx status. Its error body is being read.
pub struct Refused {
    /// The state before the attempt.
    pub(super) ready: Box<Ready>,
    pub(super) head: response::Parts,
    pub(super) body: Vec<u8>,
}

/// The upstream is sending a reply.
pub struct Replying {
    pub(super) reader: Box<dyn ReplyReader>,
    pub(super) reply: BoundedReply,
    /// The body of the request, which an error inside the reply may quote.
    pub(super) request: Bytes,
    /// The usage of the call before its reply.
    pub(super) request_usage: Usage,
    /// The state before the attempt. None once the caller may have shown a part of the reply.
    pub(super) retry: Option<Box<Ready>>,
    /// True once the reader takes no more bytes.
    pub(super) closed: bool,
}

impl<S> Exchange<S> {
    /// Returns true if the client wants the reply as a stream.
    #[must_use]
    pub fn is_streamed(&self) -> bool {
        self.turn.stream
    }

    /// The name of the upstream to call.
    #[must_use]
    pub fn upstream(&self) -> &str {
        &self.turn.target.upstream
    }

    /// The upstream's name for the model.
    #[must_use]
    pub fn model(&self) -> &str {
        &self.turn.target.name
    }

    /// The number of the model's targets after the current one.
    #[must_use]
    pub fn fallbacks_left(&self) -> usize {
        self.turn.fallbacks_left
    }

    /// The bytes of the inflated history and the input.
    #[must_use]
    pub fn history_bytes(&self) -> usize {
        self.turn.history_bytes()
    }

    /// The claims of the token that this exchange issues.
    #[must_use]
    pub fn claims(&self) -> &Claims {
        &self.turn.claims
    }

    /// The token that the turn continues. None for the first turn of a conversation.
    #[must_use]
    pub fn presented(&self) -> Option<PresentedToken> {
        self.turn.presented
    }
}
