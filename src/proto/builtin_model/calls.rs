//! Tool calls that a user requests: `call add with {"a": 1} and use now`.
//!
//! Only tools that the request offers are called. The arguments must be a JSON object, and are
//! passed on as the user wrote them.

use serde_json::value::RawValue;

use super::Call;
use crate::proto::chat::{Item, Part};

/// Every `call <tool> with <json>` and `use <tool>` in the last message.
pub(super) fn requested_calls<'a>(items: &'a [Item], tools: &[&'a str]) -> Vec<Call<'a>> {
    let Some(Item::Message { parts, .. }) = items.last() else { return Vec::new() };
    let texts = parts.iter().filter_map(|part| match part {
        Part::Image(_) => None,
        Part::Text(text) => Some(text.as_str()),
    });
    texts.flat_map(|text| calls_in(text, tools)).collect()
}

fn calls_in<'a>(text: &'a str, tools: &[&'a str]) -> Vec<Call<'a>> {
    let mut calls = Vec::new();
    let mut words = text;
    while let Some((word, rest)) = next_word(words) {
        words = rest;
        if !word.eq_ignore_ascii_case("call") && !word.eq_ignore_ascii_case("use") {
            continue;
        }
        let Some((name, after)) = next_word(rest) else { break };
        let Some(tool) = tools.iter().copied().find(|tool| *tool == name) else { continue };
        let (args, after) = arguments(after).unwrap_or(("{}", after));
        calls.push(Call { tool, args });
        words = after;
    }
    calls
}

/// The first run of characters that tool names have, and the text after it.
fn next_word(text: &str) -> Option<(&str, &str)> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    let text = text.trim_start_matches(|c| !is_word(c));
    let word = text.split(|c| !is_word(c)).next().filter(|word| !word.is_empty())?;
    Some((word, text.strip_prefix(word)?))
}

/// The JSON object after `with`, and the text after it.
fn arguments(text: &str) -> Option<(&str, &str)> {
    let (_, rest) = next_word(text).filter(|(with, _)| with.eq_ignore_ascii_case("with"))?;
    let rest = rest.trim_start_matches(['`', ':']).trim_start_matches([' ', '\n', '`']);
    let mut values = serde_json::Deserializer::from_str(rest).into_iter::<&RawValue>();
    let args = values.next()?.ok()?.get();
    let after = rest.get(values.byte_offset()..)?;
    args.starts_with('{').then_some((args, after))
}
