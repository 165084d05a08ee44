//! Who vouches for callers: the table `identity`, and the keys `operator_keys` and `trusted_proxies`.

use http::HeaderName;
use zeroize::Zeroizing;

use super::{
    ConfigError, RawConfig, Sources,
    check::read,
    raw::{RawApiKeys, RawHeader, RawIdentity, RawJwt},
};
use crate::{
    principal::{
        Access, ApiKeys, Authenticator, HEADER_SECRET_MIN_BYTES, HeaderRule, KeyDigest, Networks, OperatorKeys,
    },
    proto::key::KeyRing,
};

impl RawConfig {
    pub(super) fn access(
        &self,
        sources: &impl Sources,
        keys: &KeyRing,
        warnings: &mut Vec<String>,
    ) -> Result<Access, ConfigError> {
        let digests = self.operator_keys.iter().map(|text| digest("operator_keys", text));
        let operator_keys = OperatorKeys::new(digests.collect::<Result<_, _>>()?);
        let authenticator = self.identity.authenticator(sources, keys, warnings)?;
        if let Authenticator::ApiKey(keys) = &authenticator
            && keys.digests().any(|digest| operator_keys.contains(digest))
        {
            let fault = "a key of a user's is an operator's as well; make one for each";
            return Err(ConfigError::invalid("operator_keys", fault));
        }
        // Whoever holds such a key could forge histories.
        let fault = "the digest is of a token key's secret; make a key of its own with `openssl rand -hex 32`";
        if keys.texts(KeyDigest::of).any(|secret| operator_keys.contains(&secret)) {
            return Err(ConfigError::invalid("operator_keys", fault));
        }
        if let Authenticator::ApiKey(api_keys) = &authenticator
            && keys.texts(KeyDigest::of).any(|secret| api_keys.digests().any(|digest| digest.ct_eq(&secret).into()))
        {
            return Err(ConfigError::invalid("identity.api_key", fault));
        }
        let trusted_proxies = networks("trusted_proxies", &self.trusted_proxies)?;
        if trusted_proxies.has_all_addresses() {
            warnings.push(
                "trusted_proxies lists everyone: whoever calls without a name can choose the address that is counted"
                    .to_owned(),
            );
        }
        Ok(Access { authenticator, operator_keys, trusted_proxies })
    }
}

impl RawIdentity {
    fn authenticator(
        &self,
        sources: &impl Sources,
        keys: &KeyRing,
        warnings: &mut Vec<String>,
    ) -> Result<Authenticator, ConfigError> {
        self.check_mode()?;
        match self.mode.as_deref() {
            None | Some("none") => Ok(Authenticator::None),
            Some("api_key") => self.api_keys(sources),
            Some("header") => self.header(sources, keys, warnings),
            Some("jwt") => self.jwt(sources, keys, warnings),
            Some(other) => {
                Err(ConfigError::invalid("identity.mode", format!("`{other}` is none of none, header, jwt, api_key")))
            }
        }
    }

    /// Refuses settings of a mode that is not the one in use: they would hold for nobody, and look as if they did.
    fn check_mode(&self) -> Result<(), ConfigError> {
        let mode = self.mode.as_deref().unwrap_or("none");
        for (key, of, is_set) in [
            ("identity.api_key", "api_key", self.api_key != RawApiKeys::default()),
            ("identity.header", "header", self.header != RawHeader::default()),
            ("identity.jwt", "jwt", self.jwt != RawJwt::default()),
        ] {
            if is_set && mode != of && MODES.contains(&mode) {
                let next = format!("set identity.mode = \"{of}\" (HOLDALL_IDENTITY={of}), or take its settings away");
                return Err(ConfigError::invalid(key, format!("is set, but identity.mode is {mode}; {next}")));
            }
        }
        Ok(())
    }

    fn api_keys(&self, sources: &impl Sources) -> Result<Authenticator, ConfigError> {
        let mut keys = match &self.api_key.keys_file {
            None => Vec::new(),
            Some(path) => ApiKeys::read(&read(sources, "identity.api_key.keys_file", path)?).map_err(|line| {
                let fault = format!("{path}: line {line} is not a digest of 64 hexadecimal digits and a user");
                ConfigError::invalid("identity.api_key.keys_file", fault)
            })?,
        };
        for key in &self.api_key.keys {
            keys.push((digest("identity.api_key.keys", &key.digest)?, key.user.clone()));
        }
        ApiKeys::new(keys)
            .map(Authenticator::ApiKey)
            .map_err(|error| ConfigError::invalid("identity.api_key", error.to_string()))
    }

    fn header(
        &self,
        sources: &impl Sources,
        keys: &KeyRing,
        warnings: &mut Vec<String>,
    ) -> Result<Authenticator, ConfigError> {
        let header = &self.header;
        let Some(name) = &header.name else {
            let fault = "is not set; name the header that holds the user, such as x-holdall-user";
            return Err(ConfigError::invalid("identity.header.name", fault));
        };
        let name = header_name("identity.header.name", name)?;
        let secret_name = header_name(
            "identity.header.secret_header",
            header.secret_header.as_deref().unwrap_or("x-holdall-secret"),
        )?;
        let peers = networks("identity.header.peers", &header.peers)?;
        if peers.has_all_addresses() {
            warnings
                .push("identity.header.peers lists everyone: the secret alone tells your proxy from others".to_owned());
        }
        let secret = self.header_secret(sources)?;
        if keys.holds(secret.as_bytes()) || keys_as_text(keys, &secret) {
            let fault = "the secret is also a token key; whoever may name users could forge histories";
            return Err(ConfigError::invalid("identity.header", fault));
        }
        HeaderRule::new(name, secret_name, peers, KeyDigest::of(&secret))
            .map(Authenticator::Header)
            .map_err(|fault| ConfigError::invalid("identity.header", fault))
    }

    fn header_secret(&self, sources: &impl Sources) -> Result<Zeroizing<String>, ConfigError> {
        let secret = match (&self.header.secret, &self.header.secret_file) {
            (Some(secret), None) => secret.clone(),
            (None, Some(path)) => {
                let text = read(sources, "identity.header.secret_file", path)?;
                // An editor's newline at the end is no part of a secret.
                Zeroizing::new(text.trim_end_matches(['\r', '\n']).to_owned())
            }
            _ => {
                let fault = "set exactly one of secret_file and secret (HOLDALL_HEADER_SECRET)";
                return Err(ConfigError::invalid("identity.header", fault));
            }
        };
        if secret.len() < HEADER_SECRET_MIN_BYTES || !secret.bytes().all(|byte| byte.is_ascii_graphic()) {
            let fault = format!(
                "the secret is at least {HEADER_SECRET_MIN_BYTES} visible ASCII characters, such as `openssl rand -hex 32` \
                 prints"
            );
            return Err(ConfigError::invalid("identity.header", fault));
        }
        Ok(secret)
    }

    #[cfg(feature = "jwt")]
    fn jwt(
        &self,
        sources: &impl Sources,
        keys: &KeyRing,
        warnings: &mut Vec<String>,
    ) -> Result<Authenticator, ConfigError> {
        use crate::principal::jwt::{JwtConfig, JwtConfigError, JwtVerifier};

        let fault = |error: JwtConfigError| ConfigError::invalid("identity.jwt", format!("{error}; {}", error.hint()));
        let issuer = self.jwt.issuer.clone().unwrap_or_default();
        let config = JwtConfig { issuer, audience: self.jwt.audience.clone(), keys: self.jwt_keys(sources)? };
        let verifier = JwtVerifier::new(config).map_err(fault)?;
        if verifier.hmac_secrets().any(|secret| keys.holds(secret)) {
            let fault =
                "a secret that verifies credentials is also a token key; whoever makes the one could forge the other";
            return Err(ConfigError::invalid("identity.jwt", fault));
        }
        warnings.extend(verifier.skipped_keys().iter().map(|key| format!("identity.jwt: {key}")));
        Ok(Authenticator::Jwt(verifier))
    }

    #[cfg(feature = "jwt")]
    fn jwt_keys(&self, sources: &impl Sources) -> Result<crate::principal::jwt::KeySource, ConfigError> {
        use crate::principal::jwt::{JwtKeys, KeySetOrigin, KeySource, RemoteKeys};

        let keys = match (&self.jwt.jwks_file, &self.jwt.jwks_url, &self.jwt.key_file) {
            (Some(path), None, None) => {
                JwtKeys::from_jwks(&read(sources, "identity.jwt.jwks_file", path)?, KeySetOrigin::File)
            }
            (None, Some(url), None) => {
                let keys = RemoteKeys::new(url)
                    .map_err(|fault| ConfigError::invalid("identity.jwt.jwks_url", format!("`{url}` {fault}")))?;
                return Ok(KeySource::Remote(keys.into()));
            }
            (None, None, Some(path)) => match read(sources, "identity.jwt.key_file", path)? {
                key if key.trim_start().starts_with("-----BEGIN") => JwtKeys::from_pem(&key),
                // An editor's newline at the end is no part of a secret.
                key => JwtKeys::from_secret(key.trim_end_matches(['\r', '\n']).as_bytes()),
            },
            _ => {
                let fault = "set exactly one of jwks_url, jwks_file and key_file";
                return Err(ConfigError::invalid("identity.jwt", fault));
            }
        };
        keys.map(KeySource::Fixed)
            .map_err(|error| ConfigError::invalid("identity.jwt", format!("{error}; {}", error.hint())))
    }

    #[cfg(not(feature = "jwt"))]
    fn jwt(&self, _: &impl Sources, _: &KeyRing, _: &mut Vec<String>) -> Result<Authenticator, ConfigError> {
        Err(ConfigError::invalid("identity.mode", "this build is without the feature `jwt`"))
    }
}

/// The ways to tell callers apart.
const MODES: [&str; 4] = ["none", "header", "jwt", "api_key"];

/// Whether the secret is a token key's as a key file writes it.
fn keys_as_text(keys: &KeyRing, secret: &str) -> bool {
    let text = secret.rsplit_once(':').map_or(secret, |(_, text)| text);
    KeyRing::secret_of(text).is_some_and(|bytes| keys.holds(&bytes))
}

fn digest(key: &'static str, text: &str) -> Result<KeyDigest, ConfigError> {
    let fault = "are SHA-256 digests of 64 hexadecimal digits, as sha256sum prints";
    KeyDigest::from_hex(text.trim()).ok_or_else(|| ConfigError::invalid(key, fault))
}

fn networks(key: &'static str, texts: &[String]) -> Result<Networks, ConfigError> {
    Networks::new(texts.iter().map(String::as_str)).map_err(|error| ConfigError::invalid(key, error.to_string()))
}

fn header_name(key: &'static str, text: &str) -> Result<HeaderName, ConfigError> {
    text.parse().map_err(|_| ConfigError::invalid(key, format!("`{text}` is no name of a header")))
}
