//! The native shell: sockets, timers, randomness and signals for the service, and the client that the command line uses.

mod busy;
pub mod client;
mod clock;
mod entropy;
mod forward;
mod guard;
mod http;
mod issuer;
#[cfg(feature = "lambda")]
mod lambda;
mod log;
mod process;
#[cfg(feature = "redis")]
mod redis;
mod serve;
mod socket;
mod unread;

use std::{fmt, io, sync::Arc, time::Duration};

use tokio::{task::JoinSet, time};

use self::issuer::Issuer;
use crate::{
    config::Config,
    service::{Host, Log, Service},
};

#[cfg(feature = "lambda")]
pub use self::lambda::{Function, FunctionError, LambdaEnvironment};
#[cfg(feature = "redis")]
pub use self::redis::{RedisGuard, RedisPermit, StoreEvent, StoreObserver};
pub use self::{
    clock::SystemClock,
    entropy::SystemEntropy,
    forward::{Forward, ForwardResponse},
    guard::{NativeGuard, NativePermit},
    http::SetupError,
    log::StderrLog,
    process::{Interrupts, Runtime, Signal, Signals, first_of},
    serve::Server,
};

/// The service as the native shell runs it.
pub type NativeService = Service<NativeHost>;

/// The parts of the service on a native platform.
#[derive(Debug)]
pub struct NativeHost {
    upstream: Forward,
    guard: NativeGuard,
    clock: SystemClock,
    entropy: SystemEntropy,
}

impl NativeHost {
    /// A host that calls these upstreams, under this guard.
    #[must_use]
    pub fn new(upstream: Forward, guard: NativeGuard) -> Self {
        Self { upstream, guard, clock: SystemClock::new(), entropy: SystemEntropy }
    }
}

impl Host for NativeHost {
    type Upstream = Forward;
    type Guard = NativeGuard;
    type Clock = SystemClock;
    type Entropy = SystemEntropy;

    fn upstream(&self) -> &Forward {
        &self.upstream
    }

    fn guard(&self) -> &NativeGuard {
        &self.guard
    }

    fn clock(&self) -> &SystemClock {
        &self.clock
    }

    fn entropy(&self) -> &SystemEntropy {
        &self.entropy
    }
}

/// Builds the service of a configuration and binds its listener; it answers once [`Server::run`] is awaited.
///
/// # Errors
/// [`StartError`] if the address cannot be bound, or the upstreams or the guard cannot be set up. A store that does not
/// answer is none: it may come later, and is told of by [`Server::notes`].
pub async fn start(config: Config, log: Box<dyn Log>) -> Result<Server, StartError> {
    let (listen, server) = (config.listen, config.server.clone());
    let prepared = Prepared::new(config, log).await?;
    Server::bind(listen, server, prepared).await.map_err(StartError::Listen)
}

/// A service with what goes on beside it, however requests come to it.
struct Prepared {
    service: Arc<NativeService>,
    issuer: Issuer,
    /// What an operator should know of, as it was seen at the start.
    notes: Vec<String>,
}

impl Prepared {
    async fn new(config: Config, log: Box<dyn Log>) -> Result<Self, StartError> {
        let Config { deployment, access, service, upstreams, guard, store, .. } = config;
        let upstream = Forward::new(upstreams).map_err(StartError::Upstreams)?;
        let issuer = Issuer::new().map_err(StartError::Upstreams)?;
        let guard = NativeGuard::new(guard, store.as_ref()).map_err(StartError::Guard)?;
        let notes = guard.warnings().await;
        let service = Service::new(deployment, access, service, NativeHost::new(upstream, guard), log);
        Ok(Self { service: Arc::new(service), issuer, notes })
    }

    /// Does what is done beside the requests, for as long as what this gives is kept.
    fn work_beside(&self) -> JoinSet<()> {
        let (service, issuer) = (Arc::clone(&self.service), self.issuer.clone());
        let mut beside = JoinSet::new();
        beside.spawn(async move {
            service
                .keep_keys(|url| {
                    let issuer = issuer.clone();
                    async move { issuer.fetch(url).await }
                })
                .await;
        });
        beside
    }
}

/// Lets `tasks` end that requests are answered in: for `limit` as they like, then with a word of what had flowed.
async fn wind_down<T: 'static>(service: &NativeService, mut tasks: JoinSet<T>, limit: Duration) {
    if time::timeout(limit, ended(&mut tasks)).await.is_err() {
        // Streams that cannot end well are to end with a word, and with what had flowed.
        service.stop();
        let _ = time::timeout(LAST_WORDS, ended(&mut tasks)).await;
    }
    // Turns that end here give back what they have taken.
    tasks.shutdown().await;
    service.guard().flush(LAST_WORDS).await;
}

async fn ended<T: 'static>(tasks: &mut JoinSet<T>) {
    while tasks.join_next().await.is_some() {}
}

/// How long clients may take their last bytes after the time to drain is over.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Why a server does not start.
#[derive(Debug)]
pub enum StartError {
    /// There is no way to the store.
    Guard(String),
    /// The address cannot be bound.
    Listen(io::Error),
    /// TLS cannot be set up, or a key is no header value.
    Upstreams(SetupError),
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
