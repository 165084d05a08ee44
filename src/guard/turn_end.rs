//! The ends of turns, and their charges.

/// How an admitted turn ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TurnEnd {
    /// The client left before it received any output. The turn counts, because the client chose to
    /// leave. The token stays valid.
    ClientLeft(Charge),
    /// The reply is complete. The turn counts, and the token is spent.
    Complete(Charge),
    /// The reply broke off after the client had received output. The turn counts, and the token is
    /// spent.
    Cut(Charge),
    /// The turn failed before the client received any output. It does not count, and the token
    /// stays valid.
    Failed,
}

impl TurnEnd {
    /// The end of an abandoned turn once the model is called, where `self` is its end before that.
    pub(crate) fn after_model_call(self) -> Self {
        if self == Self::Failed { Self::ClientLeft(Charge::default()) } else { self }
    }

    /// The same end with `charge`. A failed turn has no charge.
    pub(crate) fn with_charge(self, charge: Charge) -> Self {
        match self {
            Self::ClientLeft(_) => Self::ClientLeft(charge),
            Self::Complete(_) => Self::Complete(charge),
            Self::Cut(_) => Self::Cut(charge),
            Self::Failed => Self::Failed,
        }
    }
}

/// The usage of a turn. It counts for the quotas of the periods in which the turn was admitted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Charge {
    /// Model tokens, input and output together.
    pub model_tokens: u64,
    /// The size of the turn's uncompressed history, with the items of this turn.
    pub history_bytes: u64,
    /// The time that the upstream worked.
    pub upstream_millis: u64,
}
