//! Replies of every kind of upstream: a text or a tool call, with and without streaming.

use serde_json::{Value, json};

use super::fake::Call;

/// A kind of upstream that is called over a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Anthropic,
    OpenAi,
    OpenAiResponses,
}

impl Kind {
    pub(crate) const ALL: [Self; 3] = [Self::Anthropic, Self::OpenAi, Self::OpenAiResponses];

    /// The name in configuration.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Anthropic => "anthropic",
            Self::OpenAi => "openai",
            Self::OpenAiResponses => "openai-responses",
        }
    }

    /// Replies to a call with this text.
    pub(crate) fn say(self, call: &mut Call, text: &str) {
        self.answer(call, Content::Text(text));
    }

    /// Replies to a call with a call of the tool `add`.
    pub(crate) fn call_tool(self, call: &mut Call, id: &str, args: &str) {
        self.answer(call, Content::Call { id, args });
    }

    fn answer(self, call: &mut Call, content: Content<'_>) {
        if call.json()["stream"] == true {
            call.stream();
            for event in self.events(content) {
                let name = event["type"].as_str().unwrap_or("message");
                call.send(format!("event: {name}\ndata: {event}\n\n"));
            }
            if self == Self::OpenAi {
                call.send("data: [DONE]\n\n");
            }
        } else {
            call.head(200, &[("content-type", "application/json")]);
            call.send(self.whole(content).to_string());
        }
        call.end();
    }

    fn whole(self, content: Content<'_>) -> Value {
        match self {
            Self::Anthropic => json!({
                "type": "message", "role": "assistant", "content": [content.block()], "stop_reason": content.stop_reason(),
                "usage": { "input_tokens": 3, "output_tokens": 2 },
            }),
            Self::OpenAi => json!({
                "choices": [{ "index": 0, "message": content.message(), "finish_reason": content.finish_reason() }],
                "usage": { "prompt_tokens": 3, "completion_tokens": 2 },
            }),
            Self::OpenAiResponses => content.response(),
        }
    }

    fn events(self, content: Content<'_>) -> Vec<Value> {
        match self {
            Self::Anthropic => content.anthropic_events(),
            Self::OpenAi => vec![
                json!({ "choices": [{ "index": 0, "delta": content.message(), "finish_reason": null }] }),
                json!({
                    "choices": [{ "index": 0, "delta": {}, "finish_reason": content.finish_reason() }],
                    "usage": { "prompt_tokens": 3, "completion_tokens": 2 },
                }),
            ],
            Self::OpenAiResponses => content.responses_events(),
        }
    }
}

/// The content of a reply.
#[derive(Clone, Copy)]
enum Content<'a> {
    Call { id: &'a str, args: &'a str },
    Text(&'a str),
}

impl Content<'_> {
    fn stop_reason(self) -> &'static str {
        if let Self::Call { .. } = self { "tool_use" } else { "end_turn" }
    }

    fn finish_reason(self) -> &'static str {
        if let Self::Call { .. } = self { "tool_calls" } else { "stop" }
    }

    fn block(self) -> Value {
        match self {
            Self::Call { id, args } => {
                json!({ "type": "tool_use", "id": id, "name": "add", "input": serde_json::from_str::<Value>(args).unwrap() })
            }
            Self::Text(text) => json!({ "type": "text", "text": text }),
        }
    }

    fn message(self) -> Value {
        match self {
            Self::Call { id, args } => {
                let function = json!({ "name": "add", "arguments": args });
                json!({ "role": "assistant", "content": null,
                    "tool_calls": [{ "index": 0, "id": id, "type": "function", "function": function }] })
            }
            Self::Text(text) => json!({ "role": "assistant", "content": text }),
        }
    }

    fn item(self) -> Value {
        match self {
            Self::Call { id, args } => json!({
                "type": "function_call", "id": "fc_1", "call_id": id, "name": "add", "arguments": args,
                "status": "completed",
            }),
            Self::Text(text) => json!({
                "type": "message", "id": "msg_1", "role": "assistant", "status": "completed",
                "content": [{ "type": "output_text", "text": text, "annotations": [] }],
            }),
        }
    }

    fn response(self) -> Value {
        json!({
            "id": "resp_1", "object": "response", "status": "completed", "error": null, "incomplete_details": null,
            "output": [self.item()],
            "usage": {
                "input_tokens": 3, "output_tokens": 2, "total_tokens": 5,
                "input_tokens_details": { "cached_tokens": 0 }, "output_tokens_details": { "reasoning_tokens": 0 },
            },
        })
    }

    fn anthropic_events(self) -> Vec<Value> {
        let (block, delta) = match self {
            Self::Call { id, args } => (
                json!({ "type": "tool_use", "id": id, "name": "add", "input": {} }),
                json!({ "type": "input_json_delta", "partial_json": args }),
            ),
            Self::Text(text) => (json!({ "type": "text", "text": "" }), json!({ "type": "text_delta", "text": text })),
        };
        vec![
            json!({ "type": "message_start", "message": { "usage": { "input_tokens": 3, "output_tokens": 1 } } }),
            json!({ "type": "content_block_start", "index": 0, "content_block": block }),
            json!({ "type": "content_block_delta", "index": 0, "delta": delta }),
            json!({ "type": "content_block_stop", "index": 0 }),
            json!({
                "type": "message_delta", "delta": { "stop_reason": self.stop_reason() },
                "usage": { "output_tokens": 2 },
            }),
            json!({ "type": "message_stop" }),
        ]
    }

    fn responses_events(self) -> Vec<Value> {
        let item = self.item();
        let mut open = item.clone();
        open["status"] = json!("in_progress");
        let place = json!({ "item_id": item["id"], "output_index": 0, "content_index": 0 });
        let at = |kind: &str, more: Value| {
            let mut event = place.clone();
            event["type"] = json!(kind);
            for (name, value) in more.as_object().unwrap() {
                event[name] = value.clone();
            }
            event
        };
        let pieces = match self {
            Self::Call { args, .. } => {
                open["arguments"] = json!("");
                vec![
                    at("response.function_call_arguments.delta", json!({ "delta": args })),
                    at("response.function_call_arguments.done", json!({ "arguments": args })),
                ]
            }
            Self::Text(text) => {
                open["content"] = json!([]);
                let part = json!({ "type": "output_text", "text": "", "annotations": [] });
                vec![
                    at("response.content_part.added", json!({ "part": part })),
                    at("response.output_text.delta", json!({ "delta": text })),
                    at("response.output_text.done", json!({ "text": text })),
                ]
            }
        };
        let mut events = vec![
            json!({ "type": "response.created", "response": { "id": "resp_1", "status": "in_progress", "output": [] } }),
            json!({ "type": "response.output_item.added", "output_index": 0, "item": open }),
        ];
        events.extend(pieces);
        events.push(json!({ "type": "response.output_item.done", "output_index": 0, "item": item }));
        events.push(json!({ "type": "response.completed", "response": self.response() }));
        events
    }
}
