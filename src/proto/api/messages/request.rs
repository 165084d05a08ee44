//! The request: the options for the model.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::{Number, value::RawValue};

use super::content::{self, Messages, RawContent, RawMessage};
use crate::proto::{
    api::{
        body::{self, AtLeastOne, List, has_no_effect},
        ignored::Ignored,
        tools,
    },
    error::Error,
    json::Object,
    turn::{ModelOptions, Reasoning, ReplyFormat, Thinking, Tool, ToolChoice, TurnRequest},
};

/// The members of a Messages request that the server reads. `null` means the same as absent.
#[derive(Deserialize)]
pub(super) struct RawMessages<'a> {
    model: String,
    #[serde(borrow)]
    messages: List<Object<RawMessage<'a>>, { body::ELEMENTS }>,
    pub(super) max_tokens: Option<AtLeastOne>,
    conversation_token: Option<String>,
    #[serde(borrow)]
    truncation: Option<Cow<'a, str>>,
    #[serde(borrow)]
    system: Option<RawContent<'a>>,
    metadata: Option<Object<RawMetadata>>,
    stream: Option<bool>,
    temperature: Option<Number>,
    top_p: Option<Number>,
    stop_sequences: Option<List<String, { body::STOPS }>>,
    #[serde(borrow)]
    thinking: Option<&'a RawValue>,
    #[serde(borrow)]
    output_config: Option<&'a RawValue>,
    #[serde(borrow)]
    output_format: Option<&'a RawValue>,
    #[serde(borrow)]
    tools: Option<List<&'a RawValue, { body::TOOLS }>>,
    #[serde(borrow)]
    tool_choice: Option<&'a RawValue>,
    // Left out.
    #[serde(borrow)]
    container: Option<&'a RawValue>,
    #[serde(borrow)]
    context_management: Option<&'a RawValue>,
    #[serde(borrow)]
    mcp_servers: Option<&'a RawValue>,
    #[serde(borrow)]
    top_k: Option<&'a RawValue>,
    // Not supported, except with a value that has no effect.
    #[serde(borrow)]
    compaction: Option<&'a RawValue>,
    #[serde(borrow)]
    fallbacks: Option<&'a RawValue>,
    #[serde(borrow)]
    inference_geo: Option<&'a RawValue>,
    #[serde(borrow)]
    thread: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct RawMetadata {
    user_id: Option<String>,
}

impl RawMessages<'_> {
    /// The turn, and whether its reply shows thinking.
    ///
    /// # Errors
    /// [`Error::RequestInvalid`] and [`Error::Unsupported`], each naming the member.
    pub(super) fn into_turn(self) -> Result<(TurnRequest, bool), Error> {
        self.reject_unsupported()?;
        let ReplySettings { max_output_tokens, reasoning, format, shows_thinking } = self.reply_settings()?;
        let ignored = &mut Ignored::default();
        let tools = read_tools(self.tools.unwrap_or_default(), ignored)?;
        for (name, member) in [("container", self.container), ("mcp_servers", self.mcp_servers), ("top_k", self.top_k)]
        {
            if member.is_some_and(|member| !has_no_effect(member)) {
                ignored.add(name);
            }
        }
        if let Some(raw) = self.context_management {
            leave_out_edits(raw, ignored)?;
        }
        let (tool_choice, parallel_calls) = match self.tool_choice {
            Some(raw) => tool_choice(raw, &tools, ignored)?,
            None => (None, None),
        };
        let mut system = self.system.map(content::system).transpose()?.unwrap_or_default();
        let Messages { items: input, token } = content::messages(self.messages.0, &mut system, ignored)?;
        let options = ModelOptions {
            max_output_tokens,
            temperature: body::number_to(1, "temperature", self.temperature)?,
            top_p: body::number_to(1, "top_p", self.top_p)?,
            stop: body::stops("stop_sequences", self.stop_sequences.unwrap_or_default().0)?,
            seed: None,
            format,
            reasoning,
            parallel_calls,
            tools,
            tool_choice,
        };
        let turn = TurnRequest {
            token: body::token(self.conversation_token, token)?,
            input,
            system: (!system.is_empty()).then(|| system.join("\n\n")),
            user_id: None,
            // Some clients send an empty name instead of none.
            user_hint: self.metadata.and_then(|metadata| metadata.0.user_id).filter(|user| !user.is_empty()),
            model: Some(self.model),
            stream: self.stream.unwrap_or_default(),
            options,
            truncation: body::truncation(self.truncation.as_deref())?,
            ignored: std::mem::take(ignored).into_names(),
        };
        Ok((turn, shows_thinking))
    }

    fn reply_settings(&self) -> Result<ReplySettings, Error> {
        let max_output_tokens = self.max_tokens.map(u32::from);
        let (mut reasoning, shows_thinking) = match self.thinking {
            Some(raw) => thinking(raw, max_output_tokens)?,
            None => (Reasoning::default(), true),
        };
        let (effort, format) = self.output_config.map(output_config).transpose()?.unwrap_or_default();
        reasoning.effort = effort;
        let format = match (format, self.output_format) {
            (None, Some(raw)) => reply_format("output_format", raw)?,
            (format, _) => format.unwrap_or_default(),
        };
        Ok(ReplySettings { max_output_tokens, reasoning, format, shows_thinking })
    }

    /// Rejects members that the format knows and the server does not support.
    fn reject_unsupported(&self) -> Result<(), Error> {
        for (member, message) in [
            (
                self.compaction.filter(|compaction| !is_disabled(compaction)),
                "`compaction` is not supported. Send `truncation`: \"summarize\".",
            ),
            (self.fallbacks, "`fallbacks` is not supported: the operator configures the fallback models."),
            (
                // A model runs anywhere if the request does not say where.
                self.inference_geo.filter(|geo| geo.get() != "\"global\""),
                "`inference_geo` is not supported: the operator decides where a model runs.",
            ),
            (self.thread, "`thread` is not supported. Send `conversation_token`, which holds the conversation."),
        ] {
            if member.is_some_and(|member| !has_no_effect(member)) {
                return Err(body::unsupported(message));
            }
        }
        Ok(())
    }
}

/// True for a setting that turns its feature off.
fn is_disabled(setting: &RawValue) -> bool {
    #[derive(Deserialize)]
    struct Setting<'a> {
        #[serde(borrow)]
        r#type: Cow<'a, str>,
    }

    let setting = setting.get();
    setting == "\"disabled\""
        || serde_json::from_str::<Object<Setting<'_>>>(setting).is_ok_and(|setting| setting.0.r#type == "disabled")
}

#[derive(Deserialize)]
struct RawContextManagement<'a> {
    #[serde(borrow)]
    edits: Option<List<Object<RawEdit<'a>>, { body::TOOLS }>>,
}

#[derive(Deserialize)]
struct RawEdit<'a> {
    #[serde(borrow)]
    r#type: Cow<'a, str>,
    #[serde(borrow)]
    keep: Option<&'a RawValue>,
}

/// Names the edits of the context, which only the model service can make. The server always keeps
/// all thinking, so an edit that asks for that is fulfilled.
fn leave_out_edits(raw: &RawValue, ignored: &mut Ignored) -> Result<(), Error> {
    let Object(RawContextManagement { edits }) = body::parse_member("context_management", raw)?;
    for Object(RawEdit { r#type, keep }) in edits.unwrap_or_default().0 {
        let keep: String = keep.map(RawValue::get).unwrap_or_default().split_ascii_whitespace().collect();
        let keeps_all = matches!(keep.as_str(), "\"all\"" | "{\"type\":\"all\"}");
        if !(keeps_all && r#type.starts_with("clear_thinking_")) {
            ignored.add(&r#type);
        }
    }
    Ok(())
}

/// The members of a request about length, thinking and format of the reply.
struct ReplySettings {
    max_output_tokens: Option<u32>,
    reasoning: Reasoning,
    format: ReplyFormat,
    shows_thinking: bool,
}

#[derive(Deserialize)]
struct RawThinking<'a> {
    #[serde(borrow)]
    r#type: Cow<'a, str>,
    budget_tokens: Option<u32>,
    #[serde(borrow)]
    display: Option<Cow<'a, str>>,
}

/// The thinking, and whether the reply shows it. Hidden thinking is left out only when the reply is
/// written, because the token needs it.
fn thinking(raw: &RawValue, max_tokens: Option<u32>) -> Result<(Reasoning, bool), Error> {
    let Object(RawThinking { r#type, budget_tokens, display }) = body::parse_member("thinking", raw)?;
    let thinking = match (&*r#type, budget_tokens) {
        ("adaptive", _) => Thinking::Adaptive,
        ("disabled", _) => Thinking::Disabled,
        ("enabled", Some(budget)) if budget >= MIN_BUDGET && max_tokens.is_none_or(|most| budget < most) => {
            Thinking::Budget(budget)
        }
        ("enabled", _) => {
            return Err(Error::invalid(format!(
                "`thinking.budget_tokens` must be at least {MIN_BUDGET} and below `max_tokens`."
            )));
        }
        ("between_tools", _) => {
            return Err(body::unsupported("`thinking` of type `between_tools` is not supported. Send `adaptive`."));
        }
        _ => {
            return Err(Error::invalid(
                "`thinking` must be {\"type\":\"enabled\",\"budget_tokens\"}, {\"type\":\"adaptive\"} or \
                {\"type\":\"disabled\"}.",
            ));
        }
    };
    let (summary, shows_thinking) = match display.as_deref() {
        None => (None, true),
        // `updates` would show only the notes between calls. The server cannot tell them from other
        // thinking, so it shows none.
        Some("omitted" | "updates") => (None, false),
        Some("summarized") => (Some("auto"), true),
        Some(_) => {
            return Err(Error::invalid("`thinking.display` must be \"summarized\", \"omitted\" or \"updates\"."));
        }
    };
    Ok((Reasoning { thinking: Some(thinking), summary, ..Reasoning::default() }, shows_thinking))
}

#[derive(Deserialize)]
struct RawOutputConfig<'a> {
    #[serde(borrow)]
    effort: Option<Cow<'a, str>>,
    #[serde(borrow)]
    format: Option<&'a RawValue>,
    #[serde(borrow)]
    task_budget: Option<&'a RawValue>,
}

fn output_config(raw: &RawValue) -> Result<(Option<&'static str>, Option<ReplyFormat>), Error> {
    let Object(RawOutputConfig { effort, format, task_budget }) = body::parse_member("output_config", raw)?;
    if task_budget.is_some() {
        return Err(body::unsupported("`output_config.task_budget` is not supported. Send `max_tokens`."));
    }
    let effort = body::one_of("output_config.effort", effort.as_deref(), &EFFORTS)?;
    let format = format.map(|format| reply_format("output_config.format", format));
    Ok((effort, format.transpose()?))
}

#[derive(Deserialize)]
struct RawFormat<'a> {
    #[serde(borrow)]
    r#type: Cow<'a, str>,
    schema: Option<Box<RawValue>>,
}

/// The format of the reply. It is strict, as in Anthropic's API.
fn reply_format(member: &str, raw: &RawValue) -> Result<ReplyFormat, Error> {
    let Object(RawFormat { r#type, schema }) = body::parse_member(member, raw)?;
    match (&*r#type, schema.filter(|schema| schema.get().starts_with('{'))) {
        ("json_schema", Some(schema)) => {
            Ok(ReplyFormat::Schema { name: SCHEMA_NAME.to_owned(), description: None, schema, strict: Some(true) })
        }
        _ => Err(Error::invalid(format!(
            "`{member}` must be {{\"type\":\"json_schema\",\"schema\"}} with an object as its schema."
        ))),
    }
}

/// A tool of the client.
#[derive(Deserialize)]
struct RawTool {
    name: String,
    description: Option<String>,
    input_schema: Box<RawValue>,
    strict: Option<bool>,
}

/// A tool of another type.
#[derive(Deserialize)]
struct RawHostedTool<'a> {
    #[serde(borrow)]
    name: Option<&'a RawValue>,
}

/// The tools. Those that the server cannot offer are left out.
fn read_tools<const MOST: usize>(raw: List<&RawValue, MOST>, ignored: &mut Ignored) -> Result<Vec<Tool>, Error> {
    let mut tools = Vec::new();
    for (at, raw) in raw.0.into_iter().enumerate() {
        let path = format!("tools[{at}]");
        match tools::kind(&path, raw)? {
            None if tools::leave_out_keyed(raw, ignored) => {}
            // Another API's word for a tool of the client.
            Some(hosted) if hosted != "custom" && hosted != "function" => {
                let Object(RawHostedTool { name }) = body::parse_member(&path, raw)?;
                let name: Option<String> = name.and_then(|name| serde_json::from_str(name.get()).ok());
                ignored.add_tool(&hosted, name.as_deref());
            }
            _ => {
                let Object(RawTool { name, description, input_schema, strict }) = body::parse_member(&path, raw)?;
                tools.push(tools::tool(&path, name, description, Some(input_schema), strict)?);
            }
        }
    }
    Ok(tools)
}

#[derive(Deserialize)]
struct RawChoice<'a> {
    #[serde(borrow)]
    r#type: Cow<'a, str>,
    name: Option<String>,
    disable_parallel_tool_use: Option<bool>,
}

/// The choice, and `Some(false)` if the model must make at most one call.
fn tool_choice(raw: &RawValue, tools: &[Tool], ignored: &Ignored) -> Result<(Option<ToolChoice>, Option<bool>), Error> {
    let Object(RawChoice { r#type, name, disable_parallel_tool_use }) = body::parse_member("tool_choice", raw)?;
    let choice = match (&*r#type, name) {
        ("any", _) => ToolChoice::Required,
        ("auto", _) => ToolChoice::Auto,
        ("none", _) => ToolChoice::None,
        ("tool", Some(name)) => ToolChoice::Tool(name),
        _ => {
            return Err(Error::invalid(
                "`tool_choice` must be {\"type\":\"auto\"}, {\"type\":\"any\"}, {\"type\":\"none\"} or \
                {\"type\":\"tool\",\"name\"}.",
            ));
        }
    };
    let parallel_calls = disable_parallel_tool_use.filter(|disabled| *disabled).map(|_| false);
    Ok((Some(tools::tool_choice(choice, tools, ignored)?), parallel_calls))
}

/// The smallest budget for thinking in Anthropic's API.
const MIN_BUDGET: u32 = 1_024;

/// The effort levels. The format has no level for none.
const EFFORTS: [&str; 5] = ["low", "medium", "high", "xhigh", "max"];

/// The name of a schema, for providers that require one. The format has no name.
const SCHEMA_NAME: &str = "reply";
