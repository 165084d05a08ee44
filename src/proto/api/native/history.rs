//! The request and the answer of `POST /v1/history`.

use serde::{Deserialize, Serialize};

use super::reply::to_json;
use crate::proto::{
    api::{body, conversation::ConversationBody},
    chat::Item,
    error::Error,
    json::present,
    turn::Conversation,
};

/// Parses the body of `POST /v1/history`. Returns the token, and the user that the request names.
///
/// # Errors
/// [`Error::RequestInvalid`].
pub fn history_request(body: &str) -> Result<(String, Option<String>), Error> {
    let raw: RawHistoryRequest = body::parse(body)?;
    Ok((raw.token, raw.user_id))
}

/// The answer to `POST /v1/history`, as JSON.
#[must_use]
pub fn history_answer(items: &[Item], conversation: &Conversation) -> Vec<u8> {
    to_json(&HistoryBody { items, conversation: conversation.into() })
}

/// The request body of `POST /v1/history`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawHistoryRequest {
    token: String,
    #[serde(default, deserialize_with = "present")]
    user_id: Option<String>,
}

/// The answer to a history request.
#[derive(Serialize)]
struct HistoryBody<'a> {
    /// All items of the token, oldest first.
    items: &'a [Item],
    conversation: ConversationBody,
}
