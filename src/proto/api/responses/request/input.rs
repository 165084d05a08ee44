//! `input`: text, or a list of items. The members of an item stay unparsed until its type is known.
//! The API has more types of items than the server supports. An unsupported item must be rejected
//! with the name of its type, not because of the type of a member.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::tool_list::Tools;
use crate::proto::{
    api::{
        body::{self, List},
        carried_state::state_item,
        ignored::Ignored,
        tools::{ToolNames, custom_arguments},
    },
    chat::{Item, Output, Part, Role, claimed_provider},
    error::Error,
    json::Object,
};

/// `input`, with items that are not converted yet.
pub(super) struct RawInput<'a>(TextOrList<Object<RawElement<'a>>>);

/// A parsed `input`.
#[derive(Default)]
pub(super) struct Input {
    /// The items, in order.
    pub(super) items: Vec<Item>,
    /// The texts of the roles `system` and `developer`. If the request brings the whole
    /// conversation, the texts after an item of the model stay in place, as text of the user. So
    /// the start of the prompt does not change during the conversation.
    pub(super) system: Vec<String>,
    /// What a client did for a hosted tool, if the model has not answered it yet.
    unanswered: Option<Unanswered>,
}

/// An item that is left out if an item of the model follows it.
struct Unanswered {
    path: String,
    kind: String,
}

/// What the conversion of an item depends on.
struct Context<'a> {
    names: &'a ToolNames,
    /// True if the request continues a response.
    follows_response: bool,
    /// True after an item of the model.
    follows_model: bool,
    ignored: &'a mut Ignored,
}

impl Context<'_> {
    /// True at an item after one of the model, in a request that brings the whole conversation.
    fn is_late(&self) -> bool {
        self.follows_model && !self.follows_response
    }
}

impl<'a> RawInput<'a> {
    /// Parses `input`.
    pub(super) fn parse(raw: Option<&'a RawValue>) -> Result<Self, Error> {
        let raw = raw.ok_or_else(|| Error::invalid("`input` is missing. Send text or a list of items."))?;
        TextOrList::read("input", raw).map(Self)
    }

    /// Adds the tools of the items that bring tools.
    pub(super) fn add_tools(&self, tools: &mut Tools, ignored: &mut Ignored) -> Result<(), Error> {
        let TextOrList::List(elements) = &self.0 else { return Ok(()) };
        for (at, Object(element)) in elements.iter().enumerate() {
            if element.r#type.as_deref().is_some_and(|kind| TOOL_ITEMS.contains(&kind))
                && let Some(list) = element.tools
            {
                let path = format!("input[{at}].tools");
                let list = body::parse_member::<List<&RawValue, { body::TOOLS }>>(&path, list)?;
                tools.add(&path, list, ignored)?;
            }
        }
        Ok(())
    }

    /// Converts the items. `names` has the names of the functions that calls become.
    /// `follows_response` is true if the request has `previous_response_id`.
    pub(super) fn read(self, names: &ToolNames, follows_response: bool, ignored: &mut Ignored) -> Result<Input, Error> {
        let mut input = Input::default();
        match self.0 {
            TextOrList::Text(text) => input.items.push(Item::text(Role::User, text)),
            TextOrList::List(elements) => {
                let mut context = Context { names, follows_response, follows_model: false, ignored };
                for (at, Object(element)) in elements.into_iter().enumerate() {
                    input.push(&format!("input[{at}]"), &element, &mut context)?;
                }
            }
        }
        match input.unanswered {
            Some(Unanswered { path, kind }) => Err(body::unsupported(format!(
                "`{path}` has the type `{}`, which is not supported: the server runs no tools. Describe a function of your \
                own in `tools`, and send its result as `function_call_output`.",
                body::excerpt(&kind)
            ))),
            None => Ok(input),
        }
    }
}

impl Input {
    fn push(&mut self, path: &str, element: &RawElement<'_>, context: &mut Context<'_>) -> Result<(), Error> {
        let kind = match (&element.r#type, &element.role, element.id) {
            (Some(kind), ..) => kind.as_str(),
            (None, Some(_), _) => "message",
            // The only other item that can omit its type.
            (None, None, Some(_)) => "item_reference",
            (None, None, None) => {
                return Err(Error::invalid(format!("`{path}` has no `type` and no `role`. Add one.")));
            }
        };
        match kind {
            "message" => return self.push_message(path, element, context),
            "custom_tool_call" | "function_call" => {
                let item = call(path, kind, element, context.names)?;
                self.push_model_item(item);
                context.follows_model = true;
            }
            "custom_tool_call_output" | "function_call_output" => {
                self.items.push(tool_result(path, element, context.ignored)?);
            }
            "reasoning" => self.push_model_item(reasoning(element)),
            // Their tools are read before all items.
            kind if TOOL_ITEMS.contains(&kind) => {}
            // The token holds the item.
            "item_reference" if context.follows_response => self.push_model_item(Item::reference()),
            "item_reference" => {
                return Err(body::unsupported(format!(
                    "`{path}` has the type `item_reference`, which is not supported: the server stores no items. Set \
                    `store: false`, so that your library sends the items themselves. Or send only new items, with \
                    `previous_response_id` for the conversation."
                )));
            }
            other => return self.leave_out(path, other, context),
        }
        Ok(())
    }

    fn push_model_item(&mut self, item: Item) {
        self.items.push(item);
        self.unanswered = None;
    }

    /// Leaves out an item of a type that the server does not have, if the rest of the input means
    /// the same.
    fn leave_out(&mut self, path: &str, kind: &str, context: &mut Context<'_>) -> Result<(), Error> {
        let has_conversation = context.follows_model || context.follows_response;
        match kind {
            // The items that it replaces are there as well.
            "compaction" | "compaction_summary" | "context_compaction" if has_conversation => {}
            "compaction" | "compaction_summary" | "context_compaction" => {
                return Err(body::unsupported(format!(
                    "`{path}` has the type `{kind}`, which is not supported: only the service that made it can read it. \
                    Send the items that it replaced. To shorten a conversation, send `truncation`."
                )));
            }
            // Work that a model service did before it answered.
            "mcp_approval_request" | "mcp_list_tools" => {}
            hosted if hosted.ends_with("_call") => {}
            // The client's part of such work.
            part if part == "mcp_approval_response" || part.ends_with("_call_output") => {
                self.unanswered = Some(Unanswered { path: path.to_owned(), kind: part.to_owned() });
            }
            other => {
                return Err(body::unsupported(format!(
                    "`{path}` has the type `{}`, which is not supported. Supported types: message, function_call, \
                    function_call_output, custom_tool_call, custom_tool_call_output, reasoning, additional_tools.",
                    body::excerpt(other)
                )));
            }
        }
        context.ignored.add(kind);
        Ok(())
    }

    fn push_message(&mut self, path: &str, element: &RawElement<'_>, context: &mut Context<'_>) -> Result<(), Error> {
        let role =
            element.role.as_deref().ok_or_else(|| Error::invalid(format!("`{path}.role` is missing. Add it.")))?;
        let name = format!("{path}.content");
        let raw = element.content.ok_or_else(|| Error::invalid(format!("`{name}` is missing. Add it.")))?;
        let mut parts = match TextOrList::read(&name, raw)? {
            TextOrList::Text(text) => vec![Part::Text(text)],
            TextOrList::List(parts) => read_parts(&name, parts, role == "user")?,
        };
        // A message has at least one part, even if its text is empty.
        if parts.is_empty() {
            parts.push(Part::Text(String::new()));
        }
        let role = match role {
            "assistant" => Role::Assistant,
            "user" => Role::User,
            "developer" | "system" if context.is_late() && parts.iter().any(has_text) => Role::User,
            "developer" | "system" => {
                self.system.extend(parts.into_iter().filter_map(|part| match part {
                    Part::Text(text) => Some(text),
                    Part::Image(_) => None,
                }));
                return Ok(());
            }
            other => return Err(Error::RoleForbidden { role: body::excerpt(other).into() }),
        };
        if role == Role::Assistant {
            context.follows_model = true;
            self.unanswered = None;
        }
        self.items.push(Item::Message { role, parts, cut: false });
        Ok(())
    }
}

fn has_text(part: &Part) -> bool {
    matches!(part, Part::Text(text) if !text.is_empty())
}

/// A call of a function, or of a custom tool with its text as the arguments of a function.
fn call(path: &str, kind: &str, element: &RawElement<'_>, names: &ToolNames) -> Result<Item, Error> {
    let member = |name: &str, member| text(path, name, member);
    let (id, name) = (member("call_id", element.call_id)?, member("name", element.name)?);
    let namespace = element.namespace.map(|namespace| member("namespace", Some(namespace))).transpose()?;
    let args = match kind {
        "custom_tool_call" => custom_arguments(&member("input", element.input)?),
        _ => member("arguments", element.arguments)?,
    };
    Ok(Item::Call { id, name: names.function(namespace.as_deref(), &name), args })
}

/// Reasoning, with the members that its provider takes back. An id names an item that the provider
/// would have to store, and the ids here are the server's own. Such an id can end with the mark of
/// the service.
fn reasoning(element: &RawElement<'_>) -> Item {
    #[derive(Serialize)]
    struct Reasoning<'a> {
        r#type: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        summary: Option<&'a RawValue>,
        #[serde(skip_serializing_if = "Option::is_none")]
        content: Option<&'a RawValue>,
        #[serde(skip_serializing_if = "Option::is_none")]
        encrypted_content: Option<&'a RawValue>,
    }

    let RawElement { id, summary, content, encrypted_content, .. } = *element;
    if let Some(item) = encrypted_content.and_then(|text| state_item(text, None)) {
        return item;
    }
    let id = id.and_then(body::text).unwrap_or_default();
    let blob = Reasoning { r#type: "reasoning", summary, content, encrypted_content };
    // Raw values and strings always serialize.
    let blob = serde_json::to_string(&blob).unwrap_or_default();
    Item::Think { provider_id: claimed_provider(PROVIDER, id.rsplit('_').next()), blob }
}

/// The result of a tool. A part of an unsupported type becomes a text with the name of the type: an
/// agent sends its results again with every request, and a refusal would end its session.
fn tool_result(path: &str, element: &RawElement<'_>, ignored: &mut Ignored) -> Result<Item, Error> {
    let id = text(path, "call_id", element.call_id)?;
    let name = format!("{path}.output");
    let raw = element.output.ok_or_else(|| Error::invalid(format!("`{name}` is missing. Add it.")))?;
    let out = match TextOrList::read(&name, raw)? {
        TextOrList::Text(text) => Output::Text(text),
        TextOrList::List(parts) if parts.is_empty() => Output::Text(String::new()),
        TextOrList::List(parts) => {
            let part = |(at, Object(part)): (usize, Object<RawPart<'_>>)| {
                if PARTS.contains(&part.r#type.as_str()) {
                    return read_part(&format!("{name}[{at}]"), &part, true);
                }
                ignored.add(&part.r#type);
                Ok(Part::Text(format!("[{}]", body::excerpt(&part.r#type))))
            };
            Output::Parts(parts.into_iter().enumerate().map(part).collect::<Result<_, _>>()?)
        }
    };
    Ok(Item::Result { id, out, error: false })
}

/// Text, or a list of items or parts.
enum TextOrList<T> {
    List(Vec<T>),
    Text(String),
}

impl<'a, T: Deserialize<'a>> TextOrList<T> {
    fn read(name: &str, raw: &'a RawValue) -> Result<Self, Error> {
        match raw.get().as_bytes().first() {
            Some(b'"') => body::parse_member(name, raw).map(Self::Text),
            Some(b'[') => body::parse_member::<List<T, { body::ELEMENTS }>>(name, raw).map(|list| Self::List(list.0)),
            _ => Err(Error::invalid(format!("`{name}` must be text or a list."))),
        }
    }
}

#[derive(Deserialize)]
struct RawElement<'a> {
    r#type: Option<String>,
    role: Option<String>,
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    content: Option<&'a RawValue>,
    #[serde(borrow)]
    call_id: Option<&'a RawValue>,
    #[serde(borrow)]
    name: Option<&'a RawValue>,
    #[serde(borrow)]
    arguments: Option<&'a RawValue>,
    #[serde(borrow)]
    output: Option<&'a RawValue>,
    #[serde(borrow)]
    namespace: Option<&'a RawValue>,
    /// The text for a custom tool.
    #[serde(borrow)]
    input: Option<&'a RawValue>,
    /// The tools of an item that brings tools.
    #[serde(borrow)]
    tools: Option<&'a RawValue>,
    #[serde(borrow)]
    summary: Option<&'a RawValue>,
    #[serde(borrow)]
    encrypted_content: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct RawPart<'a> {
    r#type: String,
    #[serde(borrow)]
    text: Option<&'a RawValue>,
    #[serde(borrow)]
    refusal: Option<&'a RawValue>,
    #[serde(borrow)]
    image_url: Option<&'a RawValue>,
    #[serde(borrow)]
    file_id: Option<&'a RawValue>,
}

fn read_parts(name: &str, parts: Vec<Object<RawPart<'_>>>, images: bool) -> Result<Vec<Part>, Error> {
    let part = |(at, Object(part))| read_part(&format!("{name}[{at}]"), &part, images);
    parts.into_iter().enumerate().map(part).collect()
}

fn read_part(path: &str, part: &RawPart<'_>, images: bool) -> Result<Part, Error> {
    match part.r#type.as_str() {
        "input_text" | "output_text" | "text" => text(path, "text", part.text).map(Part::Text),
        "refusal" => text(path, "refusal", part.refusal).map(Part::Text),
        "input_image" if !images => Err(Error::invalid(format!(
            "`{path}` is an image, but only user messages and tool results can have images."
        ))),
        "input_image" if part.image_url.is_none() && part.file_id.is_some() => Err(body::unsupported(format!(
            "`{path}.file_id` is not supported: the server stores no files. Send `image_url`, an `https:` or `data:` URL."
        ))),
        "input_image" => text(path, "image_url", part.image_url).map(Part::Image),
        other => Err(body::unsupported(format!(
            "`{path}` has the type `{}`, which is not supported. Supported types: input_text, input_image, output_text, \
                refusal.",
            body::excerpt(other)
        ))),
    }
}

/// The text of a required member.
fn text(path: &str, name: &str, member: Option<&RawValue>) -> Result<String, Error> {
    let member = member.ok_or_else(|| Error::invalid(format!("`{path}.{name}` is missing. Add it.")))?;
    body::parse_member(format!("{path}.{name}"), member)
}

/// The items that bring tools: those of Codex, and what a search for tools found.
const TOOL_ITEMS: [&str; 2] = ["additional_tools", "tool_search_output"];
/// The types of parts that the server has.
const PARTS: [&str; 5] = ["input_image", "input_text", "output_text", "refusal", "text"];
/// The name of the provider format that has this API's reasoning.
const PROVIDER: &str = "openai-responses";
