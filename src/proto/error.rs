//! What the protocol can refuse, one variant for each answer that a caller can act on.
//!
//! A variant's public message says what was expected and what was found. What only the operator may learn (why a token
//! did not verify, why a credential was refused) travels beside it and comes out of [`Error::cause`] alone.

mod code;

use std::{fmt, time::Duration};

use super::{
    allowance::{Allowance, Exhausted},
    time::UnixSeconds,
};

pub use self::code::Code;

/// Everything that can end a turn other than well.
///
/// `Display` is safe to show to the caller: lower case, no full stop, fact, then value and bound. [`Error::cause`] is
/// for the operator's log.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// The request body is over its limit. Code `body_too_large`.
    BodyTooLarge {
        /// The limit that was passed.
        limit_bytes: usize,
    },
    /// What has to be asked before a turn (the shared counters, the issuer's keys) cannot be. Code `guard_unavailable`.
    GuardUnavailable {
        /// What happened, for the operator.
        cause: String,
        /// Whether waiting helps; it does not where a conversation is older than the records of what was revoked.
        retryable: bool,
    },
    /// History, input and the room for a reply do not fit together. Code `history_too_large`.
    HistoryTooLarge(Excess),
    /// An inline image is over its limit. Code `image_too_large`.
    ImageTooLarge(Excess),
    /// A defect or an exhausted resource on our side. Code `internal`.
    Internal {
        /// What went wrong, for the operator.
        cause: String,
    },
    /// One message of the input is over its limit. Code `message_too_large`.
    MessageTooLarge(Excess),
    /// The path exists, the method does not. Code `method_not_allowed`.
    MethodNotAllowed {
        /// The methods that the path answers to, as the `Allow` header lists them.
        allow: &'static str,
    },
    /// No configured alias has this name. Code `model_unknown`.
    ModelUnknown {
        /// The alias that was asked for.
        alias: String,
        /// The aliases that there are.
        known: Vec<String>,
    },
    /// No door has this path. Code `not_found`.
    NotFound {
        /// What to try instead.
        hint: &'static str,
    },
    /// More requests at once than the server takes. Code `overloaded`.
    Overloaded,
    /// More requests at once than the server takes from one address. Code `overloaded`: it passes as that does.
    PeerBusy {
        /// The bound.
        limit: usize,
    },
    /// The user has had as much as a period allows. Code `quota_exceeded`.
    QuotaExceeded(Box<Exhausted>),
    /// The user's turns follow each other too fast. Code `rate_limited`.
    RateLimited(Box<Exhausted>),
    /// The request is not what the door understands. Code `request_invalid`.
    RequestInvalid {
        /// What is wrong and where, safe to show.
        detail: String,
    },
    /// The request did not arrive in time. Code `request_timeout`.
    RequestTimeout {
        /// How long was waited.
        limit: Duration,
    },
    /// A client spoke in a role that is not its own. Code `role_forbidden`.
    RoleForbidden {
        /// The role that was claimed.
        role: String,
    },
    /// The token is past its expiry, leeway included. Only its owner is told. Code `token_expired`.
    TokenExpired {
        /// The moment it stopped being good.
        expires_at: UnixSeconds,
        /// The moment it was checked.
        now: UnixSeconds,
    },
    /// Unknown key, wrong tag, broken layout, another's token: callers are not told which. Code `token_invalid`.
    TokenInvalid {
        /// Which check failed, for the operator.
        fault: TokenFault,
    },
    /// The token, its conversation or its user was revoked. Only its owner is told. Code `token_revoked`.
    TokenRevoked,
    /// The token's text is over its limit. Code `token_too_large`.
    TokenTooLarge(Excess),
    /// The token is good for one turn, and that was taken. Only its owner is told. Code `token_used`.
    TokenUsed {
        /// Whether that turn is still under way with the same input: if it fails, this one may be taken.
        in_progress: bool,
    },
    /// No credential, or one that does not hold. Code `unauthenticated`.
    Unauthenticated {
        /// Which check failed, for the operator.
        cause: String,
    },
    /// Understood, and not offered. Code `unsupported`.
    Unsupported {
        /// What is not offered and what to use instead.
        detail: String,
    },
    /// The body is not uncompressed JSON. Code `unsupported_media_type`.
    UnsupportedMediaType {
        /// What is not taken.
        detail: String,
    },
    /// The sender is not the proxy that names users here, or does not name one. Code `unauthenticated`.
    UntrustedProxy {
        /// Which check failed, for the operator.
        cause: String,
    },
    /// The upstream stopped in the middle of its reply. Code `upstream_cut`.
    UpstreamCut,
    /// The upstream's reply is not what its dialect allows. Code `upstream_malformed`.
    UpstreamMalformed {
        /// What was found, for the operator.
        cause: String,
    },
    /// The upstream answered 4xx. Code `upstream_refused`.
    UpstreamRefused {
        /// The upstream's status.
        status: u16,
        /// What it said, made safe to show; absent where it may speak of the operator's own credentials.
        message: Option<String>,
        /// How long it asked to wait; present for refusals that pass with time.
        retry_after: Option<Duration>,
        /// Whether the conversation is longer than the model can take in.
        overflow: bool,
    },
    /// The upstream kept silent too long. Code `upstream_timeout`.
    UpstreamTimeout {
        /// What was waited for.
        phase: &'static str,
        /// How long.
        limit: Duration,
    },
    /// The upstream could not be reached or answered 5xx. Code `upstream_unavailable`.
    UpstreamUnavailable {
        /// What happened, for the operator.
        cause: String,
        /// How long it asked to wait.
        retry_after: Option<Duration>,
    },
    /// This user has as many turns under way as one may have. Code `user_busy`.
    UserBusy {
        /// The bound.
        limit: usize,
    },
}

impl Error {
    /// The stable machine-readable name, `snake_case`; never renamed or reused once released.
    #[must_use]
    pub fn code(&self) -> &'static str {
        self.kind().as_str()
    }

    /// Which of the codes it has.
    #[must_use]
    pub fn kind(&self) -> Code {
        match self {
            Self::BodyTooLarge { .. } => Code::BodyTooLarge,
            Self::GuardUnavailable { .. } => Code::GuardUnavailable,
            Self::HistoryTooLarge(_) => Code::HistoryTooLarge,
            Self::ImageTooLarge(_) => Code::ImageTooLarge,
            Self::Internal { .. } => Code::Internal,
            Self::MessageTooLarge(_) => Code::MessageTooLarge,
            Self::MethodNotAllowed { .. } => Code::MethodNotAllowed,
            Self::ModelUnknown { .. } => Code::ModelUnknown,
            Self::NotFound { .. } => Code::NotFound,
            Self::Overloaded | Self::PeerBusy { .. } => Code::Overloaded,
            Self::QuotaExceeded(_) => Code::QuotaExceeded,
            Self::RateLimited(_) => Code::RateLimited,
            Self::RequestInvalid { .. } => Code::RequestInvalid,
            Self::RequestTimeout { .. } => Code::RequestTimeout,
            Self::RoleForbidden { .. } => Code::RoleForbidden,
            Self::TokenExpired { .. } => Code::TokenExpired,
            Self::TokenInvalid { .. } => Code::TokenInvalid,
            Self::TokenRevoked => Code::TokenRevoked,
            Self::TokenTooLarge(_) => Code::TokenTooLarge,
            Self::TokenUsed { .. } => Code::TokenUsed,
            Self::Unauthenticated { .. } | Self::UntrustedProxy { .. } => Code::Unauthenticated,
            Self::Unsupported { .. } => Code::Unsupported,
            Self::UnsupportedMediaType { .. } => Code::UnsupportedMediaType,
            Self::UpstreamCut => Code::UpstreamCut,
            Self::UpstreamMalformed { .. } => Code::UpstreamMalformed,
            Self::UpstreamRefused { .. } => Code::UpstreamRefused,
            Self::UpstreamTimeout { .. } => Code::UpstreamTimeout,
            Self::UpstreamUnavailable { .. } => Code::UpstreamUnavailable,
            Self::UserBusy { .. } => Code::UserBusy,
        }
    }

    /// Whether the same request may be sent again; the old token is good in every case.
    #[must_use]
    pub fn retry(&self) -> Retry {
        match self {
            Self::UpstreamRefused { retry_after: Some(wait), .. }
            | Self::UpstreamUnavailable { retry_after: Some(wait), .. } => Retry::After(*wait),
            Self::QuotaExceeded(exhausted) | Self::RateLimited(exhausted) => {
                Retry::After(Duration::from_secs(exhausted.retry_after_seconds))
            }
            Self::GuardUnavailable { retryable: true, .. }
            | Self::Overloaded
            | Self::PeerBusy { .. }
            | Self::TokenUsed { in_progress: true }
            | Self::UserBusy { .. } => Retry::After(Duration::from_secs(1)),
            Self::Internal { .. }
            | Self::RequestTimeout { .. }
            | Self::UpstreamCut
            | Self::UpstreamMalformed { .. }
            | Self::UpstreamTimeout { .. }
            | Self::UpstreamUnavailable { .. } => Retry::Safe,
            _ => Retry::Never,
        }
    }

    /// What only the operator may read; absent where the public message says all.
    #[must_use]
    pub fn cause(&self) -> Option<String> {
        match self {
            Self::GuardUnavailable { cause, .. }
            | Self::Internal { cause }
            | Self::Unauthenticated { cause }
            | Self::UntrustedProxy { cause }
            | Self::UpstreamMalformed { cause }
            | Self::UpstreamUnavailable { cause, .. } => Some(cause.clone()),
            Self::PeerBusy { limit } => Some(format!("one address has {limit} requests under way")),
            Self::TokenInvalid { fault } => Some(fault.to_string()),
            Self::UpstreamRefused { status, .. } => Some(format!("status {status}")),
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
        Self::UpstreamMalformed { cause: cause.into() }
    }
}

impl std::error::Error for Error {}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BodyTooLarge { limit_bytes } => write!(f, "request body is over the limit of {limit_bytes} bytes"),
            Self::GuardUnavailable { retryable: false, .. } => {
                f.write_str("this conversation began before the server's records of revoked tokens; start a new one")
            }
            Self::GuardUnavailable { .. } => {
                f.write_str("a service that has to be asked before a turn is out of reach; nothing was spent")
            }
            Self::HistoryTooLarge(excess) => write!(f, "conversation with this turn is {excess}"),
            Self::ImageTooLarge(excess) => write!(f, "inline image is {excess}"),
            Self::Internal { .. } => f.write_str("the server failed; the operator's log has the cause"),
            Self::MessageTooLarge(excess) => write!(f, "message is {excess}"),
            Self::MethodNotAllowed { allow } => write!(f, "this path answers to {allow} only"),
            Self::ModelUnknown { alias, known } => {
                write!(f, "no model is called `{alias}`; there is {}", known.join(", "))
            }
            Self::NotFound { hint } => write!(f, "nothing is served at this path; {hint}"),
            Self::Overloaded => f.write_str("the server has as many requests under way as it takes"),
            Self::PeerBusy { limit } => {
                write!(f, "{limit} requests from this address are under way, the most allowed")
            }
            Self::QuotaExceeded(exhausted) => {
                let Allowance { name, limit, period_seconds, .. } = exhausted.limit;
                write!(f, "this user has had the {limit} {} that {period_seconds} s allow", name.replace('_', " "))
            }
            Self::RateLimited(exhausted) => {
                let Allowance { limit, period_seconds, .. } = exhausted.limit;
                write!(f, "this user's turns follow each other too fast: {limit} in {period_seconds} s are allowed")
            }
            Self::RequestInvalid { detail } | Self::Unsupported { detail } | Self::UnsupportedMediaType { detail } => {
                f.write_str(detail)
            }
            Self::RequestTimeout { limit } => {
                write!(f, "the request did not arrive whole within {} s", limit.as_secs())
            }
            Self::RoleForbidden { role } if role == "system" => {
                f.write_str("role `system` is not the client's here: this model has a system prompt of its own")
            }
            Self::RoleForbidden { role } => {
                write!(
                    f,
                    "clients speak as user and return tool results; role `{role}` is not theirs: send what is new with the \
                     conversation's token or response id, and not what the model said"
                )
            }
            Self::TokenExpired { expires_at, .. } => {
                write!(f, "the token expired at {expires_at}; start a new conversation")
            }
            Self::TokenInvalid { .. } => f.write_str(
                "the token is not one that this server accepts from this caller; send the conversation's last one, unchanged and \
                 as the same user, or start a new conversation",
            ),
            Self::TokenRevoked => f.write_str("the token was revoked; start a new conversation"),
            Self::TokenTooLarge(excess) => write!(f, "token is {excess}"),
            Self::TokenUsed { in_progress: true } => f.write_str("a turn with this token and this input is under way"),
            Self::TokenUsed { in_progress: false } => {
                f.write_str("the token was used, and is good for one turn; go on with the one that came of it")
            }
            Self::Unauthenticated { .. } => f.write_str("a valid credential is needed, as `Authorization: Bearer …`"),
            Self::UntrustedProxy { .. } => f.write_str("this server takes callers from its proxy alone"),
            Self::UpstreamCut => f.write_str("the model service stopped in the middle of its reply"),
            Self::UpstreamMalformed { .. } => {
                f.write_str("the model service sent something that is not a reply in its own format")
            }
            Self::UpstreamRefused { status, message, .. } => {
                write!(f, "the model service refused the request with status {status}")?;
                message.as_ref().map_or(Ok(()), |message| write!(f, ": {message}"))
            }
            Self::UpstreamTimeout { phase, limit } => {
                write!(f, "the model service sent no {phase} within {} s", limit.as_secs())
            }
            Self::UpstreamUnavailable { .. } => f.write_str("the model service is out of reach or failing"),
            Self::UserBusy { limit } => write!(f, "this user has {limit} turns under way, the most allowed"),
        }
    }
}

/// A size and the bound that it passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Excess {
    /// What was found.
    pub actual: usize,
    /// What is allowed.
    pub limit: usize,
    /// What is counted, plural: `bytes`, `items`.
    pub unit: &'static str,
}

impl Excess {
    /// The excess of `actual` over `limit` bytes; `None` while it fits.
    pub(crate) fn bytes(actual: usize, limit: usize) -> Option<Self> {
        (actual > limit).then_some(Self { actual, limit, unit: "bytes" })
    }

    /// The excess of `actual` over `limit` items; `None` while it fits.
    pub(crate) fn items(actual: usize, limit: usize) -> Option<Self> {
        (actual > limit).then_some(Self { actual, limit, unit: "items" })
    }
}

impl fmt::Display for Excess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}, limit {}", self.actual, self.unit, self.limit)
    }
}

/// Whether and when the same request may be sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// At once, as it stands.
    Safe,
    /// As it stands, after this long.
    After(Duration),
    /// Not without a change.
    Never,
}

/// The check at which a token failed, in the order of the checks; for the operator's log alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TokenFault {
    /// A byte outside `[A-Za-z0-9._-]`.
    Charset,
    /// Not exactly two dots.
    Layout,
    /// The header is not one that a key of the ring would write.
    Header,
    /// The tag does not match.
    Tag,
    /// The payload is not canonical base64url.
    Payload,
    /// The sealed payload does not decrypt.
    Seal,
    /// The padding is not the one that the length asks for.
    Padding,
    /// The frames break a rule.
    Frames(&'static str),
    /// The lines break a rule.
    Lines(&'static str),
    /// The claims do not parse.
    Claims,
    /// Another deployment's token.
    Issuer,
    /// Another caller's token.
    Subject,
    /// The times contradict each other, or lie ahead.
    Times,
    /// An item does not parse.
    Items,
}

impl fmt::Display for TokenFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Charset => f.write_str("charset: a byte outside [A-Za-z0-9._-]"),
            Self::Layout => f.write_str("layout: not exactly two dots"),
            Self::Header => f.write_str("header: not one that a key of the ring would write"),
            Self::Tag => f.write_str("tag: does not match"),
            Self::Payload => f.write_str("payload: not canonical base64url"),
            Self::Seal => f.write_str("seal: does not decrypt"),
            Self::Padding => f.write_str("padding: not what the length asks for"),
            Self::Frames(rule) => write!(f, "frames: {rule}"),
            Self::Lines(rule) => write!(f, "lines: {rule}"),
            Self::Claims => f.write_str("claims: do not parse"),
            Self::Issuer => f.write_str("issuer: another deployment's token"),
            Self::Subject => f.write_str("subject: another caller's token"),
            Self::Times => f.write_str("times: contradict each other or lie ahead"),
            Self::Items => f.write_str("items: one does not parse"),
        }
    }
}

impl From<TokenFault> for Error {
    fn from(fault: TokenFault) -> Self {
        Self::TokenInvalid { fault }
    }
}
