//! The runtime that futures run on, and the signals that reach this process.

use std::{io, time::Duration};

use tokio::signal::unix::{self, SignalKind};

/// Runs futures. What was spawned ends with it.
#[derive(Debug)]
pub struct Runtime(tokio::runtime::Runtime);

impl Runtime {
    /// A runtime on all cores, with timers and sockets.
    ///
    /// # Errors
    /// [`io::Error`] if the system has no threads or descriptors to give.
    pub fn new() -> io::Result<Self> {
        tokio::runtime::Builder::new_multi_thread().enable_all().build().map(Self)
    }

    /// The same on this thread alone, for who is given a part of a core.
    ///
    /// # Errors
    /// [`io::Error`] if the system has no descriptors to give.
    pub fn single() -> io::Result<Self> {
        tokio::runtime::Builder::new_current_thread().enable_all().build().map(Self)
    }

    /// Runs `future` to its end on this thread.
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.0.block_on(future)
    }

    /// Runs `future` beside this thread, for as long as the runtime lives.
    pub fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        self.0.spawn(future);
    }

    /// Ends without waiting for what was spawned.
    pub fn shut_down(self) {
        self.0.shutdown_timeout(Duration::ZERO);
    }
}

/// Waits for whichever of the two ends first, the former if both have; the other is dropped.
pub async fn first_of<T>(former: impl Future<Output = T>, latter: impl Future<Output = T>) -> T {
    tokio::select! {
        biased;
        output = former => output,
        output = latter => output,
    }
}

/// What a server is told by signals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGHUP: read the settings anew.
    Reload,
    /// SIGTERM or SIGINT: come to an end.
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
    /// Watches from now on; the signals' own effect, to end the process, is gone then. To be called on a [`Runtime`].
    ///
    /// # Errors
    /// [`io::Error`] if the system refuses.
    pub fn watch() -> io::Result<Self> {
        Ok(Self {
            hang_up: unix::signal(SignalKind::hangup())?,
            interrupt: unix::signal(SignalKind::interrupt())?,
            terminate: unix::signal(SignalKind::terminate())?,
        })
    }

    /// Waits for the next.
    pub async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.terminate.recv() => Signal::Stop,
            _ = self.interrupt.recv() => Signal::Stop,
            _ = self.hang_up.recv() => Signal::Reload,
        }
    }
}

/// SIGINT alone, which a terminal sends for Ctrl-C.
#[derive(Debug)]
pub struct Interrupts(unix::Signal);

impl Interrupts {
    /// Watches from now on, as [`Signals::watch`] does; earlier ones do not count.
    ///
    /// # Errors
    /// [`io::Error`] if the system refuses.
    pub fn watch() -> io::Result<Self> {
        unix::signal(SignalKind::interrupt()).map(Self)
    }

    /// Waits for the next.
    pub async fn next(&mut self) {
        self.0.recv().await;
    }
}
