//! The native door, `POST /v1/turns`: one token and one input in, a reply and a fresh token out (design §5).
//!
//! Members that we do not define are refused by name; of roles a client has one, its own. Streamed, a reply is
//! `event: delta` and `event: tool_call`, then `event: done` with the whole answer or `event: error` with the problem.

mod answer;
mod revocation;

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{self, SeqAccess, Visitor},
};
use serde_json::value::RawValue;

use self::answer::NativeWriter;
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

/// The native format.
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

/// Reads the body of `POST /v1/history`: the token, and the user where the request has to name it.
///
/// # Errors
/// [`Error::RequestInvalid`].
pub fn history_request(body: &str) -> Result<(String, Option<String>), Error> {
    let raw: RawHistoryRequest = body::read(body)?;
    Ok((raw.token, raw.user_id))
}

/// Writes the answer of `POST /v1/history`.
#[must_use]
pub fn history_answer(items: &[Item], conversation: &Conversation) -> Vec<u8> {
    answer::history(items, conversation)
}

/// A turn: what is new, and the token of what was said before. Members that are not defined are refused.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTurn<'a> {
    /// The conversation's last token; absent or null begins one.
    #[serde(default)]
    token: Option<String>,
    /// What is new: text, or parts and results of tools. Parts that follow each other are one message, of 256 KiB at most,
    /// and an inline image has 1 MiB at most, by default.
    #[serde(borrow)]
    input: RawInput<'a>,
    /// Who speaks, where no credential says so; with a credential it must be the same user. Named once, a user is named in
    /// each turn. Without a name the first turn makes one up, and its token alone speaks for it.
    #[serde(default, deserialize_with = "present")]
    user_id: Option<String>,
    /// One of the names that `GET /v1/models` lists; else the token's, else the first.
    #[serde(default, deserialize_with = "present")]
    model: Option<String>,
    /// Whether the reply comes as it is made, as server-sent events.
    #[serde(default)]
    stream: bool,
    /// The most model tokens that the reply may have.
    #[serde(default, deserialize_with = "present")]
    max_output_tokens: Option<u32>,
    /// How much chance there is in the choice of words.
    #[serde(default, deserialize_with = "present")]
    temperature: Option<serde_json::Number>,
    /// What the model may call. Calls come back in `output`; their results are sent as `input` of the next turn.
    #[serde(default)]
    tools: List<Object<RawTool>, { body::TOOLS }>,
    /// Whether the model may, must or must not call, or which tool it must. It takes `tools`.
    #[serde(default, borrow, deserialize_with = "present")]
    tool_choice: Option<&'a RawValue>,
    /// What to do when the conversation has outgrown its limits; else what is set for the model, `refuse` by default.
    #[serde(default, borrow, deserialize_with = "present")]
    truncation: Option<Cow<'a, str>>,
}

/// What a token's owner asks to read.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawHistoryRequest {
    /// The token to read.
    token: String,
    /// Whose it is, where no credential says so.
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

/// A part or a result; `role` stands here only to be refused by its own name.
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

/// What the model may call.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTool {
    /// What it is called.
    name: String,
    /// What it is for, in words for the model.
    #[serde(default, deserialize_with = "present")]
    description: Option<String>,
    /// The JSON Schema of its arguments.
    #[serde(default, deserialize_with = "present")]
    parameters: Option<Box<RawValue>>,
}

/// One tool, by its name.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawToolName {
    /// What it is called in `tools`.
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
                "`input[{at}]` is neither a part, {{\"text\"}} or {{\"image\"}}, nor a result, \
                 {{\"t\":\"result\",\"id\",\"out\"}}"
            ))
        })?;
        // Parts that follow each other are one message.
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
        _ => Err(Error::invalid("`tool_choice` is \"auto\", \"none\", \"required\" or {\"name\"}")),
    }
}

/// The most parts and results in one input; a message of the size that is allowed seldom has ten.
const ELEMENTS: usize = 1_024;

#[cfg(test)]
mod tests;
