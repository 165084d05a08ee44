//! The request schemas and the parsers accept and reject the same requests.
//!
//! Four kinds of differences are found:
//!
//! - The document accepts what a parser rejects.
//! - A parser accepts what the document rejects.
//! - A parser reads a member that the document does not name.
//! - A parser accepts a value that an enumeration of the document does not have.

use serde_json::{Value, json};

use super::{
    examples,
    samples::{self, UNDOCUMENTED_MEMBER, UNDOCUMENTED_VALUE},
    schema::Document,
};
use crate::proto::{
    api::{
        APIS,
        native::{self, RevocationRequest},
    },
    chat::{History, ImageRules, Item, Output, Part, Role},
    deployment::ApiSettings,
    error::{Code, Error},
    exchange::Caller,
    limits::Limits,
};

#[test]
fn chat_completions_requests_agree_with_the_document() {
    let tool = json!({ "type": "function", "function": { "name": "x" } });
    agree("/v1/chat/completions", &json!({ "model": "m", "messages": [user()], "tools": [tool] }));
}

#[test]
fn messages_requests_agree_with_the_document() {
    let tool = json!({ "name": "x", "input_schema": {} });
    let body = json!({ "model": "m", "max_tokens": 2_000, "messages": [user()], "tools": [tool] });
    agree("/v1/messages", &body);
    agree("/v1/messages/count_tokens", &body);
}

#[test]
fn native_requests_agree_with_the_document() {
    agree("/v1/turns", &json!({ "input": [{ "text": "hi" }], "tools": [{ "name": "x" }] }));
    agree("/v1/history", &json!({ "token": "t" }));
    agree("/v1/revocations", &json!({ "token": "t" }));
}

#[test]
fn responses_requests_agree_with_the_document() {
    let body = json!({ "model": "m", "input": [user()], "tools": [{ "type": "function", "name": "x" }] });
    agree("/v1/responses", &body);
    agree("/v1/responses/input_tokens", &body);
}

#[test]
fn every_api_is_compared() {
    for path in APIS.iter().map(|api| api.path()) {
        let call = format!("agree(\"{path}\"");
        assert!(include_str!("requests.rs").contains(&call), "add a test with `{call}, …)` to this file");
    }
}

#[test]
fn members_documented_as_unsupported_are_rejected() {
    let document = Document::read();
    for path in ["/v1/chat/completions", "/v1/messages", "/v1/responses"] {
        for member in unsupported_members(&document, path) {
            let mut request = examples::request(path, "hi", None);
            match member.split_once('.') {
                Some((object, member)) => request[object][member] = json!({ "x": 1 }),
                None => request[member] = json!({ "x": 1 }),
            }
            let error = parse(path, &request.to_string()).unwrap_err();
            assert_eq!(error.kind(), Code::Unsupported, "`{member}` at {path}: {error}");
        }
    }
}

fn user() -> Value {
    json!({ "role": "user", "content": "hi" })
}

/// Varies the valid request `base`, and compares the verdicts of document and parser.
#[track_caller]
fn agree(path: &str, base: &Value) {
    let document = Document::read();
    let agreement = Agreement { path, schema: request_schema(path), document: &document, words: words(path) };
    let mut differences = Vec::new();
    let requests = samples::requests(&document, &agreement.schema, base);
    assert!(requests.len() > 50, "{path} has only {} requests", requests.len());
    for request in requests {
        differences.extend(agreement.compare(&request));
    }
    let count = differences.len();
    differences.truncate(10);
    assert!(differences.is_empty(), "{count} differences at {path}:\n{}", differences.join("\n"));
}

struct Agreement<'a> {
    path: &'a str,
    schema: String,
    document: &'a Document,
    /// Every word in the source of the parser. The name of each member that it reads is one of
    /// them.
    words: Vec<String>,
}

impl Agreement<'_> {
    fn compare(&self, request: &Value) -> Option<String> {
        let text = request.to_string();
        let faults = self.document.faults(&self.schema, request);
        let difference = match (faults.is_empty(), parse(self.path, &text)) {
            (true, Err(error)) if error.kind() == Code::RequestInvalid => {
                let is_beyond = breaks_a_rule_between_members(self.path, request);
                (!is_beyond).then(|| format!("the server rejects what the document accepts: {error}"))
            }
            (false, Ok(())) => Some(format!("the server accepts what the document rejects: {faults:?}")),
            (true, Ok(())) => self.undocumented_member(&text),
            (_, Err(_)) => self.undocumented_value(&text),
        };
        difference.map(|difference| format!("{}\n    {difference}", excerpt(&text)))
    }

    /// Puts all words in the place of the undocumented member, and returns one that the parser
    /// reads as a member's name.
    fn undocumented_member(&self, text: &str) -> Option<String> {
        let (before, rest) = text.split_once(&format!("\"{UNDOCUMENTED_MEMBER}\":"))?;
        let end = rest.find(']').unwrap() + 1;
        let (documented, after) = rest.split_at(end);
        let documented: Vec<String> = serde_json::from_str(documented).unwrap();
        let words: Vec<_> = self.words.iter().filter(|word| !documented.contains(word)).map(String::as_str).collect();
        let parse_with = |words: &[&str], value: &str| {
            let members: Vec<_> = words.iter().map(|word| format!("\"{word}\":{value}")).collect();
            parse(self.path, &format!("{before}{}{after}", members.join(",")))
        };
        let values = ["5", "true", "\"x\"", "[5]", "{\"x\":5}"];
        let read = values.iter().flat_map(|value| rejected(&words, &|words| parse_with(words, value)));
        let unknown = read.filter(|(word, error)| !self.is_documented_as_unsupported(word, error));
        unknown
            .map(|(word, error)| format!("the server reads `{word}`, which the document does not name: {error}"))
            .next()
    }

    /// Puts each word in the place of the undocumented value, and returns one that the parser
    /// accepts and the document does not have.
    fn undocumented_value(&self, text: &str) -> Option<String> {
        let (before, after) = text.split_once(UNDOCUMENTED_VALUE)?;
        let accepted = self.words.iter().find(|word| {
            let text = format!("{before}{word}{after}");
            let faults = || self.document.faults(&self.schema, &serde_json::from_str(&text).unwrap());
            parse(self.path, &text).is_ok() && !faults().is_empty()
        });
        accepted.map(|word| format!("the server accepts the value `{word}`, which the document does not have"))
    }

    /// True for a member that the format knows and the server does not support, if the description
    /// of the operation says so. A count takes the same members as the turn.
    fn is_documented_as_unsupported(&self, member: &str, error: &Error) -> bool {
        let path = self.path.trim_end_matches("/count_tokens").trim_end_matches("/input_tokens");
        let mut members = unsupported_members(self.document, path).into_iter();
        error.kind() == Code::Unsupported && members.any(|name| name.rsplit('.').next() == Some(member))
    }
}

/// The members that the last paragraph of an operation's description lists as unsupported.
fn unsupported_members<'a>(document: &'a Document, path: &str) -> Vec<&'a str> {
    let description = document.at(&operation(path))["description"].as_str().unwrap();
    let list = description.rsplit("\n\n").next().unwrap().strip_prefix("Not supported, error `unsupported`: ");
    list.into_iter().flat_map(|list| list.split('`').skip(1).step_by(2)).collect()
}

/// The words that the parser rejects as members, each with its error.
fn rejected(words: &[&str], parse: &dyn Fn(&[&str]) -> Result<(), Error>) -> Vec<(String, Error)> {
    match (parse(words), words) {
        (Ok(()), _) => Vec::new(),
        (Err(error), [word]) => vec![((*word).to_owned(), error)],
        (Err(_), words) => {
            let (first, second) = words.split_at(words.len() / 2);
            [rejected(first, parse), rejected(second, parse)].concat()
        }
    }
}

/// Parses a request, and checks the members whose rules the server applies after the parser, for
/// all APIs.
fn parse(path: &str, body: &str) -> Result<(), Error> {
    match path {
        "/v1/history" => check_user(native::history_request(body)?.1),
        "/v1/revocations" => match native::revocation_request(body)? {
            RevocationRequest::Presented { user_id, .. } => check_user(user_id),
            _ => Ok(()),
        },
        _ => {
            let api = APIS.iter().find(|api| api.path() == path).unwrap();
            let turn = api.parse_request(body, &ApiSettings::default())?.turn;
            check_user(turn.user_id)?;
            check_images(turn.input)
        }
    }
}

fn check_user(user_id: Option<String>) -> Result<(), Error> {
    Caller::Unauthenticated { user_id }.principal().map(drop)
}

fn check_images(input: Vec<Item>) -> Result<(), Error> {
    let parts = input.into_iter().flat_map(|item| match item {
        Item::Message { parts, .. } | Item::Result { out: Output::Parts(parts), .. } => parts,
        _ => Vec::new(),
    });
    let images: Vec<_> = parts.filter(|part| matches!(part, Part::Image(_))).collect();
    if images.is_empty() {
        return Ok(());
    }
    let message = Item::Message { role: Role::User, parts: images, cut: false };
    History::default().push_input(vec![message], false, &Limits::default(), &ImageRules::default())
}

/// True for a request that breaks a rule that a schema cannot express: it relates one member to
/// another.
fn breaks_a_rule_between_members(path: &str, request: &Value) -> bool {
    let (choice, tools) = (&request["tool_choice"], &request["tools"]);
    let mut tool_names = Vec::new();
    names(tools, &mut tool_names);
    let mut chosen = Vec::new();
    names(choice, &mut chosen);
    let requires_tool = ["any", "required"].iter().any(|word| choice.to_string().contains(&format!("\"{word}\"")));
    let has_no_tool = tool_names.is_empty() || choice["allowed_tools"]["tools"] == json!([]);
    let chooses_unknown_tool = chosen.iter().any(|name| !tool_names.contains(name));
    let budget = request["thinking"]["budget_tokens"].as_u64();
    let exceeds_reply = budget.zip(request["max_tokens"].as_u64()).is_some_and(|(budget, most)| budget >= most);
    // Without a model, the request must continue a conversation.
    let lacks_model =
        path == "/v1/responses" && request["model"].is_null() && request["previous_response_id"].is_null();
    // The tools of the samples have no namespace.
    let chooses_in_namespace = choice.to_string().contains("\"namespace\":\"");
    chooses_unknown_tool || chooses_in_namespace || (requires_tool && has_no_tool) || exceeds_reply || lacks_model
}

/// The values of all members `name` within a value.
fn names<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
    match value {
        Value::Array(values) => values.iter().for_each(|value| names(value, found)),
        Value::Object(members) => {
            found.extend(members.get("name").and_then(Value::as_str));
            members.values().for_each(|value| names(value, found));
        }
        _ => {}
    }
}

/// The JSON pointer of the operation at a path.
fn operation(path: &str) -> String {
    format!("/paths/{}/post", path.replace('/', "~1"))
}

fn request_schema(path: &str) -> String {
    format!("{}/requestBody/content/application~1json/schema", operation(path))
}

fn excerpt(text: &str) -> String {
    text.chars().take(400).collect()
}

/// Every word in the source of the parser for a path. On wasm32 there are no files, and so no
/// words.
#[cfg(target_arch = "wasm32")]
fn words(_path: &str) -> Vec<String> {
    Vec::new()
}

/// Every word in the source of the parser for a path.
#[cfg(not(target_arch = "wasm32"))]
fn words(path: &str) -> Vec<String> {
    let folder = match path {
        "/v1/chat/completions" => "chat_completions",
        "/v1/history" | "/v1/revocations" | "/v1/turns" => "native",
        "/v1/messages" | "/v1/messages/count_tokens" => "messages",
        "/v1/responses" | "/v1/responses/input_tokens" => "responses",
        _ => panic!("name the folder of the parser for {path} here"),
    };
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/proto/api");
    let mut sources = vec![root.join("body.rs"), root.join("tools.rs")];
    let mut folders = vec![root.join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let target = if path.is_dir() { &mut folders } else { &mut sources };
            target.push(path);
        }
    }
    let texts = sources.iter().map(|source| std::fs::read_to_string(source).unwrap());
    let words = texts.flat_map(|text| {
        let words = text.split(|character: char| !character.is_ascii_alphanumeric() && character != '_');
        words.filter(|word| !word.is_empty()).map(str::to_owned).collect::<Vec<_>>()
    });
    words.collect::<std::collections::BTreeSet<_>>().into_iter().collect()
}
