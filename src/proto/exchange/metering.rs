//! The model tokens of one call: as the service reports them, or estimated from the bytes that were
//! sent and received.

use crate::proto::{
    error::Error,
    provider::ReplyReader,
    usage::{Usage, estimated_tokens},
};

/// The complete answer to a side call: a summary or a count.
pub struct SideAnswer<T> {
    /// The content, or the error that the answer means.
    pub content: Result<T, Error>,
    /// The model tokens of the call. `None` if the operator does not pay for it.
    pub usage: Option<Usage>,
}

/// The usage of a call before its reply: the estimated `input_tokens` of its request.
pub(super) fn request_usage(input_tokens: u64) -> Usage {
    Usage { input_tokens, estimated: true, ..Usage::default() }
}

/// The usage of a call whose reply `reader` reads. `reported` has the counts of the service so far,
/// and `request` is the estimate for the request.
///
/// The counts of a complete reply are final. Before its end a service may have reported less than
/// it has sent, so the larger one counts.
pub(super) fn call_usage(reader: &dyn ReplyReader, reported: Usage, request: Usage) -> Usage {
    let is_final = reader.is_complete() && (reported.output_tokens > 0 || reader.output_bytes() == 0);
    let output_tokens = if is_final {
        reported.output_tokens
    } else {
        reported.output_tokens.max(estimated_tokens(reader.output_bytes()))
    };
    let has_input = reported.input_tokens > 0;
    let input_tokens = if has_input { reported.input_tokens } else { request.input_tokens };
    Usage { input_tokens, output_tokens, estimated: !(is_final && has_input), ..reported }
}

/// Returns true if the operator pays for a call that failed with `error`: the reply has begun, and
/// the service did not send an error in its place.
pub(super) fn is_paid(reader: &dyn ReplyReader, reported: Usage, error: &Error) -> bool {
    let is_refusal = matches!(
        error,
        Error::UpstreamAccount { .. } | Error::UpstreamRefused { .. } | Error::UpstreamUnavailable { .. }
    );
    reader.has_started() && (!is_refusal || reader.output_bytes() > 0 || reported.total_tokens() > 0)
}
