//! The table of settings: one row for each flag, variable and key of the file.
//!
//! A new setting gets a row here and a field in [`raw`](super::raw). The tests of this module fail
//! until both exist, and until docs/configuration.md has the row.

mod file_only;

use self::file_only::FILE_ONLY;
use super::{
    authorities::Authorities,
    checked::UpstreamConfig,
    fingerprint::Fingerprint,
    network::ProxyConfig,
    setting::{
        Kind::{Boolean, List, Number, Switch, Text},
        Reload::{Applied, AppliedWithoutStore, PartOfUpstream, Refused, Restart},
        Setting,
    },
};
use crate::principal::KeyDigest;

/// Settings under one heading of the help.
pub(super) struct Section {
    /// The heading; `None` for the heading of the command's own flags.
    #[cfg_attr(not(feature = "cli"), allow(dead_code, reason = "only the command line shows help"))]
    pub(super) heading: Option<&'static str>,
    /// The settings, in the order of the help and of docs/configuration.md.
    pub(super) settings: &'static [Setting],
}

/// All sections, in the order of the help and of docs/configuration.md.
pub(super) const SECTIONS: &[Section] = &[
    FILE,
    SERVER,
    UPSTREAM_SERVICE,
    RETRIES,
    PROMPT,
    KEYS,
    TOKENS,
    IDENTITY_PROVIDER,
    CALLERS,
    APIS,
    GUARD,
    STORE,
    STOP,
];

/// Every setting: those of [`SECTIONS`], then those that only the file has.
pub(super) fn all() -> impl Iterator<Item = &'static Setting> {
    SECTIONS.iter().flat_map(|section| section.settings).chain(FILE_ONLY)
}

/// The file itself.
pub(super) const FILE: Section = Section {
    heading: None,
    settings: &[
        CONFIG,
        Setting::variable("HOLDALL_CONFIG_TEXT")
            .help("The configuration as TOML text, instead of a file; with both, the server does not start"),
    ],
};

/// The path of the file.
pub(super) const CONFIG: Setting = Setting::flag("--config", "HOLDALL_CONFIG", Text("FILE"))
    .help("Path of the configuration file; `HOLDALL_CONFIG_TEXT` can hold its text instead");

/// The listener.
pub(super) const SERVER: Section = Section {
    heading: None,
    settings: &[
        Setting::flag("--listen", "HOLDALL_LISTEN", Text("ADDRESS"))
            .key("listen", Restart(|config| Fingerprint::of(config.listen)))
            .default("127.0.0.1:8787")
            .help("Address and port to listen on; if only `PORT` is set, `0.0.0.0:$PORT`"),
        Setting::flag("--lambda-response", "HOLDALL_LAMBDA_RESPONSE", Text("MODE"))
            .key("lambda_response", Restart(|config| Fingerprint::of(config.lambda_response)))
            .default("auto")
            .help(
                "Answers to AWS Lambda events: `auto` (streamed to function URLs, complete to HTTP APIs), \
                 `buffer` or `stream`",
            ),
    ],
};

/// The single upstream and its model, which replace those of the file.
pub(super) const UPSTREAM_SERVICE: Section = Section {
    heading: Some("Model"),
    settings: &[UPSTREAM, UPSTREAM_URL, UPSTREAM_KEY, UPSTREAM_CA_FILE, UPSTREAM_PROXY, UPSTREAM_CONCURRENCY, MODEL],
};

/// The kind of the upstream.
pub(super) const UPSTREAM: Setting = Setting::flag("--upstream", "HOLDALL_UPSTREAM", Text("KIND"))
    .key("upstream", Refused(|config| Fingerprint::of(&config.upstreams)))
    .default("builtin")
    .help("Kind of the model service: `builtin`, `openai`, `openai-responses` or `anthropic`");

/// The URL of the upstream.
pub(super) const UPSTREAM_URL: Setting = Setting::flag("--upstream-url", "HOLDALL_UPSTREAM_URL", Text("URL"))
    .key("upstream.base_url", PartOfUpstream)
    .default_description("the provider's")
    .help("Base URL of the model service, such as `http://127.0.0.1:11434/v1`");

/// The key of the upstream.
pub(super) const UPSTREAM_KEY: Setting = Setting::variable("HOLDALL_UPSTREAM_KEY")
    .key("upstream.api_key_env", Restart(|config| Fingerprint::of_each(config.upstreams.iter().map(digest_of_key))))
    .help("Key of the model service; the file names the variable that holds it");

/// The authorities of the upstream.
pub(super) const UPSTREAM_CA_FILE: Setting =
    Setting::flag("--upstream-ca-file", "HOLDALL_UPSTREAM_CA_FILE", Text("FILE"))
        .key(
            "upstream.ca_file",
            Restart(|config| {
                Fingerprint::of_each(
                    config.upstreams.iter().map(|upstream| digest_of_authorities(&upstream.network.authorities)),
                )
            }),
        )
        .default_description("none")
        .help("PEM file with the certificates of private authorities, accepted in addition to the others");

/// The proxy of the upstream.
pub(super) const UPSTREAM_PROXY: Setting = Setting::variable("HOLDALL_UPSTREAM_PROXY")
    .key(
        "upstream.proxy",
        Restart(|config| {
            Fingerprint::of_each(config.upstreams.iter().map(|upstream| digests_of_proxy(&upstream.network.proxy)))
        }),
    )
    .default_description("none")
    .help(
        "Proxy for calls of the model service, `http://user:password@host:port`; or `environment`, for the proxies \
         in `HTTPS_PROXY` and its like",
    );

/// The concurrency of the upstream.
pub(super) const UPSTREAM_CONCURRENCY: Setting =
    Setting::flag("--upstream-concurrency", "HOLDALL_UPSTREAM_CONCURRENCY", Number("COUNT"))
        .key("upstream.max_concurrency", PartOfUpstream)
        .default_description("no limit")
        .help("Maximum concurrent calls of the model service; further calls wait, in a queue for each user");

/// The model at the upstream.
pub(super) const MODEL: Setting = Setting::flag("--model", "HOLDALL_MODEL", Text("NAME")).key("model", Applied).help(
    "Name of the model at the model service; the service's key comes from `HOLDALL_UPSTREAM_KEY`, \
         `OPENAI_API_KEY` or `ANTHROPIC_API_KEY`",
);

/// Retries of failed calls.
pub(super) const RETRIES: Section = Section {
    heading: Some("Model"),
    settings: &[Setting::flag("--retries", "HOLDALL_RETRIES", Number("COUNT"))
        .key("retries", Restart(|config| Fingerprint::of(config.service.retries)))
        .default("2")
        .help("Retries of a failed call at the same upstream (0 to 10), before the next upstream is called")],
};

/// The prompt, and the pace of the built-in model.
pub(super) const PROMPT: Section = Section {
    heading: Some("Model"),
    settings: &[
        Setting::flag("--system-prompt", "HOLDALL_SYSTEM_PROMPT", Text("TEXT"))
            .key("system_prompt", Applied)
            .help("System prompt; applied again on each turn, never stored in a token"),
        Setting::flag("--system-prompt-file", "HOLDALL_SYSTEM_PROMPT_FILE", Text("FILE"))
            .key("system_prompt_file", Applied)
            .help("File with the system prompt"),
        Setting::flag("--builtin-pace-ms", "HOLDALL_BUILTIN_PACE_MS", Number("MS"))
            .key(
                "builtin_pace_ms",
                Restart(|config| Fingerprint::of_each(config.upstreams.iter().map(|upstream| upstream.builtin_pace))),
            )
            .default("0")
            .help("Milliseconds between two words of the built-in model")
            .hidden(),
    ],
};

/// The token keys.
pub(super) const KEYS: Section = Section {
    heading: Some("Tokens"),
    settings: &[
        Setting::variable("HOLDALL_KEYS")
            .key("keys", Applied)
            .help("Token keys, `kid:secret,kid:secret`; the first signs, all verify"),
        KEYS_FILE,
    ],
};

/// The file of the token keys.
pub(super) const KEYS_FILE: Setting = Setting::flag("--keys-file", "HOLDALL_KEYS_FILE", Text("FILE"))
    .key("keys_file", Applied)
    .help("File with the token keys, one `kid:secret` per line, `#` comments; `HOLDALL_KEYS` can hold them instead");

/// Tokens.
pub(super) const TOKENS: Section = Section {
    heading: Some("Tokens"),
    settings: &[
        Setting::flag("--issuer", "HOLDALL_ISSUER", Text("NAME"))
            .key("issuer", AppliedWithoutStore(|config| Some(Fingerprint::of(&config.store.as_ref()?.namespace))))
            .default("holdall")
            .help("Name of the deployment in its tokens; 1 to 256 bytes without control characters"),
        Setting::flag("--ttl", "HOLDALL_TTL", Text("SPAN"))
            .key("ttl", Applied)
            .default("7d")
            .help("Lifetime of a token, at least `1s`"),
        Setting::flag("--max-age", "HOLDALL_MAX_AGE", Text("SPAN"))
            .key("max_age", Applied)
            .default("30d")
            .help("Maximum age of a conversation, at least `1s`"),
        Setting::flag("--seal", "HOLDALL_SEAL", Boolean)
            .key("seal", Applied)
            .default("true")
            .help("Encrypt issued tokens; encrypted and unencrypted tokens are both accepted"),
    ],
};

/// The identity provider of callers.
pub(super) const IDENTITY_PROVIDER: Section = Section {
    heading: Some("Callers"),
    settings: &[
        Setting::flag("--identity", "HOLDALL_IDENTITY", Text("MODE"))
            .key("identity.mode", Refused(|config| Fingerprint::of(config.access.authenticator.mode())))
            .default("none")
            .help("Authentication of callers: `none`, `header`, `jwt` or `api_key`"),
        Setting::flag("--jwt-issuer", "HOLDALL_JWT_ISSUER", Text("TEXT"))
            .key("identity.jwt.issuer", Applied)
            .help("Required `iss` of a JWT"),
    ],
};

/// Callers, and the addresses that they call from.
pub(super) const CALLERS: Section = Section {
    heading: Some("Callers"),
    settings: &[
        Setting::flag("--jwt-audience", "HOLDALL_JWT_AUDIENCE", List("TEXTS"))
            .key("identity.jwt.audience", Applied)
            .help("Accepted `aud` values, comma-separated; a JWT needs one of them"),
        Setting::flag("--jwt-jwks-url", "HOLDALL_JWT_JWKS_URL", Text("URL"))
            .key("identity.jwt.jwks_url", Refused(|config| Fingerprint::of(config.access.authenticator.jwks_url())))
            .help("URL at which the issuer publishes its key set"),
        Setting::flag("--jwt-ca-file", "HOLDALL_JWT_CA_FILE", Text("FILE"))
            .key(
                "identity.jwt.ca_file",
                Restart(|config| Fingerprint::of(digest_of_authorities(&config.issuer_network.authorities))),
            )
            .default_description("none")
            .help("As `--upstream-ca-file`, for the URL of the key set"),
        Setting::variable("HOLDALL_JWT_PROXY")
            .key(
                "identity.jwt.proxy",
                Restart(|config| Fingerprint::of(digests_of_proxy(&config.issuer_network.proxy))),
            )
            .default_description("none")
            .help("As `HOLDALL_UPSTREAM_PROXY`, for the URL of the key set"),
        Setting::flag("--jwt-jwks-file", "HOLDALL_JWT_JWKS_FILE", Text("FILE"))
            .key("identity.jwt.jwks_file", Applied)
            .help("File with the key set, instead of a URL"),
        Setting::flag("--jwt-key-file", "HOLDALL_JWT_KEY_FILE", Text("FILE"))
            .key("identity.jwt.key_file", Applied)
            .help("File with one key, instead of a key set: PEM, or a shared secret of at least 32 bytes"),
        Setting::flag("--api-keys-file", "HOLDALL_API_KEYS_FILE", Text("FILE"))
            .key("identity.api_key.keys_file", Applied)
            .help("File with callers' API keys, one `digest user` per line, `#` comments"),
        Setting::flag("--header-name", "HOLDALL_HEADER_NAME", Text("NAME"))
            .key("identity.header.name", Applied)
            .help("Header in which a proxy names the user"),
        Setting::flag("--header-peers", "HOLDALL_HEADER_PEERS", List("NETWORKS"))
            .key("identity.header.peers", Applied)
            .help("Addresses and networks of the proxies that may name the user, comma-separated"),
        Setting::variable("HOLDALL_HEADER_SECRET")
            .key("identity.header.secret", Applied)
            .help("Secret that the proxy sends, at least 32 visible ASCII characters"),
        Setting::flag("--header-secret-file", "HOLDALL_HEADER_SECRET_FILE", Text("FILE"))
            .key("identity.header.secret_file", Applied)
            .help("File with the proxy's secret; set either this or `HOLDALL_HEADER_SECRET`"),
        Setting::flag("--header-secret-header", "HOLDALL_HEADER_SECRET_HEADER", Text("NAME"))
            .key("identity.header.secret_header", Applied)
            .default("x-holdall-secret")
            .help("Header in which the proxy sends the secret"),
        Setting::flag("--operator-keys", "HOLDALL_OPERATOR_KEYS", List("DIGESTS"))
            .key("operator_keys", Applied)
            .default_description("none")
            .help("SHA-256 digests of operators' keys, comma-separated"),
        Setting::flag("--trusted-proxies", "HOLDALL_TRUSTED_PROXIES", List("NETWORKS"))
            .key("trusted_proxies", Applied)
            .default_description("none")
            .help(
                "Proxies whose `X-Forwarded-For` is trusted, comma-separated; it decides the client address for \
                 limits on anonymous callers and for `requests_per_peer`",
            ),
        Setting::flag("--cors-origins", "HOLDALL_CORS_ORIGINS", List("ORIGINS"))
            .key("cors_origins", Restart(|config| Fingerprint::of(&config.service.cors_origins)))
            .default_description("none")
            .help("Origins of the web pages and apps that may call, comma-separated, such as `https://app.example`; no wildcard"),
        Setting::flag("--dangerous-open", "HOLDALL_DANGEROUS_OPEN", Switch)
            .key("dangerous_open", Restart(|config| Fingerprint::of(config.service.loopback_host_only)))
            .default("false")
            .help("Let identity `none` listen beyond loopback, or run as an AWS Lambda function"),
    ],
};

/// The APIs.
pub(super) const APIS: Section = Section {
    heading: Some("APIs"),
    settings: &[
        Setting::flag("--client-history", "HOLDALL_CLIENT_HISTORY", Text("MODE"))
            .key("client_history", Applied)
            .default("refuse")
            .help(
                "Assistant turns that clients send: `refuse`, or `accept` as if the model had said them; an alias \
                 can have its own",
            ),
        Setting::flag("--client-system", "HOLDALL_CLIENT_SYSTEM", Text("MODE"))
            .key("client_system", Applied)
            .default("refuse")
            .help(
                "System prompts that clients send to an alias that has one: `refuse`, or `append` them to it; an \
                 alias can have its own",
            ),
        Setting::flag("--upstream-words", "HOLDALL_UPSTREAM_WORDS", Text("MODE"))
            .key("upstream_words", Applied)
            .default("show")
            .help(
                "Words of upstreams about a caller's request: `show` them without your keys and system prompts, or \
                 `hide` them; an alias can have its own",
            ),
        Setting::flag("--elide-inline-images", "HOLDALL_ELIDE_INLINE_IMAGES", Boolean)
            .key("elide_inline_images", Applied)
            .default("false")
            .help("Replace each inline image in the token by a note; the model sees the image only in its own turn"),
        Setting::flag("--image-urls", "HOLDALL_IMAGE_URLS", Text("KIND"))
            .key("image_urls", Applied)
            .default("https")
            .help("Addresses of images in new input: `https` URLs and inline images, or inline images (`data`) alone"),
        Setting::flag("--image-hosts", "HOLDALL_IMAGE_HOSTS", List("HOSTS"))
            .key("image_hosts", Applied)
            .default_description("all public hosts")
            .help(
                "The only hosts of images in new input, comma-separated, such as `cdn.example` and `*.cdn.example`; \
                 `http://images.internal` is allowed without TLS",
            ),
        Setting::flag("--responses-stream", "HOLDALL_RESPONSES_STREAM", Text("MODE"))
            .key("responses_stream", Applied)
            .default("hold")
            .help(
                "Streams of the Responses API: `hold` until the reply is complete, with the token as the one id; \
                 or `live`, with a throw-away id first",
            ),
    ],
};

/// The limits on one user.
pub(super) const GUARD: Section = Section {
    heading: Some("Limits on users"),
    settings: &[
        Setting::flag("--rate", "HOLDALL_RATE", Text("RATE"))
            .key("guard.rate", Applied)
            .default_description("no limit")
            .help("Turns of one user per period, such as `30/1m` or `5/s`"),
        Setting::flag("--burst", "HOLDALL_BURST", Number("TURNS"))
            .key("guard.burst", Applied)
            .default_description("the turns of `rate`")
            .help("Turns that may start immediately after a pause"),
        Setting::flag("--read-rate", "HOLDALL_READ_RATE", Text("RATE"))
            .key("guard.read_rate", Applied)
            .default("60/1m")
            .help("Reads of one user per period: histories, counts of model tokens, revocations; `off` for no limit"),
        Setting::flag("--turns-per-user", "HOLDALL_TURNS_PER_USER", Number("TURNS"))
            .key("limits.turns_per_user", Applied)
            .default("8")
            .help("Maximum concurrent turns of one user"),
        Setting::flag("--single-use", "HOLDALL_SINGLE_USE", Boolean)
            .key("guard.single_use", Applied)
            .default("false")
            .help("Accept each token for one turn only; needs `guard.redis_url` (`HOLDALL_REDIS_URL`)"),
        Setting::flag("--live-conversations", "HOLDALL_LIVE_CONVERSATIONS", Number("COUNT"))
            .key("guard.live_conversations", Applied)
            .default_description("no limit")
            .help("Maximum valid conversations of one user; needs `guard.redis_url` (`HOLDALL_REDIS_URL`)"),
    ],
};

/// The limits store.
pub(super) const STORE: Section = Section {
    heading: Some("Limits on users"),
    settings: &[
        Setting::variable("HOLDALL_REDIS_URL")
            .key(
                "guard.redis_url",
                Refused(|config| Fingerprint::of_secret(config.store.as_ref().map(|store| store.url.as_str()))),
            )
            .default_description("none")
            .help("URL of the Redis or Valkey server on which instances count together; may contain a password"),
        Setting::flag("--redis-ca-file", "HOLDALL_REDIS_CA_FILE", Text("FILE"))
            .key(
                "guard.redis_ca_file",
                Restart(|config| {
                    Fingerprint::of(config.store.as_ref().map(|store| digest_of_authorities(&store.authorities)))
                }),
            )
            .default_description("none")
            .help("As `--upstream-ca-file`, for the store"),
    ],
};

/// The stop of a server.
pub(super) const STOP: Section = Section {
    heading: Some("Stopping"),
    settings: &[
        Setting::flag("--lame-duck", "HOLDALL_LAME_DUCK", Text("SPAN"))
            .key("timeouts.lame_duck", Restart(|config| Fingerprint::of(config.server.lame_duck)))
            .default_description("none")
            .help("Time after SIGTERM in which connections are still accepted, while `/ready` returns 503"),
        Setting::flag("--drain", "HOLDALL_DRAIN", Text("SPAN"))
            .key("timeouts.drain", Restart(|config| Fingerprint::of(config.server.drain_timeout)))
            .default("30s")
            .help("Time after the lame duck phase in which turns in flight may continue"),
    ],
};

/// The digest of the certificates in a `ca_file`, in hexadecimal digits.
fn digest_of_authorities(authorities: &Authorities) -> Option<String> {
    authorities.own.as_ref().map(|certificates| KeyDigest::of(&certificates.pem).to_hex())
}

/// The digests of the URLs of proxies, in hexadecimal digits.
fn digests_of_proxy(proxy: &ProxyConfig) -> Vec<String> {
    proxy.secrets().map(|url| KeyDigest::of(url).to_hex()).collect()
}

/// The digest of the upstream's key, in hexadecimal digits.
fn digest_of_key(upstream: &UpstreamConfig) -> Option<String> {
    upstream.api_key.as_ref().map(|key| KeyDigest::of(key).to_hex())
}
