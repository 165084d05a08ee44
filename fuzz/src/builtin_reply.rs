//! Replies of the dialect `builtin`.

use super::replies;

/// Takes what `replies` describes.
pub fn check(input: &[u8]) {
    replies::check("builtin", input);
}
