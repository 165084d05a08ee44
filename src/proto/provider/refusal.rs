//! The classes of refusals: whose fault it is that a model service refused a request.
//!
//! | class | the caller sees | next call |
//! |---|---|---|
//! | [`Overflow`](Class::Overflow) | a prompt that is too long, with the service's words | none |
//! | [`Request`](Class::Request) | the service's words | none |
//! | [`Account`](Class::Account) | that the service is not available | the next target |
//! | [`Rate`](Class::Rate) | the status and the wait | as for [`Load`](Class::Load) |
//! | [`Load`](Class::Load) | that the service is not available; the wait | retry, then the next |
//! | [`Unknown`](Class::Unknown) | the status | the next target |
//!
//! The names and phrases of an error come before its status, because services disagree about
//! statuses. Names are compared as letters and digits in lower case, phrases in lower case. Both
//! are found anywhere in the text.
//!
//! A service may quote the request, so that its phrases may be the caller's. At a status that
//! blames the request (400, 413, 422), phrases about load and rates do not count, and phrases about
//! the account count only if the request does not have them. No phrase makes an error [`Load`],
//! which counts against the address for all callers.
//!
//! [`Load`]: Class::Load

use super::{error_body::ErrorBody, profile::Profile};
use crate::proto::escapes::decoded;

/// The fault behind a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// The operator's account, key, permission or model at the service.
    Account,
    /// The service is overloaded or failed. A later call can succeed.
    Load,
    /// The prompt is too long for the model.
    Overflow,
    /// Too many requests in a time.
    Rate,
    /// The request.
    Request,
    /// Nothing says whose fault it is.
    Unknown,
}

/// The class of an error. `status` is the status of the answer, or `None` for an error inside a
/// reply that says none. `request` is the body of the request.
pub(super) fn class(status: Option<u16>, error: &ErrorBody, profile: &Profile, request: &[u8]) -> Class {
    let blames_request = matches!(status, Some(400 | 413 | 422));
    let words = Words::new(error);
    let own = if blames_request { words.without_phrases_of(request) } else { Words::new(error) };
    let has_wait = error.retry_after.is_some() || words.has_name("resourceexhausted");
    let overflows = words.say(&OVERFLOW) || words.has_phrase(profile.overflow_phrases);
    let account = own.say(&ACCOUNT) || own.has_phrase(profile.account_phrases);
    // Gemini uses the words of a used-up account for a rate that resets in seconds.
    let account = account && (!has_wait || own.say(&CERTAIN_ACCOUNT));
    let is_busy = [RATE.phrases, LOAD.phrases, profile.load_phrases].iter().any(|row| words.has_phrase(row));
    match status {
        _ if words.say(&TOO_LARGE) => Class::Overflow,
        Some(403) if words.say(&CONTENT) => Class::Request,
        Some(403) if words.say(&RATE) => Class::Rate,
        Some(401..=403 | 407) => Class::Account,
        Some(429) if account => Class::Account,
        Some(429) => Class::Rate,
        _ if overflows => Class::Overflow,
        _ if account => Class::Account,
        Some(404) if words.say(&MODEL) => Class::Account,
        _ if words.has_name_of(RATE.names) => Class::Rate,
        _ if words.has_name_of(LOAD.names) || words.has_name_of(profile.load_phrases) => Class::Load,
        Some(408 | 409 | 423..=425) => Class::Load,
        Some(500..) if words.has_phrase(RATE.phrases) => Class::Rate,
        Some(500..) => Class::Load,
        Some(400 | 413 | 422) => Class::Request,
        None if words.say(&CONTENT) || words.say(&REQUEST) => Class::Request,
        None if words.has_phrase(RATE.phrases) => Class::Rate,
        // A reply that fails without a reason is the service's fault.
        None => Class::Load,
        Some(_) if is_busy => Class::Rate,
        Some(_) => Class::Unknown,
    }
}

/// Returns true if a quota of a day or longer is used up. The wait for it is long, even if the body
/// of the error names a shorter one.
pub(super) fn is_daily(error: &ErrorBody) -> bool {
    let words = format!("{} {}", error.message, error.quotas).to_ascii_lowercase();
    ["per day", "perday", "per month", "permonth", "daily", "(rpd)", "(tpd)"].iter().any(|word| words.contains(word))
}

/// The name or phrase that makes an error a fault of the operator's account, for the log. The words
/// of the error itself may quote the prompt.
pub(super) fn account_reason(error: &ErrorBody) -> Option<&'static str> {
    let words = Words::new(error);
    let rows = [&CERTAIN_ACCOUNT, &ACCOUNT, &MODEL];
    rows.iter().find_map(|row| row.phrases.iter().copied().find(|phrase| words.text.contains(phrase)))
}

/// The words of an error, as they are compared.
struct Words<'a> {
    names: &'a [String],
    /// The message in lower case.
    text: String,
    /// The request in lower case, if its phrases do not count.
    request: Option<String>,
}

impl<'a> Words<'a> {
    fn new(error: &'a ErrorBody) -> Self {
        Self { names: &error.names, text: comparable(&error.message), request: None }
    }

    /// The same words, of which a phrase counts only if `request` does not have it.
    fn without_phrases_of(&self, request: &[u8]) -> Self {
        let request = comparable(&decoded(&String::from_utf8_lossy(request)));
        Self { names: self.names, text: self.text.clone(), request: Some(request) }
    }

    fn say(&self, row: &Row) -> bool {
        self.has_name_of(row.names) || self.has_phrase(row.phrases)
    }

    fn has_name_of(&self, names: &[&str]) -> bool {
        names.iter().any(|name| self.has_name(name))
    }

    fn has_name(&self, name: &str) -> bool {
        self.names.iter().any(|own| own.contains(name))
    }

    /// The phrases of profiles may be codes, so the names are searched as well.
    fn has_phrase(&self, phrases: &[&str]) -> bool {
        phrases.iter().any(|phrase| self.says_phrase(phrase) || self.has_name(phrase))
    }

    fn says_phrase(&self, phrase: &str) -> bool {
        self.text.contains(phrase) && !self.request.as_ref().is_some_and(|request| request.contains(phrase))
    }
}

/// A text as phrases are compared: in lower case, with plain apostrophes.
fn comparable(text: &str) -> String {
    text.to_lowercase().replace('\u{2019}', "'")
}

/// The words of one class.
struct Row {
    names: &'static [&'static str],
    phrases: &'static [&'static str],
}

/// A request over the rate limit on its own. No wait helps.
const TOO_LARGE: Row = Row {
    names: &["tokenslimitreached"],
    phrases: &["request too large for", "request body too large for", "please reduce your message size"],
};

/// A prompt that is too long for the model.
const OVERFLOW: Row = Row {
    names: &["contextlengthexceeded", "contextwindowexceeded", "exceedcontextsize", "prompttoolong"],
    phrases: &[
        "context length",
        "context limit",
        "context size",
        "context the overflows",
        "context window",
        "context_length_exceeded",
        "decoder prompt",
        "exceed model limit",
        "exceeded model token limit",
        "exceeds the maximum allowed length",
        "exceeds the maximum number of tokens",
        "input is too long",
        "input token count",
        "input tokens exceed",
        "inputs tokens + ",
        "`inputs` must have less than",
        "`inputs` tokens + `max_new_tokens`",
        "longer than the maximum model length",
        "longer than the model's",
        "max_tokens must be at least 1, got -",
        "maximum prompt length",
        "prompt exceeds max length",
        "prompt is too long",
        "range of input length",
        "reduce the length of the messages",
        "reduce the length of the prompt",
        "reduce the length of your prompt",
        "too many input tokens",
        "too many tokens",
    ],
};

/// The operator's account, even if the error names a wait.
const CERTAIN_ACCOUNT: Row = Row {
    names: &[
        "accountdeactivated",
        "accountsuspended",
        "apikey",
        "arrearage",
        "billing",
        "creditlimit",
        "exceededcurrentquota",
        "insufficientbalance",
        "insufficientcredit",
        "insufficientfunds",
        "insufficientquota",
        "insufficientuserquota",
        "paymentrequired",
    ],
    phrases: &["credit balance is too low", "insufficient balance", ", limit: 0"],
};

/// The operator's account: its key, permissions, money, quota, region or models.
const ACCOUNT: Row = Row {
    names: &[
        "accessdenied",
        "accountdeactivated",
        "accountsuspended",
        "apikey",
        "arrearage",
        "authentication",
        "billing",
        "creditlimit",
        "deploymentnotfound",
        "exceededcurrentquota",
        "expiredtoken",
        "insufficientbalance",
        "insufficientcredit",
        "insufficientfunds",
        "insufficientquota",
        "insufficientuserquota",
        "invalidmodel",
        "invalidsubscription",
        "modeldecommissioned",
        "modelnotfound",
        "modelnotsupported",
        "paymentrequired",
        "permission",
        "quota",
        "unauthenticated",
        "unauthorized",
        "unrecognizedclient",
        "unsupportedcountry",
    ],
    phrases: &[
        ", limit: 0",
        "account has been deactivated",
        "account has been disabled",
        "account has been suspended",
        "account is deactivated",
        "account is disabled",
        "account is not active",
        "account is suspended",
        "add credits",
        "api key expired",
        "api key has expired",
        "api key is invalid",
        "api key not found",
        "api key not valid",
        "api usage limits",
        "authentication fails",
        "billing details",
        "billing hard limit",
        "check your plan",
        "country, region, or territory",
        "credit balance",
        "credit limit",
        "does not exist or you do not have access",
        "does not have access to model",
        "does not have access to the model",
        "exceeded your current quota",
        "good standing",
        "has been decommissioned",
        "incorrect api key",
        "insufficient account balance",
        "insufficient balance",
        "insufficient credit",
        "insufficient funds",
        "insufficient quota",
        "insufficient_quota",
        "invalid api key",
        "invalid model",
        "invalid x-api-key",
        "location is not supported",
        "model does not exist",
        "model identifier is invalid",
        "model not exist",
        "model not found",
        "model_not_found",
        "more credits",
        "monthly spend",
        "must be verified to",
        "not available in your region",
        "not enough credits",
        "not supported in your region",
        "on-demand throughput isn't supported",
        "organization has been disabled",
        "out of credits",
        "payment required",
        "purchase credits",
        "spend limit",
        "spending limit",
        "please top up",
        "unsupported countries",
        "usage limit has been reached",
        "you don't have access to the model",
        "your account",
    ],
};

/// A model that the service does not have, if the status says that something was not found.
const MODEL: Row = Row { names: &["notfounderror"], phrases: &["model", "deployment"] };

/// A rate limit.
const RATE: Row = Row {
    names: &["ratelimit", "resourceexhausted", "throttl", "toomanyrequests", "userratelimitexceeded"],
    phrases: &["rate limit exceeded", "rate limit reached", "too many requests"],
};

/// An overloaded or failing service.
const LOAD: Row = Row {
    names: &["capacity", "enginebusy", "modelnotready", "overloaded", "serverbusy"],
    phrases: &[
        "at capacity",
        "currently loading",
        "currently overloaded",
        "engine is overloaded",
        "model is loading",
        "model is overloaded",
        "server is busy",
        "service is too busy",
    ],
};

/// The content of the request.
const CONTENT: Row = Row {
    names: &["contentfilter", "contentpolicy", "datainspection", "invalidprompt", "moderation"],
    phrases: &["content management policy", "content policy", "flagged", "requires moderation"],
};

/// The form of the request. Only an error inside a reply needs these names: it has no status.
const REQUEST: Row = Row {
    names: &[
        "badrequest",
        "image",
        "invalid",
        "notfounderror",
        "toolarge",
        "unprocessable",
        "unsupported",
        "validation",
        "valueerror",
    ],
    phrases: &[],
};

#[cfg(test)]
mod tests {
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
            (
                400,
                json!({ "status": "INVALID_ARGUMENT", "message": "API key not valid. Please pass a valid API key." }),
            ),
            (400, json!({ "message": "m", "details": [{ "reason": "API_KEY_INVALID" }] })),
            (
                400,
                json!({ "status": "FAILED_PRECONDITION", "message": "User location is not supported for the API use." }),
            ),
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
    fn a_quota_of_a_day_is_recognized() {
        for (error, expected) in [
            (json!({ "message": "Limit reached on tokens per day (TPD): Limit 100000" }), true),
            (
                json!({ "details": [{ "violations": [{ "quotaId": "GenerateRequestsPerDayPerProjectPerModel-FreeTier" }] }] }),
                true,
            ),
            (json!({ "message": "requests per min (RPM)" }), false),
        ] {
            assert_eq!(is_daily(&ErrorBody::of_value(&error)), expected, "{error}");
        }
    }

    #[test]
    fn words_are_written_as_they_are_compared() {
        for row in [TOO_LARGE, OVERFLOW, CERTAIN_ACCOUNT, ACCOUNT, MODEL, RATE, LOAD, CONTENT, REQUEST] {
            assert!(row.names.iter().all(|name| name.bytes().all(|byte| byte.is_ascii_lowercase())));
            assert!(row.phrases.iter().all(|phrase| *phrase == phrase.to_lowercase()));
        }
    }
}
