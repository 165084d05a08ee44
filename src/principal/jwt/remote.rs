//! The keys of an issuer that publishes them: those in use, and who waits for others.
//!
//! Nothing is fetched here. Whoever fetches asks [`RemoteKeys::due_in`] when, says that it [begins](RemoteKeys::begin), and
//! [hands over](RemoteKeys::settle) what came. Keys that are in use stay so while fetches fail, however old they grow: an
//! issuer that is down keeps nobody out who could come in before. Who names a known key never waits.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::{
    FutureExt as _,
    future::{self, AbortHandle, Abortable, BoxFuture, Shared},
};

use super::{JwtKeys, Origin, fault::JwtFault, schedule::Schedule};
use crate::{
    principal::{PendingKeys, network::is_loopback_host},
    proto::error::Error,
};

/// How many requests wait for a fetch at once; each holds its head in memory.
const WAITING_MAX: usize = 1_024;

/// The keys of one issuer, shared by all requests.
pub struct RemoteKeys {
    url: String,
    state: Mutex<State>,
}

struct State {
    schedule: Schedule,
    keys: Option<Arc<JwtKeys>>,
    /// Why the last fetch failed.
    failure: Option<String>,
    /// Ends when the next fetch is over.
    over: Event,
    /// Ends when a fetch became due before its time.
    due: Event,
    /// Who waits has a share of it.
    places: Arc<()>,
}

impl State {
    fn begin(&mut self, now: Duration) {
        self.schedule.begin(now);
        self.due = Event::new();
    }
}

impl RemoteKeys {
    /// The keys at `url`, none of which is there yet.
    ///
    /// # Errors
    /// The rule that `url` breaks: `https:`, or `http:` to the loopback; no credentials, no fragment.
    pub fn new(url: &str) -> Result<Self, &'static str> {
        check_url(url)?;
        let state = State {
            schedule: Schedule::default(),
            keys: None,
            failure: None,
            over: Event::new(),
            due: Event::new(),
            places: Arc::default(),
        };
        Ok(Self { url: url.to_owned(), state: Mutex::new(state) })
    }

    /// Where they are.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Whether there are keys to verify with.
    #[must_use]
    pub fn are_there(&self) -> bool {
        self.state().keys.is_some()
    }

    /// How long to wait from `now` on before the next fetch, and what ends if it becomes due before that.
    #[must_use]
    pub fn due_in(&self, now: Duration) -> (Duration, PendingKeys) {
        let state = self.state();
        (state.schedule.due_in(now), PendingKeys::new(state.due.wait(), Arc::default()))
    }

    /// A fetch begins.
    pub fn begin(&self, now: Duration) {
        self.state().begin(now);
    }

    /// Who fetches since `begun` has left before the end; the next one may begin at once.
    pub fn leave(&self, begun: Duration) {
        self.state().schedule.leave(begun);
    }

    /// Whether a fetch is to begin now: it is due, and nobody is at it or has been for `limit`.
    #[must_use]
    pub fn are_due(&self, now: Duration, limit: Duration) -> bool {
        self.state().schedule.is_due(now, limit)
    }

    /// Whether a fetch is under way, or should be.
    #[must_use]
    pub fn are_coming(&self, now: Duration) -> bool {
        self.state().schedule.is_coming(now)
    }

    /// The fetch is over: takes over the keys of a document (RFC 7517 §5), or keeps those that there are. What it gives
    /// is for the operator's log, if it is worth a line.
    ///
    /// # Errors
    /// Why there are no new keys, safe to log.
    pub fn settle(&self, fetched: Result<String, String>, now: Duration) -> Result<Option<String>, String> {
        let read = |document: String| JwtKeys::from_jwks(&document, Origin::Remote).map_err(|error| error.to_string());
        let read = fetched.and_then(read);
        let mut state = self.state();
        state.schedule.end(read.is_ok(), now);
        state.over.end();
        state.over = Event::new();
        match read {
            Ok(keys) => {
                let changed =
                    state.failure.take().is_some() || !state.keys.as_ref().is_some_and(|old| old.is_like(&keys));
                let said = changed.then(|| summary(&keys));
                state.keys = Some(Arc::new(keys));
                Ok(said)
            }
            Err(failure) => {
                state.failure = Some(failure.clone());
                Err(failure)
            }
        }
    }

    pub(super) fn keys(&self) -> Option<Arc<JwtKeys>> {
        self.state().keys.clone()
    }

    /// What to do about a credential whose key is not there: wait for a fetch, or refuse it. Who `has_waited` is refused.
    pub(super) fn missing(&self, fault: JwtFault, now: Duration, has_waited: bool) -> Result<PendingKeys, Error> {
        let mut state = self.state();
        let asks =
            fault == JwtFault::UnknownKey && !has_waited && !state.schedule.is_coming(now) && state.schedule.ask(now);
        if asks {
            state.due.end();
        }
        if !state.schedule.is_coming(now) {
            return Err(match &state.failure {
                // Whether the key is good is not known.
                Some(failure) => unavailable(&format!("{fault}, and the last fetch failed: {failure}")),
                None => fault.into(),
            });
        }
        if has_waited {
            return Err(unavailable(&format!("{fault}, and the fetch under way takes its time")));
        }
        if Arc::strong_count(&state.places) > WAITING_MAX {
            return Err(unavailable(&format!("{fault}, and {WAITING_MAX} requests wait for a fetch")));
        }
        Ok(PendingKeys::new(state.over.wait(), Arc::clone(&state.places)))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for RemoteKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteKeys").field("url", &self.url).finish_non_exhaustive()
    }
}

/// Something that happens once, and ends those who wait for it.
struct Event {
    handle: AbortHandle,
    ended: Shared<BoxFuture<'static, ()>>,
}

impl Event {
    fn new() -> Self {
        let (handle, registration) = AbortHandle::new_pair();
        let pending = Abortable::new(future::pending::<()>(), registration);
        Self { handle, ended: pending.map(drop).boxed().shared() }
    }

    fn wait(&self) -> Shared<BoxFuture<'static, ()>> {
        self.ended.clone()
    }

    fn end(&self) {
        self.handle.abort();
    }
}

fn summary(keys: &JwtKeys) -> String {
    let mut text = format!("{} of the issuer's keys in use", keys.count());
    for skipped in keys.skipped() {
        text.push_str(&format!("; passed over {skipped}"));
    }
    text
}

fn unavailable(cause: &str) -> Error {
    Error::GuardUnavailable { cause: format!("identity: {cause}"), passes: true }
}

fn check_url(url: &str) -> Result<(), &'static str> {
    let uri: http::Uri = url.parse().map_err(|_| "is no URL")?;
    let host = uri.authority().filter(|authority| !authority.as_str().contains('@')).map(|authority| authority.host());
    match (uri.scheme_str(), host) {
        _ if url.contains('#') => Err("holds a fragment, which is not sent"),
        (Some("https"), Some(_)) => Ok(()),
        (Some("http"), Some(host)) if is_loopback_host(host) => Ok(()),
        (Some("http"), Some(_)) => Err("is no https: URL; whoever is on the way could put in keys"),
        _ => Err("is no https: URL without credentials"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn remote() -> RemoteKeys {
        RemoteKeys::new("https://issuer.example/jwks").unwrap()
    }

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// A key set of these kids, one key each.
    fn document(kids: &[&str]) -> String {
        let cases: Value = serde_json::from_str(include_str!("../../../tests/vectors/jwt/cases.json")).unwrap();
        let known = cases["keys"]["public"]["jwks"]["keys"].as_array().unwrap();
        let key = known.iter().find(|key| key["kty"] == "OKP").unwrap();
        let keys = kids.iter().map(|kid| {
            let mut key = key.clone();
            key["kid"] = (*kid).into();
            key
        });
        serde_json::json!({ "keys": keys.collect::<Vec<_>>() }).to_string()
    }

    fn fetch(keys: &RemoteKeys, fetched: Result<String, String>, now: Duration) -> Result<Option<String>, String> {
        keys.begin(at(0));
        keys.settle(fetched, now)
    }

    fn is_over(coming: &PendingKeys) -> bool {
        coming.clone().now_or_never().is_some()
    }

    #[test]
    fn who_comes_before_the_first_keys_waits_for_them() {
        let keys = remote();
        assert!(!keys.are_there() && keys.due_in(at(0)).0.is_zero());
        let early = keys.missing(JwtFault::NoKeySet, at(0), false).unwrap();
        keys.begin(at(0));
        let later = keys.missing(JwtFault::NoKeySet, at(3), false).unwrap();
        assert!(!is_over(&early) && !is_over(&later));
        let said = keys.settle(Ok(document(&["a"])), at(4)).unwrap().unwrap();
        assert_eq!(said, "1 of the issuer's keys in use");
        assert!(is_over(&early) && is_over(&later) && keys.are_there());
    }

    #[test]
    fn without_keys_the_cause_is_told_to_the_operator() {
        let keys = remote();
        for document in ["<html>", "", "{}", "{\"keys\":[]}", "{\"keys\":[{\"kty\":\"oct\",\"k\":\"AAAA\"}]}", "[]"] {
            let failure = fetch(&keys, Ok(document.to_owned()), at(0)).unwrap_err();
            let error = keys.missing(JwtFault::NoKeySet, at(0), false).unwrap_err();
            assert_eq!(error.code(), "guard_unavailable");
            assert!(error.cause().unwrap().ends_with(&failure), "{error:?}");
        }
        fetch(&keys, Err("status 500".to_owned()), at(0)).unwrap_err();
        let error = keys.missing(JwtFault::NoKeySet, at(0), false).unwrap_err();
        let cause = "identity: key: the issuer's key set has not been fetched, and the last fetch failed: status 500";
        assert_eq!(error.cause().unwrap(), cause);
        assert!(!keys.are_there());
    }

    #[test]
    fn a_failed_fetch_leaves_the_keys_in_use() {
        let keys = remote();
        fetch(&keys, Ok(document(&["a"])), at(0)).unwrap();
        for failed in [Err("refused".to_owned()), Ok("<html>".to_owned()), Ok("{\"keys\":[]}".to_owned())] {
            fetch(&keys, failed, at(100_000)).unwrap_err();
            assert_eq!(keys.keys().unwrap().count(), 1);
        }
        let said = fetch(&keys, Ok(document(&["a"])), at(100_001)).unwrap();
        assert_eq!(said.unwrap(), "1 of the issuer's keys in use", "that it is over is worth a line");
        assert_eq!(fetch(&keys, Ok(document(&["a"])), at(100_002)).unwrap(), None);
        let said = fetch(&keys, Ok(document(&["a", "b"])), at(100_003)).unwrap();
        assert_eq!(said.unwrap(), "2 of the issuer's keys in use");
    }

    #[test]
    fn many_unknown_keys_cause_one_fetch() {
        let keys = remote();
        fetch(&keys, Ok(document(&["a"])), at(0)).unwrap();
        let (wait, due) = keys.due_in(at(1));
        assert!(wait == at(599) && !is_over(&due));
        let waiting: Vec<_> = (0..1_000).map(|_| keys.missing(JwtFault::UnknownKey, at(1), false).unwrap()).collect();
        assert!(is_over(&due), "whoever fetches is woken");
        keys.begin(at(0));
        let (_, due) = keys.due_in(at(1));
        let late = keys.missing(JwtFault::UnknownKey, at(2), false).unwrap();
        keys.settle(Ok(document(&["a"])), at(3)).unwrap();
        assert!(waiting.iter().chain([&late]).all(is_over));
        for has_waited in [true, false] {
            let error = keys.missing(JwtFault::UnknownKey, at(60), has_waited).unwrap_err();
            assert_eq!(error, JwtFault::UnknownKey.into());
        }
        assert!(!is_over(&due));
        assert!(keys.missing(JwtFault::UnknownKey, at(61), true).is_err(), "who has waited asks no more");
        assert!(!is_over(&due));
        keys.missing(JwtFault::UnknownKey, at(61), false).unwrap();
        assert!(is_over(&due));
    }

    #[test]
    fn an_unknown_key_is_no_stranger_while_the_issuer_is_down() {
        let keys = remote();
        fetch(&keys, Ok(document(&["a"])), at(0)).unwrap();
        let waiting = keys.missing(JwtFault::UnknownKey, at(1), false).unwrap();
        keys.begin(at(0));
        assert_eq!(keys.missing(JwtFault::UnknownKey, at(6), true).unwrap_err().code(), "guard_unavailable");
        keys.settle(Err("refused".to_owned()), at(6)).unwrap_err();
        assert!(is_over(&waiting));
        assert_eq!(keys.missing(JwtFault::UnknownKey, at(6), true).unwrap_err().code(), "guard_unavailable");
    }

    #[test]
    fn there_is_a_bound_on_who_waits() {
        let keys = remote();
        let wait = || keys.missing(JwtFault::NoKeySet, at(0), false);
        let mut waiting: Vec<_> = (0..WAITING_MAX).map(|_| wait().unwrap()).collect();
        assert_eq!(wait().unwrap_err().code(), "guard_unavailable");
        waiting.pop();
        assert!(wait().is_ok());
    }

    #[test]
    fn keys_come_over_tls_or_the_loopback() {
        for url in [
            "https://issuer.example/jwks?p=one",
            "https://127.0.0.1/",
            "http://127.0.0.1:8080/jwks",
            "http://127.9.9.9",
            "http://localhost:1/jwks",
            "http://[::1]:1/jwks",
            "HTTPS://Issuer.Example",
        ] {
            assert!(RemoteKeys::new(url).is_ok(), "{url}");
        }
        for url in [
            "",
            "issuer.example",
            "/jwks",
            "http://issuer.example/jwks",
            "http://10.0.0.1/",
            "http://localhost.example/",
            "http://127.0.0.1.example/",
            "https://",
            "https://a@issuer.example/",
            "http://a:b@127.0.0.1/",
            "https://a/#b",
            "ftp://issuer.example/",
            "file:///etc/passwd",
            "http://0.0.0.0/",
            "http://[::]/",
            "https://a b/",
        ] {
            assert!(RemoteKeys::new(url).is_err(), "{url}");
        }
    }
}
