//! Replies of the provider `builtin`.

use super::replies;

/// Takes an input in the form that `replies` describes.
pub fn check(input: &[u8]) {
    replies::check("builtin", input);
}
