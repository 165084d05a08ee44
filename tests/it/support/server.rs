//! The native server in this process, on a free loopback port.

use std::{net::SocketAddr, sync::Arc};

use holdall::{
    config::Config,
    shell::{self, NativeService},
};
use tokio::{sync::oneshot, task::JoinHandle};

use super::hand::Records;

/// A running server. Dropping it kills it.
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    pub(crate) service: Arc<NativeService>,
    pub(crate) log: Records,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

impl Running {
    /// Starts a server.
    pub(crate) async fn start(config: Config) -> Self {
        let log = Records::default();
        let server = shell::start(config, Box::new(log.clone())).await.unwrap();
        let (stop, stopped) = oneshot::channel();
        let (address, service) = (server.address().unwrap(), server.service());
        let task = tokio::spawn(server.run(async move {
            let _ = stopped.await;
        }));
        Self { address, service, log, stop: Some(stop), task }
    }

    /// Stops it gracefully, like SIGTERM.
    pub(crate) fn stop(&mut self) {
        self.stop.take();
    }

    /// Waits until it has stopped.
    pub(crate) async fn stopped(mut self) {
        (&mut self.task).await.unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}
