//! Profiles: what differs between model services of one wire format, as data.
//!
//! The host of an upstream selects a row of [`PROFILES`]. Configuration can name another row, or
//! override single members of it.

use crate::proto::turn::FinishReason;

/// The known differences of one model service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Profile {
    /// The name in configuration.
    pub name: &'static str,
    /// The hosts of the service. An entry that begins with a dot stands for every host that ends
    /// with it.
    pub hosts: &'static [&'static str],
    /// The member that limits the model tokens of a reply, in the format of Chat Completions.
    pub token_limit: TokenLimit,
    /// True if the service accepts `stream_options`.
    pub stream_options: bool,
    /// True if the service accepts `seed`.
    pub seed: bool,
    /// True if the service accepts a list of texts as content.
    pub text_lists: bool,
    /// The form of the ids of tool calls.
    pub call_ids: CallIds,
    /// True if the service counts the model tokens of a request.
    pub counts_tokens: bool,
    /// True if the service wants thinking blocks back that have no signature.
    pub unsigned_thinking: bool,
    /// The opaque members of a tool call that the service wants back on that call.
    pub call_members: &'static [&'static str],
    /// The opaque members of a message that the service wants back on that message.
    pub message_members: &'static [&'static str],
    /// The service's own words for the end of a reply, in lower case, in addition to the words of
    /// the format.
    pub end_words: &'static [(&'static str, FinishReason)],
    /// Phrases of its errors, in lower case, that mean: the prompt is too long for the model.
    pub overflow_phrases: &'static [&'static str],
    /// Phrases of its errors, in lower case, that mean: the operator's account is at fault.
    pub account_phrases: &'static [&'static str],
    /// Phrases of its errors, in lower case, that mean: the service is overloaded.
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

/// The form of the ids of tool calls that a service accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallIds {
    /// Nine letters and digits.
    NineLetters,
    /// At most this many characters of `[A-Za-z0-9_-]`.
    Plain(usize),
}

impl Profile {
    /// The profile with this name.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Self> {
        PROFILES.iter().find(|profile| profile.name == name).copied()
    }

    /// The profile of the service at a base URL. [`COMPATIBLE`] for a host that no profile names.
    #[must_use]
    pub fn of_base_url(url: &str) -> Self {
        let uri: Option<http::Uri> = url.parse().ok();
        let host = uri.as_ref().and_then(http::Uri::host).unwrap_or_default().to_ascii_lowercase();
        PROFILES.iter().find(|profile| profile.is_at(&host)).copied().unwrap_or(COMPATIBLE)
    }

    fn is_at(&self, host: &str) -> bool {
        self.hosts
            .iter()
            .any(|pattern| if pattern.starts_with('.') { host.ends_with(pattern) } else { host == *pattern })
    }
}

/// A service about which nothing is known.
///
/// Compatible services know the limit on a reply by its older name. OpenAI refuses the older name
/// for its newer models, and Ollama, for example, ignores the newer name silently
/// (ollama/ollama#7125).
pub const COMPATIBLE: Profile = Profile {
    name: "compatible",
    hosts: &[],
    token_limit: TokenLimit::MaxTokens,
    stream_options: true,
    seed: true,
    text_lists: true,
    call_ids: CallIds::Plain(40),
    counts_tokens: false,
    unsigned_thinking: false,
    call_members: &[],
    message_members: &[],
    end_words: &[],
    overflow_phrases: &[],
    account_phrases: &[],
    load_phrases: &[],
};

/// All profiles.
pub const PROFILES: &[Profile] = &[
    COMPATIBLE,
    Profile { name: "anthropic", hosts: &["api.anthropic.com"], counts_tokens: true, ..COMPATIBLE },
    Profile {
        name: "openai",
        hosts: &["api.openai.com"],
        token_limit: TokenLimit::MaxCompletionTokens,
        counts_tokens: true,
        ..COMPATIBLE
    },
];
