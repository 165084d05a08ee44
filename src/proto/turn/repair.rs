//! Repairs: the deviations from a wire format that a reader understood all the same.

/// A deviation that a reader repaired. An operator sees by it what a service tends to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Repair {
    /// A tool call without an id got one.
    CallId,
}

impl Repair {
    /// The name in the log, `snake_case`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::CallId => "call_id",
        }
    }
}
