//! One request to one reply: the state machine that every shell and every test drives. Read this first.
//!
//! ```text
//!            begin                          respond                  push …            finish
//! request ─────────▶ Exchange<Ready> ────┬──────────▶ Exchange<Replying> ─────────▶ Answer, fresh token
//!   token             .request() is      │ 2xx            │
//!   input             what to send       │                └─ fail ─▶ Failure, partial token if text had flowed
//!                                        └──────────▶ Exchange<Refused> ── into_error ─▶ Error
//!                                          other
//! ```
//! Each state owns only its legal calls. Nothing here waits, sends or keeps: the shell moves bytes and says what time it
//! is. A turn that fails leaves the old token as good as it was, since nothing but its text was ever its state.

mod deployment;
mod reply;

#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, Request, header::RETRY_AFTER, response};

use self::reply::Reply;
use super::{
    chat::{History, Item, Usage},
    dialect::{
        Delta, Dialect, FinishReason, ModelCall, ReplyBounds, ReplyReader,
        door::{Answer, Conversation, Partial, Truncation, TurnRequest},
    },
    error::{Error, Excess},
    principal::Principal,
    time::UnixSeconds,
    token::{self, Caller, Claims, Codec, Id, NONCE_BYTES, Purpose, RawToken, TokenPolicy, VerifiedToken},
};

pub use self::deployment::{Asker, Core, Model, Models};

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
    turn: Turn,
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
    ) -> Result<Self, Error> {
        let caller = asker.caller(request.token.is_some())?;
        let base = match (&request.token, &caller) {
            (Some(token), Some(caller)) => {
                Some(RawToken::new(token, &core.limits)?.authenticate(core.terms(), codec)?.verify(
                    caller,
                    Purpose::Continue,
                    &core.policy,
                    now,
                )?)
            }
            _ => None,
        };
        let mut history = base.as_ref().map_or_else(|| Ok(History::default()), VerifiedToken::history)?;
        let alias = request.model.as_deref().or_else(|| base.as_ref().map(|base| base.claims().model.as_str()));
        let (model, alias) = core.models.find(alias)?;
        let (model, alias) = (model.clone(), alias.to_owned());
        let claims = claims(base.as_ref(), caller, alias, now, entropy, &core.policy)?;

        let mut input_lines = String::new();
        request.input.iter().for_each(|item| item.write_line(&mut input_lines));
        history.push_input(request.input, &core.limits)?;
        let mut turn = Turn {
            core,
            base,
            claims,
            nonce: entropy.nonce,
            lines: input_lines,
            items: history.items().len(),
            trimmed_items: 0,
            dialect: model.dialect,
            upstream: model.upstream.clone(),
            stream: request.stream,
        };
        turn.make_room(&mut history, request.truncation, codec)?;
        let mut options = request.options;
        options.max_output_tokens = options.max_output_tokens.or(model.max_output_tokens);
        let call = ModelCall {
            model: &model.name,
            system: model.system_prompt.as_deref(),
            items: history.items(),
            options: &options,
            stream: turn.stream,
        };
        let request = model.dialect.request(&call)?;
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
            let reply = Reply::new(self.turn.reply_room(), self.turn.items_room());
            return Ok(Response::Replying(Exchange { turn: self.turn, state: Replying { reader, reply } }));
        }
        if !head.status.is_client_error() && !head.status.is_server_error() {
            return Err(Error::malformed(format!("status {}", head.status)));
        }
        let state = Refused { status: head.status.as_u16(), retry_after: retry_after(&head.headers), body: Vec::new() };
        Ok(Response::Refused(Exchange { turn: self.turn, state }))
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
        Failure { error, partial: partial.map(|answer| Partial { reply: answer.reply, token: answer.token }) }
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

/// What all states of an exchange know.
struct Turn {
    core: Arc<Core>,
    /// The token to continue, less what was trimmed of it; none at the first turn.
    base: Option<VerifiedToken>,
    claims: Claims,
    nonce: [u8; NONCE_BYTES],
    /// The lines to put after the base's own: the input, then the reply.
    lines: String,
    /// The items of base and lines.
    items: usize,
    trimmed_items: usize,
    dialect: &'static dyn Dialect,
    upstream: String,
    stream: bool,
}

impl Turn {
    /// Sees to it that the reply will find its reserved room, before the model is called.
    fn make_room(&mut self, history: &mut History, truncation: Truncation, codec: &mut Codec) -> Result<(), Error> {
        // How short it is of bytes is an estimate where frames compress unevenly: after trimming, look again.
        while let Some(shortage) = self.shortage() {
            let trimmed_items = match truncation {
                Truncation::Refuse => None,
                Truncation::Oldest => history.trim_oldest(shortage.bytes, shortage.items),
            };
            let trimmed_items = trimmed_items.ok_or(Error::HistoryTooLarge(shortage.excess))?;
            // The input is the last turn, and stays: what goes is the base's.
            self.base = match self.base.take() {
                Some(base) => base.without_oldest(trimmed_items, &self.core.limits, codec)?,
                None => None,
            };
            self.items = history.items().len();
            self.trimmed_items = self.trimmed_items.saturating_add(trimmed_items);
        }
        Ok(())
    }

    /// What the conversation would have to lose for the reply's room; `None` if the room is there.
    fn shortage(&self) -> Option<Shortage> {
        let limits = &self.core.limits;
        let reserve = limits.reply_reserve_bytes.min(limits.reply_bytes);
        let wanted = self.lines.len().saturating_add(reserve);
        let bytes = wanted.saturating_sub(token::room_bytes(self.base.as_ref(), self.core.terms()));
        // A reply is one item at least.
        let wanted_items = self.items.saturating_add(1);
        let items = wanted_items.saturating_sub(limits.history_items);
        if bytes == 0 && items == 0 {
            return None;
        }
        let actual = self.base.as_ref().map_or(0, |base| base.history_lines().len()).saturating_add(wanted);
        let in_bytes = || Excess { actual, limit: actual.saturating_sub(bytes), unit: "bytes" };
        let excess = Excess::items(wanted_items, limits.history_items).unwrap_or_else(in_bytes);
        Some(Shortage { bytes, items, excess })
    }

    /// The most bytes of lines that surely can still be added.
    fn room(&self) -> usize {
        token::room_bytes(self.base.as_ref(), self.core.terms()).saturating_sub(self.lines.len())
    }

    fn reply_room(&self) -> usize {
        self.room().min(self.core.limits.reply_bytes)
    }

    fn items_room(&self) -> usize {
        self.core.limits.history_items.saturating_sub(self.items)
    }

    fn issue(
        mut self,
        text: &str,
        output: Vec<Item>,
        usage: Usage,
        finish: FinishReason,
        elapsed: Duration,
        codec: &mut Codec,
    ) -> Result<Answer, Error> {
        output.iter().for_each(|item| item.write_line(&mut self.lines));
        self.claims.add_usage(usage, u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX));
        let terms = self.core.terms();
        let issued = token::issue(&self.claims, self.base.as_ref(), &self.lines, terms, &self.nonce, codec)?;
        let conversation = Conversation {
            claims: self.claims,
            history_bytes: issued.history_bytes,
            token_bytes: issued.token.len(),
            trimmed_items: self.trimmed_items,
        };
        Ok(Answer { reply: text.to_owned(), output, token: issued.token, conversation, usage, finish })
    }
}

/// By how much a conversation is too long.
struct Shortage {
    bytes: usize,
    items: usize,
    excess: Excess,
}

fn claims(
    base: Option<&VerifiedToken>,
    caller: Option<Caller>,
    alias: String,
    now: UnixSeconds,
    entropy: &Entropy,
    policy: &TokenPolicy,
) -> Result<Claims, Error> {
    let token_id = Id::new(now, entropy.token_id);
    let claims = match (base, caller) {
        (Some(base), _) => base.claims().next(alias, token_id, now, policy),
        (None, caller) => {
            let principal = match caller {
                Some(Caller::Known(principal)) => principal,
                _ => Principal::anonymous(entropy.user),
            };
            Claims::first(principal, alias, [Id::new(now, entropy.conversation), token_id], now, policy)
        }
    };
    // A token that is born expired would lose the turn it was paid with.
    if claims.expires_at > now.max(claims.born_at) {
        Ok(claims)
    } else {
        Err(Error::TokenExpired { expires_at: claims.expires_at, now })
    }
}

/// The wait that a `Retry-After` header asks for (RFC 9110 §10.2.3), in seconds; dates are not read.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds: u64 = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds).min(RETRY_MOST))
}

/// As much of an error body as is read.
const REFUSAL_BYTES: usize = 64 << 10;
/// The longest wait that is passed on.
const RETRY_MOST: Duration = Duration::from_secs(3_600);
