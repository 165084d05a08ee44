//! The request: the input, and the options for the model.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{self, SeqAccess, Visitor},
};
use serde_json::{Number, value::RawValue};

use crate::proto::{
    api::{
        body::{self, AtLeastOne, List},
        ignored::Ignored,
        tools,
    },
    chat::{Item, Output, Part, Role},
    error::Error,
    json::{Object, present},
    turn::{ModelOptions, Tool, ToolChoice, TurnRequest},
};

/// The request body of `POST /v1/turns`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawTurn<'a> {
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
    max_output_tokens: Option<AtLeastOne>,
    #[serde(default, deserialize_with = "present")]
    temperature: Option<Number>,
    #[serde(default)]
    tools: List<Object<RawTool>, { body::TOOLS }>,
    #[serde(default, borrow, deserialize_with = "present")]
    tool_choice: Option<&'a RawValue>,
    #[serde(default, borrow, deserialize_with = "present")]
    truncation: Option<Cow<'a, str>>,
}

impl RawTurn<'_> {
    /// The turn.
    ///
    /// # Errors
    /// [`Error::RequestInvalid`] and [`Error::RoleForbidden`], with the name of the member.
    pub(super) fn into_turn(self) -> Result<TurnRequest, Error> {
        let input = match self.input {
            RawInput::Text(text) => vec![Item::text(Role::User, text)],
            RawInput::Elements(elements) => input_items(elements)?,
        };
        let tools = read_tools(self.tools.0)?;
        let tool_choice = self.tool_choice.map(tool_choice).transpose()?;
        Ok(TurnRequest {
            token: self.token,
            input,
            user_id: self.user_id,
            model: self.model,
            stream: self.stream,
            truncation: body::truncation(self.truncation.as_deref())?,
            options: ModelOptions {
                max_output_tokens: self.max_output_tokens.map(u32::from),
                temperature: body::number_to(2, "temperature", self.temperature)?,
                tool_choice: tool_choice
                    .map(|choice| tools::tool_choice(choice, &tools, &Ignored::default()))
                    .transpose()?,
                tools,
                ..ModelOptions::default()
            },
            ..TurnRequest::default()
        })
    }
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
                f.write_str("text or a list of parts and results")
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

fn read_tools(raw: Vec<Object<RawTool>>) -> Result<Vec<Tool>, Error> {
    let tool = |(at, Object(RawTool { name, description, parameters }))| {
        tools::tool(&format!("tools[{at}]"), name, description, parameters, None)
    };
    raw.into_iter().enumerate().map(tool).collect()
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
