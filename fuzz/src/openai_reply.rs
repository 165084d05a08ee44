//! Replies of the dialect `openai`.

use super::replies;

/// Takes what `replies` describes.
pub fn check(input: &[u8]) {
    replies::check("openai", input);
}
