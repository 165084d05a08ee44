//! The native shell: sockets, timers, randomness and signals for the service, and the client that the command line uses.

pub mod client;
mod clock;
mod forward;
mod log;
mod process;
mod serve;
mod socket;
mod unread;

use std::io;

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
/// [`io::Error`] if the address cannot be bound, or TLS cannot be set up.
pub async fn start(config: Config, log: Box<dyn Log>) -> io::Result<Server> {
    let Config { listen, core, settings, upstreams, server, turns_per_user, warnings: _ } = config;
    let upstream = Forward::new(upstreams).map_err(io::Error::other)?;
    let service = Service::new(core, settings, upstream, LocalGuard::new(turns_per_user), SystemClock::new(), log);
    Server::bind(listen, server, service).await
}
