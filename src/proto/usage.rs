//! Model tokens: the counts that providers report, and the estimate where they report none.

/// The model tokens that a turn or a conversation used. Every count is informative only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Model tokens sent, including cached ones.
    pub input_tokens: u64,
    /// Model tokens received.
    pub output_tokens: u64,
    /// Model tokens sent that the provider read from its cache.
    pub cached_tokens: u64,
    /// Model tokens sent that the provider wrote to its cache. Only providers that charge for it
    /// report it.
    pub cache_written_tokens: u64,
    /// Model tokens received that were reasoning and not part of the reply.
    pub reasoning_tokens: u64,
}

impl Usage {
    /// The sum of both.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            input_tokens: self.input_tokens.saturating_add(other.input_tokens),
            output_tokens: self.output_tokens.saturating_add(other.output_tokens),
            cached_tokens: self.cached_tokens.saturating_add(other.cached_tokens),
            cache_written_tokens: self.cache_written_tokens.saturating_add(other.cache_written_tokens),
            reasoning_tokens: self.reasoning_tokens.saturating_add(other.reasoning_tokens),
        }
    }
}

/// An estimate of the model tokens in `text_bytes` of text: one for each four bytes, as is common
/// for English.
pub(in crate::proto) fn estimated_tokens(text_bytes: usize) -> u64 {
    u64::try_from(text_bytes.div_ceil(4)).unwrap_or(u64::MAX)
}
