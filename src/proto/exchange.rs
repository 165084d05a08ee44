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

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, Request, header::RETRY_AFTER, response};

use super::{
    chat::{History, Item, Part, Role, Usage},
    dialect::{
        Delta, Dialect, FinishReason, ModelCall, ReplyBounds, ReplyReader,
        door::{Answer, Conversation, Partial, Truncation, TurnRequest},
    },
    error::{Error, Excess},
    key::KeyRing,
    limits::Limits,
    principal::{ANONYMOUS_PREFIX, IDP_NONE, Principal},
    time::UnixSeconds,
    token::{self, Caller, Claims, Codec, Id, NONCE_BYTES, Purpose, RawToken, Terms, TokenPolicy, VerifiedToken},
};

/// What a deployment is, as far as turns are concerned; equal on all instances.
#[derive(Debug)]
pub struct Core {
    /// The keys of tokens.
    pub keys: KeyRing,
    /// The terms of tokens.
    pub policy: TokenPolicy,
    /// The bounds.
    pub limits: Limits,
    /// The models that clients may choose from.
    pub models: Models,
}

impl Core {
    /// The terms under which tokens are issued and verified.
    #[must_use]
    pub fn terms(&self) -> Terms<'_> {
        Terms { keys: &self.keys, policy: &self.policy, limits: &self.limits }
    }

    /// Reads a token's history for its owner; an expired one too, until the conversation's greatest age.
    ///
    /// # Errors
    /// As for a turn's token.
    pub fn read_history(
        &self,
        token: &str,
        asker: &Asker,
        now: UnixSeconds,
        codec: &mut Codec,
    ) -> Result<(Vec<Item>, Conversation), Error> {
        let caller = asker.caller(true)?.ok_or_else(|| Error::internal("a bearer without a token"))?;
        let verified = RawToken::new(token, &self.limits)?.authenticate(self.terms(), codec)?.verify(
            &caller,
            Purpose::Read,
            &self.policy,
            now,
        )?;
        let conversation = Conversation {
            claims: verified.claims().clone(),
            history_bytes: verified.history_lines().len(),
            token_bytes: token.len(),
            trimmed_items: 0,
        };
        Ok((verified.history()?.items().to_vec(), conversation))
    }
}

/// The aliases that clients may choose from, each with what stands behind it.
#[derive(Debug)]
pub struct Models(Vec<Model>);

impl Models {
    /// These models; the first is the default, an alias `*` catches what no other has.
    ///
    /// `None` for no model at all.
    #[must_use]
    pub fn new(models: Vec<Model>) -> Option<Self> {
        (!models.is_empty()).then_some(Self(models))
    }

    /// The models, in order.
    #[must_use]
    pub fn as_slice(&self) -> &[Model] {
        &self.0
    }

    /// The model that an alias stands for, and the alias; the first model if none is named.
    fn find<'a>(&'a self, alias: Option<&'a str>) -> Result<(&'a Model, &'a str), Error> {
        let model = match alias {
            None => self.0.first(),
            Some(alias) => {
                let exact = self.0.iter().find(|model| model.alias == alias && alias != CATCH_ALL);
                exact.or_else(|| self.0.iter().find(|model| model.alias == CATCH_ALL))
            }
        };
        let model = model.filter(|_| alias.is_none_or(|alias| alias.len() <= ALIAS_BYTES)).ok_or_else(|| {
            let known = self.0.iter().map(|model| model.alias.clone()).collect();
            Error::ModelUnknown { alias: alias.unwrap_or_default().chars().take(64).collect(), known }
        })?;
        Ok((model, alias.unwrap_or(&model.alias)))
    }
}

/// What stands behind an alias.
#[derive(Clone)]
pub struct Model {
    /// What clients call it.
    pub alias: String,
    /// The name of the upstream that serves it.
    pub upstream: String,
    /// How that upstream speaks.
    pub dialect: &'static dyn Dialect,
    /// What that upstream calls it.
    pub name: String,
    /// The system prompt, applied anew each turn.
    pub system_prompt: Option<String>,
    /// The bound on a reply's model tokens where the caller sets none.
    pub max_output_tokens: Option<u32>,
}

impl std::fmt::Debug for Model {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} → {} {} at {}", self.alias, self.dialect.name(), self.name, self.upstream)
    }
}

/// Who asks, before any token was looked at: what the identity rules found, and what the request claims.
#[derive(Clone, Debug)]
pub enum Asker {
    /// Nobody vouches for the caller; the user is who the request names, or nobody.
    Unvouched {
        /// The user that the request names.
        user_id: Option<String>,
    },
    /// The identity rules named the caller.
    Vouched {
        /// The caller.
        principal: Principal,
        /// The user that the request names; it can only be the same.
        user_id: Option<String>,
    },
}

impl Asker {
    /// Whose token may be presented; `None` for a new anonymous user.
    fn caller(&self, has_token: bool) -> Result<Option<Caller>, Error> {
        match self {
            Self::Vouched { principal, user_id } => match user_id {
                Some(user_id) if user_id != principal.subject() => {
                    Err(Error::invalid("`user_id` names another user than the credential; leave it out"))
                }
                _ => Ok(Some(Caller::Known(principal.clone()))),
            },
            Self::Unvouched { user_id: Some(user_id) } => {
                if user_id.starts_with(ANONYMOUS_PREFIX) && !has_token {
                    return Err(Error::invalid("an anonymous user is named by its token alone; leave `user_id` out"));
                }
                let principal = Principal::new(user_id.as_str(), IDP_NONE)
                    .map_err(|fault| Error::invalid(format!("`user_id`: {fault}")))?;
                Ok(Some(Caller::Known(principal)))
            }
            Self::Unvouched { user_id: None } => Ok(has_token.then_some(Caller::Bearer)),
        }
    }
}

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
        if self.state.reply.full { Ok(()) } else { outcome }
    }

    /// Whether the reply has come to its end, by the upstream's word or for want of room.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.state.reply.full || self.state.reader.is_complete()
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
        if !self.state.reply.full {
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

/// The reply so far, in neutral items, kept within its room.
struct Reply {
    items: Vec<Item>,
    /// The message that is being written, not yet among the items.
    open: String,
    text: String,
    /// The bytes of lines that may still be added.
    room: usize,
    items_room: usize,
    /// Something had to be left out.
    full: bool,
    usage: Usage,
    finish: Option<FinishReason>,
}

impl Reply {
    fn new(room: usize, items_room: usize) -> Self {
        // Every reply is one message at least, and that one may come to be marked cut.
        let message = message(String::new(), true).line_bytes();
        Self {
            items: Vec::new(),
            open: String::new(),
            text: String::new(),
            room: room.saturating_sub(message),
            items_room: items_room.saturating_sub(1),
            full: false,
            usage: Usage::default(),
            finish: None,
        }
    }

    /// Adds a delta as far as there is room; gives back what the client is to see of it.
    fn take(&mut self, delta: Delta) -> Option<Delta> {
        match delta {
            Delta::Finish(reason) => {
                self.finish = Some(reason);
                None
            }
            Delta::Usage(usage) => {
                self.usage = usage;
                None
            }
            _ if self.full => None,
            Delta::Text(text) => self.take_text(text).map(Delta::Text),
            Delta::Call { id, name, args } => self.take_call(id, name, args),
        }
    }

    fn take_text(&mut self, mut text: String) -> Option<String> {
        let mut left = self.room;
        let fits = text.char_indices().find_map(|(at, character)| match left.checked_sub(json_bytes(character)) {
            Some(rest) => {
                left = rest;
                None
            }
            None => Some(at),
        });
        if let Some(end) = fits {
            text.truncate(end);
            self.full = true;
        }
        self.room = left;
        self.open.push_str(&text);
        self.text.push_str(&text);
        (!text.is_empty()).then_some(text)
    }

    fn take_call(&mut self, id: String, name: String, args: String) -> Option<Delta> {
        let call = Item::Call { id: id.clone(), name: name.clone(), args: args.clone() };
        // Text after this call would begin a new message.
        let bytes = call.line_bytes().saturating_add(message(String::new(), true).line_bytes());
        match (self.room.checked_sub(bytes), self.items_room.checked_sub(2)) {
            (Some(room), Some(items_room)) => {
                (self.room, self.items_room) = (room, items_room);
                self.close_message();
                self.items.push(call);
                Some(Delta::Call { id, name, args })
            }
            _ => {
                self.full = true;
                None
            }
        }
    }

    fn close_message(&mut self) {
        if !self.open.is_empty() {
            self.items.push(message(std::mem::take(&mut self.open), false));
        }
    }

    fn has_text(&self) -> bool {
        !self.text.is_empty()
    }

    /// Why the reply ended; `None` if it did not.
    fn finish_reason(&self) -> Option<FinishReason> {
        let calls = self.items.iter().any(|item| matches!(item, Item::Call { .. }));
        match self.finish {
            _ if self.full => Some(FinishReason::Length),
            Some(FinishReason::Stop) if calls => Some(FinishReason::ToolCalls),
            finish => finish,
        }
    }

    /// The text, the items and the counts. A cut reply keeps its text alone: a call that nobody will answer would leave
    /// the conversation waiting.
    fn into_parts(mut self, cut: bool) -> (String, Vec<Item>, Usage) {
        if cut {
            self.items = vec![message(self.text.clone(), true)];
        } else {
            self.close_message();
            if self.items.is_empty() {
                self.items.push(message(String::new(), false));
            }
        }
        (self.text, self.items, self.usage)
    }
}

fn message(text: String, cut: bool) -> Item {
    Item::Message { role: Role::Assistant, parts: vec![Part::Text(text)], cut }
}

/// The bytes of a character inside a JSON string, as serde_json writes it.
fn json_bytes(character: char) -> usize {
    match character {
        '"' | '\\' | '\n' | '\r' | '\t' | '\u{8}' | '\u{c}' => 2,
        '\0'..='\u{1f}' => 6,
        _ => character.len_utf8(),
    }
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

/// The alias that catches what no other has.
const CATCH_ALL: &str = "*";
/// The longest alias, in bytes.
const ALIAS_BYTES: usize = 256;
/// As much of an error body as is read.
const REFUSAL_BYTES: usize = 64 << 10;
/// The longest wait that is passed on.
const RETRY_MOST: Duration = Duration::from_secs(3_600);
