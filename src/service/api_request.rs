//! A request to an API whose body has arrived, and its first checks: the body and the claims of its
//! token. They cost little for each byte of the body, whatever the token holds.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;

use super::{
    body::utf8,
    host::{Clock as _, Host},
    identity::Sender,
    record::Record,
    state::Service,
};
use crate::proto::{
    api::{Api, ParsedRequest, ReplyWriter},
    error::Error,
    exchange::{Exchange, Opened},
};

/// A request to an API, not parsed yet.
pub(super) struct ApiRequest {
    pub(super) sender: Sender,
    pub(super) body: Bytes,
    /// The time by which the response must have ended, if the platform sets one.
    pub(super) deadline: Option<Duration>,
    pub(super) request_id: String,
    pub(super) record: Record,
}

/// A parsed request whose token is verified, except for its history.
pub(super) struct OpenedRequest {
    pub(super) exchange: Exchange<Opened>,
    /// Writes the reply in the API's format.
    pub(super) writer: Box<dyn ReplyWriter>,
    body_bytes: usize,
}

impl OpenedRequest {
    /// The bytes that the next step works on: the inflated history, and the body.
    pub(super) fn work_bytes(&self) -> usize {
        self.exchange.token_history_bytes().saturating_add(self.body_bytes)
    }
}

impl<H: Host> Service<H> {
    /// Parses the body of a request to `api`, records what is left out of it, and opens its token.
    ///
    /// # Errors
    /// Those of [`Api::parse_request`] and [`Exchange::open`].
    pub(super) async fn open(
        self: &Arc<Self>,
        api: &'static dyn Api,
        sender: Sender,
        body: Bytes,
        record: &Record,
    ) -> Result<OpenedRequest, Error> {
        let (deployment, entropy, now) = (self.deployment(), self.entropy()?, self.host.clock().now());
        let (record, body_bytes) = (record.clone(), body.len());
        self.work(body_bytes, move |codec| {
            let ParsedRequest { mut turn, writer } = api.parse_request(utf8(&body)?, &deployment.apis)?;
            record.ignored(&turn.ignored);
            // Up to 4 MiB, which must not stay in memory while the upstream works.
            drop(body);
            let caller = sender.caller(turn.user_id.take(), turn.user_hint.take());
            let exchange = Exchange::open(deployment, turn, &caller, now, &entropy, codec)?;
            Ok(OpenedRequest { exchange, writer, body_bytes })
        })
        .await
    }
}
