//! The request: messages to items, and what is asked of the model.
//!
//! Elements of lists are read into what they amount to at once: there can be as many as a body has room for, and a part
//! or a call with all its optional members would take many times its text.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{self, SeqAccess, Visitor},
};
use serde_json::{Number, value::RawValue};

use crate::proto::{
    chat::{Item, Object, Output, Part, Role},
    dialect::{
        ModelOptions, Reasoning, ReplyFormat, Tool, ToolChoice,
        door::{
            TurnRequest,
            body::{self, List},
        },
    },
    error::Error,
};

/// What is read of a Chat Completions request. Other members are ignored, and `null` is as good as absent.
#[derive(Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "ChatCompletionRequest"))]
pub(super) struct RawChat<'a> {
    /// What is new: the user's messages and results of tools. What was said before may stand before them, as clients
    /// repeat it: it is held against the token and left out.
    #[serde(borrow)]
    #[cfg_attr(test, schemars(with = "Vec<super::shapes::Message>", extend("minItems" = 1, "maxItems" = body::ELEMENTS, "contains" = super::shapes::not_system())))]
    messages: List<Object<RawMessage<'a>>, { body::ELEMENTS }>,
    /// One of the names that `GET /v1/models` lists.
    model: String,
    /// The conversation's last token; absent begins one.
    conversation_token: Option<String>,
    /// The Responses door's member.
    #[serde(borrow)]
    #[cfg_attr(test, schemars(skip))]
    previous_response_id: Option<&'a RawValue>,
    /// What to do when the conversation has outgrown its limits.
    #[serde(borrow)]
    #[cfg_attr(test, schemars(with = "Option<crate::proto::dialect::door::Truncation>"))]
    truncation: Option<Cow<'a, str>>,
    /// Who speaks, where no credential says so.
    safety_identifier: Option<String>,
    /// The same, by its older name.
    user: Option<String>,
    /// Whether the reply comes as it is made, in chunks.
    stream: Option<bool>,
    /// What is told of a stream.
    stream_options: Option<Object<RawStreamOptions>>,
    /// The most model tokens that the reply may have.
    #[cfg_attr(test, schemars(range(min = 1)))]
    max_completion_tokens: Option<u32>,
    /// The same, by its older name.
    #[cfg_attr(test, schemars(range(min = 1)))]
    max_tokens: Option<u32>,
    /// How much chance there is in the choice of words.
    #[cfg_attr(test, schemars(with = "Option<f64>", range(min = 0, max = 2)))]
    temperature: Option<Number>,
    /// How likely words have to be.
    #[cfg_attr(test, schemars(with = "Option<f64>", range(min = 0, max = 1)))]
    top_p: Option<Number>,
    /// What ends a reply.
    #[serde(borrow)]
    #[cfg_attr(test, schemars(with = "Option<super::shapes::Stop>"))]
    stop: Option<&'a RawValue>,
    /// Where chance begins, for models that know of it.
    seed: Option<i64>,
    /// What the reply is to be.
    #[serde(borrow)]
    #[cfg_attr(test, schemars(with = "Option<super::shapes::Format>"))]
    response_format: Option<&'a RawValue>,
    /// How much the model is to think.
    #[serde(borrow)]
    #[cfg_attr(test, schemars(extend("enum" = crate::proto::dialect::door::described::nullable(&body::EFFORTS))))]
    reasoning_effort: Option<Cow<'a, str>>,
    /// Whether there may be several calls in a turn.
    parallel_tool_calls: Option<bool>,
    /// What the model may call.
    #[serde(borrow)]
    tools: Option<List<Object<RawTool<'a>>, { body::TOOLS }>>,
    /// Whether the model may, must or must not call, or what. It takes `tools`.
    #[serde(borrow)]
    #[cfg_attr(test, schemars(with = "Option<super::shapes::Choice>"))]
    tool_choice: Option<&'a RawValue>,
    // Known, and not offered but for what asks for nothing.
    /// 1 alone: a token holds one conversation.
    #[cfg_attr(test, schemars(range(min = 1, max = 1)))]
    n: Option<u64>,
    /// Not offered: 0 alone.
    #[cfg_attr(test, schemars(with = "Option<f64>", range(min = 0, max = 0)))]
    frequency_penalty: Option<Number>,
    /// Not offered: 0 alone.
    #[cfg_attr(test, schemars(with = "Option<f64>", range(min = 0, max = 0)))]
    presence_penalty: Option<Number>,
    /// `text` alone.
    #[serde(borrow)]
    #[cfg_attr(test, schemars(extend("items" = serde_json::json!({ "const": "text" }))))]
    modalities: Option<List<Cow<'a, str>, MODALITIES>>,
    #[serde(borrow)]
    #[cfg_attr(test, schemars(skip))]
    audio: Option<&'a RawValue>,
    #[serde(borrow)]
    #[cfg_attr(test, schemars(skip))]
    function_call: Option<&'a RawValue>,
    #[serde(borrow)]
    #[cfg_attr(test, schemars(skip))]
    functions: Option<&'a RawValue>,
    #[serde(borrow)]
    #[cfg_attr(test, schemars(skip))]
    logit_bias: Option<&'a RawValue>,
    #[serde(borrow)]
    #[cfg_attr(test, schemars(skip))]
    logprobs: Option<&'a RawValue>,
    #[serde(borrow)]
    #[cfg_attr(test, schemars(skip))]
    moderation: Option<&'a RawValue>,
    #[serde(borrow)]
    #[cfg_attr(test, schemars(skip))]
    prediction: Option<&'a RawValue>,
    #[serde(borrow)]
    #[cfg_attr(test, schemars(skip))]
    top_logprobs: Option<&'a RawValue>,
    #[serde(borrow)]
    #[cfg_attr(test, schemars(skip))]
    web_search_options: Option<&'a RawValue>,
}

impl RawChat<'_> {
    /// The turn, and whether a stream is to tell what it used.
    pub(super) fn into_turn(self) -> Result<(TurnRequest, bool), Error> {
        self.refuse_unoffered()?;
        let (input, system) = conversation(self.messages)?;
        let tools = tools(self.tools.unwrap_or_default())?;
        let (tools, tool_choice) = match self.tool_choice {
            Some(choice) => tool_choice(choice, tools)?,
            None => (tools, None),
        };
        let max_tokens = body::at_least_one("max_tokens", self.max_tokens)?;
        let reasoning = Reasoning {
            effort: body::one_of("reasoning_effort", self.reasoning_effort.as_deref(), &body::EFFORTS)?,
            ..Reasoning::default()
        };
        let options = ModelOptions {
            max_output_tokens: body::at_least_one("max_completion_tokens", self.max_completion_tokens)?.or(max_tokens),
            temperature: body::number_to(2, "temperature", self.temperature)?,
            top_p: body::number_to(1, "top_p", self.top_p)?,
            stop: self.stop.map(stops).transpose()?.unwrap_or_default(),
            seed: self.seed,
            format: self.response_format.map(reply_format).transpose()?.unwrap_or_default(),
            reasoning,
            parallel_calls: self.parallel_tool_calls,
            tools,
            tool_choice,
        };
        let include_usage = self.stream_options.and_then(|options| options.0.include_usage).unwrap_or_default();
        let turn = TurnRequest {
            token: self.conversation_token,
            input,
            system,
            user_id: None,
            // An empty name is how some say that they have none.
            user_hint: [self.safety_identifier, self.user].into_iter().flatten().find(|user| !user.is_empty()),
            model: Some(self.model),
            stream: self.stream.unwrap_or_default(),
            options,
            truncation: body::truncation(self.truncation.as_deref())?,
        };
        Ok((turn, include_usage))
    }

    /// Refuses what we know and cannot honour.
    fn refuse_unoffered(&self) -> Result<(), Error> {
        if self.previous_response_id.is_some() {
            return Err(body::unsupported(
                "`previous_response_id` is a member of /v1/responses; send `conversation_token`, the id without `resp_`",
            ));
        }
        for (member, instead) in [
            (self.audio, "`audio` is not offered: replies are text"),
            (self.function_call, "`function_call` is not offered; send `tool_choice`"),
            (self.functions, "`functions` is not offered; send `tools`"),
            (self.logit_bias, "`logit_bias` is not offered: its numbers mean something to one model alone"),
            (self.logprobs, "`logprobs` is not offered: replies are text"),
            (self.moderation, "`moderation` is not offered; check texts where you send and receive them"),
            (self.prediction, "`prediction` is not offered; leave it out, it changes the speed alone"),
            (self.top_logprobs, "`top_logprobs` is not offered: replies are text"),
        ] {
            if member.is_some_and(|member| !asks_for_nothing(member)) {
                return Err(body::unsupported(instead));
            }
        }
        // Also an empty object asks for a search.
        if self.web_search_options.is_some() {
            return Err(body::unsupported(
                "`web_search_options` is not offered; describe a search of your own in `tools`",
            ));
        }
        if self.modalities.as_ref().is_some_and(|list| list.0.iter().any(|modality| modality != "text")) {
            return Err(body::unsupported("`modalities` can be [\"text\"] alone: replies are text"));
        }
        for (name, penalty) in
            [("frequency_penalty", &self.frequency_penalty), ("presence_penalty", &self.presence_penalty)]
        {
            if penalty.as_ref().is_some_and(|penalty| penalty.as_f64() != Some(0.0)) {
                return Err(body::unsupported(format!("`{name}` is not offered; leave it out, or 0")));
            }
        }
        if self.n.is_some_and(|n| n != 1) {
            return Err(body::unsupported(
                "`n` can be 1 alone: a token holds one conversation; for more replies send the turn again, a token can be \
                 continued more than once",
            ));
        }
        Ok(())
    }
}

#[derive(Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(inline))]
struct RawStreamOptions {
    /// Whether the last chunk tells what was used.
    include_usage: Option<bool>,
}

/// A message of any role.
#[derive(Deserialize)]
struct RawMessage<'a> {
    #[serde(borrow)]
    role: Cow<'a, str>,
    content: Option<RawContent>,
    refusal: Option<String>,
    tool_calls: Option<List<RawCall, { body::ELEMENTS }>>,
    tool_call_id: Option<String>,
    #[serde(borrow)]
    audio: Option<&'a RawValue>,
    #[serde(borrow)]
    function_call: Option<&'a RawValue>,
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
                f.write_str("text, or a list of parts, as `content`")
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
                    Err(de::Error::custom("`content` has no part"))
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
    /// What the model said in place of an answer.
    Refusal(String),
    Text(String),
    /// Of a type that is known and not offered.
    Unoffered(&'static str),
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
            ("file", ..) => Ok(Self::Unoffered("file")),
            ("input_audio", ..) => Ok(Self::Unoffered("input_audio")),
            _ => Err(de::Error::custom(
                "a part is {\"type\":\"text\",\"text\"}, {\"type\":\"image_url\",\"image_url\":{\"url\"}} or \
                 {\"type\":\"refusal\",\"refusal\"}",
            )),
        }
    }
}

enum RawCall {
    /// Of a tool that takes no JSON.
    Custom,
    Function {
        id: String,
        name: String,
        args: String,
    },
}

impl<'de> Deserialize<'de> for RawCall {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Members<'a> {
            id: String,
            #[serde(borrow)]
            r#type: Option<Cow<'a, str>>,
            function: Option<Object<Called>>,
        }

        #[derive(Deserialize)]
        struct Called {
            name: String,
            arguments: String,
        }

        let Object(Members { id, r#type, function }) = Object::<Members<'de>>::deserialize(deserializer)?;
        // Clients that put a call together from a stream may leave its one type out.
        match (r#type.as_deref(), function) {
            (None | Some("function"), Some(Object(Called { name, arguments: args }))) => {
                Ok(Self::Function { id, name, args })
            }
            (Some("custom"), _) => Ok(Self::Custom),
            _ => {
                Err(de::Error::custom("a call is {\"id\",\"type\":\"function\",\"function\":{\"name\",\"arguments\"}}"))
            }
        }
    }
}

/// What the model may call.
#[derive(Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "ChatTool"))]
struct RawTool<'a> {
    #[serde(borrow)]
    #[cfg_attr(test, schemars(extend("const" = "function")))]
    r#type: Cow<'a, str>,
    /// The function.
    #[cfg_attr(test, schemars(with = "RawFunction"))]
    function: Option<Object<RawFunction>>,
}

/// A function that the client runs.
#[derive(Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "ChatFunction"))]
struct RawFunction {
    /// What it is called.
    #[cfg_attr(test, schemars(regex(pattern = body::NAME)))]
    name: String,
    /// What it is for, in words for the model.
    description: Option<String>,
    /// The JSON Schema of its arguments.
    #[cfg_attr(test, schemars(with = "Option<serde_json::Map<String, serde_json::Value>>"))]
    parameters: Option<Box<RawValue>>,
    /// Whether arguments are to keep to the schema.
    strict: Option<bool>,
}

#[derive(Deserialize)]
struct RawChoice<'a> {
    #[serde(borrow)]
    r#type: Cow<'a, str>,
    function: Option<Object<RawName>>,
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
    tools: List<Object<RawAllowedTool>, { body::TOOLS }>,
}

#[derive(Deserialize)]
struct RawAllowedTool {
    function: Object<RawName>,
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

/// The items of the messages, and the system text among them.
fn conversation<const MOST: usize>(
    messages: List<Object<RawMessage<'_>>, MOST>,
) -> Result<(Vec<Item>, Option<String>), Error> {
    let (mut items, mut system) = (Vec::new(), Vec::new());
    for (at, Object(message)) in messages.0.into_iter().enumerate() {
        match &*message.role {
            "assistant" => push_assistant(at, message, &mut items)?,
            "developer" | "system" => {
                for part in parts(at, message.content)? {
                    match part {
                        Part::Text(text) if text.is_empty() => {}
                        Part::Text(text) => system.push(text),
                        Part::Image(_) => return Err(Error::invalid(format!("`messages[{at}]` can have text alone"))),
                    }
                }
            }
            "function" => {
                return Err(body::unsupported(format!(
                    "`messages[{at}]` is of the role `function`, which is not offered; send a result as role `tool`, with \
                     its `tool_call_id`"
                )));
            }
            "tool" => {
                let id = message.tool_call_id;
                let id = id.ok_or_else(|| Error::invalid(format!("`messages[{at}]` has no `tool_call_id`")))?;
                let out = match parts_or_text(at, message.content)? {
                    Content::Parts(parts) => Output::Parts(parts),
                    Content::Text(text) => Output::Text(text),
                };
                items.push(Item::Result { id, out, error: false });
            }
            "user" => {
                items.push(Item::Message { role: Role::User, parts: parts(at, message.content)?, cut: false });
            }
            other => {
                let shown = body::excerpt(other).into();
                return Err(Error::RoleForbidden { role: shown });
            }
        }
    }
    if items.is_empty() {
        return Err(Error::invalid("`messages` has nothing from the user, nor a tool's result"));
    }
    let system = if system.is_empty() { None } else { Some(system.join("\n\n")) };
    Ok((items, system))
}

/// What an assistant said, then what it called: items to be held against the token's.
fn push_assistant(at: usize, message: RawMessage<'_>, items: &mut Vec<Item>) -> Result<(), Error> {
    if message.audio.is_some() || message.function_call.is_some() {
        return Err(body::unsupported(format!(
            "`messages[{at}]` has `audio` or `function_call`, which are not offered; leave out what the token holds"
        )));
    }
    let mut said = match message.content {
        Some(content) => parts(at, Some(content))?,
        None => Vec::new(),
    };
    said.extend(message.refusal.map(Part::Text));
    said.retain(|part| !matches!(part, Part::Text(text) if text.is_empty()));
    let calls = message.tool_calls.unwrap_or_default().0;
    // A turn in which nothing was said is still the model's.
    if said.is_empty() && calls.is_empty() {
        said.push(Part::Text(String::new()));
    }
    if !said.is_empty() {
        items.push(Item::Message { role: Role::Assistant, parts: said, cut: false });
    }
    for call in calls {
        match call {
            RawCall::Custom => {
                return Err(body::unsupported(format!(
                    "`messages[{at}]` has a call of type `custom`, which is not offered"
                )));
            }
            RawCall::Function { id, name, args } => items.push(Item::Call { id, name, args }),
        }
    }
    Ok(())
}

/// What a message holds.
enum Content {
    /// Never empty.
    Parts(Vec<Part>),
    Text(String),
}

fn parts_or_text(at: usize, content: Option<RawContent>) -> Result<Content, Error> {
    let parts = match content {
        None => return Err(Error::invalid(format!("`messages[{at}]` has no `content`"))),
        Some(RawContent::Text(text)) => return Ok(Content::Text(text)),
        Some(RawContent::Parts(parts)) => parts,
    };
    let part = |part| match part {
        RawPart::Image(url) => Ok(Part::Image(url)),
        RawPart::Refusal(text) | RawPart::Text(text) => Ok(Part::Text(text)),
        RawPart::Unoffered(kind) => Err(body::unsupported(format!(
            "`messages[{at}]` has a part of type `{kind}`, which is not offered; send text, or images as `image_url`"
        ))),
    };
    parts.into_iter().map(part).collect::<Result<_, _>>().map(Content::Parts)
}

fn parts(at: usize, content: Option<RawContent>) -> Result<Vec<Part>, Error> {
    parts_or_text(at, content).map(|content| match content {
        Content::Parts(parts) => parts,
        Content::Text(text) => vec![Part::Text(text)],
    })
}

fn tools<const MOST: usize>(raw: List<Object<RawTool<'_>>, MOST>) -> Result<Vec<Tool>, Error> {
    let tool = |(at, Object(tool)): (usize, Object<RawTool<'_>>)| match (&*tool.r#type, tool.function) {
        ("function", Some(Object(RawFunction { name, description, parameters, strict }))) => {
            body::tool(name, description, parameters, strict)
        }
        ("function", None) => Err(Error::invalid(format!("`tools[{at}]` has no `function`"))),
        _ => Err(body::unsupported(format!("`tools[{at}]` is not of type `function`, the only one that is offered"))),
    };
    raw.0.into_iter().enumerate().map(tool).collect()
}

/// The choice, and the tools that it leaves.
fn tool_choice(raw: &RawValue, mut tools: Vec<Tool>) -> Result<(Vec<Tool>, Option<ToolChoice>), Error> {
    let wrong = || {
        Error::invalid(
            "`tool_choice` is \"auto\", \"none\", \"required\", {\"type\":\"function\",\"function\":{\"name\"}} or \
             {\"type\":\"allowed_tools\",\"allowed_tools\":{\"mode\",\"tools\"}}",
        )
    };
    let choice = if raw.get().starts_with('"') {
        mode(&body::member::<Cow<'_, str>>("tool_choice", raw)?).ok_or_else(wrong)?
    } else {
        let Object(RawChoice { r#type, function, allowed_tools }) = body::member("tool_choice", raw)?;
        match (&*r#type, function, allowed_tools) {
            ("function", Some(Object(RawName { name })), _) => ToolChoice::Tool(name),
            ("allowed_tools", _, Some(Object(RawAllowed { mode: name, tools: allowed }))) => {
                let allowed: Vec<_> = allowed.0.into_iter().map(|Object(tool)| tool.function.0.name).collect();
                if !allowed.iter().all(|name| tools.iter().any(|tool| tool.name == *name)) {
                    return Err(Error::invalid("`tool_choice` allows a tool that is not in `tools`"));
                }
                tools.retain(|tool| allowed.contains(&tool.name));
                mode(&name).filter(|mode| *mode != ToolChoice::None).ok_or_else(wrong)?
            }
            ("custom", ..) => {
                return Err(body::unsupported("`tool_choice` of type `custom` is not offered; send `function`"));
            }
            _ => return Err(wrong()),
        }
    };
    let choice = body::tool_choice(choice, &tools)?;
    Ok((tools, Some(choice)))
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
    let texts = if raw.get().starts_with('"') {
        vec![body::member("stop", raw)?]
    } else {
        body::member::<List<String, { body::STOPS }>>("stop", raw)?.0
    };
    body::stops("stop", texts)
}

fn reply_format(raw: &RawValue) -> Result<ReplyFormat, Error> {
    let Object(RawFormat { r#type, json_schema }) = body::member("response_format", raw)?;
    match (&*r#type, json_schema) {
        ("text", _) => Ok(ReplyFormat::Text),
        ("json_object", _) => Ok(ReplyFormat::Json),
        ("json_schema", Some(Object(RawSchema { name, description, schema, strict }))) => {
            if !body::is_name(&name) {
                return Err(Error::invalid("`response_format.json_schema.name` is 1 to 64 of A-Z a-z 0-9 _ -"));
            }
            let schema = schema.filter(|schema| schema.get().starts_with('{'));
            let schema = schema.ok_or_else(|| Error::invalid("`response_format.json_schema.schema` is an object"))?;
            Ok(ReplyFormat::Schema { name, description, schema, strict })
        }
        _ => Err(Error::invalid(
            "`response_format` is {\"type\":\"text\"}, {\"type\":\"json_object\"} or \
             {\"type\":\"json_schema\",\"json_schema\":{\"name\",\"schema\"}}",
        )),
    }
}

/// Whether a member has the value that its absence stands for.
fn asks_for_nothing(member: &RawValue) -> bool {
    let value: String = member.get().split_ascii_whitespace().collect();
    matches!(value.as_str(), "false" | "0" | "[]" | "{}")
}

/// The shortest part has 15 bytes of text, the shortest call 24: what is kept of them is to stay a small multiple.
const _: () = assert!(size_of::<RawPart>() <= 32 && size_of::<RawCall>() <= 72);

/// There are two.
const MODALITIES: usize = 16;
