//! The content of a token, for its owner: `POST /v1/history`.

use std::{pin::Pin, sync::Arc};

use http::{Response, request};

use super::{
    body::{Body, RequestBody, utf8},
    host::{Clock as _, Host},
    permit::release_on_error,
    ratelimit_headers,
    record::Record,
    response::json_bytes,
    state::Service,
};
use crate::{
    guard::{Charge, GuardPurpose, Permit as _, TurnEnd},
    proto::{api::native, error::Error, exchange::PresentedHistory},
};

impl<H: Host> Service<H> {
    /// Responds with the items and the conversation of a token.
    pub(super) async fn history<B: RequestBody>(
        self: &Arc<Self>,
        head: &request::Parts,
        body: Pin<&mut B>,
        record: Record,
    ) -> Result<Response<Body>, Error> {
        let sender = self.check_post(head).await?;
        let slot = self.slots.take(sender.network())?;
        let body = self.read_body(head, body).await?;
        let (peer, deployment, now) = (sender.peer, self.deployment(), self.host.clock().now());
        let reader = Arc::clone(&deployment);
        let history = self.work(body.len(), move |codec| {
            let (token, user_id) = native::history_request(utf8(&body)?)?;
            PresentedHistory::open(&deployment, &token, &sender.caller(user_id, None), now, codec)
        });
        let history = history.await?;
        record.turn(history.claims());
        let permit = self.admit(GuardPurpose::Read, peer, history.claims(), Some(history.presented()), false).await?;
        let answer = self.work(history.history_bytes(), move |codec| {
            let (items, conversation) = history.read(&reader.limits, codec)?;
            Ok(native::history_answer(&items, &conversation))
        });
        let (answer, permit) = release_on_error(answer.await, permit).await?;
        let allowances = permit.allowances().to_vec();
        permit.settle(TurnEnd::Failed(Charge::default())).await;
        record.keep(slot);
        let mut response = json_bytes(answer);
        ratelimit_headers::write(&allowances, response.headers_mut());
        Ok(response)
    }
}
