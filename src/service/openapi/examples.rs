//! Requests and their real answers: a conversation of two turns with the built-in model, at every door.

use std::{sync::Arc, time::Duration};

use http::{Response, header};
use serde_json::{Value, json};

use crate::proto::exchange;
use crate::proto::{
    api::{APIS, Api, Operation, native},
    deployment::{ApiSettings, Deployment, Model, Models, Target},
    exchange::{Caller, Entropy, Exchange, Planned, Response as Answered},
    key::KeyRing,
    limits::Limits,
    provider,
    time::UnixSeconds,
    token::{Codec, TokenPolicy},
    turn::Truncation,
};

/// What is sent to a door and what comes back.
pub(super) struct Examples {
    pub(super) begin: Value,
    pub(super) go_on: Value,
    pub(super) answer: Value,
}

/// The examples for a door.
pub(super) fn at_api(api: &dyn Api) -> Examples {
    let begin = said(api.path(), "My name is Ada.", None);
    // A count gives no token: the conversation that it counts is one of the format's own door.
    let turns = APIS.iter().find(|other| other.purpose() == Operation::Turn && api.path().starts_with(other.path()));
    let first = turn(*turns.unwrap(), &begin, 1);
    let token = first.get("conversation_token").or_else(|| first.get("token")).or_else(|| first.get("id"));
    let go_on = said(api.path(), "What is my name?", token);
    let answer = match api.purpose() {
        Operation::CountTokens => serde_json::from_slice(&api.counted(23)).unwrap(),
        Operation::Turn => turn(api, &go_on, 2),
    };
    Examples { begin, go_on, answer }
}

/// What `POST /v1/history` is asked, and answers.
pub(super) fn history() -> (Value, Value) {
    let answer = at_api(&native::Native).answer;
    let request = json!({ "token": answer["token"] });
    let nobody = Caller::Unauthenticated { user_id: None };
    let (items, conversation, _) = exchange::read_history(
        &deployment(),
        answer["token"].as_str().unwrap(),
        &nobody,
        NOW,
        &mut Codec::new().unwrap(),
    )
    .unwrap();
    (request, serde_json::from_slice(&native::history_answer(&items, &conversation)).unwrap())
}

/// A request in the words of the door at `path`.
fn said(path: &str, text: &str, token: Option<&Value>) -> Value {
    let messages = json!([{ "role": "user", "content": text }]);
    let (mut request, member) = if path.starts_with("/v1/responses") {
        (json!({ "model": "default", "input": text }), "previous_response_id")
    } else if path.starts_with("/v1/messages") {
        (json!({ "model": "default", "max_tokens": 1024, "messages": messages }), "conversation_token")
    } else if path.starts_with("/v1/chat") {
        (json!({ "model": "default", "messages": messages }), "conversation_token")
    } else {
        (json!({ "input": text }), "token")
    };
    if let Some(token) = token {
        request[member] = token.clone();
    }
    request
}

fn deployment() -> Deployment {
    let name = "builtin";
    let target = Target {
        upstream: name.to_owned(),
        provider: provider::by_name(name).unwrap(),
        provider_id: name.to_owned(),
        prompt_cache: false,
        name: name.to_owned(),
    };
    let model = Model {
        alias: "default".to_owned(),
        target,
        fallbacks: Vec::new(),
        system_prompt: None,
        max_output_tokens: None,
        truncation: Truncation::Refuse,
    };
    Deployment {
        keys: KeyRing::parse(KEYS).unwrap(),
        policy: TokenPolicy::default(),
        limits: Limits::default(),
        models: Models::new(vec![model]).unwrap(),
        apis: ApiSettings::default(),
        accepts_client_history: false,
        elides_inline_images: false,
    }
}

/// A whole turn; what chance there is in it is `chance`.
fn turn(api: &dyn Api, request: &Value, chance: u8) -> Value {
    let mut asked = api.request(&request.to_string(), &ApiSettings::default()).unwrap();
    let random = [chance; 16];
    let entropy = Entropy { token_id: random, conversation: random, user: random, nonce: [chance; 24] };
    let (nobody, mut codec) = (Caller::Unauthenticated { user_id: None }, Codec::new().unwrap());
    let begun = Exchange::begin(Arc::new(deployment()), asked.turn, &nobody, NOW, &entropy, &mut codec).unwrap();
    let Planned::Ready(exchange) = begun else { panic!("nobody asked for a summary") };
    let pieces = provider::builtin_answer(exchange.request().body()).unwrap();
    let form = provider::builtin_content_type(exchange.is_streamed());
    let head = Response::builder().header(header::CONTENT_TYPE, form).body(()).unwrap().into_parts().0;
    let Ok(Answered::Replying(mut exchange)) = exchange.respond(&head) else { panic!("refused") };
    let mut deltas = Vec::new();
    pieces.iter().for_each(|piece| exchange.push(piece, &mut deltas).unwrap());
    let answer = exchange.finish(Duration::from_millis(3), &mut deltas, &mut codec).unwrap();
    serde_json::from_slice(&asked.writer.answer(&answer)).unwrap()
}

/// The start of 2026.
const NOW: UnixSeconds = UnixSeconds(1_767_225_600);

/// A key that signs nothing else.
const KEYS: &str = "example:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";
