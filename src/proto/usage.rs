//! Model tokens and time: the counts that providers report, and the estimates where they report
//! none.

use std::time::Duration;

/// The model tokens that a call, a turn or a conversation used. Every count is informative only.
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
    /// True if a count is an estimate of this server.
    pub estimated: bool,
}

impl Usage {
    /// The sum of both. It is an estimate if one of them is.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            input_tokens: self.input_tokens.saturating_add(other.input_tokens),
            output_tokens: self.output_tokens.saturating_add(other.output_tokens),
            cached_tokens: self.cached_tokens.saturating_add(other.cached_tokens),
            cache_written_tokens: self.cache_written_tokens.saturating_add(other.cache_written_tokens),
            reasoning_tokens: self.reasoning_tokens.saturating_add(other.reasoning_tokens),
            estimated: self.estimated || other.estimated,
        }
    }

    /// Model tokens, sent and received.
    #[must_use]
    pub fn total_tokens(self) -> u64 {
        self.input_tokens.saturating_add(self.output_tokens)
    }
}

/// What upstream calls have cost: model tokens, and the time that the upstreams worked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spent {
    /// The model tokens.
    pub usage: Usage,
    /// The time, without waits in the queues of upstreams.
    pub elapsed: Duration,
}

impl Spent {
    /// The sum of both.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self { usage: self.usage.plus(other.usage), elapsed: self.elapsed.saturating_add(other.elapsed) }
    }
}

/// An estimate of the model tokens in `text_bytes` of text: one for each four bytes, as is common
/// for English.
pub(in crate::proto) fn estimated_tokens(text_bytes: usize) -> u64 {
    u64::try_from(text_bytes.div_ceil(4)).unwrap_or(u64::MAX)
}

/// The images of a request, which count at a flat price: their tokens do not follow from their
/// bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::proto) struct Images {
    pub(in crate::proto) count: usize,
    /// The bytes of their URLs, with the data of inline images.
    pub(in crate::proto) bytes: usize,
}

impl Images {
    /// An estimate of the model tokens in a request with these images and a body of `body_bytes`.
    pub(in crate::proto) fn estimated_tokens(self, body_bytes: usize) -> u64 {
        let images = u64::try_from(self.count).unwrap_or(u64::MAX).saturating_mul(IMAGE_TOKENS);
        estimated_tokens(body_bytes.saturating_sub(self.bytes)).saturating_add(images)
    }
}

/// The model tokens of one image. Services count 85 to 1,600 for usual sizes.
const IMAGE_TOKENS: u64 = 1_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sum_with_an_estimate_is_an_estimate() {
        let reported = Usage { input_tokens: 3, output_tokens: 2, ..Usage::default() };
        let estimated = Usage { input_tokens: u64::MAX, estimated: true, ..Usage::default() };
        assert!(!reported.plus(reported).estimated && reported.plus(estimated).estimated);
        assert!(estimated.plus(reported).estimated);
        assert_eq!((reported.plus(reported).total_tokens(), reported.plus(estimated).total_tokens()), (10, u64::MAX));
    }

    #[test]
    fn images_count_at_a_flat_price() {
        assert_eq!(Images::default().estimated_tokens(4_001), 1_001);
        assert_eq!(Images { count: 2, bytes: 4_000 }.estimated_tokens(4_400), 2_100);
        // Some formats write the data of an image without the rest of its URL.
        assert_eq!(Images { count: 1, bytes: 4_000 }.estimated_tokens(3_990), 1_000);
    }
}
