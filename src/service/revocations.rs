//! `POST /v1/revocations`: ends the use of tokens before their time.
//!
//! Users revoke what is theirs, by a token that the caller check lets through, an expired one as well; whatever is wrong
//! with another's has the one answer that it has everywhere. Who presents an operator's key may revoke anything, by any
//! token or by id.

use std::net::IpAddr;

use http::{Response, request};

use super::{
    Clock as _, Host, Sender, Service,
    body::{Body, utf8},
    caller, json_bytes,
    record::Record,
};
use crate::proto::exchange;
use crate::{
    guard::{Guard as _, Revocation},
    principal::Identity,
    proto::{
        api::native::{RevocationRequest, RevocationScope, revocation_answer, revocation_request},
        error::Error,
        exchange::Caller,
        token::{Claims, RawToken},
    },
};

/// Who wants to revoke.
pub(super) enum Revoker {
    /// Whoever runs the deployment.
    Operator,
    /// Anyone else.
    TokenHolder(Sender),
}

impl Revoker {
    /// Whose request it is among those at once; an operator's is nobody's.
    pub(super) fn network(&self) -> Option<IpAddr> {
        match self {
            Self::Operator => None,
            Self::TokenHolder(sender) => sender.network(),
        }
    }
}

impl<H: Host> Service<H> {
    /// Tells operators from callers. An operator's key names no user, so it is looked for before the identity rules.
    pub(super) async fn revoker(&self, head: &request::Parts) -> Result<Revoker, Error> {
        let access = self.access();
        let keys = &access.operator_keys;
        if !keys.is_empty() && keys.is_operator(&head.headers)? {
            return Ok(Revoker::Operator);
        }
        self.authenticate(head).await.map(Revoker::TokenHolder)
    }

    /// Revokes what `body` names.
    pub(super) async fn revocations(
        &self,
        revoker: Revoker,
        body: &[u8],
        record: &Record,
    ) -> Result<Response<Body>, Error> {
        let request = revocation_request(utf8(body)?)?;
        let (scope, id, revocation) = match (request, revoker) {
            (RevocationRequest::Presented { token, scope, user_id }, revoker) => {
                let caller = match revoker {
                    Revoker::Operator => self.owner(&token, user_id)?,
                    Revoker::TokenHolder(sender) => caller(sender.identity, user_id, None),
                };
                let (deployment, now) = (self.deployment(), self.host.clock().now());
                let read = self.with_codec(|codec| exchange::read_history(&deployment, &token, &caller, now, codec));
                let (_, conversation, _) = read?;
                let claims = conversation.claims;
                record.turn(&claims);
                let Claims { principal, conversation, token_id, .. } = claims;
                match scope {
                    RevocationScope::Conversation => {
                        (scope, conversation.to_string(), Revocation::Conversation { id: conversation })
                    }
                    RevocationScope::Token => (scope, token_id.to_string(), Revocation::Token { id: token_id }),
                    RevocationScope::User => (scope, principal.subject().to_owned(), Revocation::User { principal }),
                }
            }
            (_, Revoker::TokenHolder(Sender { identity: Identity::Known(_), .. })) => {
                return Err(Error::invalid("Only an operator key can revoke by id. Send the token."));
            }
            (_, Revoker::TokenHolder(_)) => {
                let cause = "revoking by id takes an operator's key".to_owned();
                return Err(Error::Unauthenticated { cause });
            }
            (RevocationRequest::Conversation(id), Revoker::Operator) => {
                (RevocationScope::Conversation, id.to_string(), Revocation::Conversation { id })
            }
            (RevocationRequest::Token(id), Revoker::Operator) => {
                (RevocationScope::Token, id.to_string(), Revocation::Token { id })
            }
            (RevocationRequest::User(principal), Revoker::Operator) => {
                let id = principal.subject().to_owned();
                (RevocationScope::User, id, Revocation::User { principal })
            }
        };
        self.host.guard().revoke(revocation).await?;
        Ok(json_bytes(revocation_answer(scope, &id)))
    }

    /// The user whose token this is, for an operator, who may speak for all.
    fn owner(&self, token: &str, user_id: Option<String>) -> Result<Caller, Error> {
        let deployment = self.deployment();
        let opened = self.with_codec(|codec| {
            RawToken::new(token, &deployment.limits)?.authenticate(deployment.token_context(), codec)
        })?;
        Ok(Caller::Authenticated { principal: opened.claims().principal.clone(), user_id })
    }
}
