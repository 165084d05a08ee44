//! The native shell: sockets, timers, randomness and signals for the service, and the client that the command line uses.

mod busy;
pub mod client;
mod clock;
mod forward;
mod issuer;
mod log;
mod process;
mod serve;
mod socket;
mod unread;

use std::{fmt, io};

use crate::{
    config::Config,
    guard::LocalGuard,
    service::{Log, Service},
};

pub use self::{
    clock::SystemClock,
    forward::{Forward, ForwardError, Pieces},
    log::StderrLog,
    process::{Interrupts, Runtime, Signal, Signals, first_of},
    serve::Server,
};

/// The service as the native shell runs it.
pub type NativeService = Service<Forward, LocalGuard, SystemClock>;

/// Builds the service of a configuration and binds its listener; it answers once [`Server::run`] is awaited.
///
/// # Errors
/// [`StartError`] if the address cannot be bound, or the upstreams cannot be set up.
pub async fn start(config: Config, log: Box<dyn Log>) -> Result<Server, StartError> {
    let Config { listen, core, access, settings, upstreams, server, guard, store: _, warnings: _ } = config;
    let upstream = Forward::new(upstreams).map_err(StartError::Upstreams)?;
    let issuer = issuer::Issuer::new().map_err(StartError::Upstreams)?;
    let service = Service::new(core, access, settings, upstream, LocalGuard::new(guard), SystemClock::new(), log);
    Server::bind(listen, server, service, issuer).await.map_err(StartError::Listen)
}

/// Why a server does not start.
#[derive(Debug)]
pub enum StartError {
    /// The address cannot be bound.
    Listen(io::Error),
    /// TLS cannot be set up, or a key is no header value.
    Upstreams(ForwardError),
}

impl std::error::Error for StartError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Listen(error) => Some(error),
            Self::Upstreams(error) => Some(error),
        }
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listen(error) => write!(f, "cannot listen: {error}"),
            Self::Upstreams(error) => error.fmt(f),
        }
    }
}
