//! `tools`, and the items that bring tools: functions, custom tools, and namespaces of
//! both. Other types run at a model service, and are left out.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::proto::{
    api::{
        body::{self, List},
        ignored::Ignored,
        responses::resource::ToolBody,
        tools::{self, CustomTool, Grammar, ToolList},
    },
    error::Error,
    json::Object,
};

/// The tools of a request.
#[derive(Default)]
pub(super) struct Tools {
    pub(super) list: ToolList,
    /// The tools as the answer repeats them.
    pub(super) bodies: Vec<ToolBody>,
}

impl Tools {
    /// Adds the tools of a list. `path` is its place in the request.
    ///
    /// # Errors
    /// [`Error::RequestInvalid`] with the path of the tool.
    pub(super) fn add<const MOST: usize>(
        &mut self,
        path: &str,
        list: List<&RawValue, MOST>,
        ignored: &mut Ignored,
    ) -> Result<(), Error> {
        for (at, raw) in list.0.into_iter().enumerate() {
            let path = format!("{path}[{at}]");
            match tools::kind(&path, raw)?.as_deref() {
                Some("namespace") => {
                    self.add_namespace(&path, raw, ignored)?;
                    self.bodies.push(ToolBody::Received(raw.to_owned()));
                }
                Some("custom") => {
                    self.add_tool(&path, None, raw, ignored)?;
                    self.bodies.push(ToolBody::Received(raw.to_owned()));
                }
                None if tools::leave_out_keyed(raw, ignored) => {}
                None | Some("function") => {
                    let body = self.add_function(&path, None, raw)?;
                    self.bodies.push(body);
                }
                Some(hosted) => ignored.add_tool(hosted, None),
            }
        }
        Ok(())
    }

    fn add_namespace(&mut self, path: &str, raw: &RawValue, ignored: &mut Ignored) -> Result<(), Error> {
        let Object(RawNamespace { name, tools: list }) = body::parse_member(path, raw)?;
        tools::check_namespace(path, &name)?;
        for (at, tool) in list.0.into_iter().enumerate() {
            self.add_tool(&format!("{path}.tools[{at}]"), Some(&name), tool, ignored)?;
        }
        Ok(())
    }

    /// Adds a function. Returns it as the answer repeats it.
    fn add_function(&mut self, path: &str, namespace: Option<&str>, raw: &RawValue) -> Result<ToolBody, Error> {
        let Object(RawTool { name, description, parameters, strict, .. }) = body::parse_member(path, raw)?;
        let tool = tools::tool(path, name, description, parameters, strict)?;
        let body = ToolBody::from(&tool);
        self.list.add(namespace, tool)?;
        Ok(body)
    }

    /// Adds a tool that is not a namespace.
    fn add_tool(
        &mut self,
        path: &str,
        namespace: Option<&str>,
        raw: &RawValue,
        ignored: &mut Ignored,
    ) -> Result<(), Error> {
        match tools::kind(path, raw)?.as_deref() {
            None if tools::leave_out_keyed(raw, ignored) => Ok(()),
            None | Some("function") => self.add_function(path, namespace, raw).map(drop),
            Some("custom") => {
                let Object(RawTool { name, description, format, .. }) = body::parse_member(path, raw)?;
                tools::check_name(path, &name)?;
                let grammar = format.map(|format| grammar(path, format)).transpose()?.flatten();
                self.list.add_custom(namespace, CustomTool { name, description, grammar })
            }
            Some(hosted) => {
                ignored.add_tool(hosted, None);
                Ok(())
            }
        }
    }
}

/// A function or a custom tool.
#[derive(Deserialize)]
struct RawTool<'a> {
    name: String,
    description: Option<String>,
    parameters: Option<Box<RawValue>>,
    strict: Option<bool>,
    #[serde(borrow)]
    format: Option<&'a RawValue>,
}

/// A namespace of tools. Its description is left out: functions have only their own.
#[derive(Deserialize)]
struct RawNamespace<'a> {
    name: String,
    #[serde(borrow)]
    tools: List<&'a RawValue, { body::TOOLS }>,
}

/// The grammar in the format of a custom tool. The other format is any text.
fn grammar(path: &str, format: &RawValue) -> Result<Option<Grammar>, Error> {
    #[derive(Deserialize)]
    struct Format {
        r#type: Option<String>,
        syntax: Option<String>,
        definition: Option<String>,
    }

    let Object(Format { r#type, syntax, definition }) = body::parse_member(format_args!("{path}.format"), format)?;
    let definition = definition.filter(|_| r#type.as_deref() == Some("grammar"));
    Ok(definition.map(|definition| Grammar { syntax, definition }))
}
