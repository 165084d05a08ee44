//! The way to the store: one connection for all calls, a bound on each call, and a breaker.
//!
//! ```text
//!            fails                      1 s
//!   up ─────────────▶ down: all calls ───────▶ one call tries
//!    ▲                 fail at once  ◀───────────────┤ fails
//!    └───────────────────────────────────────────────┘ succeeds
//! ```
//! A call is one round trip; a script that the store does not have is loaded by two more. Connecting counts into the time
//! of the call that connects. After a failure the connection is dropped, so that no late answer is taken for another
//! call's, and a name that leads elsewhere by then is looked up anew.

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
    task::AbortHandle,
    time::{Instant, timeout},
};
use tokio_rustls::TlsConnector;

use super::fault::{StoreFault, field};
use crate::{guard::Store, shell::http::tls};

/// What an operator is to know of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News<'a> {
    /// It answers again.
    Found,
    /// It does not answer; why.
    Lost(&'a str),
    /// It answers, and cannot do what is asked; why. Told once a minute at most.
    Troubled(&'a str),
}

/// Hears of the store.
pub type Watch = Box<dyn Fn(News<'_>) + Send + Sync>;

/// A store, connected or not.
pub(super) struct Link {
    target: Target,
    timeout: Duration,
    state: Mutex<State>,
    /// Held by who connects, so that a crowd makes one connection.
    connecting: tokio::sync::Mutex<()>,
    watch: Watch,
}

#[derive(Default)]
struct State {
    connection: Option<Connection>,
    outage: Option<Outage>,
    /// When trouble was last told of.
    troubled: Option<Instant>,
}

struct Outage {
    fault: StoreFault,
    /// When the next call may try.
    until: Instant,
}

/// A connection and what moves its bytes. The last copy ends both.
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

impl Link {
    /// A way to `store`; nothing is connected yet.
    ///
    /// # Errors
    /// What is wrong with its URL.
    pub(super) fn new(store: &Store, watch: Watch) -> Result<Self, String> {
        Ok(Self {
            target: Target::new(&store.url)?,
            timeout: store.timeout,
            state: Mutex::default(),
            connecting: tokio::sync::Mutex::default(),
            watch,
        })
    }

    /// Runs a script.
    ///
    /// # Errors
    /// [`StoreFault`], within the store's time-out.
    pub(super) async fn run<T: FromRedisValue>(&self, script: &ScriptInvocation<'_>) -> Result<T, StoreFault> {
        self.bounded(async |mut redis| script.invoke_async(&mut redis).await).await
    }

    /// What an operator should know of the store, though it may work.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub(super) async fn look(&self) -> Result<Vec<String>, StoreFault> {
        let (memory, persistence) = (self.info("memory").await?, self.info("persistence").await?);
        let save = self.bounded(async |mut redis| {
            // Managed services do not let everyone ask.
            let asked: Result<Vec<String>, _> = cmd("CONFIG").arg("GET").arg("save").query_async(&mut redis).await;
            Ok(asked.ok().and_then(|pair| pair.into_iter().nth(1)).unwrap_or_default())
        });
        Ok(evicts(&memory).into_iter().chain(goes_back(&persistence, &save.await?)).collect())
    }

    /// A section of what the store says of itself; nothing if we may not ask.
    async fn info(&self, section: &str) -> Result<String, StoreFault> {
        self.bounded(async |mut redis| {
            let info = cmd("INFO").arg(section).query_async(&mut redis).await;
            info.or_else(|error: RedisError| if may_not(&error) { Ok(String::new()) } else { Err(error) })
        })
        .await
    }

    /// Whether there is a key of this name.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub(super) async fn has(&self, key: &str) -> Result<bool, StoreFault> {
        self.bounded(async |mut redis| cmd("EXISTS").arg(key).query_async(&mut redis).await).await
    }

    async fn bounded<T>(
        &self,
        call: impl AsyncFnOnce(MultiplexedConnection) -> redis::RedisResult<T>,
    ) -> Result<T, StoreFault> {
        self.may_try()?;
        let outcome = timeout(self.timeout, async {
            let connection = self.connection().await?;
            call(connection.redis.clone()).await.map_err(|error| StoreFault::of(&error))
        });
        let outcome = outcome.await.unwrap_or_else(|_| Err(StoreFault::slow(self.timeout)));
        let outcome = outcome.map_err(|fault| fault.without(self.target.info.redis_settings().password()));
        match &outcome {
            Err(fault) if fault.is_of_store => self.went_down(fault),
            Err(fault) => {
                self.came_up();
                self.trouble(fault);
            }
            Ok(_) => self.came_up(),
        }
        outcome
    }

    /// Whether the last call found the store.
    pub(super) fn is_up(&self) -> bool {
        self.state().outage.is_none()
    }

    /// Tells of what went wrong at a store that answers.
    pub(super) fn trouble(&self, fault: &StoreFault) {
        let now = Instant::now();
        let recently = self.state().troubled.is_some_and(|last| now.duration_since(last) < QUIET);
        if !recently {
            self.state().troubled = Some(now);
            (self.watch)(News::Troubled(&fault.to_string()));
        }
    }

    /// Whether a call may go out. The first one after a pause may; until it has ended, the others may not.
    fn may_try(&self) -> Result<(), StoreFault> {
        let mut state = self.state();
        let now = Instant::now();
        match &mut state.outage {
            Some(outage) if now < outage.until => Err(outage.fault.clone().at_once()),
            Some(outage) => {
                outage.until = now + self.timeout + PAUSE;
                Ok(())
            }
            None => Ok(()),
        }
    }

    async fn connection(&self) -> Result<Connection, StoreFault> {
        // One that the store has closed meanwhile, for want of work or to restart, is no failure yet.
        let kept = || self.state().connection.clone().filter(|connection| !connection.driver.0.is_finished());
        if let Some(connection) = kept() {
            return Ok(connection);
        }
        let _connecting = self.connecting.lock().await;
        if let Some(connection) = kept() {
            return Ok(connection);
        }
        let connection = self.target.connect().await?;
        self.state().connection = Some(connection.clone());
        Ok(connection)
    }

    fn went_down(&self, fault: &StoreFault) {
        let mut state = self.state();
        state.connection = None;
        let was_up = state.outage.is_none();
        state.outage = Some(Outage { fault: fault.clone(), until: Instant::now() + PAUSE });
        drop(state);
        if was_up {
            (self.watch)(News::Lost(&fault.to_string()));
        }
    }

    fn came_up(&self) {
        let was_down = self.state().outage.take().is_some();
        if was_down {
            (self.watch)(News::Found);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("timeout", &self.timeout).finish_non_exhaustive()
    }
}

/// Where the store is, and how to greet it.
struct Target {
    info: ConnectionInfo,
    host: String,
    port: u16,
    tls: Option<TlsConnector>,
}

impl Target {
    fn new(url: &str) -> Result<Self, String> {
        let (scheme, rest) = url.split_once("://").unwrap_or_default();
        let secure = match scheme.to_ascii_lowercase().as_str() {
            "redis" | "valkey" => false,
            "rediss" | "valkeys" => true,
            _ => return Err("is no redis:// or rediss:// URL".to_owned()),
        };
        // TLS is ours, as it is everywhere, so the crate is told of none. What it says of a URL may repeat the password.
        let info = format!("redis://{rest}").into_connection_info();
        let info = info.map_err(|error| format!("cannot be read ({})", error.category()))?;
        let ConnectionAddr::Tcp(host, port) = info.addr().clone() else {
            return Err("names no host".to_owned());
        };
        let tls = secure.then(tls).transpose().map_err(|error| error.to_string())?;
        Ok(Self { info, host, port, tls: tls.map(|tls| TlsConnector::from(Arc::new(tls))) })
    }

    async fn connect(&self) -> Result<Connection, StoreFault> {
        let unreachable = |error| StoreFault::unreachable(&error);
        let stream = TcpStream::connect((self.host.as_str(), self.port)).await.map_err(unreachable)?;
        let _ = stream.set_nodelay(true);
        match &self.tls {
            None => self.greet(stream).await,
            Some(tls) => {
                let name = self.host.clone().try_into();
                let name = name.map_err(|_| StoreFault::of_store(format!("`{}` is no name for TLS", self.host)))?;
                self.greet(tls.connect(name, stream).await.map_err(unreachable)?).await
            }
        }
    }

    async fn greet<S>(&self, stream: S) -> Result<Connection, StoreFault>
    where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    {
        // The time of the call bounds all of it.
        let config = AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None);
        let settings = self.info.redis_settings();
        let made = MultiplexedConnection::new_with_config(settings, stream, config);
        let mut made = Box::pin(made);
        let (mut redis, driver) = made.as_mut().await.map_err(|error| StoreFault::of(&error))?;
        let driver = Arc::new(Driver(tokio::spawn(driver).abort_handle()));
        // Who may not ask is told by the first script what it cannot do.
        let info: Result<String, _> = cmd("INFO").arg("server").query_async(&mut redis).await;
        match info {
            Ok(info) => StoreFault::of_mode(&info).map_or(Ok(()), Err)?,
            Err(error) if may_not(&error) => {}
            Err(error) => return Err(StoreFault::of(&error)),
        }
        Ok(Connection { redis, driver })
    }
}

fn may_not(error: &RedisError) -> bool {
    error.code() == Some("NOPERM")
}

fn evicts(memory: &str) -> Option<String> {
    let policy = field(memory, "maxmemory_policy").filter(|policy| *policy != "noeviction")?;
    field(memory, "maxmemory").filter(|most| *most != "0")?;
    Some(format!("guard store: with maxmemory-policy {policy} it may forget revocations; set noeviction"))
}

/// A snapshot brings back the birth with the rest, so that what came after it is forgotten unnoticed. `save` is when the
/// store saves one, as far as it may be asked; else it shows by what it has done.
fn goes_back(persistence: &str, save: &str) -> Option<String> {
    let has = |name, none| field(persistence, name).is_some_and(|value| value != none);
    let saves = !save.is_empty() || has("rdb_saves", "0") || has("rdb_last_bgsave_time_sec", "-1");
    (saves && field(persistence, "aof_enabled") == Some("0")).then(|| {
        "guard store: it saves snapshots without an append-only file: after a crash it forgets, unnoticed, what was revoked \
         or used since the last; set appendonly yes, or save \"\""
            .to_owned()
    })
}

/// How long no call tries after one has failed.
const PAUSE: Duration = Duration::from_secs(1);
/// How long nothing more is told of trouble after some was.
const QUIET: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_that_goes_back_to_a_snapshot_is_told() {
        let never = "aof_enabled:0\r\nrdb_saves:0\r\nrdb_last_bgsave_time_sec:-1\r\n";
        let once = "aof_enabled:0\r\nrdb_last_bgsave_time_sec:1\r\n";
        assert!(goes_back(never, "").is_none() && goes_back("", "3600 1").is_none());
        assert!(goes_back(never, "3600 1").is_some() && goes_back(once, "").is_some());
        assert!(goes_back(&once.replace("aof_enabled:0", "aof_enabled:1"), "3600 1").is_none());
    }

    #[test]
    fn urls_are_read_and_never_repeated() {
        let target = Target::new("redis://ada:hunter2@store.example/3").unwrap();
        assert_eq!((target.host.as_str(), target.port, target.tls.is_some()), ("store.example", 6379, false));
        assert_eq!(target.info.redis_settings().password(), Some("hunter2"));
        let target = Target::new("VALKEYS://store.example:7000").unwrap();
        assert_eq!((target.port, target.tls.is_some()), (7000, true));
        for url in
            ["", "http://x", "redis://", "redis://ada:hunter2@store/hunter2", "redis://ada:hunter2@:x", "unix:///x"]
        {
            let fault = Target::new(url).err().unwrap();
            assert!(!fault.contains("hunter2"), "{fault}");
        }
    }
}
