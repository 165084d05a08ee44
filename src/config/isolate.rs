//! The configuration of an isolate, such as a Cloudflare Worker: the platform listens, and starts
//! and ends isolates at any time.
//!
//! A setting that cannot have its effect there is an error. The limits on connections and heads are
//! exceptions: the platform has its own, so they are ignored.

use zeroize::Zeroizing;

use super::{
    authorities::Authorities,
    checked::Config,
    error::ConfigError,
    exposure::Exposure,
    network::{ISSUER, ProxyConfig, UPSTREAM},
    overlay::ServeSettings,
    sources::Sources,
};

impl Config {
    /// The configuration in the variables of an isolate.
    ///
    /// # Errors
    /// The first error that prevents a start.
    pub fn for_isolate(sources: &impl Sources) -> Result<Self, ConfigError> {
        let sources = &Bindings(sources);
        let config = ServeSettings::from_variables(sources)?.load(None, Exposure::Isolate, sources)?;
        config.check_isolate().map(|()| config)
    }

    /// Refuses settings that cannot have their effect in an isolate.
    fn check_isolate(&self) -> Result<(), ConfigError> {
        if self.store.is_some() {
            let fault = "is not supported in an isolate, which keeps no connection to a store; remove it: each isolate \
                         then counts by itself";
            return Err(ConfigError::invalid("guard.redis_url", fault));
        }
        for (keys, network) in
            self.upstreams.iter().map(|upstream| (UPSTREAM, &upstream.network)).chain([(ISSUER, &self.issuer_network)])
        {
            if network.authorities != Authorities::default() {
                let fault = "(or SSL_CERT_FILE, SSL_CERT_DIR) is not supported in an isolate, whose platform decides \
                             which authorities are accepted; remove it";
                return Err(ConfigError::invalid(keys.ca_file, fault));
            }
            if network.proxy != ProxyConfig::None {
                let fault = "is not supported in an isolate, whose platform makes the connections; remove it";
                return Err(ConfigError::invalid(keys.proxy, fault));
            }
        }
        if self.upstreams.iter().any(|upstream| upstream.concurrency.is_some()) {
            let fault = "is not supported in an isolate, because isolates do not know each other's calls; remove it, \
                         and limit the rate at the provider";
            return Err(ConfigError::invalid("upstream.max_concurrency", fault));
        }
        Ok(())
    }
}

/// Bindings, of which some contain the names of others, as paths name files elsewhere.
///
/// A name without a binding is not shown: it may be a secret in the wrong place, such as a key
/// after `wrangler secret put HOLDALL_KEYS_FILE`.
struct Bindings<'a, S>(&'a S);

impl<S: Sources> Sources for Bindings<'_, S> {
    fn file(&self, path: &str) -> Result<Zeroizing<String>, String> {
        self.0.file(path)
    }

    fn variable(&self, name: &str) -> Option<Zeroizing<String>> {
        self.0.variable(name)
    }

    fn may_show(&self, _path: &str) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    /// Bindings by name. Each is a variable and a file.
    struct Fixture(HashMap<&'static str, String>);

    impl Sources for Fixture {
        fn file(&self, path: &str) -> Result<Zeroizing<String>, String> {
            self.variable(path).ok_or_else(|| "no such binding".to_owned())
        }

        fn variable(&self, name: &str) -> Option<Zeroizing<String>> {
            self.0.get(name).filter(|value| !value.is_empty()).cloned().map(Zeroizing::new)
        }
    }

    fn config<const N: usize>(bindings: [(&'static str, &str); N]) -> Result<Config, String> {
        let keys = ("HOLDALL_KEYS", format!("k1:{}", "A".repeat(43)));
        let bindings = bindings.into_iter().map(|(name, value)| (name, value.to_owned()));
        Config::for_isolate(&Fixture([keys].into_iter().chain(bindings).collect())).map_err(|error| error.to_string())
    }

    const OPEN: (&str, &str) = ("HOLDALL_DANGEROUS_OPEN", "yes");

    #[test]
    fn bindings_are_variables() {
        let config = config([
            OPEN,
            ("HOLDALL_CONFIG_TEXT", "issuer = 'of the text'\nretries = 3"),
            ("HOLDALL_ISSUER", "of the binding"),
            ("HOLDALL_TTL", "2h"),
            ("HOLDALL_SEAL", "off"),
            ("HOLDALL_CORS_ORIGINS", "https://a.example,https://b.example"),
            ("HOLDALL_TURNS_PER_USER", "3"),
            ("HOLDALL_SYSTEM_PROMPT_FILE", "PROMPT"),
            ("PROMPT", "Be brief.\n"),
            ("HOLDALL_MAX_AGE", ""),
        ])
        .unwrap();
        assert_eq!(
            (config.deployment.policy.issuer.as_str(), config.deployment.policy.ttl_seconds),
            ("of the binding", 7_200)
        );
        assert_eq!(
            (config.deployment.policy.seal, config.service.retries, config.guard.max_concurrent_turns),
            (false, 3, 3)
        );
        assert_eq!(config.deployment.models.as_slice()[0].system_prompt.as_deref(), Some("Be brief."));
    }

    #[test]
    fn an_isolate_accepts_32_concurrent_requests_by_default() {
        let bounds = |text| {
            let settings = config([OPEN, ("HOLDALL_CONFIG_TEXT", text)]).unwrap().service;
            (settings.concurrent_requests, settings.requests_per_peer)
        };
        assert_eq!(bounds(""), (32, 8));
        assert_eq!(bounds("limits.concurrent_requests = 100"), (100, 25));
        assert_eq!(bounds("limits.requests_per_peer = 32"), (32, 32));
    }

    #[test]
    fn identity_none_needs_dangerous_open() {
        let fault = "`identity.mode` is `none`: any caller could act as any user";
        assert_eq!(config([]).unwrap_err(), fault);
        assert_eq!(config([("HOLDALL_LISTEN", "127.0.0.1:1")]).unwrap_err(), fault);
        assert!(config([("HOLDALL_LISTEN", "0.0.0.0:1")]).unwrap_err().starts_with("`identity.mode` is `none`"));
        config([OPEN]).unwrap();
        config([("HOLDALL_IDENTITY", "api_key"), ("HOLDALL_API_KEYS_FILE", "DIGESTS"), ("DIGESTS", DIGEST)]).unwrap();
    }

    const DIGEST: &str = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824 ada";

    const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----\nMAE=\n-----END CERTIFICATE-----\n";

    fn upstream(line: &str) -> String {
        format!(
            "[[upstream]]\nname = 'u'\nkind = 'openai'\nbase_url = 'https://model.test'\n{line}\n\
             [[model]]\nalias = 'a'\nmodel = 'm'\nupstreams = ['u']\n"
        )
    }

    #[test]
    fn an_error_names_the_setting() {
        for (bindings, key) in [
            (
                [OPEN, ("HOLDALL_REDIS_URL", "redis://127.0.0.1"), ("HOLDALL_ISSUER", "mine")],
                "`guard.redis_url` is not supported in an isolate",
            ),
            (
                [OPEN, ("HOLDALL_UPSTREAM_CONCURRENCY", "3"), ("HOLDALL_UPSTREAM", "builtin")],
                "`upstream.max_concurrency` is not supported in an isolate",
            ),
            (
                [OPEN, ("HOLDALL_CONFIG_TEXT", &upstream("ca_file = 'CA'")), ("CA", CERTIFICATE)],
                "`upstream.ca_file` (or SSL_CERT_FILE, SSL_CERT_DIR) is not supported in an isolate",
            ),
            (
                [OPEN, ("HOLDALL_CONFIG_TEXT", &upstream("proxy = 'environment'")), ("HOLDALL_TTL", "1h")],
                "`upstream.proxy` is not supported in an isolate",
            ),
            (
                [OPEN, ("HOLDALL_SEAL", "maybe"), ("HOLDALL_TTL", "1h")],
                "`HOLDALL_SEAL` is `maybe`; expected `true` or `false`",
            ),
            (
                [OPEN, ("HOLDALL_BURST", "-1"), ("HOLDALL_TTL", "1h")],
                "`HOLDALL_BURST` is `-1`; expected a whole number",
            ),
            (
                [OPEN, ("HOLDALL_KEYS_FILE", "GONE"), ("HOLDALL_TTL", "1h")],
                "`keys_file` names a file that cannot be read: no such binding",
            ),
            (
                [OPEN, ("HOLDALL_CONFIG", "TEXT"), ("HOLDALL_CONFIG_TEXT", "issuer = 'a'")],
                "there are two configurations: the configuration file and HOLDALL_CONFIG_TEXT",
            ),
        ] {
            let fault = config(bindings).unwrap_err();
            assert!(fault.starts_with(key), "{fault}");
        }
    }

    #[test]
    fn a_secret_in_the_place_of_a_name_is_not_shown() {
        let secret = "5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b98242cf24dba";
        for bindings in [
            [OPEN, ("HOLDALL_KEYS_FILE", secret), ("HOLDALL_TTL", "1h")],
            [OPEN, ("HOLDALL_CONFIG", secret), ("HOLDALL_TTL", "1h")],
            [OPEN, ("HOLDALL_SYSTEM_PROMPT_FILE", secret), ("HOLDALL_TTL", "1h")],
            [OPEN, ("HOLDALL_IDENTITY", "api_key"), ("HOLDALL_API_KEYS_FILE", secret)],
            [OPEN, ("HOLDALL_CONFIG", secret), ("HOLDALL_CONFIG_TEXT", "issuer = 'a'")],
        ] {
            let fault = config(bindings).unwrap_err();
            assert!(!fault.contains(secret), "{fault}");
        }
    }
}
