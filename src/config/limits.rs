//! The limits on sizes: the table `limits`.

use super::{check::minimum, error::ConfigError, raw::RawLimits};
use crate::proto::limits::Limits;

impl RawLimits {
    /// The limits of tokens, histories and requests.
    pub(super) fn limits(&self) -> Result<Limits, ConfigError> {
        let mut limits = Limits::default();
        for (key, limit, value) in [
            ("limits.body_bytes", &mut limits.body_bytes, self.body_bytes),
            ("limits.token_bytes", &mut limits.token_bytes, self.token_bytes),
            ("limits.history_bytes", &mut limits.history_bytes, self.history_bytes),
            ("limits.message_bytes", &mut limits.message_bytes, self.message_bytes),
            ("limits.image_bytes", &mut limits.image_bytes, self.image_bytes),
            ("limits.history_items", &mut limits.history_items, self.history_items),
            ("limits.reply_bytes", &mut limits.reply_bytes, self.reply_bytes),
            ("limits.reply_reserve_bytes", &mut limits.reply_reserve_bytes, self.reply_reserve_bytes),
        ] {
            *limit = value.unwrap_or(*limit);
            if !(1..=LIMIT_MAX).contains(limit) {
                return Err(ConfigError::invalid(key, format!("is {limit}; it must be from 1 to {LIMIT_MAX}")));
            }
        }
        check_sizes(&limits)?;
        Ok(limits)
    }

    /// The limit on the head of a request.
    pub(super) fn head_bytes(&self) -> Result<usize, ConfigError> {
        minimum("limits.head_bytes", self.head_bytes.unwrap_or(16 << 10), HEAD_MIN_BYTES)
    }
}

/// Checks limits against each other.
fn check_sizes(limits: &Limits) -> Result<(), ConfigError> {
    let Limits { body_bytes, token_bytes, history_bytes, .. } = *limits;
    if body_bytes <= token_bytes {
        let fault = format!(
            "is {body_bytes}; it must be above `limits.token_bytes` ({token_bytes}), because the token travels in the \
             body"
        );
        return Err(ConfigError::invalid("limits.body_bytes", fault));
    }
    minimum("limits.token_bytes", token_bytes, TOKEN_MIN_BYTES)?;
    let least = limits.reply_reserve_bytes.min(limits.reply_bytes).saturating_mul(2);
    if history_bytes < least {
        let fault = format!(
            "is {history_bytes}; the minimum is {least}, twice the smaller one of `limits.reply_reserve_bytes` and \
             `limits.reply_bytes`"
        );
        return Err(ConfigError::invalid("limits.history_bytes", fault));
    }
    Ok(())
}

/// The largest value of a limit, so that sums of sizes do not overflow.
const LIMIT_MAX: usize = 1 << 30;
/// The smallest limit on a token.
const TOKEN_MIN_BYTES: usize = 16 << 10;
/// The smallest limit on the head of a request: hyper's buffer is not smaller.
const HEAD_MIN_BYTES: usize = 8 << 10;
