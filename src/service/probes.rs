//! The probes: `GET /health` and `GET /ready`.

use std::time::Duration;

use http::{Response, StatusCode};
use serde::Serialize;

use super::{body::Body, host::Host, response::json_response, state::Service};
use crate::guard::Guard as _;

/// The body of a response to a probe.
#[derive(Serialize)]
pub(super) struct StatusBody {
    /// `ok`, `ready`, or the reason why no requests should be sent to this instance.
    pub(super) status: &'static str,
}

/// The response to a liveness probe.
pub(super) fn health() -> Response<Body> {
    json_response(&StatusBody { status: "ok" })
}

impl<H: Host> Service<H> {
    /// The response to a readiness probe.
    pub(super) fn ready(&self) -> Response<Body> {
        let (status, text) = if self.is_draining() {
            (StatusCode::SERVICE_UNAVAILABLE, "draining")
        } else if !self.access().authenticator.is_ready() {
            (StatusCode::SERVICE_UNAVAILABLE, "waiting for the identity issuer's keys")
        } else if self.host.guard().refusing_for() >= REFUSING_MAX {
            (StatusCode::SERVICE_UNAVAILABLE, "waiting for the limits store")
        } else {
            (StatusCode::OK, "ready")
        };
        let mut response = json_response(&StatusBody { status: text });
        *response.status_mut() = status;
        response
    }
}

/// How long the guard may refuse every turn before the instance should receive no requests. A short
/// outage of the store must not take all instances out of their balancer.
const REFUSING_MAX: Duration = Duration::from_secs(10);
