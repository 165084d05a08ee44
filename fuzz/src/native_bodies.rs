//! Bodies of `POST /v1/history` and `POST /v1/revocations`: accepted members are those of the body,
//! and no others are accepted.

use holdall::proto::{
    api::native::{RevocationRequest, RevocationScope, history_request, revocation_request},
    error::Error,
};
use serde_json::{Map, Value};

/// Takes any text.
pub fn check(input: &[u8]) {
    let Ok(body) = std::str::from_utf8(input) else { return };
    let members = serde_json::from_str::<Value>(body).ok();
    let members = members.as_ref().and_then(Value::as_object);
    match history_request(body) {
        Ok((token, user_id)) => {
            let members = members.expect("an object");
            assert_eq!(Some(token.as_str()), text(members, "token"));
            assert_eq!(user_id.as_deref(), text(members, "user_id"));
            assert_known(members, &["token", "user_id"]);
        }
        Err(error) => assert_explained(&error),
    }
    match revocation_request(body) {
        Ok(request) => check_revocation(&request, members.expect("an object")),
        Err(error) => assert_explained(&error),
    }
}

/// A request names one thing, and has no member that it does not need.
fn check_revocation(request: &RevocationRequest, members: &Map<String, Value>) {
    match request {
        RevocationRequest::Conversation(id) => {
            assert_eq!(Some(id.to_string().as_str()), text(members, "conversation_id"));
            assert_known(members, &["conversation_id"]);
        }
        RevocationRequest::Token(id) => {
            assert_eq!(Some(id.to_string().as_str()), text(members, "token_id"));
            assert_known(members, &["token_id"]);
        }
        RevocationRequest::User(principal) => {
            assert_eq!(Some(principal.subject()), text(members, "user_id"));
            assert_eq!(Some(principal.idp()), text(members, "idp"));
            assert_known(members, &["user_id", "idp"]);
        }
        RevocationRequest::Presented { token, scope, user_id } => {
            assert_eq!(Some(token.as_str()), text(members, "token"));
            assert_eq!(user_id.as_deref(), text(members, "user_id"));
            let scope = match scope {
                RevocationScope::Conversation => "conversation",
                RevocationScope::Token => "token",
                RevocationScope::User => "user",
            };
            assert_eq!(scope, text(members, "scope").unwrap_or("token"));
            assert_known(members, &["token", "scope", "user_id"]);
        }
    }
}

fn text<'a>(members: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    members.get(name).and_then(Value::as_str)
}

fn assert_known(members: &Map<String, Value>, names: &[&str]) {
    assert!(members.keys().all(|name| names.contains(&name.as_str())), "{members:?}");
}

fn assert_explained(error: &Error) {
    assert_eq!(error.code(), "request_invalid");
    let message = error.to_string();
    assert!(!message.is_empty() && message.chars().count() < 600 && !message.contains(char::is_control), "{message:?}");
}
