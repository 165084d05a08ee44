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
    /// The turn failed before the client received any output. The turn itself does not count, and
    /// the token stays valid. The model tokens and the time that it cost count.
    Failed(Charge),
}

impl TurnEnd {
    /// The usage of the turn. It counts, however the turn ended.
    #[must_use]
    pub fn charge(self) -> Charge {
        let (Self::ClientLeft(charge) | Self::Complete(charge) | Self::Cut(charge) | Self::Failed(charge)) = self;
        charge
    }
}

/// The usage of a turn: all its upstream calls. It counts for the quotas of the periods in which
/// the turn was admitted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Charge {
    /// Model tokens, input and output together.
    pub model_tokens: u64,
    /// The size of the turn's uncompressed history, with the items of this turn. 0 if it failed.
    pub history_bytes: u64,
    /// The time that the upstream worked.
    pub upstream_millis: u64,
}
