//! One request to one reply: the state machine that every shell and every test drives. Read this first.
//!
//! ```text
//!            begin                          respond                  push …            finish
//! request ─────┬───▶ Exchange<Ready> ────┬──────────▶ Exchange<Replying> ─────────▶ Answer, fresh token
//!   token      │      .request() is      │ 2xx            │
//!   input      │      what to send       │                └─ fail ─▶ Failure, partial token if text had flowed
//!              │            ▲            └──────────▶ Exchange<Refused> ── into_error ─▶ Error
//!              │            │ go_on        other
//!              └───▶ Exchange<Summarizing>      too long, and a summary was asked for
//!
//! request ─────────▶ Exchange<Counting> ─────────▶ model tokens
//!            count                         counted
//! ```
//! Each state owns only its legal calls. Nothing here waits, sends or keeps: the shell moves bytes and says what time it
//! is. A turn that fails leaves the old token as good as it was, since nothing but its text was ever its state.

mod count;
mod deployment;
mod reply;
mod summary;
mod turn;

#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, Request, header::RETRY_AFTER, response};

use self::{
    reply::Reply,
    turn::{Plan, Room, Turn},
};
use super::{
    dialect::{
        Delta, FinishReason, ReplyBounds, ReplyReader,
        door::{Answer, Partial, TurnRequest},
    },
    error::Error,
    time::UnixSeconds,
    token::{Claims, Codec, NONCE_BYTES},
};

pub use self::{
    count::Counting,
    deployment::{Asker, Core, Model, Models},
    summary::Summarizing,
    turn::{Presented, Spent},
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
    turn: Box<Turn>,
    state: S,
}

/// The request to the upstream is ready.
pub struct Ready {
    request: Request<Bytes>,
}

/// The upstream said no; its reasons are being read.
pub struct Refused {
    status: u16,
    retry_after: Option<Duration>,
    body: Vec<u8>,
}

/// The reply is coming in.
pub struct Replying {
    reader: Box<dyn ReplyReader>,
    reply: Reply,
}

impl Exchange<Ready> {
    /// Verifies the token, joins history and input, reserves room for the reply, and writes the upstream's request.
    ///
    /// # Errors
    /// Everything that ends a turn before the model is called; nothing has been spent then.
    pub fn begin(
        core: Arc<Core>,
        request: TurnRequest,
        asker: &Asker,
        now: UnixSeconds,
        entropy: &Entropy,
        codec: &mut Codec,
    ) -> Result<Begun, Error> {
        let (mut turn, mut plan) = turn::prepare(core, request, asker, now, entropy, codec)?;
        match turn.make_room(&mut plan, codec)? {
            Room::Found => Self::ready(Box::new(turn), &plan).map(Begun::Ready),
            Room::Summarize { items } => {
                Exchange::summarizing(Box::new(turn), Box::new(plan), items).map(Begun::Summarizing)
            }
        }
    }

    fn ready(turn: Box<Turn>, plan: &Plan) -> Result<Self, Error> {
        let request = turn.dialect.request(&plan.call(turn.stream))?;
        Ok(Self { turn, state: Ready { request } })
    }

    /// Takes out what is to be sent to [`Exchange::upstream`]; its URI is a path below that upstream's base URL.
    pub fn take_request(&mut self) -> Request<Bytes> {
        std::mem::take(&mut self.state.request)
    }

    /// Goes on with the head of the upstream's answer.
    ///
    /// # Errors
    /// [`Error::UpstreamMalformed`] for a redirect, or a head that announces no reply of this dialect.
    pub fn respond(self, head: &response::Parts) -> Result<Response, Error> {
        if head.status.is_success() {
            let bounds = ReplyBounds { reply_bytes: self.turn.core.limits.reply_bytes };
            let reader = self.turn.dialect.reply(head, bounds)?;
            let reply = Reply::new(&self.turn.provider, self.turn.reply_room(), self.turn.items_room());
            return Ok(Response::Replying(Exchange { turn: self.turn, state: Replying { reader, reply } }));
        }
        if !head.status.is_client_error() && !head.status.is_server_error() {
            return Err(Error::malformed(format!("status {}", head.status)));
        }
        let state = Refused { status: head.status.as_u16(), retry_after: retry_after(&head.headers), body: Vec::new() };
        Ok(Response::Refused(Exchange { turn: self.turn, state }))
    }
}

/// What came of beginning a turn.
pub enum Begun {
    /// The model can be called.
    Ready(Exchange<Ready>),
    /// The conversation is too long; a summary of its older turns is to be asked for first.
    Summarizing(Exchange<Summarizing>),
}

impl Begun {
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
    pub fn presented(&self) -> Option<Presented> {
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

    /// The error that the refusal amounts to.
    #[must_use]
    pub fn into_error(self) -> Error {
        let Refused { status, retry_after, body } = self.state;
        self.turn.dialect.refusal(status, retry_after, &body)
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
        deltas.extend(read.into_iter().filter_map(|delta| self.state.reply.take(delta)));
        // What follows on the last that there was room for is not wanted, were it an error.
        if self.state.reply.is_full() { Ok(()) } else { outcome }
    }

    /// Whether the reply has come to its end, by the upstream's word or for want of room.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.state.reply.is_full() || self.state.reader.is_complete()
    }

    /// What the turn has used so far.
    #[must_use]
    pub fn spent(&self) -> Spent {
        self.turn.spent(self.state.reply.usage(), self.state.reply.text_bytes())
    }

    /// Says that no byte follows, and issues the fresh token. `deltas` takes what was still open.
    ///
    /// # Errors
    /// A [`Failure`] if the reply is not whole.
    pub fn finish(
        mut self,
        elapsed: Duration,
        deltas: &mut Vec<Delta>,
        codec: &mut Codec,
    ) -> Result<Answer, Box<Failure>> {
        if !self.state.reply.is_full() {
            let mut read = Vec::new();
            let outcome = self.state.reader.finish(&mut read);
            deltas.extend(read.into_iter().filter_map(|delta| self.state.reply.take(delta)));
            if let Err(error) = outcome {
                return Err(Box::new(self.fail(error, elapsed, codec)));
            }
        }
        let Some(finish) = self.state.reply.finish_reason() else {
            return Err(Box::new(self.fail(Error::UpstreamCut, elapsed, codec)));
        };
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
        &self.turn.upstream
    }

    /// The claims of the token that this exchange is to issue.
    #[must_use]
    pub fn claims(&self) -> &Claims {
        &self.turn.claims
    }

    /// The token that the turn continues.
    #[must_use]
    pub fn presented(&self) -> Option<Presented> {
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
pub const ASIDE_BYTES: usize = 256 << 10;
/// As much of an error body as is read.
const REFUSAL_BYTES: usize = 64 << 10;
/// The longest wait that is passed on.
const RETRY_MOST: Duration = Duration::from_secs(3_600);
