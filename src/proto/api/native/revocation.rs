//! The request and the answer of `POST /v1/revocations`.
//!
//! `{"token", "scope"?, "user_id"?}` names a token, its conversation or its user by the token.
//! Every owner of a token can send it. `{"token_id"}`, `{"conversation_id"}` and `{"user_id",
//! "idp"}` name them by id, as the log and `holdall token inspect` show it. They require an
//! operator's key.

use serde::{Deserialize, Serialize};

use super::reply::to_json;
use crate::proto::{api::body, error::Error, json::present, principal::Principal, token::Id};

/// The object to revoke.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RevocationRequest {
    /// The conversation with this id.
    Conversation(Id),
    /// The object that a token represents.
    Presented {
        /// The token.
        token: String,
        /// The object: the token, its conversation or its user.
        scope: RevocationScope,
        /// The user that the request names.
        user_id: Option<String>,
    },
    /// The token with this id.
    Token(Id),
    /// All tokens of this user.
    User(Principal),
}

/// The scope of a revocation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RevocationScope {
    /// All tokens of a conversation.
    Conversation,
    /// One token.
    #[default]
    Token,
    /// All tokens that a user has received so far.
    User,
}

/// Parses the body of `POST /v1/revocations`.
///
/// # Errors
/// [`Error::RequestInvalid`].
pub fn revocation_request(body: &str) -> Result<RevocationRequest, Error> {
    let RawRevocation { token, scope, token_id, conversation_id, user_id, idp } = body::parse(body)?;
    match (token, scope, token_id, conversation_id, user_id, idp) {
        (Some(token), scope, None, None, user_id, None) => {
            Ok(RevocationRequest::Presented { token, scope: scope.unwrap_or_default(), user_id })
        }
        (None, None, Some(token_id), None, None, None) => id("token_id", &token_id).map(RevocationRequest::Token),
        (None, None, None, Some(conversation_id), None, None) => {
            id("conversation_id", &conversation_id).map(RevocationRequest::Conversation)
        }
        (None, None, None, None, Some(user_id), Some(idp)) => {
            let principal = Principal::new(user_id, idp);
            principal
                .map(RevocationRequest::User)
                .map_err(|fault| Error::invalid(format!("`user_id` or `idp` is invalid: {fault}.")))
        }
        _ => Err(Error::invalid(
            "The request must name one thing to revoke: `token` (with `scope` token, conversation or user), \
                `token_id`, `conversation_id`, or `user_id` with `idp`.",
        )),
    }
}

fn id(member: &str, text: &str) -> Result<Id, Error> {
    text.parse().map_err(|_| Error::invalid(format!("`{member}` must be a UUIDv7 in lower case with hyphens.")))
}

/// The answer, as JSON. `id` is the id of the token or of the conversation, or the name of the
/// user. `live_conversations` is the number of the user's conversations that ended, if it is known.
#[must_use]
pub fn revocation_answer(scope: RevocationScope, id: &str, live_conversations: Option<u64>) -> Vec<u8> {
    to_json(&RevocationBody { revoked: Revoked { scope, id, live_conversations } })
}

/// The members of all forms of the request, all optional.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRevocation {
    #[serde(default, deserialize_with = "present")]
    token: Option<String>,
    #[serde(default, deserialize_with = "present")]
    scope: Option<RevocationScope>,
    #[serde(default, deserialize_with = "present")]
    token_id: Option<String>,
    #[serde(default, deserialize_with = "present")]
    conversation_id: Option<String>,
    #[serde(default, deserialize_with = "present")]
    user_id: Option<String>,
    #[serde(default, deserialize_with = "present")]
    idp: Option<String>,
}

/// The answer.
#[derive(Serialize)]
struct RevocationBody<'a> {
    revoked: Revoked<'a>,
}

#[derive(Serialize)]
struct Revoked<'a> {
    scope: RevocationScope,
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    live_conversations: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "01890a5d-ac96-774b-bcce-b302099a8057";

    #[test]
    fn a_request_names_exactly_one_object() {
        let presented = |scope, user: Option<&str>| RevocationRequest::Presented {
            token: "t".to_owned(),
            scope,
            user_id: user.map(str::to_owned),
        };
        for (body, request) in [
            (r#"{"token":"t"}"#.to_owned(), presented(RevocationScope::Token, None)),
            (
                r#"{"token":"t","scope":"user","user_id":"ada"}"#.to_owned(),
                presented(RevocationScope::User, Some("ada")),
            ),
            (r#"{"token":"t","scope":"conversation"}"#.to_owned(), presented(RevocationScope::Conversation, None)),
            (format!(r#"{{"token_id":"{ID}"}}"#), RevocationRequest::Token(ID.parse().unwrap())),
            (format!(r#"{{"conversation_id":"{ID}"}}"#), RevocationRequest::Conversation(ID.parse().unwrap())),
            (
                r#"{"user_id":"ada","idp":"key"}"#.to_owned(),
                RevocationRequest::User(Principal::new("ada", "key").unwrap()),
            ),
        ] {
            assert_eq!(revocation_request(&body), Ok(request), "{body}");
        }
        for body in [
            "{}".to_owned(),
            r#"{"user_id":"ada"}"#.to_owned(),
            r#"{"idp":"none"}"#.to_owned(),
            r#"{"scope":"user"}"#.to_owned(),
            r#"{"token":"t","idp":"none"}"#.to_owned(),
            r#"{"token":"t","scope":"all"}"#.to_owned(),
            r#"{"token":"t","extra":1}"#.to_owned(),
            r#"{"user_id":"","idp":"none"}"#.to_owned(),
            r#"{"token_id":"1"}"#.to_owned(),
            format!(r#"{{"token_id":"{ID}","conversation_id":"{ID}"}}"#),
            format!(r#"{{"token_id":"{ID}","scope":"token"}}"#),
            format!(r#"{{"token_id":"{}"}}"#, ID.to_uppercase()),
            "[]".to_owned(),
        ] {
            assert_eq!(revocation_request(&body).unwrap_err().code(), "request_invalid", "{body}");
        }
    }
}
