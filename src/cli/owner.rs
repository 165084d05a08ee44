//! The owner of a token, as arguments name it: a user, and the identity provider that authenticated
//! the user.

use super::{error::CliError, system::System};
use crate::{
    config::OwnerSettings,
    principal::{IDP_HEADER, IDP_KEY},
    proto::principal::{IDP_JWT_PREFIX, IDP_NONE, Principal},
};

/// Parses the name of an identity provider. A name that no server writes into a token is an error.
///
/// # Errors
/// The names that exist.
pub(super) fn parse_idp(text: &str) -> Result<String, &'static str> {
    let is_issuer = text.strip_prefix(IDP_JWT_PREFIX).is_some_and(|issuer| !issuer.is_empty());
    if is_issuer || [IDP_HEADER, IDP_KEY, IDP_NONE].contains(&text) {
        return Ok(text.to_owned());
    }
    Err("expected `none`, `header`, `key` or `jwt:ISSUER`, with the issuer as in the `iss` of its tokens")
}

/// The user with this name.
///
/// # Errors
/// [`CliError`] if a name is not valid.
pub(super) fn principal(user: &str, idp: &str) -> Result<Principal, CliError> {
    Principal::new(user, idp).map_err(|fault| CliError::new(format!("--user, --idp: {fault}")))
}

/// The identity provider of a user of the servers with these settings: that of the settings, or the
/// one in `idp` if the settings name none. `None` if neither names one.
///
/// # Errors
/// [`CliError`] if the servers never issue tokens for users of `idp`, or if a setting is not valid.
pub(super) fn provider(idp: Option<&str>, settings: &OwnerSettings) -> Result<Option<String>, CliError> {
    let configured = settings.identity_provider(&System)?;
    match (idp, configured) {
        (Some(idp), Some(configured)) if idp != configured => Err(CliError::new(format!(
            "no token of these servers has the identity provider `{idp}`: the settings say `{configured}`"
        ))
        .with_hint(
            "leave out --idp, or pass the settings of the servers: --config FILE, or --identity MODE and --jwt-issuer \
             TEXT (HOLDALL_IDENTITY, HOLDALL_JWT_ISSUER)",
        )),
        (idp, configured) => Ok(configured.or_else(|| idp.map(str::to_owned))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_tokens_can_have_are_accepted() {
        for idp in ["none", "header", "key", "jwt:https://login.example", "jwt:x", "jwt:jwt:"] {
            assert_eq!(parse_idp(idp).as_deref(), Ok(idp));
        }
        for idp in ["", "jwt", "jwt:", "nobody", "api_key", "NONE", " key", "key ", "Jwt:x", "https://login.example"] {
            assert!(parse_idp(idp).is_err(), "{idp}");
        }
    }
}
