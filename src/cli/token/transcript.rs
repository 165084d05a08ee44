//! Converts the transcripts of other programs to items: OpenAI `messages`, LangChain's list of
//! typed messages, and Holdall's own lines.
//!
//! A transcript is a JSON array, an object with the array in `messages` or `items`, or JSON Lines.
//! System and developer messages are left out and counted, because the system prompt belongs to the
//! server. Content that no item can hold is an error that names its place; nothing is dropped.

use std::borrow::Cow;

use clap::ValueEnum;
use serde::{Deserialize, de::IgnoredAny};
use serde_json::value::RawValue;

use crate::proto::chat::{ImageRules, Item, Output, Part, Role};

/// The format of a transcript.
// Plain comments on the variants: documentation there would turn the help into its long form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    // The format that the first message has.
    Auto,
    // OpenAI's messages: {"role","content"}.
    Openai,
    // LangChain's messages: {"type","data"}.
    Langchain,
    // Holdall's items, as `holdall token export --format jsonl` prints them.
    Jsonl,
}

/// The content of a transcript.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Transcript {
    /// The items, at least one.
    pub(super) items: Vec<Item>,
    /// The number of system and developer messages that were left out.
    pub(super) system_messages: usize,
}

/// Reads a transcript. `images` are the rules for new input.
///
/// # Errors
/// A description of the fault, with the number of its message or line, counted from 1.
pub(super) fn read(text: &str, format: Format, images: &ImageRules) -> Result<Transcript, String> {
    let records = records(text.trim_start_matches('\u{feff}'))?;
    let format = match (format, records.first()) {
        (_, None) => return Err("it contains no messages".to_owned()),
        (Format::Auto, Some(first)) => detect(first)?,
        (format, _) => format,
    };
    let mut transcript = Transcript { items: Vec::new(), system_messages: 0 };
    for (at, record) in records.iter().enumerate() {
        let converted = match format {
            Format::Auto | Format::Openai => openai(record),
            Format::Jsonl => {
                Item::from_line(record.get()).map(|item| Some(vec![item])).map_err(|error| json_fault(&error))
            }
            Format::Langchain => langchain(record),
        };
        let checked = converted.and_then(|items| {
            let mut of_record = items.iter().flatten();
            of_record.try_for_each(|item| images.check_item(item)).map_err(|fault| format!("an image {fault}"))?;
            Ok(items)
        });
        match checked.map_err(|fault| format!("message {}: {fault}", at.saturating_add(1)))? {
            Some(items) => transcript.items.extend(items),
            None => transcript.system_messages = transcript.system_messages.saturating_add(1),
        }
    }
    check_order(&transcript.items)?;
    Ok(transcript)
}

/// The number of turns in these items, at least 1. A turn starts at a user message or a tool result
/// that is the first item or follows an item of the assistant.
pub(super) fn turns(items: &[Item]) -> u64 {
    let is_input = |item: &Item| matches!(item, Item::Message { role: Role::User, .. } | Item::Result { .. });
    let starts = items.iter().enumerate().filter(|(at, item)| {
        let previous = at.checked_sub(1).and_then(|at| items.get(at));
        is_input(item) && previous.is_none_or(|previous| !is_input(previous))
    });
    (starts.count() as u64).max(1)
}

/// The messages of a transcript, not yet parsed.
fn records(text: &str) -> Result<Vec<&RawValue>, String> {
    #[derive(Deserialize)]
    struct Envelope<'a> {
        #[serde(borrow)]
        messages: Option<Vec<&'a RawValue>>,
        #[serde(borrow)]
        items: Option<Vec<&'a RawValue>>,
    }

    if text.trim_start().starts_with('[') {
        return serde_json::from_str(text).map_err(|error| format!("not a JSON array: {error}"));
    }
    let whole = serde_json::from_str(text).ok().and_then(|Envelope { messages, items }| messages.or(items));
    if let Some(records) = whole {
        return Ok(records);
    }
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let records = lines.map(|(at, line)| {
        serde_json::from_str(line).map_err(|error| format!("line {} is not JSON: {error}", at.saturating_add(1)))
    });
    records.collect()
}

/// The format of the first message.
fn detect(first: &RawValue) -> Result<Format, String> {
    #[derive(Deserialize)]
    struct Probe {
        t: Option<IgnoredAny>,
        role: Option<IgnoredAny>,
        r#type: Option<IgnoredAny>,
        messages: Option<IgnoredAny>,
    }

    match serde_json::from_str(first.get()) {
        Ok(Probe { t: Some(_), .. }) => Ok(Format::Jsonl),
        Ok(Probe { role: Some(_), .. }) => Ok(Format::Openai),
        Ok(Probe { r#type: Some(_), .. }) => Ok(Format::Langchain),
        Ok(Probe { messages: Some(_), .. }) => {
            Err("it contains several conversations; import one at a time".to_owned())
        }
        _ => Err("unknown format: the first message has no `role` (OpenAI), no `type` (LangChain) and no `t` \
                  (Holdall)"
            .to_owned()),
    }
}

/// Checks that each tool result follows its call, and that no user message comes between them.
fn check_order(items: &[Item]) -> Result<(), String> {
    if items.is_empty() {
        return Err("it contains only system messages".to_owned());
    }
    let mut open: Vec<&str> = Vec::new();
    for item in items {
        match item {
            Item::Call { id, .. } => open.push(id),
            Item::Result { id, .. } => {
                let at = open.iter().position(|call| call == id);
                open.remove(at.ok_or_else(|| format!("the tool result `{id}` has no open tool call"))?);
            }
            Item::Message { role: Role::User, .. } => {
                if let Some(id) = open.first() {
                    return Err(format!("a user message comes before the result of the tool call `{id}`"));
                }
            }
            Item::Message { .. } | Item::Think { .. } => {}
        }
    }
    Ok(())
}

/// The items of one message; `None` for a system message.
type Converted = Result<Option<Vec<Item>>, String>;

/// The items of an OpenAI message.
fn openai(record: &RawValue) -> Converted {
    #[derive(Deserialize)]
    struct Message<'a> {
        #[serde(borrow)]
        role: Cow<'a, str>,
        #[serde(default)]
        content: Content,
        #[serde(default)]
        tool_calls: Option<Vec<ToolCall>>,
        tool_call_id: Option<String>,
        function_call: Option<IgnoredAny>,
    }

    #[derive(Deserialize)]
    struct ToolCall {
        id: String,
        function: Function,
    }

    #[derive(Deserialize)]
    struct Function {
        name: String,
        arguments: String,
    }

    let raw: Message<'_> = serde_json::from_str(record.get()).map_err(|error| json_fault(&error))?;
    if raw.function_call.is_some() {
        return Err("`function_call` is not supported, because it has no id; use `tool_calls`".to_owned());
    }
    match &*raw.role {
        "system" | "developer" => Ok(None),
        "user" => Ok(Some(vec![message(Role::User, raw.content)?])),
        "assistant" => {
            let calls = raw.tool_calls.unwrap_or_default().into_iter();
            let calls = calls.map(|ToolCall { id, function }| (id, function.name, function.arguments));
            assistant(raw.content, calls.collect()).map(Some)
        }
        "tool" => result(raw.tool_call_id, raw.content, false).map(Some),
        role => Err(format!("unknown role `{role}`; use user, assistant, tool, system or developer")),
    }
}

/// The items of a LangChain message.
fn langchain(record: &RawValue) -> Converted {
    #[derive(Deserialize)]
    struct Typed<'a> {
        #[serde(borrow)]
        r#type: Cow<'a, str>,
        #[serde(borrow)]
        data: Data<'a>,
    }

    #[derive(Deserialize)]
    struct Data<'a> {
        #[serde(default)]
        content: Content,
        #[serde(default, borrow)]
        tool_calls: Vec<ToolCall<'a>>,
        tool_call_id: Option<String>,
        #[serde(borrow)]
        status: Option<Cow<'a, str>>,
    }

    #[derive(Deserialize)]
    struct ToolCall<'a> {
        id: Option<String>,
        name: String,
        #[serde(borrow)]
        args: &'a RawValue,
    }

    let Typed { r#type, data } = serde_json::from_str(record.get()).map_err(|error| json_fault(&error))?;
    match &*r#type {
        "system" => Ok(None),
        "human" => Ok(Some(vec![message(Role::User, data.content)?])),
        "ai" => {
            let calls = data.tool_calls.into_iter().map(|ToolCall { id, name, args }| {
                Ok((id.ok_or("a tool call has no `id`")?, name, args.get().to_owned()))
            });
            let calls = calls.collect::<Result<_, &str>>()?;
            // LangChain repeats Anthropic's tool calls in the content.
            assistant(data.content.without("tool_use"), calls).map(Some)
        }
        "tool" => {
            let failed = data.status.is_some_and(|status| status == "error");
            result(data.tool_call_id, data.content, failed).map(Some)
        }
        other => Err(format!("unknown type `{other}`; use human, ai, tool or system")),
    }
}

fn message(role: Role, content: Content) -> Result<Item, String> {
    let parts = content.into_parts()?.ok_or("`content` is missing")?;
    Ok(Item::Message { role, parts, cut: false })
}

/// The message first, then its tool calls, as providers order them. Without tool calls the message
/// stays even if it is empty.
fn assistant(content: Content, calls: Vec<(String, String, String)>) -> Result<Vec<Item>, String> {
    let parts = content.into_parts()?.unwrap_or_default();
    let is_empty = parts.iter().all(|part| matches!(part, Part::Text(text) if text.is_empty()));
    let mut items = Vec::new();
    if !is_empty {
        items.push(Item::Message { role: Role::Assistant, parts, cut: false });
    } else if calls.is_empty() {
        items.push(Item::text(Role::Assistant, ""));
    }
    items.extend(calls.into_iter().map(|(id, name, args)| Item::Call { id, name, args }));
    Ok(items)
}

fn result(id: Option<String>, content: Content, error: bool) -> Result<Vec<Item>, String> {
    let id = id.ok_or("`tool_call_id` is missing")?;
    let out = match content {
        Content::Text(text) => Output::Text(text),
        content => content.into_parts()?.map_or_else(|| Output::Text(String::new()), Output::Parts),
    };
    Ok(vec![Item::Result { id, out, error }])
}

/// The content of a message, which has the same form in both formats.
#[derive(Default, Deserialize)]
#[serde(untagged, expecting = "`content` must be text or an array of parts")]
enum Content {
    #[default]
    None,
    Text(String),
    Parts(Vec<Element>),
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "a part must be text or an object with `type`")]
enum Element {
    Text(String),
    Part { r#type: String, text: Option<String>, refusal: Option<String>, image_url: Option<ImageUrl> },
}

#[derive(Deserialize)]
#[serde(untagged)]
enum ImageUrl {
    Object { url: String },
    Plain(String),
}

impl Content {
    /// The content without the parts of one type.
    fn without(self, kind: &str) -> Self {
        match self {
            Self::Parts(mut elements) => {
                elements.retain(|element| !matches!(element, Element::Part { r#type, .. } if r#type == kind));
                Self::Parts(elements)
            }
            content => content,
        }
    }

    /// The parts; `None` if there are none.
    fn into_parts(self) -> Result<Option<Vec<Part>>, String> {
        let elements = match self {
            Self::None => return Ok(None),
            Self::Text(text) => return Ok(Some(vec![Part::Text(text)])),
            Self::Parts(elements) => elements,
        };
        let parts = elements.into_iter().map(|element| match element {
            Element::Text(text)
            | Element::Part { text: Some(text), .. }
            | Element::Part { refusal: Some(text), .. } => Ok(Part::Text(text)),
            Element::Part { image_url: Some(ImageUrl::Object { url } | ImageUrl::Plain(url)), .. } => {
                Ok(Part::Image(url))
            }
            Element::Part { r#type, .. } => Err(format!("parts of type `{type}` are not supported")),
        });
        let parts: Vec<_> = parts.collect::<Result<_, _>>()?;
        Ok((!parts.is_empty()).then_some(parts))
    }
}

/// The message of a JSON error without its line and column, which count inside one message.
fn json_fault(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.split_once(" at line ").map_or(text.as_str(), |(fault, _)| fault).to_owned()
}

#[cfg(test)]
mod tests;
