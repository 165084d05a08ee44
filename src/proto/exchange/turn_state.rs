//! The data that all states of an exchange share, and the content of the model call.

use std::sync::Arc;

use bytes::Bytes;
use http::{Request, response};

use crate::proto::{
    chat::{History, Item},
    deployment::{Deployment, Model, Target},
    error::{Error, Excess},
    json,
    key::{KeyedHasher, TAG_BYTES},
    provider::{ModelCall, ReplyBounds, ReplyReader},
    secrets::{MIN_SECRET_CHARS, without_secrets},
    time::UnixSeconds,
    token::{self, Claims, Codec, Id, NONCE_BYTES, PackedToken, VerifiedToken},
    turn::{Answer, Conversation, FinishReason, ModelOptions, Truncation, TurnRequest},
    usage::{Images, Spent},
};

/// The content of the model call: everything except the target.
pub(super) struct Plan {
    pub(super) model: Model,
    /// The history, followed by the new input.
    pub(super) history: History,
    pub(super) system: Option<String>,
    pub(super) options: ModelOptions,
    pub(super) truncation: Truncation,
}

impl Plan {
    /// The call of the model at `target`. The same target always gets the same call.
    pub(super) fn call<'a>(&'a self, target: &'a Target, stream: bool) -> ModelCall<'a> {
        ModelCall {
            model: &target.name,
            provider_id: &target.provider_id,
            profile: target.profile,
            prompt_cache: target.prompt_cache,
            system: self.system.as_deref(),
            items: self.history.items(),
            options: &self.options,
            stream,
        }
    }
}

/// The token of a request, as the guard needs it to check revocation and single use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PresentedToken {
    /// The id of the token.
    pub token_id: Id,
    /// The time of its issue.
    pub issued_at: UnixSeconds,
    /// The latest time at which the token can be valid, under any settings; without the leeway.
    pub expires_at: UnixSeconds,
    /// The first 16 bytes of a hash of the parsed request without its token: the input as the
    /// client sent it, with what it repeats of the conversation, the model and the options. The tag
    /// of the token is the key of the hash. Only equal requests have equal hashes, and the hash
    /// says nothing about the request to anyone who does not have the token.
    pub request: [u8; 16],
}

impl PresentedToken {
    pub(super) fn new(token: &PackedToken, request: &TurnRequest) -> Self {
        let hash = request_hash(token.keyed_hash(), request);
        let claims = token.claims();
        let request = hash.first_chunk().copied().unwrap_or_default();
        Self { token_id: claims.token_id, issued_at: claims.issued_at, expires_at: claims.expires_at, request }
    }
}

/// Hashes everything in a request that changes its answer. The way of the answer to the client does
/// not: a client that lost a stream may ask for one document.
fn request_hash(mut hasher: KeyedHasher, request: &TurnRequest) -> [u8; TAG_BYTES] {
    hasher.update(request.settings_json().as_bytes());
    let mut line = String::new();
    for item in &request.input {
        line.clear();
        item.write_line(&mut line);
        hasher.update(line.as_bytes());
    }
    hasher.finish()
}

/// The data that all states of an exchange share.
pub(super) struct TurnState {
    pub(super) deployment: Arc<Deployment>,
    /// The token to continue, without the items that were trimmed. None for the first turn, and
    /// before [`Exchange::plan`](super::Exchange::plan).
    pub(super) base: Option<VerifiedToken>,
    /// The same token as the client presented it.
    pub(super) presented: Option<PresentedToken>,
    /// True if the model accepts history of clients.
    pub(super) accepts_client_history: bool,
    /// True if the request has no token and brings earlier replies of the model itself.
    pub(super) brings_history: bool,
    /// The claims of the token to issue.
    pub(super) claims: Claims,
    pub(super) nonce: [u8; NONCE_BYTES],
    /// The item lines to append to the base: the input, then the reply.
    pub(super) new_lines: String,
    /// The number of items in the base and in the new lines.
    pub(super) item_count: usize,
    pub(super) trimmed_items: usize,
    pub(super) summarized_items: usize,
    pub(super) elided_images: usize,
    /// The images that the request has.
    pub(super) images: Images,
    /// The current target.
    pub(super) target: Target,
    /// The number of the model's targets after the current one.
    pub(super) fallbacks_left: usize,
    /// The names of the options that the operator's ceilings lowered.
    pub(super) lowered: Vec<String>,
    /// True if the client wants the reply as a stream.
    pub(super) stream: bool,
    /// True if the client is shown nothing before the reply is complete.
    pub(super) buffered: bool,
}

impl TurnState {
    /// A turn without a token and without input.
    pub(super) fn new(deployment: Arc<Deployment>, claims: Claims, model: &Model, nonce: [u8; NONCE_BYTES]) -> Self {
        Self {
            deployment,
            base: None,
            presented: None,
            accepts_client_history: model.accepts_client_history,
            brings_history: false,
            claims,
            nonce,
            new_lines: String::new(),
            item_count: 0,
            trimmed_items: 0,
            summarized_items: 0,
            elided_images: 0,
            images: Images::default(),
            target: model.target.clone(),
            fallbacks_left: model.fallbacks.len(),
            lowered: Vec::new(),
            stream: false,
            buffered: true,
        }
    }

    /// Selects the next target for which `write` can write a request. Returns the request, or
    /// `None` if no target is left.
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

    /// Accepts the head of a side call's answer, or returns the error that the answer means.
    pub(super) fn check_side_answer(&self, head: &response::Parts, body: &[u8], request: &[u8]) -> Result<(), Error> {
        let status = head.status;
        if status.is_success() {
            Ok(())
        } else if status.is_client_error() || status.is_server_error() {
            Err(self.error_from_answer(head, body, request))
        } else {
            Err(Error::malformed(format!("unexpected status {status}")))
        }
    }

    /// A reader for the body of one successful reply of the current target.
    pub(super) fn reply_reader(&self, head: &response::Parts, bounds: ReplyBounds) -> Box<dyn ReplyReader> {
        self.target.provider.reply_reader(head, bounds, &self.target.profile)
    }

    /// The error that an answer of the current target with a 4xx or 5xx status means.
    pub(super) fn error_from_answer(&self, head: &response::Parts, body: &[u8], request: &[u8]) -> Error {
        self.shown_error(self.target.provider.error_from_answer(head, body, &self.target.profile, request), request)
    }

    /// The error as the caller and the log may see it: without the operator's keys and prompts. The
    /// upstream's words are also short. `request` is the body of the request that the error is
    /// about.
    pub(super) fn shown_error(&self, mut error: Error, request: &[u8]) -> Error {
        let Deployment { models, upstream_keys, .. } = &*self.deployment;
        let secrets = [&upstream_keys.stretches, &models.prompts];
        match &mut error {
            Error::UpstreamRefused { message, .. } => {
                let model = models.find(Some(&self.claims.model)).ok().map(|(model, _)| model);
                let words = message.take().filter(|_| model.is_some_and(|model| model.shows_upstream_words));
                *message = words.map(|words| {
                    let prompt = model.and_then(|model| model.system_prompt.as_deref());
                    let words = without_secrets(&words, &secrets, &without_prompt(request, prompt));
                    words.chars().take(MAX_WORDS_CHARS).collect()
                });
            }
            Error::UpstreamAccount { cause }
            | Error::UpstreamMalformed { cause, .. }
            | Error::UpstreamOutput { cause }
            | Error::UpstreamUnavailable { cause, .. } => {
                *cause = without_secrets(cause, &secrets, &[]).into_owned();
            }
            _ => {}
        }
        error
    }

    /// The number of items in the base token.
    pub(super) fn base_items(&self) -> usize {
        self.base.as_ref().map_or(0, |base| base.items())
    }

    /// The amount by which the conversation is too long to leave room for the reply. `None` if
    /// there is enough room.
    pub(super) fn overrun(&self) -> Option<Overrun> {
        let limits = &self.deployment.limits;
        let reserve = limits.reply_reserve_bytes.min(limits.reply_bytes);
        let wanted_bytes = self.new_lines.len().saturating_add(reserve);
        let bytes = wanted_bytes.saturating_sub(self.room_after_base());
        // A reply has at least one item.
        let wanted_items = self.item_count.saturating_add(1);
        let items = wanted_items.saturating_sub(limits.history_items);
        if bytes == 0 && items == 0 {
            return None;
        }
        let base_bytes = self.base.as_ref().map_or(0, |base| base.history_lines().len());
        let actual = base_bytes.saturating_add(wanted_bytes);
        let in_bytes = || Excess { actual, limit: actual.saturating_sub(bytes), unit: "bytes" };
        let excess = Excess::items(wanted_items, limits.history_items).unwrap_or_else(in_bytes);
        Some(Overrun { bytes, items, excess })
    }

    /// The bytes of lines that always fit after the base, even if they do not compress.
    fn room_after_base(&self) -> usize {
        token::room_bytes(self.base.as_ref(), self.deployment.token_context())
    }

    /// The most bytes of lines that the reply may add.
    pub(super) fn reply_bytes_left(&self) -> usize {
        let room = self.room_after_base().saturating_sub(self.new_lines.len());
        room.min(self.deployment.limits.reply_bytes)
    }

    /// The most items that the reply may add.
    pub(super) fn items_left(&self) -> usize {
        self.deployment.limits.history_items.saturating_sub(self.item_count)
    }

    /// The bytes of the inflated history and the input.
    pub(super) fn history_bytes(&self) -> usize {
        let base_bytes = self.base.as_ref().map_or(0, |base| base.history_lines().len());
        base_bytes.saturating_add(self.new_lines.len())
    }

    /// Issues the fresh token. `spent` is what all calls for the turn have cost.
    pub(super) fn issue(
        mut self,
        text: &str,
        output: Vec<Item>,
        finish: FinishReason,
        spent: Spent,
        codec: &mut Codec,
    ) -> Result<Answer, Error> {
        output.iter().for_each(|item| item.write_line(&mut self.new_lines));
        self.claims.add_usage(spent.usage, u64::try_from(spent.elapsed.as_millis()).unwrap_or(u64::MAX));
        let context = self.deployment.token_context();
        let issued = token::issue(&self.claims, self.base.as_ref(), &self.new_lines, context, &self.nonce, codec)?;
        let conversation = Conversation {
            claims: self.claims,
            history_bytes: issued.history_bytes,
            token_bytes: issued.token.len(),
            trimmed_items: self.trimmed_items,
            summarized_items: self.summarized_items,
            elided_images: self.elided_images,
        };
        Ok(Answer {
            reply: text.to_owned(),
            output,
            token: issued.token,
            conversation,
            usage: spent.usage,
            finish,
            stop_sequence: None,
            elapsed: spent.elapsed,
        })
    }
}

/// The amount by which a conversation is too long.
pub(super) struct Overrun {
    pub(super) bytes: usize,
    pub(super) items: usize,
    /// The same for the error message.
    pub(super) excess: Excess,
}

/// A request's body without the operator's prompt, in pieces. The rest is the caller's.
fn without_prompt<'a>(request: &'a [u8], prompt: Option<&str>) -> Vec<&'a str> {
    let request = str::from_utf8(request).unwrap_or_default();
    let prompt = prompt.map(str::trim_end).filter(|prompt| prompt.len() >= MIN_SECRET_CHARS);
    let split = prompt.and_then(|prompt| request.split_once(&json::escaped(prompt)));
    split.map_or_else(|| vec![request], |(before, after)| vec![before, after])
}

/// The most characters of an upstream's words that a caller sees.
const MAX_WORDS_CHARS: usize = 300;
