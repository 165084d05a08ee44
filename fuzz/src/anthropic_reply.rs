//! Replies of the dialect `anthropic`.

use super::replies;

/// Takes what `replies` describes.
pub fn check(input: &[u8]) {
    replies::check("anthropic", input);
}
