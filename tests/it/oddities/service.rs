//! The answers of the service in a case: their bytes, complete and as a stream.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};

use super::file::Mode;
use crate::support::fake::Call;

/// An answer of the service.
///
/// | members | answer |
/// |---|---|
/// | `says`, `calls` | an ordinary reply with this text and these calls |
/// | `message`, `finish_reason`, `usage` | this message, and the usual stream of it |
/// | `whole`, `events` | exactly this body, and exactly these events |
/// | `json`, `text` | exactly this body, in both modes |
#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Answer {
    /// 200 by default.
    status: Option<u16>,
    headers: BTreeMap<String, String>,
    says: Option<String>,
    calls: Vec<ServiceCall>,
    message: Option<Value>,
    finish_reason: Option<Value>,
    usage: Option<Value>,
    /// A JSON value, or a text with the bytes of one.
    whole: Option<Value>,
    /// JSON values, or texts with the lines of one event.
    events: Option<Vec<Value>>,
    json: Option<Value>,
    text: Option<String>,
    /// True if the connection breaks after these bytes.
    breaks_off: bool,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct ServiceCall {
    id: String,
    name: String,
    arguments: String,
}

/// The head and the body of an answer.
pub(super) struct Served {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: String,
    breaks_off: bool,
}

impl Served {
    /// Answers a call.
    pub(super) fn answer(&self, call: &mut Call) {
        let headers: Vec<_> = self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        call.head(self.status, &headers);
        for piece in self.body.split_inclusive("\n\n") {
            call.send(piece.to_owned());
        }
        if self.breaks_off { call.break_off() } else { call.end() }
    }
}

impl Answer {
    /// True if the answer has a form for this mode.
    pub(super) fn has(&self, mode: Mode) -> bool {
        match mode {
            Mode::Streamed => self.whole.is_none() || self.events.is_some(),
            Mode::Whole => self.events.is_none() || self.whole.is_some(),
        }
    }

    /// True for an ordinary reply, which other tests take apart byte by byte.
    pub(super) fn is_ordinary(&self) -> bool {
        self.says.is_some() || !self.calls.is_empty()
    }

    /// The answer of an upstream of this kind.
    pub(super) fn serve(&self, kind: &str, mode: Mode) -> Served {
        let (content_type, body) = self.body(kind, mode);
        let mut headers: Vec<_> = self.headers.clone().into_iter().collect();
        if !headers.iter().any(|(name, _)| name == "content-type") {
            headers.push(("content-type".to_owned(), content_type.to_owned()));
        }
        Served { status: self.status.unwrap_or(200), headers, body, breaks_off: self.breaks_off }
    }

    fn body(&self, kind: &str, mode: Mode) -> (&'static str, String) {
        const JSON: &str = "application/json";
        const SSE: &str = "text/event-stream";
        if let Some(text) = &self.text {
            return ("text/plain", text.clone());
        }
        if let Some(body) = self.json.as_ref().or_else(|| self.whole.as_ref().filter(|_| mode == Mode::Whole)) {
            return (JSON, body.as_str().map_or_else(|| body.to_string(), str::to_owned));
        }
        if let Some(events) = self.events.as_ref().filter(|_| mode == Mode::Streamed) {
            return (SSE, events.iter().map(written).collect());
        }
        let message = self.message(kind);
        match (mode, kind) {
            (Mode::Whole, "openai") => (JSON, self.completion(&message).to_string()),
            (Mode::Whole, _) => (JSON, message.to_string()),
            (Mode::Streamed, "anthropic") => (SSE, anthropic_events(&message).iter().map(written).collect()),
            (Mode::Streamed, "openai") => (SSE, self.chunks(message).iter().map(written).collect()),
            (Mode::Streamed, _) => (SSE, responses_events(&message).iter().map(written).collect()),
        }
    }

    /// The message: the one of the case, or an ordinary one.
    fn message(&self, kind: &str) -> Value {
        if let Some(message) = &self.message {
            return message.clone();
        }
        let text = self.says.as_deref().unwrap_or_default();
        let has_calls = !self.calls.is_empty();
        match kind {
            "anthropic" => {
                let said = (!text.is_empty()).then(|| json!({ "type": "text", "text": text }));
                let calls = self.calls.iter().map(ServiceCall::tool_use);
                json!({
                    "type": "message", "role": "assistant", "content": said.into_iter().chain(calls).collect::<Vec<_>>(),
                    "stop_reason": if has_calls { "tool_use" } else { "end_turn" }, "stop_sequence": null,
                    "usage": { "input_tokens": 3, "output_tokens": 2 },
                })
            }
            "openai" => {
                let mut message = json!({ "role": "assistant", "content": text });
                if has_calls {
                    message["tool_calls"] = self.calls.iter().map(ServiceCall::tool_call).collect();
                }
                message
            }
            _ => {
                let said = (!text.is_empty()).then(|| message_item(text));
                let calls = self.calls.iter().map(ServiceCall::item);
                json!({
                    "id": "resp_1", "object": "response", "status": "completed", "error": null,
                    "incomplete_details": null, "output": said.into_iter().chain(calls).collect::<Vec<_>>(),
                    "usage": { "input_tokens": 3, "output_tokens": 2, "total_tokens": 5 },
                })
            }
        }
    }

    fn finish_reason(&self, message: &Value) -> Value {
        let has_calls = message["tool_calls"].is_array();
        self.finish_reason.clone().unwrap_or_else(|| json!(if has_calls { "tool_calls" } else { "stop" }))
    }

    fn usage(&self) -> Value {
        self.usage.clone().unwrap_or_else(|| json!({ "prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5 }))
    }

    fn completion(&self, message: &Value) -> Value {
        let choice = json!({ "index": 0, "finish_reason": self.finish_reason(message), "message": message });
        json!({ "id": "c-1", "object": "chat.completion", "choices": [choice], "usage": self.usage() })
    }

    fn chunks(&self, mut message: Value) -> Vec<Value> {
        let reason = self.finish_reason(&message);
        for (index, call) in message["tool_calls"].as_array_mut().into_iter().flatten().enumerate() {
            if let Some(call) = call.as_object_mut() {
                call.entry("index").or_insert_with(|| json!(index));
            }
        }
        vec![
            json!({ "id": "c-1", "choices": [{ "index": 0, "delta": message, "finish_reason": null }] }),
            json!({ "id": "c-1", "choices": [{ "index": 0, "delta": {}, "finish_reason": reason }] }),
            json!({ "id": "c-1", "choices": [], "usage": self.usage() }),
            json!("data: [DONE]"),
        ]
    }
}

impl ServiceCall {
    fn tool_use(&self) -> Value {
        let input: Value = serde_json::from_str(&self.arguments).unwrap();
        json!({ "type": "tool_use", "id": self.id, "name": self.name, "input": input })
    }

    fn tool_call(&self) -> Value {
        let function = json!({ "name": self.name, "arguments": self.arguments });
        json!({ "id": self.id, "type": "function", "function": function })
    }

    fn item(&self) -> Value {
        json!({
            "type": "function_call", "id": format!("fc_{}", self.id), "call_id": self.id, "name": self.name,
            "arguments": self.arguments, "status": "completed",
        })
    }
}

fn message_item(text: &str) -> Value {
    json!({
        "type": "message", "id": "msg_1", "role": "assistant", "status": "completed",
        "content": [{ "type": "output_text", "text": text, "annotations": [] }],
    })
}

/// The bytes of an event. A value with a `type` also has it as the event's name.
fn written(event: &Value) -> String {
    match (event.as_str(), event["type"].as_str()) {
        (Some(lines), _) => format!("{lines}\n\n"),
        (None, Some(name)) => format!("event: {name}\ndata: {event}\n\n"),
        (None, None) => format!("data: {event}\n\n"),
    }
}

/// The usual events for a message of Anthropic's format.
fn anthropic_events(message: &Value) -> Vec<Value> {
    let input = &message["usage"];
    let mut events = vec![json!({
        "type": "message_start",
        "message": { "type": "message", "role": "assistant", "content": [], "stop_reason": null, "usage": input },
    })];
    for (index, block) in message["content"].as_array().into_iter().flatten().enumerate() {
        let mut open = block.clone();
        let mut deltas = Vec::new();
        match block["type"].as_str().unwrap() {
            "text" => {
                open["text"] = json!("");
                deltas.push(json!({ "type": "text_delta", "text": block["text"] }));
            }
            "thinking" => {
                open["thinking"] = json!("");
                deltas.push(json!({ "type": "thinking_delta", "thinking": block["thinking"] }));
                if block["signature"].as_str().is_some_and(|signature| !signature.is_empty()) {
                    open["signature"] = json!("");
                    deltas.push(json!({ "type": "signature_delta", "signature": block["signature"] }));
                }
            }
            "tool_use" => {
                open["input"] = json!({});
                deltas.push(json!({ "type": "input_json_delta", "partial_json": block["input"].to_string() }));
            }
            _ => {}
        }
        events.push(json!({ "type": "content_block_start", "index": index, "content_block": open }));
        let delta = |delta| json!({ "type": "content_block_delta", "index": index, "delta": delta });
        events.extend(deltas.into_iter().map(delta));
        events.push(json!({ "type": "content_block_stop", "index": index }));
    }
    let delta = json!({ "stop_reason": message["stop_reason"], "stop_sequence": message["stop_sequence"] });
    events.push(json!({ "type": "message_delta", "delta": delta, "usage": message["usage"] }));
    events.push(json!({ "type": "message_stop" }));
    events
}

/// The usual events for a response.
fn responses_events(response: &Value) -> Vec<Value> {
    let begun = json!({ "id": response["id"], "object": "response", "status": "in_progress", "output": [] });
    let mut events = vec![json!({ "type": "response.created", "response": begun })];
    for (at, item) in response["output"].as_array().into_iter().flatten().enumerate() {
        let mut open = item.clone();
        let mut pieces = Vec::new();
        let id = &item["id"];
        if item["type"] == "message" {
            open["content"] = json!([]);
            for (index, part) in item["content"].as_array().into_iter().flatten().enumerate() {
                pieces.push(json!({
                    "type": "response.output_text.delta", "item_id": id, "output_index": at, "content_index": index,
                    "delta": part["text"],
                }));
            }
        } else if item["type"] == "function_call" {
            open["arguments"] = json!("");
            pieces.push(json!({
                "type": "response.function_call_arguments.delta", "item_id": id, "output_index": at,
                "delta": item["arguments"],
            }));
        }
        events.push(json!({ "type": "response.output_item.added", "output_index": at, "item": open }));
        events.extend(pieces);
        events.push(json!({ "type": "response.output_item.done", "output_index": at, "item": item }));
    }
    let end = format!("response.{}", response["status"].as_str().unwrap());
    events.push(json!({ "type": end, "response": response }));
    events
}
