//! A request to an API whose body has arrived.

use std::time::Duration;

use bytes::Bytes;

use super::{body::utf8, identity::Sender, record::Record};
use crate::proto::{
    api::{Api, ParsedRequest, ReplyWriter},
    deployment::Deployment,
    error::Error,
    exchange::Caller,
    turn::TurnRequest,
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

/// A parsed request for a turn.
pub(super) struct ApiTurn {
    pub(super) turn: TurnRequest,
    pub(super) caller: Caller,
    /// Writes the reply in the API's format.
    pub(super) writer: Box<dyn ReplyWriter>,
}

impl ApiTurn {
    /// Parses the body of a request to `api`, and records what is left out of it.
    ///
    /// # Errors
    /// Those of [`Api::parse_request`].
    pub(super) fn parse(
        api: &dyn Api,
        deployment: &Deployment,
        sender: Sender,
        body: Bytes,
        record: &Record,
    ) -> Result<Self, Error> {
        let ParsedRequest { mut turn, writer } = api.parse_request(utf8(&body)?, &deployment.apis)?;
        record.ignored(&turn.ignored);
        // Up to 4 MiB, which must not stay in memory while the upstream works.
        drop(body);
        let caller = sender.caller(turn.user_id.take(), turn.user_hint.take());
        Ok(Self { turn, caller, writer })
    }
}
