//! The names in errors of model services that are logged. A service can put any text where a name
//! belongs, such as a part of the prompt, so only published names are.

/// The name to log: itself if it is known, or a status, else `other`.
pub(super) fn logged(name: &str) -> &str {
    let is_number = name.len() <= NUMBER_DIGITS && name.bytes().all(|byte| byte.is_ascii_digit());
    if is_number || KNOWN.iter().any(|known| known.eq_ignore_ascii_case(name)) { name } else { "other" }
}

/// The digits of the longest number that some services use as a code.
const NUMBER_DIGITS: usize = 5;

/// Types, codes and reasons in the documentation of OpenAI, Azure, Anthropic, Amazon Bedrock,
/// Google, Mistral, Groq, OpenRouter, DeepSeek, Ollama, vLLM, SGLang and llama.cpp's server.
const KNOWN: &[&str] = &[
    "ABORTED",
    "ALREADY_EXISTS",
    "APIConnectionError",
    "APIError",
    "APITimeoutError",
    "AccessDenied",
    "AccessDeniedException",
    "AuthenticationError",
    "BadRequest",
    "BadRequestError",
    "CANCELLED",
    "DEADLINE_EXCEEDED",
    "DeploymentNotFound",
    "FAILED_PRECONDITION",
    "Forbidden",
    "INTERNAL",
    "INVALID_ARGUMENT",
    "InternalServerError",
    "InternalServerException",
    "ModelErrorException",
    "ModelNotReadyException",
    "ModelStreamErrorException",
    "ModelTimeoutException",
    "NOT_FOUND",
    "NotFound",
    "NotFoundError",
    "OUT_OF_RANGE",
    "PERMISSION_DENIED",
    "PermissionDeniedError",
    "RESOURCE_EXHAUSTED",
    "RateLimitError",
    "RateLimitReached",
    "ResourceNotFound",
    "ResourceNotFoundException",
    "ServiceQuotaExceededException",
    "ServiceUnavailable",
    "ServiceUnavailableException",
    "ThrottlingException",
    "TooManyRequests",
    "UNAUTHENTICATED",
    "UNAVAILABLE",
    "UNIMPLEMENTED",
    "UNKNOWN",
    "Unauthorized",
    "UnprocessableEntityError",
    "ValidationException",
    "access_terminated",
    "account_deactivated",
    "api_connection_error",
    "api_error",
    "authentication_error",
    "bad_request",
    "billing_error",
    "billing_hard_limit_reached",
    "billing_not_active",
    "capacity_exceeded",
    "content_filter",
    "content_policy_violation",
    "context_length_exceeded",
    "deactivated_workspace",
    "engine_overloaded",
    "exceed_context_size_error",
    "exceeded_current_quota_error",
    "insufficient_quota",
    "insufficient_user_quota",
    "internal_error",
    "internal_server_error",
    "invalid_api_key",
    "invalid_authentication_error",
    "invalid_image",
    "invalid_json_schema",
    "invalid_model",
    "invalid_organization",
    "invalid_project",
    "invalid_prompt",
    "invalid_request",
    "invalid_request_error",
    "invalid_type",
    "invalid_value",
    "ip_not_authorized",
    "json_validate_failed",
    "missing_required_parameter",
    "model_decommissioned",
    "model_not_active",
    "model_not_found",
    "model_terms_required",
    "not_found_error",
    "not_supported_error",
    "organization_restricted",
    "out_of_credits",
    "overloaded",
    "overloaded_error",
    "permission_error",
    "previous_response_not_found",
    "prompt_too_long",
    "quota_exceeded",
    "rate_limit_error",
    "rate_limit_exceeded",
    "rate_limit_reached_error",
    "request_too_large",
    "requests",
    "resource_not_found_error",
    "responsible_ai_policy_violation",
    "server_busy",
    "server_error",
    "service_unavailable",
    "service_unavailable_error",
    "slow_down",
    "string_above_max_length",
    "terms_not_accepted",
    "throttled",
    "timeout",
    "timeout_error",
    "tokens",
    "tokens_limit_reached",
    "tool_use_failed",
    "too_many_requests",
    "unknown_parameter",
    "unknown_url",
    "unsupported_country_region_territory",
    "unsupported_parameter",
    "unsupported_value",
    "upstream_error",
    "validation_error",
    "value_error",
    "vector_store_timeout",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_known_names_and_numbers_are_logged() {
        for name in ["invalid_api_key", "INVALID_API_KEY", "RESOURCE_EXHAUSTED", "429", "20015"] {
            assert_eq!(logged(name), name);
        }
        for name in ["my_diary", "sk_live_4f9a1c7e", "ada", "", "123456", "invalid_api_key_of_ada", "4111111111111111"]
        {
            assert_eq!(logged(name), if name.is_empty() { "" } else { "other" });
        }
    }

    #[test]
    fn each_name_is_listed_once() {
        let mut names: Vec<_> = KNOWN.iter().map(|name| name.to_ascii_lowercase()).collect();
        names.sort_unstable();
        let count = names.len();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
