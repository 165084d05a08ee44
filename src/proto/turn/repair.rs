//! Repairs: the deviations from a wire format that a reader understood all the same.

/// A deviation that a reader repaired. An operator sees by it what a service tends to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Repair {
    /// A tool call without an id got one.
    CallId,
    /// The end marker of a stream is missing after the reason for the end.
    EndMarker,
    /// The reason for the end is unknown or missing, and was read as a normal end.
    EndReason,
}

impl Repair {
    /// The name in the log, `snake_case`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::CallId => "call_id",
            Self::EndMarker => "end_marker",
            Self::EndReason => "end_reason",
        }
    }
}
