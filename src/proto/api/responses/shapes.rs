//! The shapes of what is read by hand, and what the API's description says of these doors.
#![expect(dead_code, reason = "only their shape is used")]

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde_json::{Map, Value, json};

use super::{
    CountBody,
    events::{self, ErrorEvent, Event, ItemEvent, Piece, ResponseEvent},
    request::RawRequest,
    resource::ResponseBody,
};
use crate::proto::api::{
    body,
    described::{ApiDescription, Schemas},
    openai_error,
};

/// `POST /v1/responses`.
pub(super) fn responses(schemas: &mut Schemas) -> ApiDescription {
    let state = schemas.written::<Event<'_, ResponseEvent<'_>>>();
    let item = schemas.written::<Event<'_, ItemEvent<'_>>>();
    let piece = schemas.written::<Event<'_, Piece<'_>>>();
    let states =
        ["created", "completed", "incomplete", "failed"].map(|name| (format!("response.{name}"), state.clone()));
    let items = ["added", "done"].map(|name| (format!("response.output_item.{name}"), item.clone()));
    let pieces = events::piece_names().into_iter().map(|name| (name.to_owned(), piece.clone()));
    let error = [("error".to_owned(), schemas.written::<Event<'_, ErrorEvent<'_>>>())];
    let named: Vec<_> = states.into_iter().chain(items).chain(pieces).chain(error).collect();
    let end = json!({ "type": "string", "const": "[DONE]", "description": "The end of the stream; it is no JSON." });
    let events: Vec<_> = named.iter().map(|(name, data)| (name.as_str(), data.clone())).chain([("", end)]).collect();
    ApiDescription {
        id: "createResponse",
        summary: "Take a turn in OpenAI's Responses format",
        description: "The token is the id: `previous_response_id` brings the conversation, and the answer's `id` is its next. \
                      Streamed, all events have that one id, and come when the reply is whole; `metadata.holdall_stream`: \
                      `live` has them come as they are made, with the token in the last one alone.\n\nRefused by name, because \
                      they are known and not offered: `background`, `context_management`, `conversation`, \
                      `conversation_token`, `moderation`, `prompt`, items of the type `item_reference`, tools of other types \
                      than functions, and `n` over 1. `GET` and `DELETE` below this path are refused as well: an id is not \
                      for URLs."
            .to_owned(),
        request: schemas.read::<RawRequest<'_>>(),
        answer: schemas.written::<ResponseBody<'_>>(),
        event: Some(schemas.events("ResponseEvent", &events)),
        error: Some(schemas.written::<openai_error::Body<'_>>()),
    }
}

/// `POST /v1/responses/input_tokens`.
pub(super) fn count(schemas: &mut Schemas) -> ApiDescription {
    ApiDescription {
        id: "countResponseTokens",
        summary: "Count what a response would send",
        description: "How many model tokens the turn would send, the conversation included. Nothing is spent."
            .to_owned(),
        request: schemas.read::<RawRequest<'_>>(),
        answer: schemas.written::<CountBody>(),
        event: None,
        error: Some(schemas.written::<openai_error::Body<'_>>()),
    }
}

/// Text, or items.
#[derive(JsonSchema)]
#[schemars(untagged, rename = "ResponseInput")]
pub(super) enum Input {
    Text(String),
    Items(#[schemars(length(max = body::ELEMENTS))] Vec<Item>),
}

/// A message, a call or its result. Reasoning is passed over: the token has it.
#[derive(JsonSchema)]
#[schemars(untagged, rename = "ResponseInputItem")]
pub(super) enum Item {
    Said(Said),
    Other(Other),
}

/// A message; of what the model said only an echo of what the token holds.
#[derive(JsonSchema)]
#[schemars(tag = "role", rename = "ResponseInputMessage", rename_all = "snake_case")]
pub(super) enum Said {
    Assistant {
        #[schemars(extend("enum" = ["message", null]))]
        r#type: Option<String>,
        content: TextContent,
    },
    Developer {
        #[schemars(extend("enum" = ["message", null]))]
        r#type: Option<String>,
        content: TextContent,
    },
    System {
        #[schemars(extend("enum" = ["message", null]))]
        r#type: Option<String>,
        content: TextContent,
    },
    User {
        #[schemars(extend("enum" = ["message", null]))]
        r#type: Option<String>,
        content: Content,
    },
}

/// What is no message.
#[derive(JsonSchema)]
#[schemars(tag = "type", rename = "ResponseInputOther", rename_all = "snake_case")]
pub(super) enum Other {
    FunctionCall { call_id: String, name: String, arguments: String },
    FunctionCallOutput { call_id: String, output: Content },
    Reasoning,
}

/// Text, or parts.
#[derive(JsonSchema)]
#[schemars(untagged, rename = "ResponseContent")]
pub(super) enum Content {
    Text(String),
    Parts(#[schemars(length(max = body::ELEMENTS))] Vec<Part>),
}

/// Text alone, whole or in parts.
#[derive(JsonSchema)]
#[schemars(untagged, rename = "ResponseTextContent")]
pub(super) enum TextContent {
    Text(String),
    Parts(#[schemars(length(max = body::ELEMENTS))] Vec<TextPart>),
}

/// A piece of a message.
#[derive(JsonSchema)]
#[schemars(tag = "type", rename = "ResponseInputPart", rename_all = "snake_case")]
pub(super) enum Part {
    InputImage {
        #[schemars(regex(pattern = r"^(https?://|data:[^,]*,)"))]
        image_url: String,
    },
    InputText {
        text: String,
    },
    OutputText {
        text: String,
    },
    Refusal {
        refusal: String,
    },
    Text {
        text: String,
    },
}

/// A piece of a message that can have text alone.
#[derive(JsonSchema)]
#[schemars(tag = "type", rename = "ResponseTextPart", rename_all = "snake_case")]
pub(super) enum TextPart {
    InputText { text: String },
    OutputText { text: String },
    Refusal { refusal: String },
    Text { text: String },
}

/// Pairs of text.
#[derive(JsonSchema)]
#[schemars(rename = "ResponseMetadata", extend("maxProperties" = 16, "propertyNames" = json!({ "maxLength": 64 })))]
pub(super) struct Metadata {
    /// How a stream goes; else as the server is set, `hold` by default.
    #[schemars(default, with = "Stream")]
    holdall_stream: (),
    #[schemars(flatten, with = "BTreeMap<String, Value512>")]
    others: (),
}

/// How a stream goes.
#[derive(JsonSchema)]
#[schemars(inline, rename_all = "snake_case")]
pub(super) enum Stream {
    Hold,
    Live,
}

#[derive(JsonSchema)]
#[schemars(inline)]
pub(super) struct Value512(#[schemars(length(max = 512))] String);

/// What to do when the conversation has outgrown its limits.
#[derive(JsonSchema)]
#[schemars(inline, rename_all = "snake_case")]
pub(super) enum Truncation {
    Auto,
    Disabled,
    Oldest,
    Refuse,
    Summarize,
}

/// The form of the reply.
#[derive(JsonSchema)]
#[schemars(tag = "type", rename = "ResponseFormatRequest", rename_all = "snake_case")]
pub(super) enum Format {
    JsonObject,
    JsonSchema {
        #[schemars(regex(pattern = body::NAME))]
        name: String,
        description: Option<String>,
        schema: Map<String, Value>,
        strict: Option<bool>,
    },
    Text,
}

/// Whether the model may, must or must not call, or what.
#[derive(JsonSchema)]
#[schemars(untagged, rename = "ResponseToolChoiceRequest")]
pub(super) enum Choice {
    Word(#[schemars(extend("enum" = ["auto", "none", "required"]))] String),
    One(ChosenTool),
    Allowed(AllowedTools),
}

/// One function, by its name.
#[derive(JsonSchema)]
#[schemars(rename = "ResponseChosenTool")]
pub(super) struct ChosenTool {
    #[schemars(extend("const" = "function"))]
    r#type: String,
    name: String,
}

/// Some of the tools.
#[derive(JsonSchema)]
#[schemars(rename = "ResponseAllowedTools")]
pub(super) struct AllowedTools {
    #[schemars(extend("const" = "allowed_tools"))]
    r#type: String,
    #[schemars(extend("enum" = ["auto", "none", "required", null]))]
    mode: Option<String>,
    #[schemars(length(min = 1, max = body::TOOLS))]
    tools: Vec<AllowedTool>,
}

#[derive(JsonSchema)]
#[schemars(inline)]
pub(super) struct AllowedTool {
    #[schemars(extend("enum" = ["function", null]))]
    r#type: Option<String>,
    name: String,
}
