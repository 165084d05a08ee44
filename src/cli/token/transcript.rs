//! Transcripts of other programs to items: OpenAI `messages`, LangChain's list of typed messages, and our own lines.
//!
//! A transcript is a JSON array, an object that has the list as `messages` or `items`, or JSON Lines. System and developer
//! messages are left out and counted, since the system prompt is the server's. Whatever an item cannot hold is refused by
//! place and name rather than dropped.

use std::borrow::Cow;

use clap::ValueEnum;
use serde::{Deserialize, de::IgnoredAny};
use serde_json::value::RawValue;

use crate::proto::chat::{Item, Output, Part, Role};

/// The form of a transcript.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// Whichever the first message fits
    Auto,
    /// OpenAI's messages: {"role","content"}
    Openai,
    /// LangChain's messages: {"type","data"}
    Langchain,
    /// Our own items, as `export` writes them
    Jsonl,
}

/// What a transcript holds.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Transcript {
    /// The items, at least one.
    pub(super) items: Vec<Item>,
    /// How many system and developer messages were left out.
    pub(super) system_messages: usize,
}

/// Reads a transcript.
///
/// # Errors
/// What is wrong and where, in words.
pub(super) fn read(text: &str, format: Format) -> Result<Transcript, String> {
    let records = records(text.trim_start_matches('\u{feff}'))?;
    let format = match (format, records.first()) {
        (_, None) => return Err("there is no message in it".to_owned()),
        (Format::Auto, Some(first)) => detect(first)?,
        (format, _) => format,
    };
    let mut transcript = Transcript { items: Vec::new(), system_messages: 0 };
    for (at, record) in records.iter().enumerate() {
        let converted = match format {
            Format::Auto | Format::Openai => openai(record),
            Format::Jsonl => Item::from_line(record.get()).map(|item| Some(vec![item])).map_err(|error| words(&error)),
            Format::Langchain => langchain(record),
        };
        match converted.map_err(|fault| format!("message {}: {fault}", at.saturating_add(1)))? {
            Some(items) => transcript.items.extend(items),
            None => transcript.system_messages = transcript.system_messages.saturating_add(1),
        }
    }
    check_order(&transcript.items)?;
    Ok(transcript)
}

/// How many turns these items are: each ends where the model's words do.
pub(super) fn turns(items: &[Item]) -> u64 {
    let is_input = |item: &Item| matches!(item, Item::Message { role: Role::User, .. } | Item::Result { .. });
    let starts = items.iter().enumerate().filter(|(at, item)| {
        let before = at.checked_sub(1).and_then(|before| items.get(before));
        is_input(item) && before.is_none_or(|before| !is_input(before))
    });
    (starts.count() as u64).max(1)
}

fn records(text: &str) -> Result<Vec<&RawValue>, String> {
    #[derive(Deserialize)]
    struct Envelope<'a> {
        #[serde(borrow)]
        messages: Option<Vec<&'a RawValue>>,
        #[serde(borrow)]
        items: Option<Vec<&'a RawValue>>,
    }

    if text.trim_start().starts_with('[') {
        return serde_json::from_str(text).map_err(|error| format!("not a list in JSON: {error}"));
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
        Ok(Probe { messages: Some(_), .. }) => Err("it holds several conversations; give one at a time".to_owned()),
        _ => Err("the first message has none of `role` (OpenAI), `type` (LangChain) and `t` (ours)".to_owned()),
    }
}

/// Results answer calls that stand open, and nothing else comes between.
fn check_order(items: &[Item]) -> Result<(), String> {
    if items.is_empty() {
        return Err("there is no message in it but the system's".to_owned());
    }
    let mut open: Vec<&str> = Vec::new();
    for item in items {
        match item {
            Item::Call { id, .. } => open.push(id),
            Item::Result { id, .. } => {
                let at = open.iter().position(|call| call == id);
                open.remove(at.ok_or_else(|| format!("a result names the call `{id}`, which is not open"))?);
            }
            Item::Message { role: Role::User, .. } => {
                if let Some(id) = open.first() {
                    return Err(format!("the user speaks while the call `{id}` waits for its result"));
                }
            }
            Item::Message { .. } | Item::Think { .. } => {}
        }
    }
    Ok(())
}

/// `None` for the system's words.
type Converted = Result<Option<Vec<Item>>, String>;

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

    let message: Message<'_> = serde_json::from_str(record.get()).map_err(|error| words(&error))?;
    if message.function_call.is_some() {
        return Err("`function_call` has no id; give `tool_calls`".to_owned());
    }
    match &*message.role {
        "system" | "developer" => Ok(None),
        "user" => Ok(Some(vec![said(Role::User, message.content)?])),
        "assistant" => {
            let calls = message.tool_calls.unwrap_or_default().into_iter();
            let calls = calls.map(|ToolCall { id, function }| (id, function.name, function.arguments));
            assistant(message.content, calls.collect()).map(Some)
        }
        "tool" => result(message.tool_call_id, message.content, false).map(Some),
        role => Err(format!("the role `{role}` is none of user, assistant, tool, system")),
    }
}

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

    let Typed { r#type, data } = serde_json::from_str(record.get()).map_err(|error| words(&error))?;
    match &*r#type {
        "system" => Ok(None),
        "human" => Ok(Some(vec![said(Role::User, data.content)?])),
        "ai" => {
            let calls = data.tool_calls.into_iter().map(|ToolCall { id, name, args }| {
                Ok((id.ok_or("a tool call has no id")?, name, args.get().to_owned()))
            });
            let calls = calls.collect::<Result<_, &str>>()?;
            // Anthropic's calls stand in the content as well.
            assistant(data.content.without("tool_use"), calls).map(Some)
        }
        "tool" => {
            let failed = data.status.is_some_and(|status| status == "error");
            result(data.tool_call_id, data.content, failed).map(Some)
        }
        other => Err(format!("the type `{other}` is none of human, ai, tool, system")),
    }
}

fn said(role: Role, content: Content) -> Result<Item, String> {
    let parts = content.into_parts()?.ok_or("there is no `content`")?;
    Ok(Item::Message { role, parts, cut: false })
}

/// Words first, then calls, as providers have it; without calls there is a message, were it empty.
fn assistant(content: Content, calls: Vec<(String, String, String)>) -> Result<Vec<Item>, String> {
    let parts = content.into_parts()?.unwrap_or_default();
    let silent = parts.iter().all(|part| matches!(part, Part::Text(text) if text.is_empty()));
    let mut items = Vec::new();
    if !silent {
        items.push(Item::Message { role: Role::Assistant, parts, cut: false });
    } else if calls.is_empty() {
        items.push(Item::text(Role::Assistant, ""));
    }
    items.extend(calls.into_iter().map(|(id, name, args)| Item::Call { id, name, args }));
    Ok(items)
}

fn result(id: Option<String>, content: Content, error: bool) -> Result<Vec<Item>, String> {
    let id = id.ok_or("there is no `tool_call_id`")?;
    let out = match content {
        Content::Text(text) => Output::Text(text),
        content => content.into_parts()?.map_or_else(|| Output::Text(String::new()), Output::Parts),
    };
    Ok(vec![Item::Result { id, out, error }])
}

/// What a message says: both formats write it alike.
#[derive(Default, Deserialize)]
#[serde(untagged, expecting = "`content` is text or a list of parts")]
enum Content {
    #[default]
    None,
    Text(String),
    Parts(Vec<Element>),
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "a part is text or an object with `type`")]
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
    fn without(self, kind: &str) -> Self {
        match self {
            Self::Parts(mut elements) => {
                elements.retain(|element| !matches!(element, Element::Part { r#type, .. } if r#type == kind));
                Self::Parts(elements)
            }
            content => content,
        }
    }

    /// The parts; `None` if nothing is said.
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
                let known = ["https://", "http://", "data:"].iter().any(|scheme| url.starts_with(scheme));
                if known { Ok(Part::Image(url)) } else { Err("an image is an https: or data: URL".to_owned()) }
            }
            Element::Part { r#type, .. } => Err(format!("a part of type `{type}` has no place in a token")),
        });
        let parts: Vec<_> = parts.collect::<Result<_, _>>()?;
        Ok((!parts.is_empty()).then_some(parts))
    }
}

/// A reader's fault without its place, which is one inside the message.
fn words(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.split_once(" at line ").map_or(text.as_str(), |(words, _)| words).to_owned()
}

#[cfg(test)]
mod tests;
