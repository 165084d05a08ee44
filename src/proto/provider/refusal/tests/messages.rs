//! Real messages of services, with their classes.

use serde_json::{Value, json};

use super::*;
use crate::proto::provider::profile::PROFILES;

/// The class of a body, at the service with this name. Services without a profile are compatible.
fn class_at(service: &str, status: Option<u16>, body: &Value) -> Class {
    let profile = PROFILES.iter().find(|profile| profile.name == service).unwrap_or(&COMPATIBLE);
    class(status, &ErrorBody::of_value(body), profile, b"{}")
}

/// Messages about the length of the prompt.
const TOO_LONG: &[(&str, &str)] = &[
    ("anthropic", "prompt is too long: 213462 tokens > 200000 maximum"),
    ("anthropic", "input length and `max_tokens` exceed context limit: 199759 + 8192 > 200000, decrease input length"),
    ("azure", "This model's maximum context length is 8192 tokens. However, your messages resulted in 8545 tokens."),
    ("bedrock", "Input is too long for requested model."),
    ("bedrock", "Too many input tokens. Max input tokens: 8192, request input token count: 10000"),
    ("bedrock", "Input exceeds the max input token limit"),
    ("bedrock", "too many total text bytes"),
    ("bedrock", "prompt tokens (330095) exceed model maximum (278528) for base model abc"),
    ("cerebras", "Please reduce the length of the messages or completion. Current length is 9000 while limit is 8192"),
    (
        "cloudflare",
        "The estimated number of input and maximum output tokens (5000) exceeded this model context window limit",
    ),
    ("cohere", "too many tokens: total number of tokens in the prompt cannot exceed 4081 - received 5000."),
    ("cohere", "total tokens exceeds the model's max of 4096"),
    ("copilot", "prompt token count of 103552 exceeds the limit of 90000"),
    ("deepseek", "This model's maximum context length is 131072 tokens. However, you requested 137610 tokens"),
    ("doubao", "Total tokens of image and text exceed max message tokens"),
    ("ernie", "Prompt tokens too long"),
    ("ernie", "the max input characters is 20000"),
    ("fireworks", "The prompt is too long: 9000, model maximum context length: 8191"),
    ("gemini", "The input token count (1196265) exceeds the maximum number of tokens allowed (1048575)."),
    (
        "gemini",
        "Unable to submit request because the input token count is 1100000 but model only supports up to 1048576.",
    ),
    ("groq", "Please reduce the length of the messages or completion."),
    ("litellm", "litellm.ContextWindowExceededError: litellm.BadRequestError: OpenAIException - too much"),
    ("litellm", "OpenAIException - Requested token count exceeds the model's maximum context length of 131072 tokens."),
    (
        "llama.cpp",
        "the request exceeds the available context size. try increasing the context size or enable context shift",
    ),
    ("llama.cpp", "request (14429 tokens) exceeds the available context size (8192 tokens), try increasing it"),
    ("llama.cpp", "Context size has been exceeded."),
    ("llama-cpp-python", "Requested tokens (516) exceed context window of 512"),
    (
        "lm-studio",
        "Trying to keep the first 10136 tokens when context the overflows. However, the model is loaded with",
    ),
    ("lm-studio", "The number of tokens to keep from the initial prompt is greater than the context length."),
    ("lm-studio", "Cannot truncate prompt with n_keep (15028) >= n_ctx (7424)"),
    ("lm-studio", "Reached context length of 4096 tokens with model (arch: llama) that does not currently support it"),
    ("minimax", "invalid params, context window exceeds limit (2013)"),
    (
        "mistral",
        "Prompt contains 40000 tokens and 0 draft tokens, too large for model with 32768 maximum context length",
    ),
    ("moonshot", "Invalid request: Your request exceeded model token limit: 262144 (requested: 269030)"),
    ("ollama", "prompt too long; exceeded max context length by 100918 tokens"),
    ("ollama", "the input length exceeds the context length"),
    ("openai", "Your input exceeds the context window of this model. Please adjust your input and try again."),
    ("openai", "Input tokens exceed the configured limit of 272000 tokens. Your messages resulted in 509178 tokens."),
    (
        "openrouter",
        "This endpoint's maximum context length is 163840 tokens. However, you requested about 200000 tokens",
    ),
    ("openrouter", "Input length 131393 exceeds the maximum allowed input length of 131040 tokens."),
    ("qwen", "<400> InternalError.Algo.InvalidParameter: Range of input length should be [1, 129024]"),
    ("qwen", "Total message token length exceed model limit 30000"),
    ("sglang", "The input (61709 tokens) is longer than the model's context length (40960 tokens)."),
    ("sglang", "Input length (160062 tokens) exceeds the maximum allowed length (59862 tokens)."),
    ("sglang", "Requested token count exceeds the model's maximum context length of 202752 tokens."),
    ("tgi", "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 2048. Given: 5000 `inputs` tokens"),
    ("tgi", "Input validation error: inputs tokens + max_new_tokens must be <= 4097. Given: 4096 inputs tokens"),
    ("tgi", "Input validation error: `inputs` must have less than 1024 tokens. Given: 1500"),
    ("vllm", "This model's maximum context length is 16384 tokens. However, your request has 18225 input tokens."),
    (
        "vllm",
        "This model's maximum context length is 262144 tokens. However, you requested 0 output tokens and your prompt",
    ),
    ("vllm", "The decoder prompt (length 9000) is longer than the maximum model length of 8192."),
    ("vllm", "The prompt (total length 9000) is too long to fit into the model (context length 8192)."),
    ("vllm", "The engine prompt length 9000 exceeds the max_model_len 8192. Please reduce prompt."),
    ("vllm", "max_tokens must be at least 1, got -186."),
    ("watsonx", "the number of input tokens 9000 cannot exceed the total tokens limit 8191 for this model"),
    ("xai", "This model's maximum prompt length is 131072 but the request contains 537812 tokens."),
    ("zhipu", "Prompt exceeds max length"),
    ("zhipu", "Prompt too long"),
    ("zhipu", "Prompt 超长"),
    ("gateway", "输入超长，请减少输入"),
    ("gateway", "请求超出模型最大上下文"),
];

#[test]
fn messages_about_the_length_are_known() {
    for (service, message) in TOO_LONG {
        for status in [Some(400), Some(413), Some(422), Some(500), None] {
            for body in [json!({ "error": { "message": message } }), json!({ "error": message }), json!(message)] {
                assert_eq!(class_at(service, status, &body), Class::Overflow, "{service} {status:?} {body}");
            }
        }
    }
    for (service, status, error) in [
        ("llama.cpp", 400, json!({ "type": "exceed_context_size_error", "message": "m", "n_ctx": 256 })),
        ("copilot", 400, json!({ "code": "model_max_prompt_tokens_exceeded", "message": "m" })),
        ("zhipu", 400, json!({ "code": "1261", "message": "m" })),
        ("zhipu", 400, json!({ "code": 1261, "message": "m" })),
        ("github", 413, json!({ "code": "tokens_limit_reached", "message": "m" })),
        ("together", 403, json!({ "message": "Input token count + max_tokens must be less than the context length" })),
        (
            "groq",
            413,
            json!({ "message": "Request too large for model `m` on tokens per minute (TPM)", "code": "rate_limit_exceeded" }),
        ),
    ] {
        assert_eq!(class_at(service, Some(status), &json!({ "error": error })), Class::Overflow, "{service} {error}");
    }
}

#[test]
fn the_words_of_a_length_can_mean_something_else() {
    let throttled = "Too many tokens, please wait before trying again.";
    for (status, error, expected) in [
        (Some(429), json!({ "message": throttled }), Class::Rate),
        (Some(400), json!({ "__type": "ThrottlingException", "message": throttled }), Class::Rate),
        (None, json!({ "message": format!("Throttling error: {throttled}") }), Class::Rate),
        (Some(429), json!({ "message": "Tokens per minute limit exceeded - too many tokens processed." }), Class::Rate),
        (Some(402), json!({ "message": "Prompt tokens limit exceeded: 230799 > 91442." }), Class::Account),
        (
            Some(400),
            json!({ "message": "max_tokens is too large: 99999. This model supports at most 16384" }),
            Class::Request,
        ),
        (Some(400), json!({ "message": "string too long", "code": "string_above_max_length" }), Class::Request),
        (Some(400), json!({ "code": "12610", "message": "1261 is no code here" }), Class::Request),
        (Some(500), json!({ "message": "model runner crashed unexpectedly" }), Class::Load),
    ] {
        assert_eq!(class_at("zhipu", status, &json!({ "error": error })), expected, "{status:?} {error}");
    }
}

#[test]
fn quoted_words_about_the_length_are_the_callers() {
    let class_of = |message: &str, request: &str| {
        let error = ErrorBody::of_value(&json!({ "error": { "message": message } }));
        class(Some(400), &error, &COMPATIBLE, request.as_bytes())
    };
    let request = r#"{"messages":[{"content":"Why is the prompt too long, or the context length?"}],"type":"prompt is too long"}"#;
    for (message, expected) in [
        ("Invalid schema: 'prompt is too long' is not valid under any of the given types", Class::Request),
        ("unknown type \"prompt is too long\"", Class::Request),
        ("unknown type `prompt is too long`", Class::Request),
        ("cannot parse {\\\"type\\\":\\\"prompt is too long\\\"}", Class::Request),
        ("unknown type \u{201c}prompt is too long\u{201d}", Class::Request),
        ("prompt is too long: 213462 tokens > 200000 maximum", Class::Overflow),
        ("'prompt is too long: 213462 tokens'", Class::Overflow),
        ("This model's maximum context length is 8192 tokens. However, 'max_tokens' is 9", Class::Overflow),
        ("`inputs` must have less than 1024 tokens. Given: 1500", Class::Overflow),
        ("'prompt is too long' is bad, and the prompt is too long", Class::Overflow),
    ] {
        assert_eq!(class_of(message, request), expected, "{message}");
    }
    assert_eq!(class_of("unknown type 'prompt is too long'", "{}"), Class::Overflow);
}

/// Errors of the operator's account.
const ACCOUNT_ERRORS: &[(&str, u16, &str)] = &[
    ("anthropic", 400, r#"{"type": "invalid_request_error", "message": "Your credit balance is too low"}"#),
    ("anthropic", 400, r#"{"type": "invalid_request_error", "message": "This organization has been disabled."}"#),
    ("anthropic", 400, r#"{"message": "The long context beta is not yet available for this subscription."}"#),
    ("deepseek", 402, r#"{"message": "Insufficient Balance", "type": "unknown_error"}"#),
    ("gemini", 400, r#"{"status": "INVALID_ARGUMENT", "message": "API key expired. Please renew the API key."}"#),
    ("gemini", 429, r#"{"status": "RESOURCE_EXHAUSTED", "message": "Your prepayment credits are depleted."}"#),
    (
        "gemini",
        429,
        r#"{"status": "RESOURCE_EXHAUSTED", "message": "The project has exceeded its monthly spending cap."}"#,
    ),
    ("groq", 400, r#"{"message": "Organization has been restricted. Please reach out to support"}"#),
    (
        "litellm",
        400,
        r#"{"message": "Budget has been exceeded! Current cost: 26.075, Max budget: 0.25", "type": "auth_error"}"#,
    ),
    ("litellm", 429, r#"{"message": "Budget has been exceeded! Key=k", "type": "budget_exceeded", "code": "429"}"#),
    (
        "gateway",
        429,
        r#"{"message": "LiteLLM User: engineer-1, exceeded budget for model=m", "type": "budget_exceeded"}"#,
    ),
    ("gateway", 400, r#"{"message": "ExceededBudget: End User=u over budget. Spend=0.0008, Budget=0.0001"}"#),
    ("litellm", 429, r#"{"message": "No deployments available - crossed budget: Exceeded budget for deployment"}"#),
    (
        "litellm",
        429,
        r#"{"message": "litellm.RateLimitError: OpenAIException - You exceeded your current quota, please check your plan and billing details. For more information on this error, read the docs: https://platform.openai.com/docs/guides/error-codes/api-errors.", "type": "throttling_error"}"#,
    ),
    ("minimax", 500, r#"{"message": "insufficient balance"}"#),
    ("mixroute", 400, r#"{"message": "This API key has been disabled"}"#),
    ("moonshot", 429, r#"{"type": "exceeded_current_quota_error", "message": "Your account is suspended"}"#),
    ("moonshot", 403, r#"{"message": "You've reached your usage limit for this billing cycle"}"#),
    ("new-api", 403, r#"{"message": "用户额度不足, 剩余额度: 0", "code": "insufficient_user_quota"}"#),
    ("new-api", 400, r#"{"message": "该令牌额度已用尽"}"#),
    ("new-api", 429, r#"{"message": "无效的令牌"}"#),
    ("openai", 429, r#"{"type": "billing_not_active", "message": "Your account is not active"}"#),
    ("openai", 429, r#"{"type": "insufficient_quota", "code": "credit_balance_exhausted", "message": "m"}"#),
    ("openai", 429, r#"{"type": "m", "code": "organization_spend_limit_exceeded", "message": "m"}"#),
    ("openai", 429, r#"{"message": "You exceeded your current quota, please check your plan and billing details."}"#),
    (
        "openai",
        400,
        r#"{"code": "account_deactivated", "message": "This key is associated with a deactivated account."}"#,
    ),
    ("openrouter", 402, r#"{"code": 402, "message": "This request requires more credits, or fewer max_tokens."}"#),
    ("openrouter", 403, r#"{"code": 403, "message": "Key limit exceeded (total limit)."}"#),
    (
        "qwen",
        400,
        r#"{"code": "Arrearage", "message": "Access denied, please make sure your account is in good standing."}"#,
    ),
    (
        "qwen",
        403,
        r#"{"code": "AllocationQuota.FreeTierOnly", "message": "The free tier of the model has been exhausted."}"#,
    ),
    ("qwen", 429, r#"{"code": "insufficient_quota", "message": "Free allocated quota exceeded."}"#),
    (
        "siliconflow",
        403,
        r#"{"code": 30011, "message": "Your paid balance is insufficient. Please top up and try again."}"#,
    ),
    (
        "xai",
        429,
        r#"{"message": "Your team t has either used all available credits or reached its monthly spending limit."}"#,
    ),
    ("xai", 403, r#"{"message": "Your newly created team doesn't have any credits or licenses yet."}"#),
    ("zhipu", 429, r#"{"code": "1113", "message": "余额不足或无可用资源包,请充值。"}"#),
    ("gateway", 429, r#"{"code": "1113", "message": "您的账户已欠费,请充值后重试"}"#),
    ("gateway", 429, r#"{"type": "1113", "message": "Insufficient balance or no resource package. Please recharge."}"#),
    ("zhipu", 400, r#"{"code": "1309", "message": "您的 GLM Coding Plan 套餐已到期"}"#),
    ("zhipu", 400, r#"{"code": "1211", "message": "模型不存在，请检查模型代码。"}"#),
];

#[test]
fn messages_about_the_account_are_known() {
    for (service, status, error) in ACCOUNT_ERRORS {
        let body = json!({ "error": serde_json::from_str::<Value>(error).unwrap() });
        assert_eq!(class_at(service, Some(*status), &body), Class::Account, "{service} {error}");
    }
}

#[test]
fn a_rate_can_have_the_words_of_an_account() {
    for (service, error) in [
        (
            "anthropic",
            json!({ "type": "rate_limit_error", "message": "This request would exceed your account's rate limit." }),
        ),
        (
            "moonshot",
            json!({ "type": "rate_limit_reached_error", "message": "Your account o request reached max organization concurrency: 1" }),
        ),
        (
            "gateway",
            json!({ "message": "Your account o request reached max request: 3, please try again after 1 seconds" }),
        ),
        (
            "gemini",
            json!({ "status": "RESOURCE_EXHAUSTED", "message": "You exceeded your current quota, please check your plan and billing details." }),
        ),
        (
            "gemini",
            json!({ "message": "You exceeded your current quota. * Quota exceeded for metric, limit: 125000\nPlease retry in 15.002899939s." }),
        ),
        (
            "openrouter",
            json!({ "code": 429, "message": "Rate limit exceeded: free-models-per-day. Add 10 credits to unlock 1000" }),
        ),
        (
            "qwen",
            json!({ "type": "insufficient_quota", "code": "insufficient_quota", "message": "You exceeded your current quota, please check your plan and billing details." }),
        ),
        (
            "qwen",
            json!({ "code": "Throttling.AllocationQuota", "message": "Allocated quota exceeded, please increase your quota limit." }),
        ),
        ("zhipu", json!({ "code": "1302", "message": "您当前使用该 API 的并发数过高" })),
        ("zhipu", json!({ "code": "1310", "message": "您已达到每周/每月使用上限" })),
    ] {
        assert_eq!(class_at(service, Some(429), &json!({ "error": error })), Class::Rate, "{service} {error}");
    }
}

#[test]
fn errors_without_a_status_have_codes_of_their_own() {
    let minimax = |code: u32, words: &str| json!({ "base_resp": { "status_code": code, "status_msg": words } });
    for (service, body, expected) in [
        ("minimax", minimax(1000, "unknown error"), Class::Load),
        ("minimax", minimax(1001, "request timeout"), Class::Load),
        ("minimax", minimax(1002, "rate limit"), Class::Rate),
        ("minimax", minimax(1004, "not authorized"), Class::Account),
        ("minimax", minimax(1008, "insufficient balance"), Class::Account),
        ("minimax", minimax(1026, "input new_sensitive"), Class::Request),
        ("minimax", minimax(1039, "token limit"), Class::Rate),
        ("minimax", minimax(2013, "invalid params"), Class::Request),
        ("minimax", minimax(2013, "invalid params, context window exceeds limit"), Class::Overflow),
        ("minimax", minimax(2049, "invalid api key"), Class::Account),
        ("minimax", minimax(2056, "usage limit exceeded"), Class::Rate),
        (
            "zhipu",
            json!({ "error": { "code": "1301", "message": "系统检测到输入或生成内容可能包含不安全或敏感内容" } }),
            Class::Request,
        ),
        ("zhipu", json!({ "error": { "code": "1302", "message": "您当前使用该 API 的并发数过高" } }), Class::Rate),
        ("zhipu", json!({ "error": { "code": "1000", "message": "身份验证失败" } }), Class::Account),
        ("zhipu", json!({ "error": { "code": "1261", "message": "m" } }), Class::Overflow),
        (
            "qwen",
            json!({ "error": { "code": "data_inspection_failed", "message": "Input data may contain inappropriate content." } }),
            Class::Request,
        ),
        ("gateway", json!({ "msg": "请求过于频繁" }), Class::Rate),
    ] {
        assert_eq!(class_at(service, None, &body), expected, "{service} {body}");
    }
}
