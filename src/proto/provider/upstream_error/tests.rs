//! Tests of the errors that answers mean.

use serde_json::json;

use super::*;
use crate::proto::provider::COMPATIBLE;

/// The error that an answer with this status, wait and body means.
fn from_answer(status: u16, retry_after: Option<Duration>, body: &[u8]) -> Error {
    let wait = retry_after.map(|wait| (http::header::RETRY_AFTER, wait.as_secs().into()));
    let mut answer = http::Response::builder().status(status).body(()).unwrap();
    answer.headers_mut().extend(wait);
    super::from_answer(&answer.into_parts().0, body, &COMPATIBLE, b"{}")
}

#[test]
fn only_a_fault_of_the_request_is_shown_with_its_words() {
    for (status, body, shown) in [
        (400, r#"{"error":{"message":"too hot","type":"x"}}"#, Some("too hot")),
        (422, r#"{"detail":[{"loc":["body"],"msg":"bad"}]}"#, Some("body: bad")),
        (404, r#"{"detail":"Not Found"}"#, None),
        (405, r#"{"error":{"message":"our secret","type":"x"}}"#, None),
        (400, "<html>400</html>", None),
        (400, "", None),
        (429, r#"{"error":{"message":"Limit for org-1"}}"#, None),
    ] {
        let Error::UpstreamRefused { message, .. } = from_answer(status, None, body.as_bytes()) else {
            panic!("another error: {body}");
        };
        assert_eq!(message.as_deref(), shown, "{body}");
    }
}

#[test]
fn an_unknown_fault_is_logged_with_its_names() {
    let error = from_answer(410, None, br#"{"error":{"message":"our secret","code":"model_decommissioned"}}"#);
    assert_eq!(error.cause().as_deref(), Some("status 410 model_decommissioned"));
    // A text of the prompt can have the form of a name.
    let error = from_answer(410, None, br#"{"error":{"message":"our secret","code":"my_diary_says"}}"#);
    assert_eq!(error.cause().as_deref(), Some("status 410 other"));
    assert!(!error.to_string().contains("secret"));
}

#[test]
fn a_fault_of_the_account_is_logged_without_its_words() {
    for (status, body, cause) in [
        (
            400,
            r#"{"type":"error","error":{"type":"invalid_request_error","message":"my diary: Your credit balance is too low"}}"#,
            "status 400 invalid_request_error: credit balance is too low",
        ),
        (
            401,
            r#"{"error":{"message":"Incorrect API key provided: k","code":"invalid_api_key"}}"#,
            "status 401 invalid_api_key: incorrect api key",
        ),
        (403, "<html>403</html>", "status 403"),
        (402, "", "status 402"),
        (402, r#"{"error":{"code":402,"message":"no"}}"#, "status 402"),
    ] {
        let error = from_answer(status, Some(RATE_LIMIT_WAIT), body.as_bytes());
        assert_eq!(error, Error::UpstreamAccount { cause: cause.to_owned() });
        assert_eq!(error.code(), "upstream_unavailable");
    }
}

#[test]
fn an_unavailable_provider_is_logged_without_its_message() {
    let body = br#"{"error":{"message":"cannot process: my diary","type":"server_error","code":"my diary"}}"#;
    let Error::UpstreamUnavailable { cause, retry_after } = from_answer(503, Some(RATE_LIMIT_WAIT), body) else {
        panic!("another code");
    };
    assert_eq!((cause.as_str(), retry_after), ("status 503 server_error", Some(RATE_LIMIT_WAIT)));
}

#[test]
fn a_rate_limit_has_a_wait() {
    let google = r#"[{"error":{"code":429,"status":"RESOURCE_EXHAUSTED","details":[{"retryDelay":"37s"},{"violations":[{"quotaId":"X"}]}]}}]"#;
    let daily = google.replace("\"X\"", "\"RequestsPerDayPerProject\"");
    for (header, body, seconds) in [
        (None, "", 5),
        (None, r#"{"error":{"type":"rate_limit_error"}}"#, 5),
        (None, google, 37),
        (Some(9), google, 9),
        (None, daily.as_str(), 3_600),
        (Some(9), daily.as_str(), 9),
        (None, r#"{"error":{"message":"Please try again in 7m12s."}}"#, 432),
        (None, r#"{"error":{"message":"Please try again in 9h."}}"#, 3_600),
    ] {
        let error = from_answer(429, header.map(Duration::from_secs), body.as_bytes());
        let retry_after = Some(Duration::from_secs(seconds));
        let expected =
            Error::UpstreamRefused { status: 429, names: String::new(), message: None, retry_after, overflow: false };
        assert_eq!(error, expected, "{header:?} {body}");
    }
}

#[test]
fn an_error_in_the_place_of_a_reply_is_found_in_every_shape() {
    for (json, status) in [
        (r#"[{"error":{"code":429,"message":"m"}}]"#, Some(429)),
        (r#"{"object":"error","message":"m","type":"BadRequestError","code":400}"#, Some(400)),
        (r#"{"detail":"m"}"#, None),
        (r#"{"code":1113,"msg":"m"}"#, None),
        (r#"{"code":"429","message": "m"}"#, Some(429)),
        (r#"{"success":false,"errors":[{"code":1,"message":"m"}]}"#, None),
        (r#"{"error":"m","choices":null}"#, None),
        (r#"{"base_resp":{"status_code":1002,"status_msg":"rate limit"},"choices":null}"#, Some(429)),
        (r#"{"base_resp": {"status_code": 1008, "status_msg": "insufficient balance"}}"#, None),
        (r#"{"msg": "too many requests"}"#, Some(429)),
        (r#"{"message": "too many requests", "code": "x"}"#, Some(429)),
        (r#"{"message" : "too many requests"}"#, Some(429)),
        (r#"{"error": "too many requests"}"#, Some(429)),
        (r#"{"error":true,"message":"too many requests"}"#, Some(429)),
        (r#"{"errors": ["too many requests"]}"#, Some(429)),
        (r#"{"errors": [{"code": 429, "message": "m"}]}"#, Some(429)),
        (r#"{"detail": [{"loc": ["body"], "msg": "m", "type": "extra_forbidden"}]}"#, Some(400)),
        (r#"{"error_code":18,"error_msg":"Open api qps request limit reached, too many requests"}"#, Some(429)),
        (r#"{"type":"BadRequestError","message":"m","code":400}"#, Some(400)),
        (r#"{"type":"rate_limit_error","message":"m"}"#, Some(429)),
    ] {
        let found = in_place_of_reply(json, &COMPATIBLE).unwrap();
        assert_ne!(found.code(), "upstream_malformed", "{json}");
        let found = Some(found).and_then(|error| match error {
            Error::UpstreamRefused { status, .. } => Some(status),
            _ => None,
        });
        assert_eq!(found, status, "{json}");
    }
    for json in [
        r#"{"choices":[{"delta":{"content":"a"}}],"code":1,"msg":"m"}"#,
        r#"{"code":0,"msg":"ok"}"#,
        r#"{"code":200,"message":"ok"}"#,
        r#"{"code":"Success","message":"ok"}"#,
        r#"{"base_resp":{"status_code":0,"status_msg":"success"}}"#,
        r#"{"base_resp":{"status_code":1027,"status_msg":"m"},"choices":[{"delta":{"content":"a"}}]}"#,
        r#"{"error":"","detail":{},"success":true}"#,
        r#"{"type":"response.mystery","detail":"a","message":"m"}"#,
        r#"{"type":"message_start","message":{"content":[],"error":null}}"#,
        r#"{"message":{"code":1}}"#,
        r#"{"detail":"m"#,
        "[]",
        "\"error\"",
    ] {
        assert_eq!(in_place_of_reply(json, &COMPATIBLE), None, "{json}");
    }
}

#[test]
fn errors_inside_replies_are_classified() {
    for (error, code, status) in [
        (json!({"type": "overloaded_error", "message": "m"}), "upstream_unavailable", 0),
        (json!({"type": "api_error"}), "upstream_unavailable", 0),
        (json!({"type": "server_error", "code": null}), "upstream_unavailable", 0),
        (json!({"code": 502, "message": "m"}), "upstream_unavailable", 0),
        (json!({"code": "502", "message": "m"}), "upstream_unavailable", 0),
        (json!({"code": "service_unavailable"}), "upstream_unavailable", 0),
        (json!({"type": "authentication_error", "message": "m"}), "upstream_unavailable", 0),
        (json!({"type": "invalid_request_error", "message": "m"}), "upstream_refused", 400),
        (json!({"code": 404, "type": "api_error"}), "upstream_refused", 404),
        (json!({"type": "rate_limit_error"}), "upstream_refused", 429),
        (json!({"message": "maximum context length is 9"}), "upstream_refused", 400),
        (json!("just text"), "upstream_unavailable", 0),
        (json!(null), "upstream_unavailable", 0),
    ] {
        let found = from_reply(&error, &COMPATIBLE);
        assert_eq!(found.code(), code, "{error}");
        if let Error::UpstreamRefused { status: found, .. } = found {
            assert_eq!(found, status, "{error}");
        }
    }
}

#[test]
fn an_error_event_may_be_text() {
    for (data, code) in [
        ("too many requests", "upstream_refused"),
        (r#"{"error":{"type":"rate_limit_error"}}"#, "upstream_refused"),
        (r#"{"type":"error","error":{"type":"overloaded_error","message":"m"}}"#, "upstream_unavailable"),
        ("prompt is too long", "upstream_refused"),
        ("<html>", "upstream_unavailable"),
        ("", "upstream_unavailable"),
    ] {
        assert_eq!(from_event(data, &COMPATIBLE).code(), code, "{data}");
    }
    let long = "too many requests ".repeat(4_096);
    assert_eq!(from_event(&long, &COMPATIBLE).code(), "upstream_unavailable", "too long to read");
}

#[test]
fn the_time_of_a_reset_in_the_body_is_a_wait() {
    let body =
        r#"{"error":{"type":"rate_limit_error","message":"usage limit reached, resets at 1994-11-06T08:50:07Z"}}"#;
    for (date, seconds) in [(Some("Sun, 06 Nov 1994 08:49:37 GMT"), 30), (None, 3_600)] {
        let mut answer = http::Response::builder().status(429).body(()).unwrap();
        answer.headers_mut().extend(date.map(|date| (http::header::DATE, date.parse().unwrap())));
        let error = super::from_answer(&answer.into_parts().0, body.as_bytes(), &COMPATIBLE, b"{}");
        let Error::UpstreamRefused { retry_after, .. } = error else { panic!("another code") };
        assert_eq!(retry_after, Some(Duration::from_secs(seconds)), "{date:?}");
    }
}
