//! Every error has its status, its retry advice and its headers.

use serde_json::Value;

use super::*;
use crate::proto::{
    allowance::Exhausted,
    error::{Code, Excess, TokenFault},
    time::UnixSeconds,
};

/// An example of every error, with the status and the retry advice that it must have. `SECRET`
/// marks what only the operator may read. docs/errors.md shows the messages.
pub(crate) fn all() -> Vec<(Error, u16, &'static str)> {
    let cause = || "SECRET".to_owned();
    let over = |limit: usize| Excess { actual: limit + 1_000, limit, unit: "bytes" };
    let (second, limit) = (Some(Duration::from_millis(1_001)), Duration::from_secs(60));
    let expired = Error::TokenExpired { expires_at: UnixSeconds(1_795_241_520), now: UnixSeconds(1_795_300_000) };
    let json = "Send JSON, with `Content-Type: application/json`.".to_owned();
    vec![
        (Error::BodyTooLarge { limit_bytes: 4 << 20 }, 413, "never"),
        (Error::GuardUnavailable { cause: cause(), retryable: true }, 503, "after 1"),
        (Error::IssuerUnavailable { cause: cause() }, 503, "after 1"),
        (Error::GuardUnavailable { cause: cause(), retryable: false }, 503, "never"),
        (Error::HistoryTooLarge(over(4 << 20)), 413, "never"),
        (Error::ImageTooLarge(over(1 << 20)), 413, "never"),
        (Error::Internal { cause: cause() }, 500, "safe"),
        (Error::MessageTooLarge(over(256 << 10)), 413, "never"),
        (Error::MethodNotAllowed { allow: "GET, HEAD" }, 405, "never"),
        (Error::ModelUnknown { alias: "gpt".to_owned(), known: vec!["default".to_owned()] }, 400, "never"),
        (Error::NotFound { hint: "Send turns with POST to /v1/turns." }, 404, "never"),
        (Error::NotImplemented, 501, "never"),
        (Error::Overloaded, 503, "after 1"),
        (Error::PeerBusy { limit: 256 }, 503, "after 1"),
        (Error::QuotaExceeded(exhausted("turns", 100, 86_400, 12_000)), 429, "after 12000"),
        (Error::RateLimited(exhausted("rate", 30, 60, 7)), 429, "after 7"),
        (Error::invalid("`temperature` must be a number from 0 to 2."), 400, "never"),
        (Error::RequestTimeout { limit: Duration::from_secs(30) }, 408, "safe"),
        (Error::RoleForbidden { role: "assistant".to_owned() }, 400, "never"),
        (Error::AssertedHistoryForbidden, 400, "never"),
        (Error::ClientHistoryForbidden, 400, "never"),
        (Error::ClientSystemForbidden, 400, "never"),
        (expired, 410, "never"),
        (Error::TokenInvalid { fault: TokenFault::Tag }, 400, "never"),
        (Error::TokenRevoked, 410, "never"),
        (Error::TokenTooLarge(over(3 << 20)), 413, "never"),
        (Error::TokenUsed { in_progress: false }, 409, "never"),
        (Error::TokenUsed { in_progress: true }, 409, "after 1"),
        (Error::Unauthenticated { cause: cause() }, 401, "never"),
        (Error::UntrustedProxy { cause: cause() }, 401, "never"),
        (Error::Unsupported { detail: "`functions` is not supported. Send `tools`.".to_owned() }, 400, "never"),
        (Error::UnsupportedMediaType { detail: json }, 415, "never"),
        (Error::UpstreamAccount { cause: cause() }, 502, "never"),
        (Error::UpstreamCut, 502, "safe"),
        (Error::UpstreamOutput { cause: cause() }, 502, "safe"),
        (Error::malformed(cause()), 502, "safe"),
        (Error::malformed(cause()).about_paid_reply(), 502, "never"),
        (refused(400, Some("max_tokens is too large"), None), 502, "never"),
        (refused(429, None, second), 502, "after 2"),
        (Error::UpstreamTimeout { phase: "the first byte", limit }, 504, "safe"),
        (Error::UpstreamUnavailable { cause: cause(), retry_after: None }, 502, "safe"),
        (Error::UpstreamUnavailable { cause: cause(), retry_after: second }, 502, "after 2"),
        (Error::UserBusy { limit: 8 }, 429, "after 1"),
        (Error::WebsocketUnsupported, 426, "never"),
    ]
}

fn exhausted(name: &'static str, limit: u64, period_seconds: u64, retry_after_seconds: u64) -> Box<Exhausted> {
    let limit = Allowance { name, limit, remaining: 0, period_seconds, reset_seconds: retry_after_seconds };
    Box::new(Exhausted { limit, retry_after_seconds, allowances: vec![limit] })
}

fn refused(status: u16, message: Option<&str>, retry_after: Option<Duration>) -> Error {
    Error::UpstreamRefused {
        names: String::new(),
        status,
        message: message.map(str::to_owned),
        retry_after,
        overflow: false,
    }
}

#[test]
fn each_code_has_an_example() {
    for code in Code::ALL {
        assert!(all().iter().any(|(error, ..)| error.kind() == *code), "{code:?}");
    }
}

#[test]
fn every_error_has_its_status_and_retry_advice() {
    for (error, status, retry) in all() {
        let code = error.code();
        let problem = Problem::new(error, "req_1");
        assert_eq!(problem.status().as_u16(), status, "{code}");
        let document: Value = serde_json::from_str(&problem.to_json()).unwrap();
        assert_eq!((&document["code"], &document["status"]), (&Value::from(code), &Value::from(status)));
        assert_eq!(document["request_id"], "req_1");
        let after = document["retry_after_seconds"].as_u64().map(|seconds| format!(" {seconds}"));
        assert_eq!(format!("{}{}", document["retry"].as_str().unwrap(), after.unwrap_or_default()), retry);
    }
}

#[test]
fn every_message_is_in_whole_sentences() {
    for (error, ..) in all() {
        let message = error.to_string();
        let (ours, _) = message.split_once(" Its message: ").unwrap_or((&message, ""));
        assert!(ours.starts_with(|first: char| first.is_ascii_uppercase() || first == '`'), "{message}");
        assert!(ours.ends_with('.'), "{message}");
    }
}

#[test]
fn operator_details_never_reach_the_caller() {
    for (error, ..) in all() {
        assert!(!Problem::new(error, "req_1").to_json().contains("SECRET"));
    }
}

#[test]
fn sdks_do_not_retry_by_themselves_after_a_long_wait() {
    for (seconds, should_retry) in [(1, "true"), (60, "true"), (61, "false"), (86_400, "false")] {
        let problem = Problem::new(Error::QuotaExceeded(exhausted("turns", 5, 60, seconds)), "req_1");
        let mut headers = HeaderMap::new();
        problem.write_headers(&mut headers);
        assert_eq!(
            (&headers["x-should-retry"], &headers["retry-after"]),
            (&HeaderValue::from_static(should_retry), &HeaderValue::from(seconds))
        );
        let document: Value = serde_json::from_str(&problem.to_json()).unwrap();
        assert_eq!(
            (&document["retry"], document["retry_after_seconds"].as_u64()),
            (&Value::from("after"), Some(seconds))
        );
    }
}

#[test]
fn headers_match_the_retry_advice_and_the_status() {
    for (error, _, retry) in all() {
        let code = error.code();
        let mut headers = HeaderMap::new();
        let problem = Problem::new(error, "req_1");
        problem.write_headers(&mut headers);
        assert_eq!(headers["content-type"], "application/problem+json");
        let wait = retry.strip_prefix("after ");
        assert_eq!(headers.get("retry-after").map(|wait| wait.to_str().unwrap()), wait);
        let should_retry = retry != "never" && wait.is_none_or(|wait| wait.parse::<u64>().unwrap() <= 60);
        assert_eq!(headers["x-should-retry"], should_retry.to_string());
        let challenge = match problem.error {
            Error::Unauthenticated { .. } => Some("Bearer realm=\"holdall\""),
            Error::UntrustedProxy { .. } => Some("Proxied realm=\"holdall\""),
            _ => None,
        };
        assert_eq!(headers.get("www-authenticate").map(|value| value.to_str().unwrap()), challenge);
        assert_eq!(headers.contains_key("allow"), code == "method_not_allowed");
        let upgrade = headers.get("upgrade").map(|value| value.to_str().unwrap());
        assert_eq!(upgrade, (code == "websocket_unsupported").then_some("HTTP/1.1"));
        let connection = match code {
            "body_too_large" | "request_timeout" => Some("close"),
            "websocket_unsupported" => Some("upgrade"),
            _ => None,
        };
        assert_eq!(headers.get("connection").map(|value| value.to_str().unwrap()), connection);
    }
}
