//! The native shell: sockets, timers, randomness and signals for the service, and the client that the command line uses.

mod busy;
pub mod client;
mod clock;
mod forward;
mod guard;
mod issuer;
mod log;
mod process;
mod serve;
mod socket;
mod unread;

use std::{fmt, io};

use crate::{
    config::Config,
    service::{Log, Service},
};

pub use self::{
    clock::SystemClock,
    forward::{Forward, ForwardError, Pieces},
    guard::{NativeGuard, NativePermit},
    log::StderrLog,
    process::{Interrupts, Runtime, Signal, Signals, first_of},
    serve::Server,
};

/// The service as the native shell runs it.
pub type NativeService = Service<Forward, NativeGuard, SystemClock>;

/// Builds the service of a configuration and binds its listener; it answers once [`Server::run`] is awaited.
///
/// # Errors
/// [`StartError`] if the address cannot be bound, or the upstreams or the guard cannot be set up. A store that does not
/// answer is none: it may come later, and is told of by [`Server::notes`].
pub async fn start(config: Config, log: Box<dyn Log>) -> Result<Server, StartError> {
    let Config { listen, core, access, settings, upstreams, server, guard, store, warnings: _ } = config;
    let upstream = Forward::new(upstreams).map_err(StartError::Upstreams)?;
    let issuer = issuer::Issuer::new().map_err(StartError::Upstreams)?;
    let guard = NativeGuard::new(guard, store.as_ref()).map_err(StartError::Guard)?;
    let notes = guard.look().await;
    let service = Service::new(core, access, settings, upstream, guard, SystemClock::new(), log);
    Server::bind(listen, server, service, issuer, notes).await.map_err(StartError::Listen)
}

/// Why a server does not start.
#[derive(Debug)]
pub enum StartError {
    /// There is no way to the store.
    Guard(String),
    /// The address cannot be bound.
    Listen(io::Error),
    /// TLS cannot be set up, or a key is no header value.
    Upstreams(ForwardError),
}

impl std::error::Error for StartError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Guard(_) => None,
            Self::Listen(error) => Some(error),
            Self::Upstreams(error) => Some(error),
        }
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Guard(fault) => f.write_str(fault),
            Self::Listen(error) => write!(f, "cannot listen: {error}"),
            Self::Upstreams(error) => error.fmt(f),
        }
    }
}
