//! The messages of a request, and their conversion to items. Parts and calls are converted while
//! they are parsed. A body has room for many of them, and one with all its optional members would
//! take many times the size of its text.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{self, SeqAccess, Visitor},
};
use serde_json::value::RawValue;

use super::PROVIDER;
use crate::proto::{
    api::{
        body::{self, List},
        tools::{ToolNames, custom_arguments},
    },
    chat::{Claim, Item, Members, Output, Owner, Part, Role, claimed_provider, state_blob},
    error::Error,
    json::{KnownMembers, Object, Others, WithOthers},
};

/// A message of any role.
#[derive(Deserialize)]
pub(super) struct RawMessage<'a> {
    #[serde(borrow)]
    role: Cow<'a, str>,
    content: Option<RawContent>,
    refusal: Option<String>,
    #[serde(borrow)]
    tool_calls: Option<List<RawCall<'a>, { body::ELEMENTS }>>,
    tool_call_id: Option<String>,
    #[serde(borrow)]
    audio: Option<&'a RawValue>,
    #[serde(borrow)]
    function_call: Option<&'a RawValue>,
    /// The token of the answer that the message comes from.
    #[serde(borrow)]
    conversation_token: Option<Cow<'a, str>>,
    /// Where LiteLLM keeps members that it does not know, such as the token.
    #[serde(borrow)]
    provider_specific_fields: Option<&'a RawValue>,
    /// The mark of the service that made the message.
    #[serde(borrow)]
    holdall_service: Option<&'a RawValue>,
}

impl KnownMembers for RawMessage<'_> {
    const NAMES: &'static [&'static str] = &[
        "role",
        "content",
        "refusal",
        "tool_calls",
        "tool_call_id",
        "audio",
        "function_call",
        "conversation_token",
        "provider_specific_fields",
        "holdall_service",
    ];
}

impl<'a> RawMessage<'a> {
    fn take_token(&mut self) -> Option<Cow<'a, str>> {
        #[derive(Deserialize)]
        struct Fields<'a> {
            #[serde(borrow)]
            conversation_token: Option<Cow<'a, str>>,
        }

        let fields = self.provider_specific_fields;
        self.conversation_token
            .take()
            .filter(|token| !token.is_empty())
            .or_else(|| serde_json::from_str::<Object<Fields<'a>>>(fields?.get()).ok()?.0.conversation_token)
    }
}

enum RawContent {
    Parts(Vec<RawPart>),
    Text(String),
}

impl<'de> Deserialize<'de> for RawContent {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ContentVisitor;

        impl<'de> Visitor<'de> for ContentVisitor {
            type Value = RawContent;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("text or a list of parts")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<RawContent, E> {
                Ok(RawContent::Text(text.to_owned()))
            }

            fn visit_string<E: de::Error>(self, text: String) -> Result<RawContent, E> {
                Ok(RawContent::Text(text))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<RawContent, A::Error> {
                let parts = body::at_most(body::ELEMENTS, seq)?;
                if parts.is_empty() {
                    Err(de::Error::custom("the list is empty"))
                } else {
                    Ok(RawContent::Parts(parts))
                }
            }
        }

        deserializer.deserialize_any(ContentVisitor)
    }
}

enum RawPart {
    Image(String),
    /// The model's refusal to answer.
    Refusal(String),
    Text(String),
    /// A part of an unsupported type.
    Unsupported(&'static str),
}

impl<'de> Deserialize<'de> for RawPart {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Members<'a> {
            #[serde(borrow)]
            r#type: Cow<'a, str>,
            text: Option<String>,
            image_url: Option<Object<Url>>,
            refusal: Option<String>,
        }

        #[derive(Deserialize)]
        struct Url {
            url: String,
        }

        let Object(Members { r#type, text, image_url, refusal }) = Object::<Members<'de>>::deserialize(deserializer)?;
        match (&*r#type, text, image_url, refusal) {
            ("text", Some(text), ..) => Ok(Self::Text(text)),
            ("image_url", _, Some(Object(Url { url })), _) => Ok(Self::Image(url)),
            ("refusal", .., Some(refusal)) => Ok(Self::Refusal(refusal)),
            ("file", ..) => Ok(Self::Unsupported("file")),
            ("input_audio", ..) => Ok(Self::Unsupported("input_audio")),
            _ => Err(de::Error::custom(
                "a part must be {\"type\":\"text\",\"text\"}, {\"type\":\"image_url\",\"image_url\":{\"url\"}} or \
                 {\"type\":\"refusal\",\"refusal\"}",
            )),
        }
    }
}

/// A call of a function, or of a custom tool with its text as the arguments of a function.
struct RawCall<'a> {
    id: String,
    name: String,
    args: String,
    /// The opaque members, if there are any.
    others: Option<Box<Others<'a>>>,
}

impl<'de: 'a, 'a> Deserialize<'de> for RawCall<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Members<'a> {
            id: String,
            #[serde(borrow)]
            r#type: Option<Cow<'a, str>>,
            function: Option<Object<CalledFunction>>,
            custom: Option<Object<CalledCustom>>,
        }

        impl KnownMembers for Members<'_> {
            const NAMES: &'static [&'static str] = &["id", "type", "index", "function", "custom"];
        }

        #[derive(Deserialize)]
        struct CalledFunction {
            name: String,
            arguments: String,
        }

        #[derive(Deserialize)]
        struct CalledCustom {
            name: String,
            input: String,
        }

        let WithOthers(members, others) = WithOthers::<Members<'de>>::deserialize(deserializer)?;
        let Members { id, r#type, function, custom } = members;
        let others = (!others.is_empty()).then(|| Box::new(others));
        // Clients that build a call from a stream can omit its type.
        match (r#type.as_deref(), function, custom) {
            (None | Some("function"), Some(Object(CalledFunction { name, arguments: args })), _) => {
                Ok(Self { id, name, args, others })
            }
            (None | Some("custom"), _, Some(Object(CalledCustom { name, input }))) => {
                Ok(Self { id, name, args: custom_arguments(&input), others })
            }
            _ => Err(de::Error::custom(
                "a call must be {\"id\",\"type\":\"function\",\"function\":{\"name\",\"arguments\"}} or \
                 {\"id\",\"type\":\"custom\",\"custom\":{\"name\",\"input\"}}",
            )),
        }
    }
}

/// The content of the messages.
pub(super) struct Messages<'a> {
    pub(super) items: Vec<Item>,
    /// The texts of the system messages before the first message of the model.
    pub(super) system: Option<String>,
    /// The token of the model's last message. That of an earlier one would continue from there.
    pub(super) token: Option<Cow<'a, str>>,
}

/// Converts the messages. `names` has the names of the functions that calls become.
///
/// A system message after a message of the model stays in place, as text of the user. So the start
/// of the prompt does not change during a conversation.
pub(super) fn read_messages<'a, const MOST: usize>(
    messages: List<WithOthers<'a, RawMessage<'a>>, MOST>,
    names: &ToolNames,
) -> Result<Messages<'a>, Error> {
    let (mut items, mut system, mut token) = (Vec::new(), Vec::new(), None);
    let mut follows_model = false;
    for (at, WithOthers(mut message, others)) in messages.0.into_iter().enumerate() {
        match &*message.role {
            "assistant" => {
                token = message.take_token();
                push_assistant(at, message, others, names, &mut items)?;
                follows_model = true;
            }
            "developer" | "system" if follows_model => {
                let parts: Vec<_> = system_texts(at, message.content)?.into_iter().map(Part::Text).collect();
                if !parts.is_empty() {
                    items.push(Item::Message { role: Role::User, parts, cut: false });
                }
            }
            "developer" | "system" => system.extend(system_texts(at, message.content)?),
            "function" => {
                return Err(body::unsupported(format!(
                    "`messages[{at}]` has the role `function`, which is not supported. Send the result in the role `tool`, \
                with its `tool_call_id`."
                )));
            }
            "tool" => items.push(tool_result(at, message)?),
            "user" => {
                items.push(Item::Message { role: Role::User, parts: read_parts(at, message.content)?, cut: false });
            }
            other => return Err(Error::RoleForbidden { role: body::excerpt(other).into() }),
        }
    }
    if items.is_empty() {
        return Err(Error::invalid("`messages` has no user message and no tool result. Add one."));
    }
    let system = if system.is_empty() { None } else { Some(system.join("\n\n")) };
    Ok(Messages { items, system, token })
}

/// The texts of a system message, without empty ones.
fn system_texts(at: usize, content: Option<RawContent>) -> Result<Vec<String>, Error> {
    let mut texts = Vec::new();
    for part in read_parts(at, content)? {
        match part {
            Part::Text(text) if text.is_empty() => {}
            Part::Text(text) => texts.push(text),
            Part::Image(_) => {
                return Err(Error::invalid(format!(
                    "`messages[{at}]` has an image, but a system message can only have text."
                )));
            }
        }
    }
    Ok(texts)
}

fn tool_result(at: usize, message: RawMessage<'_>) -> Result<Item, Error> {
    let id = message.tool_call_id;
    let id = id.ok_or_else(|| Error::invalid(format!("`messages[{at}]` has no `tool_call_id`. Add it.")))?;
    let out = match read_content(at, message.content)? {
        Content::Parts(parts) => Output::Parts(parts),
        Content::Text(text) => Output::Text(text),
    };
    Ok(Item::Result { id, out, error: false })
}

/// Adds the items of a message of the model: its text, its opaque members, then its calls. Text and
/// calls must match the items of the token.
fn push_assistant<'a>(
    at: usize,
    message: RawMessage<'a>,
    mut others: Others<'a>,
    names: &ToolNames,
    items: &mut Vec<Item>,
) -> Result<(), Error> {
    if message.audio.is_some() || message.function_call.is_some() {
        return Err(body::unsupported(format!(
            "`messages[{at}]` has `audio` or `function_call`, which are not supported. Leave out the messages that the \
                token holds."
        )));
    }
    let mut parts = match message.content {
        Some(content) => read_parts(at, Some(content))?,
        None => Vec::new(),
    };
    parts.extend(message.refusal.map(Part::Text));
    parts.retain(|part| !matches!(part, Part::Text(text) if text.is_empty()));
    let calls = message.tool_calls.unwrap_or_default().0;
    // A turn of the model without text and calls is still an item.
    if parts.is_empty() && calls.is_empty() {
        parts.push(Part::Text(String::new()));
    }
    if !parts.is_empty() {
        items.push(Item::Message { role: Role::Assistant, parts, cut: false });
    }
    let by = claimed_provider(PROVIDER, message.holdall_service.and_then(body::text).as_deref());
    others.extend(message.provider_specific_fields.map(|fields| ("provider_specific_fields".into(), fields)));
    items.extend(state(Owner::Message, others, &by));
    for RawCall { id, name, args, others } in calls {
        items.extend(state(Owner::Call(id.clone()), others.map(|others| *others).unwrap_or_default(), &by));
        items.push(Item::Call { id, name: names.function(None, &name), args });
    }
    Ok(())
}

/// The opaque members of a message or a call, as the item that keeps them. Only the service that
/// made them knows which of the unknown members it wants back. A marked call without them has an
/// item as well: the id is the service's own.
fn state(owner: Owner, others: Others<'_>, by: &str) -> Option<Item> {
    if others.is_empty() && (owner == Owner::Message || !Claim::of(by).is_marked()) {
        return None;
    }
    let members = Members(others.into_iter().map(|(name, value)| (name.into_owned(), value)).collect());
    Some(Item::Think { provider_id: by.to_owned(), blob: state_blob(owner, &members) })
}

/// The content of a message.
enum Content {
    /// Never empty.
    Parts(Vec<Part>),
    Text(String),
}

fn read_content(at: usize, content: Option<RawContent>) -> Result<Content, Error> {
    let parts = match content {
        None => return Err(Error::invalid(format!("`messages[{at}]` has no `content`. Add text or parts."))),
        Some(RawContent::Text(text)) => return Ok(Content::Text(text)),
        Some(RawContent::Parts(parts)) => parts,
    };
    let part = |part| match part {
        RawPart::Image(url) => Ok(Part::Image(url)),
        RawPart::Refusal(text) | RawPart::Text(text) => Ok(Part::Text(text)),
        RawPart::Unsupported(kind) => Err(body::unsupported(format!(
            "`messages[{at}]` has a part of type `{kind}`, which is not supported. Send text, or images as `image_url`."
        ))),
    };
    parts.into_iter().map(part).collect::<Result<_, _>>().map(Content::Parts)
}

fn read_parts(at: usize, content: Option<RawContent>) -> Result<Vec<Part>, Error> {
    read_content(at, content).map(|content| match content {
        Content::Parts(parts) => parts,
        Content::Text(text) => vec![Part::Text(text)],
    })
}

/// The shortest part has 15 bytes of text, and the shortest call 24. A parsed one must stay a small
/// multiple of that.
const _: () = assert!(size_of::<RawPart>() <= 32 && size_of::<RawCall<'_>>() <= 80);
