//! Client history: items of the model that a client brings, for a model that accepts them.
//!
//! No token proves that a model made such items. So the next token has the claim `asserted`, and a
//! model that refuses client history refuses that token.

use crate::proto::{
    chat::{
        Claim, Item, Members, OpaqueMembers, Owner, Role, ServiceState, is_blank_json, is_empty_reasoning, is_reply,
        state_blob,
    },
    deployment::{Model, Target},
    provider::without_tokens,
};

/// Gives reasoning that a client brings to the service that made it, and to no other. Leaves out
/// other reasoning, and reasoning without content. References stay: they are compared with the
/// conversation.
///
/// A mark names the service. Without one, the service is known only if a single service of the
/// model can have made the reasoning.
pub(super) fn adopt(input: &mut Vec<Item>, model: &Model) {
    input.retain_mut(|item| {
        if item.is_reference() {
            return true;
        }
        let Item::Think { provider_id, blob } = item else { return true };
        let claim = Claim::of(provider_id);
        let state = ServiceState::from_blob(blob);
        let made = |target: &&Target| {
            claim.fits(&target.provider_id) && state.as_ref().is_none_or(|state| kept(state, claim, target).is_some())
        };
        let Some(target) = only_service(model.targets().filter(made)) else { return false };
        match state {
            Some(state) => {
                let Some(members) = kept(&state, claim, target) else { return false };
                *blob = state_blob(state.owner, &members);
            }
            None if is_empty_reasoning(blob) => return false,
            None => {}
        }
        target.provider_id.clone_into(provider_id);
        true
    });
}

/// Leaves out the opaque members that a client brings. The token has those of its own items, and
/// other unknown members of messages are ignored as well.
pub(super) fn ignore_state(input: &mut Vec<Item>) {
    input.retain(|item| match item {
        Item::Think { blob, .. } => ServiceState::from_blob(blob).is_none(),
        Item::Call { .. } | Item::Message { .. } | Item::Result { .. } => true,
    });
}

/// The members that the target wants back. `None` if they say nothing.
///
/// The state of a call without members says that the service gave the call's id. It is believed
/// only with a mark, and it matters only for an id that the service would get in another form.
fn kept<'a>(state: &ServiceState<'a>, claim: Claim<'_>, target: &Target) -> Option<OpaqueMembers<'a>> {
    let profile = &target.profile;
    let is_kept = |name: &str| match &state.owner {
        Owner::Call(_) => profile.kept_call_members().contains(&name),
        Owner::Message => profile.keeps_message_member(name, true),
    };
    let members = state.members.0.iter().filter(|(name, _)| is_kept(name));
    let members = members.map(|(name, value)| (name.clone(), without_tokens(value)));
    let members: Vec<_> = members.filter(|(_, value)| !is_blank_json(value.get())).collect();
    let gives_id = match &state.owner {
        Owner::Call(id) => claim.is_marked() && !profile.call_ids.accepts(id),
        Owner::Message => false,
    };
    (gives_id || !members.is_empty()).then_some(Members(members))
}

/// The first of the targets, if all of them are at one service.
fn only_service<'a>(mut targets: impl Iterator<Item = &'a Target>) -> Option<&'a Target> {
    let first = targets.next()?;
    targets.all(|other| other.provider_id == first.provider_id).then_some(first)
}

/// Returns true if the new input has items of the model.
pub(super) fn is_in(new_input: &[Item]) -> bool {
    new_input.iter().any(|item| item.side() == Role::Assistant)
}

/// Returns true if the input has an item of the model with content: text, an image or a call.
pub(super) fn has_reply(input: &[Item]) -> bool {
    input.iter().any(is_reply)
}
