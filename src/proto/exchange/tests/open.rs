//! The first step of a turn: the next claims, the hash of the request, and the order of errors.

use serde_json::value::RawValue;

use super::*;
use crate::proto::{
    token::{self, testing::alice},
    turn::{ModelOptions, Tool},
};

fn turn_with(token: Option<&str>, input: Vec<Item>) -> TurnRequest {
    TurnRequest { token: token.map(str::to_owned), input, ..first_turn("") }
}

fn user(text: &str) -> Item {
    Item::text(Role::User, text)
}

fn assistant(text: &str) -> Item {
    Item::text(Role::Assistant, text)
}

/// The hash of this request, for single use.
fn request_hash(fixture: &mut Fixture, request: TurnRequest) -> [u8; 16] {
    fixture.open(request, &anonymous()).unwrap().presented().unwrap().request
}

/// A token with a history that inflates to this text.
fn token_with(fixture: &mut Fixture, lines: &str) -> String {
    let claims = fixture.turn(first_turn("hi"), "hello").conversation.claims;
    token::issue(&claims, None, lines, fixture.deployment.token_context(), &[9; 24], &mut fixture.codec).unwrap().token
}

#[test]
fn opening_fixes_the_claims_and_inflates_no_history() {
    let mut fixture = Fixture::new(Limits::default());
    let first = fixture.turn(first_turn("hi"), "hello");
    let opened = fixture.open(next_turn(&first.token, "and?"), &anonymous()).unwrap();
    assert!(opened.turn.base.is_none());
    assert_eq!(opened.token_history_bytes(), first.conversation.history_bytes);
    let claims = opened.claims().clone();
    assert_eq!((claims.turn, claims.parent), (2, Some(first.conversation.claims.token_id)));
    assert_eq!(opened.presented().unwrap().token_id, first.conversation.claims.token_id);
    assert_eq!((opened.upstream(), opened.is_streamed()), ("m", true));
    assert_eq!(opened.plan(&mut fixture.codec).unwrap().claims(), &claims);
}

#[test]
fn the_input_is_hashed_as_it_was_sent() {
    let mut fixture = Fixture::new(Limits::default());
    let token = fixture.turn(first_turn("hi"), "hello").token;
    let mut hash = |input| request_hash(&mut fixture, turn_with(Some(&token), input));
    let new = hash(vec![user("and?")]);
    assert_eq!(hash(vec![user("and?")]), new);
    // A copy of the conversation is a part of the request.
    assert_ne!(hash(vec![assistant("hello"), user("and?")]), new);
    assert_ne!(hash(vec![user("and")]), new);
    assert_ne!(hash(vec![user("an"), user("d?")]), new);
    let other = fixture.turn(first_turn("hi"), "hello").token;
    assert_ne!(request_hash(&mut fixture, next_turn(&other, "and?")), new, "the token is the key");
}

#[test]
fn everything_that_changes_the_answer_is_hashed() {
    let mut fixture = Fixture::with(Limits::default(), TokenPolicy::default(), vec![model("default"), model("b")]);
    let token = fixture.turn(first_turn("hi"), "hello").token;
    let next = || next_turn(&token, "and?");
    let with = |options: ModelOptions| TurnRequest { options, ..next() };
    let tool = |schema: &str| Tool {
        name: "look".to_owned(),
        description: None,
        parameters: Some(RawValue::from_string(schema.to_owned()).unwrap()),
        strict: None,
    };
    let others = [
        TurnRequest { model: Some("b".to_owned()), ..next() },
        TurnRequest { system: Some("Be brief.".to_owned()), ..next() },
        TurnRequest { truncation: Some(Truncation::Oldest), ..next() },
        with(ModelOptions { max_output_tokens: Some(7), ..ModelOptions::default() }),
        with(ModelOptions { temperature: Some(1.into()), ..ModelOptions::default() }),
        with(ModelOptions { seed: Some(7), ..ModelOptions::default() }),
        with(ModelOptions { stop: vec!["end".to_owned()], ..ModelOptions::default() }),
        with(ModelOptions { tools: vec![tool("{}")], ..ModelOptions::default() }),
        with(ModelOptions { tools: vec![tool("{\"type\":\"object\"}")], ..ModelOptions::default() }),
    ];
    let mut hashes: Vec<_> = others.into_iter().map(|request| request_hash(&mut fixture, request)).collect();
    hashes.push(request_hash(&mut fixture, next()));
    for (at, hash) in hashes.iter().enumerate() {
        assert!(!hashes[at + 1..].contains(hash), "request {at}");
    }
    // The way of the answer to the client changes nothing about it.
    let document = TurnRequest { stream: false, ..next() };
    assert_eq!(request_hash(&mut fixture, document), *hashes.last().unwrap());
}

#[test]
fn a_cheap_refusal_comes_before_a_fault_in_the_history() {
    let mut fixture = Fixture::with(Limits::default(), TokenPolicy::default(), vec![model("default")]);
    for lines in ["not an item\n", "\r\n", "\u{FEFF}{}\n"] {
        let damaged = token_with(&mut fixture, lines);
        let request =
            |model: Option<&str>| TurnRequest { model: model.map(str::to_owned), ..next_turn(&damaged, "and?") };
        let fault = |outcome: Result<Exchange<Opened>, Error>| outcome.err().map(|error| error.cause());
        assert_eq!(fault(fixture.open(request(None), &anonymous())), None);
        assert_eq!(error_code(fixture.open(request(Some("unknown")), &anonymous())), "model_unknown");
        let alice = Caller::Authenticated { principal: alice(), user_id: None };
        let not_owner = fault(fixture.open(request(None), &alice)).flatten().unwrap();
        assert!(not_owner.starts_with("subject:"), "{not_owner}");
        let now = fixture.now;
        fixture.now = now.plus(8 * 86_400);
        assert_eq!(error_code(fixture.open(request(None), &anonymous())), "token_expired");
        fixture.now = now;
        // Only the next step reports the history.
        assert_eq!(error_code(fixture.ready(request(None))), "token_invalid");
        let forbidden = TurnRequest { system: Some("Be brief.".to_owned()), ..request(None) };
        let mut with_prompt = Fixture::changed(|deployment| {
            let model = Model { system_prompt: Some("Be kind.".to_owned()), ..model("default") };
            deployment.models = Models::new(vec![model]).unwrap();
        });
        assert_eq!(error_code(with_prompt.ready(forbidden)), "role_forbidden");
    }
}

#[test]
fn a_large_history_costs_nothing_before_it_is_inflated() {
    let mut fixture = Fixture::new(Limits::default());
    let line = "{\"t\":\"msg\",\"role\":\"user\",\"parts\":[{\"text\":\"a\"}]}\n";
    let token = token_with(&mut fixture, &line.repeat(10_000));
    assert!(token.len() < 2_000, "{}", token.len());
    let opened = fixture.open(next_turn(&token, "and?"), &anonymous()).unwrap();
    assert_eq!((opened.token_history_bytes(), opened.turn.base.is_none()), (line.len() * 10_000, true));
    let history = PresentedHistory::open(&fixture.deployment, &token, &anonymous(), fixture.now, &mut fixture.codec);
    assert_eq!(history.unwrap().history_bytes(), line.len() * 10_000);
}
