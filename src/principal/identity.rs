//! The requests and outcomes of an authenticator.

use std::{net::IpAddr, time::Duration};

use http::HeaderMap;

use super::pending_keys::PendingKeys;
use crate::proto::{principal::Principal, time::UnixSeconds};

/// The address at the other end of a request's connection. A shell puts it into the extensions of
/// the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer(pub IpAddr);

/// The identity of the caller, according to its credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identity {
    /// No credential is required. The request names a user, or gets an `anon-` name.
    Anonymous,
    /// The caller is this principal.
    Known(Principal),
}

/// A request to authenticate.
#[derive(Clone, Copy, Debug)]
pub struct AuthRequest<'a> {
    /// The headers of the request.
    pub headers: &'a HeaderMap,
    /// The address at the other end of the connection.
    pub peer: Option<IpAddr>,
    /// The time of day.
    pub now: UnixSeconds,
    /// The time since a fixed moment. It never decreases.
    pub elapsed: Duration,
    /// True if an earlier call returned [`AuthOutcome::Wait`]. Then this call never returns it.
    pub has_waited: bool,
}

/// The outcome of an authentication that did not fail.
#[derive(Clone, Debug)]
pub enum AuthOutcome {
    /// The caller is identified.
    Identified(Identity),
    /// An issuer's keys are being fetched. Call again, once, when the future ends.
    Wait(PendingKeys),
}
