//! The async runtime, and the signals of the process.

use std::{io, time::Duration};

use tokio::signal::unix::{self, SignalKind};

/// An async runtime. Dropping it ends its tasks.
#[derive(Debug)]
pub struct Runtime(tokio::runtime::Runtime);

impl Runtime {
    /// A runtime that uses all cores.
    ///
    /// # Errors
    /// [`io::Error`] if the system has no free threads or descriptors.
    pub fn new() -> io::Result<Self> {
        tokio::runtime::Builder::new_multi_thread().enable_all().build().map(Self)
    }

    /// A runtime that uses only this thread, for a process with less than one core.
    ///
    /// # Errors
    /// [`io::Error`] if the system has no free descriptors.
    pub fn single() -> io::Result<Self> {
        tokio::runtime::Builder::new_current_thread().enable_all().build().map(Self)
    }

    /// Runs `future` on this thread until it completes.
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.0.block_on(future)
    }

    /// Runs `future` in the background, until the runtime ends.
    pub fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        self.0.spawn(future);
    }

    /// Ends the runtime without waiting for its tasks.
    pub fn shut_down(self) {
        self.0.shutdown_timeout(Duration::ZERO);
    }
}

/// The output of the future that completes first, or of the former if both do. The other one is
/// dropped.
pub async fn first_of<T>(former: impl Future<Output = T>, latter: impl Future<Output = T>) -> T {
    tokio::select! {
        biased;
        output = former => output,
        output = latter => output,
    }
}

/// A command to a server by signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGHUP: reload the settings.
    Reload,
    /// SIGTERM or SIGINT: stop.
    Stop,
}

/// The signals of a server.
#[derive(Debug)]
pub struct Signals {
    hang_up: unix::Signal,
    interrupt: unix::Signal,
    terminate: unix::Signal,
}

impl Signals {
    /// Starts to watch. From now on, these signals no longer end the process. Must be called within
    /// a [`Runtime`].
    ///
    /// # Errors
    /// [`io::Error`] if the system does not permit it.
    pub fn watch() -> io::Result<Self> {
        Ok(Self {
            hang_up: unix::signal(SignalKind::hangup())?,
            interrupt: unix::signal(SignalKind::interrupt())?,
            terminate: unix::signal(SignalKind::terminate())?,
        })
    }

    /// Waits for the next signal.
    pub async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.terminate.recv() => Signal::Stop,
            _ = self.interrupt.recv() => Signal::Stop,
            _ = self.hang_up.recv() => Signal::Reload,
        }
    }
}

/// The signal SIGINT, which a terminal sends for Ctrl-C.
#[derive(Debug)]
pub struct Interrupts(unix::Signal);

impl Interrupts {
    /// Starts to watch, like [`Signals::watch`]. Earlier signals do not count.
    ///
    /// # Errors
    /// [`io::Error`] if the system does not permit it.
    pub fn watch() -> io::Result<Self> {
        unix::signal(SignalKind::interrupt()).map(Self)
    }

    /// Waits for the next signal.
    pub async fn next(&mut self) {
        self.0.recv().await;
    }
}
