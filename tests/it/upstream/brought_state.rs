//! Clients that keep the whole conversation and drop the token, where their history is accepted:
//! what a service wants back reaches that service, and no other. Over two instances, after failover
//! and back, whole and streamed, at every API that can show it.

use serde_json::{Value, json};

use crate::support::{
    config,
    drive::{behind_one_alias, drive},
    fake::Call,
    hand::Hand,
};

/// Two services in the format of Chat Completions behind one alias that accepts client history.
fn instance() -> Hand {
    let upstreams = behind_one_alias(&[("first", "openai"), ("second", "openai")]);
    Hand::of(config(&format!("client_history = \"accept\"\n{upstreams}")))
}

/// Sends a reply in the form that the request asks for. In a stream, its reasoning comes in two
/// pieces.
fn send(call: &mut Call, message: &Value) {
    let usage = json!({ "prompt_tokens": 3, "completion_tokens": 2 });
    if call.json()["stream"] != true {
        call.head(200, &[("content-type", "application/json")]);
        call.send(json!({ "choices": [{ "message": message, "finish_reason": "stop" }], "usage": usage }).to_string());
    } else {
        let mut last = message.clone();
        let reasoning = last.as_object_mut().unwrap().remove("reasoning_content").unwrap_or_default();
        let (one, two) = reasoning.as_str().unwrap_or_default().split_at(reasoning.as_str().map_or(0, |_| 2));
        call.stream();
        for delta in [json!({ "reasoning_content": one }), json!({ "reasoning_content": two }), last] {
            call.send(format!("data: {}\n\n", json!({ "choices": [{ "index": 0, "delta": delta }] })));
        }
        let end = json!({ "choices": [{ "index": 0, "delta": {}, "finish_reason": "stop" }], "usage": usage });
        call.send(format!("data: {end}\n\ndata: [DONE]\n\n"));
    }
    call.end();
}

/// A reply with reasoning and a call of the tool `look`.
fn reasoned_call(reasoning: &str, id: &str, signature: &str) -> Value {
    json!({ "role": "assistant", "content": null, "reasoning_content": reasoning, "tool_calls": [{
        "index": 0, "id": id, "type": "function", "function": { "name": "look", "arguments": "{}" },
        "extra_content": { "google": { "thought_signature": signature } },
    }] })
}

/// A client that keeps all members of a reply except the token.
#[derive(Clone, Copy, Debug)]
enum Client {
    Chat,
    Messages,
    Responses,
}

const CLIENTS: [Client; 3] = [Client::Chat, Client::Messages, Client::Responses];

impl Client {
    fn user(text: &str) -> Value {
        json!({ "role": "user", "content": text })
    }

    fn result(self, id: &str) -> Value {
        match self {
            Self::Chat => json!({ "role": "tool", "tool_call_id": id, "content": "red" }),
            Self::Messages => {
                json!({ "role": "user", "content": [{ "type": "tool_result", "tool_use_id": id, "content": "red" }] })
            }
            Self::Responses => json!({ "type": "function_call_output", "call_id": id, "output": "red" }),
        }
    }

    fn request(self, chat: &[Value], stream: bool) -> (&'static str, Value) {
        match self {
            Self::Chat => ("/v1/chat/completions", json!({ "model": "default", "messages": chat, "stream": stream })),
            Self::Messages => {
                let body = json!({ "model": "default", "max_tokens": 100, "messages": chat, "stream": stream });
                ("/v1/messages", body)
            }
            Self::Responses => {
                let body = json!({ "model": "default", "input": chat, "stream": stream, "store": false,
                    "include": ["reasoning.encrypted_content"] });
                ("/v1/responses", body)
            }
        }
    }

    /// The messages of a reply, as the client keeps them.
    fn kept(self, body: &str, stream: bool) -> Vec<Value> {
        let events = || body.lines().filter_map(|line| serde_json::from_str(line.strip_prefix("data: ")?).ok());
        match (self, stream) {
            (Self::Chat, false) => {
                let mut answer: Value = serde_json::from_str(body).unwrap();
                let mut message = answer["choices"][0]["message"].take();
                message.as_object_mut().unwrap().remove("conversation_token").unwrap();
                vec![message]
            }
            (Self::Chat, true) => vec![joined(events())],
            (Self::Messages, false) => {
                let mut answer: Value = serde_json::from_str(body).unwrap();
                let last = answer["content"].as_array_mut().unwrap().last_mut().unwrap();
                last.as_object_mut().unwrap().remove("conversation_token").unwrap();
                vec![json!({ "role": "assistant", "content": answer["content"] })]
            }
            (Self::Messages, true) => vec![json!({ "role": "assistant", "content": blocks(events()) })],
            (Self::Responses, false) => {
                serde_json::from_str::<Value>(body).unwrap()["output"].as_array().unwrap().clone()
            }
            (Self::Responses, true) => {
                let done = |event: &Value| event["type"] == "response.completed";
                events().find(done).unwrap()["response"]["output"].as_array().unwrap().clone()
            }
        }
    }

    /// A turn at this instance. Adds the reply to the chat, and returns the last request to an
    /// upstream.
    fn turn(self, hand: &Hand, chat: &mut Vec<Value>, stream: bool, mut reply: impl FnMut(&mut Call)) -> Value {
        let (path, body) = self.request(chat, stream);
        let driven = drive(hand, hand.post(path, body.to_string()), |call| reply(call));
        let text = driven.answer.text();
        assert_eq!(driven.answer.status, 200, "{text}");
        chat.extend(self.kept(&text, stream));
        driven.calls.last().unwrap().json()
    }
}

/// The message of a stream, joined as SDKs do it: strings are concatenated, calls have an index.
fn joined(chunks: impl Iterator<Item = Value>) -> Value {
    let mut message = json!({});
    for chunk in chunks {
        let Some(delta) = chunk["choices"].get(0).map(|choice| &choice["delta"]) else { continue };
        for (name, value) in delta.as_object().unwrap() {
            match (&mut message[name], value) {
                (_, _) if name == "conversation_token" => {}
                (Value::Array(all), Value::Array(more)) => all.extend(more.clone()),
                (Value::String(text), Value::String(more)) => text.push_str(more),
                (before, value) => *before = value.clone(),
            }
        }
    }
    message.as_object_mut().unwrap().remove("conversation_token");
    message
}

/// The blocks of a Messages stream, joined as SDKs do it.
fn blocks(events: impl Iterator<Item = Value>) -> Vec<Value> {
    let mut blocks: Vec<Value> = Vec::new();
    let mut inputs = String::new();
    for event in events {
        let delta = &event["delta"];
        match event["type"].as_str().unwrap_or_default() {
            "content_block_start" => blocks.push(event["content_block"].clone()),
            "content_block_delta" => {
                let block = blocks.last_mut().unwrap();
                for name in ["text", "thinking", "signature"] {
                    if let (Some(more), Some(text)) = (delta[name].as_str(), block[name].as_str()) {
                        block[name] = json!(format!("{text}{more}"));
                    }
                }
                inputs.push_str(delta["partial_json"].as_str().unwrap_or_default());
            }
            "content_block_stop" if !inputs.is_empty() => {
                blocks.last_mut().unwrap()["input"] = serde_json::from_str(&inputs).unwrap();
                inputs.clear();
            }
            _ => {}
        }
    }
    blocks
}

/// The message of this request with a call of this id.
fn with_call<'a>(request: &'a Value, id: &str) -> &'a Value {
    let messages = request["messages"].as_array().unwrap();
    messages.iter().find(|message| message["tool_calls"][0]["id"] == id).unwrap_or_else(|| panic!("{id}: {request}"))
}

#[test]
fn state_that_a_client_brings_reaches_the_service_that_made_it() {
    for (client, stream) in CLIENTS.into_iter().flat_map(|client| [(client, false), (client, true)]) {
        let (one, two) = (instance(), instance());
        let own = "functions.look:0";
        let mut chat = vec![Client::user("look")];
        let first = reasoned_call("I see", own, "AbC+/==");
        client.turn(&one, &mut chat, stream, |call| send(call, &first));

        // The other instance sends it back, with the id that only this service writes.
        chat.push(client.result(own));
        let say = |text: &str| json!({ "role": "assistant", "content": text });
        let request = client.turn(&two, &mut chat, stream, |call| send(call, &say("Red.")));
        let message = with_call(&request, own);
        assert_eq!(message["reasoning_content"], "I see", "{client:?} {stream}: {request}");
        assert_eq!(message["tool_calls"][0]["extra_content"], first["tool_calls"][0]["extra_content"]);

        // The second service gets nothing of it, and adds its own.
        chat.push(Client::user("and now?"));
        let second = reasoned_call("other thoughts", "call_b", "XyZ");
        let failed_over = client.turn(&one, &mut chat, stream, |call| match &*call.upstream {
            "first" => {
                call.head(404, &[]);
                call.end();
            }
            _ => send(call, &second),
        });
        let text = failed_over.to_string();
        assert!(!text.contains("I see") && !text.contains("AbC") && !text.contains(own), "{client:?}: {text}");

        // Back at the first service, and then again at the second one.
        chat.push(client.result("call_b"));
        let request = client.turn(&two, &mut chat, stream, |call| send(call, &say("Still red.")));
        assert_eq!(with_call(&request, own)["reasoning_content"], "I see");
        let text = request.to_string();
        assert!(!text.contains("other thoughts") && !text.contains("XyZ"), "{client:?}: {text}");
        chat.push(Client::user("sure?"));
        let request = client.turn(&one, &mut chat, stream, |call| match &*call.upstream {
            "first" => {
                call.head(404, &[]);
                call.end();
            }
            _ => send(call, &say("Yes.")),
        });
        let message = with_call(&request, "call_b");
        assert_eq!(message["reasoning_content"], "other thoughts", "{client:?} {stream}: {request}");
        assert_eq!(message["tool_calls"][0]["extra_content"]["google"]["thought_signature"], "XyZ");
        assert!(!request.to_string().contains("I see"));
    }
}

#[test]
fn state_without_a_mark_goes_nowhere_if_two_services_can_have_made_it() {
    let hand = instance();
    let mut reply = reasoned_call("I see", "call_a", "AbC");
    reply["tool_calls"][0].as_object_mut().unwrap().remove("index");
    let mut chat = vec![Client::user("look"), reply, Client::Chat.result("call_a")];
    let request =
        Client::Chat.turn(&hand, &mut chat, false, |call| send(call, &json!({ "role": "assistant", "content": "x" })));
    let text = request.to_string();
    assert!(!text.contains("I see") && !text.contains("AbC"), "{text}");
}

#[test]
fn messages_clients_see_the_reasoning_of_a_chat_service_that_they_can_bring_back() {
    for stream in [false, true] {
        let reply =
            json!({ "role": "assistant", "content": "Red.", "reasoning_details": [{ "type": "x", "data": "y" }] });
        for (reply, kinds) in [
            (&reasoned_call("I see", "call_a", "AbC"), &["thinking", "redacted_thinking", "tool_use"][..]),
            (&reply, &["text", "redacted_thinking"]),
        ] {
            let mut chat = vec![Client::user("look")];
            Client::Messages.turn(&instance(), &mut chat, stream, |call| send(call, reply));
            let blocks = chat[1]["content"].as_array().unwrap();
            let found: Vec<_> = blocks.iter().map(|block| block["type"].as_str().unwrap()).collect();
            assert_eq!(found, kinds, "{stream}");
            if kinds[0] == "thinking" {
                assert_eq!(blocks[0]["thinking"], "I see");
            }
            // Nothing is shown where it cannot be brought back.
            let mut chat = vec![Client::user("look")];
            let refusing = Hand::of(config(&behind_one_alias(&[("first", "openai")])));
            Client::Messages.turn(&refusing, &mut chat, stream, |call| send(call, reply));
            assert!(!chat[1].to_string().contains("thinking"), "{}", chat[1]);
        }
    }
}
