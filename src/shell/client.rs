//! A client of the native API, for the command line: streamed turns, histories, models.
//!
//! Responses are limited in size. Unknown members are ignored, since a newer server may add some.

use std::{fmt, pin::Pin, time::Duration};

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use http::{HeaderValue, StatusCode, Uri, header};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{
    http::{build_client, cause, client_builder},
    tls::SetupError,
};
use crate::{
    config::{Authorities, NetworkConfig, ProxyConfig, shown},
    proto::sse::{Decoder, Event},
};

/// A client of one server, with the credential for it.
pub struct Client {
    http: reqwest::Client,
    base_url: String,
    bearer: Option<HeaderValue>,
}

impl Client {
    /// A client of the server at `base_url`, whose certificate one of `authorities` must have
    /// signed. Nothing is connected yet.
    ///
    /// # Errors
    /// [`ClientError::Url`] if `base_url` is not an `http:` or `https:` URL, or contains a
    /// credential or a query; [`ClientError::SetUp`] if TLS cannot be set up, or if the credential
    /// is not a valid header value.
    pub fn new(base_url: &str, bearer: Option<&str>, authorities: Authorities) -> Result<Self, ClientError> {
        let fits = base_url.parse::<Uri>().is_ok_and(|uri| {
            let host = uri.authority().is_some_and(|authority| !authority.as_str().contains('@'));
            matches!(uri.scheme_str(), Some("http" | "https")) && host && uri.query().is_none()
        });
        if !fits {
            return Err(ClientError::Url { url: base_url.to_owned() });
        }
        let bearer = bearer.map(|bearer| {
            let mut value = HeaderValue::from_str(&format!("Bearer {bearer}")).map_err(|_| ClientError::SetUp {
                cause: "the credential contains a character that is not allowed in a header".to_owned(),
            })?;
            value.set_sensitive(true);
            Ok::<_, ClientError>(value)
        });
        let network = NetworkConfig { authorities, proxy: ProxyConfig::None };
        let builder = client_builder(&network)?.connect_timeout(CONNECT_TIMEOUT).read_timeout(READ_TIMEOUT);
        // A person often pauses longer than servers keep an idle connection. A turn that is sent
        // while the server closes the connection would fail.
        let builder = builder.pool_max_idle_per_host(0);
        Ok(Self {
            http: build_client(builder)?,
            base_url: base_url.trim_end_matches('/').to_owned(),
            bearer: bearer.transpose()?,
        })
    }

    /// Sends a turn. Dropping the reply cancels it.
    ///
    /// # Errors
    /// [`ClientError`]. The token in the request stays valid.
    pub async fn turn(&self, request: &TurnRequest<'_>) -> Result<Reply, ClientError> {
        let response = self.send(self.http.post(self.url("/v1/turns")), Some(request)).await?;
        let kind = response.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        if !kind.starts_with("text/event-stream") {
            return Err(ClientError::Foreign { what: format!("content type `{kind}`") });
        }
        let pieces = response.bytes_stream().map(|piece| piece.map_err(cause));
        Ok(Reply { pieces: Box::pin(pieces), unread: Bytes::new(), decoder: Decoder::new(ANSWER_BYTES) })
    }

    /// Reads the content of a token.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn history(&self, token: &str, user_id: Option<&str>) -> Result<History, ClientError> {
        let request = HistoryRequest { token, user_id };
        let response = self.send(self.http.post(self.url("/v1/history")), Some(&request)).await?;
        parse(&read(response).await?)
    }

    /// Reads the aliases of the models, the default first.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn models(&self) -> Result<Vec<String>, ClientError> {
        let response = self.send(self.http.get(self.url("/v1/models")), None::<&()>).await?;
        let list: ModelList = parse(&read(response).await?)?;
        Ok(list.data.into_iter().map(|model| model.id).collect())
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base_url)
    }

    async fn send(
        &self,
        mut request: reqwest::RequestBuilder,
        body: Option<&impl Serialize>,
    ) -> Result<reqwest::Response, ClientError> {
        if let Some(bearer) = &self.bearer {
            request = request.header(header::AUTHORIZATION, bearer.clone());
        }
        if let Some(body) = body {
            // Our own structs of strings always serialize.
            let body = serde_json::to_vec(body).unwrap_or_default();
            request = request.header(header::CONTENT_TYPE, "application/json").body(body);
        }
        let response = request.send().await.map_err(|error| ClientError::Unreachable { cause: cause(error) })?;
        let status = response.status();
        if status == StatusCode::OK {
            return Ok(response);
        }
        let body = read(response).await?;
        Err(ClientError::refused(&body, &format!("status {status}")))
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bearer = if self.bearer.is_some() { "with a credential" } else { "without a credential" };
        write!(f, "{} ({bearer})", self.base_url)
    }
}

/// A request for a turn.
#[derive(Clone, Copy, Serialize)]
pub struct TurnRequest<'a> {
    /// The token to continue from. `None` starts a conversation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<&'a str>,
    /// The user's message.
    pub input: &'a str,
    /// The user, if the server does not authenticate callers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_id: Option<&'a str>,
    /// The model's alias. `None` is the alias in the token, or the server's first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<&'a str>,
    /// Always true.
    stream: bool,
}

impl<'a> TurnRequest<'a> {
    /// A turn with this message.
    #[must_use]
    pub fn new(token: Option<&'a str>, input: &'a str) -> Self {
        Self { token, input, user_id: None, model: None, stream: true }
    }
}

impl fmt::Debug for TurnRequest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TurnRequest").field("input_bytes", &self.input.len()).finish_non_exhaustive()
    }
}

/// A streamed reply.
pub struct Reply {
    pieces: Pin<Box<dyn Stream<Item = Result<Bytes, String>> + Send>>,
    unread: Bytes,
    decoder: Decoder,
}

impl Reply {
    /// Waits for the next event. [`ReplyEvent::Done`] is the last one.
    ///
    /// # Errors
    /// [`ClientError::Refused`] if the turn failed, with the part of the reply that arrived;
    /// [`ClientError::Cut`]; [`ClientError::Foreign`].
    pub async fn next(&mut self) -> Result<ReplyEvent, ClientError> {
        loop {
            let mut rest: &[u8] = &self.unread;
            let event = self.decoder.next_event(&mut rest);
            self.unread = self.unread.slice_ref(rest);
            match event.map_err(|error| ClientError::Foreign { what: error.cause().unwrap_or_default() })? {
                Some(event) => {
                    if let Some(event) = ReplyEvent::read(event)? {
                        return Ok(event);
                    }
                }
                None => match self.pieces.next().await {
                    Some(Ok(piece)) => self.unread = piece,
                    Some(Err(cause)) => return Err(ClientError::Cut { cause }),
                    None => return Err(ClientError::Cut { cause: "the stream ended early".to_owned() }),
                },
            }
        }
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reply").finish_non_exhaustive()
    }
}

/// An event of a reply.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ReplyEvent {
    /// The model calls a tool.
    Call(Call),
    /// The reply is complete.
    Done(Box<TurnAnswer>),
    /// The next part of the text.
    Text(String),
}

impl ReplyEvent {
    fn read(event: Event) -> Result<Option<Self>, ClientError> {
        let Event { name, data } = event;
        match name.as_str() {
            "delta" => parse::<TextBody>(&data).map(|delta| Some(Self::Text(delta.text))),
            "done" => {
                let answer: TurnAnswer = parse(&data)?;
                Ok(Some(Self::Done(Box::new(TurnAnswer { json: data, ..answer }))))
            }
            "error" => Err(ClientError::refused(&data, "an error event")),
            "tool_call" => parse(&data).map(|call| Some(Self::Call(call))),
            _ => Ok(None),
        }
    }
}

/// A tool call of the model.
#[derive(Clone, Debug, Deserialize)]
pub struct Call {
    /// The id that the tool result must contain.
    pub id: String,
    /// The name of the tool.
    pub name: String,
    /// The arguments, as JSON text.
    pub args: String,
}

/// A complete reply.
#[derive(Clone, Deserialize)]
pub struct TurnAnswer {
    /// The new token.
    pub token: String,
    /// The conversation in the token.
    pub conversation: Conversation,
    /// The model tokens of this turn.
    pub usage: Usage,
    /// The reason for the end of the reply: `stop`, `length`, `tool_calls` or `content_filter`.
    pub finish_reason: String,
    /// The response as the server sent it, one line of JSON.
    #[serde(skip)]
    pub json: String,
}

impl fmt::Debug for TurnAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TurnAnswer").field("conversation", &self.conversation).finish_non_exhaustive()
    }
}

/// A conversation, as the server describes it.
#[derive(Clone, Debug, Deserialize)]
pub struct Conversation {
    /// Its id.
    pub id: String,
    /// The number of its turns.
    pub turn: u64,
    /// Its start, RFC 3339.
    pub started_at: String,
    /// The expiry of its token, RFC 3339.
    pub expires_at: String,
    /// The size of its history.
    pub history_bytes: u64,
    /// The size of its token.
    pub token_bytes: u64,
    /// The number of items that were trimmed before this turn.
    #[serde(default)]
    pub trimmed_items: u64,
}

/// The model tokens of one turn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Usage {
    /// Model tokens sent to the model.
    pub input_tokens: u64,
    /// Model tokens received from the model.
    pub output_tokens: u64,
}

/// The content of a token.
#[derive(Clone, Debug, Deserialize)]
pub struct History {
    /// The items, oldest first.
    pub items: Vec<crate::proto::chat::Item>,
    /// The conversation.
    pub conversation: Conversation,
}

/// The part of a failed reply that arrived.
#[derive(Clone, Deserialize)]
pub struct Partial {
    /// The text.
    pub reply: String,
    /// A token that contains the part, marked as interrupted.
    pub token: String,
}

impl fmt::Debug for Partial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Partial").field("reply_bytes", &self.reply.len()).finish_non_exhaustive()
    }
}

/// An error response of Holdall: a problem document (RFC 9457).
#[derive(Clone, Debug, Deserialize)]
pub struct Refusal {
    /// The stable code of the error.
    pub code: String,
    /// The error in words.
    pub detail: String,
    /// `safe`, `after` or `never`.
    pub retry: String,
    /// The wait before a retry, with `after`.
    pub retry_after_seconds: Option<u64>,
    /// The id of the request in the operator's log.
    pub request_id: String,
    /// The part of the reply that arrived.
    pub partial: Option<Partial>,
    /// The document as the server sent it, one line of JSON.
    #[serde(skip)]
    pub json: String,
}

/// The reason why a request failed. Its message never contains a token or a credential.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ClientError {
    /// The response was interrupted.
    Cut {
        /// The cause.
        cause: String,
    },
    /// The response is not one of Holdall's.
    Foreign {
        /// The content that was received.
        what: String,
    },
    /// The server responded with an error.
    Refused(Box<Refusal>),
    /// The client cannot be set up.
    SetUp {
        /// The cause.
        cause: String,
    },
    /// There was no response.
    Unreachable {
        /// The cause.
        cause: String,
    },
    /// The address of the server is not valid.
    Url {
        /// The address.
        url: String,
    },
}

impl ClientError {
    /// The error in the document `problem`, which came with `carrier`.
    fn refused(problem: &str, carrier: &str) -> Self {
        match serde_json::from_str::<Refusal>(problem) {
            Ok(refusal) => Self::Refused(Box::new(Refusal { json: problem.to_owned(), ..refusal })),
            Err(_) => Self::Foreign { what: format!("{carrier} without a problem document") },
        }
    }
}

impl std::error::Error for ClientError {}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cut { cause } => write!(f, "the server's response was interrupted: {cause}"),
            Self::Foreign { what } => write!(f, "the server did not respond like Holdall: {what}"),
            Self::Refused(refusal) => f.write_str(&refusal.detail),
            Self::SetUp { cause } => f.write_str(cause),
            Self::Unreachable { cause } => write!(f, "the server cannot be reached: {cause}"),
            Self::Url { url } => {
                let url = shown::url(url);
                write!(f, "{url} is not a valid server URL: use http: or https:, without credentials and query")
            }
        }
    }
}

impl From<SetupError> for ClientError {
    fn from(error: SetupError) -> Self {
        Self::SetUp { cause: error.to_string() }
    }
}

#[derive(Serialize)]
struct HistoryRequest<'a> {
    token: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_id: Option<&'a str>,
}

#[derive(Deserialize)]
struct ModelList {
    data: Vec<ModelEntry>,
}

#[derive(Deserialize)]
struct ModelEntry {
    id: String,
}

#[derive(Deserialize)]
struct TextBody {
    text: String,
}

fn parse<T: DeserializeOwned>(json: &str) -> Result<T, ClientError> {
    serde_json::from_str(json).map_err(|error| {
        let place = format!("line {}, column {}", error.line(), error.column());
        ClientError::Foreign { what: format!("unexpected JSON ({place})") }
    })
}

/// Reads a complete response of at most [`ANSWER_BYTES`].
async fn read(response: reqwest::Response) -> Result<String, ClientError> {
    let mut body = Vec::new();
    let mut pieces = response.bytes_stream();
    while let Some(piece) = pieces.next().await {
        let piece = piece.map_err(|error| ClientError::Cut { cause: cause(error) })?;
        if body.len().saturating_add(piece.len()) > ANSWER_BYTES {
            return Err(ClientError::Foreign { what: format!("over {ANSWER_BYTES} bytes") });
        }
        body.extend_from_slice(&piece);
    }
    String::from_utf8(body).map_err(|_| ClientError::Foreign { what: "not UTF-8".to_owned() })
}

/// The most bytes of a response or of one event: several times what a server's default limits
/// allow.
const ANSWER_BYTES: usize = 64 << 20;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Servers send a heartbeat every 15 seconds.
const READ_TIMEOUT: Duration = Duration::from_secs(90);
