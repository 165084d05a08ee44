//! Reasoning that a client repeats, compared with the token's own.
//!
//! Clients repeat less than the model wrote. Some drop reasoning. APIs hide parts of it, and give
//! it other ids. So reasoning is known if the token's reasoning has all of its content.

use std::{borrow::Cow, collections::BTreeMap};

use serde_json::value::RawValue;

use super::json::same_json;
use crate::proto::chat::item::{Item, is_of_provider};

/// Returns true if all reasoning in `echo` is known, and in the order of `history`.
///
/// Unknown reasoning passes in two cases: it may be older than a `history` that is not whole, and
/// it may belong to a cut reply, whose reasoning the token does not keep.
pub(super) fn is_known(history: &[Item], echo: &[&Item], is_whole: bool) -> bool {
    let is_cut = |item: &Item| matches!(item, Item::Message { cut: true, .. });
    let is_whole = is_whole && !history.iter().any(is_cut);
    let mut ours = history.iter().rev().filter_map(reasoning);
    let theirs = echo.iter().rev().copied().filter_map(reasoning).filter(|(_, blob)| !is_empty(blob));
    theirs.into_iter().all(|(provider, theirs)| {
        let is_own = |(id, ours): (&str, &str)| is_of_provider(id, provider) && covers(ours, theirs, DEPTH);
        ours.any(is_own) || !is_whole
    })
}

/// The provider id and the blob of a reasoning item.
fn reasoning(item: &Item) -> Option<(&str, &str)> {
    match item {
        Item::Think { provider_id, blob } => Some((provider_id, blob)),
        Item::Call { .. } | Item::Message { .. } | Item::Result { .. } => None,
    }
}

/// Returns true if `ours` has all the content of `theirs`. Objects and lists are compared by their
/// members, down to this depth.
fn covers(ours: &str, theirs: &str, depth: u8) -> bool {
    // Escapes make a text at most six times as long. The comparison with many texts of the token
    // then costs no more than to read the token.
    if theirs.len() > ours.len().saturating_mul(6).saturating_add(1_024) {
        return false;
    }
    same_json(ours, theirs) || depth.checked_sub(1).is_some_and(|depth| covers_members(ours, theirs, depth))
}

fn covers_members(ours: &str, theirs: &str, depth: u8) -> bool {
    let list = |json| serde_json::from_str::<Vec<&RawValue>>(json).ok();
    let covers = |ours: &RawValue, theirs: &RawValue| covers(ours.get(), theirs.get(), depth);
    if let Some((ours, theirs)) = list(ours).zip(list(theirs)) {
        return ours.len() == theirs.len() && ours.iter().zip(theirs).all(|(ours, theirs)| covers(ours, theirs));
    }
    let Some((ours, theirs)) = members(ours).zip(members(theirs)) else { return false };
    theirs.iter().all(|(name, theirs)| {
        let own = || ours.get(name).is_some_and(|ours| covers(ours, theirs));
        LABELS.contains(&&**name) || is_blank(theirs.get()) || own()
    })
}

/// Returns true for reasoning that has only a kind and ids.
pub(in crate::proto) fn is_empty(blob: &str) -> bool {
    let is_label = |name: &str| name == "for" || LABELS.contains(&name);
    blob.is_empty()
        || members(blob)
            .is_some_and(|members| members.iter().all(|(name, value)| is_label(name) || is_blank(value.get())))
}

fn members(json: &str) -> Option<BTreeMap<Cow<'_, str>, &RawValue>> {
    serde_json::from_str(json).ok()
}

/// Returns true for a value without content.
pub(in crate::proto) fn is_blank(json: &str) -> bool {
    let is_space = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\n' | b'\r');
    let start: Vec<u8> = json.bytes().filter(|byte| !is_space(byte)).take(5).collect();
    [&b"\"\""[..], b"[]", b"{}", b"null"].contains(&start.as_slice())
}

/// Members that an API changes or adds.
const LABELS: [&str; 3] = ["id", "status", "type"];
/// The depth of members that are compared one by one: those of the blob, the parts of one of its
/// members, and the members of those.
const DEPTH: u8 = 3;
