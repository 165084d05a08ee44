//! Who asks, before any token was looked at: what the identity rules found, and what the request claims.

use crate::proto::{
    error::Error,
    principal::{ANONYMOUS_PREFIX, IDP_NONE, Principal},
    token::TokenHolder,
};

/// Who asks, before any token was looked at: what the identity rules found, and what the request claims.
#[derive(Clone, Debug)]
pub enum Caller {
    /// Nobody vouches for the caller; the user is who the request names, or nobody.
    Unauthenticated {
        /// The user that the request names, in whatever member.
        user_id: Option<String>,
    },
    /// The identity rules named the caller.
    Authenticated {
        /// The caller.
        principal: Principal,
        /// The user that the request names; it can only be the same.
        user_id: Option<String>,
    },
}

impl Caller {
    /// Who asks without a token; `None` for someone without a name.
    ///
    /// # Errors
    /// [`Error::RequestInvalid`] for a user that the caller cannot be.
    pub fn principal(&self) -> Result<Option<Principal>, Error> {
        Ok(self.holder(false)?.and_then(|holder| match holder {
            TokenHolder::Bearer => None,
            TokenHolder::Known(principal) => Some(principal),
        }))
    }

    /// Whose token may be presented; `None` for a new anonymous user.
    pub(super) fn holder(&self, has_token: bool) -> Result<Option<TokenHolder>, Error> {
        match self {
            Self::Authenticated { principal, user_id } => match user_id {
                Some(user_id) if user_id != principal.subject() => {
                    Err(Error::invalid("`user_id` is not the user of the credential. Leave it out."))
                }
                _ => Ok(Some(TokenHolder::Known(principal.clone()))),
            },
            Self::Unauthenticated { user_id: Some(user_id) } => {
                if user_id.starts_with(ANONYMOUS_PREFIX) && !has_token {
                    return Err(Error::invalid(
                        "A user name must not start with `anon-`, which marks anonymous callers. Send another name, or none.",
                    ));
                }
                let principal = Principal::new(user_id.as_str(), IDP_NONE)
                    .map_err(|fault| Error::invalid(format!("The user in the request is invalid: {fault}.")))?;
                Ok(Some(TokenHolder::Known(principal)))
            }
            Self::Unauthenticated { user_id: None } => Ok(has_token.then_some(TokenHolder::Bearer)),
        }
    }
}
