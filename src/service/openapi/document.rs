//! The document, made of the doors, the pages and the codes.

use std::collections::BTreeMap;

use serde::Serialize as _;
use serde_json::{Map, Serializer, Value, json, ser::PrettyFormatter};

use super::{
    examples::{self, Examples},
    schemas,
};
use crate::{
    problem::{self, Problem},
    proto::{
        api::{
            APIS, Api, Operation,
            chat_completions::ChatCompletions,
            described::{ApiDescription, Schemas, refer},
            native,
        },
        error::{Code, TokenFault},
    },
    service::{
        models::{ModelBody, ModelsBody},
        pages::{PAGES, Page},
        probes::StatusBody,
        usage::UsageBody,
    },
};

/// The document as a file: JSON, each member on its own line, since it is to be compared.
pub(super) fn text() -> String {
    // Programs carry it: what would be indented further is all blanks.
    let mut text = Vec::new();
    let mut serializer = Serializer::with_formatter(&mut text, PrettyFormatter::with_indent(b" "));
    document().serialize(&mut serializer).unwrap();
    text.push(b'\n');
    String::from_utf8(text).unwrap()
}

fn document() -> Value {
    let mut schemas = Schemas::default();
    schemas.written::<problem::Body<'_>>();
    let sample = Problem::new(TokenFault::Tag.into(), "req_01a21998-5c00-7d0a-8000-2f1d8a3c5b7e").to_json();
    let sample: Value = serde_json::from_str(&sample).unwrap();
    let mut paths = Map::new();
    for api in APIS {
        let described = api.described(&mut schemas);
        paths.insert(api.path().to_owned(), json!({ "post": at_api(*api, described) }));
    }
    for (path, page) in PAGES {
        let method = if page.allow() == "POST" { "post" } else { "get" };
        paths.insert((*path).to_owned(), json!({ method: at_page(*page, path, &mut schemas) }));
    }
    paths.sort_keys();
    json!({
        "openapi": "3.1.1",
        "info": {
            "title": "Holdall",
            "version": env!("CARGO_PKG_VERSION"),
            "summary": "A stateless conversation proxy for language models",
            "description": INFO,
            "license": { "name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0" },
        },
        "jsonSchemaDialect": "https://json-schema.org/draft/2020-12/schema",
        "servers": [{ "url": "/", "description": "The server that serves this document" }],
        // By none at all where the server asks for no identity.
        "security": [{ "bearer": [] }, { "apiKey": [] }, {}],
        "tags": TAGS.map(|(name, description)| json!({ "name": name, "description": description })),
        "paths": paths,
        "components": {
            "schemas": schemas::finished(schemas.into_all(), &sample),
            "headers": headers(),
            "securitySchemes": {
                "bearer": { "type": "http", "scheme": "bearer", "description": CREDENTIAL },
                "apiKey": { "type": "apiKey", "in": "header", "name": "x-api-key", "description": CREDENTIAL },
            },
        },
    })
}

const INFO: &str = "The client carries the conversation: each turn it sends a token and what is new, and gets the reply \
    and a fresh token. The server holds nothing between requests; the token holds it all, signed and by default sealed. \
    Tokens travel in bodies, never in headers or URLs.\n\n\
    Every `GET` here answers `HEAD` as well. Other methods get 405 with `Allow`, other paths 404; what \
    others keep below `/v1/responses` by id is 400 `unsupported`. Bodies are uncompressed JSON in UTF-8. Sizes have limits, which an operator may set; where one is told here, it is the default.";

const CREDENTIAL: &str = "What names the caller: a JSON Web Token of the operator's issuer, or an API key. One of the two \
    headers, not both. A server in mode `none` asks for nothing and takes the user from the request; one in mode `header` \
    learns it from the proxy before it.";

const TAGS: [(&str, &str); 4] = [
    ("native", "The API of Holdall's own."),
    ("doors", "The APIs of others, as stock clients speak them. Members that are not listed are ignored."),
    ("callers", "What callers may choose from, and where they stand."),
    ("operation", "For whoever runs the server."),
];

fn at_api(api: &dyn Api, described: ApiDescription) -> Value {
    let ApiDescription { id, summary, description, request, answer, event, error } = described;
    let tag = if error.is_some() { "doors" } else { "native" };
    let mut codes = [EVERYWHERE, POSTED, TOKEN, TURN].concat();
    if api.purpose() == Operation::CountTokens {
        codes.retain(|code| !matches!(code, Code::TokenUsed));
    }
    let Examples { begin, go_on, answer: answered_with } = examples::at_api(api);
    let mut content = json!({ "application/json": { "schema": answer, "example": answered_with } });
    if let Some(event) = event {
        content["text/event-stream"] = json!({ "schema": event });
    }
    let mut responses = refusals(&codes, Some(api), error);
    responses.insert("200".to_owned(), json!({
        "description": if api.purpose() == Operation::CountTokens { "The count." } else { "The reply, whole or as a stream." },
        "headers": answered(true),
        "content": content,
    }));
    let mut operation = operation(tag, id, summary, &description, Some(request), responses);
    operation["requestBody"]["content"]["application/json"]["examples"] = json!({
        "begin": { "summary": "Begin a conversation", "value": begin },
        "goOn": { "summary": "Go on with it", "value": go_on },
    });
    operation
}

fn at_page(page: Page, path: &str, schemas: &mut Schemas) -> Value {
    let Words { id, tag, summary, description } = words(page, path);
    let (request, answer) = match page {
        Page::Health | Page::Ready => (None, schemas.written::<StatusBody>()),
        Page::History => asked(native::shapes::history(schemas)),
        Page::Model => (None, schemas.written::<ModelBody<'_>>()),
        Page::Models => (None, schemas.written::<ModelsBody<'_>>()),
        Page::OpenApi => (None, json!({ "type": "object" })),
        Page::Revocations => asked(native::shapes::revocations(schemas)),
        Page::Usage => (None, schemas.written::<UsageBody<'_>>()),
    };
    let codes: &[&[Code]] = match page {
        Page::Health | Page::Ready => &[],
        Page::History => &[EVERYWHERE, POSTED, TOKEN],
        Page::Revocations => &[EVERYWHERE, POSTED, TOKEN, &[Code::Unsupported]],
        Page::Model => &[EVERYWHERE, &[Code::ModelUnknown, Code::NotFound]],
        Page::OpenApi => &[&[Code::RequestInvalid]],
        Page::Models | Page::Usage => &[EVERYWHERE],
    };
    let api = matches!(page, Page::Model | Page::Models).then_some(&ChatCompletions as &dyn Api);
    let error = api.map(|_| json!({ "oneOf": [refer("OpenAiErrorBody"), refer("AnthropicErrorBody")] }));
    let mut responses = refusals(&codes.concat(), api, error);
    let media = json!({ "application/json": { "schema": answer } });
    let ok = json!({ "description": "The answer.", "headers": answered(page == Page::Usage), "content": media });
    responses.insert("200".to_owned(), ok);
    match page {
        Page::OpenApi => {
            let description = "The client has it: `If-None-Match` names its `ETag`.";
            responses.insert("304".to_owned(), json!({ "description": description }));
        }
        Page::Ready => {
            let description = "No requests should be sent here: the server stops, or waits for its issuer's keys.";
            responses.insert("503".to_owned(), json!({ "description": description, "content": media }));
        }
        _ => {}
    }
    let mut operation = operation(tag, &id, summary, description, request, responses);
    match page {
        Page::History => {
            let (request, answer) = examples::history();
            operation["requestBody"]["content"]["application/json"]["example"] = request;
            operation["responses"]["200"]["content"]["application/json"]["example"] = answer;
        }
        Page::Model => {
            operation["parameters"] = json!([{
                "name": "model", "in": "path", "required": true, "schema": { "type": "string" },
                "description": "The name. Slashes in it may stand as they are, or as `%2F`.",
            }]);
        }
        Page::Usage => {
            operation["parameters"] = json!([{
                "name": "user_id", "in": "query", "schema": { "type": "string" },
                "description": "Who asks, where no credential says so.",
            }]);
        }
        Page::Health | Page::OpenApi | Page::Ready => operation["security"] = json!([]),
        Page::Models | Page::Revocations => {}
    }
    operation
}

fn asked((request, answer): (Value, Value)) -> (Option<Value>, Value) {
    (Some(request), answer)
}

/// What is said of a page.
struct Words {
    id: String,
    tag: &'static str,
    summary: &'static str,
    description: &'static str,
}

fn words(page: Page, path: &str) -> Words {
    let (id, tag, summary, description) = match page {
        Page::Health => ("checkHealth", "operation", "Whether the process lives", "Answers as long as it runs."),
        Page::History => (
            "readHistory",
            "native",
            "Read a conversation",
            "What a token holds, for its owner; an expired one as well, until the conversation's greatest age (30 days by \
             default).",
        ),
        Page::Model => ("readModel", "callers", "Read one model", "One of the names that `model` may have."),
        Page::Models => ("listModels", "callers", "List the models", "The names that `model` may have."),
        Page::OpenApi => (
            "readDescription",
            "operation",
            "This document",
            "Ask with `If-None-Match` to be told that it has not changed.",
        ),
        Page::Ready => (
            "checkReadiness",
            "operation",
            "Whether requests should be sent here",
            "503 while the server stops, or waits for its issuer's keys.",
        ),
        Page::Revocations => (
            "revoke",
            "native",
            "End tokens before their time",
            "Callers revoke what is theirs, by a token. Who presents an operator's key may revoke anything, by any token \
             or by id. It takes a store that all instances share (`HOLDALL_REDIS_URL`); a server without one answers \
             `unsupported`.",
        ),
        Page::Usage => (
            "readUsage",
            "callers",
            "Read one's limits",
            "The limits that the caller is under, and what is left of them. Asking takes nothing.",
        ),
    };
    // A path that is another name for a page's first has an operation of its own, and that a name of its own.
    let alias = path.ends_with('z');
    Words { id: if alias { format!("{id}z") } else { id.to_owned() }, tag, summary, description }
}

fn operation(
    tag: &str,
    id: &str,
    summary: &str,
    description: &str,
    request: Option<Value>,
    responses: Map<String, Value>,
) -> Value {
    let mut responses = responses;
    responses.sort_keys();
    let mut operation = json!({
        "operationId": id, "tags": [tag], "summary": summary, "description": description, "responses": responses,
    });
    if let Some(schema) = request {
        operation["requestBody"] = json!({ "required": true, "content": { "application/json": { "schema": schema } } });
    }
    operation
}

/// The answers that errors of these codes are, each under its status there.
fn refusals(codes: &[Code], api: Option<&dyn Api>, error: Option<Value>) -> Map<String, Value> {
    let mut by_status = BTreeMap::<u16, Vec<&str>>::new();
    for (sample, ..) in problem::tests::all() {
        let code = sample.kind();
        if !codes.contains(&code) {
            continue;
        }
        let problem = Problem::new(sample, "");
        let problem = match api {
            Some(api) => problem.shaped(|told| api.refusal(told)),
            None => problem,
        };
        let names = by_status.entry(problem.status().as_u16()).or_default();
        if !names.contains(&code.as_str()) {
            names.push(code.as_str());
        }
    }
    let media = if error.is_some() { "application/json" } else { "application/problem+json" };
    let schema = error.unwrap_or_else(|| refer("Problem"));
    let refusal = |(status, names): (u16, Vec<&str>)| {
        let names: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
        let refusal = json!({
            "description": format!("Refused or failed: {}.", names.join(", ")),
            "headers": refused(status),
            "content": { media: { "schema": schema } },
        });
        (status.to_string(), refusal)
    };
    by_status.into_iter().map(refusal).collect()
}

const EVERYWHERE: &[Code] =
    &[Code::GuardUnavailable, Code::Internal, Code::Overloaded, Code::RequestInvalid, Code::Unauthenticated];
const POSTED: &[Code] = &[Code::BodyTooLarge, Code::RequestTimeout, Code::UnsupportedMediaType];
const TOKEN: &[Code] =
    &[Code::TokenExpired, Code::TokenInvalid, Code::TokenRevoked, Code::TokenTooLarge, Code::TokenUsed];
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

/// The headers of an answer; `limited` where it may tell of limits.
fn answered(limited: bool) -> Value {
    let mut names = vec!["x-request-id"];
    if limited {
        names.extend(["ratelimit", "ratelimit-policy"]);
    }
    references(&names)
}

/// The headers of an error.
fn refused(status: u16) -> Value {
    let mut names = vec!["x-request-id", "x-should-retry"];
    match status {
        401 => names.push("www-authenticate"),
        409 | 502 | 503 => names.push("retry-after"),
        429 => names.extend(["retry-after", "ratelimit", "ratelimit-policy"]),
        _ => {}
    }
    references(&names)
}

fn references(names: &[&str]) -> Value {
    names
        .iter()
        .map(|name| ((*name).to_owned(), json!({ "$ref": format!("#/components/headers/{name}") })))
        .collect::<Map<_, _>>()
        .into()
}

fn headers() -> Value {
    let header = |schema: Value, description: &str| json!({ "description": description, "schema": schema });
    let text = || json!({ "type": "string" });
    json!({
        "x-request-id": header(text(), "The id under which the server's log has the request; `request-id` says the same."),
        "x-should-retry": header(
            json!({ "type": "string", "enum": ["true", "false"] }),
            "Whether to send the same request again by oneself, as the OpenAI and Anthropic SDKs do: `false` also where \
             the wait is over a minute.",
        ),
        "retry-after": header(json!({ "type": "integer", "minimum": 1 }), "How many seconds to wait."),
        "ratelimit": header(text(), "What is left of each limit: `\"turns-86400\";r=99;t=3600`, in a list. Absent where there are none."),
        "ratelimit-policy": header(text(), "The limits: `\"turns-86400\";q=100;w=86400`, in a list. Absent where there are none."),
        "www-authenticate": header(text(), "What the server wants to be shown."),
    })
}
