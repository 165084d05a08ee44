//! Tests of the classes of refusals.

mod messages;

use serde_json::json;

use super::*;
use crate::proto::provider::COMPATIBLE;

fn class_of(status: impl Into<Option<u16>>, body: &serde_json::Value) -> Class {
    class(status.into(), &ErrorBody::of_value(body), &COMPATIBLE, b"{}")
}

#[test]
fn a_prompt_that_is_too_long_is_recognized() {
    for message in [
        "This model's maximum context length is 8192 tokens. However, you requested 9000 tokens",
        "Your input exceeds the context window of this model.",
        "prompt is too long: 210000 tokens > 200000 maximum",
        "input length and `max_tokens` exceed context limit: 188240 + 21333 > 200000",
        "Input is too long for requested model.",
        "the request exceeds the available context size, try increasing it",
        "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).",
        "Invalid request: Your request exceeded model token limit: 131072",
        "The input (9000 tokens) is longer than the model's context length (8192 tokens).",
        "Please reduce the length of the messages or completion.",
        "Input length (9000 tokens) exceeds the maximum allowed length (8192 tokens).",
        "This model's maximum prompt length is 131072 but the request contains 200000 tokens.",
        "too many tokens: total number of tokens in the prompt cannot exceed 4081",
        "Range of input length should be [1, 30720]",
        "`inputs` must have less than 1024 tokens. Given: 1500",
        "Request body too large for gpt-4o model. Max size: 8000 tokens.",
        "Trying to keep the first 5000 tokens when context the overflows.",
    ] {
        for status in [400, 413, 422, 500] {
            assert_eq!(class_of(status, &json!({ "error": { "message": message } })), Class::Overflow, "{message}");
        }
        assert_eq!(class_of(None, &json!({ "message": message })), Class::Overflow, "{message}");
    }
    let by_code = json!({ "error": { "message": "m", "code": "context_length_exceeded" } });
    assert_eq!(class_of(400, &by_code), Class::Overflow);
    assert_eq!(class_of(401, &by_code), Class::Account);
    assert_eq!(class_of(429, &by_code), Class::Rate);
    let over_the_rate = json!({ "error": { "message": "Request too large for gpt-4 on tokens per min (TPM)" } });
    assert_eq!(class_of(429, &over_the_rate), Class::Overflow, "no wait helps");
    for error in [
        json!({ "message": "max_tokens is too large: 99999", "code": "invalid_value" }),
        json!({ "message": "string too long", "code": "string_above_max_length" }),
        json!({ "type": "request_too_large", "message": "Request exceeds the maximum size" }),
    ] {
        assert_eq!(class_of(413, &error), Class::Request, "{error}");
    }
}

#[test]
fn the_operators_account_is_recognized_at_every_status() {
    for (status, error) in [
        (
            400,
            json!({ "type": "invalid_request_error", "message": "Your credit balance is too low to access the API" }),
        ),
        (400, json!({ "message": "You have reached your specified API usage limits. You will regain access on" })),
        (400, json!({ "status": "INVALID_ARGUMENT", "message": "API key not valid. Please pass a valid API key." })),
        (400, json!({ "message": "m", "details": [{ "reason": "API_KEY_INVALID" }] })),
        (400, json!({ "status": "FAILED_PRECONDITION", "message": "User location is not supported for the API use." })),
        (400, json!({ "message": "Your organization must be verified to stream this model." })),
        (400, json!({ "code": "Arrearage", "message": "Access denied" })),
        (400, json!({ "message": "Model Not Exist" })),
        (400, json!({ "code": "model_decommissioned", "message": "m" })),
        (401, json!({})),
        (401, json!({ "message": "rate limit exceeded" })),
        (402, json!({ "message": "Insufficient Balance" })),
        (403, json!({ "code": "unsupported_country_region_territory" })),
        (403, json!({ "message": "this key cannot" })),
        (404, json!({ "code": "model_not_found", "message": "m" })),
        (404, json!({ "type": "not_found_error", "message": "claude-x" })),
        (404, json!("model 'llama9' not found, try pulling it first")),
        (404, json!({ "code": "DeploymentNotFound" })),
        (407, json!({})),
        (429, json!({ "type": "insufficient_quota", "code": "insufficient_quota", "message": "m" })),
        (429, json!({ "type": "exceeded_current_quota_error", "message": "m" })),
        (429, json!({ "message": "Quota exceeded for metric: m/free_tier, limit: 0. Please retry in 31s." })),
        (500, json!({ "message": "billing_not_active", "type": "insufficient_quota" })),
    ] {
        assert_eq!(class_of(status, &json!({ "error": error })), Class::Account, "{status} {error}");
    }
}

#[test]
fn a_rate_is_not_the_account() {
    for (status, error) in [
        (429, json!({ "type": "rate_limit_error", "message": "m" })),
        (429, json!({ "code": "rate_limit_exceeded", "type": "tokens" })),
        (
            429,
            json!({ "status": "RESOURCE_EXHAUSTED", "message": "You exceeded your current quota, please check your plan and billing details." }),
        ),
        (429, json!({ "message": "You exceeded your current quota. Please retry in 37s." })),
        (429, json!({})),
        (403, json!({ "status": "rateLimitExceeded" })),
        (400, json!({ "__type": "ThrottlingException" })),
    ] {
        assert_eq!(class_of(status, &json!({ "error": error })), Class::Rate, "{status} {error}");
    }
}

#[test]
fn the_rest_follows_from_the_status() {
    for (status, error, expected) in [
        (400, json!({ "message": "`a` is bad" }), Class::Request),
        (400, json!({ "message": "Invalid schema for function 'billing_quota_permission'" }), Class::Request),
        (400, json!({ "type": "overloaded_error" }), Class::Load),
        (403, json!({ "message": "Your input was flagged", "code": 403 }), Class::Request),
        (404, json!({ "detail": "Not Found" }), Class::Unknown),
        (404, json!({ "message": "No endpoints found that support image input" }), Class::Unknown),
        (405, json!({}), Class::Unknown),
        (408, json!({}), Class::Load),
        (409, json!({}), Class::Load),
        (413, json!({}), Class::Request),
        (418, json!({}), Class::Unknown),
        (422, json!({}), Class::Request),
        (424, json!({}), Class::Load),
        (425, json!({}), Class::Load),
        (500, json!({}), Class::Load),
        (503, json!("Model is currently loading"), Class::Load),
        (529, json!({ "type": "overloaded_error" }), Class::Load),
    ] {
        assert_eq!(class_of(status, &error), expected, "{status} {error}");
    }
    for (error, expected) in [
        (json!({ "type": "invalid_request_error", "message": "m" }), Class::Request),
        (json!({ "code": "invalid_image", "message": "m" }), Class::Request),
        (json!({ "type": "overloaded_error" }), Class::Load),
        (json!("Provider disconnected"), Class::Load),
        (json!(null), Class::Load),
    ] {
        assert_eq!(class_of(None, &error), expected, "{error}");
    }
}

#[test]
fn a_profile_adds_phrases() {
    let profile = Profile {
        overflow_phrases: &["1261"],
        account_phrases: &["1113"],
        load_phrases: &["viel zu tun"],
        ..COMPATIBLE
    };
    for (status, error, expected) in [
        (400, json!({ "code": "1261", "message": "m" }), Class::Overflow),
        (429, json!({ "code": "1113", "message": "m" }), Class::Account),
        (400, json!({ "message": "Viel zu tun." }), Class::Request),
        (404, json!({ "message": "Viel zu tun." }), Class::Rate),
        (503, json!({ "message": "Viel zu tun." }), Class::Load),
    ] {
        let error = ErrorBody::of_value(&json!({ "error": error }));
        assert_eq!(class(Some(status), &error, &profile, b"{}"), expected);
    }
}

#[test]
fn words_of_the_request_do_not_decide() {
    for (status, message, expected) in [
        (400, "schema {\"type\":\"server is busy\"} is not valid", Class::Request),
        (413, "too many requests in `messages[0]`", Class::Request),
        (422, "'model is overloaded' is not a type", Class::Request),
        (410, "'model is overloaded' is gone", Class::Rate),
        (404, "too many requests", Class::Rate),
    ] {
        assert_eq!(class_of(status, &json!({ "error": { "message": message } })), expected, "{message}");
    }
    let quoted = json!({ "error": { "message": "bad schema: Your Account\u{2019}s credit limit" } });
    let error = ErrorBody::of_value(&quoted);
    for (request, expected) in [
        (r#"{"type":"your account's credit limit"}"#, Class::Request),
        (r#"{"type":"your\u0020account's credit\u0020limit"}"#, Class::Request),
        (r#"{"type":"your account's"}"#, Class::Account),
        ("{}", Class::Account),
    ] {
        assert_eq!(class(Some(400), &error, &COMPATIBLE, request.as_bytes()), expected, "{request}");
    }
    let named = ErrorBody::of_value(&json!({ "error": { "message": "m", "code": "insufficient_quota" } }));
    assert_eq!(class(Some(400), &named, &COMPATIBLE, b"insufficient_quota"), Class::Account);
    let inside = json!({ "type": "invalid_request_error", "message": "'server is busy' is not a type" });
    assert_eq!(class_of(None, &inside), Class::Request);
}

#[test]
fn a_long_quota_is_recognized() {
    for (error, expected) in [
        (json!({ "message": "Limit reached on tokens per day (TPD): Limit 100000" }), true),
        (
            json!({ "details": [{ "violations": [{ "quotaId": "GenerateRequestsPerDayPerProjectPerModel-FreeTier" }] }] }),
            true,
        ),
        (json!({ "message": "Rate limit exceeded: free-models-per-day. Add 10 credits to unlock 1000" }), true),
        (json!({ "message": "request reached organization TPD rate limit, current: 1506556" }), true),
        (json!({ "message": "usage limit exceeded, 5-hour usage limit reached for Token Plan" }), true),
        (json!({ "message": "您已达到每周/每月使用上限" }), true),
        (json!({ "message": "requests per min (RPM)" }), false),
    ] {
        assert_eq!(is_long_quota(&ErrorBody::of_value(&error)), expected, "{error}");
    }
}

#[test]
fn words_are_written_as_they_are_compared() {
    for row in [TOO_LARGE, OVERFLOW, MONEY, ACCOUNT, MODEL, RATE, LOAD, CONTENT, REQUEST] {
        let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        assert!(row.names.iter().all(|name| name.bytes().all(is_plain)));
        assert!(row.phrases.iter().all(|phrase| *phrase == phrase.to_lowercase()));
    }
}
