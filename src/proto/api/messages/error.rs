//! Errors in the format of Anthropic's API:
//! `{"type":"error","error":{"type","message"},"request_id"}`.
//!
//! SDKs choose their exception by the status, and read the class of the error from `error.type`.
//! Holdall adds its own code as `error.code`, and again as `error.details.error_code`, where newer
//! SDKs look for one.
//!
//! Two errors have another status here, because programs rely on it: 404 for an unknown model, and
//! 400 for a prompt that is too long for the model. That one also has the code that OpenAI's APIs
//! give it. An overloaded server stays 503. Anthropic's 529
//! is not a registered status, load balancers know 503, and the SDKs retry both alike.

use serde::Serialize;

use crate::proto::{
    api::format::{ErrorResponse, PublicError},
    error::Error,
    turn::Partial,
};

/// An error in the format of Anthropic's API.
#[derive(Serialize)]
pub(super) struct ErrorBody<'a> {
    r#type: &'static str,
    error: Detail<'a>,
    /// The id of the request in the server's log.
    request_id: &'a str,
    #[serde(skip)]
    status: u16,
}

/// The reason for the error.
#[derive(Serialize)]
struct Detail<'a> {
    r#type: &'static str,
    message: String,
    /// The code of Holdall, or `context_length_exceeded`.
    code: &'static str,
    details: Details,
    #[serde(skip_serializing_if = "Option::is_none")]
    partial: Option<PartialBody<'a>>,
}

#[derive(Serialize)]
struct Details {
    /// The same code again.
    error_code: &'static str,
}

/// The text of a reply that broke off, and a token that holds it.
#[derive(Serialize)]
struct PartialBody<'a> {
    /// The text that the client has received.
    reply: &'a str,
    /// A token that holds the text. Its last item is marked as cut.
    conversation_token: &'a str,
}

impl<'a> ErrorBody<'a> {
    /// Converts an error to this format.
    pub(super) fn new(public: &PublicError<'a>, partial: Option<&'a Partial>) -> Self {
        let status = match public.error {
            Error::ModelUnknown { .. } => 404,
            Error::UpstreamRefused { overflow: true, .. } => 400,
            _ => public.status,
        };
        let code = match public.error {
            Error::UpstreamRefused { overflow: true, .. } => "context_length_exceeded",
            error => error.code(),
        };
        let error = Detail {
            r#type: class(public.error, status),
            message: message(public.error),
            code,
            details: Details { error_code: code },
            partial: partial.map(|Partial { reply, token }| PartialBody { reply, conversation_token: token }),
        };
        Self { r#type: "error", error, request_id: public.request_id, status }
    }

    /// The error as the response to a request.
    pub(super) fn into_response(self) -> ErrorResponse {
        ErrorResponse { status: self.status, body: self.to_json().into_bytes() }
    }

    /// The error as a JSON object.
    pub(super) fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// The class of an error with this status.
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

/// The message. Programs recognize a prompt that is too long by the start of the message, and some
/// read the numbers that follow.
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
