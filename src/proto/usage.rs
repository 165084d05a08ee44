//! Counts of model tokens, as providers report them and as tokens carry their sums.

/// Model tokens and upstream time that a turn or a conversation used; every count is at least 0 and informative only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Model tokens sent, cached ones included.
    pub input_tokens: u64,
    /// Model tokens received.
    pub output_tokens: u64,
    /// Model tokens sent that the provider had cached.
    pub cached_tokens: u64,
    /// Model tokens sent that the provider has cached now; told by those that ask a price for it.
    pub cache_written_tokens: u64,
    /// Model tokens received that were reasoning, not reply.
    pub reasoning_tokens: u64,
}

impl Usage {
    /// Both together.
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
