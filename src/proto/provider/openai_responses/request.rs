//! Requests of OpenAI Responses: options, tools, and one entry for each item.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::{Number, value::RawValue};

use crate::proto::{
    chat::{Item, Output, Part, Role, ServiceState},
    error::Error,
    provider::{
        call::{ModelCall, object},
        call_ids::CallIdWriter,
        profile::CallIds,
    },
    turn::{Reasoning, ReplyFormat, Tool, ToolChoice},
};

#[derive(Serialize)]
pub(super) struct Body<'a> {
    model: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    instructions: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_output_tokens: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<&'a Number>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_p: Option<&'a Number>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning: Option<ReasoningConfig>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<ToolEntry<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_choice: Option<Choice<'a>>,
    /// `false` or absent. Absent means `true`, and not every service knows the member.
    #[serde(skip_serializing_if = "Option::is_none")]
    parallel_tool_calls: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    store: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    include: Option<[&'static str; 1]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stream: Option<bool>,
    /// Last, so that the bytes of a request are the beginning of the next request.
    input: Vec<Entry<'a>>,
}

impl<'a> Body<'a> {
    pub(super) fn new(call: &ModelCall<'a>) -> Result<Self, Error> {
        let options = call.options;
        if !options.stop.is_empty() {
            let detail = "The model service does not support `stop`. Leave it out.".to_owned();
            return Err(Error::Unsupported { detail });
        }
        // Without tools, the API refuses every option about tools.
        let has_tools = !options.tools.is_empty();
        Ok(Self {
            model: call.model,
            instructions: call.system,
            max_output_tokens: options.max_output_tokens,
            temperature: options.temperature.as_ref(),
            top_p: options.top_p.as_ref(),
            text: Text::new(&options.format),
            reasoning: ReasoningConfig::new(&options.reasoning),
            tools: options.tools.iter().map(ToolEntry::new).collect(),
            tool_choice: options.tool_choice.as_ref().filter(|_| has_tools).map(Choice::new),
            parallel_tool_calls: options.parallel_calls.filter(|parallel| !parallel && has_tools),
            store: Some(false),
            include: reasons(call.model).then_some(["reasoning.encrypted_content"]),
            stream: Some(call.stream),
            input: input(call),
        })
    }

    /// The same body without the members that a count does not accept.
    pub(super) fn for_count(self) -> Self {
        Self {
            max_output_tokens: None,
            temperature: None,
            top_p: None,
            store: None,
            include: None,
            stream: None,
            ..self
        }
    }
}

/// Returns true if a model of this name may reason. The name is OpenAI's, or that of a service that
/// forwards to OpenAI, such as `openai/gpt-5`.
///
/// All models that do not reason are of older families. They refuse a reasoning item with
/// "Reasoning input items can only be provided to a reasoning or computer use model", and a request
/// for reasoning with "Encrypted content is not supported with this model".
pub(super) fn reasons(model: &str) -> bool {
    const OLDER_FAMILIES: [&str; 4] = ["chatgpt-", "gpt-3", "gpt-4", "gpt-5-chat"];
    let name = model.rsplit('/').next().unwrap_or_default();
    let name = name.strip_prefix("ft:").unwrap_or(name);
    !OLDER_FAMILIES.iter().any(|family| name.starts_with(family))
}

#[derive(Serialize)]
struct Text<'a> {
    format: TextFormat<'a>,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum TextFormat<'a> {
    JsonObject,
    JsonSchema {
        name: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        description: Option<&'a str>,
        schema: &'a RawValue,
        #[serde(skip_serializing_if = "Option::is_none")]
        strict: Option<bool>,
    },
}

impl<'a> Text<'a> {
    fn new(format: &'a ReplyFormat) -> Option<Self> {
        let format = match format {
            ReplyFormat::Json => TextFormat::JsonObject,
            ReplyFormat::Schema { name, description, schema, strict } => {
                TextFormat::JsonSchema { name, description: description.as_deref(), schema, strict: *strict }
            }
            ReplyFormat::Text => return None,
        };
        Some(Self { format })
    }
}

#[derive(Serialize)]
struct ReasoningConfig {
    #[serde(skip_serializing_if = "Option::is_none")]
    effort: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    summary: Option<&'static str>,
}

impl ReasoningConfig {
    fn new(reasoning: &Reasoning) -> Option<Self> {
        let (effort, summary) = (reasoning.openai_effort(), reasoning.summary);
        (effort.is_some() || summary.is_some()).then_some(Self { effort, summary })
    }
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum ToolEntry<'a> {
    Function {
        name: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        description: Option<&'a str>,
        parameters: Schema<'a>,
        /// Always sent: if it is absent, OpenAI makes the schema strict, and other APIs do not.
        strict: bool,
    },
}

#[derive(Serialize)]
#[serde(untagged)]
enum Schema<'a> {
    Json(&'a RawValue),
    /// No arguments, in a form that is also a valid strict schema.
    NoArguments {
        r#type: &'static str,
        properties: NoProperties,
        #[serde(rename = "additionalProperties")]
        additional_properties: bool,
    },
}

#[derive(Serialize)]
struct NoProperties {}

impl<'a> ToolEntry<'a> {
    fn new(tool: &'a Tool) -> Self {
        const NO_ARGUMENTS: Schema<'_> =
            Schema::NoArguments { r#type: "object", properties: NoProperties {}, additional_properties: false };
        Self::Function {
            name: &tool.name,
            description: tool.description.as_deref(),
            parameters: tool.parameters.as_deref().map_or(NO_ARGUMENTS, Schema::Json),
            strict: tool.strict.unwrap_or(false),
        }
    }
}

#[derive(Serialize)]
#[serde(untagged)]
enum Choice<'a> {
    Mode(&'static str),
    Tool(NamedTool<'a>),
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum NamedTool<'a> {
    Function { name: &'a str },
}

impl<'a> Choice<'a> {
    fn new(choice: &'a ToolChoice) -> Self {
        match choice {
            ToolChoice::Auto => Self::Mode("auto"),
            ToolChoice::None => Self::Mode("none"),
            ToolChoice::Required => Self::Mode("required"),
            ToolChoice::Tool(name) => Self::Tool(NamedTool::Function { name }),
        }
    }
}

#[derive(Serialize)]
#[serde(untagged)]
enum Entry<'a> {
    Written(WrittenEntry<'a>),
    /// An item of the provider, as received.
    Received(&'a RawValue),
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum WrittenEntry<'a> {
    FunctionCall { call_id: Cow<'a, str>, name: &'a str, arguments: &'a str },
    FunctionCallOutput { call_id: Cow<'a, str>, output: Content<'a> },
    Message { role: Role, content: Content<'a> },
}

#[derive(Serialize)]
#[serde(untagged)]
enum Content<'a> {
    Pieces(Vec<Piece<'a>>),
    Text(&'a str),
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Piece<'a> {
    InputImage { image_url: &'a str, detail: &'static str },
    InputText { text: &'a str },
    OutputText { text: &'a str },
}

impl<'a> Content<'a> {
    /// A single text is written as text. Other content is written as pieces, made by `piece`.
    fn new(parts: &'a [Part], piece: impl Fn(&'a Part) -> Piece<'a>) -> Self {
        match parts {
            [Part::Text(text)] => Self::Text(text),
            parts => Self::Pieces(parts.iter().map(piece).collect()),
        }
    }
}

/// A part of a user message or a tool result.
fn input_piece(part: &Part) -> Piece<'_> {
    match part {
        Part::Image(url) => Piece::InputImage { image_url: url, detail: "auto" },
        Part::Text(text) => Piece::InputText { text },
    }
}

/// A part of an assistant message.
fn output_piece(part: &Part) -> Piece<'_> {
    match part {
        Part::Image(_) => Piece::OutputText { text: "[image]" },
        Part::Text(text) => Piece::OutputText { text },
    }
}

/// An entry for each item, except reasoning that this model cannot take.
fn input<'a>(call: &ModelCall<'a>) -> Vec<Entry<'a>> {
    let reasons = reasons(call.model);
    let mut entries = Vec::with_capacity(call.items.len());
    let mut ids = CallIdWriter::new(CallIds::OF_OTHER_FORMATS);
    let mut own_id = None;
    for (index, item) in call.items.iter().enumerate() {
        let entry = match item {
            Item::Call { id, name, args } => {
                let is_own = own_id.take().as_ref() == Some(id);
                WrittenEntry::FunctionCall { call_id: ids.call(id, is_own), name, arguments: args }
            }
            Item::Message { role: Role::Assistant, parts, .. } => {
                WrittenEntry::Message { role: Role::Assistant, content: Content::new(parts, output_piece) }
            }
            Item::Message { role: Role::User, parts, .. } => {
                WrittenEntry::Message { role: Role::User, content: Content::new(parts, input_piece) }
            }
            Item::Result { id, out, .. } => {
                let output = match out {
                    Output::Parts(parts) => Content::new(parts, input_piece),
                    Output::Text(text) => Content::Text(text),
                };
                WrittenEntry::FunctionCallOutput { call_id: ids.result(id), output }
            }
            Item::Think { provider_id, blob } => {
                if provider_id == call.provider_id {
                    own_id = ServiceState::from_blob(blob).and_then(ServiceState::into_call_id);
                    let is_accepted = reasons && has_output_after(call.items, index);
                    let blob = object(blob).filter(|blob| is_accepted && has_content(blob));
                    entries.extend(blob.map(Entry::Received));
                }
                continue;
            }
        };
        entries.push(Entry::Written(entry));
    }
    entries
}

/// Returns true for a reasoning item that is more than the name of a stored item. A client that
/// brings it back may not have been shown the rest.
fn has_content(blob: &RawValue) -> bool {
    #[derive(Deserialize)]
    struct Content<'a> {
        #[serde(borrow, rename = "type")]
        item_type: Cow<'a, str>,
        #[serde(borrow)]
        content: Option<&'a RawValue>,
        encrypted_content: Option<String>,
    }

    let content: Option<Content<'_>> = serde_json::from_str(blob.get()).ok();
    content.is_some_and(|Content { item_type, content, encrypted_content }| {
        let has_text = encrypted_content.is_some_and(|text| !text.is_empty());
        item_type == "reasoning" && (has_text || content.is_some_and(|list| list.get().len() > 2))
    })
}

/// Returns true if the model wrote or called something after the reasoning at `index`. The API
/// refuses reasoning "provided without its required following item".
///
/// The answer is the same in every later turn: a reply is always followed by input of the caller.
fn has_output_after(items: &[Item], index: usize) -> bool {
    let next = items.iter().skip(index).find(|item| !matches!(item, Item::Think { .. }));
    matches!(next, Some(Item::Call { .. } | Item::Message { role: Role::Assistant, .. }))
}
