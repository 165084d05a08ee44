//! The client's requests, written for each API.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::{Request, header};
use http_body_util::Full;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::file::Members;
use crate::support::{hand, wire::Wire};

/// A request. Without `body`, `raw` and `path` it is a turn, written for the API of the run.
#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Turn {
    /// The user's message: a text, or a list of texts and `{"image": url}`.
    input: Option<Value>,
    /// The results of the calls in the last reply, in their order.
    results: Vec<String>,
    /// The names of the tools that the model may call.
    tools: Vec<String>,
    model: Option<String>,
    max_output_tokens: Option<u32>,
    stop: Vec<String>,
    /// More members of the body, in the API's own words.
    with: Members,
    /// The body, in the words of the case's only API.
    pub(super) body: Option<Value>,
    /// The bytes of the body.
    raw: Option<String>,
    /// Another path than that of the API. The request is a GET without a body.
    path: Option<String>,
    method: Option<String>,
    headers: BTreeMap<String, String>,
    /// Settings of another instance with the same keys, which takes this turn.
    pub(super) settings: Option<Members>,
    /// True if another instance with the same settings takes this turn.
    pub(super) another_instance: bool,
    /// The time between the last turn and this one.
    pub(super) after_seconds: u64,
}

/// The client's knowledge of the conversation.
#[derive(Default)]
pub(super) struct Memory {
    /// The tokens of all turns, oldest first.
    pub(super) tokens: Vec<String>,
    /// The calls of the last reply: id, name and arguments.
    pub(super) calls: Vec<[String; 3]>,
}

impl Turn {
    /// True if the request is a turn, so that the answer is one of the API.
    pub(super) fn is_turn(&self) -> bool {
        self.path.is_none() && self.method.is_none()
    }

    /// The request.
    pub(super) fn request(&self, api: Wire, streamed: bool, memory: &Memory) -> Request<Full<Bytes>> {
        let path = self.path.as_deref().unwrap_or_else(|| api.path());
        let has_body = self.is_turn() || self.body.is_some() || self.raw.is_some();
        let mut request =
            if has_body { hand::post(path) } else { Request::builder().uri(path).header(header::HOST, "localhost") };
        if let Some(method) = &self.method {
            request = request.method(method.as_str());
        }
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let body = match &self.raw {
            Some(raw) => raw.clone(),
            None if has_body => self.json(api, streamed, memory).to_string(),
            None => String::new(),
        };
        request.body(Full::new(body.into())).unwrap()
    }

    fn json(&self, api: Wire, streamed: bool, memory: &Memory) -> Value {
        let mut body = match &self.body {
            Some(body) => filled(body, memory),
            None => self.turn(api, streamed, memory),
        };
        if let (Some(members), true) = (body.as_object_mut(), self.is_turn()) {
            members.entry("stream").or_insert_with(|| json!(streamed));
        }
        body
    }

    fn turn(&self, api: Wire, streamed: bool, memory: &Memory) -> Value {
        let token = memory.tokens.last();
        let model = self.model.as_deref().unwrap_or("default");
        let mut body = match api {
            Wire::Chat => json!({
                "model": model, "messages": self.chat_messages(memory), "conversation_token": token,
                "max_completion_tokens": self.max_output_tokens,
            }),
            Wire::Messages => json!({
                "model": model, "messages": [{ "role": "user", "content": self.blocks(memory) }],
                "conversation_token": token, "max_tokens": self.max_output_tokens.unwrap_or(1_000),
            }),
            Wire::Native => json!({
                "model": model, "input": self.native_input(memory), "token": token,
                "max_output_tokens": self.max_output_tokens,
            }),
            Wire::Responses => json!({
                "model": model, "input": self.response_items(memory),
                "previous_response_id": token.map(|token| format!("resp_{token}")),
                "max_output_tokens": self.max_output_tokens,
            }),
        };
        if api == Wire::Chat && streamed {
            body["stream_options"] = json!({ "include_usage": true });
        }
        if !self.tools.is_empty() {
            body["tools"] = self.tools.iter().map(|name| tool(api, name)).collect();
        }
        if !self.stop.is_empty() {
            body[if api == Wire::Messages { "stop_sequences" } else { "stop" }] = json!(self.stop);
        }
        let members = body.as_object_mut().unwrap();
        members.retain(|_, value| !value.is_null());
        members.extend(filled(&Value::Object(self.with.clone()), memory).as_object().unwrap().clone());
        body
    }

    /// The parts of the message: `Ok` for a text, `Err` for the URL of an image.
    fn parts(&self) -> Vec<Result<&str, &str>> {
        let part = |value: &'_ Value| match value.as_str() {
            Some(_) => true,
            None => value["image"].is_string(),
        };
        let values = match &self.input {
            Some(Value::Array(values)) => values.iter().collect(),
            input => input.iter().collect::<Vec<_>>(),
        };
        assert!(values.iter().all(|value| part(value)), "`input` is a text or a list of texts and images");
        values.into_iter().map(|value| value.as_str().ok_or_else(|| value["image"].as_str().unwrap())).collect()
    }

    /// The results, each with the id of its call.
    fn results<'a>(&'a self, memory: &'a Memory) -> impl Iterator<Item = (&'a str, &'a str)> {
        let id = |at: usize| memory.calls.get(at).expect("a result needs a call in the last reply")[0].as_str();
        self.results.iter().enumerate().map(move |(at, out)| (id(at), out.as_str()))
    }

    fn native_input(&self, memory: &Memory) -> Value {
        let results = self.results(memory).map(|(id, out)| json!({ "t": "result", "id": id, "out": out }));
        let parts = self.parts().into_iter().map(|part| match part {
            Ok(text) => json!({ "text": text }),
            Err(url) => json!({ "image": url }),
        });
        results.chain(parts).collect()
    }

    fn chat_messages(&self, memory: &Memory) -> Value {
        let results =
            self.results(memory).map(|(id, out)| json!({ "role": "tool", "tool_call_id": id, "content": out }));
        let parts = self.parts();
        let content = match parts[..] {
            [Ok(text)] => json!(text),
            _ => parts
                .iter()
                .map(|part| match part {
                    Ok(text) => json!({ "type": "text", "text": text }),
                    Err(url) => json!({ "type": "image_url", "image_url": { "url": url } }),
                })
                .collect(),
        };
        let message = (!parts.is_empty()).then(|| json!({ "role": "user", "content": content }));
        results.chain(message).collect()
    }

    fn blocks(&self, memory: &Memory) -> Value {
        let results =
            self.results(memory).map(|(id, out)| json!({ "type": "tool_result", "tool_use_id": id, "content": out }));
        let parts = self.parts().into_iter().map(|part| match part {
            Ok(text) => json!({ "type": "text", "text": text }),
            Err(url) => json!({ "type": "image", "source": image_source(url) }),
        });
        results.chain(parts).collect()
    }

    fn response_items(&self, memory: &Memory) -> Value {
        let results = self
            .results(memory)
            .map(|(id, out)| json!({ "type": "function_call_output", "call_id": id, "output": out }));
        let parts = self.parts();
        let content: Value = parts
            .iter()
            .map(|part| match part {
                Ok(text) => json!({ "type": "input_text", "text": text }),
                Err(url) => json!({ "type": "input_image", "image_url": url, "detail": "auto" }),
            })
            .collect();
        let message = (!parts.is_empty()).then(|| json!({ "role": "user", "content": content }));
        results.chain(message).collect()
    }
}

fn tool(api: Wire, name: &str) -> Value {
    let schema = json!({ "type": "object", "properties": {} });
    match api {
        Wire::Chat => json!({ "type": "function", "function": { "name": name, "parameters": schema } }),
        Wire::Messages => json!({ "name": name, "input_schema": schema }),
        Wire::Native => json!({ "name": name, "parameters": schema }),
        Wire::Responses => json!({ "type": "function", "name": name, "parameters": schema }),
    }
}

fn image_source(url: &str) -> Value {
    match url.strip_prefix("data:").and_then(|rest| rest.split_once(";base64,")) {
        Some((media_type, data)) => json!({ "type": "base64", "media_type": media_type, "data": data }),
        None => json!({ "type": "url", "url": url }),
    }
}

/// `value` with the client's knowledge in place of `{token}`, `{token.1}` (of the first turn) and
/// `{call.0}` (the id of the first call).
fn filled(value: &Value, memory: &Memory) -> Value {
    match value {
        Value::Array(values) => values.iter().map(|value| filled(value, memory)).collect(),
        Value::Object(members) => {
            let members = members.iter().map(|(name, value)| (name.clone(), filled(value, memory)));
            Value::Object(members.collect::<Map<_, _>>())
        }
        Value::String(text) => Value::String(filled_text(text, memory)),
        value => value.clone(),
    }
}

fn filled_text(text: &str, memory: &Memory) -> String {
    let mut text = text.to_owned();
    if let Some(token) = memory.tokens.last() {
        text = text.replace("{token}", token);
    }
    for (turn, token) in (1..).zip(&memory.tokens) {
        text = text.replace(&format!("{{token.{turn}}}"), token);
    }
    for (at, [id, ..]) in memory.calls.iter().enumerate() {
        text = text.replace(&format!("{{call.{at}}}"), id);
    }
    text
}
