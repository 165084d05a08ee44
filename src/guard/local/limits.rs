//! The rules in the form in which they are counted by.

use crate::guard::{Rate, Rules, gcra::Gcra};

/// The rules, and the arithmetic of their rate.
#[derive(Clone, Debug)]
pub(super) struct Limits {
    pub(super) rules: Rules,
    pub(super) rate: Option<(Gcra, Rate)>,
}

impl Limits {
    pub(super) fn new(rules: Rules) -> Self {
        let rate = rules.rate.map(|rate| (Gcra::new(&rate), rate));
        Self { rules, rate }
    }
}
