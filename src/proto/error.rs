//! The errors of the protocol: one variant for each answer that a caller can act on.
//!
//! `message.rs` has the messages for callers (`Display`), and `code.rs` has the table of codes.
//! Some facts are for the operator only, such as the reason why a token or a credential was
//! refused. They are in [`Error::cause`], never in the message.

mod code;
mod message;
mod token_fault;

use std::{fmt, time::Duration};

use super::{allowance::Exhausted, time::UnixSeconds};

pub use self::{
    code::{Code, Retry},
    token_fault::TokenFault,
};

/// An error that ends a request.
///
/// `Display` is safe to show to the caller. It says in whole sentences what happened and what to do
/// next, with the value and the limit. [`Error::cause`] is for the operator's log.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// A client brought items of the model to the conversation of the token, and the selected model
    /// does not accept such items. Only its owner gets this answer. Code `role_forbidden`.
    AssertedHistoryForbidden,
    /// The request body is over its limit. Code `body_too_large`.
    BodyTooLarge {
        /// The limit, `limits.body_bytes`.
        limit_bytes: usize,
    },
    /// The request has items of the model that the token does not have. Code `role_forbidden`.
    ClientHistoryForbidden,
    /// The request has a system prompt, and the operator has set one for the model. Code
    /// `role_forbidden`.
    ClientSystemForbidden,
    /// The limits store did not answer, or the conversation is older than its revocation records.
    /// Code `guard_unavailable`.
    GuardUnavailable {
        /// The failure, for the operator.
        cause: String,
        /// True if the same request can succeed later. False if the conversation is older than the
        /// revocation records: that does not change.
        retryable: bool,
    },
    /// The history, the input and the room reserved for the reply exceed a limit together. Code
    /// `history_too_large`.
    HistoryTooLarge(Excess),
    /// A decoded inline image is over its limit. Code `image_too_large`.
    ImageTooLarge(Excess),
    /// A defect or an exhausted resource of the server. Code `internal`.
    Internal {
        /// The failure, for the operator.
        cause: String,
    },
    /// The identity issuer's keys are not available, so that a credential cannot be checked. Code
    /// `guard_unavailable`.
    IssuerUnavailable {
        /// The failure, for the operator.
        cause: String,
    },
    /// One message or tool result of the input is over its limit. Code `message_too_large`.
    MessageTooLarge(Excess),
    /// The path exists, but does not support the method. Code `method_not_allowed`.
    MethodNotAllowed {
        /// The supported methods, as the `Allow` header lists them.
        allow: &'static str,
    },
    /// No configured model has this alias. Code `model_unknown`.
    ModelUnknown {
        /// The alias in the request or in the token; at most 64 characters of it.
        alias: String,
        /// The aliases of all models.
        known: Vec<String>,
    },
    /// The server has nothing at this path. Code `not_found`.
    NotFound {
        /// The next step for the caller: whole sentences.
        hint: &'static str,
    },
    /// The body has a transfer coding that the server does not know. Code `not_implemented`.
    NotImplemented,
    /// The server is at its limit of concurrent requests, or the queue of an upstream is full. Code
    /// `overloaded`.
    Overloaded,
    /// One client address is at its limit of concurrent requests. Code `overloaded`, because it
    /// clears in the same way.
    PeerBusy {
        /// The limit, `limits.requests_per_peer`.
        limit: usize,
    },
    /// The user has used up a quota of the current period. Code `quota_exceeded`.
    QuotaExceeded(Box<Exhausted>),
    /// The user sends requests too fast. Code `rate_limited`.
    RateLimited(Box<Exhausted>),
    /// The request does not have the form that the API expects. Code `request_invalid`.
    RequestInvalid {
        /// The fault, its place, and the allowed values: whole sentences that are safe to show. The
        /// text starts with the member's name in backticks if one member is at fault.
        detail: String,
    },
    /// The request body did not arrive in time. Code `request_timeout`.
    RequestTimeout {
        /// The limit, `timeouts.body`.
        limit: Duration,
    },
    /// A message has a role that the client cannot use. Code `role_forbidden`.
    RoleForbidden {
        /// The role in the request.
        role: String,
    },
    /// The token is past its expiry, leeway included. Only its owner gets this answer. Code
    /// `token_expired`.
    TokenExpired {
        /// The expiry of the token.
        expires_at: UnixSeconds,
        /// The time of the check.
        now: UnixSeconds,
    },
    /// Unknown key, wrong tag, broken layout or another caller's token. The caller does not learn
    /// which. Code `token_invalid`.
    TokenInvalid {
        /// The check that failed, for the operator.
        fault: TokenFault,
    },
    /// The token, its conversation or its user was revoked. Only its owner gets this answer. Code
    /// `token_revoked`.
    TokenRevoked,
    /// The text of the token is over its limit. Code `token_too_large`.
    TokenTooLarge(Excess),
    /// The token is valid for one turn, and a turn has used it. Only its owner gets this answer.
    /// Code `token_used`.
    TokenUsed {
        /// True if that turn is still in progress, with the same request. If it fails, this request
        /// can use the token.
        in_progress: bool,
    },
    /// The credential is missing or not valid. Code `unauthenticated`.
    Unauthenticated {
        /// The check that failed, for the operator.
        cause: String,
    },
    /// The server recognizes what the request asks for, and does not support it. Code
    /// `unsupported`.
    Unsupported {
        /// The unsupported thing and the alternative: whole sentences. The text starts with the
        /// member's name in backticks if one member is at fault.
        detail: String,
    },
    /// The body is not uncompressed JSON. Code `unsupported_media_type`.
    UnsupportedMediaType {
        /// The fault and the correct form: whole sentences.
        detail: String,
    },
    /// The sender is not a trusted proxy, or it names no user. Code `unauthenticated`.
    UntrustedProxy {
        /// The check that failed, for the operator.
        cause: String,
    },
    /// The operator's account at the upstream is at fault: its key, permissions, credit, region or
    /// models. The caller does not learn it. Code `upstream_unavailable`.
    UpstreamAccount {
        /// The failure, for the operator.
        cause: String,
    },
    /// The upstream stopped before the end of its reply. Code `upstream_cut`.
    UpstreamCut,
    /// The upstream's reply is not valid in the format of its provider. Code `upstream_malformed`.
    UpstreamMalformed {
        /// The fault in the reply, for the operator.
        cause: String,
        /// True if the model has generated the reply, so that another call would be paid for again.
        paid: bool,
    },
    /// The model's output cannot be used, for example a tool call that its service cannot read. The
    /// service itself works. Code `upstream_unavailable`.
    UpstreamOutput {
        /// The failure, for the operator.
        cause: String,
    },
    /// The upstream refused the request, or a rate limit did. Code `upstream_refused`.
    UpstreamRefused {
        /// The upstream's status.
        status: u16,
        /// The names in the error, for the operator, if nothing says whose fault it is.
        names: String,
        /// The upstream's message in one line. The exchange cuts the operator's secrets out. Absent
        /// for a rate limit, which is that of the operator.
        message: Option<String>,
        /// The wait before a retry. Present for refusals that clear with time.
        retry_after: Option<Duration>,
        /// True if the conversation is longer than the model's context window.
        overflow: bool,
    },
    /// The upstream was silent for too long. Code `upstream_timeout`.
    UpstreamTimeout {
        /// The part of the reply that did not arrive, with its article: `the first byte`.
        phase: &'static str,
        /// The timeout.
        limit: Duration,
    },
    /// The upstream could not be reached, failed or is overloaded. Code `upstream_unavailable`.
    UpstreamUnavailable {
        /// The failure, for the operator.
        cause: String,
        /// The wait that the upstream asked for.
        retry_after: Option<Duration>,
    },
    /// The user is at its limit of concurrent turns. Code `user_busy`.
    UserBusy {
        /// The limit, `limits.turns_per_user`.
        limit: usize,
    },
    /// The request asks for a WebSocket. Code `websocket_unsupported`.
    WebsocketUnsupported,
}

impl Error {
    /// The name of the code on the wire, `snake_case`.
    #[must_use]
    pub fn code(&self) -> &'static str {
        self.kind().as_str()
    }

    /// The code.
    #[must_use]
    pub fn kind(&self) -> Code {
        match self {
            Self::BodyTooLarge { .. } => Code::BodyTooLarge,
            Self::GuardUnavailable { .. } | Self::IssuerUnavailable { .. } => Code::GuardUnavailable,
            Self::HistoryTooLarge(_) => Code::HistoryTooLarge,
            Self::ImageTooLarge(_) => Code::ImageTooLarge,
            Self::Internal { .. } => Code::Internal,
            Self::MessageTooLarge(_) => Code::MessageTooLarge,
            Self::MethodNotAllowed { .. } => Code::MethodNotAllowed,
            Self::ModelUnknown { .. } => Code::ModelUnknown,
            Self::NotFound { .. } => Code::NotFound,
            Self::NotImplemented => Code::NotImplemented,
            Self::Overloaded | Self::PeerBusy { .. } => Code::Overloaded,
            Self::QuotaExceeded(_) => Code::QuotaExceeded,
            Self::RateLimited(_) => Code::RateLimited,
            Self::RequestInvalid { .. } => Code::RequestInvalid,
            Self::RequestTimeout { .. } => Code::RequestTimeout,
            Self::AssertedHistoryForbidden
            | Self::ClientHistoryForbidden
            | Self::ClientSystemForbidden
            | Self::RoleForbidden { .. } => Code::RoleForbidden,
            Self::TokenExpired { .. } => Code::TokenExpired,
            Self::TokenInvalid { .. } => Code::TokenInvalid,
            Self::TokenRevoked => Code::TokenRevoked,
            Self::TokenTooLarge(_) => Code::TokenTooLarge,
            Self::TokenUsed { .. } => Code::TokenUsed,
            Self::Unauthenticated { .. } | Self::UntrustedProxy { .. } => Code::Unauthenticated,
            Self::Unsupported { .. } => Code::Unsupported,
            Self::UnsupportedMediaType { .. } => Code::UnsupportedMediaType,
            Self::UpstreamAccount { .. } | Self::UpstreamOutput { .. } | Self::UpstreamUnavailable { .. } => {
                Code::UpstreamUnavailable
            }
            Self::UpstreamCut => Code::UpstreamCut,
            Self::UpstreamMalformed { .. } => Code::UpstreamMalformed,
            Self::UpstreamRefused { .. } => Code::UpstreamRefused,
            Self::UpstreamTimeout { .. } => Code::UpstreamTimeout,
            Self::UserBusy { .. } => Code::UserBusy,
            Self::WebsocketUnsupported => Code::WebsocketUnsupported,
        }
    }

    /// The retry advice for the same request. The token that it sent stays valid in every case,
    /// except for a single-use token whose turn has sent a part of its reply.
    #[must_use]
    pub fn retry(&self) -> Retry {
        match self {
            Self::GuardUnavailable { retryable: false, .. }
            | Self::UpstreamAccount { .. }
            | Self::UpstreamMalformed { paid: true, .. } => Retry::Never,
            Self::QuotaExceeded(exhausted) | Self::RateLimited(exhausted) => {
                Retry::After(Duration::from_secs(exhausted.retry_after_seconds))
            }
            Self::TokenUsed { in_progress: true } => Retry::After(Duration::from_secs(1)),
            Self::UpstreamRefused { retry_after: Some(wait), .. }
            | Self::UpstreamUnavailable { retry_after: Some(wait), .. } => Retry::After(*wait),
            _ => self.kind().retry(),
        }
    }

    /// The facts that only the operator may read; absent if the message has them all.
    #[must_use]
    pub fn cause(&self) -> Option<String> {
        match self {
            Self::AssertedHistoryForbidden => Some(ASSERTED_HISTORY.to_owned()),
            Self::ClientHistoryForbidden => Some(CLIENT_HISTORY.to_owned()),
            Self::ClientSystemForbidden => Some(CLIENT_SYSTEM.to_owned()),
            Self::GuardUnavailable { cause, .. }
            | Self::Internal { cause }
            | Self::IssuerUnavailable { cause }
            | Self::Unauthenticated { cause }
            | Self::UntrustedProxy { cause }
            | Self::UpstreamAccount { cause }
            | Self::UpstreamMalformed { cause, .. }
            | Self::UpstreamOutput { cause }
            | Self::UpstreamUnavailable { cause, .. } => Some(cause.clone()),
            Self::PeerBusy { limit } => Some(format!("one address has {limit} concurrent requests")),
            Self::TokenInvalid { fault } => Some(fault.to_string()),
            Self::UpstreamRefused { status, names, .. } => {
                Some(format!("status {status} {names}").trim_end().to_owned())
            }
            _ => None,
        }
    }

    pub(crate) fn invalid(detail: impl Into<String>) -> Self {
        Self::RequestInvalid { detail: detail.into() }
    }

    pub(crate) fn internal(cause: impl Into<String>) -> Self {
        Self::Internal { cause: cause.into() }
    }

    pub(crate) fn malformed(cause: impl Into<String>) -> Self {
        Self::UpstreamMalformed { cause: cause.into(), paid: false }
    }

    /// The same error about a reply that the model has generated.
    pub(crate) fn about_paid_reply(self) -> Self {
        match self {
            Self::UpstreamMalformed { cause, .. } => Self::UpstreamMalformed { cause, paid: true },
            error => error,
        }
    }
}

impl std::error::Error for Error {}

const ASSERTED_HISTORY: &str =
    "the token has the claim `asserted`; the alias accepts it with `client_history = \"accept\"`";
const CLIENT_HISTORY: &str = "the client sent turns of the model without a token for them; the alias accepts them with \
    `client_history = \"accept\"`";
const CLIENT_SYSTEM: &str =
    "the alias has a system prompt, and the client sent one; the alias takes both with `client_system = \"append\"`";

/// A size that is over its limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Excess {
    /// The size.
    pub actual: usize,
    /// The limit.
    pub limit: usize,
    /// The unit, plural: `bytes`, `items`.
    pub unit: &'static str,
}

impl Excess {
    /// The excess of `actual` over `limit` bytes; `None` if it fits.
    pub(crate) fn bytes(actual: usize, limit: usize) -> Option<Self> {
        (actual > limit).then_some(Self { actual, limit, unit: "bytes" })
    }

    /// The excess of `actual` over `limit` items; `None` if it fits.
    pub(crate) fn items(actual: usize, limit: usize) -> Option<Self> {
        (actual > limit).then_some(Self { actual, limit, unit: "items" })
    }
}

impl fmt::Display for Excess {
    /// As `5 bytes; the limit is 4`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}; the limit is {}", self.actual, self.unit, self.limit)
    }
}

impl From<TokenFault> for Error {
    fn from(fault: TokenFault) -> Self {
        Self::TokenInvalid { fault }
    }
}
