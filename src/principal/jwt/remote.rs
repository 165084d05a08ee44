//! The keys of an issuer that publishes them: the keys in use, and the requests that wait for new
//! ones.
//!
//! This module fetches nothing. The service does, in these steps:
//!
//! 1. [`RemoteKeys::due_in`] or [`RemoteKeys::is_fetch_due`] says when.
//! 2. [`RemoteKeys::fetch_started`] records the start.
//! 3. [`RemoteKeys::fetch_finished`] takes the document or the error, or
//!    [`RemoteKeys::fetch_abandoned`] records that neither will come.
//!
//! Keys stay in use while fetches fail, however old they are: if the issuer is down, known callers
//! are still accepted. A request whose `kid` is known never waits.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::{
    FutureExt as _,
    future::{self, AbortHandle, Abortable, BoxFuture, Shared},
};

use super::{fault::JwtFault, jwk::KeySetOrigin, keys::JwtKeys, schedule::FetchSchedule};
use crate::{
    principal::{network::is_loopback_authority, pending_keys::PendingKeys},
    proto::error::Error,
};

/// The most requests that wait for a fetch. Each one holds its headers in memory.
const WAITING_MAX: usize = 1_024;

/// The keys of one issuer, shared by all requests.
pub struct RemoteKeys {
    url: String,
    state: Mutex<State>,
}

struct State {
    schedule: FetchSchedule,
    keys: Option<Arc<JwtKeys>>,
    /// The error of the last fetch, if it failed.
    failure: Option<String>,
    /// Completes when the next fetch has ended.
    fetch_ended: Completion,
    /// Completes when a fetch becomes due before its scheduled time.
    fetch_due: Completion,
    /// Each waiting request holds a clone.
    waiting: Arc<()>,
}

impl RemoteKeys {
    /// The keys at `url`. None are fetched yet.
    ///
    /// # Errors
    /// The rule that `url` violates: `https:`, or `http:` to a loopback address; no credentials, no
    /// fragment.
    pub fn new(url: &str) -> Result<Self, &'static str> {
        check_url(url)?;
        let state = State {
            schedule: FetchSchedule::default(),
            keys: None,
            failure: None,
            fetch_ended: Completion::new(),
            fetch_due: Completion::new(),
            waiting: Arc::default(),
        };
        Ok(Self { url: url.to_owned(), state: Mutex::new(state) })
    }

    /// The URL of the key set.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Returns true if there are keys to verify with.
    #[must_use]
    pub fn has_keys(&self) -> bool {
        self.state().keys.is_some()
    }

    /// The time from `now` until the next fetch, and a future that ends if the fetch becomes due
    /// earlier.
    #[must_use]
    pub fn due_in(&self, now: Duration) -> (Duration, PendingKeys) {
        let state = self.state();
        (state.schedule.due_in(now), PendingKeys::new(state.fetch_due.wait(), Arc::default()))
    }

    /// Returns true if a fetch should start now: it is due, and no other has been in flight for
    /// less than `limit`.
    #[must_use]
    pub fn is_fetch_due(&self, now: Duration, limit: Duration) -> bool {
        self.state().schedule.is_due(now, limit)
    }

    /// Returns true if a fetch is in flight or due.
    #[must_use]
    pub fn is_fetch_expected(&self, now: Duration) -> bool {
        self.state().schedule.is_expected(now)
    }

    /// Records that a fetch has started.
    pub fn fetch_started(&self, now: Duration) {
        let mut state = self.state();
        state.schedule.start(now);
        state.fetch_due = Completion::new();
    }

    /// Records that the fetch that started at `started` was dropped before its end. The next fetch
    /// can start immediately.
    pub fn fetch_abandoned(&self, started: Duration) {
        self.state().schedule.abandon(started);
    }

    /// Records that a fetch has ended, and uses the keys of its document (RFC 7517 §5). If there
    /// are none, the old keys stay in use. Returns a line for the operator's log, if something has
    /// changed.
    ///
    /// # Errors
    /// The reason why there are no new keys. It is safe to log.
    pub fn fetch_finished(&self, fetched: Result<String, String>, now: Duration) -> Result<Option<String>, String> {
        let parse = |json: String| JwtKeys::from_jwks(&json, KeySetOrigin::Remote).map_err(|error| error.to_string());
        let parsed = fetched.and_then(parse);
        let mut state = self.state();
        state.schedule.finish(parsed.is_ok(), now);
        state.fetch_ended.complete();
        state.fetch_ended = Completion::new();
        match parsed {
            Ok(keys) => {
                let has_recovered = state.failure.take().is_some();
                let is_same = state.keys.as_ref().is_some_and(|old| old.has_same_names(&keys));
                let line = (has_recovered || !is_same).then(|| summary(&keys));
                state.keys = Some(Arc::new(keys));
                Ok(line)
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

    /// The wait for a fetch that may bring the key of a credential. `fault` is the reason why the
    /// credential was refused. If `has_waited` is true, this never returns a wait.
    ///
    /// # Errors
    /// `fault` as an error, if no fetch is in flight or due. [`Error::IssuerUnavailable`] if it is
    /// not known whether the key is valid, or too many requests wait.
    pub(super) fn wait_for_key(&self, fault: JwtFault, now: Duration, has_waited: bool) -> Result<PendingKeys, Error> {
        let mut state = self.state();
        let may_request = fault == JwtFault::UnknownKey && !has_waited && !state.schedule.is_expected(now);
        if may_request && state.schedule.request(now) {
            state.fetch_due.complete();
        }
        if !state.schedule.is_expected(now) {
            return Err(match &state.failure {
                // The issuer may have published the key.
                Some(failure) => unavailable(&format!("{fault}, and the last fetch failed: {failure}")),
                None => fault.into(),
            });
        }
        if has_waited {
            return Err(unavailable(&format!("{fault}, and the fetch has not ended in time")));
        }
        if Arc::strong_count(&state.waiting) > WAITING_MAX {
            return Err(unavailable(&format!("{fault}, and {WAITING_MAX} requests already wait for a fetch")));
        }
        Ok(PendingKeys::new(state.fetch_ended.wait(), Arc::clone(&state.waiting)))
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

/// An event that happens once. Any number of futures can wait for it.
struct Completion {
    handle: AbortHandle,
    ended: Shared<BoxFuture<'static, ()>>,
}

impl Completion {
    fn new() -> Self {
        let (handle, registration) = AbortHandle::new_pair();
        let pending = Abortable::new(future::pending::<()>(), registration);
        Self { handle, ended: pending.map(drop).boxed().shared() }
    }

    fn wait(&self) -> Shared<BoxFuture<'static, ()>> {
        self.ended.clone()
    }

    fn complete(&self) {
        self.handle.abort();
    }
}

fn summary(keys: &JwtKeys) -> String {
    let mut text = format!("{} of the issuer's keys in use", keys.count());
    for skipped in keys.skipped() {
        text.push_str(&format!("; skipped {skipped}"));
    }
    text
}

fn unavailable(cause: &str) -> Error {
    Error::IssuerUnavailable { cause: format!("identity: {cause}") }
}

/// True for a name such as `a.localhost`, for which a resolver may ask other machines.
fn is_below_localhost(authority: &str) -> bool {
    authority.to_ascii_lowercase().contains(".localhost")
}

fn check_url(url: &str) -> Result<(), &'static str> {
    let uri: http::Uri = url.parse().map_err(|_| "is not a URL")?;
    let authority = uri.authority().map(|authority| authority.as_str()).filter(|authority| !authority.contains('@'));
    match (uri.scheme_str(), authority) {
        _ if url.contains('#') => Err("has a fragment, which is never sent"),
        (Some("https"), Some(_)) => Ok(()),
        (Some("http"), Some(authority))
            if is_loopback_authority(authority.as_bytes()) && !is_below_localhost(authority) =>
        {
            Ok(())
        }
        (Some("http"), Some(_)) => Err("is not an https: URL; an attacker on the network could replace the keys"),
        _ => Err("is not an https: URL without credentials"),
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
        keys.fetch_started(at(0));
        keys.fetch_finished(fetched, now)
    }

    fn is_over(pending: &PendingKeys) -> bool {
        pending.clone().now_or_never().is_some()
    }

    #[test]
    fn a_request_before_the_first_keys_waits_for_them() {
        let keys = remote();
        assert!(!keys.has_keys() && keys.due_in(at(0)).0.is_zero());
        let early = keys.wait_for_key(JwtFault::NoKeySet, at(0), false).unwrap();
        keys.fetch_started(at(0));
        let later = keys.wait_for_key(JwtFault::NoKeySet, at(3), false).unwrap();
        assert!(!is_over(&early) && !is_over(&later));
        let line = keys.fetch_finished(Ok(document(&["a"])), at(4)).unwrap().unwrap();
        assert_eq!(line, "1 of the issuer's keys in use");
        assert!(is_over(&early) && is_over(&later) && keys.has_keys());
    }

    #[test]
    fn without_keys_the_error_has_the_cause() {
        let keys = remote();
        for document in ["<html>", "", "{}", "{\"keys\":[]}", "{\"keys\":[{\"kty\":\"oct\",\"k\":\"AAAA\"}]}", "[]"] {
            let failure = fetch(&keys, Ok(document.to_owned()), at(0)).unwrap_err();
            let error = keys.wait_for_key(JwtFault::NoKeySet, at(0), false).unwrap_err();
            assert_eq!(error.code(), "guard_unavailable");
            assert!(error.cause().unwrap().ends_with(&failure), "{error:?}");
        }
        fetch(&keys, Err("status 500".to_owned()), at(0)).unwrap_err();
        let error = keys.wait_for_key(JwtFault::NoKeySet, at(0), false).unwrap_err();
        let cause = "identity: key: the issuer's key set has not been fetched, and the last fetch failed: status 500";
        assert_eq!(error.cause().unwrap(), cause);
        assert!(!keys.has_keys());
    }

    #[test]
    fn a_failed_fetch_keeps_the_keys_in_use() {
        let keys = remote();
        fetch(&keys, Ok(document(&["a"])), at(0)).unwrap();
        for failed in [Err("refused".to_owned()), Ok("<html>".to_owned()), Ok("{\"keys\":[]}".to_owned())] {
            fetch(&keys, failed, at(100_000)).unwrap_err();
            assert_eq!(keys.keys().unwrap().count(), 1);
        }
        let line = fetch(&keys, Ok(document(&["a"])), at(100_001)).unwrap();
        assert_eq!(line.unwrap(), "1 of the issuer's keys in use", "the end of an outage is logged");
        assert_eq!(fetch(&keys, Ok(document(&["a"])), at(100_002)).unwrap(), None);
        let line = fetch(&keys, Ok(document(&["a", "b"])), at(100_003)).unwrap();
        assert_eq!(line.unwrap(), "2 of the issuer's keys in use");
    }

    #[test]
    fn many_unknown_keys_cause_one_fetch() {
        let keys = remote();
        fetch(&keys, Ok(document(&["a"])), at(0)).unwrap();
        let (wait, due) = keys.due_in(at(1));
        assert!(wait == at(599) && !is_over(&due));
        let waiting: Vec<_> =
            (0..1_000).map(|_| keys.wait_for_key(JwtFault::UnknownKey, at(1), false).unwrap()).collect();
        assert!(is_over(&due), "the waiting fetcher is woken");
        keys.fetch_started(at(0));
        let (_, due) = keys.due_in(at(1));
        let late = keys.wait_for_key(JwtFault::UnknownKey, at(2), false).unwrap();
        keys.fetch_finished(Ok(document(&["a"])), at(3)).unwrap();
        assert!(waiting.iter().chain([&late]).all(is_over));
        for has_waited in [true, false] {
            let error = keys.wait_for_key(JwtFault::UnknownKey, at(60), has_waited).unwrap_err();
            assert_eq!(error, JwtFault::UnknownKey.into());
        }
        assert!(!is_over(&due));
        assert!(
            keys.wait_for_key(JwtFault::UnknownKey, at(61), true).is_err(),
            "a request that has waited causes no fetch"
        );
        assert!(!is_over(&due));
        keys.wait_for_key(JwtFault::UnknownKey, at(61), false).unwrap();
        assert!(is_over(&due));
    }

    #[test]
    fn an_unknown_key_is_not_refused_for_good_while_the_issuer_is_down() {
        let keys = remote();
        fetch(&keys, Ok(document(&["a"])), at(0)).unwrap();
        let waiting = keys.wait_for_key(JwtFault::UnknownKey, at(1), false).unwrap();
        keys.fetch_started(at(0));
        assert_eq!(keys.wait_for_key(JwtFault::UnknownKey, at(6), true).unwrap_err().code(), "guard_unavailable");
        keys.fetch_finished(Err("refused".to_owned()), at(6)).unwrap_err();
        assert!(is_over(&waiting));
        assert_eq!(keys.wait_for_key(JwtFault::UnknownKey, at(6), true).unwrap_err().code(), "guard_unavailable");
    }

    #[test]
    fn the_number_of_waiting_requests_is_limited() {
        let keys = remote();
        let wait = || keys.wait_for_key(JwtFault::NoKeySet, at(0), false);
        let mut waiting: Vec<_> = (0..WAITING_MAX).map(|_| wait().unwrap()).collect();
        assert_eq!(wait().unwrap_err().code(), "guard_unavailable");
        waiting.pop();
        assert!(wait().is_ok());
    }

    #[test]
    fn keys_are_fetched_over_tls_or_from_the_loopback() {
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
            "http://[::1].example/",
            "http://a.localhost/",
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
