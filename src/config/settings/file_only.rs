//! The rows of settings that only the file has.

use crate::config::{
    fingerprint::Fingerprint,
    setting::{
        Reload::{Applied, PartOfUpstream, Restart},
        Setting,
    },
};

/// The settings that only the file has.
pub(super) const FILE_ONLY: &[Setting] = &[
    Setting::file_only("identity.api_key.keys", Applied),
    Setting::file_only("limits.body_bytes", Applied),
    Setting::file_only("limits.token_bytes", Applied),
    Setting::file_only("limits.history_bytes", Applied),
    Setting::file_only("limits.history_items", Applied),
    Setting::file_only("limits.message_bytes", Applied),
    Setting::file_only("limits.image_bytes", Applied),
    Setting::file_only("limits.reply_bytes", Applied),
    Setting::file_only("limits.reply_reserve_bytes", Applied),
    Setting::file_only("limits.head_bytes", Restart(|config| Fingerprint::of(config.server.head_bytes))),
    Setting::file_only("limits.connections", Restart(|config| Fingerprint::of(config.server.connections))),
    Setting::file_only(
        "limits.connections_per_peer",
        Restart(|config| Fingerprint::of(config.server.connections_per_peer)),
    ),
    Setting::file_only(
        "limits.concurrent_requests",
        Restart(|config| Fingerprint::of(config.service.concurrent_requests)),
    ),
    Setting::file_only("limits.requests_per_peer", Restart(|config| Fingerprint::of(config.service.requests_per_peer))),
    Setting::file_only("guard.quota", Applied),
    Setting::file_only(
        "guard.timeout",
        Restart(|config| Fingerprint::of(config.store.as_ref().map(|store| store.timeout))),
    ),
    Setting::file_only("guard.revocation", Applied),
    Setting::file_only(
        "guard.lease_grace",
        Restart(|config| Fingerprint::of(config.guard.lease.saturating_sub(config.service.timeouts.total))),
    ),
    Setting::file_only("guard.dangerous_trust_empty_guard", Applied),
    Setting::file_only("timeouts.head", Restart(|config| Fingerprint::of(config.server.head_timeout))),
    Setting::file_only("timeouts.body", Restart(|config| Fingerprint::of(config.service.timeouts.body))),
    Setting::file_only("timeouts.write", Restart(|config| Fingerprint::of(config.server.write_timeout))),
    Setting::file_only(
        "timeouts.connect",
        Restart(|config| Fingerprint::of_each(config.upstreams.iter().map(|upstream| upstream.connect_timeout))),
    ),
    Setting::file_only(
        "timeouts.queue",
        Restart(|config| {
            Fingerprint::of_each(config.upstreams.iter().map(|upstream| upstream.concurrency.map(|limit| limit.wait)))
        }),
    ),
    Setting::file_only("timeouts.first_byte", Restart(|config| Fingerprint::of(config.service.timeouts.first_byte))),
    Setting::file_only("timeouts.idle", Restart(|config| Fingerprint::of(config.service.timeouts.idle))),
    Setting::file_only("timeouts.issuer", Restart(|config| Fingerprint::of(config.service.timeouts.issuer))),
    Setting::file_only("timeouts.total", Restart(|config| Fingerprint::of(config.service.timeouts.total))),
    Setting::file_only("timeouts.heartbeat", Restart(|config| Fingerprint::of(config.service.timeouts.heartbeat))),
    Setting::file_only("upstream.name", PartOfUpstream),
    Setting::file_only("upstream.kind", PartOfUpstream),
    Setting::file_only("upstream.base_urls", PartOfUpstream),
    Setting::file_only("upstream.queue", PartOfUpstream),
    Setting::file_only("upstream.proxy_env", PartOfUpstream),
    // The targets of the models hold the settings below, and a reload replaces the models.
    Setting::file_only("upstream.prompt_cache", Applied),
    Setting::file_only("upstream.profile", Applied),
    Setting::file_only("upstream.token_limit", Applied),
    Setting::file_only("upstream.stream_options", Applied),
    Setting::file_only("upstream.seed", Applied),
    Setting::file_only("upstream.text_lists", Applied),
    Setting::file_only("upstream.empty_messages", Applied),
    Setting::file_only("upstream.call_ids", Applied),
    Setting::file_only("upstream.service_state", Applied),
    Setting::file_only("upstream.opaque_members", Applied),
];
