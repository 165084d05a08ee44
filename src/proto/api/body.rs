//! Rules that all request parsers share: bounds of lists, and checks of options. Every list is
//! bounded while it is parsed, because a parsed element takes far more memory than its text.

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

/// The maximum number of messages in a request, and of parts in a message. Clients that repeat a
/// whole conversation stay below it.
pub(super) const ELEMENTS: usize = 16_384;
/// The maximum number of tools in a request, as in OpenAI's API.
pub(super) const TOOLS: usize = 128;
/// The maximum number of texts that end a reply. OpenAI accepts 4, Anthropic more.
pub(super) const STOPS: usize = 16;

/// Parses a body, which must be one JSON object. The error names the fault and its position.
pub(super) fn parse<'de, T: Deserialize<'de>>(body: &'de str) -> Result<T, Error> {
    serde_json::from_str::<Object<T>>(body)
        .map(|object| object.0)
        .map_err(|error| Error::invalid(format!("The request body is invalid: {}.", message_of(&error))))
}

/// Parses the JSON of one member that stayed unparsed until its type was known.
pub(super) fn parse_member<'de, T: Deserialize<'de>>(name: impl fmt::Display, json: &'de RawValue) -> Result<T, Error> {
    serde_json::from_str(json.get())
        .map_err(|error| Error::invalid(format!("`{name}` is invalid: {}.", message_of(&error))))
}

/// The message of a parser, at most 240 characters, because it can quote text of the caller.
fn message_of(error: &serde_json::Error) -> String {
    error.to_string().chars().filter(|character| !character.is_control()).take(240).collect()
}

/// The error for a feature that the format has and the server does not support.
pub(super) fn unsupported(detail: impl Into<String>) -> Error {
    Error::Unsupported { detail: detail.into() }
}

/// The value of a member that accepts only the values `known`.
pub(super) fn one_of(member: &str, name: Option<&str>, known: &[&'static str]) -> Result<Option<&'static str>, Error> {
    let Some(name) = name else { return Ok(None) };
    let found = known.iter().copied().find(|known| *known == name);
    found.map(Some).ok_or_else(|| Error::invalid(format!("`{member}` must be one of: {}.", known.join(", "))))
}

/// The effort levels of OpenAI and Anthropic.
pub(super) const EFFORTS: [&str; 7] = ["none", "minimal", "low", "medium", "high", "xhigh", "max"];

/// A tool with a valid name and schema.
pub(super) fn tool(
    name: String,
    description: Option<String>,
    parameters: Option<Box<RawValue>>,
    strict: Option<bool>,
) -> Result<Tool, Error> {
    if !is_name(&name) {
        return Err(Error::invalid("The `name` of a tool must have 1 to 64 characters of `A-Z a-z 0-9 _ -`."));
    }
    if parameters.as_ref().is_some_and(|schema| !schema.get().starts_with('{')) {
        return Err(Error::invalid(format!("The schema of tool `{name}` must be an object.")));
    }
    Ok(Tool { name, description, parameters, strict })
}

/// A choice that the tools allow.
pub(super) fn tool_choice(choice: ToolChoice, tools: &[Tool]) -> Result<ToolChoice, Error> {
    match &choice {
        ToolChoice::Required if tools.is_empty() => {
            Err(Error::invalid("`tool_choice` requires a tool, but `tools` is empty. Add one."))
        }
        ToolChoice::Tool(name) if !tools.iter().any(|tool| tool.name == *name) => {
            Err(Error::invalid("`tool_choice` names a tool that is not in `tools`. Name one of those."))
        }
        _ => Ok(choice),
    }
}

/// True for a valid name of a tool or a schema: 1 to 64 of `[A-Za-z0-9_-]`.
pub(super) fn is_name(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
}

/// A number from 0 to `most`.
pub(super) fn number_to(most: u32, name: &str, number: Option<Number>) -> Result<Option<Number>, Error> {
    let fits = |number: &Number| number.as_f64().is_some_and(|number| (0.0..=f64::from(most)).contains(&number));
    match number {
        Some(number) if !fits(&number) => Err(Error::invalid(format!("`{name}` must be a number from 0 to {most}."))),
        number => Ok(number),
    }
}

/// A bound of a reply, which must be at least 1.
pub(super) fn at_least_one(name: &str, count: Option<u32>) -> Result<Option<u32>, Error> {
    if count == Some(0) { Err(Error::invalid(format!("`{name}` must be at least 1."))) } else { Ok(count) }
}

/// The texts that end a reply. None is empty.
pub(super) fn stops(name: &str, texts: Vec<String>) -> Result<Vec<String>, Error> {
    if texts.iter().any(String::is_empty) {
        return Err(Error::invalid(format!("`{name}` must not have an empty text.")));
    }
    Ok(texts)
}

/// The action if a conversation exceeds its limits.
pub(super) fn truncation(name: Option<&str>) -> Result<Option<Truncation>, Error> {
    name.map(|name| {
        Truncation::from_name(name)
            .ok_or_else(|| Error::invalid("`truncation` must be \"refuse\", \"oldest\" or \"summarize\"."))
    })
    .transpose()
}
