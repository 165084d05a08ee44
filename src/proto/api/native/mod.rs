//! The native API, `POST /v1/turns`: a token and an input in, a reply and the next token out
//! (docs/api.md).
//!
//! The server rejects unknown members, with their name. A client can only speak as the user. A
//! streamed reply is `event: delta` and `event: tool_call`, then `event: done` with the complete
//! answer, or `event: error` with the problem document.

mod reply;
mod revocation;

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{self, SeqAccess, Visitor},
};
use serde_json::value::RawValue;

use self::reply::NativeWriter;
use super::{
    body::{self, List},
    format::{Api, ErrorResponse, ParsedRequest, PublicError},
};
#[cfg(test)]
use crate::proto::turn::Truncation;
use crate::proto::{
    chat::{Item, Output, Part, Role},
    error::Error,
    json::{Object, present},
    turn::{ModelOptions, Tool, ToolChoice},
};
use crate::proto::{
    deployment::ApiSettings,
    turn::{Conversation, TurnRequest},
};

pub use self::revocation::{RevocationRequest, RevocationScope, revocation_answer, revocation_request};

/// The native API.
#[derive(Clone, Copy, Debug)]
pub struct Native;

impl Api for Native {
    fn path(&self) -> &'static str {
        "/v1/turns"
    }

    fn parse_request(&self, body: &str, _: &ApiSettings) -> Result<ParsedRequest, Error> {
        let raw: RawTurn<'_> = body::read(body)?;
        let input = match raw.input {
            RawInput::Text(text) => vec![Item::text(Role::User, text)],
            RawInput::Elements(elements) => input_items(elements)?,
        };
        let tools = tools(raw.tools.0)?;
        let tool_choice = raw.tool_choice.map(tool_choice).transpose()?;
        let turn = TurnRequest {
            token: raw.token,
            input,
            user_id: raw.user_id,
            model: raw.model,
            stream: raw.stream,
            truncation: body::truncation(raw.truncation.as_deref())?,
            options: ModelOptions {
                max_output_tokens: body::at_least_one("max_output_tokens", raw.max_output_tokens)?,
                temperature: body::number_to(2, "temperature", raw.temperature)?,
                tool_choice: tool_choice.map(|choice| body::tool_choice(choice, &tools)).transpose()?,
                tools,
                ..ModelOptions::default()
            },
            ..TurnRequest::default()
        };
        Ok(ParsedRequest { turn, writer: Box::new(NativeWriter) })
    }

    fn error_response(&self, _: &PublicError<'_>) -> Option<ErrorResponse> {
        None
    }
}

/// Parses the body of `POST /v1/history`. Returns the token, and the user that the request names.
///
/// # Errors
/// [`Error::RequestInvalid`].
pub fn history_request(body: &str) -> Result<(String, Option<String>), Error> {
    let raw: RawHistoryRequest = body::read(body)?;
    Ok((raw.token, raw.user_id))
}

/// The answer to `POST /v1/history`, as JSON.
#[must_use]
pub fn history_answer(items: &[Item], conversation: &Conversation) -> Vec<u8> {
    reply::history(items, conversation)
}

/// The request body of `POST /v1/turns`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTurn<'a> {
    /// Absent or `null` starts a conversation.
    #[serde(default)]
    token: Option<String>,
    #[serde(borrow)]
    input: RawInput<'a>,
    #[serde(default, deserialize_with = "present")]
    user_id: Option<String>,
    #[serde(default, deserialize_with = "present")]
    model: Option<String>,
    #[serde(default)]
    stream: bool,
    #[serde(default, deserialize_with = "present")]
    max_output_tokens: Option<u32>,
    #[serde(default, deserialize_with = "present")]
    temperature: Option<serde_json::Number>,
    #[serde(default)]
    tools: List<Object<RawTool>, { body::TOOLS }>,
    #[serde(default, borrow, deserialize_with = "present")]
    tool_choice: Option<&'a RawValue>,
    #[serde(default, borrow, deserialize_with = "present")]
    truncation: Option<Cow<'a, str>>,
}

/// The request body of `POST /v1/history`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawHistoryRequest {
    token: String,
    #[serde(default, deserialize_with = "present")]
    user_id: Option<String>,
}

enum RawInput<'a> {
    Elements(Vec<Object<RawElement<'a>>>),
    Text(String),
}

impl<'de: 'a, 'a> Deserialize<'de> for RawInput<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InputVisitor;

        impl<'de> Visitor<'de> for InputVisitor {
            type Value = RawInput<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("text, or a list of parts and results, as `input`")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
                Ok(RawInput::Text(text.to_owned()))
            }

            fn visit_string<E: de::Error>(self, text: String) -> Result<Self::Value, E> {
                Ok(RawInput::Text(text))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Self::Value, A::Error> {
                body::at_most(ELEMENTS, seq).map(RawInput::Elements)
            }
        }

        deserializer.deserialize_any(InputVisitor)
    }
}

/// A part or a tool result. `role`, `parts` and `content` are members of other formats. They are
/// here so that the error can name them.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawElement<'a> {
    #[serde(default, borrow, deserialize_with = "present")]
    t: Option<Cow<'a, str>>,
    #[serde(default, deserialize_with = "present")]
    text: Option<String>,
    #[serde(default, deserialize_with = "present")]
    image: Option<String>,
    #[serde(default, deserialize_with = "present")]
    id: Option<String>,
    #[serde(default, deserialize_with = "present")]
    out: Option<Output>,
    #[serde(default, deserialize_with = "present")]
    error: Option<bool>,
    #[serde(default, borrow, deserialize_with = "present")]
    role: Option<Cow<'a, str>>,
    #[serde(default, borrow, deserialize_with = "present")]
    parts: Option<&'a RawValue>,
    #[serde(default, borrow, deserialize_with = "present")]
    content: Option<&'a RawValue>,
}

/// A tool.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTool {
    name: String,
    #[serde(default, deserialize_with = "present")]
    description: Option<String>,
    #[serde(default, deserialize_with = "present")]
    parameters: Option<Box<RawValue>>,
}

/// The tool that the model must call.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawToolName {
    name: String,
}

fn input_items(elements: Vec<Object<RawElement<'_>>>) -> Result<Vec<Item>, Error> {
    let mut items: Vec<Item> = Vec::new();
    for (at, Object(element)) in elements.into_iter().enumerate() {
        if let Some(role) = element.role.as_ref().filter(|role| *role != "user") {
            return Err(Error::RoleForbidden { role: role.chars().take(32).collect() });
        }
        let RawElement { t, text, image, id, out, error, role, parts, content } = element;
        let part = match (t.as_deref(), text, image, id, out, error) {
            _ if role.is_some() || parts.is_some() || content.is_some() => None,
            (Some("result"), None, None, Some(id), Some(out), error) => {
                items.push(Item::Result { id, out, error: error.unwrap_or_default() });
                continue;
            }
            (None, Some(text), None, None, None, None) => Some(Part::Text(text)),
            (None, None, Some(url), None, None, None) => Some(Part::Image(url)),
            _ => None,
        };
        let part = part.ok_or_else(|| {
            Error::invalid(format!(
                "`input[{at}]` must be a part, {{\"text\"}} or {{\"image\"}}, or a result, \
                {{\"t\":\"result\",\"id\",\"out\"}}."
            ))
        })?;
        // Consecutive parts are one message.
        match items.last_mut() {
            Some(Item::Message { parts, .. }) => parts.push(part),
            _ => items.push(Item::Message { role: Role::User, parts: vec![part], cut: false }),
        }
    }
    Ok(items)
}

fn tools(raw: Vec<Object<RawTool>>) -> Result<Vec<Tool>, Error> {
    let tool = |Object(RawTool { name, description, parameters })| body::tool(name, description, parameters, None);
    raw.into_iter().map(tool).collect()
}

fn tool_choice(raw: &RawValue) -> Result<ToolChoice, Error> {
    if let Ok(Object(RawToolName { name })) = serde_json::from_str(raw.get()) {
        return Ok(ToolChoice::Tool(name));
    }
    match raw.get() {
        r#""auto""# => Ok(ToolChoice::Auto),
        r#""none""# => Ok(ToolChoice::None),
        r#""required""# => Ok(ToolChoice::Required),
        _ => Err(Error::invalid("`tool_choice` must be \"auto\", \"none\", \"required\" or {\"name\"}.")),
    }
}

/// The maximum number of parts and results in an input. A message of the maximum size rarely has
/// ten.
const ELEMENTS: usize = 1_024;

#[cfg(test)]
mod tests;
