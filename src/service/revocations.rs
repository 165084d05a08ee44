//! Revokes tokens before they expire: `POST /v1/revocations`.
//!
//! A user revokes its own tokens, expired ones included, by presenting one of them. Any fault of
//! another user's token gets the same error as elsewhere. An operator, who presents an operator
//! key, revokes by any token or by id.

use std::{net::IpAddr, pin::Pin};

use http::{Response, request};

use super::{
    body::{Body, RequestBody, check_json, utf8},
    host::{Clock as _, Host},
    identity::Sender,
    record::Record,
    response::json_bytes,
    state::Service,
};
use crate::{
    guard::{Guard as _, Revocation},
    principal::Identity,
    proto::{
        api::native::{RevocationRequest, RevocationScope, revocation_answer, revocation_request},
        error::Error,
        exchange::{self, Caller},
        token::{Claims, RawToken},
    },
};

/// The sender of a revocation.
enum Revoker {
    /// The operator of the deployment.
    Operator,
    /// Anyone else.
    TokenHolder(Sender),
}

impl Revoker {
    /// The address whose concurrent requests are counted; none for an operator.
    fn network(&self) -> Option<IpAddr> {
        match self {
            Self::Operator => None,
            Self::TokenHolder(sender) => sender.network(),
        }
    }
}

/// The tokens to revoke, with the scope and the id for the response.
struct Target {
    scope: RevocationScope,
    id: String,
    revocation: Revocation,
}

impl<H: Host> Service<H> {
    /// Revokes the tokens that the body names.
    pub(super) async fn revocations<B: RequestBody>(
        &self,
        head: &request::Parts,
        body: Pin<&mut B>,
        record: Record,
    ) -> Result<Response<Body>, Error> {
        let revoker = self.revoker(head).await?;
        check_json(head)?;
        let slot = self.slots.take(revoker.network())?;
        let body = self.read_body(head, body).await?;
        let Target { scope, id, revocation } = match revocation_request(utf8(&body)?)? {
            RevocationRequest::Presented { token, scope, user_id } => {
                let claims = self.presented_claims(&token, user_id, revoker)?;
                record.turn(&claims);
                of_token(scope, claims)
            }
            request => {
                let target = of_id(request, &revoker)?;
                self.check_idp(&target.revocation)?;
                target
            }
        };
        let revoked = self.host.guard().revoke(revocation).await?;
        record.keep(slot);
        Ok(json_bytes(revocation_answer(scope, &id, revoked.live_conversations)))
    }

    /// Distinguishes operators from other callers. An operator key names no user, so it is checked
    /// before the identity rules.
    async fn revoker(&self, head: &request::Parts) -> Result<Revoker, Error> {
        let access = self.access();
        let keys = &access.operator_keys;
        if !keys.is_empty() && keys.is_operator(&head.headers)? {
            return Ok(Revoker::Operator);
        }
        self.authenticate(head).await.map(Revoker::TokenHolder)
    }

    /// The claims of a presented token, if the revoker may revoke it.
    fn presented_claims(&self, token: &str, user_id: Option<String>, revoker: Revoker) -> Result<Claims, Error> {
        let caller = match revoker {
            Revoker::Operator => self.owner(token, user_id)?,
            Revoker::TokenHolder(sender) => sender.caller(user_id, None),
        };
        let (deployment, now) = (self.deployment(), self.host.clock().now());
        let read = self.with_codec(|codec| exchange::read_history(&deployment, token, &caller, now, codec));
        let (_, conversation, _) = read?;
        Ok(conversation.claims)
    }

    /// Refuses a user of an identity provider that no token of this server names: the revocation
    /// would have no effect.
    fn check_idp(&self, revocation: &Revocation) -> Result<(), Error> {
        let Revocation::User { principal } = revocation else { return Ok(()) };
        let idp = self.access().authenticator.idp();
        if principal.idp() == idp {
            return Ok(());
        }
        Err(Error::invalid(format!(
            "`idp` is `{}`, but the users of this server have the identity provider `{idp}`.",
            principal.idp()
        )))
    }

    /// The owner of a token, as the caller of an operator's request.
    fn owner(&self, token: &str, user_id: Option<String>) -> Result<Caller, Error> {
        let deployment = self.deployment();
        let opened = self.with_codec(|codec| {
            RawToken::new(token, &deployment.limits)?.authenticate(deployment.token_context(), codec)
        })?;
        Ok(Caller::Authenticated { principal: opened.claims().principal.clone(), user_id })
    }
}

/// The tokens in this scope of a presented token.
fn of_token(scope: RevocationScope, claims: Claims) -> Target {
    let Claims { principal, conversation, token_id, .. } = claims;
    let (id, revocation) = match scope {
        RevocationScope::Conversation => (conversation.to_string(), Revocation::Conversation { id: conversation }),
        RevocationScope::Token => (token_id.to_string(), Revocation::Token { id: token_id }),
        RevocationScope::User => (principal.subject().to_owned(), Revocation::User { principal }),
    };
    Target { scope, id, revocation }
}

/// The tokens that a request names by id, which only an operator may do.
fn of_id(request: RevocationRequest, revoker: &Revoker) -> Result<Target, Error> {
    match revoker {
        Revoker::Operator => {}
        Revoker::TokenHolder(Sender { identity: Identity::Known(_), .. }) => {
            return Err(Error::invalid("Only an operator key can revoke by id. Send the token."));
        }
        Revoker::TokenHolder(_) => {
            return Err(Error::Unauthenticated { cause: "revoking by id takes an operator's key".to_owned() });
        }
    }
    let (scope, id, revocation) = match request {
        RevocationRequest::Conversation(id) => {
            (RevocationScope::Conversation, id.to_string(), Revocation::Conversation { id })
        }
        RevocationRequest::Presented { .. } => return Err(Error::internal("a presented token is not an id")),
        RevocationRequest::Token(id) => (RevocationScope::Token, id.to_string(), Revocation::Token { id }),
        RevocationRequest::User(principal) => {
            let id = principal.subject().to_owned();
            (RevocationScope::User, id, Revocation::User { principal })
        }
    };
    Ok(Target { scope, id, revocation })
}
