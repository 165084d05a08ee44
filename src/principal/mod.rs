//! Credentials to [`Principal`](crate::proto::principal::Principal): which user a request is from.
//!
//! An [`Authenticator`] is built from the configuration, again at each reload, and called once for
//! each request. It opens no file or socket and reads no clock: key documents and the time are
//! arguments. It never reads a body and never guesses: a credential names exactly one principal, or
//! the request is refused. Credentials of callers are never sent to an upstream.

mod api_key;
mod authenticator;
mod credential;
mod digest;
mod forwarded;
mod header;
mod identity;
#[cfg(feature = "jwt")]
pub mod jwt;
mod network;
mod pending_keys;

pub(crate) use self::network::is_loopback_authority;
pub use self::{
    api_key::{API_KEYS_MAX, ApiKeys, ApiKeysError, IDP_KEY},
    authenticator::{Access, Authenticator},
    digest::{KeyDigest, OperatorKeys},
    forwarded::client_address,
    header::{HEADER_SECRET_MIN_BYTES, HeaderRule, IDP_HEADER},
    identity::{AuthOutcome, AuthRequest, Identity, Peer},
    network::{NetworkError, Networks},
    pending_keys::PendingKeys,
};
