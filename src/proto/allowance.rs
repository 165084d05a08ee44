//! How much of a limit is left to a caller: what `RateLimit` headers and `/v1/usage` tell.

/// Where a caller stands under one limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowance {
    /// What is counted, `snake_case`: `rate`, `turns`, `model_tokens`.
    pub name: &'static str,
    /// How many of them one may have in a period.
    pub limit: u64,
    /// How many are left.
    pub remaining: u64,
    /// The length of the period.
    pub period_seconds: u64,
    /// When all of them are back.
    pub reset_seconds: u64,
}

/// A limit that leaves nothing for now, among all that the caller is under.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exhausted {
    /// The one that leaves nothing.
    pub limit: Allowance,
    /// When it will leave enough for one turn more.
    pub retry_after_seconds: u64,
    /// All of them, that one included.
    pub allowances: Vec<Allowance>,
}
