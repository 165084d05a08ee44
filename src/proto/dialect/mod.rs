//! Wire formats, one file each, over the neutral items: a provider more is one file and one line here, a door more one
//! file and one line in [`door`].
//!
//! ```text
//!  items ──▶ Dialect::request ──▶ bytes to the upstream
//!  deltas ◀── ReplyReader::push ◀── bytes from the upstream
//! ```
//!
//! A dialect opens no socket and keeps nothing between replies. It writes the same items to the same bytes each time,
//! so that a provider's prompt cache hits turn after turn, and it reads a reply in pieces of any size: what it says
//! does not depend on where the network cut.
//!
//! In every request the messages are the last member, and what is written for an item never depends on an item of a
//! later turn. So the bytes of a turn, less what closes them, begin the bytes of the next. For that each reply must
//! have left at least one item, were it an empty message.
//!
//! What only one provider understands, its reasoning, goes to that provider alone: the one at the very address that it
//! came from ([`ModelCall::provider`]).

use std::{borrow::Cow, fmt, time::Duration};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, Uri, header, response};
use serde::Serialize;
use serde_json::{Number, value::RawValue};

use super::{
    chat::{Item, Usage},
    error::Error,
    withheld::Withheld,
};

mod anthropic;
mod builtin;
pub mod door;
mod list;
mod openai_chat;
mod openai_responses;
mod refusal;
mod reply;

pub use builtin::{answer as builtin_answer, content_type as builtin_content_type};

/// One format that upstreams speak.
pub trait Dialect: Sync {
    /// The name in configuration: `openai`, `openai-responses`, `anthropic`, `builtin`.
    fn name(&self) -> &'static str;

    /// The base URL used where none is configured, without a trailing slash.
    fn default_base_url(&self) -> &'static str;

    /// How the format is spoken at other addresses than [`Self::default_base_url`], if that differs.
    fn elsewhere(&self) -> Option<&'static dyn Dialect> {
        None
    }

    /// The request for one model call; its URI is a path to append to the upstream's base URL.
    ///
    /// Carries every header but the credential. The same call gives the same bytes.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for what the format cannot say.
    fn request(&self, call: &ModelCall<'_>) -> Result<Request<Bytes>, Error>;

    /// The header in which the operator's key travels, and its value's prefix.
    fn credential(&self) -> (HeaderName, &'static str);

    /// A reader for one successful (2xx) reply, streamed or whole as its head says.
    ///
    /// # Errors
    /// [`Error::UpstreamMalformed`] if the head announces neither form, an HTML page for instance.
    fn reply(&self, head: &response::Parts, bounds: ReplyBounds) -> Result<Box<dyn ReplyReader>, Error>;

    /// How many model tokens a call would send; an estimate where the format has no way to ask.
    ///
    /// # Errors
    /// As [`Self::request`].
    fn count(&self, call: &ModelCall<'_>) -> Result<TokenCount, Error> {
        Ok(TokenCount::Known(estimate(call)))
    }

    /// Reads the answer to what [`Self::count`] asked.
    ///
    /// # Errors
    /// [`Error::UpstreamMalformed`].
    fn counted(&self, _body: &[u8]) -> Result<u64, Error> {
        Err(Error::malformed("nothing was asked"))
    }

    /// What an answer with this 4xx or 5xx status amounts to; `retry_after` is the wait that its head asks for.
    fn refusal(&self, status: u16, retry_after: Option<Duration>, body: &[u8]) -> Error {
        refusal::from_answer(status, retry_after, body)
    }
}

/// How many model tokens a call would send.
#[derive(Debug)]
pub enum TokenCount {
    /// The provider is to be asked with this; its URI is a path to append to the upstream's base URL.
    Ask(Box<Request<Bytes>>),
    /// So many, or about so many.
    Known(u64),
}

/// Reads one reply, fed in pieces of any size.
pub trait ReplyReader: Send {
    /// Takes the next bytes and appends what they complete to `deltas`.
    ///
    /// # Errors
    /// [`Error::UpstreamMalformed`] for what the format does not allow or what passes [`ReplyBounds`];
    /// [`Error::UpstreamRefused`] or [`Error::UpstreamUnavailable`] for an error reported inside a stream. What was
    /// appended before stays good; after an error the reader must not be fed again.
    fn push(&mut self, bytes: &[u8], deltas: &mut Vec<Delta>) -> Result<(), Error>;

    /// Says that no byte follows, and appends what was still open.
    ///
    /// # Errors
    /// [`Error::UpstreamCut`] if the reply has not come to its end; else as [`Self::push`].
    fn finish(&mut self, deltas: &mut Vec<Delta>) -> Result<(), Error>;

    /// Whether the provider has said anything of a reply, were it nothing to be shown: reasoning, or that it begins.
    fn has_begun(&self) -> bool;

    /// Whether the reply has come to its end, so that the connection need not be read further.
    fn is_complete(&self) -> bool;
}

/// One streamed fragment of a reply.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Delta {
    /// A whole tool call; they come when complete, in the provider's order.
    Call {
        /// The id that the result will name.
        id: String,
        /// The tool's name.
        name: String,
        /// The arguments: JSON text as received.
        args: String,
    },
    /// Why the reply ended. Comes once, after all text and calls.
    Finish(FinishReason),
    /// A piece of text, never empty.
    Text(String),
    /// A whole piece of the provider's own reasoning.
    Think {
        /// The provider: the dialect's name, or that and `@host` ([`ModelCall::provider`]).
        by: String,
        /// JSON text as received.
        blob: String,
    },
    /// The counts so far; a later one replaces an earlier one.
    Usage(Usage),
}

impl fmt::Debug for Delta {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Call { args, .. } => f.debug_tuple("Call").field(&Withheld::text(args)).finish(),
            Self::Finish(reason) => f.debug_tuple("Finish").field(reason).finish(),
            Self::Text(text) => f.debug_tuple("Text").field(&Withheld::text(text)).finish(),
            Self::Think { by, blob } => f.debug_tuple("Think").field(by).field(&Withheld::text(blob)).finish(),
            Self::Usage(usage) => usage.fmt(f),
        }
    }
}

/// Why a reply ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename_all = "snake_case"))]
pub enum FinishReason {
    /// The provider withheld or stopped it.
    ContentFilter,
    /// A bound on length was reached.
    Length,
    /// The model was done.
    Stop,
    /// The model waits for tool results.
    ToolCalls,
}

impl FinishReason {
    /// The name in answers: `stop`, `length`, `tool_calls`, `content_filter`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ContentFilter => "content_filter",
            Self::Length => "length",
            Self::Stop => "stop",
            Self::ToolCalls => "tool_calls",
        }
    }
}

/// All that a model is to be asked.
#[derive(Clone, Copy)]
pub struct ModelCall<'a> {
    /// The provider's name for the model.
    pub model: &'a str,
    /// Who serves it: the dialect's name at its own address, that and `@host` elsewhere. Reasoning by others stays here.
    pub provider: &'a str,
    /// Whether to ask the provider to cache the prompt, where it wants to be asked.
    pub prompt_cache: bool,
    /// The system prompt for this turn.
    pub system: Option<&'a str>,
    /// The history with the new input at its end.
    pub items: &'a [Item],
    /// What the caller asked of the model.
    pub options: &'a ModelOptions,
    /// Whether the reply is to be streamed.
    pub stream: bool,
}

/// What a caller may ask of the model, beside the input.
///
/// A dialect leaves out the hints that its format has no word for ([`Self::seed`], [`Self::reasoning`], parallel calls
/// where allowed), and refuses what it cannot honour and would change the answer.
#[derive(Clone, Debug, Default)]
pub struct ModelOptions {
    /// The most model tokens to write.
    pub max_output_tokens: Option<u32>,
    /// Sampling temperature, 0 to 2, as written by the caller.
    pub temperature: Option<Number>,
    /// The share of the probability mass to sample from, 0 to 1, as written by the caller.
    pub top_p: Option<Number>,
    /// Texts that end the reply where they would come; none empty.
    pub stop: Vec<String>,
    /// A hint towards repeatable sampling.
    pub seed: Option<i64>,
    /// The form of the reply's text.
    pub format: ReplyFormat,
    /// A hint on how much to reason.
    pub reasoning: Reasoning,
    /// Whether several calls may come in one reply.
    pub parallel_calls: Option<bool>,
    /// The tools that the model may call.
    pub tools: Vec<Tool>,
    /// Whether it may, must or must not.
    pub tool_choice: Option<ToolChoice>,
}

/// The form of a reply's text.
#[derive(Clone, Debug, Default)]
pub enum ReplyFormat {
    /// Any JSON object.
    Json,
    /// JSON of this shape.
    Schema {
        /// 1–64 of `[A-Za-z0-9_-]`.
        name: String,
        /// What it is for, for the model.
        description: Option<String>,
        /// The JSON Schema, an object, as the caller wrote it.
        schema: Box<RawValue>,
        /// Whether it must be kept to the letter.
        strict: Option<bool>,
    },
    /// As the model likes.
    #[default]
    Text,
}

/// How much a model is to reason.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reasoning {
    /// Whether, and how far: as Anthropic has it.
    pub thinking: Option<Thinking>,
    /// `none`, `minimal`, `low`, `medium`, `high`, `xhigh` or `max`: as OpenAI and Anthropic have it.
    pub effort: Option<&'static str>,
    /// `auto`, `concise` or `detailed`: which summary of it to give.
    pub summary: Option<&'static str>,
}

impl Reasoning {
    /// The effort in OpenAI's words: as asked for, or what comes close to a budget. Thinking as the model sees fit is what
    /// those models do anyway, and not all of them can be told not to think.
    fn openai_effort(&self) -> Option<&'static str> {
        self.effort.or(match self.thinking {
            Some(Thinking::Budget(0..4_096)) => Some("low"),
            Some(Thinking::Budget(4_096..16_384)) => Some("medium"),
            Some(Thinking::Budget(_)) => Some("high"),
            Some(Thinking::Adaptive | Thinking::Disabled) | None => None,
        })
    }
}

/// Whether a model is to reason, and how far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Thinking {
    /// As it sees fit.
    Adaptive,
    /// With at most so many model tokens.
    Budget(u32),
    /// Not at all.
    Disabled,
}

/// A tool that the model may call.
#[derive(Clone, Debug)]
pub struct Tool {
    /// 1–64 of `[A-Za-z0-9_-]`.
    pub name: String,
    /// What it does, for the model.
    pub description: Option<String>,
    /// The JSON Schema of its arguments, an object, as the caller wrote it.
    pub parameters: Option<Box<RawValue>>,
    /// Whether arguments must keep to the schema's letter.
    pub strict: Option<bool>,
}

/// Whether the model may, must or must not call a tool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToolChoice {
    /// As it sees fit.
    Auto,
    /// No tool.
    None,
    /// At least one.
    Required,
    /// This one.
    Tool(String),
}

/// How much of a reply is read.
#[derive(Clone, Copy, Debug)]
pub struct ReplyBounds {
    /// The most text and arguments that will be kept. A single event or a whole body may be a few times longer, since
    /// escapes and envelopes add to it: a reader buffers up to six times this and 64 KiB. It holds calls back until they
    /// are whole, and reasoning that comes after one; both together up to twice this. Text it hands on, for the caller
    /// to bound.
    pub reply_bytes: usize,
}

/// The dialect with this name in configuration.
#[must_use]
pub fn by_name(name: &str) -> Option<&'static dyn Dialect> {
    DIALECTS.iter().copied().find(|dialect| dialect.name() == name)
}

/// All dialects: one line each.
pub const DIALECTS: &[&dyn Dialect] = &[
    &anthropic::Anthropic, //
    &builtin::Builtin,
    &openai_chat::OpenAiChat::OWN,
    &openai_responses::OpenAiResponses::OWN,
];

/// About how many model tokens a call would send: four bytes of text each, as is common for English.
fn estimate(call: &ModelCall<'_>) -> u64 {
    let items = call.items.iter().map(Item::line_bytes).fold(0, usize::saturating_add);
    let tool = |tool: &Tool| {
        let schema = tool.parameters.as_ref().map_or(0, |schema| schema.get().len());
        tool.name.len().saturating_add(tool.description.as_ref().map_or(0, String::len)).saturating_add(schema)
    };
    let tools = call.options.tools.iter().map(tool).fold(0, usize::saturating_add);
    let bytes = items.saturating_add(tools).saturating_add(call.system.map_or(0, str::len));
    u64::try_from(bytes.div_ceil(4)).unwrap_or(u64::MAX)
}

/// Whether reasoning by `provider` is in the words of `dialect`.
fn speaks(provider: &str, dialect: &str) -> bool {
    provider.split('@').next() == Some(dialect)
}

/// The id of a call as a provider takes it: 1 to `most_bytes` of `[A-Za-z0-9_-]`, where `most_bytes` is above 17.
///
/// Others than that, which another provider or a client may have given, become a likeness and a hash (FNV-1a, 64 bits): the
/// same for a call and its result, in every turn.
fn plain_id(id: &str, most_bytes: usize) -> Cow<'_, str> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    if (1..=most_bytes).contains(&id.len()) && id.chars().all(is_plain) {
        return Cow::Borrowed(id);
    }
    let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    let hash = id.bytes().fold(0xcbf2_9ce4_8422_2325, step);
    let likeness = id.chars().take(most_bytes.saturating_sub(17)).map(|c| if is_plain(c) { c } else { '_' });
    Cow::Owned(format!("{}_{hash:016x}", likeness.collect::<String>()))
}

/// The text as raw JSON, if it is an object.
fn object(text: &str) -> Option<&RawValue> {
    serde_json::from_str::<&RawValue>(text).ok().filter(|raw| raw.get().starts_with('{'))
}

/// A request that carries `body` as JSON and asks for the form of reply that `stream` says.
fn post(path: &'static str, stream: bool, body: &impl Serialize) -> Result<Request<Bytes>, Error> {
    let body = serde_json::to_vec(body).map_err(|error| Error::internal(format!("request is not JSON: {error}")))?;
    let mut request = Request::new(Bytes::from(body));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = Uri::from_static(path);
    let accept = if stream { reply::EVENT_STREAM } else { reply::JSON };
    request.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(reply::JSON));
    request.headers_mut().insert(header::ACCEPT, HeaderValue::from_static(accept));
    Ok(request)
}

#[cfg(test)]
pub(in crate::proto) mod testing;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_that_fit_stay_and_others_become_ones_that_do() {
        let longest = "x".repeat(64);
        for id in ["c", "call_Ab-9", &longest] {
            assert_eq!(plain_id(id, 64), id);
        }
        for (id, expected) in [
            ("", "_cbf29ce484222325"),
            ("functions.add:0", "functions_add_0_0281487c23866cd1"),
            ("a b", "a_b_e63f991904833892"),
            ("a\u{e9}b", "a_b_9d454880e402cdfa"),
        ] {
            assert_eq!(plain_id(id, 64), expected);
        }
        let long = "x".repeat(65);
        for most in [40, 64] {
            let id = plain_id(&long, most);
            assert_eq!((id.len(), &id), (most, &plain_id(&long, most)));
            assert!(id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'));
            assert_ne!(id, plain_id(&format!("{long}x"), most));
        }
    }
}
