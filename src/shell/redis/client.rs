//! The client of the store: one connection for all calls, a timeout for each call, and a circuit
//! breaker.
//!
//! ```text
//!            fails                      1 s
//!   up ─────────────▶ down: all calls ───────▶ one call tries
//!    ▲                fail immediately ◀─────────────┤ fails
//!    └───────────────────────────────────────────────┘ succeeds
//! ```
//! A call is one round trip. If the store does not have the script, two more load it. The timeout
//! of the call that connects includes the connection. After a failure the client drops the
//! connection, so that no later call receives a late answer, and resolves the host name again.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use redis::{
    AsyncConnectionConfig, ConnectionAddr, ConnectionInfo, FromRedisValue, IntoConnectionInfo as _, RedisError,
    ScriptInvocation, aio::MultiplexedConnection, cmd,
};
use tokio::{
    net::TcpStream,
    sync::Notify,
    task::AbortHandle,
    time::{Instant, timeout},
};
use tokio_rustls::TlsConnector;

use super::{
    bounded::BoundedAnswers,
    fault::{StoreFault, field},
};
use crate::{
    config::{Authorities, StoreConfig},
    shell::tls::client_config,
};

/// A change of the store's state, for the operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreEvent<'a> {
    /// The store answers again.
    Found,
    /// The store does not answer, for this reason.
    Lost(&'a str),
    /// The store answers with errors, for this reason. Reported at most once a minute.
    Troubled(&'a str),
}

/// Receives the events of a store.
pub type StoreObserver = Box<dyn Fn(StoreEvent<'_>) + Send + Sync>;

/// A client of one store, connected or not.
pub(super) struct StoreClient {
    address: StoreAddress,
    timeout: Duration,
    state: Mutex<State>,
    /// Notified when an outage begins.
    went_down: Notify,
    /// Held while a call connects, so that concurrent calls open one connection.
    connecting: tokio::sync::Mutex<()>,
    observer: StoreObserver,
}

#[derive(Default)]
struct State {
    connection: Option<Connection>,
    outage: Option<Outage>,
    /// The time of the last [`StoreEvent::Troubled`].
    troubled: Option<Instant>,
}

struct Outage {
    fault: StoreFault,
    /// The time of the first call that failed.
    since: Instant,
    /// The time from which a call may try again.
    until: Instant,
}

/// A connection, and the task that moves its bytes. Dropping the last clone ends both.
#[derive(Clone)]
struct Connection {
    redis: MultiplexedConnection,
    driver: Arc<Driver>,
}

struct Driver(AbortHandle);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl StoreClient {
    /// A client of `store`. It connects with the first call.
    ///
    /// # Errors
    /// The reason why the URL is invalid.
    pub(super) fn new(store: &StoreConfig, observer: StoreObserver) -> Result<Self, String> {
        Ok(Self {
            address: StoreAddress::new(&store.url, &store.authorities)?,
            timeout: store.timeout,
            state: Mutex::default(),
            went_down: Notify::new(),
            connecting: tokio::sync::Mutex::default(),
            observer,
        })
    }

    /// Runs a script.
    ///
    /// # Errors
    /// [`StoreFault`], within the timeout of the store.
    pub(super) async fn run<T: FromRedisValue>(&self, script: &ScriptInvocation<'_>) -> Result<T, StoreFault> {
        self.call(async |mut redis| script.invoke_async(&mut redis).await).await
    }

    /// Checks that the store answers, and returns warnings about its settings.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub(super) async fn warnings(&self) -> Result<Vec<String>, StoreFault> {
        let (memory, persistence) = (self.info("memory").await?, self.info("persistence").await?);
        let save = self.call(async |mut redis| {
            // Managed services often do not permit CONFIG.
            let reply: Result<Vec<String>, _> = cmd("CONFIG").arg("GET").arg("save").query_async(&mut redis).await;
            Ok(reply.ok().and_then(|pair| pair.into_iter().nth(1)).unwrap_or_default())
        });
        Ok(eviction_warning(&memory).into_iter().chain(snapshot_warning(&persistence, &save.await?)).collect())
    }

    /// A section of the answer to `INFO`; empty if the user lacks the permission.
    async fn info(&self, section: &str) -> Result<String, StoreFault> {
        self.call(async |mut redis| {
            let info = cmd("INFO").arg(section).query_async(&mut redis).await;
            info.or_else(|error: RedisError| if lacks_permission(&error) { Ok(String::new()) } else { Err(error) })
        })
        .await
    }

    /// Returns true if `key` exists.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub(super) async fn has(&self, key: &str) -> Result<bool, StoreFault> {
        self.call(async |mut redis| cmd("EXISTS").arg(key).query_async(&mut redis).await).await
    }

    /// Writes `key`, which expires after `ttl`.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub(super) async fn set(&self, key: &str, ttl: Duration) -> Result<(), StoreFault> {
        let millis = ttl.as_millis().to_string();
        self.call(async |mut redis| cmd("SET").arg(key).arg("1").arg("PX").arg(millis).query_async(&mut redis).await)
            .await
    }

    /// Makes one call within the timeout, and updates the circuit breaker.
    async fn call<T>(
        &self,
        call: impl AsyncFnOnce(MultiplexedConnection) -> redis::RedisResult<T>,
    ) -> Result<T, StoreFault> {
        self.check_breaker()?;
        let outcome = timeout(self.timeout, async {
            let connection = self.connection().await?;
            call(connection.redis.clone()).await.map_err(|error| StoreFault::of_error(&error))
        });
        let outcome = outcome.await.unwrap_or_else(|_| Err(StoreFault::timed_out(self.timeout)));
        let outcome = outcome.map_err(|fault| fault.without(self.address.info.redis_settings().password()));
        match &outcome {
            Err(fault) if fault.affects_all_calls => self.set_down(fault),
            Err(fault) => {
                self.set_up();
                self.report_trouble(fault);
            }
            Ok(_) => self.set_up(),
        }
        outcome
    }

    /// Completes when an outage has begun, also one that began before this call.
    pub(super) async fn went_down(&self) {
        self.went_down.notified().await;
    }

    /// How long the store has not answered; zero if the last call reached it.
    pub(super) fn down_for(&self) -> Duration {
        self.state().outage.as_ref().map(|outage| outage.since.elapsed()).unwrap_or_default()
    }

    /// Returns true if the last call reached the store.
    pub(super) fn is_up(&self) -> bool {
        self.state().outage.is_none()
    }

    /// Reports a fault of a store that answers, at most once in [`TROUBLE_INTERVAL`].
    pub(super) fn report_trouble(&self, fault: &StoreFault) {
        let now = Instant::now();
        let recently = self.state().troubled.is_some_and(|last| now.duration_since(last) < TROUBLE_INTERVAL);
        if !recently {
            self.state().troubled = Some(now);
            (self.observer)(StoreEvent::Troubled(&fault.to_string()));
        }
    }

    /// Fails in an outage. The first call after the pause may try; the others fail until it ends.
    fn check_breaker(&self) -> Result<(), StoreFault> {
        let mut state = self.state();
        let now = Instant::now();
        match &mut state.outage {
            Some(outage) if now < outage.until => Err(outage.fault.clone().of_unsent_call()),
            Some(outage) => {
                outage.until = now + self.timeout + OUTAGE_PAUSE;
                Ok(())
            }
            None => Ok(()),
        }
    }

    async fn connection(&self) -> Result<Connection, StoreFault> {
        // The store may have closed the connection because it was idle or to restart. This is not a
        // failure: the call connects again.
        let open = || self.state().connection.clone().filter(|connection| !connection.driver.0.is_finished());
        if let Some(connection) = open() {
            return Ok(connection);
        }
        let _connecting = self.connecting.lock().await;
        if let Some(connection) = open() {
            return Ok(connection);
        }
        let connection = self.address.connect().await?;
        self.state().connection = Some(connection.clone());
        Ok(connection)
    }

    fn set_down(&self, fault: &StoreFault) {
        let mut state = self.state();
        state.connection = None;
        let (now, before) = (Instant::now(), state.outage.take());
        let was_up = before.is_none();
        let since = before.map_or(now, |outage| outage.since);
        state.outage = Some(Outage { fault: fault.clone(), since, until: now + OUTAGE_PAUSE });
        drop(state);
        if was_up {
            self.went_down.notify_one();
            (self.observer)(StoreEvent::Lost(&fault.to_string()));
        }
    }

    fn set_up(&self) {
        let was_down = self.state().outage.take().is_some();
        if was_down {
            (self.observer)(StoreEvent::Found);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for StoreClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreClient").field("timeout", &self.timeout).finish_non_exhaustive()
    }
}

/// The address of a store, and what the handshake needs.
struct StoreAddress {
    info: ConnectionInfo,
    host: String,
    port: u16,
    tls: Option<TlsConnector>,
}

impl StoreAddress {
    fn new(url: &str, authorities: &Authorities) -> Result<Self, String> {
        let (scheme, rest) = url.split_once("://").unwrap_or_default();
        let secure = match scheme.to_ascii_lowercase().as_str() {
            "redis" | "valkey" => false,
            "rediss" | "valkeys" => true,
            _ => return Err("is not a redis:// or rediss:// URL".to_owned()),
        };
        // This client does TLS itself, as everywhere else, so the crate gets a URL without it. The
        // crate's own error messages may repeat the password, so they are not used.
        let info = format!("redis://{rest}").into_connection_info();
        let info = info.map_err(|error| format!("is not a valid URL ({})", error.category()))?;
        let ConnectionAddr::Tcp(host, port) = info.addr().clone() else {
            return Err("has no host".to_owned());
        };
        let tls = secure.then(|| client_config(authorities)).transpose().map_err(|error| error.to_string())?;
        Ok(Self { info, host, port, tls: tls.map(|tls| TlsConnector::from(Arc::new(tls))) })
    }

    async fn connect(&self) -> Result<Connection, StoreFault> {
        let unreachable = |error| StoreFault::unreachable(&error);
        let stream = TcpStream::connect((self.host.as_str(), self.port)).await.map_err(unreachable)?;
        let _ = stream.set_nodelay(true);
        match &self.tls {
            None => self.handshake(stream).await,
            Some(tls) => {
                let name = self.host.clone().try_into();
                let name = name
                    .map_err(|_| StoreFault::of_store(format!("`{}` is not a valid host name for TLS", self.host)))?;
                self.handshake(tls.connect(name, stream).await.map_err(unreachable)?).await
            }
        }
    }

    /// Authenticates, selects the database, and checks the mode of the server.
    async fn handshake<S>(&self, stream: S) -> Result<Connection, StoreFault>
    where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    {
        // The timeout of the call covers all of this.
        let config = AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None);
        let settings = self.info.redis_settings();
        let opening = MultiplexedConnection::new_with_config(settings, BoundedAnswers::new(stream), config);
        let mut opening = Box::pin(opening);
        let (mut redis, driver) = opening.as_mut().await.map_err(|error| StoreFault::of_error(&error))?;
        let driver = Arc::new(Driver(tokio::spawn(driver).abort_handle()));
        // Without the permission for INFO, the first script shows what the server cannot do.
        let info: Result<String, _> = cmd("INFO").arg("server").query_async(&mut redis).await;
        match info {
            Ok(info) => StoreFault::of_mode(&info).map_or(Ok(()), Err)?,
            Err(error) if lacks_permission(&error) => {}
            Err(error) => return Err(StoreFault::of_error(&error)),
        }
        Ok(Connection { redis, driver })
    }
}

fn lacks_permission(error: &RedisError) -> bool {
    error.code() == Some("NOPERM")
}

/// The warning about a store that evicts keys when its memory is full.
fn eviction_warning(memory: &str) -> Option<String> {
    let policy = field(memory, "maxmemory_policy").filter(|policy| *policy != "noeviction")?;
    field(memory, "maxmemory").filter(|limit| *limit != "0")?;
    Some(format!(
        "limits store: with maxmemory-policy {policy}, the store may forget revocations; set maxmemory-policy \
         noeviction"
    ))
}

/// The warning about a store that restores snapshots. A snapshot also restores the birth, so that
/// the loss of everything after the snapshot goes unnoticed.
///
/// `save` is the store's schedule of snapshots; empty if it has none or the user may not read it.
/// Without it, snapshots are recognized by the counters of `INFO persistence`.
fn snapshot_warning(persistence: &str, save: &str) -> Option<String> {
    let has = |name, none| field(persistence, name).is_some_and(|value| value != none);
    let saves = !save.is_empty() || has("rdb_saves", "0") || has("rdb_last_bgsave_time_sec", "-1");
    (saves && field(persistence, "aof_enabled") == Some("0")).then(|| {
        "limits store: the store saves snapshots without an append-only file; after a crash it forgets, unnoticed, \
         later revocations and used tokens; set appendonly yes, or save \"\""
            .to_owned()
    })
}

/// The time after a failure in which all calls fail immediately.
const OUTAGE_PAUSE: Duration = Duration::from_secs(1);
/// The least time between two [`StoreEvent::Troubled`].
const TROUBLE_INTERVAL: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_that_restores_snapshots_causes_a_warning() {
        let never = "aof_enabled:0\r\nrdb_saves:0\r\nrdb_last_bgsave_time_sec:-1\r\n";
        let once = "aof_enabled:0\r\nrdb_last_bgsave_time_sec:1\r\n";
        assert!(snapshot_warning(never, "").is_none() && snapshot_warning("", "3600 1").is_none());
        assert!(snapshot_warning(never, "3600 1").is_some() && snapshot_warning(once, "").is_some());
        assert!(snapshot_warning(&once.replace("aof_enabled:0", "aof_enabled:1"), "3600 1").is_none());
    }

    #[test]
    fn urls_are_read_and_never_shown() {
        let address = |url: &str| StoreAddress::new(url, &Authorities::default());
        let plain = address("redis://ada:hunter2@store.example/3").unwrap();
        assert_eq!((plain.host.as_str(), plain.port, plain.tls.is_some()), ("store.example", 6379, false));
        assert_eq!(plain.info.redis_settings().password(), Some("hunter2"));
        let secure = address("VALKEYS://store.example:7000").unwrap();
        assert_eq!((secure.port, secure.tls.is_some()), (7000, true));
        for url in
            ["", "http://x", "redis://", "redis://ada:hunter2@store/hunter2", "redis://ada:hunter2@:x", "unix:///x"]
        {
            let fault = address(url).err().unwrap();
            assert!(!fault.contains("hunter2"), "{fault}");
        }
    }
}
