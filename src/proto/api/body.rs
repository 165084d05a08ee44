//! What doors have in common when they read a request: bounds on lists, and the rules for what every format can ask.
//!
//! Every list is bounded while it is read, because a read element takes far more memory than its text.

use std::fmt;

use serde::Deserialize;
use serde_json::{Number, value::RawValue};

use crate::proto::{
    error::Error,
    json::Object,
    turn::{Tool, ToolChoice, Truncation},
};
pub(super) use crate::proto::{
    excerpt::excerpt,
    json::{List, at_most},
};

/// The most messages in a request, or parts in one of them; also clients that repeat a whole conversation stay below.
pub(super) const ELEMENTS: usize = 16_384;
/// The most tools in a request, as OpenAI has it.
pub(super) const TOOLS: usize = 128;
/// The most texts that end a reply; OpenAI takes 4, Anthropic more.
pub(super) const STOPS: usize = 16;

/// Reads a body that must be one JSON object; the answer names what is wrong and where.
pub(super) fn read<'de, T: Deserialize<'de>>(body: &'de str) -> Result<T, Error> {
    serde_json::from_str::<Object<T>>(body)
        .map(|object| object.0)
        .map_err(|error| Error::invalid(format!("body: {}", shown(&error))))
}

/// Reads one member's JSON, kept raw until its kind was known.
pub(super) fn member<'de, T: Deserialize<'de>>(name: impl fmt::Display, json: &'de RawValue) -> Result<T, Error> {
    serde_json::from_str(json.get()).map_err(|error| Error::invalid(format!("`{name}`: {}", shown(&error))))
}

/// A reader's message can quote the caller's text at any length.
fn shown(error: &serde_json::Error) -> String {
    error.to_string().chars().filter(|character| !character.is_control()).take(240).collect()
}

/// What is understood and not offered, with what to use instead.
pub(super) fn unsupported(detail: impl Into<String>) -> Error {
    Error::Unsupported { detail: detail.into() }
}

/// One of the names that a member may have.
pub(super) fn one_of(member: &str, name: Option<&str>, known: &[&'static str]) -> Result<Option<&'static str>, Error> {
    let Some(name) = name else { return Ok(None) };
    let found = known.iter().copied().find(|known| *known == name);
    found.map(Some).ok_or_else(|| Error::invalid(format!("`{member}` is one of {}", known.join(", "))))
}

/// How much a model is to reason, by OpenAI's names and Anthropic's.
pub(super) const EFFORTS: [&str; 7] = ["none", "minimal", "low", "medium", "high", "xhigh", "max"];

/// A tool, if its name and its schema can be one's.
pub(super) fn tool(
    name: String,
    description: Option<String>,
    parameters: Option<Box<RawValue>>,
    strict: Option<bool>,
) -> Result<Tool, Error> {
    if !is_name(&name) {
        return Err(Error::invalid("a tool's `name` is 1 to 64 of A-Z a-z 0-9 _ -"));
    }
    if parameters.as_ref().is_some_and(|schema| !schema.get().starts_with('{')) {
        return Err(Error::invalid(format!("the schema of tool `{name}` is not an object")));
    }
    Ok(Tool { name, description, parameters, strict })
}

/// A choice, if the tools allow it.
pub(super) fn tool_choice(choice: ToolChoice, tools: &[Tool]) -> Result<ToolChoice, Error> {
    match &choice {
        ToolChoice::Required if tools.is_empty() => {
            Err(Error::invalid("`tool_choice` requires a tool, and `tools` has none"))
        }
        ToolChoice::Tool(name) if !tools.iter().any(|tool| tool.name == *name) => {
            Err(Error::invalid("`tool_choice` names a tool that is not in `tools`"))
        }
        _ => Ok(choice),
    }
}

/// Whether a tool or a schema may be called so: 1 to 64 of `[A-Za-z0-9_-]`.
pub(super) fn is_name(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
}

/// A number from 0 to `most`.
pub(super) fn number_to(most: u32, name: &str, number: Option<Number>) -> Result<Option<Number>, Error> {
    let fits = |number: &Number| number.as_f64().is_some_and(|number| (0.0..=f64::from(most)).contains(&number));
    match number {
        Some(number) if !fits(&number) => Err(Error::invalid(format!("`{name}` is a number from 0 to {most}"))),
        number => Ok(number),
    }
}

/// A bound on a reply, which cannot be none.
pub(super) fn at_least_one(name: &str, count: Option<u32>) -> Result<Option<u32>, Error> {
    if count == Some(0) { Err(Error::invalid(format!("`{name}` is at least 1"))) } else { Ok(count) }
}

/// The texts that end a reply.
pub(super) fn stops(name: &str, texts: Vec<String>) -> Result<Vec<String>, Error> {
    if texts.iter().any(String::is_empty) {
        return Err(Error::invalid(format!("`{name}` has an empty text")));
    }
    Ok(texts)
}

/// What to do about a conversation that has outgrown its limits.
pub(super) fn truncation(name: Option<&str>) -> Result<Option<Truncation>, Error> {
    name.map(|name| {
        Truncation::from_name(name)
            .ok_or_else(|| Error::invalid("`truncation` is \"refuse\", \"oldest\" or \"summarize\""))
    })
    .transpose()
}
