//! Who vouches for callers: the table `identity`.

use super::{ConfigError, Sources, check::read, raw::RawIdentity};
use crate::{principal::Authenticator, proto::key::KeyRing};

impl RawIdentity {
    pub(super) fn authenticator(
        &self,
        sources: &impl Sources,
        keys: &KeyRing,
        warnings: &mut Vec<String>,
    ) -> Result<Authenticator, ConfigError> {
        match self.mode.as_deref() {
            None | Some("none") => Ok(Authenticator::None),
            Some("jwt") => self.jwt(sources, keys, warnings),
            Some(other) => Err(ConfigError::invalid("identity.mode", format!("`{other}` is none of none, jwt"))),
        }
    }

    #[cfg(feature = "jwt")]
    fn jwt(
        &self,
        sources: &impl Sources,
        keys: &KeyRing,
        warnings: &mut Vec<String>,
    ) -> Result<Authenticator, ConfigError> {
        use crate::principal::jwt::{JwtConfig, JwtConfigError, JwtKeys, JwtVerifier, Origin};

        let fault = |error: JwtConfigError| ConfigError::invalid("identity.jwt", format!("{error}; {}", error.hint()));
        let trusted = match (&self.jwt.jwks_file, &self.jwt.key_file) {
            (Some(path), None) => JwtKeys::from_jwks(&read(sources, "identity.jwt.jwks_file", path)?, Origin::File),
            (None, Some(path)) => match read(sources, "identity.jwt.key_file", path)? {
                key if key.trim_start().starts_with("-----BEGIN") => JwtKeys::from_pem(&key),
                // An editor's newline at the end is no part of a secret.
                key => JwtKeys::from_secret(key.trim_end_matches(['\r', '\n']).as_bytes()),
            },
            _ => return Err(ConfigError::invalid("identity.jwt", "set exactly one of jwks_file and key_file")),
        };
        let issuer = self.jwt.issuer.clone().unwrap_or_default();
        let config = JwtConfig { issuer, audience: self.jwt.audience.clone(), keys: trusted.map_err(fault)? };
        let verifier = JwtVerifier::new(config).map_err(fault)?;
        if verifier.hmac_secrets().any(|secret| keys.holds(secret)) {
            let fault =
                "a secret that verifies credentials is also a token key; whoever makes the one could forge the other";
            return Err(ConfigError::invalid("identity.jwt", fault));
        }
        warnings.extend(verifier.skipped_keys().iter().map(|key| format!("identity.jwt: {key}")));
        Ok(Authenticator::Jwt(verifier))
    }

    #[cfg(not(feature = "jwt"))]
    fn jwt(&self, _: &impl Sources, _: &KeyRing, _: &mut Vec<String>) -> Result<Authenticator, ConfigError> {
        Err(ConfigError::invalid("identity.mode", "this build is without the feature `jwt`"))
    }
}
