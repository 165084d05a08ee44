//! The document has every path of the server, with the errors that it can return.
//!
//! Some parts of the document follow from the code: the error codes, the error responses, the
//! headers, the examples and the version. [`renewed`] computes them.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::{examples, schema::Document};
use crate::{
    problem::{self, Problem},
    proto::{
        api::{APIS, Api, Operation, chat_completions::ChatCompletions, native::Native},
        error::{Code, Error, TokenFault},
    },
    service::pages::{PAGES, Page},
};

#[test]
fn the_document_has_every_path_and_method() {
    let document = Document::read();
    let apis = APIS.iter().map(|api| (api.path(), "post"));
    let pages = PAGES.iter().map(|(path, page)| (*path, method(*page)));
    let served: BTreeSet<_> = apis.chain(pages).map(|(path, method)| format!("{method} {path}")).collect();
    let paths = document.at("/paths").as_object().unwrap();
    let documented = paths
        .iter()
        .flat_map(|(path, item)| item.as_object().unwrap().keys().map(move |method| format!("{method} {path}")));
    assert_eq!(documented.collect::<BTreeSet<_>>(), served, "the document left, the server right");
}

/// The document with every part that follows from the code computed anew.
pub(super) fn renewed(document: &Document) -> Value {
    let mut root = document.at("").clone();
    root["info"]["version"] = json!(env!("CARGO_PKG_VERSION"));
    let problem = Problem::new(TokenFault::Tag.into(), "req_01a21998-5c00-7d0a-8000-2f1d8a3c5b7e").to_json();
    root["components"]["schemas"]["ErrorCode"] = error_code_schema();
    root["components"]["schemas"]["Problem"]["examples"] = json!([serde_json::from_str::<Value>(&problem).unwrap()]);
    for api in APIS {
        renew_api(&mut root["paths"][api.path()]["post"], *api, document);
    }
    for (path, page) in PAGES {
        renew_page(&mut root["paths"][path][method(*page)], *page);
    }
    root
}

/// The names of all error codes, with the cause and the remedy of each.
fn error_code_schema() -> Value {
    let line = |code: &Code| format!("- `{}`: {} {}", code.as_str(), code.cause(), code.remedy());
    let lines: Vec<_> = Code::ALL.iter().map(line).collect();
    json!({
        "description": format!(
            "The machine-readable name of an error. A name is never changed or reused after its release.\n\n{}",
            lines.join("\n")
        ),
        "enum": Code::ALL.iter().map(|code| code.as_str()).collect::<Vec<_>>(),
        "type": "string",
    })
}

fn renew_api(operation: &mut Value, api: &dyn Api, document: &Document) {
    let mut codes = [EVERYWHERE, POSTED, TOKEN, TURN].concat();
    if api.operation() == Operation::CountTokens {
        codes.retain(|code| *code != Code::TokenUsed);
    }
    renew_responses(operation, error_responses(&codes, Some(api), &error_schema(api, document)), true);
    if api.path() != Native.path() {
        let ignored = header_references(&["x-holdall-ignored"]);
        let headers = operation["responses"]["200"]["headers"].as_object_mut().unwrap();
        headers.extend(ignored.as_object().unwrap().clone());
    }
    let examples = examples::of_api(api);
    operation["requestBody"]["content"]["application/json"]["examples"] = json!({
        "first": { "summary": "Start a conversation", "value": examples.first },
        "next": { "summary": "Continue the conversation", "value": examples.next },
    });
    operation["responses"]["200"]["content"]["application/json"]["example"] = examples.response;
}

fn renew_page(operation: &mut Value, page: Page) {
    let codes: &[&[Code]] = match page {
        Page::Health | Page::Ready => &[],
        Page::History => &[EVERYWHERE, POSTED, TOKEN, READ],
        Page::Model => &[EVERYWHERE, &[Code::ModelUnknown, Code::NotFound]],
        Page::Models | Page::Usage => &[EVERYWHERE],
        Page::OpenApi => &[&[Code::RequestInvalid]],
        Page::Revocations => &[EVERYWHERE, POSTED, TOKEN, READ, &[Code::Unsupported]],
    };
    // The client's SDK decides the shape of these errors.
    let api = matches!(page, Page::Model | Page::Models).then_some(&ChatCompletions as &dyn Api);
    let error = match api {
        Some(_) => json!({ "oneOf": [reference("OpenAiErrorBody"), reference("AnthropicErrorBody")] }),
        None => reference("Problem"),
    };
    let limited = matches!(page, Page::History | Page::Revocations | Page::Usage);
    renew_responses(operation, error_responses(&codes.concat(), api, &error), limited);
    if page == Page::History {
        let (request, response) = examples::of_history();
        operation["requestBody"]["content"]["application/json"]["example"] = request;
        operation["responses"]["200"]["content"]["application/json"]["example"] = response;
    }
}

/// Replaces the error responses of an operation, and the headers of its success.
fn renew_responses(operation: &mut Value, errors: Map<String, Value>, limited: bool) {
    let responses = operation["responses"].as_object_mut();
    let responses = responses.expect("each operation is in docs/openapi.json, with its request and its response 200");
    // The probe reports that it is not ready with this status, and with the body of a success.
    responses.retain(|status, response| status.as_str() < "400" || response.get("headers").is_none());
    responses["200"]["headers"] = success_headers(limited);
    responses.extend(errors);
}

/// The schema of errors in an API's own shape, or the problem document.
fn error_schema(api: &dyn Api, document: &Document) -> Value {
    let Some(response) = Problem::new(Error::Overloaded, "req_1").with_public_error(|error| api.error_response(error))
    else {
        return reference("Problem");
    };
    let body: Value = serde_json::from_slice(&response.body).unwrap();
    let is_schema = |name: &&str| document.faults(&format!("/components/schemas/{name}"), &body).is_empty();
    let name = ["AnthropicErrorBody", "OpenAiErrorBody"].into_iter().find(is_schema);
    reference(name.unwrap_or_else(|| panic!("name the schema for the errors of {} here", api.path())))
}

/// The error responses by status, for the errors with these codes. `api` maps statuses and gives
/// the shape.
fn error_responses(codes: &[Code], api: Option<&dyn Api>, schema: &Value) -> Map<String, Value> {
    let mut by_status = BTreeMap::<u16, Vec<String>>::new();
    for (error, ..) in problem::tests::all() {
        let code = error.kind();
        if !codes.contains(&code) {
            continue;
        }
        let problem = Problem::new(error, "").shaped(|error| api?.error_response(error));
        let names = by_status.entry(problem.status().as_u16()).or_default();
        let name = format!("`{}`", code.as_str());
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let media = if api.is_some_and(|_| schema["$ref"] != reference("Problem")["$ref"]) {
        "application/json"
    } else {
        "application/problem+json"
    };
    let response = |(status, names): (u16, Vec<String>)| {
        let response = json!({
            "description": format!("Error: {}.", names.join(", ")),
            "headers": error_headers(status),
            "content": { media: { "schema": schema } },
        });
        (status.to_string(), response)
    };
    by_status.into_iter().map(response).collect()
}

/// The codes of errors that any path can return.
const EVERYWHERE: &[Code] =
    &[Code::GuardUnavailable, Code::Internal, Code::Overloaded, Code::RequestInvalid, Code::Unauthenticated];
/// The codes of errors in the body of a `POST` request.
const POSTED: &[Code] = &[Code::BodyTooLarge, Code::NotImplemented, Code::RequestTimeout, Code::UnsupportedMediaType];
/// The codes of errors in a token.
const TOKEN: &[Code] =
    &[Code::TokenExpired, Code::TokenInvalid, Code::TokenRevoked, Code::TokenTooLarge, Code::TokenUsed];
/// The codes of the limits on reads.
const READ: &[Code] = &[Code::RateLimited, Code::UserBusy];
/// The codes of errors in a turn.
const TURN: &[Code] = &[
    Code::HistoryTooLarge,
    Code::ImageTooLarge,
    Code::MessageTooLarge,
    Code::ModelUnknown,
    Code::QuotaExceeded,
    Code::RateLimited,
    Code::RoleForbidden,
    Code::Unsupported,
    Code::UpstreamCut,
    Code::UpstreamMalformed,
    Code::UpstreamRefused,
    Code::UpstreamTimeout,
    Code::UpstreamUnavailable,
    Code::UserBusy,
];

/// The headers of a success. `limited` if the response reports the caller's limits.
fn success_headers(limited: bool) -> Value {
    let limits: &[_] = if limited { &["ratelimit", "ratelimit-policy"] } else { &[] };
    header_references(&[&["x-request-id"], limits].concat())
}

/// The headers of an error with this status.
fn error_headers(status: u16) -> Value {
    let more: &[_] = match status {
        401 => &["www-authenticate"],
        409 | 502 | 503 => &["retry-after"],
        429 => &["retry-after", "ratelimit", "ratelimit-policy"],
        _ => &[],
    };
    header_references(&[&["x-request-id", "x-should-retry"], more].concat())
}

fn header_references(names: &[&str]) -> Value {
    let header = |name: &&str| ((*name).to_owned(), json!({ "$ref": format!("#/components/headers/{name}") }));
    names.iter().map(header).collect::<Map<_, _>>().into()
}

fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

/// The method of the operation on a page. Each page has one; `HEAD` is not an operation of its own.
fn method(page: Page) -> &'static str {
    if page.allow() == "POST" { "post" } else { "get" }
}
