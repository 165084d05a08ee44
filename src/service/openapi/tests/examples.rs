//! The examples of the document: a conversation of two turns with the built-in model, in every API.

use std::{sync::Arc, time::Duration};

use http::{Response, header};
use serde_json::{Value, json};

use crate::proto::{
    api::{APIS, Api, Operation, ReplyWriter, native},
    deployment::{ApiSettings, Deployment, Model, Models, Target},
    exchange::{Caller, Entropy, Exchange, Planned, PresentedHistory, ResponseState},
    key::KeyRing,
    provider::{self, COMPATIBLE},
    time::UnixSeconds,
    token::Codec,
    turn::Answer,
    usage::Spent,
};

/// The examples of one API path.
pub(super) struct Examples {
    /// The request that starts a conversation.
    pub(super) first: Value,
    /// The request that continues it.
    pub(super) next: Value,
    /// The response to the second request.
    pub(super) response: Value,
}

/// The examples of an API.
pub(super) fn of_api(api: &dyn Api) -> Examples {
    let first = request(api.path(), "My name is Ada.", None);
    // A count returns no token. The conversation that it counts comes from the API of the same
    // format.
    let turns = APIS.iter().find(|other| other.operation() == Operation::Turn && api.path().starts_with(other.path()));
    let turn = response(*turns.unwrap(), &first, 1);
    let token = turn.get("conversation_token").or_else(|| turn.get("token")).or_else(|| turn.get("id"));
    let next = request(api.path(), "What is my name?", token);
    let response = match api.operation() {
        Operation::CountTokens => serde_json::from_slice(&api.token_count_body(23)).unwrap(),
        Operation::Turn => response(api, &next, 2),
    };
    Examples { first, next, response }
}

/// The request and the response of `POST /v1/history`.
pub(super) fn of_history() -> (Value, Value) {
    let turn = of_api(&native::Native).response;
    let request = json!({ "token": turn["token"] });
    let caller = Caller::Unauthenticated { user_id: None };
    let token = turn["token"].as_str().unwrap();
    let (deployment, mut codec) = (deployment(), Codec::new().unwrap());
    let history = PresentedHistory::open(&deployment, token, &caller, NOW, &mut codec).unwrap();
    let (items, conversation) = history.read(&deployment.limits, &mut codec).unwrap();
    (request, serde_json::from_slice(&native::history_answer(&items, &conversation)).unwrap())
}

/// Takes a turn. Returns the writer of its reply, and the answer. `seed` replaces all randomness.
pub(super) fn take_turn(api: &dyn Api, request: &Value, seed: u8) -> (Box<dyn ReplyWriter>, Answer) {
    let parsed = api.parse_request(&request.to_string(), &ApiSettings::default()).unwrap();
    let random = [seed; 16];
    let entropy = Entropy { token_id: random, conversation: random, user: random, nonce: [seed; 24] };
    let (caller, mut codec) = (Caller::Unauthenticated { user_id: None }, Codec::new().unwrap());
    let opened = Exchange::open(Arc::new(deployment()), parsed.turn, &caller, NOW, &entropy, &mut codec).unwrap();
    let planned = opened.plan(&mut codec).unwrap();
    let Planned::Ready(exchange) = planned else { panic!("the model has no room for the conversation") };
    let pieces = provider::builtin_answer(exchange.request().body()).unwrap();
    let content_type = provider::builtin_content_type(exchange.is_streamed());
    let head = Response::builder().header(header::CONTENT_TYPE, content_type).body(()).unwrap().into_parts().0;
    let Ok(ResponseState::Replying(mut exchange)) = exchange.respond(&head) else { panic!("the model refused") };
    let mut deltas = Vec::new();
    pieces.iter().for_each(|piece| exchange.push(piece, &mut deltas).unwrap());
    exchange.close(&mut deltas).unwrap();
    let spent = Spent { usage: exchange.call_usage(), elapsed: Duration::from_millis(3) };
    let answer = exchange.finish(spent, &mut codec).unwrap();
    (parsed.writer, answer)
}

/// A request for a turn in the format at `path`.
pub(super) fn request(path: &str, text: &str, token: Option<&Value>) -> Value {
    let messages = json!([{ "role": "user", "content": text }]);
    let (mut request, token_member) = if path.starts_with("/v1/responses") {
        (json!({ "model": "default", "input": text }), "previous_response_id")
    } else if path.starts_with("/v1/messages") {
        (json!({ "model": "default", "max_tokens": 1024, "messages": messages }), "conversation_token")
    } else if path.starts_with("/v1/chat") {
        (json!({ "model": "default", "messages": messages }), "conversation_token")
    } else if path == "/v1/turns" {
        (json!({ "input": text }), "token")
    } else {
        panic!("add a request for {path}, and the member for its token")
    };
    if let Some(token) = token {
        request[token_member] = token.clone();
    }
    request
}

fn response(api: &dyn Api, request: &Value, seed: u8) -> Value {
    let (mut writer, answer) = take_turn(api, request, seed);
    serde_json::from_slice(&writer.body(&answer)).unwrap()
}

fn deployment() -> Deployment {
    let name = "builtin";
    let target = Target {
        upstream: name.to_owned(),
        provider: provider::by_name(name).unwrap(),
        provider_id: name.to_owned(),
        profile: COMPATIBLE,
        prompt_cache: false,
        name: name.to_owned(),
    };
    let model = Model::new("default", target);
    Deployment::new(KeyRing::parse(KEYS).unwrap(), Models::new(vec![model]).unwrap())
}

/// 2026-01-01T00:00:00Z.
const NOW: UnixSeconds = UnixSeconds(1_767_225_600);

/// A key that signs only the examples.
const KEYS: &str = "example:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";
