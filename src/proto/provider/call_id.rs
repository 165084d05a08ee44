//! Ids of tool calls in a form that services accept.

use std::borrow::Cow;

use crate::proto::fnv::fnv1a;

/// The id of a tool call in a form that the provider accepts: 1 to `max_bytes` characters of
/// `[A-Za-z0-9_-]`. `max_bytes` must be over 17.
///
/// An id of another form, from a client or another provider, is replaced by a similar text with a
/// hash of the id. The call and its result get the same id, in every turn.
pub(super) fn plain_id(id: &str, max_bytes: usize) -> Cow<'_, str> {
    if is_plain_id(id, max_bytes) {
        return Cow::Borrowed(id);
    }
    let similar = id.chars().take(max_bytes.saturating_sub(17)).map(|c| if is_plain(c) { c } else { '_' });
    let hash = fnv1a(id.as_bytes());
    Cow::Owned(format!("{}_{hash:016x}", similar.collect::<String>()))
}

/// Returns true for 1 to `max_bytes` characters of `[A-Za-z0-9_-]`.
pub(super) fn is_plain_id(id: &str, max_bytes: usize) -> bool {
    (1..=max_bytes).contains(&id.len()) && id.chars().all(is_plain)
}

fn is_plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ids_of_another_form_are_replaced() {
        let longest = "x".repeat(64);
        for id in ["c", "call_Ab-9", &longest] {
            assert_eq!(plain_id(id, 64), id);
        }
        for (id, expected) in [
            ("", "_cbf29ce484222325"),
            ("functions.add:0", "functions_add_0_0281487c23866cd1"),
            ("a b", "a_b_e63f991904833892"),
            ("a\u{e9}b", "a_b_9d454880e402cdfa"),
        ] {
            assert_eq!(plain_id(id, 64), expected);
        }
        let long = "x".repeat(65);
        for max_bytes in [40, 64] {
            let id = plain_id(&long, max_bytes);
            assert_eq!((id.len(), &id), (max_bytes, &plain_id(&long, max_bytes)));
            assert!(id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'));
            assert_ne!(id, plain_id(&format!("{long}x"), max_bytes));
        }
    }
}
