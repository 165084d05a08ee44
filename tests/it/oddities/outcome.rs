//! The client's view of a response, in words that are the same for all APIs.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::support::{answer::Answer, wire::Wire};

/// The outcome of a request.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) reply: String,
    /// The calls: id, name and arguments.
    pub(super) calls: Vec<[String; 3]>,
    /// The reason for the end, as the native API names it.
    pub(super) finish: String,
    pub(super) stop_sequence: Value,
    /// Input, output and cached model tokens.
    pub(super) usage: [u64; 3],
    /// The token, as the native API writes it.
    pub(super) token: Option<String>,
    /// The complete answer, or in a stream the event that has it.
    pub(super) document: Value,
    pub(super) failure: Option<Failure>,
}

/// An error.
#[derive(Debug, Default)]
pub(super) struct Failure {
    pub(super) code: String,
    pub(super) message: String,
    /// The native API's advice.
    pub(super) retry: Option<String>,
    /// True if the error is an event of a stream.
    pub(super) in_stream: bool,
    /// The text of the interrupted reply.
    pub(super) partial: Option<String>,
}

impl Outcome {
    /// Reads a response of `api`.
    pub(super) fn read(api: Wire, answer: &Answer) -> Result<Self, String> {
        let text = answer.text();
        if answer.header("content-type").starts_with("text/event-stream") {
            return Self::of_stream(api, &text);
        }
        let document: Value = serde_json::from_str(&text).map_err(|error| format!("{error} in {text}"))?;
        let mut outcome = if answer.status == 200 {
            Self::of_document(api, &document)
        } else {
            Self { failure: Some(Failure::new(api, &document, false)), ..Self::default() }
        };
        outcome.document = document;
        Ok(outcome)
    }

    fn of_document(api: Wire, document: &Value) -> Self {
        let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
        let usage = &document["usage"];
        let count = |pointer: &str| usage.pointer(pointer).and_then(Value::as_u64).unwrap_or_default();
        match api {
            Wire::Chat => {
                let choice = &document["choices"][0];
                Self {
                    reply: string(&choice["message"]["content"]),
                    calls: list(&choice["message"]["tool_calls"]).iter().map(chat_call).collect(),
                    finish: string(&choice["finish_reason"]),
                    usage: [
                        count("/prompt_tokens"),
                        count("/completion_tokens"),
                        count("/prompt_tokens_details/cached_tokens"),
                    ],
                    token: optional(&document["conversation_token"]),
                    ..Self::default()
                }
            }
            Wire::Messages => {
                let blocks = list(&document["content"]);
                let of_type = |name: &'static str| blocks.iter().filter(move |block| block["type"] == name);
                let cached = count("/cache_read_input_tokens");
                Self {
                    reply: of_type("text").map(|block| string(&block["text"])).collect(),
                    calls: of_type("tool_use")
                        .map(|block| [string(&block["id"]), string(&block["name"]), block["input"].to_string()])
                        .collect(),
                    finish: finish_of_message(&document["stop_reason"]),
                    stop_sequence: document["stop_sequence"].clone(),
                    usage: [
                        count("/input_tokens") + cached + count("/cache_creation_input_tokens"),
                        count("/output_tokens"),
                        cached,
                    ],
                    token: optional(&document["conversation_token"]),
                    ..Self::default()
                }
            }
            Wire::Native => Self {
                reply: string(&document["reply"]),
                calls: list(&document["output"])
                    .iter()
                    .filter(|item| item["t"] == "call")
                    .map(|item| [&item["id"], &item["name"], &item["args"]].map(string))
                    .collect(),
                finish: string(&document["finish_reason"]),
                usage: [count("/input_tokens"), count("/output_tokens"), count("/cached_tokens")],
                token: optional(&document["token"]),
                ..Self::default()
            },
            Wire::Responses => {
                let items = list(&document["output"]);
                let texts = items.iter().flat_map(|item| list(&item["content"]));
                let calls: Vec<_> = items.iter().filter_map(response_call).collect();
                Self {
                    reply: texts
                        .filter(|part| part["type"] == "output_text")
                        .map(|part| string(&part["text"]))
                        .collect(),
                    finish: finish_of_response(document, !calls.is_empty()),
                    calls,
                    usage: [
                        count("/input_tokens"),
                        count("/output_tokens"),
                        count("/input_tokens_details/cached_tokens"),
                    ],
                    token: optional(&document["id"]).map(|id| id.trim_start_matches("resp_").to_owned()),
                    ..Self::default()
                }
            }
        }
    }

    fn of_stream(api: Wire, text: &str) -> Result<Self, String> {
        if !text.ends_with("\n\n") {
            return Err(format!("the stream ends inside an event: {text}"));
        }
        let data = text.lines().filter_map(|line| line.strip_prefix("data: ")).filter(|data| *data != "[DONE]");
        let events: Vec<Value> = data.map(|data| serde_json::from_str(data).unwrap()).collect();
        let is_error = |event: &&Value| match api {
            Wire::Chat => event["error"].is_object(),
            Wire::Messages | Wire::Responses => event["type"] == "error",
            Wire::Native => event["retry"].is_string() && event["code"].is_string(),
        };
        if let Some(event) = events.iter().find(is_error) {
            let failure = Some(Failure::new(api, event, true));
            return Ok(Self { failure, ..Self::default() });
        }
        let (document, shown): (_, Option<String>) = match api {
            Wire::Chat => (chat_document(&events), None),
            Wire::Messages => (message_document(&events), None),
            Wire::Native => {
                let shown = events.iter().filter(|event| event.get("token").is_none());
                (
                    last(&events, |event| event["token"].is_string())?,
                    Some(shown.map(|event| string(&event["text"])).collect()),
                )
            }
            Wire::Responses => {
                let deltas = events.iter().filter(|event| event["type"] == "response.output_text.delta");
                let shown = deltas.map(|event| string(&event["delta"])).collect();
                let is_end = |event: &Value| {
                    let name = event["type"].as_str().unwrap_or_default();
                    ["response.completed", "response.incomplete"].contains(&name)
                };
                (last(&events, is_end)?["response"].clone(), Some(shown))
            }
        };
        let outcome = Self { document: document.clone(), ..Self::of_document(api, &document) };
        match shown {
            Some(shown) if outcome.reply != shown => {
                Err(format!("the stream shows `{shown}`, but its end says `{}`", outcome.reply))
            }
            _ => Ok(outcome),
        }
    }
}

impl Failure {
    fn new(api: Wire, document: &Value, in_stream: bool) -> Self {
        let error = document.get("error").unwrap_or(document);
        let (code, message) = match api {
            Wire::Native => (&document["code"], &document["detail"]),
            _ => (&error["code"], &error["message"]),
        };
        Self {
            code: string(code),
            message: string(message),
            retry: optional(&document["retry"]),
            in_stream,
            partial: optional(&document["partial"]["reply"]).or_else(|| optional(&error["partial"]["reply"])),
        }
    }
}

/// The completion that the chunks of a stream make.
fn chat_document(events: &[Value]) -> Value {
    let (mut content, mut finish, mut usage, mut token) = (String::new(), Value::Null, Value::Null, Value::Null);
    let mut calls: BTreeMap<u64, [String; 3]> = BTreeMap::new();
    for event in events {
        let choice = &event["choices"][0];
        content.push_str(&string(&choice["delta"]["content"]));
        for call in choice["delta"]["tool_calls"].as_array().into_iter().flatten() {
            let [id, name, arguments] = chat_call(call);
            let so_far = calls.entry(call["index"].as_u64().unwrap()).or_default();
            so_far[0].push_str(&id);
            so_far[1].push_str(&name);
            so_far[2].push_str(&arguments);
        }
        for (member, value) in [
            (&mut finish, &choice["finish_reason"]),
            (&mut usage, &event["usage"]),
            (&mut token, event.get("conversation_token").unwrap_or_else(|| &choice["delta"]["conversation_token"])),
        ] {
            if !value.is_null() {
                *member = value.clone();
            }
        }
    }
    let call = |[id, name, arguments]: [String; 3]| json!({ "id": id, "type": "function", "function": { "name": name, "arguments": arguments } });
    let message = json!({ "content": content, "tool_calls": calls.into_values().map(call).collect::<Vec<_>>() });
    json!({ "choices": [{ "message": message, "finish_reason": finish }], "usage": usage, "conversation_token": token })
}

/// The message that the events of a stream make.
fn message_document(events: &[Value]) -> Value {
    let mut blocks: Vec<Value> = Vec::new();
    let mut message = json!({});
    for event in events {
        match event["type"].as_str().unwrap_or_default() {
            "content_block_start" => blocks.push(event["content_block"].clone()),
            "content_block_delta" => {
                let (block, delta) = (blocks.last_mut().unwrap(), &event["delta"]);
                for (name, member) in [("text", "text"), ("thinking", "thinking"), ("signature", "signature")] {
                    if let Some(piece) = delta[name].as_str() {
                        block[member] = json!(string(&block[member]) + piece);
                    }
                }
                if let Some(input) = delta["partial_json"].as_str() {
                    block["input"] = serde_json::from_str(input).unwrap();
                }
            }
            "message_delta" => {
                message = event["delta"].clone();
                message["usage"] = event["usage"].clone();
                message["conversation_token"] = event["conversation_token"].clone();
            }
            _ => {}
        }
    }
    message["content"] = json!(blocks);
    message
}

fn last(events: &[Value], is_wanted: impl Fn(&Value) -> bool) -> Result<Value, String> {
    let wanted = events.iter().rfind(|event| is_wanted(event)).cloned();
    wanted.ok_or_else(|| format!("the stream has no end: {}", json!(events)))
}

fn chat_call(call: &Value) -> [String; 3] {
    [&call["id"], &call["function"]["name"], &call["function"]["arguments"]].map(string)
}

fn response_call(item: &Value) -> Option<[String; 3]> {
    let args = match item["type"].as_str()? {
        "custom_tool_call" => &item["input"],
        "function_call" => &item["arguments"],
        _ => return None,
    };
    Some([&item["call_id"], &item["name"], args].map(string))
}

fn finish_of_message(reason: &Value) -> String {
    match reason.as_str().unwrap_or_default() {
        "end_turn" | "stop_sequence" => "stop",
        "max_tokens" => "length",
        "refusal" => "content_filter",
        "tool_use" => "tool_calls",
        other => other,
    }
    .to_owned()
}

fn finish_of_response(document: &Value, has_calls: bool) -> String {
    match (document["status"].as_str(), document["incomplete_details"]["reason"].as_str()) {
        (Some("completed"), _) => if has_calls { "tool_calls" } else { "stop" }.to_owned(),
        (_, Some("max_output_tokens")) => "length".to_owned(),
        (status, reason) => reason.or(status).unwrap_or_default().to_owned(),
    }
}

fn string(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn optional(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}
