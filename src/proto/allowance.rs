//! The state of a caller's limits, as `RateLimit` headers and `GET /v1/usage` report it.

/// The state of one limit for one caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowance {
    /// The counted things in `snake_case` and plural, such as `turns` and `model_tokens`; or
    /// `rate`.
    pub name: &'static str,
    /// The limit for one period.
    pub limit: u64,
    /// The rest of the limit in this period.
    pub remaining: u64,
    /// The length of the period.
    pub period_seconds: u64,
    /// The time until all of it is available again.
    pub reset_seconds: u64,
}

/// A limit with nothing left, together with all limits of the caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exhausted {
    /// The limit with nothing left.
    pub limit: Allowance,
    /// The time until it allows one more turn.
    pub retry_after_seconds: u64,
    /// All limits of the caller, including that one.
    pub allowances: Vec<Allowance>,
}
