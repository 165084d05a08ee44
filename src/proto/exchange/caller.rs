//! The caller of a request: the user that the identity rules found, and the user that the request
//! names. No token is checked yet.

use crate::proto::{
    error::Error,
    principal::{ANONYMOUS_PREFIX, IDP_NONE, Principal},
    token::TokenHolder,
};

/// The caller of a request, before any token is checked.
#[derive(Clone, Debug)]
pub enum Caller {
    /// The identity rules do not authenticate callers. The request may name the user.
    Unauthenticated {
        /// The user that the request names.
        user_id: Option<String>,
    },
    /// The identity rules authenticated the caller.
    Authenticated {
        /// The authenticated user.
        principal: Principal,
        /// The user that the request names. It must be the same user.
        user_id: Option<String>,
    },
}

impl Caller {
    /// The user of a request without a token. `None` for a caller without a name.
    ///
    /// # Errors
    /// [`Error::RequestInvalid`] for a user name that the caller cannot have.
    pub fn principal(&self) -> Result<Option<Principal>, Error> {
        Ok(self.holder(false)?.and_then(|holder| match holder {
            TokenHolder::Bearer => None,
            TokenHolder::Known(principal) => Some(principal),
        }))
    }

    /// The holder that the token must have. `None` for a new anonymous user.
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
