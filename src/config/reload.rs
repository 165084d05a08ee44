//! What a reload does not take over, by the keys that set it.

use std::fmt;

use super::{Config, UpstreamConfig};
use crate::principal::KeyDigest;

impl Config {
    /// What holds from a start to the next, for comparison.
    #[must_use]
    pub fn reload_snapshot(&self) -> ReloadSnapshot {
        ReloadSnapshot {
            pinned: self.pinned(),
            kept: self.kept(),
            namespace: self.store.as_ref().map(|store| store.namespace.clone()),
        }
    }

    /// What requests to come would not work with, were it another than at the start.
    fn pinned(&self) -> Vec<Setting> {
        let authenticator = &self.access.authenticator;
        let store = self.store.as_ref();
        vec![
            Setting::new("upstream", &self.upstreams),
            Setting::new("identity.mode", authenticator.mode()),
            Setting::new("identity.jwt.jwks_url", authenticator.jwks_url()),
            Setting { key: "guard.redis_url", digest: store.map(|store| KeyDigest::of(&store.url)) },
        ]
    }

    /// What was built at the start, and goes on as it is.
    fn kept(&self) -> Vec<Setting> {
        let (service, server, timeouts) = (&self.service, &self.server, &self.service.timeouts);
        let upstreams = self.upstreams.as_slice();
        vec![
            Setting::new("listen", self.listen),
            Setting::new("dangerous_open", service.loopback_host_only),
            Setting::new("cors_origins", &service.cors_origins),
            Setting::new("lambda_response", self.lambda_response),
            Setting::new("retries", service.retries),
            Setting::new("builtin_pace_ms", each(upstreams, |upstream| upstream.builtin_pace)),
            Setting::new("upstream.prompt_cache", each(upstreams, |upstream| upstream.prompt_cache)),
            Setting::new("upstream.api_key_env", each(upstreams, digest_of_key)),
            Setting::new("guard.lease_grace", self.guard.lease.saturating_sub(self.service.timeouts.total)),
            Setting::new("guard.timeout", self.store.as_ref().map(|store| store.timeout)),
            Setting::new("limits.concurrent_requests", service.concurrent_requests),
            Setting::new("limits.requests_per_peer", service.requests_per_peer),
            Setting::new("limits.connections", server.connections),
            Setting::new("limits.connections_per_peer", server.connections_per_peer),
            Setting::new("limits.head_bytes", server.head_bytes),
            Setting::new("timeouts.head", server.head_timeout),
            Setting::new("timeouts.body", timeouts.body),
            Setting::new("timeouts.write", server.write_timeout),
            Setting::new("timeouts.connect", each(upstreams, |upstream| upstream.connect_timeout)),
            Setting::new("timeouts.queue", each(upstreams, |upstream| upstream.concurrency.map(|bound| bound.wait))),
            Setting::new("timeouts.first_byte", timeouts.first_byte),
            Setting::new("timeouts.idle", timeouts.idle),
            Setting::new("timeouts.total", timeouts.total),
            Setting::new("timeouts.heartbeat", timeouts.heartbeat),
            Setting::new("timeouts.lame_duck", server.lame_duck),
            Setting::new("timeouts.drain", server.drain_timeout),
            Setting::new("timeouts.issuer", timeouts.issuer),
        ]
    }
}

/// What a reload does not take over. `Debug` shows the keys alone.
#[derive(Clone, Debug)]
pub struct ReloadSnapshot {
    pinned: Vec<Setting>,
    kept: Vec<Setting>,
    /// The issuer, where a store keeps counts under its name.
    namespace: Option<String>,
}

impl ReloadSnapshot {
    /// The keys that are set to something else in `other`, for which a reload is refused.
    #[must_use]
    pub fn refused_changes(&self, other: &Self) -> Vec<&'static str> {
        let mut changed = changes(&self.pinned, &other.pinned);
        if let (Some(mine), Some(other)) = (&self.namespace, &other.namespace)
            && mine != other
        {
            changed.push("issuer");
        }
        changed
    }

    /// The keys that are set to something else in `other`, which takes effect at a restart.
    #[must_use]
    pub fn restart_changes(&self, other: &Self) -> Vec<&'static str> {
        changes(&self.kept, &other.kept)
    }
}

fn changes(mine: &[Setting], other: &[Setting]) -> Vec<&'static str> {
    mine.iter().zip(other).filter(|(mine, other)| !mine.is_like(other)).map(|(mine, _)| mine.key).collect()
}

/// A key and what it is set to, which may be a secret: a digest is enough to see a change.
#[derive(Clone)]
struct Setting {
    key: &'static str,
    digest: Option<KeyDigest>,
}

impl Setting {
    /// `value` as its `Debug` tells it from others, for what is no secret.
    fn new(key: &'static str, value: impl fmt::Debug) -> Self {
        Self { key, digest: Some(KeyDigest::of(&format!("{value:?}"))) }
    }

    fn is_like(&self, other: &Self) -> bool {
        match (&self.digest, &other.digest) {
            (Some(mine), Some(other)) => mine.ct_eq(other).into(),
            (mine, other) => mine.is_none() && other.is_none(),
        }
    }
}

impl fmt::Debug for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.key)
    }
}

fn each<T>(upstreams: &[UpstreamConfig], value: impl Fn(&UpstreamConfig) -> T) -> Vec<T> {
    upstreams.iter().map(value).collect()
}

fn digest_of_key(upstream: &UpstreamConfig) -> Option<String> {
    upstream.api_key.as_ref().map(|key| KeyDigest::of(key).to_hex())
}
