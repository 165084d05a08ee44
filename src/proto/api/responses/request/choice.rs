//! `tool_choice`: a mode, a function, or a list of allowed tools.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::proto::{
    api::{
        body::{self, List},
        responses::resource::{ChoiceBody, NameBody},
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
    pub(super) allowed: Vec<String>,
}

/// Parses a choice among `tools`.
pub(super) fn read(raw: Option<&RawValue>, tools: &[Tool]) -> Result<Choice, Error> {
    let all = || tools.iter().map(|tool| tool.name.clone()).collect();
    let Some(raw) = raw else {
        return Ok(Choice { choice: None, body: ChoiceBody::Mode("auto"), allowed: all() });
    };
    if raw.get().starts_with('"') {
        let name: String = body::parse_member("tool_choice", raw)?;
        let (choice, name) = parse_mode(&name)?;
        let choice = Some(body::tool_choice(choice, tools)?);
        return Ok(Choice { choice, body: ChoiceBody::Mode(name), allowed: all() });
    }
    let Object(RawChoice { r#type, name, mode, tools: allowed_tools }) = body::parse_member("tool_choice", raw)?;
    match (r#type.as_str(), name) {
        ("function", Some(name)) => {
            let choice = body::tool_choice(ToolChoice::Tool(name.clone()), tools)?;
            Ok(Choice { choice: Some(choice), body: ChoiceBody::Function(NameBody::new(name)), allowed: all() })
        }
        ("allowed_tools", _) => read_allowed(mode.as_deref(), allowed_tools.unwrap_or_default().0, tools),
        ("function", None) => Err(Error::invalid("`tool_choice.name` is missing. Add it.")),
        (other, _) => Err(Error::Unsupported {
            detail: format!(
                "`tool_choice` has the type `{}`, which is not supported. It must be \"auto\", \"none\", \"required\", or \
                have the type function or allowed_tools.",
                body::excerpt(other)
            ),
        }),
    }
}

/// Parses a choice of type `allowed_tools`.
fn read_allowed(mode: Option<&str>, allowed: Vec<Object<RawAllowed>>, tools: &[Tool]) -> Result<Choice, Error> {
    let (choice, mode) = parse_mode(mode.unwrap_or("auto"))?;
    let allowed = allowed.into_iter().map(name_of).collect::<Result<Vec<_>, _>>()?;
    if allowed.is_empty() || allowed.iter().any(|name| !tools.iter().any(|tool| tool.name == *name)) {
        return Err(Error::invalid("`tool_choice.tools` must name one or more functions of `tools`."));
    }
    let bodies = allowed.iter().cloned().map(NameBody::new).collect();
    let body = ChoiceBody::Allowed { r#type: "allowed_tools", mode, tools: bodies };
    Ok(Choice { choice: Some(choice), body, allowed })
}

#[derive(Deserialize)]
struct RawChoice {
    r#type: String,
    name: Option<String>,
    mode: Option<String>,
    tools: Option<List<Object<RawAllowed>, { body::TOOLS }>>,
}

#[derive(Deserialize)]
struct RawAllowed {
    r#type: Option<String>,
    name: Option<String>,
}

fn name_of(Object(RawAllowed { r#type, name }): Object<RawAllowed>) -> Result<String, Error> {
    match (r#type.as_deref(), name) {
        (None | Some("function"), Some(name)) => Ok(name),
        _ => Err(Error::invalid("`tool_choice.tools` must have only entries of type function, each with a `name`.")),
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
