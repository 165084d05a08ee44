//! The interface of a client format: [`Api`] parses requests, and [`ReplyWriter`] writes replies
//! and errors.

use crate::proto::{
    deployment::ApiSettings,
    error::Error,
    token::Claims,
    turn::{Answer, Delta, Partial, TurnRequest},
};

/// A format that clients speak, at one path.
pub trait Api: Sync {
    /// The path that accepts `POST` requests in this format.
    fn path(&self) -> &'static str;

    /// The hint for requests to paths below [`Self::path`]: what is not offered there, and what to
    /// use instead. `None` if the format defines nothing below its path.
    fn subpath_hint(&self) -> Option<&'static str> {
        None
    }

    /// The operation that requests to this path ask for.
    fn operation(&self) -> Operation {
        Operation::Turn
    }

    /// The body of the response to [`Operation::CountTokens`]: `tokens` is the number of model
    /// tokens that the turn would send. Empty for a format with another operation.
    fn token_count_body(&self, _tokens: u64) -> Vec<u8> {
        Vec::new()
    }

    /// Parses a request body, and creates the writer for its reply.
    ///
    /// # Errors
    /// [`Error::RequestInvalid`], [`Error::RoleForbidden`] or [`Error::Unsupported`], each with the
    /// name of the member.
    fn parse_request(&self, body: &str, settings: &ApiSettings) -> Result<ParsedRequest, Error>;

    /// The error response in the format's own shape. `None` for a format that uses the problem
    /// document.
    fn error_response(&self, error: &PublicError<'_>) -> Option<ErrorResponse>;
}

/// The operation that a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Count the model tokens that the turn would send.
    CountTokens,
    /// Take the turn.
    Turn,
}

/// A parsed request.
pub struct ParsedRequest {
    /// The turn, in neutral terms.
    pub turn: TurnRequest,
    /// Writes the reply. It keeps the members of the request that the format repeats in the reply.
    pub writer: Box<dyn ReplyWriter>,
}

/// Writes one reply: either only [`Self::body`], or server-sent events by the other methods.
///
/// A stream is [`Self::start`], then [`Self::deltas`] any number of times, then [`Self::finish`] or
/// [`Self::fail`].
pub trait ReplyWriter: Send {
    /// Shows, next to the reply, what its service wants back, and which service that is. It is
    /// called first of all, for a client that may bring the reply back as history of its own.
    fn show_service_state(&mut self) {}

    /// The body of a reply that is not streamed, as JSON.
    fn body(&mut self, answer: &Answer) -> Vec<u8>;

    /// Appends the first events of a stream. `claims` are the claims of the token that the stream
    /// ends with.
    fn start(&mut self, claims: &Claims, out: &mut Vec<u8>);

    /// Appends the events for deltas that arrived together.
    fn deltas(&mut self, deltas: &[Delta], out: &mut Vec<u8>);

    /// True if the writer keeps all deltas until the end of the reply. The client then needs
    /// keep-alive comments.
    fn buffers_deltas(&self) -> bool {
        false
    }

    /// Appends the last events of a complete reply.
    fn finish(&mut self, answer: &Answer, out: &mut Vec<u8>);

    /// Appends the last events of a failed reply. `partial` is the text so far, with a token that
    /// holds it.
    fn fail(&mut self, error: &PublicError<'_>, partial: Option<&Partial>, out: &mut Vec<u8>);
}

/// An error with everything that a caller may see of it, in any format.
#[derive(Clone, Copy, Debug)]
pub struct PublicError<'a> {
    /// The error. Its `Display` text is safe to show; its cause is not.
    pub error: &'a Error,
    /// The HTTP status of the error, before a format maps it to another one.
    pub status: u16,
    /// The id of the request in the server's log.
    pub request_id: &'a str,
    /// The problem document (RFC 9457), a JSON object.
    pub problem: &'a str,
}

/// An error response in a format's own shape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorResponse {
    /// The HTTP status, 400 to 599.
    pub status: u16,
    /// The body, as JSON.
    pub body: Vec<u8>,
}
