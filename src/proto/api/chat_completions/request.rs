//! The request: the messages, and the options for the model.

use std::{borrow::Cow, collections::BTreeSet};

use serde::Deserialize;
use serde_json::{Number, value::RawValue};

use super::messages::{Messages, RawMessage, read_messages};
use crate::proto::{
    api::{
        body::{self, AtLeastOne, List, has_no_effect},
        ignored::Ignored,
        tools::{self, CustomTool, Grammar, OfferedTools, ToolList, ToolNames},
    },
    error::Error,
    json::{Object, WithOthers},
    turn::{EFFORTS, ModelOptions, Reasoning, ReplyFormat, Tool, ToolChoice, TurnRequest},
};

/// The members of a Chat Completions request that the server reads. `null` means the same as
/// absent.
#[derive(Deserialize)]
pub(super) struct RawChat<'a> {
    #[serde(borrow)]
    messages: List<WithOthers<'a, RawMessage<'a>>, { body::ELEMENTS }>,
    model: String,
    conversation_token: Option<String>,
    /// A member of the Responses API.
    #[serde(borrow)]
    previous_response_id: Option<&'a RawValue>,
    #[serde(borrow)]
    truncation: Option<Cow<'a, str>>,
    safety_identifier: Option<String>,
    user: Option<String>,
    stream: Option<bool>,
    stream_options: Option<Object<RawStreamOptions>>,
    max_completion_tokens: Option<AtLeastOne>,
    max_tokens: Option<AtLeastOne>,
    temperature: Option<Number>,
    top_p: Option<Number>,
    #[serde(borrow)]
    stop: Option<&'a RawValue>,
    seed: Option<i64>,
    #[serde(borrow)]
    response_format: Option<&'a RawValue>,
    #[serde(borrow)]
    reasoning_effort: Option<Cow<'a, str>>,
    parallel_tool_calls: Option<bool>,
    #[serde(borrow)]
    tools: Option<List<&'a RawValue, { body::TOOLS }>>,
    #[serde(borrow)]
    tool_choice: Option<&'a RawValue>,
    /// It only changes the speed, so it is left out.
    #[serde(borrow)]
    prediction: Option<&'a RawValue>,
    // Not supported, except with a value that has no effect.
    #[serde(borrow)]
    n: Option<&'a RawValue>,
    frequency_penalty: Option<Number>,
    presence_penalty: Option<Number>,
    #[serde(borrow)]
    modalities: Option<List<Cow<'a, str>, MODALITIES>>,
    #[serde(borrow)]
    audio: Option<&'a RawValue>,
    #[serde(borrow)]
    function_call: Option<&'a RawValue>,
    #[serde(borrow)]
    functions: Option<&'a RawValue>,
    #[serde(borrow)]
    logit_bias: Option<&'a RawValue>,
    #[serde(borrow)]
    logprobs: Option<&'a RawValue>,
    #[serde(borrow)]
    moderation: Option<&'a RawValue>,
    #[serde(borrow)]
    top_logprobs: Option<&'a RawValue>,
    #[serde(borrow)]
    web_search_options: Option<&'a RawValue>,
}

/// A parsed request body.
pub(super) struct Request {
    pub(super) turn: TurnRequest,
    pub(super) names: ToolNames,
    pub(super) include_usage: bool,
}

impl RawChat<'_> {
    /// Reads the members.
    ///
    /// # Errors
    /// [`Error::RequestInvalid`], [`Error::RoleForbidden`] and [`Error::Unsupported`], each naming
    /// the member.
    pub(super) fn read(mut self) -> Result<Request, Error> {
        self.reject_unsupported()?;
        let mut ignored = Ignored::default();
        if self.prediction.is_some_and(|prediction| !has_no_effect(prediction)) {
            ignored.add("prediction");
        }
        let OfferedTools { tools, names } = read_tools(self.tools.take().unwrap_or_default(), &mut ignored)?;
        let (tools, tool_choice) = match self.tool_choice {
            Some(choice) => tool_choice(choice, tools, &names, &ignored)?,
            None => (tools, None),
        };
        let options = ModelOptions { tools, tool_choice, ..self.take_options()? };
        let Messages { items, system, token } = read_messages(std::mem::take(&mut self.messages), &names)?;
        let include_usage = self.stream_options.and_then(|options| options.0.include_usage).unwrap_or_default();
        let turn = TurnRequest {
            token: body::token(self.conversation_token, token)?,
            input: items,
            system,
            user_id: None,
            // Some clients send an empty name instead of none.
            user_hint: [self.safety_identifier, self.user].into_iter().flatten().find(|user| !user.is_empty()),
            model: Some(self.model),
            stream: self.stream.unwrap_or_default(),
            options,
            truncation: body::truncation(self.truncation.as_deref())?,
            ignored: ignored.into_names(),
        };
        Ok(Request { turn, names, include_usage })
    }

    /// The options, except those for tools.
    fn take_options(&mut self) -> Result<ModelOptions, Error> {
        let reasoning = Reasoning {
            effort: body::one_of("reasoning_effort", self.reasoning_effort.as_deref(), &EFFORTS)?,
            ..Reasoning::default()
        };
        Ok(ModelOptions {
            max_output_tokens: self.max_completion_tokens.or(self.max_tokens).map(u32::from),
            temperature: body::number_to(2, "temperature", self.temperature.take())?,
            top_p: body::number_to(1, "top_p", self.top_p.take())?,
            stop: self.stop.map(stops).transpose()?.unwrap_or_default(),
            seed: self.seed,
            format: self.response_format.map(reply_format).transpose()?.unwrap_or_default(),
            reasoning,
            parallel_calls: self.parallel_tool_calls,
            ..ModelOptions::default()
        })
    }

    /// Rejects members that the format knows and the server does not support.
    fn reject_unsupported(&self) -> Result<(), Error> {
        if self.previous_response_id.is_some_and(|id| !has_no_effect(id)) {
            return Err(body::unsupported(
                "`previous_response_id` belongs to /v1/responses. Send `conversation_token`: the id without `resp_`.",
            ));
        }
        for (member, message) in [
            (self.audio, "`audio` is not supported: replies are text."),
            (
                self.function_call.filter(|choice| !matches!(choice.get(), "\"auto\"" | "\"none\"")),
                "`function_call` is not supported. Send `tool_choice`.",
            ),
            (self.functions, "`functions` is not supported. Send `tools`."),
            (self.logit_bias, "`logit_bias` is not supported: its numbers apply to one model only."),
            (self.logprobs, "`logprobs` is not supported: replies are text."),
            (self.moderation, "`moderation` is not supported. Check texts where you send and receive them."),
            (self.top_logprobs, "`top_logprobs` is not supported: replies are text."),
        ] {
            if member.is_some_and(|member| !has_no_effect(member)) {
                return Err(body::unsupported(message));
            }
        }
        // An empty object requests a search as well.
        if self.web_search_options.is_some() {
            return Err(body::unsupported(
                "`web_search_options` is not supported. Describe a search of your own in `tools`.",
            ));
        }
        if self.modalities.as_ref().is_some_and(|list| list.0.iter().any(|modality| modality != "text")) {
            return Err(body::unsupported("`modalities` must be [\"text\"]: replies are text."));
        }
        for (name, penalty) in
            [("frequency_penalty", &self.frequency_penalty), ("presence_penalty", &self.presence_penalty)]
        {
            if penalty.as_ref().is_some_and(|penalty| penalty.as_f64() != Some(0.0)) {
                return Err(body::unsupported(format!("`{name}` is not supported. Leave it out, or send 0.")));
            }
        }
        body::one_reply(
            self.n,
            "`n` must be 1: a token holds one conversation. For more replies, send the turn again: a token can be \
                continued more than once.",
        )
    }
}

#[derive(Deserialize)]
struct RawStreamOptions {
    include_usage: Option<bool>,
}

/// A tool of the client. Some clients leave out the type of a function.
#[derive(Deserialize)]
struct RawTool {
    function: Option<Object<RawFunction>>,
    custom: Option<Object<RawCustom>>,
}

/// The function of a tool.
#[derive(Deserialize)]
struct RawFunction {
    name: String,
    description: Option<String>,
    parameters: Option<Box<RawValue>>,
    strict: Option<bool>,
}

/// A custom tool, whose input is text.
#[derive(Deserialize)]
struct RawCustom {
    name: String,
    description: Option<String>,
    format: Option<Object<RawCustomFormat>>,
}

#[derive(Deserialize)]
struct RawCustomFormat {
    grammar: Option<Object<Grammar>>,
}

#[derive(Deserialize)]
struct RawChoice<'a> {
    #[serde(borrow)]
    r#type: Cow<'a, str>,
    function: Option<Object<RawName>>,
    custom: Option<Object<RawName>>,
    #[serde(borrow)]
    allowed_tools: Option<Object<RawAllowed<'a>>>,
}

#[derive(Deserialize)]
struct RawName {
    name: String,
}

#[derive(Deserialize)]
struct RawAllowed<'a> {
    #[serde(borrow)]
    mode: Cow<'a, str>,
    #[serde(borrow)]
    tools: List<Object<RawAllowedTool<'a>>, { body::TOOLS }>,
}

#[derive(Deserialize)]
struct RawAllowedTool<'a> {
    #[serde(borrow)]
    r#type: Option<Cow<'a, str>>,
    function: Option<Object<RawName>>,
    custom: Option<Object<RawName>>,
}

/// The tools. Those that the server cannot offer are left out.
fn read_tools<const MOST: usize>(raw: List<&RawValue, MOST>, ignored: &mut Ignored) -> Result<OfferedTools, Error> {
    let mut list = ToolList::default();
    for (at, raw) in raw.0.into_iter().enumerate() {
        let path = format!("tools[{at}]");
        let missing = |member: &str| Error::invalid(format!("`{path}.{member}` is missing. Add it."));
        match tools::kind(&path, raw)?.as_deref() {
            None if tools::leave_out_keyed(raw, ignored) => {}
            kind @ (None | Some("function")) => {
                let Object(RawTool { function, .. }) = body::parse_member(&path, raw)?;
                let function = function.ok_or_else(|| missing(if kind.is_none() { "type" } else { "function" }))?;
                let Object(RawFunction { name, description, parameters, strict }) = function;
                let path = format!("{path}.function");
                list.add(None, tools::tool(&path, name, description, parameters, strict)?)?;
            }
            Some("custom") => {
                let Object(RawTool { custom, .. }) = body::parse_member(&path, raw)?;
                let Object(RawCustom { name, description, format }) = custom.ok_or_else(|| missing("custom"))?;
                tools::check_name(&format!("{path}.custom"), &name)?;
                let grammar = format.and_then(|format| format.0.grammar).map(|grammar| grammar.0);
                list.add_custom(None, CustomTool { name, description, grammar })?;
            }
            Some(hosted) => ignored.add_tool(hosted, None),
        }
    }
    list.offer()
}

/// The choice, and the tools that the model can still call.
fn tool_choice(
    raw: &RawValue,
    mut tools: Vec<Tool>,
    names: &ToolNames,
    ignored: &Ignored,
) -> Result<(Vec<Tool>, Option<ToolChoice>), Error> {
    let choice = if raw.get().starts_with('"') {
        mode(&body::parse_member::<Cow<'_, str>>("tool_choice", raw)?).ok_or_else(wrong_choice)?
    } else if !raw.get().starts_with('{') {
        return Err(body::wrong_type("tool_choice", "text or an object", raw.get()));
    } else {
        let Object(RawChoice { r#type, function, custom, allowed_tools }) = body::parse_member("tool_choice", raw)?;
        match (&*r#type, function, custom, allowed_tools) {
            ("function", Some(Object(RawName { name })), ..) | ("custom", _, Some(Object(RawName { name })), _) => {
                ToolChoice::Tool(names.function(None, &name))
            }
            ("allowed_tools", .., Some(Object(RawAllowed { mode: name, tools: allowed }))) => {
                tools = allowed_tools_of(tools, allowed.0, names, ignored)?;
                mode(&name).filter(|mode| *mode != ToolChoice::None).ok_or_else(wrong_choice)?
            }
            (hosted, ..) if ignored.has_tool(hosted) => return Err(tools::not_offered(hosted)),
            _ => return Err(wrong_choice()),
        }
    };
    let choice = tools::tool_choice(choice, &tools, ignored)?;
    Ok((tools, Some(choice)))
}

/// The tools that the choice allows.
fn allowed_tools_of(
    mut tools: Vec<Tool>,
    allowed: Vec<Object<RawAllowedTool<'_>>>,
    names: &ToolNames,
    ignored: &Ignored,
) -> Result<Vec<Tool>, Error> {
    let mut functions = BTreeSet::new();
    for Object(RawAllowedTool { r#type, function, custom }) in allowed {
        match function.or(custom) {
            Some(Object(RawName { name })) => drop(functions.insert(names.function(None, &name))),
            None if r#type.as_deref().is_some_and(|hosted| ignored.has_tool(hosted)) => {}
            None => return Err(wrong_choice()),
        }
    }
    let offered: BTreeSet<_> = tools.iter().map(|tool| tool.name.as_str()).collect();
    if !functions.iter().all(|name| offered.contains(name.as_str())) {
        return Err(Error::invalid("`tool_choice` allows a tool that is not in `tools`. Allow only those."));
    }
    tools.retain(|tool| functions.contains(&tool.name));
    Ok(tools)
}

fn wrong_choice() -> Error {
    Error::invalid(
        "`tool_choice` must be \"auto\", \"none\", \"required\", {\"type\":\"function\",\"function\":{\"name\"}}, \
            {\"type\":\"custom\",\"custom\":{\"name\"}} or {\"type\":\"allowed_tools\",\"allowed_tools\":{\"mode\",\"tools\"}}.",
    )
}

fn mode(name: &str) -> Option<ToolChoice> {
    match name {
        "auto" => Some(ToolChoice::Auto),
        "none" => Some(ToolChoice::None),
        "required" => Some(ToolChoice::Required),
        _ => None,
    }
}

fn stops(raw: &RawValue) -> Result<Vec<String>, Error> {
    let texts = match raw.get() {
        text if text.starts_with('"') => vec![body::parse_member("stop", raw)?],
        list if list.starts_with('[') => body::parse_member::<List<String, { body::STOPS }>>("stop", raw)?.0,
        other => return Err(body::wrong_type("stop", "text or a list of texts", other)),
    };
    body::stops("stop", texts)
}

#[derive(Deserialize)]
struct RawFormat<'a> {
    #[serde(borrow)]
    r#type: Cow<'a, str>,
    json_schema: Option<Object<RawSchema>>,
}

#[derive(Deserialize)]
struct RawSchema {
    name: String,
    description: Option<String>,
    schema: Option<Box<RawValue>>,
    strict: Option<bool>,
}

fn reply_format(raw: &RawValue) -> Result<ReplyFormat, Error> {
    let Object(RawFormat { r#type, json_schema }) = body::parse_member("response_format", raw)?;
    match (&*r#type, json_schema) {
        ("text", _) => Ok(ReplyFormat::Text),
        ("json_object", _) => Ok(ReplyFormat::Json),
        ("json_schema", Some(Object(RawSchema { name, description, schema, strict }))) => {
            if !body::is_name(&name) {
                return Err(Error::invalid(
                    "`response_format.json_schema.name` must have 1 to 64 characters of `A-Z a-z 0-9 _ -`.",
                ));
            }
            let schema = schema.filter(|schema| schema.get().starts_with('{'));
            let schema =
                schema.ok_or_else(|| Error::invalid("`response_format.json_schema.schema` must be an object."))?;
            Ok(ReplyFormat::Schema { name, description, schema, strict })
        }
        _ => Err(Error::invalid(
            "`response_format` must be {\"type\":\"text\"}, {\"type\":\"json_object\"} or \
                {\"type\":\"json_schema\",\"json_schema\":{\"name\",\"schema\"}}.",
        )),
    }
}

/// The maximum length of `modalities`. There are two modalities.
const MODALITIES: usize = 16;
