//! The items of a conversation: messages, tool calls, tool results and reasoning, in neutral form.
//!
//! An item is one line of JSON (docs/token.md, "Items"). It is always written in the same form. It
//! is read with its members in any order. Unknown and duplicate members, `null`, arrays instead of
//! objects, empty parts and lone surrogates are refused. There is no system role: the system prompt
//! belongs to the server, which applies it in every turn.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{Error as _, Visitor},
};

use crate::proto::{
    json::{Object, present},
    withheld::Withheld,
};

/// Stands for the provider in a reference. No provider has this name.
const REFERENCE: &str = "item_reference";

/// One entry of the history.
#[derive(Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "t")]
pub enum Item {
    /// A tool call by the model.
    #[serde(rename = "call")]
    Call {
        /// The id of the call. The result has the same id.
        id: String,
        /// The name of the tool.
        name: String,
        /// The arguments: JSON text, byte for byte as received.
        args: String,
    },
    /// A message.
    #[serde(rename = "msg")]
    Message {
        /// The author.
        role: Role,
        /// The content. There is at least one part.
        parts: Vec<Part>,
        /// True for an assistant message that was interrupted. Absent otherwise.
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        cut: bool,
    },
    /// The result of a tool call.
    #[serde(rename = "result")]
    Result {
        /// The id of the call.
        id: String,
        /// The result.
        out: Output,
        /// True if the tool failed. Absent otherwise.
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        error: bool,
    },
    /// Reasoning in the provider's own opaque form. It is sent back only to that provider.
    #[serde(rename = "think")]
    Think {
        /// The provider: the name of its wire format, followed by `@host` if the host is not the
        /// official one.
        #[serde(rename = "by")]
        provider_id: String,
        /// The reasoning: JSON text, byte for byte as received.
        blob: String,
    },
}

impl Item {
    /// A message with one text part.
    #[must_use]
    pub fn text(role: Role, text: impl Into<String>) -> Self {
        Self::Message { role, parts: vec![Part::Text(text.into())], cut: false }
    }

    /// A reference by which a client repeats an item of the model without its content. It is only
    /// compared with the conversation, and never kept.
    #[must_use]
    pub fn reference() -> Self {
        Self::Think { provider_id: REFERENCE.to_owned(), blob: String::new() }
    }

    pub(in crate::proto) fn is_reference(&self) -> bool {
        matches!(self, Self::Think { provider_id, .. } if provider_id == REFERENCE)
    }

    /// The side that the item comes from. Results come from the user.
    #[must_use]
    pub fn side(&self) -> Role {
        match self {
            Self::Call { .. } | Self::Message { role: Role::Assistant, .. } | Self::Think { .. } => Role::Assistant,
            Self::Message { role: Role::User, .. } | Self::Result { .. } => Role::User,
        }
    }

    /// Returns true for an item of the model without visible content: reasoning, or a blank
    /// message.
    pub(super) fn says_nothing(&self) -> bool {
        match self {
            Self::Think { .. } => true,
            Self::Message { role: Role::Assistant, parts, .. } => {
                parts.iter().all(|part| matches!(part, Part::Text(text) if text.trim().is_empty()))
            }
            Self::Call { .. } | Self::Message { .. } | Self::Result { .. } => false,
        }
    }

    /// Reads one line, without its line end.
    ///
    /// # Errors
    /// The message of the JSON reader, with a column. It may quote the line, so show it only to the
    /// author of the line.
    pub fn from_line(line: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str::<Object<RawItem<'_>>>(line)?.0.into_item().map_err(serde_json::Error::custom)
    }

    /// Appends the item's line, including the line end.
    pub fn write_line(&self, lines: &mut String) {
        // Strings and booleans always serialize, and writing to a String cannot fail.
        let line = serde_json::to_string(self).unwrap_or_default();
        lines.push_str(&line);
        lines.push('\n');
    }

    /// The number of bytes of the item's line, including the line end.
    #[must_use]
    pub fn line_bytes(&self) -> usize {
        let mut line = String::new();
        self.write_line(&mut line);
        line.len()
    }
}

impl<'de> Deserialize<'de> for Item {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Object::<RawItem<'_>>::deserialize(deserializer)?.0.into_item().map_err(D::Error::custom)
    }
}

impl fmt::Debug for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Call { args, .. } => f.debug_tuple("Call").field(&Withheld::text(args)).finish(),
            Self::Message { role, parts, cut } => {
                f.debug_struct("Message").field("role", role).field("parts", parts).field("cut", cut).finish()
            }
            Self::Result { out, error, .. } => {
                f.debug_struct("Result").field("out", out).field("error", error).finish_non_exhaustive()
            }
            Self::Think { provider_id, blob } => {
                f.debug_tuple("Think").field(provider_id).field(&Withheld::text(blob)).finish()
            }
        }
    }
}

/// Returns true if `provider_id` names the wire format `provider`, at any host.
pub(in crate::proto) fn is_of_provider(provider_id: &str, provider: &str) -> bool {
    provider_id.split('@').next() == Some(provider)
}

/// The author of a message. Tool output is in results, and the system prompt is not in the history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// The model.
    Assistant,
    /// The caller.
    User,
}

impl<'de> Deserialize<'de> for Role {
    /// Written by hand: a derived reader would also accept `{"user":null}`.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct RoleVisitor;

        impl Visitor<'_> for RoleVisitor {
            type Value = Role;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("\"user\" or \"assistant\"")
            }

            fn visit_str<E: serde::de::Error>(self, role: &str) -> Result<Role, E> {
                match role {
                    "assistant" => Ok(Role::Assistant),
                    "user" => Ok(Role::User),
                    other => Err(E::unknown_variant(other, &["user", "assistant"])),
                }
            }
        }

        deserializer.deserialize_str(RoleVisitor)
    }
}

/// A part of a message or a result.
#[derive(Clone, PartialEq, Eq, Serialize)]
pub enum Part {
    /// An image, by its URL. [`ImageRules`](super::ImageRules) has the rules for new input.
    #[serde(rename = "image")]
    Image(String),
    /// Text.
    #[serde(rename = "text")]
    Text(String),
}

impl fmt::Debug for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, text) = match self {
            Self::Image(url) => ("Image", url),
            Self::Text(text) => ("Text", text),
        };
        f.debug_tuple(name).field(&Withheld::text(text)).finish()
    }
}

impl<'de> Deserialize<'de> for Part {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Object::<RawPart<'_>>::deserialize(deserializer)?.0 {
            RawPart { text: Some(text), image: None } => Ok(Self::Text(text.into_owned())),
            RawPart { text: None, image: Some(url) } => Ok(Self::Image(url.into_owned())),
            RawPart { .. } => Err(D::Error::custom("a part must be {\"text\"} or {\"image\"}")),
        }
    }
}

/// The content of a tool result: text, or parts.
#[derive(Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Output {
    /// At least one part.
    Parts(Vec<Part>),
    /// Text, possibly empty.
    Text(String),
}

impl Output {
    /// The text of the result. Parts are joined by line ends, and images become `[image]`.
    #[must_use]
    pub fn to_text(&self) -> Cow<'_, str> {
        match self {
            Self::Text(text) => Cow::Borrowed(text),
            Self::Parts(parts) => Cow::Owned(
                parts
                    .iter()
                    .map(|part| match part {
                        Part::Text(text) => text.as_str(),
                        Part::Image(_) => "[image]",
                    })
                    .collect::<Vec<_>>()
                    .join("\n"),
            ),
        }
    }
}

impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Parts(parts) => parts.fmt(f),
            Self::Text(text) => Withheld::text(text).fmt(f),
        }
    }
}

impl<'de> Deserialize<'de> for Output {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OutputVisitor;

        impl<'de> Visitor<'de> for OutputVisitor {
            type Value = Output;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("text or a list of parts")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Output, E> {
                Ok(Output::Text(text.to_owned()))
            }

            fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut seq: A) -> Result<Output, A::Error> {
                let mut parts = Vec::new();
                while let Some(part) = seq.next_element()? {
                    parts.push(part);
                }
                if parts.is_empty() {
                    return Err(A::Error::custom("parts are empty"));
                }
                Ok(Output::Parts(parts))
            }
        }

        deserializer.deserialize_any(OutputVisitor)
    }
}

/// The members of all kinds of items, none of them required.
///
/// One flat struct is read in one pass and borrows its text. A tagged enum would copy every member
/// first.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawItem<'a> {
    #[serde(borrow)]
    t: Cow<'a, str>,
    #[serde(default, deserialize_with = "present")]
    role: Option<Role>,
    #[serde(default, deserialize_with = "present")]
    parts: Option<Vec<Part>>,
    #[serde(default, deserialize_with = "present")]
    cut: Option<bool>,
    #[serde(default, deserialize_with = "present")]
    id: Option<String>,
    #[serde(default, deserialize_with = "present")]
    name: Option<String>,
    #[serde(default, deserialize_with = "present")]
    args: Option<String>,
    #[serde(default, deserialize_with = "present")]
    out: Option<Output>,
    #[serde(default, deserialize_with = "present")]
    error: Option<bool>,
    #[serde(default, deserialize_with = "present")]
    by: Option<String>,
    #[serde(default, deserialize_with = "present")]
    blob: Option<String>,
}

impl RawItem<'_> {
    fn into_item(self) -> Result<Item, &'static str> {
        let Self { t, role, parts, cut, id, name, args, out, error, by, blob } = self;
        match (&*t, role, parts, cut, id, name, args, out, error, by, blob) {
            ("msg", Some(role), Some(parts), cut, None, None, None, None, None, None, None) => {
                if parts.is_empty() {
                    return Err("parts are empty");
                }
                let cut = match (role, cut) {
                    (_, None) => false,
                    (Role::Assistant, Some(true)) => true,
                    _ => return Err("`cut` is true, and on assistant messages only"),
                };
                Ok(Item::Message { role, parts, cut })
            }
            ("call", None, None, None, Some(id), Some(name), Some(args), None, None, None, None) => {
                Ok(Item::Call { id, name, args })
            }
            ("result", None, None, None, Some(id), None, None, Some(out), error, None, None) => match error {
                Some(false) => Err("`error` is true or absent"),
                error => Ok(Item::Result { id, out, error: error.is_some() }),
            },
            ("think", None, None, None, None, None, None, None, None, Some(by), Some(blob)) => {
                Ok(Item::Think { provider_id: by, blob })
            }
            _ => Err("members do not fit the kind `t`, which is msg, call, result or think"),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPart<'a> {
    #[serde(default, borrow, deserialize_with = "present")]
    text: Option<Cow<'a, str>>,
    #[serde(default, borrow, deserialize_with = "present")]
    image: Option<Cow<'a, str>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_are_written_in_one_form_and_read_back() {
        for line in [
            r#"{"t":"msg","role":"user","parts":[{"text":"hé\u0000\n"}]}"#,
            r#"{"t":"msg","role":"user","parts":[{"text":""},{"image":"https://e.test/a.png"}]}"#,
            r#"{"t":"msg","role":"assistant","parts":[{"text":"so f"}],"cut":true}"#,
            r#"{"t":"call","id":"c1","name":"add","args":"{\"a\": 1}"}"#,
            r#"{"t":"result","id":"c1","out":"3"}"#,
            r#"{"t":"result","id":"c1","out":[{"text":"3"}],"error":true}"#,
            r#"{"t":"think","by":"anthropic","blob":"{}"}"#,
        ] {
            let mut written = String::new();
            Item::from_line(line).unwrap().write_line(&mut written);
            assert_eq!(written, format!("{line}\n"));
        }
    }

    #[test]
    fn members_are_read_in_any_order() {
        let line = r#" { "parts" : [ { "text" : "a" } ] , "role" : "user" , "t" : "msg" } "#;
        assert_eq!(Item::from_line(line).unwrap(), Item::text(Role::User, "a"));
    }

    #[test]
    fn other_lines_are_refused() {
        for line in [
            r#"["msg","user",[{"text":"a"}]]"#,
            r#"{"t":"msg","role":"user","parts":[]}"#,
            r#"{"t":"msg","role":"system","parts":[{"text":"a"}]}"#,
            r#"{"t":"msg","role":{"user":null},"parts":[{"text":"a"}]}"#,
            r#"{"t":"msg","role":"user","parts":[{"text":"a"}],"cut":true}"#,
            r#"{"t":"msg","role":"assistant","parts":[{"text":"a"}],"cut":false}"#,
            r#"{"t":"msg","role":"user","parts":[{"text":"a"}],"cut":null}"#,
            r#"{"t":"msg","role":"user","parts":[{"text":"a"}],"x":1}"#,
            r#"{"t":"msg","role":"user","role":"user","parts":[{"text":"a"}]}"#,
            r#"{"t":"msg","t":"msg","role":"user","parts":[{"text":"a"}]}"#,
            r#"{"t":"msg","role":"user","parts":[{"text":"a","text":"b"}]}"#,
            r#"{"t":"msg","role":"user","parts":[{"text":"a","image":"b"}]}"#,
            r#"{"t":"msg","role":"user","parts":[{}]}"#,
            r#"{"t":"msg","role":"user","parts":[["a"]]}"#,
            r#"{"t":"msg","role":"user","parts":[{"text":"\ud800"}]}"#,
            r#"{"t":"msg","role":"user","parts":[{"text":1}]}"#,
            r#"{"t":"call","id":"c","name":"n","args":{}}"#,
            r#"{"t":"call","id":"c","name":"n"}"#,
            r#"{"t":"call","id":"c","name":"n","args":"{}","role":"user"}"#,
            r#"{"t":"result","id":"c","out":[]}"#,
            r#"{"t":"result","id":"c","out":{}}"#,
            r#"{"t":"result","id":"c","out":"x","error":false}"#,
            r#"{"t":"think","by":"a","blob":{}}"#,
            r#"{"t":"note"}"#,
            r#"{"t":"msg","role":"user","parts":[{"text":"a"}]} x"#,
            "",
        ] {
            assert!(Item::from_line(line).is_err(), "{line}");
        }
    }
}
