//! The shapes of what is read by hand, and what the API's description says of this door.
#![expect(dead_code, reason = "only their shape is used")]

use schemars::JsonSchema;
use serde_json::{Map, Value, json};

use super::{
    reply::{Chunk, Completion},
    request::RawChat,
};
use crate::proto::api::{
    body,
    described::{ApiDescription, Schemas},
    openai_error,
};

/// `POST /v1/chat/completions`.
pub(super) fn chat(schemas: &mut Schemas) -> ApiDescription {
    let error = schemas.written::<openai_error::Body<'_>>();
    let end = json!({ "type": "string", "const": "[DONE]", "description": "The end of a whole reply; it is no JSON." });
    let events = [("", schemas.written::<Chunk<'_>>()), ("", error.clone()), ("", end)];
    ApiDescription {
        id: "createChatCompletion",
        summary: "Take a turn in OpenAI's Chat Completions format",
        description: "`conversation_token` brings the conversation, and comes back beside the reply: at the top and in the \
                      message; streamed, in the chunk with `finish_reason`. A stream that fails ends with an error, and \
                      without `[DONE]`.\n\nRefused by name, because they are known and not offered: `audio`, \
                      `function_call`, `functions`, `logit_bias`, `logprobs`, `moderation`, `prediction`, \
                      `previous_response_id`, `top_logprobs`, `web_search_options`, and `n` over 1."
            .to_owned(),
        request: schemas.read::<RawChat<'_>>(),
        answer: schemas.written::<Completion<'_>>(),
        event: Some(schemas.events("ChatCompletionEvent", &events)),
        error: Some(error),
    }
}

/// What a request needs of its messages: one that is not of the system.
pub(super) fn not_system() -> Value {
    json!({ "type": "object", "properties": { "role": { "enum": ["assistant", "tool", "user"] } } })
}

/// A message, by its role.
#[derive(JsonSchema)]
#[schemars(tag = "role", rename = "ChatMessage", rename_all = "snake_case")]
pub(super) enum Message {
    /// What the model said: only as an echo of what the token holds.
    Assistant { content: Option<Content>, refusal: Option<String>, tool_calls: Option<Vec<Call>> },
    /// A system prompt for this turn, by its newer name.
    Developer { content: TextContent },
    /// A system prompt for this turn, where the model has none of its own. It is not kept.
    System { content: TextContent },
    /// What a tool gave back.
    Tool {
        content: Content,
        /// The id of the call.
        tool_call_id: String,
    },
    /// What the user says.
    User { content: Content },
}

/// Text, or parts.
#[derive(JsonSchema)]
#[schemars(untagged, rename = "ChatContent")]
pub(super) enum Content {
    Text(String),
    Parts(#[schemars(length(min = 1, max = body::ELEMENTS))] Vec<Part>),
}

/// Text alone, whole or in parts.
#[derive(JsonSchema)]
#[schemars(untagged, rename = "ChatTextContent")]
pub(super) enum TextContent {
    Text(String),
    Parts(#[schemars(length(min = 1, max = body::ELEMENTS))] Vec<TextPart>),
}

/// A piece of a message.
#[derive(JsonSchema)]
#[schemars(tag = "type", rename = "ChatPart", rename_all = "snake_case")]
pub(super) enum Part {
    ImageUrl { image_url: Url },
    Refusal { refusal: String },
    Text { text: String },
}

/// A piece of a message that can have text alone.
#[derive(JsonSchema)]
#[schemars(tag = "type", rename = "ChatTextPart", rename_all = "snake_case")]
pub(super) enum TextPart {
    Refusal { refusal: String },
    Text { text: String },
}

/// An image.
#[derive(JsonSchema)]
#[schemars(inline)]
pub(super) struct Url {
    /// Its `https:` or `data:` URL.
    #[schemars(regex(pattern = r"^(https?://|data:[^,]*,)"))]
    url: String,
}

/// A call that the model made.
#[derive(JsonSchema)]
#[schemars(rename = "ChatRepeatedCall")]
pub(super) struct Call {
    id: String,
    #[schemars(extend("enum" = ["function", null]))]
    r#type: Option<String>,
    function: Called,
}

/// What it called.
#[derive(JsonSchema)]
#[schemars(inline)]
pub(super) struct Called {
    name: String,
    arguments: String,
}

/// What ends a reply.
#[derive(JsonSchema)]
#[schemars(untagged, rename = "ChatStop")]
pub(super) enum Stop {
    One(#[schemars(length(min = 1))] String),
    Some(#[schemars(length(max = body::STOPS), inner(length(min = 1)))] Vec<String>),
}

/// What the reply is to be.
#[derive(JsonSchema)]
#[schemars(tag = "type", rename = "ChatFormat", rename_all = "snake_case")]
pub(super) enum Format {
    JsonObject,
    JsonSchema { json_schema: Schema },
    Text,
}

/// A JSON Schema with a name.
#[derive(JsonSchema)]
#[schemars(inline)]
pub(super) struct Schema {
    #[schemars(regex(pattern = body::NAME))]
    name: String,
    description: Option<String>,
    schema: Map<String, Value>,
    strict: Option<bool>,
}

/// Whether the model may, must or must not call, or what.
#[derive(JsonSchema)]
#[schemars(untagged, rename = "ChatToolChoice")]
pub(super) enum Choice {
    Word(#[schemars(extend("enum" = ["auto", "none", "required"]))] String),
    One(ChosenTool),
    Allowed(AllowedTools),
}

/// One function, by its name.
#[derive(JsonSchema)]
#[schemars(rename = "ChatToolName")]
pub(super) struct ChosenTool {
    #[schemars(extend("const" = "function"))]
    r#type: String,
    function: Name,
}

/// Some of the tools.
#[derive(JsonSchema)]
#[schemars(rename = "ChatAllowedTools")]
pub(super) struct AllowedTools {
    #[schemars(extend("const" = "allowed_tools"))]
    r#type: String,
    allowed_tools: Allowed,
}

#[derive(JsonSchema)]
#[schemars(inline)]
pub(super) struct Allowed {
    #[schemars(extend("enum" = ["auto", "required"]))]
    mode: String,
    #[schemars(length(max = body::TOOLS))]
    tools: Vec<AllowedTool>,
}

#[derive(JsonSchema)]
#[schemars(inline)]
pub(super) struct AllowedTool {
    function: Name,
}

#[derive(JsonSchema)]
#[schemars(inline)]
pub(super) struct Name {
    name: String,
}
