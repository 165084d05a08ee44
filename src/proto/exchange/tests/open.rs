//! The first step of a turn: the next claims, the hash of the new input, and the order of errors.

use super::*;
use crate::proto::token;

fn user(text: &str) -> Item {
    Item::text(Role::User, text)
}

fn assistant(text: &str) -> Item {
    Item::text(Role::Assistant, text)
}

/// The hash of what is new in this input with this token.
fn input_hash(fixture: &mut Fixture, token: &str, input: Vec<Item>) -> [u8; 16] {
    let request = TurnRequest { token: Some(token.to_owned()), input, ..first_turn("") };
    let opened = fixture.open(request, &anonymous()).unwrap();
    opened.plan(&mut fixture.codec).unwrap().presented().unwrap().input
}

#[test]
fn opening_fixes_the_claims_and_reads_no_items() {
    let mut fixture = Fixture::new(Limits::default());
    let first = fixture.turn(first_turn("hi"), "hello");
    let request = next_turn(&first.token, "and?");
    let opened = fixture.open(request, &anonymous()).unwrap();
    assert!(opened.state.history.is_none());
    let claims = opened.claims().clone();
    assert_eq!((claims.turn, claims.parent), (2, Some(first.conversation.claims.token_id)));
    assert_eq!(opened.presented().unwrap().token_id, first.conversation.claims.token_id);
    assert_eq!((opened.upstream(), opened.is_streamed()), ("m", true));
    assert_eq!(opened.plan(&mut fixture.codec).unwrap().claims(), &claims);
}

#[test]
fn only_the_new_input_is_hashed() {
    let mut fixture = Fixture::new(Limits::default());
    let token = fixture.turn(first_turn("hi"), "hello").token;
    let new = input_hash(&mut fixture, &token, vec![user("and?")]);
    assert_eq!(input_hash(&mut fixture, &token, vec![assistant("hello"), user("and?")]), new);
    assert_eq!(input_hash(&mut fixture, &token, vec![user("hi"), assistant("hello"), user("and?")]), new);
    assert_ne!(input_hash(&mut fixture, &token, vec![user("and")]), new);
    let other = fixture.turn(first_turn("hi"), "hello").token;
    assert_ne!(input_hash(&mut fixture, &other, vec![user("and?")]), new, "the token is the key");
}

#[test]
fn what_the_turn_adds_is_hashed() {
    let mut fixture = Fixture::new(Limits::default());
    let first = fixture.turn(first_turn("hi"), "hello").token;
    let silent = fixture.turn(next_turn(&first, "and?"), "").token;
    let copy = || vec![user("hi"), assistant("hello"), user("and?")];
    // Only the first two repeat the question before `so`.
    let repeated = input_hash(&mut fixture, &silent, [copy(), vec![user("so")]].concat());
    assert_eq!(input_hash(&mut fixture, &silent, vec![user("and?"), user("so")]), repeated);
    let asked_again = [copy(), vec![assistant(""), user("and?"), user("so")]].concat();
    assert_ne!(input_hash(&mut fixture, &silent, asked_again), repeated);
}

#[test]
fn before_planning_all_input_is_hashed() {
    let mut fixture = Fixture::new(Limits::default());
    let token = fixture.turn(first_turn("hi"), "hello").token;
    let mut hash = |input| {
        let request = TurnRequest { token: Some(token.clone()), input, ..first_turn("") };
        fixture.open(request, &anonymous()).unwrap().presented().unwrap().input
    };
    let new = hash(vec![user("and?")]);
    assert_eq!(hash(vec![user("and?")]), new);
    assert_ne!(hash(vec![assistant("hello"), user("and?")]), new);
}

#[test]
fn history_of_a_client_is_hashed_as_new_input() {
    let mut fixture = Fixture::changed(accept_client_history);
    let token = fixture.turn(first_turn("hi"), "hello").token;
    let new = input_hash(&mut fixture, &token, vec![user("and?")]);
    assert_eq!(input_hash(&mut fixture, &token, vec![user("hi"), assistant("hello"), user("and?")]), new);
    let own_history = |text| vec![assistant(text), user("and?")];
    let other = input_hash(&mut fixture, &token, own_history("of its own"));
    assert_ne!(other, new);
    assert_ne!(input_hash(&mut fixture, &token, own_history("another")), other);
}

#[test]
fn damaged_items_are_reported_before_an_unknown_model() {
    let mut fixture = Fixture::new(Limits::default());
    let claims = fixture.turn(first_turn("hi"), "hello").conversation.claims;
    let context = fixture.deployment.token_context();
    let damaged = token::issue(&claims, None, "not an item\n", context, &[9; 24], &mut fixture.codec).unwrap().token;
    let request = |model: Option<&str>| TurnRequest { model: model.map(str::to_owned), ..next_turn(&damaged, "and?") };
    assert_eq!(error_code(fixture.ready(request(Some("unknown")))), "token_invalid");
    assert_eq!(error_code(fixture.ready(request(None))), "token_invalid");
    assert!(fixture.open(request(None), &anonymous()).is_ok());
    assert_eq!(error_code(fixture.ready(TurnRequest { token: None, ..request(Some("unknown")) })), "model_unknown");
}
