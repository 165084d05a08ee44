//! The Responses API: `request` tests the requests, `reply` the replies.

use serde_json::{Value, json};

use super::*;
use crate::proto::turn::TurnRequest;

mod reply;
mod request;

/// A request with the required members and these members.
fn body(members: &Value) -> Value {
    let mut body = json!({ "model": "default", "input": "hi" });
    for (name, value) in members.as_object().unwrap() {
        body[name] = value.clone();
    }
    body
}

fn parse(members: &Value) -> Result<ParsedRequest, Error> {
    Responses.parse_request(&body(members).to_string(), &ApiSettings::default())
}

fn read_turn(members: &Value) -> TurnRequest {
    match parse(members) {
        Ok(parsed) => parsed.turn,
        Err(error) => panic!("{members}: {error}"),
    }
}
