//! Errors as Anthropic's API words them: `{"type":"error","error":{"type","message"},"request_id"}`.
//!
//! SDKs choose their exception by the status, and have the class of error from `error.type`. Our code stands beside it,
//! and once more where newer SDKs look for one, in `details.error_code`. Statuses are ours but for two that programs rely
//! on: an unknown model is 404, a prompt that is too long for it 400 with words to that effect. A server that is
//! overloaded stays 503: Anthropic's 529 is no registered status, balancers know the other, and the SDKs' exceptions for
//! both are kinds of one and are retried alike.

use serde::Serialize;

use crate::proto::{
    api::format::{ErrorResponse, PublicError},
    error::Error,
    turn::Partial,
};

/// An error in the shape of Anthropic's API.
#[derive(Serialize)]
pub(super) struct ErrorBody<'a> {
    r#type: &'static str,
    error: Detail<'a>,
    /// The id under which the server's log has the request.
    request_id: &'a str,
    #[serde(skip)]
    status: u16,
}

/// Why a request was refused or failed, as Anthropic's API says it.
#[derive(Serialize)]
struct Detail<'a> {
    r#type: &'static str,
    /// What happened this time, for people.
    message: String,
    /// What happened, for programs.
    code: &'static str,
    details: Details,
    #[serde(skip_serializing_if = "Option::is_none")]
    partial: Option<PartialBody<'a>>,
}

#[derive(Serialize)]
struct Details {
    /// The code once more.
    error_code: &'static str,
}

/// What had flowed of a reply that was cut, and the token that holds it.
#[derive(Serialize)]
struct PartialBody<'a> {
    /// The text so far.
    reply: &'a str,
    /// A token that holds it, its last item marked cut.
    conversation_token: &'a str,
}

impl<'a> ErrorBody<'a> {
    /// What `told` is in the API's words.
    pub(super) fn new(told: &PublicError<'a>, partial: Option<&'a Partial>) -> Self {
        let status = match told.error {
            Error::ModelUnknown { .. } => 404,
            Error::UpstreamRefused { overflow: true, .. } => 400,
            _ => told.status,
        };
        let code = told.error.code();
        let error = Detail {
            r#type: class(told.error, status),
            message: message(told.error),
            code,
            details: Details { error_code: code },
            partial: partial.map(|Partial { reply, token }| PartialBody { reply, conversation_token: token }),
        };
        Self { r#type: "error", error, request_id: told.request_id, status }
    }

    pub(super) fn into_refusal(self) -> ErrorResponse {
        ErrorResponse { status: self.status, body: self.to_json().into_bytes() }
    }

    /// One JSON object.
    pub(super) fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// The API's class for an error of this status.
fn class(error: &Error, status: u16) -> &'static str {
    match (error, status) {
        (Error::Overloaded | Error::PeerBusy { .. }, _) => "overloaded_error",
        (_, 401) => "authentication_error",
        (_, 403) => "permission_error",
        (_, 404) => "not_found_error",
        (_, 408 | 504) => "timeout_error",
        (_, 413) => "request_too_large",
        (_, 429) => "rate_limit_error",
        (_, 500..) => "api_error",
        _ => "invalid_request_error",
    }
}

/// Programs know a prompt that is too long by how the message begins, and may read the numbers that follow.
fn message(error: &Error) -> String {
    match error {
        Error::UpstreamRefused { overflow: true, message: Some(message), .. } if message.starts_with(TOO_LONG) => {
            message.clone()
        }
        Error::UpstreamRefused { overflow: true, .. } => format!("{TOO_LONG}: {error}"),
        error => error.to_string(),
    }
}

const TOO_LONG: &str = "prompt is too long";
