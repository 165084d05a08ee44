//! The table of error codes: one row for each code.
//!
//! A row has the name and the status on the wire, the title, the retry advice, the cause and the
//! remedy. The descriptions in docs/openapi.json and the sections of docs/errors.md are generated
//! from it.
//!
//! To add a code:
//!
//! 1. Add a row here, in alphabetical order.
//! 2. Add the variant of [`Error`](super::Error) that has the code, its arm in `Error::kind`, and
//!    its text in `message.rs`.
//! 3. Add an example to `all` in `src/problem/tests.rs`, and the code to a list in
//!    `src/service/openapi/tests/operations.rs`.
//! 4. Run `cargo test --lib`. Failing tests name the commands that renew docs/errors.md and
//!    docs/openapi.json.

use std::time::Duration;

/// The retry advice of an error: its member `retry`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// Send it again after this time.
    After(Duration),
    /// Change it first.
    Never,
    /// Send it again immediately.
    Safe,
}

impl Retry {
    /// The name on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::After(_) => "after",
            Self::Never => "never",
            Self::Safe => "safe",
        }
    }
}

/// The wait for what usually clears within moments, such as a free slot.
const SOON: Retry = Retry::After(Duration::from_secs(1));

/// The facts about one code.
struct Row {
    name: &'static str,
    status: u16,
    title: &'static str,
    retry: Retry,
    cause: &'static str,
    remedy: &'static str,
}

/// Makes [`Code`] from the table, with the lookup of a code's row. Each row makes one variant, and
/// the compiler refuses a second row for it.
macro_rules! codes {
    ($($variant:ident {
        name: $name:literal,
        status: $status:literal,
        title: $title:literal,
        retry: $retry:expr,
        cause: $cause:literal,
        remedy: $remedy:literal $(,)?
    })*) => {
        /// The machine-readable name of an error. A name is never changed or reused after its
        /// release.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[non_exhaustive]
        pub enum Code {
            $(
                #[doc = concat!("`", $name, "`, status ", $status, ". ", $cause, " ", $remedy)]
                $variant,
            )*
        }

        impl Code {
            /// All codes, in alphabetical order of their names.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            const fn row(self) -> Row {
                match self {
                    $(Self::$variant => Row {
                        name: $name,
                        status: $status,
                        title: $title,
                        retry: $retry,
                        cause: $cause,
                        remedy: $remedy,
                    },)*
                }
            }
        }
    };
}

codes! {
    BodyTooLarge {
        name: "body_too_large",
        status: 413,
        title: "Request body too large",
        retry: Retry::Never,
        cause: "The request body is larger than `limits.body_bytes` (4 MiB by default).",
        remedy: "Send less text, and send images as `https:` URLs.",
    }
    GuardUnavailable {
        name: "guard_unavailable",
        status: 503,
        title: "Required service unavailable",
        retry: SOON,
        cause: "The server needs the limits store or the identity provider's keys for this request, and did not get an \
                answer. Or the conversation is older than the revocation records in the limits store.",
        remedy: "If `retry` is `after`, send the same request again. If it is `never`, start a new conversation.",
    }
    HistoryTooLarge {
        name: "history_too_large",
        status: 413,
        title: "Conversation too long",
        retry: Retry::Never,
        cause: "The history, the new input and the room reserved for the reply exceed `limits.history_bytes` (4 MiB by \
                default), `limits.history_items` (16,384) or the size of a token.",
        remedy: "Send a shorter input, set `truncation`, or start a new conversation.",
    }
    ImageTooLarge {
        name: "image_too_large",
        status: 413,
        title: "Image too large",
        retry: Retry::Never,
        cause: "A decoded inline image is larger than `limits.image_bytes` (1 MiB by default).",
        remedy: "Send a smaller image, or its `https:` URL.",
    }
    Internal {
        name: "internal",
        status: 500,
        title: "Internal error",
        retry: Retry::Safe,
        cause: "The server failed, or stopped before the reply was complete.",
        remedy: "Send the same request again. If the error persists, give the operator the `request_id`: the server's \
                 log has the cause under it.",
    }
    MessageTooLarge {
        name: "message_too_large",
        status: 413,
        title: "Message too large",
        retry: Retry::Never,
        cause: "One message or tool result is larger than `limits.message_bytes` (256 KiB by default).",
        remedy: "Send a shorter one.",
    }
    MethodNotAllowed {
        name: "method_not_allowed",
        status: 405,
        title: "Method not allowed",
        retry: Retry::Never,
        cause: "The path does not support the method of the request.",
        remedy: "Use a method from the `Allow` header.",
    }
    ModelUnknown {
        name: "model_unknown",
        status: 400,
        title: "Unknown model",
        retry: Retry::Never,
        cause: "The server has no model with the name in `model`, or with the name that the token carries.",
        remedy: "Send a name from the error's `detail` or from `GET /v1/models` as `model`. The token stays valid.",
    }
    NotFound {
        name: "not_found",
        status: 404,
        title: "Not found",
        retry: Retry::Never,
        cause: "The server has nothing at this path.",
        remedy: "Check the path. The error's `detail` lists the paths for turns.",
    }
    NotImplemented {
        name: "not_implemented",
        status: 501,
        title: "Not implemented",
        retry: Retry::Never,
        cause: "The body of the request has a transfer coding other than `chunked`.",
        remedy: "Send the body with `Content-Length`, or with `Transfer-Encoding: chunked`.",
    }
    Overloaded {
        name: "overloaded",
        status: 503,
        title: "Server overloaded",
        retry: SOON,
        cause: "The server is at its limit of concurrent requests (`limits.concurrent_requests`), one client address is \
                at its own (`limits.requests_per_peer`), or the queue of an upstream is full.",
        remedy: "Wait for `retry_after_seconds`, then send the same request again.",
    }
    QuotaExceeded {
        name: "quota_exceeded",
        status: 429,
        title: "Quota exceeded",
        retry: SOON,
        cause: "The user has used up a quota of the current period.",
        remedy: "Wait for `retry_after_seconds`, until the period ends. `GET /v1/usage` shows every quota and what is \
                 left of it.",
    }
    RateLimited {
        name: "rate_limited",
        status: 429,
        title: "Rate limit exceeded",
        retry: SOON,
        cause: "The user sends turns faster than `guard.rate` allows, or reads faster than `guard.read_rate` allows.",
        remedy: "Wait for `retry_after_seconds`, then send the same request again.",
    }
    RequestInvalid {
        name: "request_invalid",
        status: 400,
        title: "Invalid request",
        retry: Retry::Never,
        cause: "The request does not have the form that this path expects. The error's `detail` names the member and the \
                allowed values.",
        remedy: "Correct the request.",
    }
    RequestTimeout {
        name: "request_timeout",
        status: 408,
        title: "Request timed out",
        retry: Retry::Safe,
        cause: "The request body did not arrive completely within `timeouts.body` (30 s by default).",
        remedy: "Send the request again, over a faster connection if you can.",
    }
    RoleForbidden {
        name: "role_forbidden",
        status: 400,
        title: "Role not allowed",
        retry: Retry::Never,
        cause: "The request has a message in a role that clients cannot use, such as `assistant`. Or the conversation \
                has such messages from a client, and the model of this request does not accept them. Or the request \
                has a system prompt, although the operator has set one for the model.",
        remedy: "Send only the new user messages and tool results, together with the token; docs/compatibility.md names \
                 the argument for each library. Remove your system prompt if the model has its own. Operators can set \
                 `client_history` and `client_system`.",
    }
    TokenExpired {
        name: "token_expired",
        status: 410,
        title: "Token expired",
        retry: Retry::Never,
        cause: "The token is older than `ttl` (7 days by default), or its conversation is older than `max_age` (30 days by \
                default).",
        remedy: "Start a new conversation. `POST /v1/history` can read the old one until `max_age`.",
    }
    TokenInvalid {
        name: "token_invalid",
        status: 400,
        title: "Invalid token",
        retry: Retry::Never,
        cause: "The server does not accept the token from this caller. For safety, the error does not say why.",
        remedy: "Send the last token of the conversation, unchanged and as the same user. If that fails, start a new \
                 conversation.",
    }
    TokenRevoked {
        name: "token_revoked",
        status: 410,
        title: "Token revoked",
        retry: Retry::Never,
        cause: "The token, its conversation or all tokens of the user were revoked.",
        remedy: "Start a new conversation.",
    }
    TokenTooLarge {
        name: "token_too_large",
        status: 413,
        title: "Token too large",
        retry: Retry::Never,
        cause: "The token is larger than `limits.token_bytes` (3 MiB by default).",
        remedy: "Start a new conversation.",
    }
    TokenUsed {
        name: "token_used",
        status: 409,
        title: "Token already used",
        retry: Retry::Never,
        cause: "With `single_use`, a token is valid for one turn. Another request has used it, or is using it now.",
        remedy: "If `retry` is `after`, the same request is in progress: send the request again after \
                 `retry_after_seconds`. If it is `never`, continue with the token that the other turn returned.",
    }
    Unauthenticated {
        name: "unauthenticated",
        status: 401,
        title: "Not authenticated",
        retry: Retry::Never,
        cause: "The request has no valid credential. Or it did not come through the proxy that names the users of this \
                server. For safety, the error does not say which check failed.",
        remedy: "Send a valid credential as `Authorization: Bearer …` or `x-api-key`, or send the request through the \
                 proxy.",
    }
    Unsupported {
        name: "unsupported",
        status: 400,
        title: "Not supported",
        retry: Retry::Never,
        cause: "The server recognizes what the request asks for, and does not support it.",
        remedy: "The error's `detail` says what to use instead.",
    }
    UnsupportedMediaType {
        name: "unsupported_media_type",
        status: 415,
        title: "Unsupported media type",
        retry: Retry::Never,
        cause: "The body is compressed, or `Content-Type` is not `application/json`.",
        remedy: "Send uncompressed JSON with `Content-Type: application/json`.",
    }
    UpstreamCut {
        name: "upstream_cut",
        status: 502,
        title: "Reply interrupted",
        retry: Retry::Safe,
        cause: "The model service stopped before the end of its reply.",
        remedy: "If the error has `partial`, continue from its token or id. Otherwise send the same request again.",
    }
    UpstreamMalformed {
        name: "upstream_malformed",
        status: 502,
        title: "Malformed reply",
        retry: Retry::Safe,
        cause: "The model service sent a reply that is not valid in its own format.",
        remedy: "If `retry` is `safe`, send the same request again. If it is `never`, the operator pays for the reply \
                 that the service generated, and the next one can have the same fault: give the operator the \
                 `request_id`.",
    }
    UpstreamRefused {
        name: "upstream_refused",
        status: 502,
        title: "Refused by the model service",
        retry: Retry::Never,
        cause: "The model service refused the request, or asks for a wait. The error's `detail` has its status, and its \
                message if the request is at fault.",
        remedy: "If `retry` is `after`, send the same request again after `retry_after_seconds`. If it is `never`, change \
                 the request. If you cannot find its fault, give the operator the `request_id`.",
    }
    UpstreamTimeout {
        name: "upstream_timeout",
        status: 504,
        title: "Model service timed out",
        retry: Retry::Safe,
        cause: "The model service sent nothing for longer than the timeout in the error's `detail`.",
        remedy: "Send the same request again.",
    }
    UpstreamUnavailable {
        name: "upstream_unavailable",
        status: 502,
        title: "Model service unavailable",
        retry: Retry::Safe,
        cause: "The model service cannot be reached, failed or is overloaded, or does not serve the operator's account. \
                Only the operator's log says which.",
        remedy: "If `retry` is `safe`, send the same request again. If it is `after`, wait for `retry_after_seconds` \
                 first. If it is `never`, the operator must act: give them the `request_id`.",
    }
    UserBusy {
        name: "user_busy",
        status: 429,
        title: "Too many concurrent turns",
        retry: SOON,
        cause: "The user already has `limits.turns_per_user` turns in progress (8 by default).",
        remedy: "Wait for `retry_after_seconds`, then send the same request again.",
    }
    WebsocketUnsupported {
        name: "websocket_unsupported",
        status: 426,
        title: "WebSockets not supported",
        retry: Retry::Never,
        cause: "The request asks to switch to the WebSocket protocol. The server supports only HTTP.",
        remedy: "Send the request with `POST` over HTTP. Clients that can do both switch by themselves.",
    }
}

impl Code {
    /// The name on the wire, `snake_case`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.row().name
    }

    /// The HTTP status of the native API, 400 to 599.
    #[must_use]
    pub fn status(self) -> u16 {
        self.row().status
    }

    /// A short text for people, the same for every occurrence (RFC 9457 §3.1.3).
    #[must_use]
    pub fn title(self) -> &'static str {
        self.row().title
    }

    /// The retry advice of errors with this code, unless [`Error::retry`](super::Error::retry)
    /// knows better.
    #[must_use]
    pub fn retry(self) -> Retry {
        self.row().retry
    }

    /// The reasons for an error with this code: one or more sentences, in Markdown.
    #[must_use]
    pub fn cause(self) -> &'static str {
        self.row().cause
    }

    /// The remedy for the caller: one or more sentences, in Markdown.
    #[must_use]
    pub fn remedy(self) -> &'static str {
        self.row().remedy
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_variant_has_one_row_under_its_own_name() {
        for code in Code::ALL {
            let mut name = String::new();
            for letter in format!("{code:?}").chars() {
                if letter.is_ascii_uppercase() && !name.is_empty() {
                    name.push('_');
                }
                name.push(letter.to_ascii_lowercase());
            }
            assert_eq!(code.as_str(), name);
        }
        assert!(Code::ALL.is_sorted_by(|one, other| one.as_str() < other.as_str()), "sorted, none twice");
    }

    #[test]
    fn each_row_is_complete() {
        for code in Code::ALL {
            assert!((400..600).contains(&code.status()), "{code:?}");
            assert!(!code.title().is_empty() && !code.title().ends_with('.'), "{code:?}");
            for sentences in [code.cause(), code.remedy()] {
                assert!(sentences.starts_with(|first: char| first.is_ascii_uppercase()), "{code:?}: {sentences}");
                assert!(sentences.ends_with('.'), "{code:?}: {sentences}");
            }
        }
    }
}
