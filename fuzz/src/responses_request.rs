//! Bodies of `POST /v1/responses`: the items are exactly those that a second reader finds in the
//! input, every error has the shape of the API, and every answer is complete and has the token only
//! in its id.

use std::time::Duration;

use holdall::{
    problem::Problem,
    proto::{
        api::{Api as _, ParsedRequest, ReplyWriter, responses::Responses},
        chat::{Item, Output, Part, Role},
        deployment::ApiSettings,
        error::Error,
        principal::Principal,
        time::UnixSeconds,
        token::{Claims, Id, TokenPolicy},
        turn::{Answer, Conversation, Delta, FinishReason, Usage},
    },
};
use serde_json::{Value, json};

/// Takes any bytes. Bytes that are not UTF-8 never reach the API.
pub fn check(input: &[u8]) {
    let Ok(body) = std::str::from_utf8(input) else { return };
    let parse = || Responses.parse_request(body, &ApiSettings::default());
    let ParsedRequest { turn, writer } = match parse() {
        Ok(request) => request,
        Err(error) => return check_error(error),
    };
    for item in &turn.input {
        let mut line = String::new();
        item.write_line(&mut line);
        assert_eq!(&Item::from_line(line.trim_end_matches('\n')).expect("a written line"), item);
    }
    let schemas = turn.options.tools.iter().filter_map(|tool| tool.parameters.as_ref());
    // The function for a custom tool has a schema of the server.
    let is_ours = |schema: &str| schema.contains("\"required\":[\"input\"]");
    assert!(
        schemas
            .map(|schema| schema.get())
            .all(|schema| schema.starts_with('{') && (body.contains(schema) || is_ours(schema)))
    );
    // A member that the API ignores may be too deep, or a number too large, for a value.
    let Ok(value) = serde_json::from_str::<Value>(body) else { return };
    let text = |name: &str| value[name].as_str();
    let token = text("previous_response_id").map(|id| id.strip_prefix("resp_").unwrap_or_default());
    assert_eq!(turn.token.as_deref(), token);
    assert_eq!(turn.model.as_deref(), text("model"));
    assert_eq!(turn.stream, value["stream"] == true);
    assert_eq!(turn.user_id, None);
    let user = [text("safety_identifier"), text("user")].into_iter().flatten().find(|user| !user.is_empty());
    assert_eq!(turn.user_hint.as_deref(), user);
    let (mut items, mut system) = (Vec::new(), Vec::from_iter(text("instructions").map(str::to_owned)));
    let follows_response = turn.token.is_some();
    match &value["input"] {
        Value::String(text) => items.push(Item::text(Role::User, text)),
        input => {
            let elements = input.as_array().expect("text or a list");
            elements.iter().for_each(|item| read(item, follows_response, &mut items, &mut system));
        }
    }
    // A second reader would have to write reasoning and names of namespaces in the same form.
    let input: Vec<_> = turn.input.into_iter().filter(|item| !matches!(item, Item::Think { .. })).collect();
    assert!(input == items || body.contains("namespace"), "{input:?} is not {items:?}");
    system.retain(|text| !text.is_empty());
    assert_eq!(turn.system, (!system.is_empty()).then(|| system.join("\n\n")));
    let second = parse().expect("the same request is accepted again").writer;
    check_writer(&value, writer, second);
}

/// Every error has a status and a body that SDKs can read.
fn check_error(error: Error) {
    let code = error.code();
    let problem = Problem::new(error, "req_1").shaped(|error| Responses.error_response(error));
    assert!(problem.status().is_client_error());
    let body: Value = serde_json::from_slice(&problem.into_body()).expect("an error is JSON");
    let error = &body["error"];
    assert_eq!((&error["type"], &error["code"]), (&"invalid_request_error".into(), &code.into()));
    let message = error["message"].as_str().expect("a message");
    assert!(!message.is_empty() && message.chars().count() < 600 && !message.chars().any(char::is_control));
    assert!(error["param"].is_null() || error["param"].is_string());
}

/// Adds the item of an element of the input, or its text for the system prompt.
fn read(element: &Value, follows_response: bool, items: &mut Vec<Item>, system: &mut Vec<String>) {
    let text = |name: &str| element[name].as_str().expect("text").to_owned();
    let default = if element["role"].is_null() { "item_reference" } else { "message" };
    match element["type"].as_str().unwrap_or(default) {
        "message" => {
            let mut parts = parts(&element["content"]);
            if parts.is_empty() {
                parts.push(Part::Text(String::new()));
            }
            match text("role").as_str() {
                "assistant" => items.push(Item::Message { role: Role::Assistant, parts, cut: false }),
                "user" => items.push(Item::Message { role: Role::User, parts, cut: false }),
                role => {
                    assert!(["developer", "system"].contains(&role), "an unknown role");
                    let is_of_model =
                        |item: &Item| matches!(item, Item::Call { .. } | Item::Message { role: Role::Assistant, .. });
                    let has_text = |part: &Part| *part != Part::Text(String::new());
                    if !follows_response && items.iter().any(is_of_model) && parts.iter().any(has_text) {
                        return items.push(Item::Message { role: Role::User, parts, cut: false });
                    }
                    system.extend(parts.into_iter().map(|part| match part {
                        Part::Text(text) => text,
                        Part::Image(_) => panic!("a system prompt with an image"),
                    }));
                }
            }
        }
        "function_call" => items.push(Item::Call { id: text("call_id"), name: text("name"), args: text("arguments") }),
        "custom_tool_call" => {
            let args = json!({ "input": text("input") }).to_string();
            items.push(Item::Call { id: text("call_id"), name: text("name"), args });
        }
        "custom_tool_call_output" | "function_call_output" => {
            let out = match &element["output"] {
                Value::String(text) => Output::Text(text.clone()),
                Value::Array(list) if list.is_empty() => Output::Text(String::new()),
                output => Output::Parts(result_parts(output)),
            };
            items.push(Item::Result { id: text("call_id"), out, error: false });
        }
        kind => {
            let without_item = [
                "additional_tools",
                "item_reference",
                "mcp_approval_request",
                "mcp_approval_response",
                "mcp_list_tools",
                "reasoning",
                "tool_search_output",
            ];
            // The work of a model service is left out, and so is a copy that replaces items.
            let is_hosted = kind.ends_with("_call") || kind.ends_with("_call_output") || kind.contains("compaction");
            assert!(is_hosted || without_item.contains(&kind), "an unknown type");
        }
    }
}

/// The parts of a result. One of an unsupported type becomes a text with its type.
fn result_parts(output: &Value) -> Vec<Part> {
    let is_known = |kind: &str| ["input_image", "input_text", "output_text", "refusal", "text"].contains(&kind);
    let part = |part: &Value| match part["type"].as_str() {
        Some(kind) if !is_known(kind) => vec![Part::Text(format!("[{}]", kind.chars().take(64).collect::<String>()))],
        _ => parts(&Value::from(vec![part.clone()])),
    };
    output.as_array().expect("a list").iter().flat_map(part).collect()
}

fn parts(content: &Value) -> Vec<Part> {
    let part = |part: &Value| match part["type"].as_str().expect("a type") {
        "input_image" => Part::Image(part["image_url"].as_str().expect("a URL").to_owned()),
        "refusal" => Part::Text(part["refusal"].as_str().expect("text").to_owned()),
        kind => {
            assert!(["input_text", "output_text", "text"].contains(&kind), "an unknown part");
            Part::Text(part["text"].as_str().expect("text").to_owned())
        }
    };
    match content {
        Value::Array(list) => list.iter().map(part).collect(),
        Value::String(text) => vec![Part::Text(text.clone())],
        _ => panic!("neither text nor a list"),
    }
}

/// Checks that an answer and a stream have the same content, and the token only as an id.
fn check_writer(request: &Value, mut writer: Box<dyn ReplyWriter>, mut streamed: Box<dyn ReplyWriter>) {
    let answer = answer();
    let response: Value = serde_json::from_slice(&writer.body(&answer)).expect("an answer is JSON");
    let members = response.as_object().expect("an object");
    assert!(REQUIRED.iter().all(|name| members.contains_key(*name)), "a required member is missing");
    let stored = request["store"] != false;
    assert_eq!(response["id"].as_str().is_some_and(|id| id == format!("resp_{TOKEN}")), stored);
    let mut out = Vec::new();
    streamed.start(&answer.conversation.claims, &mut out);
    let live = !out.is_empty();
    assert_eq!(live, !streamed.buffers_deltas());
    let call = Delta::Call { id: "c1".to_owned(), name: "add".to_owned(), args: "{}".to_owned() };
    streamed.deltas(&[Delta::Text("he".to_owned()), Delta::Text("llo".to_owned()), call], &mut out);
    streamed.finish(&answer, &mut out);
    let stream = String::from_utf8(out).expect("a stream is text");
    let is_in_request = request.to_string().contains(TOKEN);
    let count = stream.matches(TOKEN).count();
    let expected = usize::from(stored) * if live { 1 } else { 2 };
    assert!(is_in_request || count == expected, "the stream has the token {count} times");
    let stream = stream.strip_suffix("data: [DONE]\n\n").expect("an end marker");
    let mut last = Value::Null;
    for (at, event) in stream.split_terminator("\n\n").enumerate() {
        let (name, data) = event.split_once('\n').expect("a name and data");
        last = serde_json::from_str(data.strip_prefix("data: ").expect("one line of data")).expect("JSON");
        assert_eq!(name.strip_prefix("event: "), last["type"].as_str());
        assert_eq!(last["sequence_number"], at);
    }
    assert_eq!(last["response"], response);
}

const TOKEN: &str = "header.payload.tag";

const REQUIRED: [&str; 31] = [
    "background",
    "completed_at",
    "created_at",
    "error",
    "frequency_penalty",
    "id",
    "incomplete_details",
    "instructions",
    "max_output_tokens",
    "max_tool_calls",
    "metadata",
    "model",
    "object",
    "output",
    "parallel_tool_calls",
    "presence_penalty",
    "previous_response_id",
    "prompt_cache_key",
    "reasoning",
    "safety_identifier",
    "service_tier",
    "status",
    "store",
    "temperature",
    "text",
    "tool_choice",
    "tools",
    "top_logprobs",
    "top_p",
    "truncation",
    "usage",
];

fn answer() -> Answer {
    let now = UnixSeconds(1_795_000_000);
    let ids = [Id::new(now, [1; 16]), Id::new(now, [2; 16])];
    let principal = Principal::anonymous([3; 16]);
    let claims = Claims::first(principal, "default".to_owned(), ids, now, &TokenPolicy::default());
    let call = Item::Call { id: "c1".to_owned(), name: "add".to_owned(), args: "{}".to_owned() };
    Answer {
        reply: "hello".to_owned(),
        output: vec![Item::text(Role::Assistant, "hello"), call],
        token: TOKEN.to_owned(),
        conversation: Conversation {
            claims,
            history_bytes: 1,
            token_bytes: TOKEN.len(),
            trimmed_items: 0,
            summarized_items: 0,
            elided_images: 0,
        },
        usage: Usage::default(),
        finish: FinishReason::ToolCalls,
        stop_sequence: None,
        elapsed: Duration::from_secs(1),
    }
}
