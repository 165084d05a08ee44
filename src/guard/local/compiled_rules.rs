//! The rules with the arithmetic of their rate.

use crate::guard::{
    gcra::Gcra,
    rules::{Rate, Rules},
};

/// The rules, and the arithmetic of their rate.
#[derive(Clone, Debug)]
pub(super) struct CompiledRules {
    pub(super) rules: Rules,
    pub(super) rate: Option<(Gcra, Rate)>,
}

impl CompiledRules {
    pub(super) fn new(rules: Rules) -> Self {
        let rate = rules.rate.map(|rate| (Gcra::new(&rate), rate));
        Self { rules, rate }
    }
}
