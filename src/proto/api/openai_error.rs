//! Errors as OpenAI's API words them, for the doors that speak its formats (design §6).
//!
//! `{"error":{"message","type","param","code"}}`: SDKs choose their exception by the status, and programs look at `code`.
//! That is ours, but for the few that programs know by OpenAI's own names.

use serde::Serialize;

use super::format::{ErrorResponse, PublicError};
use crate::proto::{error::Error, turn::Partial};

/// The member of a request in which the token travels; it decides how a refused token is worded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TokenMember {
    /// Ours; a refused token keeps our code and status.
    ConversationToken,
    /// OpenAI's; a refused token is a response that cannot be found.
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

/// Why a request was refused or failed, as OpenAI's API says it.
#[derive(Serialize)]
pub(super) struct OpenAiError<'a> {
    /// What happened this time, for people.
    pub(super) message: String,
    /// The class of error, which the status tells, too.
    pub(super) r#type: &'static str,
    /// The member of the request that is at fault, where one is known.
    pub(super) param: Option<String>,
    /// What happened, for programs: ours, or one that programs know by OpenAI's name.
    pub(super) code: &'static str,
    /// What had flowed of a reply that was cut.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) partial: Option<PartialBody<'a>>,
    #[serde(skip)]
    pub(super) status: u16,
}

/// A cut reply and the token that holds it.
#[derive(Serialize)]
pub(super) struct PartialBody<'a> {
    /// The text so far.
    reply: &'a str,
    /// The token, under the name and in the form in which the door takes it back.
    #[serde(skip_serializing_if = "Option::is_none")]
    conversation_token: Option<&'a str>,
    /// The same at `/v1/responses`: what to send as `previous_response_id`.
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
}

impl<'a> OpenAiError<'a> {
    /// The error that `told` is at a door whose tokens travel in `member`.
    pub(super) fn new(told: &PublicError<'_>, member: TokenMember, partial: Option<&'a Partial>) -> Self {
        let (status, code) = match (told.error, member) {
            (error, TokenMember::PreviousResponseId) if refuses_token(error) => (400, "previous_response_not_found"),
            (Error::ModelUnknown { .. }, _) => (404, "model_not_found"),
            (Error::UpstreamRefused { overflow: true, .. }, _) => (400, "context_length_exceeded"),
            (error, _) => (told.status, error.code()),
        };
        let message = match told.error {
            // Programs look for these words where their SDK does not hand them the code.
            error @ Error::UpstreamRefused { overflow: true, .. } => {
                format!("prompt is too long (context_length_exceeded): {error}")
            }
            error => error.to_string(),
        };
        let param = match told.error {
            error if refuses_token(error) => Some(member.name().to_owned()),
            Error::ModelUnknown { .. } => Some("model".to_owned()),
            Error::RequestInvalid { detail } | Error::Unsupported { detail } => named_first(detail),
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

    /// The body of an answer, or the data of an event: one JSON object.
    pub(super) fn to_json(&self) -> String {
        serde_json::to_string(&Body { error: self }).unwrap_or_default()
    }
}

/// The answer that an error is before a reply has begun.
pub(super) fn refusal(told: &PublicError<'_>, member: TokenMember) -> ErrorResponse {
    let error = OpenAiError::new(told, member, None);
    ErrorResponse { status: error.status, body: error.to_json().into_bytes() }
}

/// An error in the shape of OpenAI's API.
#[derive(Serialize)]
pub(super) struct Body<'a> {
    error: &'a OpenAiError<'a>,
}

/// Whether what is wrong is the token.
fn refuses_token(error: &Error) -> bool {
    matches!(
        error,
        Error::TokenExpired { .. }
            | Error::TokenInvalid { .. }
            | Error::TokenRevoked
            | Error::TokenTooLarge(_)
            | Error::TokenUsed { .. }
    )
}

/// OpenAI's class for a status.
fn class(status: u16) -> &'static str {
    match status {
        401 => "authentication_error",
        403 => "permission_error",
        429 => "rate_limit_error",
        500.. => "server_error",
        _ => "invalid_request_error",
    }
}

/// The member that a detail begins with, as ours do where one member is at fault.
fn named_first(detail: &str) -> Option<String> {
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

    fn told(error: &Error, status: u16) -> PublicError<'_> {
        PublicError { error, status, request_id: "req_1", problem: "{}" }
    }

    fn read(error: &Error, status: u16, member: TokenMember) -> (u16, Value) {
        let ErrorResponse { status, body } = refusal(&told(error, status), member);
        (status, serde_json::from_slice::<Value>(&body).unwrap()["error"].take())
    }

    #[test]
    fn an_error_has_the_four_members_of_the_api() {
        let error = Error::invalid("`temperature` is a number from 0 to 2");
        let ErrorResponse { status, body } = refusal(&told(&error, 400), TokenMember::PreviousResponseId);
        assert_eq!(status, 400);
        assert_eq!(
            str::from_utf8(&body).unwrap(),
            "{\"error\":{\"message\":\"`temperature` is a number from 0 to 2\",\"type\":\"invalid_request_error\",\
             \"param\":\"temperature\",\"code\":\"request_invalid\"}}"
        );
    }

    #[test]
    fn a_refused_token_is_worded_as_its_member_asks() {
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
            assert_eq!(
                (&body["param"], &body["type"]),
                (&json!("previous_response_id"), &json!("invalid_request_error"))
            );
            let (as_token, body) = read(&error, status, TokenMember::ConversationToken);
            assert_eq!((as_token, &body["code"]), (status, &json!(error.code())));
            assert_eq!(body["param"], "conversation_token");
        }
    }

    #[test]
    fn programs_find_the_codes_that_they_know() {
        let overflow = Error::UpstreamRefused {
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
    fn the_class_follows_the_status() {
        let refused = Error::UpstreamRefused { status: 400, message: None, retry_after: None, overflow: false };
        let limit = Duration::from_secs(1);
        for (error, status, class) in [
            (Error::Unauthenticated { cause: String::new() }, 401, "authentication_error"),
            (Error::UserBusy { limit: 8 }, 429, "rate_limit_error"),
            (Error::Internal { cause: String::new() }, 500, "server_error"),
            (Error::Overloaded, 503, "server_error"),
            (Error::UpstreamTimeout { phase: "first byte", limit }, 504, "server_error"),
            (refused, 502, "server_error"),
            (Error::RoleForbidden { role: "assistant".to_owned() }, 400, "invalid_request_error"),
            (Error::NotFound { hint: "" }, 404, "invalid_request_error"),
        ] {
            for member in MEMBERS {
                let (read_status, body) = read(&error, status, member);
                assert_eq!((read_status, &body["type"], &body["code"]), (status, &json!(class), &json!(error.code())));
                assert_eq!(body["param"], Value::Null);
            }
        }
    }

    #[test]
    fn what_had_flowed_goes_with_the_error() {
        let partial = Partial { reply: "So \"f".to_owned(), token: "a.b.c".to_owned() };
        let error = OpenAiError::new(&told(&Error::UpstreamCut, 502), TokenMember::ConversationToken, Some(&partial));
        let body: Value = serde_json::from_str(&error.to_json()).unwrap();
        assert_eq!(body["error"]["partial"], json!({ "reply": "So \"f", "conversation_token": "a.b.c" }));
        assert_eq!(body["error"]["code"], "upstream_cut");
        let error = OpenAiError::new(&told(&Error::UpstreamCut, 502), TokenMember::PreviousResponseId, Some(&partial));
        let body: Value = serde_json::from_str(&error.to_json()).unwrap();
        assert_eq!(body["error"]["partial"], json!({ "reply": "So \"f", "id": "resp_a.b.c" }));
    }

    #[test]
    fn what_the_operator_alone_may_know_stays_behind() {
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
