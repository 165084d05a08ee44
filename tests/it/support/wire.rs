//! Every door as its clients see it: how a turn is asked for, and where reply and token are found.

use serde_json::{Value, json};

/// One of the doors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wire {
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

    /// The body of a turn; `token` as the native door gives it.
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

    /// The reply's text and the fresh token, from the body of a whole answer or of a stream.
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
