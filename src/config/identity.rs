//! The authentication of callers: the table `identity`, and the keys `operator_keys` and
//! `trusted_proxies`.

use http::HeaderName;
use zeroize::Zeroizing;

#[cfg(feature = "jwt")]
use super::{check::readable_warning, shown};
use super::{
    check::{read, read_secret, unknown},
    error::ConfigError,
    network::{ISSUER, NetworkConfig, NetworkReader, RawNetwork},
    raw::{RawApiKeys, RawConfig, RawHeader, RawIdentity, RawJwt},
    sources::Sources,
};
use crate::{
    principal::{
        Access, ApiKeys, Authenticator, HEADER_SECRET_MIN_BYTES, HeaderRule, IDP_HEADER, IDP_KEY, KeyDigest, Networks,
        OperatorKeys,
    },
    proto::{
        key::KeyRing,
        principal::{IDP_JWT_PREFIX, IDP_NONE},
    },
};

impl RawConfig {
    /// How callers are authenticated. `keys` are the token keys, which no other secret may equal.
    pub(super) fn access(
        &self,
        sources: &impl Sources,
        keys: &KeyRing,
        warnings: &mut Vec<String>,
    ) -> Result<Access, ConfigError> {
        let digests = self.operator_keys.iter().map(|text| digest("operator_keys", text));
        let operator_keys = OperatorKeys::new(digests.collect::<Result<_, _>>()?);
        let authenticator = self.identity.authenticator(sources, keys, warnings)?;
        check_digests(&authenticator, &operator_keys, keys)?;
        let trusted_proxies = networks("trusted_proxies", &self.trusted_proxies)?;
        if trusted_proxies.has_all_addresses() {
            let warning = "`trusted_proxies` lists every address: an anonymous caller can choose the address for \
                           which it is counted";
            warnings.push(warning.to_owned());
        }
        Ok(Access { authenticator, operator_keys, trusted_proxies })
    }

    /// How the key set of a JWT issuer is fetched.
    pub(super) fn issuer_network(
        &self,
        reader: &NetworkReader<'_, impl Sources>,
    ) -> Result<NetworkConfig, ConfigError> {
        let RawJwt { jwks_url, ca_file, proxy, .. } = &self.identity.jwt;
        let Some(url) = jwks_url else {
            let keys = [(ISSUER.ca_file, ca_file.is_some()), (ISSUER.proxy, proxy.is_some())];
            return match keys.into_iter().find(|(_, is_set)| *is_set) {
                Some((key, _)) => {
                    Err(ConfigError::invalid(key, "needs `identity.jwt.jwks_url`; remove it, or set both"))
                }
                None => Ok(NetworkConfig::default()),
            };
        };
        let proxy = proxy.as_ref().map(|text| Zeroizing::new(text.trim().to_owned()));
        let ca_file = ca_file.as_deref();
        let raw = RawNetwork { keys: ISSUER, owner: String::new(), ca_file, proxy, proxy_variable: None };
        reader.of(&raw, std::slice::from_ref(url))
    }
}

/// Refuses a secret with two purposes: an operator key, a user's API key, a token key.
fn check_digests(
    authenticator: &Authenticator,
    operator_keys: &OperatorKeys,
    keys: &KeyRing,
) -> Result<(), ConfigError> {
    let api_keys: Vec<_> = match authenticator {
        Authenticator::ApiKey(keys) => keys.digests().collect(),
        _ => Vec::new(),
    };
    if api_keys.iter().any(|digest| operator_keys.contains(digest)) {
        let fault = "contains a user's API key; make a separate key with `holdall keys operator`";
        return Err(ConfigError::invalid("operator_keys", fault));
    }
    // Anyone with such a key could forge tokens.
    let fault = "contains the digest of a token key's secret; make a separate key with `openssl rand -hex 32`";
    if keys.texts(KeyDigest::of).any(|secret| operator_keys.contains(&secret)) {
        return Err(ConfigError::invalid("operator_keys", fault));
    }
    if keys.texts(KeyDigest::of).any(|secret| api_keys.iter().any(|digest| digest.ct_eq(&secret).into())) {
        return Err(ConfigError::invalid("identity.api_key", fault));
    }
    Ok(())
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
            Some(other) => Err(ConfigError::invalid("identity.mode", unknown(other, &MODES))),
        }
    }

    /// Refuses settings of a mode that is not in use. They would have no effect, but look as if
    /// they protected something.
    fn check_mode(&self) -> Result<(), ConfigError> {
        let mode = self.mode.as_deref().unwrap_or("none");
        for (key, own_mode, is_set) in [
            ("identity.api_key", "api_key", self.api_key != RawApiKeys::default()),
            ("identity.header", "header", self.header != RawHeader::default()),
            ("identity.jwt", "jwt", self.jwt != RawJwt::default()),
        ] {
            if is_set && mode != own_mode && MODES.contains(&mode) {
                let fault = format!(
                    "is set, but `identity.mode` is `{mode}`; set `identity.mode = \"{own_mode}\"` \
                     (HOLDALL_IDENTITY={own_mode}), or remove `{key}`"
                );
                return Err(ConfigError::invalid(key, fault));
            }
        }
        Ok(())
    }

    fn api_keys(&self, sources: &impl Sources) -> Result<Authenticator, ConfigError> {
        let mut keys = match &self.api_key.keys_file {
            None => Vec::new(),
            Some(path) => ApiKeys::read(&read(sources, "identity.api_key.keys_file", path)?).map_err(|line| {
                let fault =
                    format!("names `{path}`; its line {line} is not a digest of 64 hexadecimal digits and a user");
                ConfigError::invalid("identity.api_key.keys_file", fault)
            })?,
        };
        for key in &self.api_key.keys {
            keys.push((digest("identity.api_key.keys", &key.digest)?, key.user.clone()));
        }
        ApiKeys::new(keys)
            .map(Authenticator::ApiKey)
            .map_err(|error| ConfigError::invalid("identity.api_key", format!("is not valid: {error}")))
    }

    fn header(
        &self,
        sources: &impl Sources,
        keys: &KeyRing,
        warnings: &mut Vec<String>,
    ) -> Result<Authenticator, ConfigError> {
        let header = &self.header;
        let Some(name) = &header.name else {
            let fault = "is not set; name the header with the user, such as `x-holdall-user`";
            return Err(ConfigError::invalid("identity.header.name", fault));
        };
        let name = header_name("identity.header.name", name)?;
        let secret_name = header.secret_header.as_deref().unwrap_or("x-holdall-secret");
        let secret_name = header_name("identity.header.secret_header", secret_name)?;
        let peers = networks("identity.header.peers", &header.peers)?;
        if peers.has_all_addresses() {
            let warning = "`identity.header.peers` lists every address: only the secret distinguishes your proxy from \
                           other callers";
            warnings.push(warning.to_owned());
        }
        let secret = self.header_secret(sources, warnings)?;
        if keys.holds(secret.as_bytes()) || is_token_key(keys, &secret) {
            let fault = "has a secret that is also a token key, with which your proxy could forge tokens; make a \
                         separate secret with `openssl rand -hex 32`";
            return Err(ConfigError::invalid("identity.header", fault));
        }
        HeaderRule::new(name, secret_name, peers, KeyDigest::of(&secret))
            .map(Authenticator::Header)
            .map_err(|fault| ConfigError::invalid("identity.header", format!("is not valid: {fault}")))
    }

    fn header_secret(
        &self,
        sources: &impl Sources,
        warnings: &mut Vec<String>,
    ) -> Result<Zeroizing<String>, ConfigError> {
        let secret = match (&self.header.secret, &self.header.secret_file) {
            (Some(secret), None) => secret.clone(),
            (None, Some(path)) => {
                let text = read_secret(sources, "identity.header.secret_file", path, warnings)?;
                Zeroizing::new(without_line_end(&text).to_owned())
            }
            _ => {
                let fault = "needs exactly one of `secret_file` and `secret` (HOLDALL_HEADER_SECRET)";
                return Err(ConfigError::invalid("identity.header", fault));
            }
        };
        if secret.len() < HEADER_SECRET_MIN_BYTES || !secret.bytes().all(|byte| byte.is_ascii_graphic()) {
            let fault = format!(
                "has a secret that is not valid; it must have at least {HEADER_SECRET_MIN_BYTES} visible ASCII \
                 characters, such as the output of `openssl rand -hex 32`"
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
        use crate::principal::jwt::{JwtConfig, JwtVerifier};

        let issuer = self.jwt.issuer.clone().unwrap_or_default();
        let config = JwtConfig { issuer, audience: self.jwt.audience.clone(), keys: self.jwt_keys(sources, warnings)? };
        let verifier = JwtVerifier::new(config).map_err(|error| invalid_jwt(&error))?;
        if verifier.hmac_secrets().any(|secret| keys.holds(secret)) {
            let fault = "has a shared secret that is also a token key, with which the issuer could forge tokens; use a \
                         separate token key";
            return Err(ConfigError::invalid("identity.jwt", fault));
        }
        warnings.extend(verifier.skipped_keys().iter().map(|key| format!("`identity.jwt`: {key}")));
        Ok(Authenticator::Jwt(verifier))
    }

    #[cfg(feature = "jwt")]
    fn jwt_keys(
        &self,
        sources: &impl Sources,
        warnings: &mut Vec<String>,
    ) -> Result<crate::principal::jwt::KeySource, ConfigError> {
        use crate::principal::jwt::{JwtKeys, KeySetOrigin, KeySource, RemoteKeys};

        let keys = match (&self.jwt.jwks_file, &self.jwt.jwks_url, &self.jwt.key_file) {
            (Some(path), None, None) => {
                JwtKeys::from_jwks(&read(sources, "identity.jwt.jwks_file", path)?, KeySetOrigin::File)
            }
            (None, Some(url), None) => {
                let keys = RemoteKeys::new(url).map_err(|fault| {
                    ConfigError::invalid("identity.jwt.jwks_url", format!("is {}, which {fault}", shown::url(url)))
                })?;
                return Ok(KeySource::Remote(keys.into()));
            }
            (None, None, Some(path)) => match read(sources, "identity.jwt.key_file", path)? {
                key if key.trim_start().starts_with("-----BEGIN") => JwtKeys::from_pem(&key),
                key => {
                    warnings.extend(readable_warning(sources, "the file of `identity.jwt.key_file`", path));
                    JwtKeys::from_secret(without_line_end(&key).as_bytes())
                }
            },
            _ => {
                let fault = "needs exactly one of `jwks_url`, `jwks_file` and `key_file`";
                return Err(ConfigError::invalid("identity.jwt", fault));
            }
        };
        keys.map(KeySource::Fixed).map_err(|error| invalid_jwt(&error))
    }

    #[cfg(not(feature = "jwt"))]
    fn jwt(&self, _: &impl Sources, _: &KeyRing, _: &mut Vec<String>) -> Result<Authenticator, ConfigError> {
        let fault = "is `jwt`, but this build does not have the feature `jwt`; build Holdall with it";
        Err(ConfigError::invalid("identity.mode", fault))
    }
}

/// The identity provider in the tokens of callers that this mode authenticates.
///
/// # Errors
/// [`ConfigError::Invalid`] for a mode that does not exist, or for `jwt` without an issuer.
pub(super) fn identity_provider(mode: Option<&str>, issuer: Option<&str>) -> Result<String, ConfigError> {
    match mode.unwrap_or(IDP_NONE) {
        "none" => Ok(IDP_NONE.to_owned()),
        "api_key" => Ok(IDP_KEY.to_owned()),
        "header" => Ok(IDP_HEADER.to_owned()),
        "jwt" => match issuer.filter(|issuer| !issuer.is_empty()) {
            Some(issuer) => Ok(format!("{IDP_JWT_PREFIX}{issuer}")),
            None => Err(ConfigError::invalid("identity.jwt.issuer", "is not set; name the issuer of the JWTs")),
        },
        other => Err(ConfigError::invalid("identity.mode", unknown(other, &MODES))),
    }
}

/// The modes of authentication.
const MODES: [&str; 4] = ["none", "header", "jwt", "api_key"];

#[cfg(feature = "jwt")]
fn invalid_jwt(error: &crate::principal::jwt::JwtConfigError) -> ConfigError {
    ConfigError::invalid("identity.jwt", format!("is not valid: {error}; {}", error.hint()))
}

/// The secret in a file. A line end at the end of the file is the editor's.
fn without_line_end(text: &str) -> &str {
    text.trim_end_matches(['\r', '\n'])
}

/// Returns true if the text is a token key's secret in the form of a key file: base64url, with or
/// without the key id.
fn is_token_key(keys: &KeyRing, text: &str) -> bool {
    let secret = text.rsplit_once(':').map_or(text, |(_, secret)| secret);
    KeyRing::secret_of(secret).is_some_and(|bytes| keys.holds(&bytes))
}

fn digest(key: &'static str, text: &str) -> Result<KeyDigest, ConfigError> {
    let fault = "has an entry that is not a SHA-256 digest; write 64 hexadecimal digits, as `sha256sum` prints them";
    KeyDigest::from_hex(text.trim()).ok_or_else(|| ConfigError::invalid(key, fault))
}

fn networks(key: &'static str, texts: &[String]) -> Result<Networks, ConfigError> {
    Networks::new(texts.iter().map(String::as_str))
        .map_err(|error| ConfigError::invalid(key, format!("is not valid: {error}")))
}

fn header_name(key: &'static str, text: &str) -> Result<HeaderName, ConfigError> {
    // The text may be the header's value: the secret of the proxy.
    text.parse().map_err(|_| ConfigError::invalid(key, "is not the name of a header"))
}
