//! Errors in the format of OpenAI's API: `{"error":{"message","type","param","code"}}`.
//!
//! SDKs choose their exception by the status, and programs read `code`. It is the code of Holdall,
//! except for a few that programs know by OpenAI's names.

use serde::Serialize;

use super::format::{ErrorResponse, PublicError};
use crate::proto::{error::Error, turn::Partial};

/// The member of a request that has the token. It decides the status and code of a token error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TokenMember {
    /// Holdall's own member. A token error keeps its code and status.
    ConversationToken,
    /// OpenAI's member. A token error is a response that was not found.
    PreviousResponseId,
}

impl TokenMember {
    fn name(self) -> &'static str {
        match self {
            Self::ConversationToken => "conversation_token",
            Self::PreviousResponseId => "previous_response_id",
        }
    }
}

/// The reason for an error.
#[derive(Serialize)]
pub(super) struct OpenAiError<'a> {
    pub(super) message: String,
    /// The class of the error. It follows from the status.
    pub(super) r#type: &'static str,
    /// The member of the request that caused the error, if a single one did.
    pub(super) param: Option<String>,
    pub(super) code: &'static str,
    /// The text of a reply that broke off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) partial: Option<PartialBody<'a>>,
    #[serde(skip)]
    pub(super) status: u16,
}

/// The text of a reply that broke off, and a token that holds it.
#[derive(Serialize)]
pub(super) struct PartialBody<'a> {
    /// The text that the client has received.
    reply: &'a str,
    /// The token, for [`TokenMember::ConversationToken`].
    #[serde(skip_serializing_if = "Option::is_none")]
    conversation_token: Option<&'a str>,
    /// The response id with the token, for [`TokenMember::PreviousResponseId`].
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
}

impl<'a> OpenAiError<'a> {
    /// Converts an error to this format, for an API whose tokens are in `member`.
    pub(super) fn new(public: &PublicError<'_>, member: TokenMember, partial: Option<&'a Partial>) -> Self {
        let (status, code) = match (public.error, member) {
            (error, TokenMember::PreviousResponseId) if is_token_error(error) => (400, "previous_response_not_found"),
            (Error::ModelUnknown { .. }, _) => (404, "model_not_found"),
            (Error::UpstreamRefused { overflow: true, .. }, _) => (400, "context_length_exceeded"),
            (error, _) => (public.status, error.code()),
        };
        let message = match public.error {
            // Programs look for these words if their SDK does not show them the code.
            error @ Error::UpstreamRefused { overflow: true, .. } => {
                format!("prompt is too long (context_length_exceeded): {error}")
            }
            // Clients that send the conversation again look for these words. They never have the
            // id.
            error if member == TokenMember::PreviousResponseId && is_token_error(error) => {
                format!("{RESPONSE_NOT_FOUND}. {error}")
            }
            error => error.to_string(),
        };
        let param = match public.error {
            error if is_token_error(error) => Some(member.name().to_owned()),
            Error::ModelUnknown { .. } => Some("model".to_owned()),
            Error::RequestInvalid { detail } | Error::Unsupported { detail } => leading_member(detail),
            _ => None,
        };
        let partial = partial.map(|Partial { reply, token }| match member {
            TokenMember::ConversationToken => PartialBody { reply, conversation_token: Some(token), id: None },
            TokenMember::PreviousResponseId => {
                PartialBody { reply, conversation_token: None, id: Some(format!("resp_{token}")) }
            }
        });
        Self { message, r#type: class(status), param, code, partial, status }
    }

    /// The body of a response, or the data of an event: one JSON object.
    pub(super) fn to_json(&self) -> String {
        serde_json::to_string(&Body { error: self }).unwrap_or_default()
    }
}

/// The words of OpenAI for a response that the server does not have, with `…` instead of the id.
/// They are the same for every cause.
const RESPONSE_NOT_FOUND: &str = "Previous response with id 'resp_…' not found";

/// The response for an error, before the reply has started.
pub(super) fn error_response(public: &PublicError<'_>, member: TokenMember) -> ErrorResponse {
    let error = OpenAiError::new(public, member, None);
    ErrorResponse { status: error.status, body: error.to_json().into_bytes() }
}

/// The body of an error response.
#[derive(Serialize)]
struct Body<'a> {
    error: &'a OpenAiError<'a>,
}

/// True if the token caused the error.
fn is_token_error(error: &Error) -> bool {
    matches!(
        error,
        Error::TokenExpired { .. }
            | Error::TokenInvalid { .. }
            | Error::TokenRevoked
            | Error::TokenTooLarge(_)
            | Error::TokenUsed { .. }
    )
}

/// OpenAI's class of errors with this status.
fn class(status: u16) -> &'static str {
    match status {
        401 => "authentication_error",
        403 => "permission_error",
        429 => "rate_limit_error",
        500.. => "server_error",
        _ => "invalid_request_error",
    }
}

/// The member at the start of an error message. Messages start with the member that caused the
/// error, in backticks.
fn leading_member(detail: &str) -> Option<String> {
    let (name, _) = detail.strip_prefix('`')?.split_once('`')?;
    Some(name.to_owned())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::{Value, json};

    use crate::proto::{
        api::openai_error::*,
        error::{Excess, TokenFault},
        time::UnixSeconds,
    };

    const MEMBERS: [TokenMember; 2] = [TokenMember::ConversationToken, TokenMember::PreviousResponseId];

    fn public(error: &Error, status: u16) -> PublicError<'_> {
        PublicError { error, status, request_id: "req_1", problem: "{}" }
    }

    fn read(error: &Error, status: u16, member: TokenMember) -> (u16, Value) {
        let ErrorResponse { status, body } = error_response(&public(error, status), member);
        (status, serde_json::from_slice::<Value>(&body).unwrap()["error"].take())
    }

    #[test]
    fn an_error_has_the_four_members_of_the_format() {
        let error = Error::invalid("`temperature` is a number from 0 to 2");
        let ErrorResponse { status, body } = error_response(&public(&error, 400), TokenMember::PreviousResponseId);
        assert_eq!(status, 400);
        assert_eq!(
            str::from_utf8(&body).unwrap(),
            "{\"error\":{\"message\":\"`temperature` is a number from 0 to 2\",\"type\":\"invalid_request_error\",\
             \"param\":\"temperature\",\"code\":\"request_invalid\"}}"
        );
    }

    #[test]
    fn a_token_error_depends_on_the_member_of_the_token() {
        let excess = Excess { actual: 2, limit: 1, unit: "bytes" };
        for (error, status) in [
            (Error::TokenExpired { expires_at: UnixSeconds(0), now: UnixSeconds(1) }, 410),
            (Error::TokenInvalid { fault: TokenFault::Tag }, 400),
            (Error::TokenRevoked, 410),
            (Error::TokenTooLarge(excess), 413),
            (Error::TokenUsed { in_progress: false }, 409),
        ] {
            let (as_response, body) = read(&error, status, TokenMember::PreviousResponseId);
            assert_eq!((as_response, &body["code"]), (400, &json!("previous_response_not_found")));
            let message = body["message"].as_str().unwrap();
            let rest = message.strip_prefix("Previous response with id 'resp_…' not found. ").unwrap();
            assert_eq!(rest, error.to_string());
            assert_eq!(
                (&body["param"], &body["type"]),
                (&json!("previous_response_id"), &json!("invalid_request_error"))
            );
            let (as_token, body) = read(&error, status, TokenMember::ConversationToken);
            assert_eq!((as_token, &body["code"]), (status, &json!(error.code())));
            assert_eq!((&body["param"], &body["message"]), (&json!("conversation_token"), &json!(error.to_string())));
        }
    }

    #[test]
    fn some_errors_have_openais_codes() {
        let overflow = Error::UpstreamRefused {
            names: String::new(),
            status: 400,
            message: Some("too long".to_owned()),
            retry_after: None,
            overflow: true,
        };
        let unknown = Error::ModelUnknown { alias: "x".to_owned(), known: vec!["default".to_owned()] };
        for member in MEMBERS {
            let (status, body) = read(&overflow, 502, member);
            assert_eq!((status, &body["code"]), (400, &json!("context_length_exceeded")));
            assert_eq!(body["type"], "invalid_request_error");
            assert!(body["message"].as_str().unwrap().starts_with("prompt is too long (context_length_exceeded): "));
            let (status, body) = read(&unknown, 400, member);
            assert_eq!((status, &body["code"], &body["param"]), (404, &json!("model_not_found"), &json!("model")));
        }
    }

    #[test]
    fn the_class_follows_from_the_status() {
        let refused = Error::UpstreamRefused {
            names: String::new(),
            status: 400,
            message: None,
            retry_after: None,
            overflow: false,
        };
        let limit = Duration::from_secs(1);
        for (error, status, class) in [
            (Error::Unauthenticated { cause: String::new() }, 401, "authentication_error"),
            (Error::UserBusy { limit: 8 }, 429, "rate_limit_error"),
            (Error::Internal { cause: String::new() }, 500, "server_error"),
            (Error::Overloaded, 503, "server_error"),
            (Error::UpstreamTimeout { phase: "the first byte", limit }, 504, "server_error"),
            (refused, 502, "server_error"),
            (Error::RoleForbidden { role: "assistant".to_owned() }, 400, "invalid_request_error"),
            (Error::NotFound { hint: "" }, 404, "invalid_request_error"),
            (Error::NotImplemented, 501, "server_error"),
        ] {
            for member in MEMBERS {
                let (read_status, body) = read(&error, status, member);
                assert_eq!((read_status, &body["type"], &body["code"]), (status, &json!(class), &json!(error.code())));
                assert_eq!(body["param"], Value::Null);
            }
        }
    }

    #[test]
    fn an_error_has_the_partial_reply() {
        let partial = Partial { reply: "So \"f".to_owned(), token: "a.b.c".to_owned() };
        let error = OpenAiError::new(&public(&Error::UpstreamCut, 502), TokenMember::ConversationToken, Some(&partial));
        let body: Value = serde_json::from_str(&error.to_json()).unwrap();
        assert_eq!(body["error"]["partial"], json!({ "reply": "So \"f", "conversation_token": "a.b.c" }));
        assert_eq!(body["error"]["code"], "upstream_cut");
        let error =
            OpenAiError::new(&public(&Error::UpstreamCut, 502), TokenMember::PreviousResponseId, Some(&partial));
        let body: Value = serde_json::from_str(&error.to_json()).unwrap();
        assert_eq!(body["error"]["partial"], json!({ "reply": "So \"f", "id": "resp_a.b.c" }));
    }

    #[test]
    fn causes_are_not_shown() {
        for error in [
            Error::Internal { cause: "SECRET".to_owned() },
            Error::Unauthenticated { cause: "SECRET".to_owned() },
            Error::malformed("SECRET"),
            Error::UpstreamUnavailable { cause: "SECRET".to_owned(), retry_after: None },
        ] {
            assert!(!read(&error, 500, TokenMember::ConversationToken).1.to_string().contains("SECRET"));
        }
    }
}
