//! The content of a token, for its owner: `POST /v1/history`.

use std::pin::Pin;

use http::{Response, request};

use super::{
    body::{Body, RequestBody, utf8},
    host::{Clock as _, Host},
    record::Record,
    response::json_bytes,
    state::Service,
};
use crate::{
    guard::{Charge, GuardPurpose, Permit as _, TurnEnd},
    proto::{api::native, error::Error, exchange},
};

impl<H: Host> Service<H> {
    /// Responds with the items and the conversation of a token.
    pub(super) async fn history<B: RequestBody>(
        &self,
        head: &request::Parts,
        body: Pin<&mut B>,
        record: Record,
    ) -> Result<Response<Body>, Error> {
        let sender = self.check_post(head).await?;
        let slot = self.slots.take(sender.network())?;
        let body = self.read_body(head, body).await?;
        let (token, user_id) = native::history_request(utf8(&body)?)?;
        let peer = sender.peer;
        let (caller, deployment, now) = (sender.caller(user_id, None), self.deployment(), self.host.clock().now());
        let (items, conversation, presented) =
            self.with_codec(|codec| exchange::read_history(&deployment, &token, &caller, now, codec))?;
        let permit = self.admit(GuardPurpose::Read, peer, &conversation.claims, Some(presented), false).await?;
        permit.settle(TurnEnd::Failed(Charge::default())).await;
        record.keep(slot);
        Ok(json_bytes(native::history_answer(&items, &conversation)))
    }
}
