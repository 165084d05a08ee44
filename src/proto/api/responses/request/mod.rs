//! The request: the turn, and the members that the answer repeats.

use serde::Deserialize;
use serde_json::{Number, value::RawValue};

use super::resource::{FormatBody, ID_PREFIX, Metadata, ReasoningBody, RepeatedMembers, TextBody};
use crate::proto::{
    api::{
        body::{self, AtLeastOne, List, has_no_effect},
        ignored::Ignored,
        tools::{OfferedTools, ToolNames},
    },
    error::Error,
    json::Object,
    turn::{EFFORTS, ModelOptions, Reasoning, ReplyFormat, Truncation, TurnRequest},
};

mod choice;
mod input;
mod tool_list;

use choice::Choice;
use input::{Input, RawInput};
use tool_list::Tools;

/// A parsed request body.
pub(super) struct Request {
    pub(super) turn: TurnRequest,
    pub(super) repeated: RepeatedMembers,
    /// The kind of stream, if the request has one: live or held.
    pub(super) live: Option<bool>,
    /// True if the answer has the part of the reasoning that only its provider can read.
    pub(super) encrypted_reasoning: bool,
    /// The names of the tools, for the calls of the answer.
    pub(super) names: ToolNames,
}

/// Parses a body.
pub(super) fn read(body: &str) -> Result<Request, Error> {
    let mut raw: RawRequest<'_> = body::parse(body)?;
    raw.reject_unsupported()?;
    // Some clients send an empty id instead of none.
    raw.previous_response_id.take_if(|id| id.is_empty());
    let live = raw.live()?;
    let truncation = raw.truncation.as_deref().map(truncation).transpose()?;
    let input = RawInput::parse(raw.input)?;
    let mut ignored = raw.ignored();
    let mut tools = Tools::default();
    tools.add("tools", raw.tools.take().unwrap_or_default(), &mut ignored)?;
    let bodies = std::mem::take(&mut tools.bodies);
    input.add_tools(&mut tools, &mut ignored)?;
    let OfferedTools { tools, names } = tools.list.offer()?;
    let Choice { choice, body: tool_choice, allowed } = choice::read(raw.tool_choice, &tools, &names, &ignored)?;
    let (format, text) = raw.text.take().map_or_else(RawText::default, |text| text.0).read()?;
    let (reasoning, reasoning_body) = raw.reasoning.take().map_or_else(RawReasoning::default, |raw| raw.0).read()?;
    let options = ModelOptions {
        format,
        reasoning,
        tools: tools.into_iter().filter(|tool| allowed.contains(&tool.name)).collect(),
        tool_choice: choice,
        ..raw.sampling_options()?
    };
    let one = || Number::from_f64(1.0);
    let repeated = RepeatedMembers {
        instructions: raw.instructions.clone(),
        max_output_tokens: options.max_output_tokens,
        max_tool_calls: raw.max_tool_calls.map(u32::from),
        metadata: raw.metadata.take().unwrap_or_default(),
        parallel_tool_calls: raw.parallel_tool_calls.unwrap_or(true),
        prompt_cache_key: raw.prompt_cache_key.take(),
        reasoning: reasoning_body,
        safety_identifier: raw.safety_identifier.clone(),
        store: raw.store.unwrap_or(true),
        temperature: options.temperature.clone().or_else(one),
        text,
        tool_choice,
        tools: bodies,
        top_p: options.top_p.clone().or_else(one),
        truncation: if truncation.unwrap_or_default() == Truncation::Refuse { "disabled" } else { "auto" },
        user: raw.user.clone(),
    };
    let encrypted_reasoning = raw.includes("reasoning.encrypted_content");
    let follows_response = raw.previous_response_id.is_some();
    let input = input.read(&names, follows_response, &mut ignored)?;
    let turn = raw.into_turn(input, options, truncation, ignored);
    Ok(Request { turn, repeated, live, encrypted_reasoning, names })
}

/// The members of a Responses request that the server reads. `null` means the same as absent.
#[derive(Deserialize)]
pub(super) struct RawRequest<'a> {
    #[serde(borrow)]
    input: Option<&'a RawValue>,
    previous_response_id: Option<String>,
    /// A member of the other APIs.
    #[serde(borrow)]
    conversation_token: Option<&'a RawValue>,
    model: Option<String>,
    instructions: Option<String>,
    stream: Option<bool>,
    store: Option<bool>,
    include: Option<List<String, INCLUDES>>,
    metadata: Option<Metadata>,
    truncation: Option<String>,
    max_output_tokens: Option<AtLeastOne>,
    max_tool_calls: Option<AtLeastOne>,
    temperature: Option<Number>,
    top_p: Option<Number>,
    text: Option<Object<RawText>>,
    reasoning: Option<Object<RawReasoning>>,
    #[serde(borrow)]
    tools: Option<List<&'a RawValue, { body::TOOLS }>>,
    #[serde(borrow)]
    tool_choice: Option<&'a RawValue>,
    parallel_tool_calls: Option<bool>,
    prompt_cache_key: Option<String>,
    safety_identifier: Option<String>,
    user: Option<String>,
    /// Only a model service can change its context, so the entries are left out.
    #[serde(borrow)]
    context_management: Option<&'a RawValue>,
    // Not supported, except with a value that has no effect.
    background: Option<bool>,
    #[serde(borrow)]
    conversation: Option<&'a RawValue>,
    frequency_penalty: Option<Number>,
    #[serde(borrow)]
    moderation: Option<&'a RawValue>,
    #[serde(borrow)]
    n: Option<&'a RawValue>,
    presence_penalty: Option<Number>,
    #[serde(borrow)]
    prompt: Option<&'a RawValue>,
    top_logprobs: Option<Number>,
}

impl RawRequest<'_> {
    /// The options for length and sampling.
    fn sampling_options(&mut self) -> Result<ModelOptions, Error> {
        Ok(ModelOptions {
            max_output_tokens: self.max_output_tokens.map(u32::from),
            temperature: body::number_to(2, "temperature", self.temperature.take())?,
            top_p: body::number_to(1, "top_p", self.top_p.take())?,
            parallel_calls: self.parallel_tool_calls,
            ..ModelOptions::default()
        })
    }

    /// Rejects members that the format knows and the server does not support.
    fn reject_unsupported(&self) -> Result<(), Error> {
        let is_set = |number: &Option<Number>| number.as_ref().is_some_and(|number| number.as_f64() != Some(0.0));
        let has_effect = |value: Option<&RawValue>| value.is_some_and(|value| !has_no_effect(value));
        for (is_unsupported, message) in [
            (
                has_effect(self.conversation_token),
                "`conversation_token` belongs to other APIs. Send `previous_response_id`: `resp_` followed by the token.",
            ),
            (
                self.background == Some(true),
                "`background` is not supported: the reply comes in the response. Send `stream` for a long one.",
            ),
            (
                has_effect(self.conversation),
                "`conversation` is not supported: the id of a response holds the conversation. Send the last id as \
                `previous_response_id`.",
            ),
            (is_set(&self.frequency_penalty), "`frequency_penalty` is not supported. Leave it out, or send 0."),
            (
                has_effect(self.moderation),
                "`moderation` is not supported. Check texts where you send and receive them.",
            ),
            (is_set(&self.presence_penalty), "`presence_penalty` is not supported. Leave it out, or send 0."),
            (
                has_effect(self.prompt),
                "`prompt` is not supported: the server stores no templates. Send `instructions` and `input`.",
            ),
            (is_set(&self.top_logprobs), "`top_logprobs` is not supported: replies are text."),
        ] {
            if is_unsupported {
                return Err(body::unsupported(message));
            }
        }
        body::one_reply(
            self.n,
            "`n` must be 1: an id holds one conversation. For more replies, send the turn again: an id can be \
                continued more than once.",
        )
    }

    /// The left-out parts of the request, except tools.
    fn ignored(&self) -> Ignored {
        let mut ignored = Ignored::default();
        if self.context_management.is_some_and(|value| !has_no_effect(value)) {
            ignored.add("context_management");
        }
        if self.includes(LOGPROBS) {
            ignored.add(LOGPROBS);
        }
        ignored
    }

    fn includes(&self, name: &str) -> bool {
        self.include.as_ref().is_some_and(|include| include.0.iter().any(|value| value == name))
    }

    /// The kind of stream, if the request has one: live or held.
    fn live(&self) -> Result<Option<bool>, Error> {
        match self.metadata.as_ref().and_then(|metadata| metadata.value("holdall_stream")) {
            None => Ok(None),
            Some("hold") => Ok(Some(false)),
            Some("live") => Ok(Some(true)),
            Some(_) => Err(Error::invalid("`metadata.holdall_stream` must be \"hold\" or \"live\".")),
        }
    }

    fn into_turn(
        self,
        Input { items, system: spoken, .. }: Input,
        options: ModelOptions,
        truncation: Option<Truncation>,
        ignored: Ignored,
    ) -> TurnRequest {
        let system: Vec<_> = self.instructions.into_iter().chain(spoken).filter(|text| !text.is_empty()).collect();
        TurnRequest {
            // An id without the prefix is an invalid token, like any other text.
            token: self.previous_response_id.map(|id| id.strip_prefix(ID_PREFIX).unwrap_or_default().to_owned()),
            input: items,
            system: (!system.is_empty()).then(|| system.join("\n\n")),
            user_id: None,
            // Some clients send an empty name instead of none.
            user_hint: [self.safety_identifier, self.user].into_iter().flatten().find(|user| !user.is_empty()),
            model: self.model,
            stream: self.stream.unwrap_or_default(),
            options,
            truncation,
            ignored: ignored.into_names(),
        }
    }
}

#[derive(Default, Deserialize)]
struct RawText {
    format: Option<Object<RawFormat>>,
    verbosity: Option<String>,
}

#[derive(Deserialize)]
struct RawFormat {
    r#type: String,
    name: Option<String>,
    description: Option<String>,
    schema: Option<Box<RawValue>>,
    strict: Option<bool>,
}

impl RawText {
    fn read(self) -> Result<(ReplyFormat, TextBody), Error> {
        let verbosity = self.verbosity.and_then(|name| VERBOSITIES.into_iter().find(|known| *known == name));
        let (format, body) = match self.format {
            None => (ReplyFormat::Text, FormatBody::Text),
            Some(Object(format)) => format.read()?,
        };
        Ok((format, TextBody { format: body, verbosity }))
    }
}

impl RawFormat {
    fn read(self) -> Result<(ReplyFormat, FormatBody), Error> {
        let Self { r#type, name, description, schema, strict } = self;
        match (r#type.as_str(), name, schema) {
            ("text", ..) => Ok((ReplyFormat::Text, FormatBody::Text)),
            ("json_object", ..) => Ok((ReplyFormat::Json, FormatBody::Json)),
            ("json_schema", Some(name), Some(schema)) if body::is_name(&name) && schema.get().starts_with('{') => {
                let body = FormatBody::schema(name.clone(), description.clone(), strict);
                Ok((ReplyFormat::Schema { name, description, schema, strict }, body))
            }
            ("json_schema", ..) => Err(Error::invalid(
                "`text.format` of type json_schema must have a `name` (1 to 64 characters of `A-Z a-z 0-9 _ -`) and a \
                `schema` (an object).",
            )),
            _ => Err(Error::invalid("`text.format` must have the type text, json_object or json_schema.")),
        }
    }
}

#[derive(Default, Deserialize)]
struct RawReasoning {
    effort: Option<String>,
    summary: Option<String>,
}

impl RawReasoning {
    fn read(self) -> Result<(Reasoning, ReasoningBody), Error> {
        let effort = body::one_of("reasoning.effort", self.effort.as_deref(), &EFFORTS)?;
        let summary = self.summary.as_deref().filter(|summary| *summary != "none");
        let summary = body::one_of("reasoning.summary", summary, &SUMMARIES)?;
        Ok((Reasoning { effort, summary, ..Reasoning::default() }, ReasoningBody { effort, summary }))
    }
}

/// OpenAI's values, and those of Holdall.
fn truncation(name: &str) -> Result<Truncation, Error> {
    match name {
        "auto" => Ok(Truncation::Oldest),
        "disabled" => Ok(Truncation::Refuse),
        other => Truncation::from_name(other).ok_or_else(|| {
            Error::invalid("`truncation` must be \"auto\", \"disabled\", \"refuse\", \"oldest\" or \"summarize\".")
        }),
    }
}

/// The maximum length of `include`. The API has fewer values.
const INCLUDES: usize = 64;
/// The log probabilities of the output. Replies are text.
const LOGPROBS: &str = "message.output_text.logprobs";
const SUMMARIES: [&str; 3] = ["auto", "concise", "detailed"];
const VERBOSITIES: [&str; 3] = ["low", "medium", "high"];
