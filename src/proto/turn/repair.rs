//! Repairs: deviations from a wire format, in replies that a reader accepted.

/// A deviation that a reader repaired. It shows the operator what a service really sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Repair {
    /// A tool call without an id, or with the id of another call, got one of its own.
    CallId,
    /// A tool call had arguments or an id that are not text, another form, or no content.
    CallShape,
    /// Choices after the first one were left out.
    Choices,
    /// The content came in another shape, such as a list instead of a text, or in another member.
    ContentShape,
    /// The content type does not announce the form of the reply.
    ContentType,
    /// The end marker of a stream is missing after the reason for the end.
    EndMarker,
    /// The reason for the end is unknown or missing, and was read as a normal end.
    EndReason,
    /// An event or a block without its type or number got them from its place or its members.
    EventShape,
    /// Halves of a character were joined or replaced by U+FFFD, or bytes that are not UTF-8 were.
    HalfCharacter,
    /// An event without an object, or with an empty one, was skipped.
    KeepAlive,
    /// Output that came only with the end of the reply was read there.
    LateOutput,
    /// A complete message after its pieces was left out.
    RepeatedText,
    /// The service reported no counts of model tokens, so they are estimated.
    UsageEstimated,
}

impl Repair {
    /// The name in the log, `snake_case`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::CallId => "call_id",
            Self::CallShape => "call_shape",
            Self::Choices => "choices",
            Self::ContentShape => "content_shape",
            Self::ContentType => "content_type",
            Self::EndMarker => "end_marker",
            Self::EndReason => "end_reason",
            Self::EventShape => "event_shape",
            Self::HalfCharacter => "half_character",
            Self::KeepAlive => "keep_alive",
            Self::LateOutput => "late_output",
            Self::RepeatedText => "repeated_text",
            Self::UsageEstimated => "usage_estimated",
        }
    }
}
