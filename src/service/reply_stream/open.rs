//! The calls of a turn until there is output for the client. A failed call is repeated only before
//! that point.

use std::time::Duration;

use futures_util::StreamExt as _;

use super::{ExchangeState, ReplyStream, Step, ended};
use crate::{
    proto::{
        exchange::{Exchange, FailedAttempt, Failure, Ready, Refused, ResponseState},
        provider::OwnMember,
        turn::Answer,
    },
    service::{
        attempts::CallFault,
        call::{CallContext, FailedCall, OpenCall, RepeatableCall, call_until_success},
        host::{Clock as _, Host},
        state::Service,
    },
    upstream::Upstream,
};

impl<H: Host> ReplyStream<H> {
    /// Calls the upstream until there is output for the client, or until the turn has ended.
    /// Returns the end of the turn, if there is one.
    pub(in crate::service) async fn open(&mut self) -> Option<Result<Answer, Failure>> {
        let error = match call_until_success(self).await {
            Ok(end) => return end,
            Err(error) => error,
        };
        let outcome = self.fail(error).await;
        if matches!(outcome, Err(Failure { partial: None, .. })) {
            // Without a token to continue from, the client gets only the error.
            self.deltas.clear();
        }
        Some(outcome)
    }

    /// Calls the upstream and waits for the start of a reply.
    async fn call(&mut self) -> Result<(), CallFault> {
        let Some(ExchangeState::Ready(mut exchange)) = self.exchange.take() else { return Err(ended().into()) };
        let (refused_members, now) = (&self.service.refused_members, self.service.host.clock().elapsed());
        for member in refused_members.of(exchange.upstream(), exchange.model(), now) {
            exchange.leave_out(member);
        }
        let OpenCall { mut response, head, first } = match self.open_call(&exchange).await {
            Ok(call) => call,
            Err(fault) => {
                self.exchange = Some(ExchangeState::Ready(exchange));
                return Err(fault);
            }
        };
        let failed = match exchange.respond(&head) {
            Ok(ResponseState::Replying(exchange)) => {
                self.last_received = self.service.host.clock().elapsed();
                let (upstream, model) = (exchange.upstream(), exchange.model());
                let left_out = self.context.left_out_for_all();
                self.service.refused_members.remember(upstream, model, &left_out, self.last_received);
                self.exchange = Some(ExchangeState::Replying(exchange));
                self.alarm = None;
                (self.response, self.unread) = (Some(response), Some(first));
                return Ok(());
            }
            Ok(ResponseState::Refused(exchange)) => {
                let mut call = OpenCall { response, head, first };
                let failed = self.read_refusal(exchange, &mut call).await;
                response = call.response;
                failed
            }
            Err(failed) => *failed,
        };
        self.end_spending(false);
        let FailedAttempt { error, exchange, refused_member } = failed;
        self.context.refused_member = refused_member;
        self.exchange = Some(ExchangeState::Ready(exchange));
        let fault = CallFault::from(error);
        fault.end(response);
        Err(fault)
    }

    /// Sends the exchange's request and waits for the first bytes of the response.
    async fn open_call(
        &mut self,
        exchange: &Exchange<Ready>,
    ) -> Result<OpenCall<<H::Upstream as Upstream>::Response>, CallFault> {
        let service = &self.service;
        let called = service.host.clock().elapsed();
        let (call, share) = self.context.call(exchange, exchange.request(), called);
        self.due = called + share;
        let is_streamed = exchange.is_streamed();
        // A reply that is not streamed sends its first byte after the model has finished.
        let limit = if is_streamed { share.min(service.settings.timeouts.first_byte) } else { share };
        // Such a reply may well take longer than its share of the time.
        let is_verdict = is_streamed || exchange.fallbacks_left() == 0;
        let mut timer = service.call_timer(limit, "the first byte", is_verdict);
        service.open_call(&mut self.context, call, exchange.call_usage(), &mut timer).await
    }

    /// Reads the body of a refusal for its reasons. A body that breaks off or does not end still
    /// counts as far as it was read.
    async fn read_refusal(
        &mut self,
        mut exchange: Exchange<Refused>,
        call: &mut OpenCall<<H::Upstream as Upstream>::Response>,
    ) -> FailedAttempt {
        let limit = REFUSAL_TIMEOUT.min(self.due.saturating_sub(self.service.host.clock().elapsed()));
        let mut timer = self.service.call_timer(limit, "the end of its error", false);
        let mut piece = call.first.take();
        while let Some(Ok(bytes)) = piece {
            if !exchange.push(&bytes) {
                break;
            }
            piece = timer.bound(call.response.next()).await.unwrap_or(None);
        }
        exchange.into_failed_attempt()
    }

    /// Returns the exchange to the state before its call.
    fn go_back(&mut self) -> Option<&mut Exchange<Ready>> {
        let exchange = match self.exchange.take()? {
            ExchangeState::Ready(exchange) => Some(exchange),
            ExchangeState::Replying(exchange) => exchange.into_retry(),
        };
        self.exchange = exchange.map(ExchangeState::Ready);
        match &mut self.exchange {
            Some(ExchangeState::Ready(exchange)) => Some(exchange),
            _ => None,
        }
    }
}

impl<H: Host> RepeatableCall<H> for ReplyStream<H> {
    type Output = Option<Result<Answer, Failure>>;

    fn service(&self) -> &Service<H> {
        &self.service
    }

    fn context(&mut self) -> &mut CallContext {
        &mut self.context
    }

    async fn attempt(&mut self) -> Result<Self::Output, CallFault> {
        self.call().await?;
        loop {
            match self.step().await? {
                Step::Ended(outcome) => return Ok(Some(*outcome)),
                // A held reply shows nothing before its end.
                Step::Read if self.holds => self.deltas.clear(),
                Step::Read if !self.deltas.is_empty() => return Ok(None),
                Step::Quiet | Step::Read => {}
            }
        }
    }

    fn failed_attempt(&self) -> Option<FailedCall> {
        match &self.exchange {
            Some(ExchangeState::Ready(exchange)) => {
                Some(FailedCall { had_output: false, fallbacks: exchange.fallbacks_left() })
            }
            Some(ExchangeState::Replying(exchange)) if exchange.can_retry() => {
                Some(FailedCall { had_output: exchange.has_started(), fallbacks: exchange.fallbacks_left() })
            }
            _ => None,
        }
    }

    fn rewind(&mut self) {
        self.go_back();
        (self.response, self.unread) = (None, None);
        self.deltas.clear();
    }

    fn leave_out(&mut self, member: OwnMember) -> bool {
        self.go_back().is_some_and(|exchange| exchange.leave_out(member))
    }

    fn next_target(&mut self) -> bool {
        self.rewind();
        self.go_back().is_some_and(Exchange::<Ready>::next_target)
    }
}

/// The longest time for which the body of a refusal is read. As a rule it arrives with the head.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(2);
