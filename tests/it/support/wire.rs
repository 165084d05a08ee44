//! Every API as its clients see it: the request for a turn, and the reply and the token in the
//! response.

use serde::Deserialize;
use serde_json::{Value, json};

/// One of the APIs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Wire {
    #[serde(rename = "chat_completions")]
    Chat,
    Messages,
    Native,
    Responses,
}

impl Wire {
    pub(crate) const ALL: [Self; 4] = [Self::Native, Self::Chat, Self::Messages, Self::Responses];

    pub(crate) fn path(self) -> &'static str {
        match self {
            Self::Chat => "/v1/chat/completions",
            Self::Messages => "/v1/messages",
            Self::Native => "/v1/turns",
            Self::Responses => "/v1/responses",
        }
    }

    /// The body of a turn. `token` is a token of the native API.
    pub(crate) fn turn(self, user: Option<&str>, token: Option<&str>, input: &str, stream: bool) -> Value {
        let messages = json!([{ "role": "user", "content": input }]);
        let mut body = match self {
            Self::Chat => json!({ "model": "default", "messages": messages, "conversation_token": token }),
            Self::Messages => {
                json!({ "model": "default", "max_tokens": 1_000, "messages": messages, "conversation_token": token })
            }
            Self::Native => json!({ "token": token, "input": input }),
            Self::Responses => {
                let id = token.map(|token| format!("resp_{token}"));
                json!({ "model": "default", "input": input, "previous_response_id": id })
            }
        };
        if let Some(user) = user {
            match self {
                Self::Chat => body["user"] = json!(user),
                Self::Messages => body["metadata"] = json!({ "user_id": user }),
                Self::Native => body["user_id"] = json!(user),
                Self::Responses => body["safety_identifier"] = json!(user),
            }
        }
        body["stream"] = json!(stream);
        body
    }

    /// Lets the model of such a turn call the tool `add`.
    pub(crate) fn with_tool(self, mut body: Value) -> Value {
        let schema = json!({ "type": "object", "properties": { "a": { "type": "integer" } } });
        body["tools"] = match self {
            Self::Chat => json!([{ "type": "function", "function": { "name": "add", "parameters": schema } }]),
            Self::Messages => json!([{ "name": "add", "input_schema": schema }]),
            Self::Native => json!([{ "name": "add", "parameters": schema }]),
            Self::Responses => json!([{ "type": "function", "name": "add", "parameters": schema }]),
        };
        body
    }

    /// The body of a turn with the result of a tool call.
    pub(crate) fn result(self, token: &str, call: &str, out: &str, stream: bool) -> Value {
        let mut body = self.turn(None, Some(token), "", stream);
        match self {
            Self::Chat => body["messages"] = json!([{ "role": "tool", "tool_call_id": call, "content": out }]),
            Self::Messages => {
                let block = json!({ "type": "tool_result", "tool_use_id": call, "content": out });
                body["messages"] = json!([{ "role": "user", "content": [block] }]);
            }
            Self::Native => body["input"] = json!([{ "t": "result", "id": call, "out": out }]),
            Self::Responses => {
                body["input"] = json!([{ "type": "function_call_output", "call_id": call, "output": out }]);
            }
        }
        body
    }

    /// The first tool call of a reply, as id, name and arguments, and the new token.
    pub(crate) fn read_call(self, body: &str, streamed: bool) -> Option<([String; 3], String)> {
        let values: Vec<Value> = if streamed {
            body.lines().filter_map(|line| serde_json::from_str(line.strip_prefix("data: ")?).ok()).collect()
        } else {
            vec![serde_json::from_str(body).ok()?]
        };
        // A tool call is an object with the members of its format, anywhere in the response.
        let mut objects = Vec::new();
        values.iter().for_each(|value| collect(value, &mut objects));
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let call = objects.iter().find_map(|object| match self {
            Self::Chat => {
                let called = object.get("function").filter(|_| object["type"] == "function")?;
                Some([text(&object["id"])?, text(&called["name"])?, text(&called["arguments"])?])
            }
            Self::Messages => {
                let [id, name] = [text(&object["id"])?, text(&object["name"])?];
                // In a stream, the arguments follow.
                let late = objects.iter().find_map(|object| text(object.get("partial_json")?));
                Some([id, name, late.unwrap_or_else(|| object["input"].to_string())])
            }
            Self::Native => Some([text(&object["id"])?, text(&object["name"])?, text(&object["args"])?]),
            Self::Responses => {
                let call = object.get("call_id").filter(|_| object["status"] == "completed")?;
                Some([text(call)?, text(&object["name"])?, text(&object["arguments"])?])
            }
        })?;
        let token = match self {
            Self::Native => objects.iter().find_map(|object| text(object.get("token")?))?,
            Self::Responses => {
                let is_end = |object: &&&Value| object["object"] == "response" && object["status"] == "completed";
                text(&objects.iter().find(is_end)?["id"])?
            }
            Self::Chat | Self::Messages => objects.iter().find_map(|object| text(object.get("conversation_token")?))?,
        };
        Some((call, token.strip_prefix("resp_").unwrap_or(&token).to_owned()))
    }

    /// The text of the reply and the new token, from the body of a document or of a stream.
    pub(crate) fn read(self, body: &str, streamed: bool) -> Option<(String, String)> {
        let said = if streamed { self.read_stream(body)? } else { self.read_whole(&serde_json::from_str(body).ok()?)? };
        Some((said.0, said.1.strip_prefix("resp_").unwrap_or(&said.1).to_owned()))
    }

    fn read_whole(self, answer: &Value) -> Option<(String, String)> {
        let (text, token) = match self {
            Self::Chat => (&answer["choices"][0]["message"]["content"], &answer["conversation_token"]),
            Self::Messages => (&answer["content"][0]["text"], &answer["conversation_token"]),
            Self::Native => (&answer["reply"], &answer["token"]),
            Self::Responses => (&answer["output"][0]["content"][0]["text"], &answer["id"]),
        };
        Some((text.as_str()?.to_owned(), token.as_str()?.to_owned()))
    }

    fn read_stream(self, body: &str) -> Option<(String, String)> {
        let events: Vec<Value> =
            body.lines().filter_map(|line| serde_json::from_str(line.strip_prefix("data: ")?).ok()).collect();
        let text =
            |pointer: &str| -> String { events.iter().filter_map(|event| event.pointer(pointer)?.as_str()).collect() };
        match self {
            Self::Chat => {
                let token = events.iter().find_map(|event| event["conversation_token"].as_str())?;
                Some((text("/choices/0/delta/content"), token.to_owned()))
            }
            Self::Messages => {
                let end = events.iter().find(|event| event["type"] == "message_stop")?;
                Some((text("/delta/text"), end["conversation_token"].as_str()?.to_owned()))
            }
            Self::Native => self.read_whole(events.iter().find(|event| event["token"].is_string())?),
            Self::Responses => {
                let end = events.iter().find(|event| event["type"] == "response.completed")?;
                self.read_whole(&end["response"])
            }
        }
    }
}

/// All objects in a value, outermost first.
fn collect<'a>(value: &'a Value, objects: &mut Vec<&'a Value>) {
    match value {
        Value::Array(values) => values.iter().for_each(|value| collect(value, objects)),
        Value::Object(members) => {
            objects.push(value);
            members.values().for_each(|value| collect(value, objects));
        }
        _ => {}
    }
}
