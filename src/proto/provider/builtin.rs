//! The built-in model: it needs no network and answers from the items that it is given, and from nothing else.
//!
//! Its wire format is ours. The request is one JSON object, `items` last:
//! ```text
//! {"model", "system"?, "tools"?: [{"name"}], "tool_choice"?: "auto"|"none"|"required"|{"tool": name},
//!  "max_output_tokens"?, "one_call"?: true, "stop"?: [text], "stream", "items": [as in a history]}
//! ```
//! A streamed reply is server-sent events: `text` `{"text"}` for each word with the whitespace before it, `call`
//! `{"id","name","args"}`, and at last `end` `{"finish_reason","usage":{"input_tokens","output_tokens"}}`, without
//! which it is cut. One that is not streamed is a JSON object of `text`, `calls`, `finish_reason` and `usage`. A model
//! token is a word here. What it answers is in [`builtin_model`](crate::proto::builtin_model); it knows nothing of sampling, reasoning or forms of text, and
//! passes over what is asked of these.

use std::borrow::Cow;

use bytes::{Bytes, BytesMut};
use http::{HeaderName, Request, header, response};
use serde::{Deserialize, Serialize};

use super::{
    ModelCall, Provider, ReplyBounds, ReplyReader, TokenCount,
    call::{EVENT_STREAM, JSON, post},
    reply::{self, Draft, Format},
};
use crate::proto::{
    builtin_model,
    chat::{Item, Output, Part},
    error::Error,
    sse,
    turn::{Delta, FinishReason, ToolChoice, Usage},
};

const TEXT: &str = "text";
const CALL: &str = "call";
const END: &str = "end";

/// The dialect `builtin`.
pub(super) struct Builtin;

impl Provider for Builtin {
    fn name(&self) -> &'static str {
        "builtin"
    }

    fn default_base_url(&self) -> &'static str {
        ""
    }

    fn request(&self, call: &ModelCall<'_>) -> Result<Request<Bytes>, Error> {
        let options = call.options;
        let body = Body {
            model: Cow::Borrowed(call.model),
            system: call.system.map(Cow::Borrowed),
            tools: options.tools.iter().map(|tool| Named { name: Cow::Borrowed(&tool.name) }).collect(),
            tool_choice: options.tool_choice.as_ref().map(Choice::from),
            max_output_tokens: options.max_output_tokens,
            one_call: options.parallel_calls == Some(false),
            stop: Cow::Borrowed(&options.stop),
            stream: call.stream,
            items: Cow::Borrowed(call.items),
        };
        post("/answer", call.stream, &body)
    }

    fn credential(&self) -> (HeaderName, &'static str) {
        (header::AUTHORIZATION, "Bearer ")
    }

    fn reply(&self, head: &response::Parts, bounds: ReplyBounds) -> Result<Box<dyn ReplyReader>, Error> {
        reply::reader::<Reply>(head, bounds)
    }

    fn count(&self, call: &ModelCall<'_>) -> Result<TokenCount, Error> {
        Ok(TokenCount::Known(input_words(call.system, call.items)))
    }
}

#[derive(Serialize, Deserialize)]
struct Body<'a> {
    model: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    system: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    tools: Vec<Named<'a>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tool_choice: Option<Choice<'a>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    max_output_tokens: Option<u32>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    one_call: bool,
    #[serde(default, skip_serializing_if = "<[_]>::is_empty")]
    stop: Cow<'a, [String]>,
    stream: bool,
    /// Last, so that a turn's bytes begin the next one's.
    items: Cow<'a, [Item]>,
}

#[derive(Serialize, Deserialize)]
struct Named<'a> {
    name: Cow<'a, str>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Choice<'a> {
    Auto,
    None,
    Required,
    Tool(Cow<'a, str>),
}

impl<'a> From<&'a ToolChoice> for Choice<'a> {
    fn from(choice: &'a ToolChoice) -> Self {
        match choice {
            ToolChoice::Auto => Self::Auto,
            ToolChoice::None => Self::None,
            ToolChoice::Required => Self::Required,
            ToolChoice::Tool(name) => Self::Tool(Cow::Borrowed(name)),
        }
    }
}

/// The content type of an answer.
#[must_use]
pub fn content_type(stream: bool) -> &'static str {
    if stream { EVENT_STREAM } else { JSON }
}

/// Answers a request of this dialect: the bytes of the reply, in the pieces in which they are to flow.
///
/// A streamed answer has a piece for each word, one that is not streamed is one piece; the request's `accept` header
/// says which it asked for, and [`content_type`] what to call it. The same request has the same answer.
///
/// # Errors
/// [`Error::RequestInvalid`] for a body that this dialect would not write.
pub fn answer(request_body: &[u8]) -> Result<Vec<Bytes>, Error> {
    let body: Body<'_> = serde_json::from_slice(request_body)
        .map_err(|error| Error::invalid(format!("The built-in model cannot read the request: {error}.")))?;
    let answer = compose(&body);
    Ok(if body.stream { answer.to_events() } else { vec![to_json(&answer).into()] })
}

/// The whole answer, as it is written when not streamed.
#[derive(Serialize, Deserialize)]
struct Answer {
    text: String,
    calls: Vec<Call>,
    finish_reason: Reason,
    usage: Counts,
}

#[derive(Serialize, Deserialize)]
struct TextEvent<'a> {
    text: Cow<'a, str>,
}

#[derive(Serialize, Deserialize)]
struct Call {
    id: String,
    name: String,
    args: String,
}

#[derive(Serialize, Deserialize)]
struct EndEvent {
    finish_reason: Reason,
    usage: Counts,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Reason {
    Length,
    Stop,
    ToolCalls,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
struct Counts {
    input_tokens: u64,
    output_tokens: u64,
}

fn compose(body: &Body<'_>) -> Answer {
    let tools: Vec<&str> = body.tools.iter().map(|tool| &*tool.name).collect();
    let choice = match &body.tool_choice {
        Some(Choice::None) => builtin_model::Tools::Forbidden,
        Some(Choice::Required) => builtin_model::Tools::Required(tools.first().copied()),
        Some(Choice::Tool(name)) => builtin_model::Tools::Required(tools.iter().copied().find(|tool| tool == name)),
        Some(Choice::Auto) | None => builtin_model::Tools::Free,
    };
    let (mut text, mut calls) = match builtin_model::answer(&body.items, &tools, choice) {
        builtin_model::Answer::Calls(calls) => (String::new(), number(calls, &body.items)),
        builtin_model::Answer::Text(text) => (text, Vec::new()),
    };
    if body.one_call {
        calls.truncate(1);
    }
    if let Some(end) = body.stop.iter().filter_map(|stop| text.find(stop)).min() {
        text.truncate(end);
    }
    let most = body.max_output_tokens.and_then(|most| usize::try_from(most).ok()).unwrap_or(usize::MAX);
    let kept_bytes = words(&text).take(most).map(str::len).fold(0, usize::saturating_add);
    let finish_reason = match (kept_bytes < text.len(), calls.is_empty()) {
        (true, _) => Reason::Length,
        (false, true) => Reason::Stop,
        (false, false) => Reason::ToolCalls,
    };
    text.truncate(kept_bytes);
    let output = calls.iter().map(|call| count(&call.args)).fold(count(&text), u64::saturating_add);
    let input = input_words(body.system.as_deref(), &body.items);
    Answer { text, calls, finish_reason, usage: Counts { input_tokens: input, output_tokens: output } }
}

fn input_words(system: Option<&str>, items: &[Item]) -> u64 {
    items.iter().map(item_words).fold(system.map_or(0, count), u64::saturating_add)
}

/// Gives each call its id: the count goes on from the calls in the history.
fn number(calls: Vec<builtin_model::Call<'_>>, items: &[Item]) -> Vec<Call> {
    let before = items.iter().filter(|item| matches!(item, Item::Call { .. })).count();
    (before..)
        .zip(calls)
        .map(|(before, builtin_model::Call { tool, args })| {
            let id = format!("call_{}", before.saturating_add(1));
            Call { id, name: tool.to_owned(), args: args.to_owned() }
        })
        .collect()
}

/// The text in pieces: each a word with the whitespace before it, and the last with what follows it, too.
fn words(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let start = rest.len().saturating_sub(rest.trim_start().len());
        let length = rest.get(start..)?.find(char::is_whitespace).unwrap_or(rest.len());
        let end = start.saturating_add(length).min(rest.len());
        let (word, after) = rest.split_at_checked(end)?;
        let (word, after) = if after.trim_start().is_empty() { (rest, "") } else { (word, after) };
        rest = after;
        (!word.is_empty()).then_some(word)
    })
}

fn count(text: &str) -> u64 {
    text.split_whitespace().fold(0, |count, _| count.saturating_add(1))
}

fn item_words(item: &Item) -> u64 {
    match item {
        Item::Call { args, .. } => count(args),
        Item::Message { parts, .. } => parts.iter().map(part_words).fold(0, u64::saturating_add),
        Item::Result { out: Output::Parts(parts), .. } => parts.iter().map(part_words).fold(0, u64::saturating_add),
        Item::Result { out: Output::Text(text), .. } => count(text),
        Item::Think { .. } => 0,
    }
}

fn part_words(part: &Part) -> u64 {
    match part {
        Part::Image(_) => 1,
        Part::Text(text) => count(text),
    }
}

impl Answer {
    /// The events, cut from one buffer.
    fn to_events(&self) -> Vec<Bytes> {
        let mut buffer = BytesMut::new();
        let mut pieces = Vec::new();
        let mut piece = |name, value: &str| {
            sse::write_event(&mut buffer, Some(name), value);
            pieces.push(buffer.split().freeze());
        };
        for word in words(&self.text) {
            piece(TEXT, &to_json(&TextEvent { text: Cow::Borrowed(word) }));
        }
        for call in &self.calls {
            piece(CALL, &to_json(call));
        }
        piece(END, &to_json(&EndEvent { finish_reason: self.finish_reason, usage: self.usage }));
        pieces
    }
}

fn to_json(value: &impl Serialize) -> String {
    // Strings and numbers always serialize, and a String takes all that is written.
    serde_json::to_string(value).unwrap_or_default()
}

/// A reply being read.
#[derive(Default)]
struct Reply;

impl Format for Reply {
    const MAY_STOP: bool = false;

    fn event(&mut self, event: &sse::Event, draft: &mut Draft, deltas: &mut Vec<Delta>) -> Result<(), Error> {
        match event.name.as_str() {
            CALL => take_call(0, &reply::parse(&event.data)?, draft),
            END => {
                let EndEvent { finish_reason, usage } = reply::parse(&event.data)?;
                end(finish_reason, usage, draft, deltas);
                draft.complete(deltas)
            }
            TEXT => {
                draft.text(reply::parse::<TextEvent<'_>>(&event.data)?.text.into_owned(), deltas);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn body(&mut self, body: &str, draft: &mut Draft, deltas: &mut Vec<Delta>) -> Result<(), Error> {
        let Answer { text, calls, finish_reason, usage } = reply::parse(body)?;
        draft.text(text, deltas);
        for call in &calls {
            take_call(0, call, draft)?;
        }
        end(finish_reason, usage, draft, deltas);
        Ok(())
    }
}

fn take_call(index: u64, call: &Call, draft: &mut Draft) -> Result<(), Error> {
    draft.call(index, &call.id, &call.name, &call.args)
}

fn end(reason: Reason, counts: Counts, draft: &mut Draft, deltas: &mut Vec<Delta>) {
    draft.end(match reason {
        Reason::Length => FinishReason::Length,
        Reason::Stop => FinishReason::Stop,
        Reason::ToolCalls => FinishReason::ToolCalls,
    });
    let Counts { input_tokens, output_tokens } = counts;
    deltas.push(Delta::Usage(Usage { input_tokens, output_tokens, ..Usage::default() }));
}

#[cfg(test)]
mod tests;
