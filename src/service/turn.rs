//! Turns at an API, as one document or as a stream.

use std::{
    net::IpAddr,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use http::{HeaderName, HeaderValue, Response, header};

use super::{
    api_request::{ApiRequest, OpenedRequest},
    attempts::Attempts,
    body::Body,
    call::CallContext,
    host::{Clock as _, Host},
    open_reply::AdmittedTurn,
    permit::{HeldPermit, StreamMode, release_on_error},
    ratelimit_headers,
    record::Record,
    response::json_bytes,
    spending::Spending,
    state::Service,
    turn_stream::TurnStream,
};
use crate::{
    guard::{GuardPurpose, LimitSubject, Permit as _},
    proto::{
        api::{Api, ReplyWriter},
        error::Error,
        token::Claims,
    },
};

impl<H: Host> Service<H> {
    /// Takes a turn at `api`.
    pub(super) async fn turn(
        self: Arc<Self>,
        api: &'static dyn Api,
        request: ApiRequest,
    ) -> Result<Response<Body>, Error> {
        let ApiRequest { sender, body, deadline, request_id, record } = request;
        let peer = sender.peer;
        let opened = self.open(api, sender, body, &record).await?;
        let (work_bytes, OpenedRequest { exchange, mut writer, .. }) = (opened.work_bytes(), opened);
        record.turn(exchange.claims());
        let permit = self
            .admit(GuardPurpose::Turn, peer, exchange.claims(), exchange.presented(), exchange.brings_history())
            .await?;
        let planned = self.work(work_bytes, move |codec| exchange.plan(codec)).await;
        let (planned, permit) = release_on_error(planned, permit).await?;
        record.ignored(planned.lowered());
        if planned.accepts_client_history() {
            writer.show_service_state();
        }
        let allowances = permit.allowances().to_vec();
        let head_sent = Arc::new(AtomicBool::new(false));
        let (is_streamed, holds) = (planned.is_streamed(), writer.buffers_deltas());
        let stream_mode = match (is_streamed, holds) {
            (false, _) => StreamMode::Document,
            (true, false) => StreamMode::Live,
            (true, true) => StreamMode::Held(Arc::clone(&head_sent)),
        };
        let context = self.call_context(planned.claims(), peer, deadline, &record);
        context.spending.history(planned.history_bytes());
        let permit = HeldPermit::new(Arc::clone(&self), permit, stream_mode, context.spending.clone(), record.clone());
        let turn = AdmittedTurn { planned, context, permit, holds: !is_streamed || holds };
        let mut response = if is_streamed {
            let stream = TurnStream::start(self, turn, writer, &head_sent, request_id, record).await?;
            event_stream(stream.into_body())
        } else {
            self.document(turn, writer).await?
        };
        ratelimit_headers::write(&allowances, response.headers_mut());
        Ok(response)
    }

    async fn document(
        self: Arc<Self>,
        turn: AdmittedTurn<H>,
        mut writer: Box<dyn ReplyWriter>,
    ) -> Result<Response<Body>, Error> {
        match turn.open(self).await?.end {
            Some(Ok(answer)) => Ok(json_bytes(writer.body(&answer))),
            Some(Err(failure)) => Err(failure.error),
            None => Err(Error::internal("a held reply did not end")),
        }
    }

    /// The context of all upstream calls for a request. They must end by `deadline`, if there is
    /// one, and within `timeouts.total`.
    pub(super) fn call_context(
        &self,
        claims: &Claims,
        peer: Option<IpAddr>,
        deadline: Option<Duration>,
        record: &Record,
    ) -> CallContext {
        let (now, total) = (self.host.clock().elapsed(), self.settings.timeouts.total);
        let limit = deadline.map_or(total, |deadline| deadline.saturating_sub(now).min(total));
        CallContext {
            limit,
            user: self.user_hash.hash(&LimitSubject::new(&claims.principal, peer))[0],
            attempts: Attempts::new(self.settings.retries, now.saturating_add(limit)),
            spending: Spending::default(),
            refused_member: None,
            left_out: Vec::new(),
            record: record.clone(),
        }
    }
}

fn event_stream(body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    // Without this header, nginx holds events back until its buffer is full.
    headers.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    response
}
