//! The ends of replies: the words of all services, in one table.
//!
//! A word is compared by its letters and digits only, in any case, so `MAX_TOKENS`, `maxTokens` and
//! `max_tokens` are the same word. A word that is not in the table may have a known prefix
//! (`FINISH_REASON_STOP`) or a detail after a colon (`content_filter: RECITATION`). A word with a
//! part that names a failure or a cut, such as `upstream_error`, is never a normal end.
//!
//! | end | result |
//! |---|---|
//! | normal, length, filter, tool calls, stop sequence | a [`FinishReason`] |
//! | failed | [`Error::UpstreamUnavailable`], even after text |
//! | unusable output of the model | [`Error::UpstreamOutput`], even after text |
//! | cut | [`Error::UpstreamCut`], even after text |
//! | no word, or an unknown word, after text or a call | a normal end, named as a [`Repair`] |
//! | no word, or an unknown word, with nothing said | [`Error::UpstreamUnavailable`] |
//!
//! This table is for replies that arrived completely. A reply that breaks off is always cut.
//! Without an end marker, an unknown word does not show that a stream is complete.

use super::profile::Profile;
use crate::proto::{
    error::Error,
    turn::{FinishReason, Repair},
};

/// The end of a reply, as a word of the service states it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The service or a client of it stopped the model.
    Cut,
    /// The service failed. Holds its word, if it is safe to log.
    Failed(String),
    /// The model's output cannot be used. A prompt can lead to that, so it says nothing about the
    /// service. Holds the word, if it is safe to log.
    Unusable(String),
    /// The reply is complete, or a limit or a filter ended it.
    Finished(FinishReason),
    /// The word is not in the table. Holds the word, if it is safe to log.
    Unknown(String),
}

impl End {
    /// The end that a word of a service means. `None` if the word says that the reply has not
    /// ended: it is empty or `null`.
    pub(super) fn of(word: &str, profile: &Profile) -> Option<Self> {
        let plain = plain(word);
        if plain.is_empty() || plain == "null" || plain == "none" {
            return None;
        }
        let own = profile.end_words.iter().find(|(own, _)| self::plain(own) == plain);
        let known = own.map(|(_, reason)| Self::Finished(*reason)).or_else(|| known(&plain)).or_else(|| {
            let detail = word.split_once(':').and_then(|(_, detail)| known(&self::plain(detail)));
            detail.or_else(|| known(&self::plain(word.split(':').next()?)))
        });
        let known = known.or_else(|| of_part(&plain));
        Some(match known.unwrap_or_else(|| Self::Unknown(String::new())) {
            Self::Failed(_) => Self::Failed(loggable(word)),
            Self::Unusable(_) => Self::Unusable(loggable(word)),
            Self::Unknown(_) => Self::Unknown(loggable(word)),
            end => end,
        })
    }

    /// The finish reason of a reply that has arrived completely. `end` is `None` if the service
    /// gave no reason, and `has_said` is true if the reply has text or calls.
    ///
    /// # Errors
    /// [`Error::UpstreamUnavailable`] and [`Error::UpstreamCut`], as the table of this file says.
    pub(super) fn resolve(end: Option<&Self>, has_said: bool) -> Result<(FinishReason, Option<Repair>), Error> {
        match end {
            Some(Self::Cut) => Err(Error::UpstreamCut),
            Some(Self::Failed(word)) => Err(failed(&format!("the reply ended with `{word}`"))),
            Some(Self::Unusable(word)) => {
                Err(Error::UpstreamOutput { cause: format!("the reply ended with `{word}`") })
            }
            Some(Self::Finished(reason)) => Ok((*reason, None)),
            Some(Self::Unknown(_)) | None if has_said => Ok((FinishReason::Stop, Some(Repair::EndReason))),
            Some(Self::Unknown(word)) => Err(failed(&format!("the reply is empty and ended with `{word}`"))),
            None => Err(failed("the reply is empty")),
        }
    }
}

fn failed(cause: &str) -> Error {
    Error::UpstreamUnavailable { cause: cause.to_owned(), retry_after: None }
}

/// The letters and digits of a word, in lower case.
fn plain(word: &str) -> String {
    let chars = word.chars().take(MAX_WORD_CHARS);
    chars.filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
}

/// The word, if it has the form of services' words; else an empty text.
fn loggable(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | ':' | ' ');
    Some(word).filter(|word| word.len() <= MAX_WORD_CHARS && word.chars().all(is_plain)).unwrap_or_default().to_owned()
}

/// The end that a plain word means, with or without a prefix.
fn known(plain: &str) -> Option<End> {
    let find = |word: &str| WORDS.iter().find(|(_, words)| words.contains(&word)).map(|(kind, _)| kind.end());
    find(plain).or_else(|| PREFIXES.iter().find_map(|prefix| find(plain.strip_prefix(prefix)?)))
}

/// The end that a part of a plain word means.
fn of_part(plain: &str) -> Option<End> {
    PARTS.iter().find(|(_, parts)| parts.iter().any(|part| plain.contains(part))).map(|(kind, _)| kind.end())
}

/// A row of the table of words.
#[derive(Clone, Copy)]
enum Kind {
    Cut,
    Failed,
    Filter,
    Length,
    Normal,
    StopSequence,
    ToolCalls,
    Unusable,
}

impl Kind {
    fn end(self) -> End {
        match self {
            Self::Cut => End::Cut,
            Self::Failed => End::Failed(String::new()),
            Self::Filter => End::Finished(FinishReason::ContentFilter),
            Self::Length => End::Finished(FinishReason::Length),
            // The text of the stop sequence, if a service names it, is a delta of its own.
            Self::Normal | Self::StopSequence => End::Finished(FinishReason::Stop),
            Self::ToolCalls => End::Finished(FinishReason::ToolCalls),
            Self::Unusable => End::Unusable(String::new()),
        }
    }
}

/// The longest word that is read, in characters.
const MAX_WORD_CHARS: usize = 64;

/// Prefixes of words, as protocol buffers have them.
const PREFIXES: &[&str] = &["finishreason", "stopreason", "reason"];

/// Parts of words that name a failure or a cut, for words that are not in the table.
const PARTS: &[(Kind, &[&str])] = &[
    (
        Kind::Failed,
        &["crash", "error", "exception", "exhaust", "fail", "outofmemory", "quota", "ratelimit", "timedout", "timeout"],
    ),
    (Kind::Cut, &["cancel", "closed", "disconnect", "preempted", "shutdown", "terminated"]),
];

/// The words of services, as letters and digits in lower case.
///
/// They are those of AI21, Anthropic, Bedrock, Cohere, DashScope, DeepSeek, ERNIE, Gemini,
/// llama.cpp, LM Studio, Mistral, Ollama, OpenAI, OpenRouter, SGLang, TGI, Titan, Together, vLLM,
/// watsonx, xAI and Zhipu.
const WORDS: &[(Kind, &[&str])] = &[
    (
        Kind::Cut,
        &[
            "abort",
            "aborted",
            "cancel",
            "canceled",
            "cancelled",
            "disconnect",
            "disconnected",
            "incomplete",
            "interrupted",
            "notfinished",
            "usercancel",
            "userstopped",
        ],
    ),
    (
        Kind::Failed,
        &[
            "deadlineexceeded",
            "engineerror",
            "error",
            "errorlimit",
            "fail",
            "failed",
            "failure",
            "insufficientsystemresource",
            "insufficientsystemresources",
            "internalerror",
            "internalservererror",
            "invalid",
            "missingthoughtsignature",
            "modelerror",
            "modelunloaded",
            "networkerror",
            "overloaded",
            "servererror",
            "serviceunavailable",
            "timelimit",
            "timeout",
            "unavailable",
            "unknownerror",
        ],
    ),
    (
        Kind::Unusable,
        &[
            "malformedfunctioncall",
            "malformedmodeloutput",
            "malformedresponse",
            "malformedtoolcall",
            "malformedtooluse",
            "toomanytoolcalls",
            "unexpectedtoolcall",
        ],
    ),
    (
        Kind::Filter,
        &[
            "blocked",
            "blocklist",
            "censored",
            "contentblocked",
            "contentfilter",
            "contentfiltered",
            "contentpolicyviolation",
            "errortoxic",
            "filter",
            "filtered",
            "guardrail",
            "guardrailintervened",
            "guardrails",
            "harmful",
            "imageprohibitedcontent",
            "imagerecitation",
            "imagesafety",
            "language",
            "modelarmor",
            "moderation",
            "policyviolation",
            "prohibitedcontent",
            "recitation",
            "refusal",
            "refused",
            "safety",
            "safetyfilter",
            "sensitive",
            "spii",
            "unsafe",
        ],
    ),
    (
        Kind::Length,
        &[
            "contextlength",
            "contextlengthexceeded",
            "contextlengthreached",
            "contextwindowexceeded",
            "length",
            "lengthexceeded",
            "lengthlimit",
            "limit",
            "maxcompletiontokens",
            "maxcontext",
            "maxcontextlength",
            "maxlen",
            "maxlength",
            "maxnewtokens",
            "maxoutputreached",
            "maxoutputtokens",
            "maxpredictedtokensreached",
            "maxtokens",
            "maxtokensreached",
            "modelcontextwindowexceeded",
            "modellength",
            "outputlimit",
            "tokenlimit",
            "tokenlimitexceeded",
            "tokenlimitreached",
            "truncated",
        ],
    ),
    (
        Kind::Normal,
        &[
            "complete",
            "completed",
            "done",
            "end",
            "endofsequence",
            "endofstream",
            "endoftext",
            "endoftoken",
            "endofturn",
            "endturn",
            "eog",
            "eos",
            "eosfound",
            "eostoken",
            "eostokenid",
            "eot",
            "finish",
            "finished",
            "normal",
            "ok",
            "pauseturn",
            "stop",
            "stopped",
            "stoptoken",
            "success",
        ],
    ),
    (
        Kind::StopSequence,
        &["stopcriteria", "stopcriteriamet", "stopsequence", "stopstring", "stopstringfound", "stopword", "word"],
    ),
    (
        Kind::ToolCalls,
        &["functioncall", "functioncalls", "functioncalling", "toolcall", "toolcalls", "tooluse", "tooluses"],
    ),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::provider::COMPATIBLE;

    fn end_of(word: &str) -> Option<End> {
        End::of(word, &COMPATIBLE)
    }

    #[test]
    fn words_of_services_are_known_in_any_case() {
        use FinishReason::{ContentFilter, Length, Stop, ToolCalls};
        for (reason, words) in [
            (Stop, "stop STOP end_turn eos eos_token COMPLETE eosFound FINISH_REASON_STOP REASON_STOP normal"),
            (Stop, "stop_sequence STOP_SEQUENCE stopStringFound STOP_CRITERIA_MET pause_turn Completed"),
            (Length, "length max_tokens MAX_TOKENS model_length max_output_tokens REASON_MAX_LEN LENGTH"),
            (Length, "model_context_window_exceeded contextLengthReached maxPredictedTokensReached"),
            (ContentFilter, "content_filter SAFETY RECITATION PROHIBITED_CONTENT sensitive refusal ERROR_TOXIC"),
            (ContentFilter, "guardrail_intervened CONTENT_FILTERED content_filter:RECITATION content_filter:X"),
            (ToolCalls, "tool_calls tool_use function_call TOOL_CALL toolCalls"),
        ] {
            for word in words.split(' ') {
                assert_eq!(end_of(word), Some(End::Finished(reason)), "{word}");
            }
        }
        for word in ["error", "insufficient_system_resource", "network_error", "TIMEOUT"] {
            assert_eq!(end_of(word), Some(End::Failed(word.to_owned())), "{word}");
        }
        let gemini = "function_call_filter: MALFORMED_FUNCTION_CALL";
        for word in [gemini, "MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL"] {
            assert_eq!(end_of(word), Some(End::Unusable(word.to_owned())), "{word}");
        }
        for word in ["abort", "USER_CANCEL", "cancelled", "incomplete", "not_finished"] {
            assert_eq!(end_of(word), Some(End::Cut), "{word}");
        }
        for word in ["", " ", "null", "NULL", "None", "__"] {
            assert_eq!(end_of(word), None, "{word:?}");
        }
    }

    #[test]
    fn a_part_of_a_word_can_name_a_failure_or_a_cut() {
        use FinishReason::{ContentFilter, Length, Stop};
        for word in "upstream_error provider_failure UnhandledException request_timeout timed_out rate_limited \
            resource_exhausted out_of_memory worker_crashed quota_exceeded"
            .split(' ')
        {
            assert_eq!(end_of(word), Some(End::Failed(word.to_owned())), "{word}");
        }
        for word in ["client_disconnected", "request_cancelled", "terminated", "preempted", "closed", "shutdown"] {
            assert_eq!(end_of(word), Some(End::Cut), "{word}");
        }
        for (reason, words) in [
            (Length, "max_completion_tokens length_exceeded truncated token_limit_exceeded"),
            (ContentFilter, "safety_filter content_policy_violation MODEL_ARMOR unsafe harmful"),
            // A word of the table comes first.
            (ContentFilter, "error_toxic"),
            (Stop, "stop"),
        ] {
            for word in words.split(' ') {
                assert_eq!(end_of(word), Some(End::Finished(reason)), "{word}");
            }
        }
    }

    #[test]
    fn a_word_of_a_profile_comes_first() {
        let profile =
            Profile { end_words: &[("error", FinishReason::Length), ("far_end", FinishReason::Stop)], ..COMPATIBLE };
        assert_eq!(End::of("ERROR", &profile), Some(End::Finished(FinishReason::Length)));
        assert_eq!(End::of("FarEnd", &profile), Some(End::Finished(FinishReason::Stop)));
        assert_eq!(end_of("far_end"), Some(End::Unknown("far_end".to_owned())));
    }

    #[test]
    fn only_the_form_of_a_word_is_logged() {
        assert_eq!(end_of("it said \"hush\""), Some(End::Unknown(String::new())));
        assert_eq!(end_of(&"a".repeat(64)), Some(End::Unknown("a".repeat(64))));
        assert_eq!(end_of(&"a".repeat(65)), Some(End::Unknown(String::new())));
    }

    #[test]
    fn a_failed_end_is_never_a_normal_end() {
        for has_said in [false, true] {
            let failed = End::resolve(end_of("error").as_ref(), has_said).unwrap_err();
            let cause = "the reply ended with `error`".to_owned();
            assert_eq!(failed, Error::UpstreamUnavailable { cause, retry_after: None });
            let unusable = End::resolve(end_of("unexpected_tool_call").as_ref(), has_said).unwrap_err();
            assert!(matches!(unusable, Error::UpstreamOutput { .. }), "{unusable:?}");
            assert_eq!(End::resolve(end_of("abort").as_ref(), has_said), Err(Error::UpstreamCut));
            assert_eq!(End::resolve(end_of("STOP").as_ref(), has_said), Ok((FinishReason::Stop, None)));
        }
    }

    #[test]
    fn an_unknown_end_is_normal_only_after_output() {
        for end in [end_of("zonk"), end_of("null")] {
            assert_eq!(End::resolve(end.as_ref(), true), Ok((FinishReason::Stop, Some(Repair::EndReason))));
            assert_eq!(End::resolve(end.as_ref(), false).unwrap_err().code(), "upstream_unavailable");
        }
    }

    #[test]
    fn no_word_has_two_meanings() {
        let mut words: Vec<_> = WORDS.iter().flat_map(|(_, words)| *words).collect();
        let count = words.len();
        words.sort_unstable();
        words.dedup();
        assert_eq!(words.len(), count);
        assert!(words.iter().all(|word| plain(word) == **word));
    }
}
