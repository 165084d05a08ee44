//! The call of the upstream: its request, the head of its answer, and the body of an error.

use bytes::Bytes;
use http::{Request, StatusCode, response};

use super::{
    metering::request_usage,
    reply::BoundedReply,
    state::{Exchange, Ready, Refused, Replying},
    turn_state::{Plan, TurnState},
};
use crate::proto::{
    deployment::Target,
    error::Error,
    provider::{OwnMember, RefusedMember, ReplyBounds, images},
    usage::Usage,
};

/// The upstream's answer, as its head announces it.
pub enum ResponseState {
    /// An error. The next step is to read its body.
    Refused(Exchange<Refused>),
    /// A reply.
    Replying(Exchange<Replying>),
}

/// An attempt that gave no reply, and the turn to try again with.
pub struct FailedAttempt {
    /// The cause.
    pub error: Error,
    /// The turn before the attempt.
    pub exchange: Exchange<Ready>,
    /// The member of the request that the upstream refuses, if Holdall added it on its own account.
    pub refused_member: Option<RefusedMember>,
}

impl Exchange<Ready> {
    /// Writes the request for the current target.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for options that the provider format cannot express.
    pub(super) fn new(mut turn: Box<TurnState>, plan: Box<Plan>) -> Result<Self, Error> {
        turn.images = images(plan.history.items());
        let request = turn.target.provider.request(&plan.call(&turn.target, turn.stream))?;
        let plan = (turn.fallbacks_left > 0).then_some(plan);
        Ok(Self { turn, state: Ready { request, plan } })
    }

    /// The usage of a call with this request before its reply, estimated from the request's bytes.
    #[must_use]
    pub fn call_usage(&self) -> Usage {
        request_usage(self.turn.images.estimated_tokens(self.state.request.body().len()))
    }

    /// Declares that the client is shown nothing before the reply is complete. A streamed reply can
    /// then be requested again until its end.
    #[must_use]
    pub fn buffered(mut self) -> Self {
        self.turn.buffered = true;
        self
    }

    /// The request to send to [`Exchange::upstream`]. Its URI is a path below the base URL of that
    /// upstream. The body is shared, not copied.
    #[must_use]
    pub fn request(&self) -> Request<Bytes> {
        self.state.request.clone()
    }

    /// Leaves a member that Holdall added out of the request, or gives it its other name. Returns
    /// false if the request does not have it.
    pub fn leave_out(&mut self, member: OwnMember) -> bool {
        member.leave_out(&mut self.state.request)
    }

    /// Selects the next target whose provider format can express the turn, and writes its request.
    /// Returns false if no target is left.
    pub fn next_target(&mut self) -> bool {
        let Some(plan) = self.state.plan.take() else { return false };
        let stream = self.turn.stream;
        let write = |target: &Target| target.provider.request(&plan.call(target, stream));
        let Some(request) = self.turn.next_target(&plan.model, write) else { return false };
        let plan = (self.turn.fallbacks_left > 0).then_some(plan);
        self.state = Ready { request, plan };
        true
    }

    /// Takes the head of the upstream's answer. The next state reads the body.
    ///
    /// # Errors
    /// [`Error::UpstreamMalformed`] for a redirect or another status without meaning here.
    pub fn respond(self, head: &response::Parts) -> Result<ResponseState, Box<FailedAttempt>> {
        let status = head.status;
        if status.is_success() && status != StatusCode::NO_CONTENT {
            Ok(ResponseState::Replying(self.start_reply(head)))
        } else if status.is_client_error() || status.is_server_error() {
            let Self { turn, state } = self;
            let state = Refused { ready: Box::new(state), head: head.clone(), body: Vec::new() };
            Ok(ResponseState::Refused(Exchange { turn, state }))
        } else {
            let error = Error::malformed(format!("unexpected status {status}"));
            Err(Box::new(FailedAttempt { error, exchange: self, refused_member: None }))
        }
    }

    fn start_reply(self, head: &response::Parts) -> Exchange<Replying> {
        let request_usage = self.call_usage();
        let reply_bytes = self.turn.deployment.limits.reply_bytes;
        let bounds = ReplyBounds { turn: self.turn.claims.turn, reply_bytes };
        let reader = self.turn.reply_reader(head, bounds);
        let Self { turn, state } = self;
        let reply = BoundedReply::new(&turn.target.provider_id, turn.reply_bytes_left(), turn.items_left());
        let request = state.request.body().clone();
        let state = Replying { reader, reply, request, request_usage, retry: Some(Box::new(state)), closed: false };
        Exchange { turn, state }
    }
}

impl Exchange<Refused> {
    /// Takes the next bytes of the error body. Returns false once enough is read: 64 KiB.
    pub fn push(&mut self, bytes: &[u8]) -> bool {
        let room = MAX_ERROR_BODY_BYTES.saturating_sub(self.state.body.len());
        self.state.body.extend(bytes.iter().take(room));
        room > bytes.len()
    }

    /// The error that the answer means, and the turn to try again with.
    #[must_use]
    pub fn into_failed_attempt(self) -> FailedAttempt {
        let Self { turn, state: Refused { ready, head, body } } = self;
        let error = turn.error_from_answer(&head, &body, ready.request.body());
        let refused_member = OwnMember::refused(head.status.as_u16(), &body, &ready.request);
        FailedAttempt { error, exchange: Exchange { turn, state: *ready }, refused_member }
    }
}

/// The most bytes of an error body that are read.
const MAX_ERROR_BODY_BYTES: usize = 64 << 10;
