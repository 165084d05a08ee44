//! Revokes tokens before they expire: `POST /v1/revocations`.
//!
//! A user revokes its own tokens, expired ones included, by presenting one of them. Any fault of
//! another user's token gets the same error as elsewhere. An operator, who presents an operator
//! key, revokes by any token or by id.

use std::{net::IpAddr, pin::Pin, sync::Arc};

use http::{Response, request};

use super::{
    body::{Body, RequestBody, check_json, utf8},
    host::{Clock as _, Host},
    identity::Sender,
    ratelimit_headers,
    record::Record,
    response::json_bytes,
    state::Service,
};
use crate::{
    guard::{Charge, Guard, GuardPurpose, Permit as _, Revocation, TurnEnd},
    principal::Identity,
    proto::{
        api::native::{RevocationRequest, RevocationScope, revocation_answer, revocation_request},
        deployment::Deployment,
        error::Error,
        exchange::{Caller, PresentedHistory},
        token::{Claims, Codec, RawToken},
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
        self: &Arc<Self>,
        head: &request::Parts,
        body: Pin<&mut B>,
        record: Record,
    ) -> Result<Response<Body>, Error> {
        let revoker = self.revoker(head).await?;
        check_json(head)?;
        let slot = self.slots.take(revoker.network())?;
        let body = self.read_body(head, body).await?;
        let request = self.work(body.len(), move |_| revocation_request(utf8(&body)?)).await?;
        let (target, permit) = match request {
            RevocationRequest::Presented { token, scope, user_id } => {
                let (token, permit) = self.admit_presented(token, user_id, revoker).await?;
                record.turn(token.claims());
                (of_token(scope, token.claims().clone()), permit)
            }
            request => {
                let target = of_id(request, &revoker)?;
                self.check_idp(&target.revocation)?;
                (target, None)
            }
        };
        let Target { scope, id, revocation } = target;
        let revoked = self.host.guard().revoke(revocation).await;
        let live_conversations = revoked.as_ref().ok().and_then(|revoked| revoked.live_conversations);
        let mut response = json_bytes(revocation_answer(scope, &id, live_conversations));
        if let Some(permit) = permit {
            ratelimit_headers::write(permit.allowances(), response.headers_mut());
            permit.settle(TurnEnd::Failed(Charge::default())).await;
        }
        revoked?;
        record.keep(slot);
        Ok(response)
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

    /// Opens a presented token, if the revoker may revoke it. Asks the guard to admit a revocation
    /// by the token's owner; operators have no limits.
    async fn admit_presented(
        self: &Arc<Self>,
        token: String,
        user_id: Option<String>,
        revoker: Revoker,
    ) -> Result<(PresentedHistory, Option<<H::Guard as Guard>::Permit>), Error> {
        let (is_operator, peer) = match &revoker {
            Revoker::Operator => (true, None),
            Revoker::TokenHolder(sender) => (false, sender.peer),
        };
        let (deployment, now) = (self.deployment(), self.host.clock().now());
        let opened = self.work(token.len(), move |codec| {
            let caller = match revoker {
                Revoker::Operator => owner(&deployment, &token, user_id, codec)?,
                Revoker::TokenHolder(sender) => sender.caller(user_id, None),
            };
            PresentedHistory::open(&deployment, &token, &caller, now, codec)
        });
        let token = opened.await?;
        if is_operator {
            return Ok((token, None));
        }
        let presented = Some(token.presented());
        let permit = self.admit(GuardPurpose::Revoke, peer, token.claims(), presented, false).await?;
        Ok((token, Some(permit)))
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
}

/// The owner of a token, as the caller of an operator's request.
fn owner(deployment: &Deployment, token: &str, user_id: Option<String>, codec: &mut Codec) -> Result<Caller, Error> {
    let opened = RawToken::new(token, &deployment.limits)?.authenticate(deployment.token_context(), codec)?;
    Ok(Caller::Authenticated { principal: opened.claims().principal.clone(), user_id })
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
