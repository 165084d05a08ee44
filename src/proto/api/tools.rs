//! The tools of a request, and their names at the model service.
//!
//! The server offers only functions to model services. A tool of a namespace becomes a function
//! whose name begins with that of the namespace. A custom tool becomes a function with one text.
//! Clients get calls in the form of their request.
//!
//! The server keeps nothing between turns, so each request's tools make the table. The name of a
//! function depends only on the namespace and the name of its tool, unless another tool of the
//! request has it already. So a call that the token holds keeps its name in later turns, even if
//! the tools change. A tool without a namespace always keeps its own name.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    iter::once,
};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{body, ignored::Ignored};
use crate::proto::{
    error::Error,
    excerpt::excerpt,
    fnv::fnv1a,
    json::Object,
    turn::{Tool, ToolChoice},
};

/// The tools of a request, by namespace and name.
#[derive(Default)]
pub(super) struct ToolList {
    tools: BTreeMap<(Option<String>, String), ListedTool>,
    /// The number of tools that were added, with those that were replaced.
    added: usize,
}

struct ListedTool {
    /// The place in the order of the request.
    at: usize,
    tool: Tool,
    is_custom: bool,
}

/// The tools that a model service is offered.
pub(super) struct OfferedTools {
    pub(super) tools: Vec<Tool>,
    pub(super) names: ToolNames,
}

/// The tools of namespaces and the custom tools, by namespace and name. The others have functions
/// of the same name and kind.
#[derive(Debug, Default)]
pub(super) struct ToolNames(Vec<NamedTool>);

#[derive(Debug)]
struct NamedTool {
    /// The name of the function.
    function: String,
    namespace: Option<String>,
    name: String,
    is_custom: bool,
}

/// A call in the client's terms.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ClientCall<'a> {
    pub(super) namespace: Option<&'a str>,
    pub(super) name: &'a str,
    pub(super) input: CallInput<'a>,
}

/// The input of a call.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum CallInput<'a> {
    /// JSON text, as the model wrote it.
    Arguments(&'a str),
    /// The text for a custom tool.
    Text(Cow<'a, str>),
}

/// A custom tool.
pub(super) struct CustomTool {
    pub(super) name: String,
    pub(super) description: Option<String>,
    pub(super) grammar: Option<Grammar>,
}

/// The grammar that the input of a custom tool must match.
#[derive(Deserialize)]
pub(super) struct Grammar {
    pub(super) syntax: Option<String>,
    pub(super) definition: String,
}

impl ToolList {
    /// Adds a function. A tool of the same namespace and name is replaced.
    ///
    /// # Errors
    /// [`Error::RequestInvalid`] for more than [`body::TOOLS`] tools.
    pub(super) fn add(&mut self, namespace: Option<&str>, tool: Tool) -> Result<(), Error> {
        self.insert(namespace, tool, false)
    }

    /// Adds a custom tool as a function with one text.
    ///
    /// # Errors
    /// As [`Self::add`].
    pub(super) fn add_custom(&mut self, namespace: Option<&str>, tool: CustomTool) -> Result<(), Error> {
        let CustomTool { name, description, grammar } = tool;
        let grammar = grammar.map(|Grammar { syntax, definition }| {
            format!(
                "The input must match this {}grammar:\n{definition}",
                syntax.map(|name| name + " ").unwrap_or_default()
            )
        });
        let texts: Vec<_> = [description, grammar].into_iter().flatten().filter(|text| !text.is_empty()).collect();
        let description = (!texts.is_empty()).then(|| texts.join("\n\n"));
        let parameters = RawValue::from_string(CUSTOM_PARAMETERS.to_owned()).ok();
        self.insert(namespace, Tool { name, description, parameters, strict: None }, true)
    }

    fn insert(&mut self, namespace: Option<&str>, tool: Tool, is_custom: bool) -> Result<(), Error> {
        let key = (namespace.map(str::to_owned), tool.name.clone());
        if self.tools.len() >= body::TOOLS && !self.tools.contains_key(&key) {
            return Err(Error::invalid(format!("`tools` has more than {} tools. Send fewer.", body::TOOLS)));
        }
        self.added = self.added.saturating_add(1);
        self.tools.insert(key, ListedTool { at: self.added, tool, is_custom });
        Ok(())
    }

    /// The functions for the tools, in the order of the request.
    ///
    /// # Errors
    /// [`Error::RequestInvalid`] for a tool for which no unused name is found.
    pub(super) fn offer(self) -> Result<OfferedTools, Error> {
        let own_name = |(namespace, name): &(Option<String>, String)| namespace.is_none().then(|| name.clone());
        let mut used: BTreeSet<String> = self.tools.keys().filter_map(own_name).collect();
        let mut listed: Vec<_> = self.tools.into_iter().collect();
        listed.sort_by_key(|(_, tool)| tool.at);
        let (mut tools, mut names) = (Vec::with_capacity(listed.len()), Vec::new());
        for ((namespace, name), ListedTool { tool, is_custom, .. }) in listed {
            let function = match &namespace {
                Some(namespace) => unused_name(namespace, &name, &used)?,
                None => name.clone(),
            };
            if namespace.is_some() || is_custom {
                used.insert(function.clone());
                names.push(NamedTool { function: function.clone(), namespace, name, is_custom });
            }
            tools.push(Tool { name: function, ..tool });
        }
        names.sort_by(|one, other| one.key().cmp(&other.key()));
        Ok(OfferedTools { tools, names: ToolNames(names) })
    }
}

impl NamedTool {
    fn key(&self) -> (Option<&str>, &str) {
        (self.namespace.as_deref(), &self.name)
    }
}

impl ToolNames {
    /// The name of the function for a tool, which need not be among the request's tools.
    pub(super) fn function(&self, namespace: Option<&str>, name: &str) -> String {
        let known = self.0.binary_search_by(|tool| tool.key().cmp(&(namespace, name))).ok();
        known.and_then(|at| self.0.get(at)).map_or_else(|| function_name(namespace, name), |tool| tool.function.clone())
    }

    /// A call of a function in the terms of the request.
    pub(super) fn client_call<'a>(&'a self, function: &'a str, arguments: &'a str) -> ClientCall<'a> {
        match self.0.iter().find(|tool| tool.function == function) {
            None => ClientCall { namespace: None, name: function, input: CallInput::Arguments(arguments) },
            Some(NamedTool { namespace, name, is_custom, .. }) => {
                let input =
                    if *is_custom { CallInput::Text(custom_input(arguments)) } else { CallInput::Arguments(arguments) };
                ClientCall { namespace: namespace.as_deref(), name, input }
            }
        }
    }
}

/// The arguments of the function for a custom tool that is called with `input`.
pub(super) fn custom_arguments(input: &str) -> String {
    #[derive(Serialize)]
    struct Arguments<'a> {
        input: &'a str,
    }

    serde_json::to_string(&Arguments { input }).unwrap_or_default()
}

/// The text in the arguments of the function for a custom tool. A model may write the text without
/// its envelope.
fn custom_input(arguments: &str) -> Cow<'_, str> {
    #[derive(Deserialize)]
    struct Arguments {
        input: String,
    }

    let enveloped = serde_json::from_str::<Object<Arguments>>(arguments).map(|Object(Arguments { input })| input);
    enveloped.or_else(|_| serde_json::from_str(arguments)).map_or(Cow::Borrowed(arguments), Cow::Owned)
}

/// The name of the function for a tool: 1 to 64 of `[A-Za-z0-9_-]` for a tool of a namespace, and
/// else the tool's own name.
fn function_name(namespace: Option<&str>, name: &str) -> String {
    let Some(namespace) = namespace else { return name.to_owned() };
    let full = full_name(namespace, name);
    if full.len() <= FUNCTION_CHARS && full.chars().all(is_plain) { full } else { hashed(&full, &full) }
}

/// The first name for a tool of a namespace that is not among `used`. Hashes can be equal by
/// intent, so there are no more tries than names that can be in the way.
fn unused_name(namespace: &str, name: &str, used: &BTreeSet<String>) -> Result<String, Error> {
    let full = full_name(namespace, name);
    let others = (1..=used.len()).map(|attempt| hashed(&full, &format!("{attempt}:{full}")));
    once(function_name(Some(namespace), name)).chain(others).find(|name| !used.contains(name)).ok_or_else(|| {
        Error::invalid(format!("The name of tool `{name}` is too similar to those of other tools. Change it."))
    })
}

fn full_name(namespace: &str, name: &str) -> String {
    format!("{namespace}__{name}")
}

/// A name that is similar to `name`, with a hash of `text`.
fn hashed(name: &str, text: &str) -> String {
    let similar = name.chars().take(SIMILAR_CHARS).map(|c| if is_plain(c) { c } else { '_' });
    format!("{}_{:016x}", similar.collect::<String>(), fnv1a(text.as_bytes()))
}

fn is_plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '-')
}

/// A tool with a valid name and schema. `path` is its place in the request.
pub(super) fn tool(
    path: &str,
    name: String,
    description: Option<String>,
    parameters: Option<Box<RawValue>>,
    strict: Option<bool>,
) -> Result<Tool, Error> {
    check_name(path, &name)?;
    if parameters.as_ref().is_some_and(|schema| !schema.get().starts_with('{')) {
        return Err(Error::invalid(format!("The schema of tool `{name}` must be an object.")));
    }
    Ok(Tool { name, description, parameters, strict })
}

/// Checks that the tools allow a choice. A request cannot require a tool that was left out.
pub(super) fn tool_choice(choice: ToolChoice, tools: &[Tool], ignored: &Ignored) -> Result<ToolChoice, Error> {
    match &choice {
        ToolChoice::Required if tools.is_empty() && ignored.has_no_tools() => {
            Err(Error::invalid("`tool_choice` requires a tool, but `tools` is empty. Add one."))
        }
        ToolChoice::Required if tools.is_empty() => Err(body::unsupported(
            "`tool_choice` requires a tool, but the server can offer none of `tools`: it runs no tools itself. Add a function \
            of your own.",
        )),
        ToolChoice::Tool(name) if ignored.has_tool(name) => Err(not_offered(name)),
        ToolChoice::Tool(name) if !tools.iter().any(|tool| tool.name == *name) => {
            Err(Error::invalid("`tool_choice` names a tool that is not in `tools`. Name one of those."))
        }
        _ => Ok(choice),
    }
}

/// The error for a choice that requires a tool which the server cannot offer.
pub(super) fn not_offered(name: &str) -> Error {
    body::unsupported(format!(
        "`tool_choice` requires `{}`, which is not supported: tools run at the client. Choose a function of your own.",
        excerpt(name).replace('`', "'")
    ))
}

/// The type of a tool. Only the members of known types are read: others can have any.
pub(super) fn kind<'a>(path: &str, tool: &'a RawValue) -> Result<Option<Cow<'a, str>>, Error> {
    #[derive(Deserialize)]
    struct Kind<'a> {
        #[serde(borrow)]
        r#type: Option<Cow<'a, str>>,
    }

    body::parse_member(path, tool).map(|Object(Kind { r#type })| r#type)
}

/// Leaves out a hosted tool in the form of Gemini's API, such as `{"google_search": {}}`. Returns
/// false for a tool in another form.
pub(super) fn leave_out_keyed(tool: &RawValue, ignored: &mut Ignored) -> bool {
    if tool.get().len() > KEYED_BYTES {
        return false;
    }
    let Ok(Object(members)) = serde_json::from_str::<Object<BTreeMap<Cow<'_, str>, &RawValue>>>(tool.get()) else {
        return false;
    };
    let is_keyed = |(name, value): (&Cow<'_, str>, &&RawValue)| {
        value.get().starts_with('{') && !TOOL_MEMBERS.contains(&name.as_ref())
    };
    if members.is_empty() || !members.iter().all(is_keyed) {
        return false;
    }
    members.keys().for_each(|name| ignored.add_tool(name, None));
    true
}

/// Checks the name of a tool, at this path of the request.
pub(super) fn check_name(path: &str, name: &str) -> Result<(), Error> {
    if (1..=NAME_CHARS).contains(&name.len()) && name.chars().all(is_plain) {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "`{path}.name` must have 1 to {NAME_CHARS} characters of `A-Z a-z 0-9 _ -`, not `{}`.",
        excerpt(name).replace('`', "'")
    )))
}

/// Checks the name of a namespace, at this path of the request. Each of its tools is kept with it.
pub(super) fn check_namespace(path: &str, name: &str) -> Result<(), Error> {
    if name.chars().count() <= NAME_CHARS {
        return Ok(());
    }
    Err(Error::invalid(format!("`{path}.name` has more than {NAME_CHARS} characters. Shorten it.")))
}

/// The longest text of a hosted tool without a type. Longer ones are not read.
const KEYED_BYTES: usize = 4_096;
/// The members of functions and custom tools.
const TOOL_MEMBERS: [&str; 9] =
    ["custom", "description", "format", "function", "input_schema", "name", "parameters", "schema", "strict"];
/// The longest name of a tool: Anthropic's limit. Other services have lower ones, and check them.
const NAME_CHARS: usize = 128;
/// The longest name that every model service accepts.
const FUNCTION_CHARS: usize = 64;
/// With `_` and a hash of 16 digits, 64 characters.
const SIMILAR_CHARS: usize = 47;
/// The schema of the function for a custom tool.
const CUSTOM_PARAMETERS: &str = r#"{"type":"object","properties":{"input":{"type":"string","description":"The input of the tool: text in its own syntax."}},"required":["input"],"additionalProperties":false}"#;

#[cfg(test)]
mod tests {
    use super::*;

    fn function(name: &str) -> Tool {
        Tool { name: name.to_owned(), description: None, parameters: None, strict: None }
    }

    fn custom(name: &str) -> CustomTool {
        CustomTool { name: name.to_owned(), description: None, grammar: None }
    }

    fn offered(tools: &[(Option<&str>, &str)]) -> OfferedTools {
        listed(tools).offer().unwrap()
    }

    fn listed(tools: &[(Option<&str>, &str)]) -> ToolList {
        let mut list = ToolList::default();
        tools.iter().for_each(|(namespace, name)| list.add(*namespace, function(name)).unwrap());
        list
    }

    fn names(offered: &OfferedTools) -> Vec<&str> {
        offered.tools.iter().map(|tool| tool.name.as_str()).collect()
    }

    #[test]
    fn a_hosted_tool_can_have_its_name_as_a_member() {
        let long = |length: usize| format!(r#"{{"a":{{"b":"{}"}}}}"#, "x".repeat(length - 14));
        for (tool, names) in [
            (r#"{"google_search": {}}"#, &["google_search"][..]),
            (r#"{"urlContext": {}, "googleSearch": {"a": 1}}"#, &["googleSearch", "urlContext"]),
            (&long(4_096), &["a"]),
            (&long(4_097), &[]),
            ("{}", &[]),
            (r#"{"functionDeclarations": [{"name": "look"}]}"#, &[]),
            (r#"{"function": {}}"#, &[]),
            (r#"{"description": "x", "google_search": {}}"#, &[]),
            (r#"{"parameters": {}}"#, &[]),
        ] {
            let mut ignored = Ignored::default();
            let raw = RawValue::from_string(tool.to_owned()).unwrap();
            assert_eq!(leave_out_keyed(&raw, &mut ignored), !names.is_empty(), "{tool}");
            assert_eq!(ignored.into_names(), names, "{tool}");
        }
    }

    #[test]
    fn a_name_fits_every_service_and_is_mapped_back() {
        let long = "n".repeat(61);
        let tools =
            [(None, "a"), (Some("s"), "a"), (Some("s.t"), "a b"), (Some("s"), &long[..]), (Some("s"), &long[1..])];
        let offered = offered(&tools);
        for ((namespace, name), function) in tools.into_iter().zip(names(&offered)) {
            assert!((1..=64).contains(&function.len()) && function.chars().all(is_plain), "{function}");
            assert_eq!(offered.names.function(namespace, name), function);
            let call = offered.names.client_call(function, "{}");
            assert_eq!(call, ClientCall { namespace, name, input: CallInput::Arguments("{}") });
        }
        let functions = names(&offered);
        assert_eq!((functions[1], functions[4].len(), functions[3].len()), ("s__a", 63, 64));
        assert!(functions[2].starts_with("s_t__a_b_") && functions[3].starts_with(&format!("s__{}", &long[..44])));
    }

    #[test]
    fn a_name_does_not_depend_on_the_other_tools() {
        let alone = offered(&[(Some("s"), "a")]);
        let with_others = offered(&[(None, "x"), (Some("t"), "a"), (Some("s"), "a")]);
        for namespace in ["s", "t", "unknown"] {
            let name = alone.names.function(Some(namespace), "a");
            assert_eq!(name, with_others.names.function(Some(namespace), "a"));
            assert_eq!(name, format!("{namespace}__a"));
        }
    }

    #[test]
    fn a_tool_without_a_namespace_keeps_its_name() {
        for tools in [[(None, "s__a"), (Some("s"), "a")], [(Some("s"), "a"), (None, "s__a")]] {
            let offered = offered(&tools);
            for ((namespace, name), function) in tools.into_iter().zip(names(&offered)) {
                let is_own = function == "s__a";
                assert!(is_own == namespace.is_none() && (is_own || function.starts_with("s__a_")), "{function}");
                assert_eq!(offered.names.function(namespace, name), function);
                let ClientCall { namespace: own, name: own_name, .. } = offered.names.client_call(function, "");
                assert_eq!((own, own_name), (namespace, name));
            }
        }
    }

    /// `OWN_HASH` is the name that the hash of itself gives.
    #[test]
    fn a_name_that_is_its_own_hash_is_no_obstacle() {
        const OWN_HASH: &str = "ns__look_up_the_weather_in_a_city_xxuC1PgnGuHRA_75895bb04ff40fe0";
        assert_eq!(hashed(OWN_HASH, OWN_HASH), OWN_HASH);
        let offered = offered(&[(None, OWN_HASH), (Some("ns"), &OWN_HASH[4..])]);
        let functions = names(&offered);
        assert!(functions[0] == OWN_HASH && functions[1] != OWN_HASH && functions[1].len() == 64, "{functions:?}");
    }

    #[test]
    fn names_that_are_in_the_way_are_passed_in_turn() {
        let mut used = BTreeSet::new();
        let mut candidates = Vec::new();
        for _ in 0..4 {
            let name = unused_name("s", "a", &used).unwrap();
            candidates.push(name.clone());
            used.insert(name);
        }
        let mut tools: Vec<_> = candidates[..3].iter().map(|name| (None, name.as_str())).collect();
        tools.push((Some("s"), "a"));
        assert_eq!(names(&offered(&tools)), candidates);
    }

    #[test]
    fn a_tool_that_comes_again_is_replaced() {
        let mut list = listed(&[(None, "a"), (Some("s"), "a"), (None, "b")]);
        list.add_custom(None, custom("a")).unwrap();
        list.add(Some("s"), function("a")).unwrap();
        let custom_last = list.offer().unwrap();
        assert_eq!(names(&custom_last), ["b", "a", "s__a"]);
        assert_eq!(custom_last.names.client_call("a", "{\"input\":\"x\"}").input, CallInput::Text("x".into()));
        let mut list = ToolList::default();
        list.add_custom(None, custom("a")).unwrap();
        list.add(None, function("a")).unwrap();
        let function_last = list.offer().unwrap();
        assert_eq!(function_last.names.client_call("a", "{}").input, CallInput::Arguments("{}"));
    }

    #[test]
    fn tools_are_bounded() {
        let mut list = ToolList::default();
        for at in 0..body::TOOLS {
            list.add(Some("s"), function(&at.to_string())).unwrap();
        }
        list.add(Some("s"), function("0")).unwrap();
        let error = list.add(None, function("one_more")).unwrap_err();
        assert_eq!(error.to_string(), "`tools` has more than 1024 tools. Send fewer.");
        assert_eq!(list.offer().unwrap().tools.len(), body::TOOLS);
    }

    #[test]
    fn the_name_of_a_namespace_is_bounded() {
        let long = "n".repeat(129);
        for (length, accepted) in [(0, true), (127, true), (128, true), (129, false)] {
            assert_eq!(check_namespace("tools[0]", &long[..length]).is_ok(), accepted, "{length}");
        }
    }

    #[test]
    fn the_text_of_a_custom_call_survives() {
        for text in ["", "a\n\"b\" \u{1f44b}", "{}", "\"x\""] {
            assert_eq!(custom_input(&custom_arguments(text)), text);
        }
        for (arguments, text) in
            [("not json", "not json"), ("\"x\"", "x"), ("{\"other\":1}", "{\"other\":1}"), ("[1]", "[1]")]
        {
            assert_eq!(custom_input(arguments), text);
        }
    }
}
