//! Profiles: the differences between model services of one wire format, as data.
//!
//! The host of an upstream selects a row of [`PROFILES`]. Configuration can name another row, or
//! override single members of it.

mod table;

use serde_json::Value;

pub use self::table::{COMPATIBLE, PROFILES};
use super::call_id::is_plain_id;
use crate::proto::turn::FinishReason;

/// The known differences of one model service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Profile {
    /// The name in configuration.
    pub name: &'static str,
    /// Other names that configuration accepts.
    pub other_names: &'static [&'static str],
    /// The hosts of the service. An entry that begins with a dot or a hyphen means every host
    /// that ends with it. One that begins with a colon means a port.
    pub hosts: &'static [&'static str],
    /// The member that limits the model tokens of a reply, in the format of Chat Completions.
    pub token_limit: TokenLimit,
    /// True if the service accepts `stream_options`.
    pub stream_options: bool,
    /// The member for a seed.
    pub seed: Seed,
    /// True if the service accepts messages with the role `developer`. Holdall sends none.
    pub developer: bool,
    /// True if the service accepts several system messages. Holdall sends one at most.
    pub system_messages: bool,
    /// True if the service accepts a list of texts as content. If not, texts are joined by line
    /// ends. A message with an image is always a list.
    pub text_lists: bool,
    /// True if the service accepts an assistant message without text and without calls. If not, the
    /// text of an empty reply is written as `[no reply]`.
    pub empty_messages: bool,
    /// The form of the ids of tool calls. Ids that the service itself gave go back unchanged.
    pub call_ids: CallIds,
    /// True if the service counts the model tokens of a request.
    pub counts_tokens: bool,
    /// True if the service wants thinking blocks back that have no signature.
    pub unsigned_thinking: bool,
    /// The opaque members of a tool call that go back to the service on that call.
    pub call_members: &'static [&'static str],
    /// The opaque members of a message that go back to the service on that message. `content` means
    /// the pieces of the content that are not text, such as thinking.
    pub message_members: &'static [&'static str],
    /// The opaque members that go back only on a message with tool calls.
    pub message_members_with_calls: &'static [&'static str],
    /// The requests in which the opaque members go back.
    pub service_state: ServiceState,
    /// A member that the service requires on every message with tool calls. On a message that
    /// another service wrote, its value is a single dot.
    pub required_with_calls: Option<&'static str>,
    /// The service's own words for the end of a reply, in lower case, in addition to the words of
    /// the format.
    pub end_words: &'static [(&'static str, FinishReason)],
    /// Phrases of its errors, in lower case, that mean: the prompt is too long for the model. In
    /// this and the next two lists, a name has letters and digits only, and a number is a code.
    pub overflow_phrases: &'static [&'static str],
    /// Phrases of its errors, in lower case, that mean: the operator's account is at fault.
    pub account_phrases: &'static [&'static str],
    /// Phrases of its errors, in lower case, that mean: the service is overloaded, or a rate is
    /// used up. They come before the account phrases of all services.
    pub load_phrases: &'static [&'static str],
}

/// The member that limits the model tokens of a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenLimit {
    /// `max_completion_tokens`.
    MaxCompletionTokens,
    /// `max_tokens`.
    MaxTokens,
}

impl TokenLimit {
    /// All values.
    pub const ALL: &[Self] = &[Self::MaxCompletionTokens, Self::MaxTokens];

    /// The name of the member, also in configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::MaxCompletionTokens => "max_completion_tokens",
            Self::MaxTokens => "max_tokens",
        }
    }
}

/// The member for a seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seed {
    /// None: the seed is left out, because the service would refuse it.
    None,
    /// `random_seed`.
    RandomSeed,
    /// `seed`.
    Seed,
}

impl Seed {
    /// All values.
    pub const ALL: &[Self] = &[Self::None, Self::RandomSeed, Self::Seed];

    /// The name of the member, also in configuration; `none` without one.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::RandomSeed => "random_seed",
            Self::Seed => "seed",
        }
    }
}

/// The form of the ids of tool calls that a service accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallIds {
    /// Any form.
    AsGiven,
    /// Nine letters and digits.
    NineLetters,
    /// At most this many characters of `[A-Za-z0-9_-]`.
    Plain(usize),
}

impl CallIds {
    /// The form in Anthropic Messages and OpenAI Responses, at every service.
    pub(super) const OF_OTHER_FORMATS: Self = Self::Plain(64);

    /// The values that configuration can name.
    pub const ALL: &[Self] = &[Self::AsGiven, Self::NineLetters, Self::Plain(MAX_PLAIN_ID_BYTES)];

    /// The name in configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AsGiven => "as_given",
            Self::NineLetters => "nine_letters",
            Self::Plain(_) => "plain",
        }
    }

    /// Returns true if an id has this form.
    pub(in crate::proto) fn accepts(self, id: &str) -> bool {
        match self {
            Self::AsGiven => true,
            Self::NineLetters => id.len() == 9 && id.bytes().all(|byte| byte.is_ascii_alphanumeric()),
            Self::Plain(max_bytes) => is_plain_id(id, max_bytes),
        }
    }
}

/// The longest id of a tool call at OpenAI: "Expected a string with maximum length 40".
const MAX_PLAIN_ID_BYTES: usize = 40;

/// The requests in which a service gets its opaque members back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServiceState {
    /// All later requests.
    Always,
    /// None. The members are not kept either.
    Never,
    /// The requests until the next user message. The members are left out from then on, so the
    /// beginning of the request changes once for each tool loop.
    ToolLoop,
}

impl ServiceState {
    /// All values.
    pub const ALL: &[Self] = &[Self::Always, Self::Never, Self::ToolLoop];

    /// The name in configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Always => "always",
            Self::Never => "never",
            Self::ToolLoop => "tool_loop",
        }
    }
}

impl Profile {
    /// The profile with this name, in upper or lower case.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Self> {
        let is_name = |other: &str| other.eq_ignore_ascii_case(name);
        let has_name =
            |profile: &&Self| is_name(profile.name) || profile.other_names.iter().any(|other| is_name(other));
        PROFILES.iter().find(has_name).copied()
    }

    /// The profile of the service at a base URL. [`COMPATIBLE`] for a host that no profile names.
    #[must_use]
    pub fn of_base_url(url: &str) -> Self {
        let uri: Option<http::Uri> = url.parse().ok();
        let host = uri.as_ref().and_then(http::Uri::host).unwrap_or_default().to_ascii_lowercase();
        // A full name, with a dot at its end.
        let host = host.strip_suffix('.').unwrap_or(&host);
        let port = uri.as_ref().and_then(http::Uri::port_u16).map(|port| format!(":{port}")).unwrap_or_default();
        PROFILES.iter().find(|profile| profile.is_at(host, &port)).copied().unwrap_or(COMPATIBLE)
    }

    fn is_at(&self, host: &str, port: &str) -> bool {
        self.hosts.iter().any(|pattern| match pattern.as_bytes().first() {
            Some(b'.' | b'-') => host.ends_with(pattern),
            Some(b':') => port == *pattern,
            _ => host == *pattern,
        })
    }

    /// The opaque members of a tool call that are kept.
    #[must_use]
    pub fn kept_call_members(&self) -> &'static [&'static str] {
        if self.service_state == ServiceState::Never { &[] } else { self.call_members }
    }

    /// Returns true if this opaque member of a message is kept. `has_calls` is true for a message
    /// with tool calls.
    #[must_use]
    pub fn keeps_message_member(&self, name: &str, has_calls: bool) -> bool {
        self.service_state != ServiceState::Never
            && (self.message_members.contains(&name) || (has_calls && self.message_members_with_calls.contains(&name)))
    }

    /// The members with their values, in a fixed order.
    #[must_use]
    pub fn members(&self) -> Vec<(&'static str, Value)> {
        let call_ids = match self.call_ids {
            CallIds::Plain(bytes) => format!("plain, at most {bytes} characters"),
            form => form.as_str().to_owned(),
        };
        let end_words: Vec<_> = self.end_words.iter().map(|(word, _)| *word).collect();
        vec![
            ("token_limit", self.token_limit.as_str().into()),
            ("stream_options", self.stream_options.into()),
            ("seed", self.seed.as_str().into()),
            ("developer", self.developer.into()),
            ("system_messages", self.system_messages.into()),
            ("text_lists", self.text_lists.into()),
            ("empty_messages", self.empty_messages.into()),
            ("call_ids", call_ids.into()),
            ("counts_tokens", self.counts_tokens.into()),
            ("unsigned_thinking", self.unsigned_thinking.into()),
            ("service_state", self.service_state.as_str().into()),
            ("call_members", self.call_members.into()),
            ("message_members", self.message_members.into()),
            ("message_members_with_calls", self.message_members_with_calls.into()),
            ("required_with_calls", self.required_with_calls.into()),
            ("end_words", end_words.into()),
            ("overflow_phrases", self.overflow_phrases.into()),
            ("account_phrases", self.account_phrases.into()),
            ("load_phrases", self.load_phrases.into()),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_select_profiles() {
        for (url, name) in [
            ("https://api.openai.com/v1", "openai"),
            ("https://API.OpenAI.com/v1", "openai"),
            ("https://api.openai.com./v1", "openai"),
            ("https://eu.api.openai.com/v1", "openai"),
            ("https://us.api.openai.com/v1", "openai"),
            ("https://contoso.openai.azure.com/openai/v1", "azure"),
            ("https://api.anthropic.com", "anthropic"),
            ("https://generativelanguage.googleapis.com/v1beta/openai", "gemini"),
            ("https://us-central1-aiplatform.googleapis.com/v1", "gemini"),
            ("https://api.mistral.ai/v1", "mistral"),
            ("https://api.deepseek.com", "deepseek"),
            ("https://api.deepseek.com.:443/v1", "deepseek"),
            ("https://api.deepseek.com..", "compatible"),
            ("https://api.moonshot.ai/v1", "moonshot"),
            ("https://api.moonshot.cn/v1", "moonshot"),
            ("https://api.groq.com/openai/v1", "groq"),
            ("https://api.x.ai/v1", "xai"),
            ("https://open.bigmodel.cn/api/paas/v4", "zhipu"),
            ("https://api.z.ai/api/paas/v4", "zhipu"),
            ("https://dashscope-intl.aliyuncs.com/compatible-mode/v1", "qwen"),
            ("https://openrouter.ai/api/v1", "openrouter"),
            ("http://127.0.0.1:11434/v1", "ollama"),
            ("http://127.0.0.1:8000/v1", "compatible"),
            ("https://openai.azure.com.example", "compatible"),
            ("https://myapi.openai.com/v1", "compatible"),
            ("https://myapi.openai.com.example", "compatible"),
            ("not a url", "compatible"),
        ] {
            assert_eq!(Profile::of_base_url(url).name, name, "{url}");
        }
    }

    #[test]
    fn names_and_hosts_belong_to_one_profile() {
        let names: Vec<_> = PROFILES.iter().flat_map(|row| [&[row.name][..], row.other_names].concat()).collect();
        let hosts: Vec<_> = PROFILES.iter().flat_map(|row| row.hosts).collect();
        for (at, name) in names.iter().enumerate() {
            assert!(!names[..at].contains(name), "{name}");
            assert!(Profile::by_name(name).is_some());
            assert_eq!(Profile::by_name(&name.to_ascii_uppercase()), Profile::by_name(name));
        }
        for (at, host) in hosts.iter().enumerate() {
            assert!(!hosts[..at].contains(host), "{host}");
        }
        assert_eq!(Profile::by_name("nothing"), None);
    }

    #[test]
    fn phrases_are_in_lower_case() {
        for row in PROFILES {
            for phrase in [row.overflow_phrases, row.account_phrases, row.load_phrases].concat() {
                assert_eq!(phrase, phrase.to_lowercase());
            }
        }
    }
}
