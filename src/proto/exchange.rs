//! One turn, from the request of a client to the fresh token: a state machine. Read this first.
//!
//! ```text
//!               open           plan               respond              push …  finish
//! TurnRequest ───────▶ Opened ──┬────▶ Ready ──────┬─────▶ Replying ───────────────▶ Answer
//!   + token                     │       ▲ ▲        │        │ │
//!                               │       │ │        │        │ └─ fail ─▶ Failure with partial token
//!                               │       │ └────────┼────────┘
//!                               │       │          │   into_retry, before anything was shown
//!                               │       │          │
//!                               │       │          └─────▶ Refused
//!                               │       └───────────────────┘ into_failed_attempt
//!                               │       ▲
//!                               │       │ apply_summary
//!                               └────▶ Summarizing
//!
//!                      Opened ──────▶ Counting ──▶ number of model tokens
//!                              count
//! ```
//!
//! Each state is a type that has only its own operations. No operation waits, sends or stores
//! anything: the caller moves the bytes and says what time it is.
//!
//! An attempt that fails before the client was shown anything leads back to [`Ready`]: the same
//! request can be sent again, or [`Exchange::next_target`] writes it for the next target. A turn
//! that fails does not change the old token, because the token's text is the only state.

mod caller;
mod count;
mod fit;
mod history;
mod open;
mod plan;
mod ready;
mod reply;
mod replying;
mod retry_after;
mod state;
mod summary;
mod turn_state;

#[cfg(test)]
mod tests;

pub use self::{
    caller::Caller,
    count::Counting,
    history::read_history,
    open::{Entropy, Opened},
    plan::Planned,
    ready::{FailedAttempt, ResponseState},
    replying::Failure,
    state::{Exchange, Ready, Refused, Replying},
    summary::{Summarizing, Summary},
    turn_state::{PresentedToken, TurnUsage},
};

/// The most bytes that are read of the answer to a side call: a summary or a count.
pub const MAX_SIDE_ANSWER_BYTES: usize = 256 << 10;
