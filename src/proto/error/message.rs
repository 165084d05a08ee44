//! The messages for callers: what happened, and what to do next.
//!
//! The advice to retry comes from [`Error::retry`], so that the message and the member `retry`
//! always agree.

use std::{
    fmt::{Display, Formatter, Result},
    time::Duration,
};

use super::{Error, code::Retry};
use crate::proto::{
    allowance::Allowance,
    time::{HumanDuration, seconds_rounded_up},
};

impl Display for Error {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        self.write_fact(f)?;
        self.write_retry(f)?;
        // Last, because it may have any form.
        match self {
            Self::UpstreamRefused { message: Some(message), .. } => write!(f, " Its message: {message}"),
            _ => Ok(()),
        }
    }
}

impl Error {
    /// Writes what happened, and what the caller can do besides a retry.
    fn write_fact(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Self::AssertedHistoryForbidden => f.write_str(HISTORY_IS_ASSERTED),
            Self::BodyTooLarge { limit_bytes } => {
                write!(f, "The request body is larger than the limit of {limit_bytes} bytes. {SEND_LESS}")
            }
            Self::ClientHistoryForbidden => f.write_str(HISTORY_OF_CLIENT),
            Self::ClientSystemForbidden => f.write_str(SYSTEM_PROMPT_IS_SET),
            Self::GuardUnavailable { retryable: false, .. } => f.write_str(OLDER_THAN_RECORDS),
            Self::GuardUnavailable { .. } => f.write_str("The limits store did not answer. The model was not called."),
            Self::HistoryTooLarge(excess) => {
                write!(f, "The conversation with this turn has {excess}. {MAKE_ROOM}")
            }
            Self::ImageTooLarge(excess) => {
                write!(f, "An inline image has {excess}. Send a smaller image, or its `https:` URL.")
            }
            Self::Internal { .. } => f.write_str("The server failed. Its log has the cause under the request id."),
            Self::IssuerUnavailable { .. } => {
                f.write_str("The identity provider's keys are not available. The model was not called.")
            }
            Self::MessageTooLarge(excess) => write!(f, "A message or tool result has {excess}. Send a shorter one."),
            Self::MethodNotAllowed { allow } => {
                write!(f, "This path does not support the method of the request. Supported: {allow}.")
            }
            Self::ModelUnknown { alias, known } => {
                write!(f, "Unknown model `{alias}`. Available models: {}.", known.join(", "))
            }
            Self::NotFound { hint } => write!(f, "The server has nothing at this path. {hint}"),
            Self::NotImplemented => f.write_str(TRANSFER_CODING),
            Self::Overloaded => f.write_str("The server has too many concurrent requests."),
            Self::PeerBusy { limit } => {
                write!(f, "Too many concurrent requests from this address: the limit is {limit}.")
            }
            Self::QuotaExceeded(exhausted) => {
                let Allowance { name, limit, period_seconds, .. } = exhausted.limit;
                let name = name.replace('_', " ");
                write!(f, "Quota exceeded: {} per {}.", Counted(limit, &name), Period(period_seconds))
            }
            Self::RateLimited(exhausted) => {
                let Allowance { limit, period_seconds, .. } = exhausted.limit;
                write!(f, "Rate limit exceeded: {} per {}.", Counted(limit, "requests"), Period(period_seconds))
            }
            Self::RequestInvalid { detail } | Self::Unsupported { detail } | Self::UnsupportedMediaType { detail } => {
                f.write_str(detail)
            }
            Self::RequestTimeout { limit } => {
                write!(f, "The request body did not arrive completely within {}.", HumanDuration(*limit))
            }
            Self::RoleForbidden { role } => write!(f, "Role `{role}` is not allowed. {SEND_NEW_INPUT}"),
            Self::TokenExpired { expires_at, .. } => {
                write!(f, "The token expired at {expires_at}. Start a new conversation.")
            }
            Self::TokenInvalid { .. } => f.write_str(TOKEN_INVALID),
            Self::TokenRevoked => f.write_str("The token was revoked. Start a new conversation."),
            Self::TokenTooLarge(excess) => write!(f, "The token has {excess}. Start a new conversation."),
            Self::TokenUsed { in_progress: true } => f.write_str("The same request with this token is in progress."),
            Self::TokenUsed { in_progress: false } => f.write_str(TOKEN_USED),
            Self::Unauthenticated { .. } => f.write_str(UNAUTHENTICATED),
            Self::UntrustedProxy { .. } => f.write_str("Requests must come through the configured proxy."),
            Self::UpstreamCut => f.write_str("The model service stopped before the end of its reply."),
            Self::UpstreamMalformed { .. } => {
                f.write_str("The model service sent a reply that is not valid in its format.")
            }
            Self::UpstreamRefused { status, .. } => {
                write!(f, "The model service refused the request with status {status}.")
            }
            Self::UpstreamTimeout { phase, limit } => {
                write!(f, "The model service did not send {phase} within {}.", HumanDuration(*limit))
            }
            Self::UpstreamAccount { .. } => f.write_str("The model service is not available."),
            Self::UpstreamOutput { .. } | Self::UpstreamUnavailable { .. } => {
                f.write_str("The model service could not be reached, or failed.")
            }
            Self::UserBusy { limit } => write!(f, "Too many concurrent turns: the limit is {limit} per user."),
            Self::WebsocketUnsupported => {
                f.write_str("The server does not support WebSockets. Send the request with `POST` over HTTP.")
            }
        }
    }

    /// Writes when a retry can succeed.
    fn write_retry(&self, f: &mut Formatter<'_>) -> Result {
        match (self, self.retry()) {
            (_, Retry::Never) => Ok(()),
            (_, Retry::Safe) => f.write_str(" Retry the request."),
            (Self::QuotaExceeded(_), Retry::After(wait)) => write!(f, " It resets in {}.", waiting(wait)),
            (_, Retry::After(wait)) => write!(f, " Retry in {}.", waiting(wait)),
        }
    }
}

/// A number of things; their name is in the plural.
struct Counted<'a>(u64, &'a str);

impl Display for Counted<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let Self(count, names) = *self;
        let name = if count == 1 { names.strip_suffix('s').unwrap_or(names) } else { names };
        write!(f, "{count} {name}")
    }
}

/// A wait in whole seconds, as `retry_after_seconds` counts it.
fn waiting(wait: Duration) -> HumanDuration {
    HumanDuration(Duration::from_secs(seconds_rounded_up(wait)))
}

/// The length of a period in seconds, for use after "per".
struct Period(u64);

impl Display for Period {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self.0 {
            1 => f.write_str("second"),
            60 => f.write_str("minute"),
            3_600 => f.write_str("hour"),
            86_400 => f.write_str("day"),
            seconds => HumanDuration(Duration::from_secs(seconds)).fmt(f),
        }
    }
}

const HISTORY_IS_ASSERTED: &str = "Role `assistant` is not allowed: a client sent messages of the model to this \
    conversation, and the model of this request does not accept them. Continue with the model that accepted them, or \
    start a new conversation.";
const HISTORY_OF_CLIENT: &str = "Role `assistant` is not allowed: only the server adds messages of the model. Send only \
    the new messages, with the conversation's token, or use the Responses API with `previous_response_id`. Many \
    libraries have an argument for this: see docs/compatibility.md.";
const MAKE_ROOM: &str = "Send a shorter input, set `truncation`, or start a new conversation.";
const OLDER_THAN_RECORDS: &str = "The conversation is older than the server's revocation records, so it cannot \
    continue. Start a new conversation.";
const SEND_LESS: &str = "Send less text, and send images as `https:` URLs.";
const SEND_NEW_INPUT: &str =
    "Send only new user messages and tool results, with the conversation's token or response id.";
const SYSTEM_PROMPT_IS_SET: &str =
    "Role `system` is not allowed: the operator has set a system prompt for this model. Remove yours.";
/// Names no cause, so that the answer is the same for every cause.
const TOKEN_INVALID: &str = "The server does not accept this token from this caller. Send the conversation's last token, \
    unchanged and as the same user, or start a new conversation.";
const TOKEN_USED: &str = "The token is valid for one turn, and another turn has used it. Continue with the token that the \
    other turn returned.";
const TRANSFER_CODING: &str = "The server does not support the transfer coding of the body. Send it with \
    `Content-Length`, or with `Transfer-Encoding: chunked`.";
/// Names no cause, so that the answer is the same for every cause.
const UNAUTHENTICATED: &str =
    "The request has no valid credential. Send one as `Authorization: Bearer …` or `x-api-key`.";

#[cfg(test)]
mod tests {
    use crate::proto::{
        allowance::Exhausted,
        error::{Excess, message::*},
    };

    fn exhausted(name: &'static str, limit: u64, period_seconds: u64, retry_after_seconds: u64) -> Box<Exhausted> {
        let limit = Allowance { name, limit, remaining: 0, period_seconds, reset_seconds: retry_after_seconds };
        Box::new(Exhausted { limit, retry_after_seconds, allowances: vec![limit] })
    }

    #[test]
    fn a_message_has_value_limit_and_next_step() {
        let refused = |retry_after, message: Option<&str>| Error::UpstreamRefused {
            names: String::new(),
            status: 429,
            message: message.map(str::to_owned),
            retry_after,
            overflow: false,
        };
        let limit = Duration::from_secs(90);
        for (error, message) in [
            (
                Error::GuardUnavailable { cause: String::new(), retryable: true },
                "The limits store did not answer. The model was not called. Retry in 1 s.",
            ),
            (
                Error::HistoryTooLarge(Excess { actual: 5, limit: 4, unit: "items" }),
                "The conversation with this turn has 5 items; the limit is 4. Send a shorter input, set `truncation`, or \
                 start a new conversation.",
            ),
            (
                Error::ModelUnknown { alias: "x".to_owned(), known: vec!["a".to_owned(), "b".to_owned()] },
                "Unknown model `x`. Available models: a, b.",
            ),
            (
                Error::QuotaExceeded(exhausted("turns", 100, 86_400, 12_000)),
                "Quota exceeded: 100 turns per day. It resets in 3 h 20 min.",
            ),
            (
                Error::QuotaExceeded(exhausted("model_tokens", 7, 7_200, 60)),
                "Quota exceeded: 7 model tokens per 2 h. It resets in 1 min.",
            ),
            (
                Error::RateLimited(exhausted("rate", 30, 60, 9)),
                "Rate limit exceeded: 30 requests per minute. Retry in 9 s.",
            ),
            (
                Error::RateLimited(exhausted("rate", 1, 1, 1)),
                "Rate limit exceeded: 1 request per second. Retry in 1 s.",
            ),
            (
                refused(Some(Duration::from_millis(1_500)), Some("slow down")),
                "The model service refused the request with status 429. Retry in 2 s. Its message: slow down",
            ),
            (refused(None, None), "The model service refused the request with status 429."),
            (
                Error::UpstreamTimeout { phase: "the first byte", limit },
                "The model service did not send the first byte within 1 min 30 s. Retry the request.",
            ),
            (Error::UserBusy { limit: 8 }, "Too many concurrent turns: the limit is 8 per user. Retry in 1 s."),
        ] {
            assert_eq!(error.to_string(), message);
        }
    }
}
