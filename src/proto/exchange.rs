//! One request to one reply: the state machine that every shell and every test drives. Read this first.
//!
//! ```text
//!            begin                          respond                  push …            finish
//! request ─────┬───▶ Exchange<Ready> ────┬──────────▶ Exchange<Replying> ─────────▶ Answer, fresh token
//!   token      │      .request() is      │ 2xx            │
//!   input      │      what to send       │                └─ fail ─▶ Failure, partial token if text had flowed
//!              │            ▲ ▲          └──────────▶ Exchange<Refused> ── into_unanswered ─▶ Error
//!              │            │ │ go_back      other      │
//!              │      go_on │ └──── nothing was shown ◀─┘
//!              └───▶ Exchange<Summarizing>      too long, and a summary was asked for
//!
//! request ─────────▶ Exchange<Counting> ─────────▶ model tokens
//!            count                         counted
//! ```
//! Each state owns only its legal calls. Nothing here waits, sends or keeps: the shell moves bytes and says what time it
//! is. An attempt that failed before the client was shown anything leads back to where it began: the same request can be
//! sent again, or the next of the model's targets be asked, were it in another dialect. A turn that fails leaves the old token as good as it was, since nothing but its text was ever its state.

mod caller;
mod count;
mod history;
mod plan;
mod reply;
mod summary;

#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, Request, header::RETRY_AFTER, response};

use self::{
    plan::{Plan, Room, TurnState},
    reply::Reply,
};
use super::{
    deployment::{Deployment, Target},
    error::Error,
    provider::{ReplyBounds, ReplyReader},
    time::UnixSeconds,
    token::{Claims, Codec, NONCE_BYTES},
    turn::{Answer, Delta, FinishReason, Partial, TurnRequest},
};

pub use self::{
    caller::Caller,
    count::Counting,
    history::read_history,
    plan::{PresentedToken, TurnUsage},
    summary::{Summarizing, Summary},
};

/// The chance that one exchange takes: fresh from the operating system each time, never used twice.
pub struct Entropy {
    /// For the fresh token's id.
    pub token_id: [u8; 16],
    /// For a new conversation's id.
    pub conversation: [u8; 16],
    /// For a new anonymous user's name.
    pub user: [u8; 16],
    /// For the seal.
    pub nonce: [u8; NONCE_BYTES],
}

/// One turn, in state `S`.
pub struct Exchange<S> {
    turn: Box<TurnState>,
    state: S,
}

/// The request to the upstream is ready.
pub struct Ready {
    request: Request<Bytes>,
    /// What the next target would be asked; it can be megabytes, and is not kept where there is no such target.
    plan: Option<Box<Plan>>,
}

/// The upstream said no; its reasons are being read.
pub struct Refused {
    back: Box<Ready>,
    status: u16,
    retry_after: Option<Duration>,
    body: Vec<u8>,
}

/// The reply is coming in.
pub struct Replying {
    reader: Box<dyn ReplyReader>,
    reply: Reply,
    /// The state before, until something of the reply was handed out to be shown.
    back: Option<Box<Ready>>,
    closed: bool,
}

impl Exchange<Ready> {
    /// Verifies the token, joins history and input, reserves room for the reply, and writes the upstream's request.
    ///
    /// # Errors
    /// Everything that ends a turn before the model is called; nothing has been spent then.
    pub fn begin(
        deployment: Arc<Deployment>,
        request: TurnRequest,
        caller: &Caller,
        now: UnixSeconds,
        entropy: &Entropy,
        codec: &mut Codec,
    ) -> Result<Planned, Error> {
        let (mut turn, mut plan) = plan::prepare(deployment, request, caller, now, entropy, codec)?;
        match turn.make_room(&mut plan, codec)? {
            Room::Found => Self::ready(Box::new(turn), Box::new(plan)).map(Planned::Ready),
            Room::Summarize { items } => {
                Exchange::summarizing(Box::new(turn), Box::new(plan), items).map(Planned::Summarizing)
            }
        }
    }

    fn ready(turn: Box<TurnState>, plan: Box<Plan>) -> Result<Self, Error> {
        let request = turn.target.provider.request(&plan.call(&turn.target, turn.stream))?;
        let plan = (turn.fallbacks_left > 0).then_some(plan);
        Ok(Self { turn, state: Ready { request, plan } })
    }

    /// What the turn has used once it was sent, whatever comes of it.
    #[must_use]
    pub fn spent(&self) -> TurnUsage {
        self.turn.spent(super::turn::Usage::default(), 0)
    }

    /// Says that the client is shown nothing before the reply's end: until then it can be asked for again.
    #[must_use]
    pub fn holding(mut self) -> Self {
        self.turn.holds = true;
        self
    }

    /// What is to be sent to [`Exchange::upstream`]; its URI is a path below that upstream's base URL. The body is shared,
    /// not copied.
    #[must_use]
    pub fn request(&self) -> Request<Bytes> {
        self.state.request.clone()
    }

    /// Turns to the next target whose format can say what is asked; says whether there is one.
    pub fn next_target(&mut self) -> bool {
        let Some(plan) = self.state.plan.take() else { return false };
        let stream = self.turn.stream;
        let write = |target: &Target| target.provider.request(&plan.call(target, stream));
        let Some(request) = self.turn.next_target(&plan.model, write) else { return false };
        let plan = (self.turn.fallbacks_left > 0).then_some(plan);
        self.state = Ready { request, plan };
        true
    }

    /// Goes on with the head of the upstream's answer.
    ///
    /// # Errors
    /// [`Error::UpstreamMalformed`] for a redirect, or a head that announces no reply of this dialect.
    pub fn respond(self, head: &response::Parts) -> Result<Response, Box<FailedAttempt>> {
        let status = head.status;
        if status.is_success() {
            let bounds = ReplyBounds { reply_bytes: self.turn.deployment.limits.reply_bytes };
            let reader = match self.turn.target.provider.reply(head, bounds) {
                Ok(reader) => reader,
                Err(error) => return Err(Box::new(FailedAttempt { error, exchange: self })),
            };
            let reply = Reply::new(&self.turn.target.provider_id, self.turn.reply_room(), self.turn.items_room());
            let back = Some(Box::new(self.state));
            let state = Replying { reader, reply, back, closed: false };
            return Ok(Response::Replying(Exchange { turn: self.turn, state }));
        }
        if !status.is_client_error() && !status.is_server_error() {
            let error = Error::malformed(format!("status {status}"));
            return Err(Box::new(FailedAttempt { error, exchange: self }));
        }
        let (retry_after, back) = (retry_after(&head.headers), Box::new(self.state));
        let state = Refused { back, status: status.as_u16(), retry_after, body: Vec::new() };
        Ok(Response::Refused(Exchange { turn: self.turn, state }))
    }
}

/// An attempt that came to no reply, and the turn as it was before it.
pub struct FailedAttempt {
    /// What the answer amounted to.
    pub error: Error,
    /// The turn.
    pub exchange: Exchange<Ready>,
}

/// What came of beginning a turn.
pub enum Planned {
    /// The model can be called.
    Ready(Exchange<Ready>),
    /// The conversation is too long; a summary of its older turns is to be asked for first.
    Summarizing(Exchange<Summarizing>),
}

impl Planned {
    /// Whether the reply is asked for as a stream.
    #[must_use]
    pub fn is_streamed(&self) -> bool {
        match self {
            Self::Ready(exchange) => exchange.is_streamed(),
            Self::Summarizing(exchange) => exchange.is_streamed(),
        }
    }

    /// The claims of the token that the exchange is to issue.
    #[must_use]
    pub fn claims(&self) -> &Claims {
        match self {
            Self::Ready(exchange) => exchange.claims(),
            Self::Summarizing(exchange) => exchange.claims(),
        }
    }

    /// The token that the turn continues.
    #[must_use]
    pub fn presented(&self) -> Option<PresentedToken> {
        match self {
            Self::Ready(exchange) => exchange.presented(),
            Self::Summarizing(exchange) => exchange.presented(),
        }
    }
}

/// What the head of the upstream's answer led to.
pub enum Response {
    /// It refuses; read its reasons.
    Refused(Exchange<Refused>),
    /// It replies.
    Replying(Exchange<Replying>),
}

impl Exchange<Refused> {
    /// Takes the next bytes of the upstream's reasons; says whether more are wanted.
    pub fn push(&mut self, bytes: &[u8]) -> bool {
        let room = REFUSAL_BYTES.saturating_sub(self.state.body.len());
        self.state.body.extend(bytes.iter().take(room));
        room > bytes.len()
    }

    /// The error that the refusal amounts to, and the way back.
    #[must_use]
    pub fn into_failed_attempt(self) -> FailedAttempt {
        let Refused { back, status, retry_after, body } = self.state;
        let error = self.turn.target.provider.refusal(status, retry_after, &body);
        FailedAttempt { error, exchange: Exchange { turn: self.turn, state: *back } }
    }
}

impl Exchange<Replying> {
    /// Takes the next bytes of the reply, and appends to `deltas` what the client is to see of them.
    ///
    /// # Errors
    /// As [`ReplyReader::push`]; what was appended before stays good. Go on with [`Self::fail`].
    pub fn push(&mut self, bytes: &[u8], deltas: &mut Vec<Delta>) -> Result<(), Error> {
        let mut read = Vec::new();
        let outcome = self.state.reader.push(bytes, &mut read);
        self.hand_out(read, deltas);
        // What follows on the last that there was room for is not wanted, were it an error.
        if self.state.reply.is_full() { Ok(()) } else { outcome }
    }

    fn hand_out(&mut self, read: Vec<Delta>, deltas: &mut Vec<Delta>) {
        let before = deltas.len();
        deltas.extend(read.into_iter().filter_map(|delta| self.state.reply.take(delta)));
        if deltas.len() > before && !self.turn.holds {
            self.state.back = None;
        }
    }

    /// Whether the reply has come to its end, by the upstream's word or for want of room.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.state.reply.is_full() || self.state.reader.is_complete()
    }

    /// What the turn has used so far.
    #[must_use]
    pub fn spent(&self) -> TurnUsage {
        self.turn.spent(self.state.reply.usage(), self.state.reply.text_bytes())
    }

    /// Whether the model has been at work on it, and so at the operator's cost.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.state.reader.has_begun()
    }

    /// Whether [`Self::go_back`] leads anywhere: nothing was handed out that the client may have been shown.
    #[must_use]
    pub fn can_go_back(&self) -> bool {
        self.state.back.is_some()
    }

    /// The turn as it was before this reply, to be asked for again; `None` once something was handed out to be shown.
    #[must_use]
    pub fn go_back(self) -> Option<Exchange<Ready>> {
        Some(Exchange { turn: self.turn, state: *self.state.back? })
    }

    /// Says that no byte follows. `deltas` takes what was still open.
    ///
    /// # Errors
    /// What keeps the reply from being whole. Go on with [`Self::fail`], or with [`Self::go_back`].
    pub fn close(&mut self, deltas: &mut Vec<Delta>) -> Result<(), Error> {
        if !self.state.closed && !self.state.reply.is_full() {
            let mut read = Vec::new();
            let outcome = self.state.reader.finish(&mut read);
            self.hand_out(read, deltas);
            outcome?;
        }
        self.state.closed = true;
        self.state.reply.finish_reason().map(drop).ok_or(Error::UpstreamCut)
    }

    /// Issues the fresh token, after [`Self::close`] if that was not said yet.
    ///
    /// # Errors
    /// A [`Failure`] if the reply is not whole.
    pub fn finish(
        mut self,
        elapsed: Duration,
        deltas: &mut Vec<Delta>,
        codec: &mut Codec,
    ) -> Result<Answer, Box<Failure>> {
        if let Err(error) = self.close(deltas) {
            return Err(Box::new(self.fail(error, elapsed, codec)));
        }
        let finish = self.state.reply.finish_reason().unwrap_or(FinishReason::Stop);
        let (text, items, usage) = self.state.reply.into_parts(false);
        self.turn.issue(&text, items, usage, finish, elapsed, codec).map_err(|error| Box::new(error.into()))
    }

    /// Ends the turn badly. Where text had flowed to the client, it comes back with a token that holds it, marked cut.
    #[must_use]
    pub fn fail(self, error: Error, elapsed: Duration, codec: &mut Codec) -> Failure {
        if !self.turn.stream || !self.state.reply.has_text() {
            return error.into();
        }
        let (text, items, usage) = self.state.reply.into_parts(true);
        // Without room for the partial reply there is still the old token.
        let partial = self.turn.issue(&text, items, usage, FinishReason::Stop, elapsed, codec).ok();
        let partial = partial.map(|answer| Partial { reply: answer.reply, token: answer.token });
        Failure { error, partial }
    }
}

impl<S> Exchange<S> {
    /// Whether the reply is asked for as a stream.
    #[must_use]
    pub fn is_streamed(&self) -> bool {
        self.turn.stream
    }

    /// The name of the upstream to call.
    #[must_use]
    pub fn upstream(&self) -> &str {
        &self.turn.target.upstream
    }

    /// How many of the model's targets come after this one.
    #[must_use]
    pub fn fallbacks_left(&self) -> usize {
        self.turn.fallbacks_left
    }

    /// The claims of the token that this exchange is to issue.
    #[must_use]
    pub fn claims(&self) -> &Claims {
        &self.turn.claims
    }

    /// The token that the turn continues.
    #[must_use]
    pub fn presented(&self) -> Option<PresentedToken> {
        self.turn.presented
    }
}

/// How a turn ended that did not end well.
#[derive(Clone, Debug)]
pub struct Failure {
    /// Why.
    pub error: Error,
    /// What had flowed.
    pub partial: Option<Partial>,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self { error, partial: None }
    }
}

/// The wait that a `Retry-After` header asks for (RFC 9110 §10.2.3), in seconds; dates are not read.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds: u64 = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds).min(RETRY_MOST))
}

/// As much of a whole answer as is read that is no reply to a turn: a summary, a count, a refusal.
pub const SIDE_CALL_BYTES: usize = 256 << 10;
/// As much of an error body as is read.
const REFUSAL_BYTES: usize = 64 << 10;
/// The longest wait that is passed on.
const RETRY_MOST: Duration = Duration::from_secs(3_600);
