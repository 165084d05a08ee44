//! The table of profiles: one row for each service. Comments name the source of surprising facts.

use super::{CallIds, Profile, Seed, ServiceState, TokenLimit};
use crate::proto::turn::FinishReason;

/// An unknown service. Its members have the values that most services accept.
///
/// Compatible services know the limit on a reply by its older name. OpenAI refuses the older name
/// for its newer models, and Ollama, for example, ignores the newer name silently
/// (ollama/ollama#7125). A member that the service itself gave goes back to it, except the text of
/// reasoning on a message without calls: no service is known to need it, and it makes tokens long.
pub const COMPATIBLE: Profile = Profile {
    name: "compatible",
    other_names: &[],
    hosts: &[],
    token_limit: TokenLimit::MaxTokens,
    stream_options: true,
    seed: Seed::Seed,
    developer: false,
    system_messages: false,
    text_lists: false,
    empty_messages: false,
    call_ids: CallIds::Plain(super::MAX_PLAIN_ID_BYTES),
    counts_tokens: false,
    unsigned_thinking: true,
    call_members: &["extra_content", "provider_specific_fields", "signature", "thought_signature"],
    message_members: &["content", "extra_content", "provider_specific_fields", "reasoning_details", "thinking_blocks"],
    message_members_with_calls: &["reasoning", "reasoning_content", "reasoning_signature", "signature"],
    service_state: ServiceState::Always,
    required_with_calls: None,
    end_words: &[],
    overflow_phrases: &[],
    account_phrases: &[],
    load_phrases: &[],
};

/// A service without opaque members.
const STATELESS: Profile =
    Profile { call_members: &[], message_members: &[], message_members_with_calls: &[], ..COMPATIBLE };

/// A server of open models. Its chat template decides what the model sees: "System message must be
/// at the beginning." is an error of some templates, also for a second system message
/// (vllm-project/vllm#41114, anomalyco/opencode#42909).
const SERVER: Profile = Profile { empty_messages: true, call_ids: CallIds::AsGiven, ..COMPATIBLE };

/// All profiles.
pub const PROFILES: &[Profile] = &[
    COMPATIBLE,
    Profile {
        name: "anthropic",
        hosts: &["api.anthropic.com"],
        system_messages: true,
        text_lists: true,
        counts_tokens: true,
        unsigned_thinking: false,
        account_phrases: &["credit balance is too low"],
        ..STATELESS
    },
    Profile {
        name: "azure",
        other_names: &["azure-openai"],
        hosts: &[".cognitiveservices.azure.com", ".openai.azure.com", ".openai.azure.us", ".services.ai.azure.com"],
        // "Unsupported parameter: 'max_tokens' is not supported with this model."
        token_limit: TokenLimit::MaxCompletionTokens,
        developer: true,
        system_messages: true,
        text_lists: true,
        empty_messages: true,
        // The same hosts serve models of DeepSeek, Mistral and others.
        account_phrases: &["access denied due to invalid subscription key"],
        ..COMPATIBLE
    },
    Profile {
        name: "deepseek",
        hosts: &["api.deepseek.com"],
        // No role `developer`: "unknown variant `developer`, expected one of `system`, `user`,
        // `assistant`, `tool`" (earendil-works/pi#1048).
        system_messages: true,
        call_ids: CallIds::AsGiven,
        // "The `reasoning_content` in the thinking mode must be passed back to the API"
        // (earendil-works/pi#3636), also after the tool loop since V4.
        call_members: &[],
        message_members: &["reasoning_content"],
        message_members_with_calls: &[],
        required_with_calls: Some("reasoning_content"),
        account_phrases: &["insufficient balance"],
        load_phrases: &["insufficient system resource", "server overloaded"],
        ..COMPATIBLE
    },
    Profile {
        name: "gemini",
        other_names: &["google"],
        hosts: &["-aiplatform.googleapis.com", "aiplatform.googleapis.com", "generativelanguage.googleapis.com"],
        // "Unknown name \"seed\": Cannot find field" (Vali-98/ChatterUI#227).
        seed: Seed::None,
        system_messages: true,
        text_lists: true,
        call_members: &["extra_content"],
        message_members: &["extra_content"],
        message_members_with_calls: &[],
        overflow_phrases: &["exceeds the maximum number of tokens"],
        account_phrases: &["billing account", "consumer has been suspended"],
        load_phrases: &["model is overloaded", "resource has been exhausted"],
        ..COMPATIBLE
    },
    Profile {
        name: "groq",
        hosts: &["api.groq.com"],
        system_messages: true,
        // No lists of texts: "('messages.0.content' : value must be a string)"
        // (OpenHands/OpenHands#4643).
        // "property 'reasoning_content' is unsupported" (janhq/jan#8136).
        load_phrases: &["over capacity"],
        overflow_phrases: &["reduce the length of the messages"],
        ..STATELESS
    },
    Profile {
        name: "litellm",
        // The services behind it decide about the role `developer` (openclaw/openclaw#11490).
        system_messages: true,
        // A thought signature can be a part of the id, which is then long.
        call_ids: CallIds::AsGiven,
        overflow_phrases: &["contextwindowexceedederror"],
        // A proxy for several accounts; "crossed budget" comes with "no deployments available".
        account_phrases: &["budget has been exceeded", "crossed budget", "exceeded budget", "over budget"],
        load_phrases: &["no deployments available"],
        ..COMPATIBLE
    },
    Profile {
        name: "llama.cpp",
        other_names: &["llama-cpp", "llamacpp"],
        message_members: &[],
        call_members: &[],
        overflow_phrases: &["exceeds the available context size", "exceed_context_size_error"],
        load_phrases: &["loading model", "no slot available"],
        ..SERVER
    },
    Profile {
        name: "lm-studio",
        other_names: &["lmstudio"],
        message_members: &[],
        call_members: &[],
        overflow_phrases: &["trying to keep the first", "context overflow"],
        load_phrases: &["model is loading", "no models loaded"],
        ..SERVER
    },
    Profile {
        name: "mistral",
        hosts: &[".mistral.ai"],
        // "extra_forbidden … stream_options" (avante-corp/avante.nvim#2347). It counts without it.
        stream_options: false,
        // "Mistral wants random_seed, not seed" (posit-dev/chatlas#145).
        seed: Seed::RandomSeed,
        system_messages: true,
        text_lists: true,
        // "Tool call id … must be a-z, A-Z, 0-9, with a length of 9".
        call_ids: CallIds::NineLetters,
        call_members: &[],
        message_members: &["content"],
        message_members_with_calls: &[],
        end_words: &[("model_length", FinishReason::Length)],
        overflow_phrases: &["too large for model with", "exceeds the model's context"],
        load_phrases: &["service tier capacity exceeded"],
        ..COMPATIBLE
    },
    Profile {
        name: "moonshot",
        other_names: &["kimi"],
        hosts: &["api.kimi.com", "api.moonshot.ai", "api.moonshot.cn"],
        system_messages: true,
        // Ids such as `functions.look:0` are part of what the model was trained on.
        call_ids: CallIds::AsGiven,
        // "thinking is enabled but reasoning_content is missing in assistant tool call message"
        // (mastra-ai/mastra#12592).
        call_members: &[],
        message_members: &["reasoning_content"],
        message_members_with_calls: &[],
        required_with_calls: Some("reasoning_content"),
        overflow_phrases: &["exceeded model token limit"],
        account_phrases: &["exceededcurrentquota", "recharge", "usage limit for this billing cycle"],
        load_phrases: &["engineoverloaded", "engine is currently overloaded", "request reached"],
        ..COMPATIBLE
    },
    Profile {
        name: "ollama",
        hosts: &[":11434", "ollama.com"],
        call_members: &[],
        message_members: &[],
        message_members_with_calls: &["reasoning"],
        load_phrases: &["server busy"],
        ..SERVER
    },
    Profile {
        name: "openai",
        // A prefix is the region of the data: `eu.api.openai.com`.
        hosts: &[".api.openai.com", "api.openai.com"],
        token_limit: TokenLimit::MaxCompletionTokens,
        developer: true,
        system_messages: true,
        text_lists: true,
        empty_messages: true,
        counts_tokens: true,
        account_phrases: &["billing_hard_limit_reached", "check your plan and billing details"],
        ..STATELESS
    },
    Profile {
        name: "openrouter",
        hosts: &["openrouter.ai"],
        // The services behind it decide about the role `developer` (earendil-works/pi#5117).
        system_messages: true,
        text_lists: true,
        call_ids: CallIds::AsGiven,
        // The pieces of a streamed entry must be joined by their index, or the signature in it is
        // refused (agno-agi/agno#8861).
        call_members: &[],
        message_members: &["reasoning_details"],
        message_members_with_calls: &[],
        account_phrases: &["insufficient credits", "requires more credits"],
        load_phrases: &["no instances available", "temporarily rate-limited upstream"],
        ..COMPATIBLE
    },
    Profile {
        name: "qwen",
        other_names: &["dashscope"],
        hosts: &[
            ".dashscope.aliyuncs.com",
            "dashscope-intl.aliyuncs.com",
            "dashscope-us.aliyuncs.com",
            "dashscope.aliyuncs.com",
        ],
        // No role `developer`: "developer is not one of ['system', 'assistant', 'user', 'tool',
        // 'function']" (proma-ai/Proma#1496).
        call_members: &[],
        message_members: &[],
        overflow_phrases: &["range of input length should be"],
        account_phrases: &["arrearage", "free allocated quota", "free tier of the model", "overdue-payment"],
        // OpenAI's words for a used-up account are a rate here, in model tokens per minute
        // (alibabacloud.com/help/en/model-studio/rate-limit).
        load_phrases: &[
            "allocated quota exceeded",
            "exceeded your current quota",
            "exceeded your current requests",
            "requests throttling triggered",
        ],
        ..COMPATIBLE
    },
    Profile {
        name: "sglang",
        message_members: &[],
        call_members: &[],
        overflow_phrases: &["longer than the model's context length"],
        load_phrases: &["the request queue is full"],
        ..SERVER
    },
    Profile {
        name: "tgi",
        other_names: &["text-generation-inference"],
        call_members: &[],
        message_members: &[],
        message_members_with_calls: &[],
        end_words: &[("eos_token", FinishReason::Stop), ("stop_sequence", FinishReason::Stop)],
        overflow_phrases: &["`inputs` must have less than", "`inputs` tokens + `max_new_tokens` must be"],
        load_phrases: &["model is overloaded"],
        ..SERVER
    },
    Profile {
        name: "vllm",
        message_members: &[],
        call_members: &[],
        // `reasoning_content` was renamed to `reasoning` in version 0.12.
        message_members_with_calls: &["reasoning", "reasoning_content"],
        overflow_phrases: &["maximum context length"],
        ..SERVER
    },
    Profile {
        name: "xai",
        other_names: &["grok"],
        hosts: &["api.x.ai"],
        // Clients send the role `system` (dust-tt/dust#17580).
        system_messages: true,
        text_lists: true,
        overflow_phrases: &["maximum prompt length"],
        account_phrases: &["used all available credits", "monthly spending limit"],
        ..STATELESS
    },
    Profile {
        name: "zhipu",
        other_names: &["glm", "zai"],
        hosts: &["api.z.ai", "open.bigmodel.cn"],
        system_messages: true,
        call_ids: CallIds::AsGiven,
        // "reasoning_content" of messages with calls is expected back (anomalyco/models.dev#548).
        call_members: &[],
        message_members: &[],
        end_words: &[("sensitive", FinishReason::ContentFilter)],
        // The codes are those of docs.bigmodel.cn/cn/api/api-code.
        overflow_phrases: &["1261", "prompt exceeds max length"],
        account_phrases: &[
            "1000",
            "1001",
            "1002",
            "1003",
            "1004",
            "1100",
            "1110",
            "1111",
            "1112",
            "1113",
            "1120",
            "1121",
            "1211",
            "1220",
            "1309",
            "1311",
            "1313",
            "insufficient balance",
            "no resource package",
        ],
        load_phrases: &["concurrency exceeds limit"],
        ..COMPATIBLE
    },
];
