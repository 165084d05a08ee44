//! The service with its background tasks, as the listener and AWS Lambda run it.

use std::{fmt, io, sync::Arc, time::Duration};

use tokio::{task::JoinSet, time};

use super::{
    forward::Forward,
    guard::NativeGuard,
    issuer::Issuer,
    native::{NativeHost, NativeService},
    tls::SetupError,
};
use crate::{
    config::Config,
    service::{Log, Service},
};

/// A service that is ready to handle requests.
pub(super) struct PreparedService {
    pub(super) service: Arc<NativeService>,
    issuer: Issuer,
    /// Warnings for the operator from the start.
    pub(super) warnings: Vec<String>,
}

impl PreparedService {
    /// Builds the service of a configuration.
    ///
    /// # Errors
    /// [`StartError::Guard`], [`StartError::Upstreams`].
    pub(super) async fn new(config: Config, log: Box<dyn Log>) -> Result<Self, StartError> {
        let Config { deployment, access, issuer_network, service, upstreams, guard, store, .. } = config;
        let upstream = Forward::new(upstreams).map_err(StartError::Upstreams)?;
        let issuer = Issuer::new(&issuer_network).map_err(StartError::Upstreams)?;
        let guard = NativeGuard::new(guard, store.as_ref()).map_err(StartError::Guard)?;
        let warnings = guard.warnings().await;
        let service = Service::new(deployment, access, service, NativeHost::new(upstream, guard), log);
        Ok(Self { service: Arc::new(service), issuer, warnings })
    }

    /// Starts the background tasks. They end when the result is dropped.
    pub(super) fn spawn_background_tasks(&self) -> JoinSet<()> {
        let (service, issuer) = (Arc::clone(&self.service), self.issuer.clone());
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            service
                .keep_keys(|url| {
                    let issuer = issuer.clone();
                    async move { issuer.fetch(url).await }
                })
                .await;
        });
        tasks
    }
}

/// Waits until `tasks`, which handle requests, have ended. After `limit`, it stops their turns, and
/// waits another second.
pub(super) async fn drain<T: 'static>(service: &NativeService, mut tasks: JoinSet<T>, limit: Duration) {
    if time::timeout(limit, all_ended(&mut tasks)).await.is_err() {
        // The clients of streams still get an error event, with the part of the reply that arrived.
        service.stop();
        let _ = time::timeout(CLOSING_TIMEOUT, all_ended(&mut tasks)).await;
    }
    // Turns that are dropped here return their permits.
    tasks.shutdown().await;
    service.guard().flush(CLOSING_TIMEOUT).await;
}

async fn all_ended<T: 'static>(tasks: &mut JoinSet<T>) {
    while tasks.join_next().await.is_some() {}
}

/// The longest time for the last bytes to clients, and for the last reports to the limits store.
pub(super) const CLOSING_TIMEOUT: Duration = Duration::from_secs(1);

/// The reason why a server cannot start.
#[derive(Debug)]
pub enum StartError {
    /// The guard cannot be set up.
    Guard(String),
    /// The address cannot be bound.
    Listen(io::Error),
    /// TLS or a proxy cannot be set up, or an upstream's key is not a valid header value.
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
