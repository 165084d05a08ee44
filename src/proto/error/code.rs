//! The names of errors: what programs look at, and what each asks of them.
//!
//! What is said of a code here is what the API's description says of it.

/// The stable name of an error, `snake_case` where it is written; never renamed or reused once released.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Code {
    /// The body is over its limit, 4 MiB by default. Send less; images by `https:` URL.
    BodyTooLarge,
    /// What has to be asked before a turn cannot be: the shared counters, or the issuer's keys. With `retry` `after` try
    /// again; with `never` the conversation is older than the records of what was revoked: start a new one.
    GuardUnavailable,
    /// History, input and the room for a reply do not fit together. Send `truncation`, or start a new conversation.
    HistoryTooLarge,
    /// An inline image is over its limit, 1 MiB by default. Send a smaller one, or an `https:` URL.
    ImageTooLarge,
    /// The server failed; its log has the cause under the `request_id`. Try again.
    Internal,
    /// One message is over its limit, 256 KiB by default. Send less.
    MessageTooLarge,
    /// The path answers to other methods: `Allow` names them.
    MethodNotAllowed,
    /// No model has this name; the detail says which there are. The token stays good: send one of them as `model`.
    ModelUnknown,
    /// Nothing is served at this path; the detail says where to go.
    NotFound,
    /// The server has as many requests under way as it takes. Try again after the wait.
    Overloaded,
    /// The user has had as much as a period allows; `GET /v1/usage` says of what. Try again after the wait.
    QuotaExceeded,
    /// The user's turns follow each other too fast. Try again after the wait.
    RateLimited,
    /// The request is not what this path understands; the detail names the member. Change it.
    RequestInvalid,
    /// The request did not arrive in time. Send it again.
    RequestTimeout,
    /// A client spoke in a role that is not its own. Send what is new alone, as the user.
    RoleForbidden,
    /// The token's time is over. Start a new conversation; `POST /v1/history` still reads this one for a while.
    TokenExpired,
    /// The token is not one that this server accepts from this caller. Send the last token of the conversation, unchanged
    /// and as the same user, or start a new one.
    TokenInvalid,
    /// The token, its conversation or its user was revoked. Start a new conversation.
    TokenRevoked,
    /// The token is over its limit, 3 MiB by default. Start a new conversation.
    TokenTooLarge,
    /// The token is good for one turn, and that was taken. Go on with the token that came of it; with `retry` `after` that
    /// turn is still under way.
    TokenUsed,
    /// There is no credential, or it does not hold. Send one that does.
    Unauthenticated,
    /// Understood, and not offered; the detail says what is instead.
    Unsupported,
    /// The body is not uncompressed JSON. Send it so, with `Content-Type: application/json`.
    UnsupportedMediaType,
    /// The model stopped in the middle of its reply. Try again, or go on from the `partial` token if there is one.
    UpstreamCut,
    /// The model's reply is not what its format allows. Try again.
    UpstreamMalformed,
    /// The model service refused the request; the detail has its words where they may be shown. Change the request, or
    /// try again where `retry` is `after`.
    UpstreamRefused,
    /// The model kept silent too long. Try again.
    UpstreamTimeout,
    /// The model could not be reached, or failed. Try again.
    UpstreamUnavailable,
    /// This user has as many turns under way as one may have. Try again after the wait.
    UserBusy,
}

impl Code {
    /// As it is written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BodyTooLarge => "body_too_large",
            Self::GuardUnavailable => "guard_unavailable",
            Self::HistoryTooLarge => "history_too_large",
            Self::ImageTooLarge => "image_too_large",
            Self::Internal => "internal",
            Self::MessageTooLarge => "message_too_large",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::ModelUnknown => "model_unknown",
            Self::NotFound => "not_found",
            Self::Overloaded => "overloaded",
            Self::QuotaExceeded => "quota_exceeded",
            Self::RateLimited => "rate_limited",
            Self::RequestInvalid => "request_invalid",
            Self::RequestTimeout => "request_timeout",
            Self::RoleForbidden => "role_forbidden",
            Self::TokenExpired => "token_expired",
            Self::TokenInvalid => "token_invalid",
            Self::TokenRevoked => "token_revoked",
            Self::TokenTooLarge => "token_too_large",
            Self::TokenUsed => "token_used",
            Self::Unauthenticated => "unauthenticated",
            Self::Unsupported => "unsupported",
            Self::UnsupportedMediaType => "unsupported_media_type",
            Self::UpstreamCut => "upstream_cut",
            Self::UpstreamMalformed => "upstream_malformed",
            Self::UpstreamRefused => "upstream_refused",
            Self::UpstreamTimeout => "upstream_timeout",
            Self::UpstreamUnavailable => "upstream_unavailable",
            Self::UserBusy => "user_busy",
        }
    }
}

#[cfg(test)]
impl Code {
    /// All of them; the test below holds the list against the type.
    pub(crate) const ALL: [Self; 29] = [
        Self::BodyTooLarge,
        Self::GuardUnavailable,
        Self::HistoryTooLarge,
        Self::ImageTooLarge,
        Self::Internal,
        Self::MessageTooLarge,
        Self::MethodNotAllowed,
        Self::ModelUnknown,
        Self::NotFound,
        Self::Overloaded,
        Self::QuotaExceeded,
        Self::RateLimited,
        Self::RequestInvalid,
        Self::RequestTimeout,
        Self::RoleForbidden,
        Self::TokenExpired,
        Self::TokenInvalid,
        Self::TokenRevoked,
        Self::TokenTooLarge,
        Self::TokenUsed,
        Self::Unauthenticated,
        Self::Unsupported,
        Self::UnsupportedMediaType,
        Self::UpstreamCut,
        Self::UpstreamMalformed,
        Self::UpstreamRefused,
        Self::UpstreamTimeout,
        Self::UpstreamUnavailable,
        Self::UserBusy,
    ];
}
