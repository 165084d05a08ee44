//! Replies of the dialect `openai-responses`.

use super::replies;

/// Takes what `replies` describes.
pub fn check(input: &[u8]) {
    replies::check("openai-responses", input);
}
