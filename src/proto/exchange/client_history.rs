//! Client history: items of the model that a client brings, for a model that accepts them.
//!
//! No token proves that a model made such items. So the next token has the claim `asserted`, and a
//! model that refuses client history refuses that token.

use crate::proto::{
    chat::{Item, Role, is_empty_reasoning, is_reply},
    deployment::Model,
};

/// Gives reasoning to the first target of the model in whose format it is, and to no other. Leaves
/// out reasoning in other formats, and reasoning without content. References stay: they are
/// compared with the conversation.
///
/// The client does not say which service wrote the reasoning, because an API shows only the format.
pub(super) fn adopt(input: &mut Vec<Item>, model: &Model) {
    input.retain_mut(|item| {
        if item.is_reference() {
            return true;
        }
        let Item::Think { provider_id, blob } = item else { return true };
        let target = model.targets().find(|target| target.provider.name() == provider_id);
        target.map(|target| target.provider_id.clone_into(provider_id)).is_some() && !is_empty_reasoning(blob)
    });
}

/// Returns true if the new input has items of the model.
pub(super) fn is_in(new_input: &[&Item]) -> bool {
    new_input.iter().any(|item| item.side() == Role::Assistant)
}

/// Returns true if the new input has an item of the model with content: text, an image or a call.
pub(super) fn has_reply(new_input: &[&Item]) -> bool {
    new_input.iter().any(|item| is_reply(item))
}
