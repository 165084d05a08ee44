//! The answering side of the built-in model: a request in, the bytes of a reply out.

use std::borrow::Cow;

use bytes::{Bytes, BytesMut};
use serde::Serialize;

use super::wire::{
    Answer, Body, CALL_EVENT, Call, Choice, Counts, END_EVENT, EndEvent, Reason, TEXT_EVENT, TextEvent, input_words,
    word_count,
};
use crate::proto::{
    builtin_model,
    chat::Item,
    error::Error,
    provider::call::{EVENT_STREAM, JSON},
    sse,
};

/// The `content-type` of an answer.
#[must_use]
pub fn content_type(stream: bool) -> &'static str {
    if stream { EVENT_STREAM } else { JSON }
}

/// Answers a request to the built-in model. Returns the bytes of the reply, in the pieces in which
/// they are to be sent.
///
/// A streamed answer has one piece for each word. Another answer is one piece. The `accept` header
/// of the request equals [`content_type`] of the answer. The same request always has the same
/// answer.
///
/// # Errors
/// [`Error::RequestInvalid`] for a body that is not in the format of the built-in model.
pub fn answer(request_body: &[u8]) -> Result<Vec<Bytes>, Error> {
    let body: Body<'_> = serde_json::from_slice(request_body)
        .map_err(|error| Error::invalid(format!("The built-in model cannot read the request: {error}.")))?;
    let answer = compose(&body);
    Ok(if body.stream { events(&answer) } else { vec![to_json(&answer).into()] })
}

fn compose(body: &Body<'_>) -> Answer {
    let tools: Vec<&str> = body.tools.iter().map(|tool| &*tool.name).collect();
    let (mut text, mut calls) = match builtin_model::answer(&body.items, &tools, tool_use(body, &tools)) {
        builtin_model::Answer::Calls(calls) => (String::new(), with_ids(calls, &body.items)),
        builtin_model::Answer::Text(text) => (text, Vec::new()),
    };
    if body.one_call {
        calls.truncate(1);
    }
    if let Some(end) = body.stop.iter().filter_map(|stop| text.find(stop)).min() {
        text.truncate(end);
    }
    let max_words = body.max_output_tokens.and_then(|tokens| usize::try_from(tokens).ok()).unwrap_or(usize::MAX);
    let kept_bytes = words(&text).take(max_words).map(str::len).fold(0, usize::saturating_add);
    let finish_reason = match (kept_bytes < text.len(), calls.is_empty()) {
        (true, _) => Reason::Length,
        (false, true) => Reason::Stop,
        (false, false) => Reason::ToolCalls,
    };
    text.truncate(kept_bytes);
    let output_tokens = calls.iter().map(|call| word_count(&call.args)).fold(word_count(&text), u64::saturating_add);
    let input_tokens = input_words(body.system.as_deref(), &body.items);
    Answer { text, calls, finish_reason, usage: Counts { input_tokens, output_tokens } }
}

fn tool_use<'a>(body: &Body<'_>, tools: &[&'a str]) -> builtin_model::ToolUse<'a> {
    match &body.tool_choice {
        Some(Choice::None) => builtin_model::ToolUse::Forbidden,
        Some(Choice::Required) => builtin_model::ToolUse::Required(tools.first().copied()),
        Some(Choice::Tool(name)) => builtin_model::ToolUse::Required(tools.iter().copied().find(|tool| tool == name)),
        Some(Choice::Auto) | None => builtin_model::ToolUse::Allowed,
    }
}

/// Gives each call its id. The numbers continue after the calls in the history.
fn with_ids(calls: Vec<builtin_model::Call<'_>>, items: &[Item]) -> Vec<Call> {
    let before = items.iter().filter(|item| matches!(item, Item::Call { .. })).count();
    (before..)
        .zip(calls)
        .map(|(before, builtin_model::Call { tool, args })| {
            let id = format!("call_{}", before.saturating_add(1));
            Call { id, name: tool.to_owned(), args: args.to_owned() }
        })
        .collect()
}

/// The text in pieces. Each is a word with the whitespace before it. The last one also has the
/// whitespace after it.
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

/// The answer as server-sent events, all cut from one buffer.
fn events(answer: &Answer) -> Vec<Bytes> {
    let mut buffer = BytesMut::new();
    let mut pieces = Vec::new();
    let mut piece = |name, value: &str| {
        sse::write_event(&mut buffer, Some(name), value);
        pieces.push(buffer.split().freeze());
    };
    for word in words(&answer.text) {
        piece(TEXT_EVENT, &to_json(&TextEvent { text: Cow::Borrowed(word) }));
    }
    for call in &answer.calls {
        piece(CALL_EVENT, &to_json(call));
    }
    piece(END_EVENT, &to_json(&EndEvent { finish_reason: answer.finish_reason, usage: answer.usage }));
    pieces
}

fn to_json(value: &impl Serialize) -> String {
    // Strings and numbers always serialize, and writing to a String cannot fail.
    serde_json::to_string(value).unwrap_or_default()
}
