//! Tests of the bodies of errors.

use super::*;

#[test]
fn the_message_is_found_in_every_shape() {
    for (body, found) in [
        (r#"{"error":{"message":"no","type":"x"}}"#, "no"),
        (r#"{"type":"error","error":{"type":"x","message":"no"}}"#, "no"),
        (r#"[{"error":{"code":400,"message":"no","status":"INVALID_ARGUMENT"}}]"#, "no"),
        (r#"{"object":"error","message":"no","type":"BadRequestError","param":null,"code":400}"#, "no"),
        (r#"{"error":"no","error_type":"validation"}"#, "no"),
        (r#"{"detail":"no"}"#, "no"),
        (r#"{"detail":{"error":"no"}}"#, "no"),
        (
            r#"{"detail":[{"loc":["body","messages",0],"msg":"field required","type":"value_error"},{"loc":["body"],"msg":"bad"}]}"#,
            "body.messages.0: field required; body: bad",
        ),
        (r#"{"object":"error","message":{"detail":[{"loc":["body"],"msg":"bad"}]}}"#, "body: bad"),
        (r#"{"errors":[{"message":"no","code":7}]}"#, "no"),
        (r#"{"errors":["no","and"]}"#, "no"),
        (r#"{"message":"no"}"#, "no"),
        (r#"{"error":"Bad Request","message":"no"}"#, "no"),
        (r#"{"Message":"no"}"#, "no"),
        (r#"{"error_code":336007,"error_msg":"no"}"#, "no"),
        (r#"{"base_resp":{"status_code":2013,"status_msg":"no"}}"#, "no"),
        (
            r#"{"error":{"message":"Provider returned error","metadata":{"raw":"{\"error\":{\"message\":\"no\"}}"}}}"#,
            "no",
        ),
        (r#"{"error":{"message":"{\"error\":{\"message\":\"no\"}}"}}"#, "no"),
        (r#""no""#, "no"),
        ("\u{feff}no", "no"),
        ("no\n", "no"),
        (r#"{"error":{"message":""}}"#, ""),
        (r#"{"error":{"message":{}}}"#, ""),
        (r#"{"error":{"mess"#, ""),
        ("<html>502</html>", ""),
        ("[]", ""),
        ("5", ""),
        ("", ""),
    ] {
        assert_eq!(ErrorBody::of_answer(body.as_bytes()).message, found, "{body}");
    }
    assert_eq!(ErrorBody::of_answer(b"\xff").message, "");
    let deep = format!("{}\"no\"{}", "{\"error\":".repeat(9), "}".repeat(9));
    assert_eq!(ErrorBody::of_answer(deep.as_bytes()).message, "");
}

#[test]
fn names_waits_and_quotas_are_found() {
    let body = br#"[{"error":{"code":429,"message":"Slow down.","status":"RESOURCE_EXHAUSTED","details":[
        {"@type":"type.googleapis.com/google.rpc.QuotaFailure","violations":[{"quotaMetric":"m/requests","quotaId":"RequestsPerDay"}]},
        {"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"37.5s"}]}}]"#;
    let body = ErrorBody::of_answer(body);
    assert_eq!((body.message.as_str(), body.status), ("Slow down.", Some(429)));
    assert_eq!(body.names, ["429", "resourceexhausted"]);
    assert_eq!(body.logged, ["429", "RESOURCE_EXHAUSTED"]);
    assert_eq!(body.retry_after, Some(Duration::from_millis(37_500)));
    assert_eq!(body.quotas, "RequestsPerDay m/requests ");
}

#[test]
fn a_wait_in_words_is_read() {
    for (message, millis) in [
        ("Rate limit reached. Please try again in 7m12.5s. Visit", Some(432_500)),
        ("Please retry in 20ms", Some(20)),
        ("retry after 20 seconds.", Some(20_000)),
        ("Rate limit reached. Please try again in 50.597142857s. Visit", Some(50_597)),
        ("Please wait 10 seconds before retrying", Some(10_000)),
        ("Too many requests. Wait for at least 3 sec.", Some(3_000)),
        ("Try again in 2 minutes", Some(120_000)),
        ("try again in 250ms", Some(250)),
        ("Please try again in 1m30.5s", Some(90_500)),
        ("Try again in 3 hours, 17 minutes, 52 seconds.", Some(11_872_000)),
        ("exceeded call rate limit. Please retry after 3 seconds. Please go here", Some(3_000)),
        ("please try again after 1 seconds", Some(1_000)),
        ("Please try again in about a minute.", Some(60_000)),
        ("Please retry after 20.", Some(20_000)),
        ("retry-after: 7", Some(7_000)),
        ("Wait for the 2 images. Retry in 5s", Some(5_000)),
        ("请在 30 秒后重试", Some(30_000)),
        ("请求过多，请等待5分钟", Some(300_000)),
        ("Please try again in a while", None),
        ("Please wait 2 more requests", None),
        ("retry after 2026-05-15T15:00:00Z", None),
        ("20 seconds", None),
    ] {
        let body = ErrorBody::of_value(&serde_json::json!({ "error": { "message": message } }));
        assert_eq!(body.retry_after.map(|wait| wait.as_millis()), millis, "{message}");
    }
    for (member, seconds) in [
        (r#""retryDelay":{"seconds":21}"#, 21.0),
        (r#""retryDelay":{"seconds":"21","nanos":500000000}"#, 21.5),
        (r#""retryDelay":"21s""#, 21.0),
        (r#""retryDelay":"0.5s""#, 0.5),
        (r#""retry_after":3"#, 3.0),
        (r#""retryAfter":"3""#, 3.0),
        (r#""retry_after_ms":250"#, 0.25),
        (r#""resets_in_seconds":13872"#, 13_872.0),
        (r#""reset_at":60"#, 60.0),
    ] {
        let body = format!("{{\"error\":{{\"message\":\"m\",{member}}}}}");
        let read = ErrorBody::of_answer(body.as_bytes()).retry_after;
        assert_eq!(read, Some(Duration::from_secs_f64(seconds)), "{member}");
    }
    for (wait, millis) in [("5", 5_000), ("\"5\"", 5_000), ("\"1m\"", 60_000), ("20.5", 20_500)] {
        let body = format!("{{\"error\":\"loading\",\"estimated_time\":{wait}}}");
        let read = ErrorBody::of_answer(body.as_bytes()).retry_after;
        assert_eq!(read, Some(Duration::from_millis(millis)), "{wait}");
    }
}

#[test]
fn the_time_of_a_reset_is_found() {
    for (error, at) in [
        (r#"{"message":"5-hour usage limit reached, resets at 2026-05-15T15:00:00Z (2056)"}"#, Some(1_778_857_200)),
        (r#"{"message":"Try again at 2026-05-15T15:00:00+00:00."}"#, Some(1_778_857_200)),
        (r#"{"message":"m","metadata":{"headers":{"X-RateLimit-Reset":"1778857200000"}}}"#, Some(1_778_857_200)),
        (r#"{"message":"m","resets_at":1778857200}"#, Some(1_778_857_200)),
        (r#"{"message":"m","resets_at":"soon"}"#, None),
        (r#"{"message":"Try again at noon."}"#, None),
    ] {
        let read = ErrorBody::of_answer(format!("{{\"error\":{error}}}").as_bytes()).resets_at;
        assert_eq!(read, at.map(Instant), "{error}");
    }
}

#[test]
fn the_codes_of_minimax_have_names_of_their_own() {
    let body = ErrorBody::of_answer(br#"{"base_resp":{"status_code":1002,"status_msg":"rate limit"}}"#);
    assert_eq!((body.message.as_str(), body.names.as_slice()), ("rate limit", &["baseresp1002".to_owned()][..]));
}

#[test]
fn a_list_in_two_members_is_shown_once() {
    let list = r#"[{"type":"extra_forbidden","loc":["body","tools"],"msg":"Extra inputs are not permitted"}]"#;
    let body = format!(r#"{{"object":"Error","detail":{list},"message":{list}}}"#);
    assert_eq!(ErrorBody::of_answer(body.as_bytes()).message, "body.tools: Extra inputs are not permitted");
}
