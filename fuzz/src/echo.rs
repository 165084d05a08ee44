//! Bodies that continue a conversation, in every API: whatever a body repeats or invents, the model
//! gets the token's history unchanged, and after it nothing but the words of the caller.
//!
//! The first byte of an input selects the API. The rest is the body, which gets the token.

use std::sync::{Arc, OnceLock};

use holdall::{
    Deployment, Exchange, KeyRing,
    proto::{
        api::{APIS, Operation},
        chat::{Item, Output, Role},
        deployment::{ApiSettings, Model, Models, Target},
        exchange::{Caller, Entropy, Planned, Ready, ResponseState},
        provider::{self, COMPATIBLE},
        time::UnixSeconds,
        token::Codec,
        turn::TurnRequest,
        usage::Spent,
    },
};
use serde_json::{Map, Value, json};

use super::reference::NOW;

/// Takes any text.
pub fn check(input: &[u8]) {
    is_taken(input);
}

/// Checks a body. Returns true if the turn is not refused.
pub(crate) fn is_taken(input: &[u8]) -> bool {
    turn(input).and_then(messages).is_some_and(|messages| {
        let (_, history) = conversation();
        let system = messages.iter().take_while(|message| message["role"] == "system").count();
        let (repeated, new) = messages[system..].split_at_checked(history.len()).expect("the whole history");
        assert_eq!(repeated, history);
        let is_of_caller = |message: &Value| matches!(message["role"].as_str(), Some("user" | "tool"));
        assert!(!new.is_empty() && new.iter().all(is_of_caller), "{new:?}");
        true
    })
}

/// The turn that a body asks for. A body can repeat tokens in old messages, and this one must win.
fn turn(input: &[u8]) -> Option<TurnRequest> {
    let (selector, body) = input.split_first()?;
    let mut body: Map<String, Value> = serde_json::from_slice(body).ok()?;
    let mut apis = APIS.iter().filter(|api| api.operation() == Operation::Turn);
    let api = apis.nth(usize::from(selector % 4))?;
    let token = &conversation().0;
    let (member, token) = match api.path() {
        "/v1/turns" => ("token", token.clone()),
        "/v1/responses" => ("previous_response_id", format!("resp_{token}")),
        _ => ("conversation_token", token.clone()),
    };
    body.insert(member.to_owned(), json!(token));
    Some(api.parse_request(&Value::from(body).to_string(), &ApiSettings::default()).ok()?.turn)
}

/// The messages that the model gets. `None` if the turn is refused.
fn messages(turn: TurnRequest) -> Option<Vec<Value>> {
    let ready = ready(turn)?;
    let request: Value = serde_json::from_slice(ready.request().body()).expect("JSON");
    Some(request["messages"].as_array().expect("messages").clone())
}

fn ready(turn: TurnRequest) -> Option<Exchange<Ready>> {
    let mut codec = Codec::new().expect("a codec");
    let entropy = Entropy { token_id: [1; 16], conversation: [1; 16], user: [1; 16], nonce: [1; 24] };
    let caller = Caller::Unauthenticated { user_id: None };
    let opened = Exchange::open(deployment(), turn, &caller, UnixSeconds(NOW), &entropy, &mut codec).ok()?;
    match opened.plan(&mut codec).ok()? {
        Planned::Ready(exchange) => Some(exchange),
        Planned::Summarizing(_) => None,
    }
}

/// The token of a conversation, and its messages: a question, and an answer with two open calls.
fn conversation() -> &'static (String, Vec<Value>) {
    static CONVERSATION: OnceLock<(String, Vec<Value>)> = OnceLock::new();
    CONVERSATION.get_or_init(|| {
        let input = vec![Item::text(Role::User, "What is 1 + 2, and 3 + 4?")];
        let question = TurnRequest { input, ..TurnRequest::default() };
        let ready = ready(question).expect("a first turn");
        let call = |id: &str, args: &str| json!({ "id": id, "type": "function", "function": { "name": "add", "arguments": args } });
        let calls = [call("c1", r#"{"a":1,"b":2}"#), call("c2", r#"{"a":3,"b":4}"#)];
        let message = json!({ "role": "assistant", "content": "I add.", "tool_calls": calls });
        let reply = json!({ "choices": [{ "index": 0, "message": message, "finish_reason": "tool_calls" }] });
        let head = http::Response::builder().header("content-type", "application/json").body(()).expect("a head");
        let Ok(ResponseState::Replying(mut replying)) = ready.respond(&head.into_parts().0) else { panic!("a reply") };
        let (mut codec, mut deltas) = (Codec::new().expect("a codec"), Vec::new());
        replying.push(reply.to_string().as_bytes(), &mut deltas).expect("a reply");
        replying.close(&mut deltas).expect("a complete reply");
        let Ok(answer) = replying.finish(Spent::default(), &mut codec) else { panic!("an answer") };
        let results = ["c1", "c2"].map(|id| Item::Result { id: id.to_owned(), out: Output::Text("3".to_owned()), error: false });
        let next = TurnRequest { token: Some(answer.token.clone()), input: results.to_vec(), ..TurnRequest::default() };
        let mut history = messages(next).expect("a second turn");
        history.truncate(history.len() - results.len());
        (answer.token, history)
    })
}

fn deployment() -> Arc<Deployment> {
    static DEPLOYMENT: OnceLock<Arc<Deployment>> = OnceLock::new();
    Arc::clone(DEPLOYMENT.get_or_init(|| {
        let target = Target {
            upstream: "main".to_owned(),
            provider: provider::by_name("openai").expect("a known provider"),
            provider_id: "main".to_owned(),
            profile: COMPATIBLE,
            prompt_cache: false,
            name: "m".to_owned(),
        };
        let models = Models::new(vec![Model::new("default", target)]).expect("a model");
        let keys = KeyRing::parse("k1:YSBzZWNyZXQgZm9yIHRoZSBmdXp6IHRlc3RzIG9ubHk").expect("a key");
        Arc::new(Deployment::new(keys, models))
    }))
}
