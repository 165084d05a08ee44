//! The rules with the arithmetic of their rates.

use crate::guard::{
    gcra::Gcra,
    rules::{Rate, Rules},
};

/// The rules, and the arithmetic of their rates.
#[derive(Clone, Debug)]
pub(super) struct CompiledRules {
    pub(super) rules: Rules,
    pub(super) rate: Option<(Gcra, Rate)>,
    pub(super) read_rate: Option<(Gcra, Rate)>,
}

impl CompiledRules {
    pub(super) fn new(rules: Rules) -> Self {
        let compiled = |rate: Option<Rate>| rate.map(|rate| (Gcra::new(&rate), rate));
        Self { rate: compiled(rules.rate), read_rate: compiled(rules.read_rate), rules }
    }
}
