//! The conversation in neutral form: items, and the rules that hold between them.

mod echo;
mod history;
mod item;
mod note;

pub use self::{
    echo::after_last_reply,
    history::History,
    item::{Item, Output, Part, Role},
    note::{SUMMARY_LEAD, without_inline_images},
};
