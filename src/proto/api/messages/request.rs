//! The request: what is asked of the model, beside what is said.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::{Number, value::RawValue};

use super::content::{self, RawContent, RawMessage};
use crate::proto::{
    api::body::{self, List},
    error::Error,
    json::Object,
    turn::{ModelOptions, Reasoning, ReplyFormat, Thinking, Tool, ToolChoice, TurnRequest},
};

/// What is read of a Messages request. Other members are ignored, and `null` is as good as absent.
#[derive(Deserialize)]
pub(super) struct RawMessages<'a> {
    /// One of the names that `GET /v1/models` lists.
    model: String,
    /// What is new: the user's messages, with results of tools. What was said before may stand before them, as clients
    /// repeat it: it is held against the token and left out.
    #[serde(borrow)]
    messages: List<Object<RawMessage<'a>>, { body::ELEMENTS }>,
    /// The most model tokens that the reply may have.
    pub(super) max_tokens: Option<u32>,
    /// The conversation's last token; absent begins one.
    conversation_token: Option<String>,
    /// What to do when the conversation has outgrown its limits.
    #[serde(borrow)]
    truncation: Option<Cow<'a, str>>,
    /// A system prompt for this turn, where the model has none of its own. It is not kept.
    #[serde(borrow)]
    system: Option<RawContent<'a>>,
    /// Who speaks.
    metadata: Option<Object<RawMetadata>>,
    /// Whether the reply comes as it is made, as server-sent events.
    stream: Option<bool>,
    /// How much chance there is in the choice of words.
    temperature: Option<Number>,
    /// How likely words have to be.
    top_p: Option<Number>,
    /// What ends a reply.
    stop_sequences: Option<List<String, { body::STOPS }>>,
    /// Whether and how much the model is to think.
    #[serde(borrow)]
    thinking: Option<&'a RawValue>,
    /// What the reply is to be.
    #[serde(borrow)]
    output_config: Option<&'a RawValue>,
    /// The form of the reply, where it stood before there was `output_config`.
    #[serde(borrow)]
    output_format: Option<&'a RawValue>,
    /// What the model may call.
    #[serde(borrow)]
    tools: Option<List<Object<RawTool<'a>>, { body::TOOLS }>>,
    /// Whether the model may, must or must not call, or what. It takes `tools`.
    #[serde(borrow)]
    tool_choice: Option<&'a RawValue>,
    // Known, and not offered.
    #[serde(borrow)]
    compaction: Option<&'a RawValue>,
    #[serde(borrow)]
    container: Option<&'a RawValue>,
    #[serde(borrow)]
    context_management: Option<&'a RawValue>,
    #[serde(borrow)]
    fallbacks: Option<&'a RawValue>,
    #[serde(borrow)]
    inference_geo: Option<&'a RawValue>,
    #[serde(borrow)]
    mcp_servers: Option<&'a RawValue>,
    #[serde(borrow)]
    thread: Option<&'a RawValue>,
    #[serde(borrow)]
    top_k: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct RawMetadata {
    /// Who speaks, where no credential says so.
    user_id: Option<String>,
}

impl RawMessages<'_> {
    /// The turn, and whether its reply is to show what the model thought.
    ///
    /// # Errors
    /// [`Error::RequestInvalid`] and [`Error::Unsupported`], each naming the member.
    pub(super) fn into_turn(self) -> Result<(TurnRequest, bool), Error> {
        self.refuse_unoffered()?;
        let max_output_tokens = body::at_least_one("max_tokens", self.max_tokens)?;
        let (mut reasoning, shows_thinking) = match self.thinking {
            Some(raw) => thinking(raw, max_output_tokens)?,
            None => (Reasoning::default(), true),
        };
        let (effort, format) = self.output_config.map(output_config).transpose()?.unwrap_or_default();
        reasoning.effort = effort;
        let format = match (format, self.output_format) {
            (None, Some(raw)) => Some(reply_format("output_format", raw)?),
            (format, _) => format,
        };
        let tools = self.tools.map(tools).transpose()?.unwrap_or_default();
        let (tool_choice, parallel_calls) = match self.tool_choice {
            Some(raw) => tool_choice(raw, &tools)?,
            None => (None, None),
        };
        let mut system = self.system.map(content::system).transpose()?.unwrap_or_default();
        let input = content::items(self.messages.0, &mut system)?;
        let options = ModelOptions {
            max_output_tokens,
            temperature: body::number_to(1, "temperature", self.temperature)?,
            top_p: body::number_to(1, "top_p", self.top_p)?,
            stop: body::stops("stop_sequences", self.stop_sequences.unwrap_or_default().0)?,
            seed: None,
            format: format.unwrap_or_default(),
            reasoning,
            parallel_calls,
            tools,
            tool_choice,
        };
        let turn = TurnRequest {
            token: self.conversation_token,
            input,
            system: (!system.is_empty()).then(|| system.join("\n\n")),
            user_id: None,
            // An empty name is how some say that they have none.
            user_hint: self.metadata.and_then(|metadata| metadata.0.user_id).filter(|user| !user.is_empty()),
            model: Some(self.model),
            stream: self.stream.unwrap_or_default(),
            options,
            truncation: body::truncation(self.truncation.as_deref())?,
        };
        Ok((turn, shows_thinking))
    }

    /// Refuses what we know and cannot honour.
    fn refuse_unoffered(&self) -> Result<(), Error> {
        for (member, instead) in [
            (self.compaction, "`compaction` is not offered; send `truncation`: \"summarize\""),
            (self.container, "`container` is not offered: no code is run here"),
            (
                self.context_management,
                "`context_management` is not offered; send `truncation`: \"oldest\" or \"summarize\"",
            ),
            (self.fallbacks, "`fallbacks` is not offered: the operator says which models stand in for one another"),
            (self.inference_geo, "`inference_geo` is not offered: where a model runs is the operator's to say"),
            (self.mcp_servers, "`mcp_servers` is not offered; call them yourself, and describe them in `tools`"),
            (self.thread, "`thread` is not offered; send `conversation_token`, which holds the conversation"),
            (self.top_k, "`top_k` is not offered; send `temperature` or `top_p`"),
        ] {
            let is_none =
                |member: &RawValue| member.get().bytes().filter(|byte| !byte.is_ascii_whitespace()).eq(*b"[]");
            if member.is_some_and(|member| !is_none(member)) {
                return Err(body::unsupported(instead));
            }
        }
        Ok(())
    }
}

#[derive(Deserialize)]
struct RawThinking<'a> {
    #[serde(borrow)]
    r#type: Cow<'a, str>,
    budget_tokens: Option<u32>,
    #[serde(borrow)]
    display: Option<Cow<'a, str>>,
}

/// How much to think, and whether to show it: that is left out here, since the token needs it whole.
fn thinking(raw: &RawValue, max_tokens: Option<u32>) -> Result<(Reasoning, bool), Error> {
    let Object(RawThinking { r#type, budget_tokens, display }) = body::member("thinking", raw)?;
    let thinking = match (&*r#type, budget_tokens) {
        ("adaptive", _) => Thinking::Adaptive,
        ("disabled", _) => Thinking::Disabled,
        ("enabled", Some(budget)) if budget >= LEAST_BUDGET && max_tokens.is_none_or(|most| budget < most) => {
            Thinking::Budget(budget)
        }
        ("enabled", _) => {
            return Err(Error::invalid(format!(
                "`thinking.budget_tokens` is at least {LEAST_BUDGET} and below `max_tokens`"
            )));
        }
        ("between_tools", _) => {
            return Err(body::unsupported("`thinking` of type `between_tools` is not offered; send `adaptive`"));
        }
        _ => {
            return Err(Error::invalid(
                "`thinking` is {\"type\":\"enabled\",\"budget_tokens\"}, {\"type\":\"adaptive\"} or \
                 {\"type\":\"disabled\"}",
            ));
        }
    };
    let (summary, shows_thinking) = match display.as_deref() {
        None => (None, true),
        Some("omitted") => (None, false),
        Some("summarized") => (Some("auto"), true),
        Some(_) => return Err(Error::invalid("`thinking.display` is \"summarized\" or \"omitted\"")),
    };
    Ok((Reasoning { thinking: Some(thinking), effort: None, summary }, shows_thinking))
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
    let Object(RawOutputConfig { effort, format, task_budget }) = body::member("output_config", raw)?;
    if task_budget.is_some() {
        return Err(body::unsupported("`output_config.task_budget` is not offered; send `max_tokens`"));
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

/// The form of the reply; the API keeps to the schema, so it is to be kept to the letter.
fn reply_format(member: &str, raw: &RawValue) -> Result<ReplyFormat, Error> {
    let Object(RawFormat { r#type, schema }) = body::member(member, raw)?;
    match (&*r#type, schema.filter(|schema| schema.get().starts_with('{'))) {
        ("json_schema", Some(schema)) => {
            Ok(ReplyFormat::Schema { name: SCHEMA_NAME.to_owned(), description: None, schema, strict: Some(true) })
        }
        _ => {
            Err(Error::invalid(format!("`{member}` is {{\"type\":\"json_schema\",\"schema\"}}, the schema an object")))
        }
    }
}

/// What the model may call.
#[derive(Deserialize)]
struct RawTool<'a> {
    #[serde(borrow)]
    r#type: Option<Cow<'a, str>>,
    /// What it is called.
    name: Option<String>,
    /// What it is for, in words for the model.
    description: Option<String>,
    /// The JSON Schema of its arguments.
    input_schema: Option<Box<RawValue>>,
    /// Whether arguments are to keep to the schema.
    strict: Option<bool>,
}

fn tools<const MOST: usize>(raw: List<Object<RawTool<'_>>, MOST>) -> Result<Vec<Tool>, Error> {
    let tool = |(at, Object(tool)): (usize, Object<RawTool<'_>>)| {
        let RawTool { r#type, name, description, input_schema, strict } = tool;
        if let Some(kind) = r#type.filter(|kind| kind != "custom") {
            let kind = body::excerpt(&kind);
            return Err(body::unsupported(format!(
                "`tools[{at}]` is of type `{kind}`, which is not offered; describe a tool of your own, with its \
                 `input_schema`"
            )));
        }
        let name = name.ok_or_else(|| Error::invalid(format!("`tools[{at}]` has no `name`")))?;
        let schema = input_schema.ok_or_else(|| Error::invalid(format!("`tools[{at}]` has no `input_schema`")))?;
        body::tool(name, description, Some(schema), strict)
    };
    raw.0.into_iter().enumerate().map(tool).collect()
}

#[derive(Deserialize)]
struct RawChoice<'a> {
    #[serde(borrow)]
    r#type: Cow<'a, str>,
    name: Option<String>,
    disable_parallel_tool_use: Option<bool>,
}

/// The choice, and whether there may be several calls.
fn tool_choice(raw: &RawValue, tools: &[Tool]) -> Result<(Option<ToolChoice>, Option<bool>), Error> {
    let Object(RawChoice { r#type, name, disable_parallel_tool_use }) = body::member("tool_choice", raw)?;
    let choice = match (&*r#type, name) {
        ("any", _) => ToolChoice::Required,
        ("auto", _) => ToolChoice::Auto,
        ("none", _) => ToolChoice::None,
        ("tool", Some(name)) => ToolChoice::Tool(name),
        _ => {
            return Err(Error::invalid(
                "`tool_choice` is {\"type\":\"auto\"}, {\"type\":\"any\"}, {\"type\":\"none\"} or \
                 {\"type\":\"tool\",\"name\"}",
            ));
        }
    };
    let parallel_calls = disable_parallel_tool_use.filter(|disabled| *disabled).map(|_| false);
    Ok((Some(body::tool_choice(choice, tools)?), parallel_calls))
}

/// The least budget for thinking that the API takes.
pub(super) const LEAST_BUDGET: u32 = 1_024;

/// The API has no word for none.
pub(super) const EFFORTS: [&str; 5] = ["low", "medium", "high", "xhigh", "max"];

/// What a schema is called for providers that want a name; the format has none.
const SCHEMA_NAME: &str = "reply";
