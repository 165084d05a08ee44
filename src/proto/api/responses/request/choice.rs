//! `tool_choice`: a mode, a function or custom tool, or a list of allowed tools.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::proto::{
    api::{
        body::{self, List},
        ignored::Ignored,
        responses::resource::{ChoiceBody, NameBody},
        tools::{self, ToolNames},
    },
    error::Error,
    json::Object,
    turn::{Tool, ToolChoice},
};

/// A parsed `tool_choice`.
pub(super) struct Choice {
    pub(super) choice: Option<ToolChoice>,
    pub(super) body: ChoiceBody,
    /// The names of the tools that the model can call.
    pub(super) allowed: BTreeSet<String>,
}

/// Parses a choice among `tools`, whose functions have these `names`.
pub(super) fn read(
    raw: Option<&RawValue>,
    tools: &[Tool],
    names: &ToolNames,
    ignored: &Ignored,
) -> Result<Choice, Error> {
    let all = || tools.iter().map(|tool| tool.name.clone()).collect();
    let Some(raw) = raw else {
        return Ok(Choice { choice: None, body: ChoiceBody::Mode("auto"), allowed: all() });
    };
    if raw.get().starts_with('"') {
        let name: String = body::parse_member("tool_choice", raw)?;
        let (choice, name) = parse_mode(&name)?;
        let choice = Some(tools::tool_choice(choice, tools, ignored)?);
        return Ok(Choice { choice, body: ChoiceBody::Mode(name), allowed: all() });
    }
    if !raw.get().starts_with('{') {
        return Err(body::wrong_type("tool_choice", "text or an object", raw.get()));
    }
    let Object(RawChoice { r#type, name, namespace, mode, tools: allowed_tools }) =
        body::parse_member("tool_choice", raw)?;
    let tool = RawEntry { r#type, name, namespace };
    match (tool.r#type.as_deref(), tool.client_tool()) {
        (_, Some(body)) => {
            let function = names.function(tool.namespace.as_deref(), tool.name.as_deref().unwrap_or_default());
            let choice = tools::tool_choice(ToolChoice::Tool(function), tools, ignored)?;
            Ok(Choice { choice: Some(choice), body: ChoiceBody::Function(body), allowed: all() })
        }
        (Some("allowed_tools"), _) => {
            let allowed = allowed_tools.unwrap_or_default().0;
            read_allowed(mode.as_deref(), allowed, tools, names, ignored)
        }
        (Some("custom" | "function") | None, _) => Err(Error::invalid("`tool_choice.name` is missing. Add it.")),
        (Some(hosted), _) => Err(tools::not_offered(hosted)),
    }
}

/// Parses a choice of type `allowed_tools`.
fn read_allowed(
    mode: Option<&str>,
    entries: Vec<Object<RawEntry>>,
    tools: &[Tool],
    names: &ToolNames,
    ignored: &Ignored,
) -> Result<Choice, Error> {
    let (choice, mode) = parse_mode(mode.unwrap_or("auto"))?;
    let (mut allowed, mut bodies) = (BTreeSet::new(), Vec::new());
    for Object(entry) in entries {
        match entry.client_tool() {
            Some(body) => {
                allowed.insert(names.function(entry.namespace.as_deref(), entry.name.as_deref().unwrap_or_default()));
                bodies.push(body);
            }
            // It is not offered, so it need not be allowed.
            None if entry.r#type.as_deref().is_some_and(|hosted| ignored.has_tool(hosted)) => {}
            None => {
                return Err(Error::invalid(
                    "`tool_choice.tools` must have only entries of type function or custom, each with a `name`.",
                ));
            }
        }
    }
    let offered: BTreeSet<_> = tools.iter().map(|tool| tool.name.as_str()).collect();
    if allowed.is_empty() || !allowed.iter().all(|name| offered.contains(name.as_str())) {
        return Err(Error::invalid("`tool_choice.tools` must name one or more functions of `tools`."));
    }
    let body = ChoiceBody::Allowed { r#type: "allowed_tools", mode, tools: bodies };
    Ok(Choice { choice: Some(choice), body, allowed })
}

#[derive(Deserialize)]
struct RawChoice {
    r#type: Option<String>,
    name: Option<String>,
    namespace: Option<String>,
    mode: Option<String>,
    tools: Option<List<Object<RawEntry>, { body::TOOLS }>>,
}

/// A tool by its name. Without a type it is a function.
#[derive(Deserialize)]
struct RawEntry {
    r#type: Option<String>,
    name: Option<String>,
    namespace: Option<String>,
}

impl RawEntry {
    /// The entry as the answer repeats it. `None` unless it names a function or a custom tool.
    fn client_tool(&self) -> Option<NameBody> {
        let kind = match self.r#type.as_deref() {
            None | Some("function") => "function",
            Some("custom") => "custom",
            Some(_) => return None,
        };
        Some(NameBody::new(kind, self.name.clone()?, self.namespace.clone()))
    }
}

fn parse_mode(name: &str) -> Result<(ToolChoice, &'static str), Error> {
    match name {
        "auto" => Ok((ToolChoice::Auto, "auto")),
        "none" => Ok((ToolChoice::None, "none")),
        "required" => Ok((ToolChoice::Required, "required")),
        _ => Err(Error::invalid("`tool_choice` must be \"auto\", \"none\", \"required\" or an object.")),
    }
}
