//! Routes requests to APIs and drives exchanges. Generic over its [`Host`], and independent of any
//! async runtime.
//!
//! ```text
//! request ──▶ route ─▶ identity ─▶ body ─▶ API ─▶ Exchange ─▶ guard ─▶ upstream
//!                                                                                │
//! response ◀─ API ◀──────────── reply stream: bytes to deltas, timers ◀──────────┘
//! ```

mod api_request;
mod attempts;
mod body;
mod call;
mod cors;
mod count;
mod handle;
mod history;
mod host;
mod identity;
mod models;
mod open_reply;
pub mod openapi;
mod pages;
mod permit;
mod post;
mod probes;
mod ratelimit_headers;
mod record;
mod refused_members;
mod reply_stream;
mod response;
mod revocations;
mod route;
mod side_call;
pub(crate) mod slots;
mod spending;
mod state;
mod turn;
mod turn_stream;
mod uri;
mod usage;

#[cfg(feature = "jwt")]
pub use self::state::FetchKeys;
pub use self::{
    body::Body,
    host::{Clock, EntropySource, Host, Sleep, TimeLeft, Work},
    record::{Entry, Log, Notice},
    response::{error_response, request_id, write_common_headers},
    state::Service,
};
pub use crate::config::{CorsOrigins, OriginError, ServiceConfig, Timeouts};
