//! The conversation in neutral form: items, and the rules that hold between them.

mod echo;
mod history;
mod item;

pub use history::{History, SUMMARY_LEAD, without_inline_images};
pub use item::{Item, Output, Part, Role, Usage};
pub(crate) use item::{Object, object_from_str, present};
