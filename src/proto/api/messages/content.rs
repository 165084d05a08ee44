//! The messages of a request, and their conversion to items. Blocks are converted while they are
//! parsed, and borrow from the body, because a body has room for many of them.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{self, SeqAccess, Visitor},
};
use serde_json::value::RawValue;

mod document;

use crate::proto::{
    api::{body, carried_state::state_item, ignored::Ignored},
    chat::{Item, Output, Part, Role, claimed_provider},
    error::Error,
    json::Object,
};

/// A message of a request.
#[derive(Deserialize)]
pub(super) struct RawMessage<'a> {
    #[serde(borrow)]
    role: Cow<'a, str>,
    #[serde(borrow)]
    content: RawContent<'a>,
    #[serde(borrow)]
    conversation_token: Option<Cow<'a, str>>,
}

/// The content of the messages.
pub(super) struct Messages<'a> {
    pub(super) items: Vec<Item>,
    /// The token of the model's last message, in itself or in its last block. That of an earlier
    /// message would continue from there.
    pub(super) token: Option<Cow<'a, str>>,
}

/// Converts the messages. The texts of system messages are added to `system`. After a message of
/// the model they stay in place instead, as text of the user. So the start of the prompt does not
/// change during a conversation.
///
/// # Errors
/// [`Error::RequestInvalid`] and [`Error::Unsupported`], with the position.
pub(super) fn messages<'a>(
    messages: Vec<Object<RawMessage<'a>>>,
    system: &mut Vec<String>,
    ignored: &mut Ignored,
) -> Result<Messages<'a>, Error> {
    let (mut items, mut token) = (Vec::new(), None);
    let (mut follows_model, mut ends_with_model) = (false, false);
    for (message, Object(RawMessage { role, mut content, conversation_token })) in messages.into_iter().enumerate() {
        let position = MessagePosition::Message(message);
        match &*role {
            "assistant" => {
                token = conversation_token.filter(|token| !token.is_empty()).or_else(|| content.take_token());
                push_assistant(position, content, follows_model, &mut items, ignored)?;
                follows_model = true;
            }
            "system" if follows_model => {
                let mut parts = texts(position, content)?.into_iter().map(Part::Text).collect();
                push_message(Role::User, &mut parts, &mut items);
            }
            "system" => system.extend(texts(position, content)?),
            "user" => push_user(position, content, &mut items, ignored)?,
            _ => {
                return Err(Error::invalid(format!(
                    "`{position}.role` must be \"user\", \"assistant\" or \"system\"."
                )));
            }
        }
        if role != "system" {
            ends_with_model = role == "assistant";
        }
    }
    if ends_with_model {
        return Err(body::unsupported(
            "`messages` ends with the role `assistant`, but the start of a reply (prefill) is not supported. End with a \
                user message or tool results.",
        ));
    }
    if items.is_empty() {
        return Err(Error::invalid("`messages` has no user message and no tool result. Add one."));
    }
    Ok(Messages { items, token })
}

/// The texts of a system prompt, without empty ones.
///
/// # Errors
/// As [`messages`].
pub(super) fn system(content: RawContent<'_>) -> Result<Vec<String>, Error> {
    texts(MessagePosition::System, content)
}

/// A position in the request, for error messages.
#[derive(Clone, Copy)]
enum MessagePosition {
    Block { message: usize, block: usize },
    Message(usize),
    System,
    SystemBlock(usize),
}

impl MessagePosition {
    /// The position of the block with this index.
    fn block(self, block: usize) -> Self {
        match self {
            Self::Block { message, .. } | Self::Message(message) => Self::Block { message, block },
            Self::System | Self::SystemBlock(_) => Self::SystemBlock(block),
        }
    }
}

impl fmt::Display for MessagePosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Block { message, block } => write!(f, "messages[{message}].content[{block}]"),
            Self::Message(message) => write!(f, "messages[{message}]"),
            Self::System => f.write_str("system"),
            Self::SystemBlock(block) => write!(f, "system[{block}]"),
        }
    }
}

/// Text, or blocks.
pub(super) enum RawContent<'a> {
    /// The blocks, and the token of the last one.
    Blocks(Vec<RawBlock<'a>>, Option<Cow<'a, str>>),
    Text(String),
}

impl<'a> RawContent<'a> {
    fn take_token(&mut self) -> Option<Cow<'a, str>> {
        match self {
            Self::Blocks(_, token) => token.take(),
            Self::Text(_) => None,
        }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for RawContent<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ContentVisitor;

        impl<'de> Visitor<'de> for ContentVisitor {
            type Value = RawContent<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("text or a list of blocks")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
                Ok(RawContent::Text(text.to_owned()))
            }

            fn visit_string<E: de::Error>(self, text: String) -> Result<Self::Value, E> {
                Ok(RawContent::Text(text))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Self::Value, A::Error> {
                let (mut blocks, mut token) = (Vec::new(), None);
                body::each_of_at_most(body::ELEMENTS, seq, |TokenBlock { block, conversation_token }| {
                    token = conversation_token;
                    blocks.push(block);
                })?;
                Ok(RawContent::Blocks(blocks, token))
            }
        }

        deserializer.deserialize_any(ContentVisitor)
    }
}

/// A block, and the token that an answer puts into its last block.
struct TokenBlock<'a> {
    block: RawBlock<'a>,
    conversation_token: Option<Cow<'a, str>>,
}

/// A block, by its type.
pub(super) enum RawBlock<'a> {
    Document(Box<RawDocument<'a>>),
    Image {
        source: &'a RawValue,
    },
    SearchResult(Box<RawDocument<'a>>),
    Text(String),
    /// A provider's reasoning.
    Thinking(Box<RawThinking<'a>>),
    /// A tool that a search found, with its name.
    ToolReference(Box<str>),
    ToolResult(Box<RawToolResult<'a>>),
    ToolUse(Box<RawToolUse<'a>>),
    /// A block of an unsupported type, with the name of the type.
    Unsupported(Box<str>),
}

/// The shortest block has 11 bytes of text. A parsed one must stay a small multiple of that.
const _: () = assert!(size_of::<RawBlock<'_>>() <= 24);

/// The members of a document or a search result.
pub(super) struct RawDocument<'a> {
    source: Option<&'a RawValue>,
    content: Option<&'a RawValue>,
    title: Option<&'a RawValue>,
    context: Option<&'a RawValue>,
    citations: Option<&'a RawValue>,
}

pub(super) struct RawToolResult<'a> {
    id: String,
    content: Option<&'a RawValue>,
    is_error: bool,
}

pub(super) struct RawToolUse<'a> {
    id: String,
    name: String,
    input: &'a RawValue,
}

/// The members of a thinking block that its provider takes back, in their order there.
#[derive(Serialize)]
pub(super) struct RawThinking<'a> {
    r#type: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    thinking: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    signature: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a RawValue>,
    /// The mark of the service that made the block.
    #[serde(skip)]
    mark: Option<&'a RawValue>,
}

impl RawThinking<'_> {
    /// The item that keeps the block. A block can carry the state of a service with another format.
    fn into_item(self) -> Item {
        let carried = self.signature.or(self.data).and_then(|text| state_item(text, self.thinking));
        carried.unwrap_or_else(|| Item::Think {
            provider_id: claimed_provider(PROVIDER, self.mark.and_then(body::text).as_deref()),
            // Raw values and strings always serialize.
            blob: serde_json::to_string(&self).unwrap_or_default(),
        })
    }
}

impl RawBlock<'_> {
    fn kind(&self) -> &str {
        match self {
            Self::Document(_) => "document",
            Self::Image { .. } => "image",
            Self::SearchResult(_) => "search_result",
            Self::Text(_) => "text",
            Self::Thinking(_) => "thinking",
            Self::ToolReference(_) => "tool_reference",
            Self::ToolResult(_) => "tool_result",
            Self::ToolUse(_) => "tool_use",
            Self::Unsupported(kind) => kind,
        }
    }

    /// The error for a block that is not allowed at this position.
    fn not_allowed(&self, position: MessagePosition, container: &str) -> Error {
        let kind = self.kind();
        match self {
            Self::Unsupported(_) => body::unsupported(format!(
                "`{position}` has the type `{kind}`, which is not supported. Send text, images and tool results."
            )),
            _ => Error::invalid(format!("`{position}` has the type `{kind}`, which {container} cannot have.")),
        }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for TokenBlock<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Object(mut members) = Object::<Members<'de>>::deserialize(deserializer)?;
        let conversation_token = members.conversation_token.take();
        Ok(Self { block: members.into_block()?, conversation_token })
    }
}

/// The members of all types of blocks, all optional except the type.
#[derive(Deserialize)]
struct Members<'a> {
    #[serde(borrow)]
    r#type: Cow<'a, str>,
    text: Option<String>,
    #[serde(borrow)]
    source: Option<&'a RawValue>,
    tool_use_id: Option<String>,
    tool_name: Option<Box<str>>,
    #[serde(borrow)]
    content: Option<&'a RawValue>,
    #[serde(borrow)]
    title: Option<&'a RawValue>,
    #[serde(borrow)]
    context: Option<&'a RawValue>,
    #[serde(borrow)]
    citations: Option<&'a RawValue>,
    is_error: Option<bool>,
    id: Option<String>,
    name: Option<String>,
    #[serde(borrow)]
    input: Option<&'a RawValue>,
    #[serde(borrow)]
    thinking: Option<&'a RawValue>,
    #[serde(borrow)]
    signature: Option<&'a RawValue>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    #[serde(borrow)]
    conversation_token: Option<Cow<'a, str>>,
    #[serde(borrow)]
    holdall_service: Option<&'a RawValue>,
}

impl<'a> Members<'a> {
    fn into_block<E: de::Error>(self) -> Result<RawBlock<'a>, E> {
        let Self { r#type, thinking, signature, data, source, content, title, context, citations, .. } = self;
        let mark = self.holdall_service;
        let document = || Box::new(RawDocument { source, content, title, context, citations });
        match &*r#type {
            "document" => Ok(RawBlock::Document(document())),
            "image" => Ok(RawBlock::Image { source: source.ok_or_else(|| E::missing_field("source"))? }),
            "redacted_thinking" | "thinking" => {
                Ok(RawBlock::Thinking(Box::new(RawThinking { r#type, thinking, signature, data, mark })))
            }
            "search_result" => Ok(RawBlock::SearchResult(document())),
            "text" => self.text.map(RawBlock::Text).ok_or_else(|| E::missing_field("text")),
            "tool_reference" => {
                self.tool_name.map(RawBlock::ToolReference).ok_or_else(|| E::missing_field("tool_name"))
            }
            "tool_result" => Ok(RawBlock::ToolResult(Box::new(RawToolResult {
                id: self.tool_use_id.ok_or_else(|| E::missing_field("tool_use_id"))?,
                content,
                is_error: self.is_error.unwrap_or_default(),
            }))),
            "tool_use" => Ok(RawBlock::ToolUse(Box::new(RawToolUse {
                id: self.id.ok_or_else(|| E::missing_field("id"))?,
                name: self.name.ok_or_else(|| E::missing_field("name"))?,
                input: self.input.ok_or_else(|| E::missing_field("input"))?,
            }))),
            kind => Ok(RawBlock::Unsupported(body::excerpt(kind))),
        }
    }
}

/// Adds the items of a message of the model. What a hosted tool did is left out. `follows_model` is
/// true after another message of the model.
fn push_assistant(
    position: MessagePosition,
    content: RawContent<'_>,
    follows_model: bool,
    items: &mut Vec<Item>,
    ignored: &mut Ignored,
) -> Result<(), Error> {
    let before = items.len();
    let mut parts = Vec::new();
    for (block, raw) in blocks(content).enumerate() {
        let position = position.block(block);
        match raw {
            RawBlock::Text(text) => parts.push(Part::Text(text)),
            RawBlock::Thinking(thinking) => {
                push_message(Role::Assistant, &mut parts, items);
                items.push(thinking.into_item());
            }
            RawBlock::ToolUse(tool_use) => {
                let RawToolUse { id, name, input } = *tool_use;
                if !input.get().starts_with('{') {
                    return Err(Error::invalid(format!("`{position}.input` must be an object.")));
                }
                push_message(Role::Assistant, &mut parts, items);
                items.push(Item::Call { id, name, args: input.get().to_owned() });
            }
            RawBlock::Unsupported(kind) if is_hosted_work(&kind) => ignored.add(&kind),
            // The messages that it replaces are there as well.
            RawBlock::Unsupported(kind) if &*kind == COMPACTION && follows_model => ignored.add(&kind),
            RawBlock::Unsupported(kind) if &*kind == COMPACTION => {
                return Err(body::unsupported(format!(
                    "`{position}` has the type `compaction`, which is not supported. Send the messages that it replaced. To \
                    shorten a conversation, send `truncation`."
                )));
            }
            other => return Err(other.not_allowed(position, "an assistant message")),
        }
    }
    push_message(Role::Assistant, &mut parts, items);
    // A reply without text is still a turn of the model.
    let is_only_thinking = |items: &[Item]| items.iter().all(|item| matches!(item, Item::Think { .. }));
    if items.get(before..).is_none_or(is_only_thinking) {
        items.push(Item::text(Role::Assistant, ""));
    }
    Ok(())
}

fn push_user(
    position: MessagePosition,
    content: RawContent<'_>,
    items: &mut Vec<Item>,
    ignored: &mut Ignored,
) -> Result<(), Error> {
    let before = items.len();
    let mut parts = Vec::new();
    for (block, raw) in blocks(content).enumerate() {
        let position = position.block(block);
        match raw {
            RawBlock::Document(raw) => match document::document(position, &raw, ignored)? {
                Some(document) => parts.extend(document),
                None => return Err(document::not_text(position)),
            },
            RawBlock::Image { source } => parts.push(image(position, source)?),
            RawBlock::SearchResult(raw) => parts.push(document::search_result(position, &raw, ignored)?),
            RawBlock::Text(text) => parts.push(Part::Text(text)),
            RawBlock::ToolResult(result) => {
                let RawToolResult { id, content, is_error } = *result;
                push_message(Role::User, &mut parts, items);
                let out = content.map(|content| output(position, content, ignored)).transpose()?;
                let out = out.unwrap_or_else(|| Output::Text(String::new()));
                items.push(Item::Result { id, out, error: is_error });
            }
            other => return Err(other.not_allowed(position, "a user message")),
        }
    }
    push_message(Role::User, &mut parts, items);
    if items.len() == before {
        return Err(Error::invalid(format!("`{position}.content` is empty. Add text, an image or a tool result.")));
    }
    Ok(())
}

/// Adds the collected parts as one message.
fn push_message(role: Role, parts: &mut Vec<Part>, items: &mut Vec<Item>) {
    if !parts.is_empty() {
        items.push(Item::Message { role, parts: std::mem::take(parts), cut: false });
    }
}

fn blocks(content: RawContent<'_>) -> impl Iterator<Item = RawBlock<'_>> {
    let (blocks, text) = match content {
        RawContent::Blocks(blocks, _) => (blocks, None),
        RawContent::Text(text) => (Vec::new(), Some(RawBlock::Text(text))),
    };
    blocks.into_iter().chain(text)
}

/// The texts of a content that can only have text, without empty ones.
fn texts(position: MessagePosition, content: RawContent<'_>) -> Result<Vec<String>, Error> {
    let mut texts = Vec::new();
    for (block, raw) in blocks(content).enumerate() {
        match raw {
            RawBlock::Text(text) if text.is_empty() => {}
            RawBlock::Text(text) => texts.push(text),
            other => return Err(other.not_allowed(position.block(block), "a system prompt")),
        }
    }
    Ok(texts)
}

/// The result of a tool: text, or blocks of text and images. A block of an unsupported type becomes
/// a text with the name of the type: an agent sends its results again with every request, and a
/// refusal would end its session.
fn output(position: MessagePosition, content: &RawValue, ignored: &mut Ignored) -> Result<Output, Error> {
    let blocks = match body::parse_member(format_args!("{position}.content"), content)? {
        RawContent::Text(text) => return Ok(Output::Text(text)),
        RawContent::Blocks(blocks, _) => blocks,
    };
    let mut parts = Vec::new();
    for raw in blocks {
        match raw {
            RawBlock::Document(raw) => match document::document(position, &raw, ignored)? {
                Some(document) => parts.extend(document),
                None => parts.push(left_out("document", ignored)),
            },
            RawBlock::Image { source } => parts.push(image(position, source)?),
            RawBlock::SearchResult(raw) => parts.push(document::search_result(position, &raw, ignored)?),
            RawBlock::Text(text) => parts.push(Part::Text(text)),
            RawBlock::ToolReference(name) => parts.push(Part::Text(format!("The tool `{name}` is available."))),
            RawBlock::Unsupported(kind) => parts.push(left_out(&kind, ignored)),
            other => return Err(other.not_allowed(position, "a tool result")),
        }
    }
    Ok(if parts.is_empty() { Output::Text(String::new()) } else { Output::Parts(parts) })
}

/// The note for a block that is left out.
fn left_out(kind: &str, ignored: &mut Ignored) -> Part {
    ignored.add(kind);
    Part::Text(format!("[{kind}]"))
}

/// True for the types of blocks in which a model service shows what its own tools did.
fn is_hosted_work(kind: &str) -> bool {
    matches!(kind, "mcp_tool_use" | "server_tool_use") || kind.ends_with("_tool_result")
}

/// The URL of an image. Inline data becomes a `data:` URL (RFC 2397).
fn image(position: MessagePosition, source: &RawValue) -> Result<Part, Error> {
    #[derive(Deserialize)]
    struct Source<'a> {
        #[serde(borrow)]
        r#type: Cow<'a, str>,
        #[serde(borrow)]
        media_type: Option<Cow<'a, str>>,
        #[serde(borrow)]
        data: Option<Cow<'a, str>>,
        url: Option<String>,
    }

    let Object(Source { r#type, media_type, data, url }) =
        body::parse_member(format_args!("{position}.source"), source)?;
    match (&*r#type, media_type, data, url) {
        ("base64", Some(media_type), Some(data), _) => {
            if !is_image_type(&media_type) {
                return Err(Error::invalid(format!(
                    "`{position}.source.media_type` must be the type of an image, such as image/png."
                )));
            }
            Ok(Part::Image(format!("data:{media_type};base64,{data}")))
        }
        ("url", _, _, Some(url)) => Ok(Part::Image(url)),
        ("file", ..) => Err(body::unsupported(format!(
            "`{position}` has a source of type `file`, which is not supported: the server stores no files. Send `base64` or \
                `url`."
        ))),
        _ => Err(Error::invalid(format!(
            "`{position}.source` must be {{\"type\":\"base64\",\"media_type\",\"data\"}} or {{\"type\":\"url\",\"url\"}}."
        ))),
    }
}

/// True for the media type of an image (RFC 6838 §4.2). It must have no character that would end it
/// inside a `data:` URL.
fn is_image_type(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
    text.strip_prefix("image/").is_some_and(|kind| (1..=64).contains(&kind.len()) && kind.bytes().all(plain))
}

/// The block that replaces earlier messages.
const COMPACTION: &str = "compaction";
/// The name of the provider format that has this API's thinking blocks.
const PROVIDER: &str = "anthropic";
