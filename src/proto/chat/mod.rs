//! The conversation in neutral form: its items, and the rules between them.

mod echo;
mod history;
mod image;
mod item;
mod note;
mod owner_mark;
mod service_state;
mod waiting;

pub(in crate::proto) use self::{
    echo::{is_blank_json, is_empty_reasoning, is_reply},
    history::ends_with_model,
    item::is_of_provider,
    owner_mark::{Claim, claimed_provider, owner_mark},
    service_state::{Members, OpaqueMembers, Owner, ServiceState, state_blob},
};
pub use self::{
    history::{History, results_first},
    image::{ImageHost, ImageRules},
    item::{Item, Output, Part, Role},
    note::{SUMMARY_HEADING, without_inline_images},
};
