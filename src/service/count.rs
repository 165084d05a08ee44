//! Counts of the model tokens that a turn would send.

use std::sync::Arc;

use http::Response;

use super::{
    api_request::{ApiRequest, OpenedRequest},
    body::Body,
    host::Host,
    permit::{HeldPermit, StreamMode, release_on_error},
    ratelimit_headers,
    response::json_bytes,
    state::Service,
};
use crate::{
    guard::{GuardPurpose, Permit as _, TurnEnd},
    proto::{api::Api, error::Error},
};

impl<H: Host> Service<H> {
    /// Counts the model tokens of a turn at `api`, with a call of the provider if it has a count of
    /// its own.
    pub(super) async fn count(
        self: Arc<Self>,
        api: &'static dyn Api,
        request: ApiRequest,
    ) -> Result<Response<Body>, Error> {
        let ApiRequest { sender, body, deadline, record, .. } = request;
        let peer = sender.peer;
        let opened = self.open(api, sender, body, &record).await?;
        let (work_bytes, OpenedRequest { exchange, .. }) = (opened.work_bytes(), opened);
        record.turn(exchange.claims());
        let permit = self.admit(GuardPurpose::Count, peer, exchange.claims(), exchange.presented(), false).await?;
        let counting = self.work(work_bytes, move |codec| exchange.count(codec)).await;
        let (mut exchange, permit) = release_on_error(counting, permit).await?;
        let allowances = permit.allowances().to_vec();
        let mut context = self.call_context(exchange.claims(), peer, deadline, &record);
        let permit = HeldPermit::new(Arc::clone(&self), permit, StreamMode::Document, context.spending.clone(), record);
        let tokens = match exchange.known_count() {
            Some(tokens) => Ok(tokens),
            None => self.side_call(&mut exchange, &mut context).await,
        };
        // Not a turn: nothing is spent except the time of the call.
        permit.settle(TurnEnd::Failed).await;
        let mut response = json_bytes(api.token_count_body(tokens?));
        ratelimit_headers::write(&allowances, response.headers_mut());
        Ok(response)
    }
}
