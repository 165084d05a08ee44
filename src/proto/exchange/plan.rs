//! What a turn is made of: the token it continues, what the model is to be asked, and the room for a reply.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::Request;

use super::{Caller, Entropy};
use crate::proto::{
    chat::{History, Item, without_inline_images},
    deployment::{Deployment, Model, Target},
    error::{Error, Excess},
    principal::Principal,
    provider::ModelCall,
    time::UnixSeconds,
    token::{self, Claims, Codec, Id, NONCE_BYTES, RawToken, TokenHolder, TokenPolicy, TokenPurpose, VerifiedToken},
    turn::{Answer, Conversation, FinishReason, ModelOptions, Truncation, TurnRequest, Usage},
};

/// What the model is to be asked.
pub(super) struct Plan {
    pub(super) model: Model,
    /// The history with the new input at its end.
    pub(super) history: History,
    pub(super) system: Option<String>,
    pub(super) options: ModelOptions,
    pub(super) truncation: Truncation,
}

impl Plan {
    /// The call of the model at `target`, the same for the same target each time.
    pub(super) fn call<'a>(&'a self, target: &'a Target, stream: bool) -> ModelCall<'a> {
        ModelCall {
            model: &target.name,
            provider_id: &target.provider_id,
            prompt_cache: target.prompt_cache,
            system: self.system.as_deref(),
            items: self.history.items(),
            options: &self.options,
            stream,
        }
    }
}

/// Verifies the token, and joins history and input.
pub(super) fn prepare(
    deployment: Arc<Deployment>,
    request: TurnRequest,
    caller: &Caller,
    now: UnixSeconds,
    entropy: &Entropy,
    codec: &mut Codec,
) -> Result<(TurnState, Plan), Error> {
    let holder = caller.holder(request.token.is_some())?;
    let base = match (&request.token, &holder) {
        (Some(token), Some(holder)) => {
            Some(RawToken::new(token, &deployment.limits)?.authenticate(deployment.token_context(), codec)?.verify(
                holder,
                TokenPurpose::Continue,
                &deployment.policy,
                now,
            )?)
        }
        _ => None,
    };
    let mut history = base.as_ref().map_or_else(|| Ok(History::default()), VerifiedToken::history)?;
    let alias = request.model.as_deref().or_else(|| base.as_ref().map(|base| base.claims().model.as_str()));
    let (model, alias) = deployment.models.find(alias)?;
    let (model, alias) = (model.clone(), alias.to_owned());
    let claims = claims(base.as_ref(), holder, alias, now, entropy, &deployment.policy)?;
    let system = system_prompt(request.system, &model)?;

    let input = new_input(request.input, &history, base.as_ref(), &deployment)?;
    let presented = base.as_ref().map(|base| PresentedToken::new(base, &input));
    let (lines, elided_images) = lines(&input, deployment.elides_inline_images);
    history.push_input(input, deployment.accepts_client_history, &deployment.limits)?;
    let mut options = request.options;
    options.max_output_tokens = options.max_output_tokens.or(model.max_output_tokens);
    let turn = TurnState {
        deployment,
        base,
        presented,
        claims,
        nonce: entropy.nonce,
        lines,
        items: history.items().len(),
        trimmed_items: 0,
        summarized_items: 0,
        elided_images,
        summary_usage: Usage::default(),
        target: model.target.clone(),
        fallbacks_left: model.fallbacks.len(),
        stream: request.stream,
        holds: !request.stream,
    };
    let truncation = request.truncation.unwrap_or(model.truncation);
    Ok((turn, Plan { model, history, system, options, truncation }))
}

/// The system prompt of this turn: the operator's, or the client's where there is none.
fn system_prompt(asked: Option<String>, model: &Model) -> Result<Option<String>, Error> {
    match (&model.system_prompt, asked) {
        (Some(_), Some(_)) => Err(Error::RoleForbidden { role: "system".to_owned() }),
        (Some(own), None) => Ok(Some(own.clone())),
        (None, asked) => Ok(asked),
    }
}

fn new_input(
    input: Vec<Item>,
    history: &History,
    base: Option<&VerifiedToken>,
    deployment: &Deployment,
) -> Result<Vec<Item>, Error> {
    let turns = base.map_or(0, |base| base.claims().turn);
    if !deployment.accepts_client_history {
        return history.without_echo(input, turns);
    }
    // What the model never said is then taken as said. A repetition that differs in the user's words is still refused:
    // taken as new, it would double the conversation.
    match history.without_echo(input.clone(), turns) {
        Err(Error::RoleForbidden { .. }) => Ok(input),
        new => new,
    }
}

/// The lines that are to stand for the input, and how many inline images they leave out.
fn lines(input: &[Item], elides_inline_images: bool) -> (String, usize) {
    let (mut lines, mut elided) = (String::new(), 0_usize);
    for item in input {
        if elides_inline_images {
            let (item, images) = without_inline_images(item);
            item.write_line(&mut lines);
            elided = elided.saturating_add(images);
        } else {
            item.write_line(&mut lines);
        }
    }
    (lines, elided)
}

/// The token that a request came with, as far as it matters whether it was used before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PresentedToken {
    /// Its id.
    pub token_id: Id,
    /// When it was issued.
    pub issued_at: UnixSeconds,
    /// When it stops being good at the latest, whatever the settings come to be; leeway not counted.
    pub expires_at: UnixSeconds,
    /// The start of a hash of the input that came with it, keyed by the token's tag: equal for an equal input alone, and
    /// telling nothing of it to who does not hold the token.
    pub input: [u8; 16],
}

impl PresentedToken {
    pub(super) fn new(token: &VerifiedToken, input: &[Item]) -> Self {
        let mut lines = String::new();
        input.iter().for_each(|item| item.write_line(&mut lines));
        let mut start = [0; 16];
        start.iter_mut().zip(token.keyed_hash(&lines)).for_each(|(to, from)| *to = from);
        let claims = token.claims();
        Self { token_id: claims.token_id, issued_at: claims.issued_at, expires_at: claims.expires_at, input: start }
    }
}

/// What all states of an exchange know.
pub(super) struct TurnState {
    pub(super) deployment: Arc<Deployment>,
    /// The token to continue, less what was trimmed of it; none at the first turn.
    pub(super) base: Option<VerifiedToken>,
    /// The same as it was presented.
    pub(super) presented: Option<PresentedToken>,
    pub(super) claims: Claims,
    pub(super) nonce: [u8; NONCE_BYTES],
    /// The lines to put after the base's own: the input, then the reply.
    pub(super) lines: String,
    /// The items of base and lines.
    pub(super) items: usize,
    pub(super) trimmed_items: usize,
    pub(super) summarized_items: usize,
    pub(super) elided_images: usize,
    /// What a summary has used; the reply's own comes on top.
    pub(super) summary_usage: Usage,
    /// Where the model is asked.
    pub(super) target: Target,
    /// How many of the model's targets come after it.
    pub(super) fallbacks_left: usize,
    pub(super) stream: bool,
    /// Whether the client is shown nothing before the reply's end.
    pub(super) holds: bool,
}

impl TurnState {
    /// Turns to the next target that can say what is asked, and says it by `write`; `None` if there is none.
    pub(super) fn next_target(
        &mut self,
        model: &Model,
        write: impl Fn(&Target) -> Result<Request<Bytes>, Error>,
    ) -> Option<Request<Bytes>> {
        let first = model.fallbacks.len().saturating_sub(self.fallbacks_left);
        for target in model.fallbacks.iter().skip(first) {
            self.fallbacks_left = self.fallbacks_left.saturating_sub(1);
            if let Ok(request) = write(target) {
                self.target = target.clone();
                return Some(request);
            }
        }
        None
    }

    /// Sees to it that the reply will find its reserved room, before the model is called.
    pub(super) fn make_room(&mut self, plan: &mut Plan, codec: &mut Codec) -> Result<Room, Error> {
        // How short it is of bytes is an estimate where frames compress unevenly: after trimming, look again, and for
        // more each time, since every look compresses what is left anew; but for no more than a small part of a token.
        let mut least_bytes = 0_usize;
        let step_most = self.deployment.limits.token_bytes.min(self.deployment.limits.history_bytes) / 32;
        while let Some(shortage) = self.shortage() {
            let trimmed_items = match plan.truncation {
                Truncation::Refuse => None,
                Truncation::Oldest => {
                    let bytes = shortage.bytes.max(least_bytes);
                    least_bytes = bytes.saturating_mul(2).min(step_most);
                    // The input is the last turn, and stays: what goes is the base's.
                    let oldest = |bytes| {
                        let items = plan.history.oldest_turns(bytes, shortage.items);
                        items.filter(|items| *items <= self.base_items())
                    };
                    oldest(bytes).or_else(|| oldest(shortage.bytes))
                }
                Truncation::Summarize => {
                    return items_to_summarize(self, &plan.history, &shortage)
                        .map(|items| Room::Summarize { items })
                        .ok_or(Error::HistoryTooLarge(shortage.excess));
                }
            };
            let trimmed_items = trimmed_items.ok_or(Error::HistoryTooLarge(shortage.excess))?;
            plan.history.drop_oldest(trimmed_items);
            self.base = match self.base.take() {
                Some(base) => base.without_oldest(trimmed_items, &self.deployment.limits, codec)?,
                None => None,
            };
            self.items = plan.history.items().len();
            self.trimmed_items = self.trimmed_items.saturating_add(trimmed_items);
        }
        Ok(Room::Found)
    }

    /// The items of the token that is continued.
    pub(super) fn base_items(&self) -> usize {
        self.base.as_ref().map_or(0, |base| base.items())
    }

    /// What the conversation would have to lose for the reply's room; `None` if the room is there.
    pub(super) fn shortage(&self) -> Option<Shortage> {
        let limits = &self.deployment.limits;
        let reserve = limits.reply_reserve_bytes.min(limits.reply_bytes);
        let wanted = self.lines.len().saturating_add(reserve);
        let bytes = wanted.saturating_sub(token::room_bytes(self.base.as_ref(), self.deployment.token_context()));
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
    pub(super) fn room(&self) -> usize {
        token::room_bytes(self.base.as_ref(), self.deployment.token_context()).saturating_sub(self.lines.len())
    }

    pub(super) fn reply_room(&self) -> usize {
        self.room().min(self.deployment.limits.reply_bytes)
    }

    pub(super) fn items_room(&self) -> usize {
        self.deployment.limits.history_items.saturating_sub(self.items)
    }

    /// What the turn has used with a reply that came this far.
    pub(super) fn spent(&self, usage: Usage, reply_bytes: usize) -> TurnUsage {
        let base = self.base.as_ref().map_or("", |base| base.history_lines());
        let text_bytes = words(base).saturating_add(words(&self.lines)).saturating_add(reply_bytes);
        TurnUsage {
            usage: self.summary_usage.plus(usage),
            estimated_tokens: u64::try_from(text_bytes.div_ceil(4)).unwrap_or(u64::MAX),
            history_bytes: base.len().saturating_add(self.lines.len()).saturating_add(reply_bytes),
        }
    }

    pub(super) fn issue(
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
        let context = self.deployment.token_context();
        let issued = token::issue(&self.claims, self.base.as_ref(), &self.lines, context, &self.nonce, codec)?;
        let conversation = Conversation {
            claims: self.claims,
            history_bytes: issued.history_bytes,
            token_bytes: issued.token.len(),
            trimmed_items: self.trimmed_items,
            summarized_items: self.summarized_items,
            elided_images: self.elided_images,
        };
        let usage = self.summary_usage.plus(usage);
        Ok(Answer { reply: text.to_owned(), output, token: issued.token, conversation, usage, finish, elapsed })
    }
}

/// What a turn has used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TurnUsage {
    /// The model tokens that the upstream has told of. Some tell none, most only at the end.
    pub usage: Usage,
    /// About how many there were, in and out: four bytes of text each, as is common for English.
    pub estimated_tokens: u64,
    /// The inflated history with the input, and the text of the reply so far.
    pub history_bytes: usize,
}

/// How many of the oldest items a summary should stand for: half of the conversation, so that not every turn asks for
/// one, or as much as there is; `None` if even that gives too little room.
pub(super) fn items_to_summarize(turn: &TurnState, history: &History, shortage: &Shortage) -> Option<usize> {
    // At worst every byte of the summary is written as six.
    let room_for_summary = SUMMARY_BYTES.saturating_mul(2);
    let needed = shortage.bytes.saturating_add(room_for_summary);
    let half = turn.base.as_ref().map_or(0, |base| base.history_lines().len()) / 2;
    let items = shortage.items.saturating_add(1);
    let oldest = |bytes| history.oldest_turns(bytes, items).filter(|items| *items <= turn.base_items());
    oldest(needed.max(half)).or_else(|| oldest(needed)).or_else(|| oldest(shortage.bytes))
}

/// The bytes of item lines, less those of their inline images.
fn words(lines: &str) -> usize {
    // Within a text, quotation marks are escaped.
    let images = lines.split(INLINE_IMAGE).skip(1).map(|rest| rest.find('"').unwrap_or(rest.len()));
    lines.len().saturating_sub(images.fold(0, usize::saturating_add))
}

/// As much of a summary as is kept.
pub(super) const SUMMARY_BYTES: usize = 6 << 10;

/// How an inline image begins in an item's line.
const INLINE_IMAGE: &str = "\"image\":\"data:";

/// By how much a conversation is too long.
pub(super) struct Shortage {
    pub(super) bytes: usize,
    pub(super) items: usize,
    pub(super) excess: Excess,
}

/// What came of looking for room.
pub(super) enum Room {
    /// It is there.
    Found,
    /// Once a summary stands for the oldest `items`, it will be.
    Summarize { items: usize },
}

fn claims(
    base: Option<&VerifiedToken>,
    holder: Option<TokenHolder>,
    alias: String,
    now: UnixSeconds,
    entropy: &Entropy,
    policy: &TokenPolicy,
) -> Result<Claims, Error> {
    let token_id = Id::new(now, entropy.token_id);
    let claims = match (base, holder) {
        (Some(base), _) => base.claims().next(alias, token_id, now, policy),
        (None, holder) => {
            let principal = match holder {
                Some(TokenHolder::Known(principal)) => principal,
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
