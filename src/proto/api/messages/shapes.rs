//! The shapes of what is read by hand, and what the API's description says of these doors.
#![expect(dead_code, reason = "only their shape is used")]

use schemars::JsonSchema;
use serde_json::{Map, Value, json};

use super::{
    CountBody,
    error::ErrorBody,
    reply::{self, Event},
    request::{self, RawMessages},
};
use crate::proto::api::{
    body,
    described::{ApiDescription, Schemas},
};

/// `POST /v1/messages`.
pub(super) fn messages(schemas: &mut Schemas) -> ApiDescription {
    let error = schemas.written::<ErrorBody<'_>>();
    let events = schemas.written::<Event<'_>>();
    let names = ["message_start", "content_block_start", "content_block_delta", "content_block_stop", "message_delta"];
    let names: Vec<_> = names.into_iter().chain(["message_stop"]).map(|name| (name, events.clone())).collect();
    let events: Vec<_> = names.into_iter().chain([("error", error.clone())]).collect();
    let request = json!({
        "allOf": [schemas.read::<RawMessages<'_>>()],
        "required": ["max_tokens"],
        "properties": { "max_tokens": { "type": "integer" } },
    });
    ApiDescription {
        id: "createMessage",
        summary: "Take a turn in Anthropic's Messages format",
        description: "`conversation_token` brings the conversation, and comes back beside the reply; streamed, on \
                      `message_delta` and `message_stop`. A stream that fails ends with `error`.\n\nRefused by name, because \
                      they are known and not offered: `compaction`, `container`, `context_management`, `fallbacks`, \
                      `inference_geo`, `mcp_servers`, `thread`, `top_k`, tools of other types than one's own, and a last \
                      message of the assistant's."
            .to_owned(),
        request: schemas.name("MessageRequest", request),
        answer: schemas.written::<reply::Message<'_>>(),
        event: Some(schemas.events("MessageEvent", &events)),
        error: Some(error),
    }
}

/// `POST /v1/messages/count_tokens`.
pub(super) fn count(schemas: &mut Schemas) -> ApiDescription {
    ApiDescription {
        id: "countMessageTokens",
        summary: "Count what a message would send",
        description: "How many model tokens the turn would send, the conversation included. Nothing is spent."
            .to_owned(),
        request: schemas.read::<RawMessages<'_>>(),
        answer: schemas.written::<CountBody>(),
        event: None,
        error: Some(schemas.written::<ErrorBody<'_>>()),
    }
}

/// What a request needs of its messages: one that is not of the system.
pub(super) fn not_system() -> Value {
    json!({ "type": "object", "properties": { "role": { "enum": ["assistant", "user"] } } })
}

/// A message, by its role.
#[derive(JsonSchema)]
#[schemars(tag = "role", rename = "MessageParam", rename_all = "snake_case")]
pub(super) enum Message {
    /// What the model said: only as an echo of what the token holds, and never last.
    Assistant { content: AssistantContent },
    /// A system prompt for this turn.
    System { content: Words },
    /// What the user says.
    User { content: UserContent },
}

/// Text, or blocks of it.
#[derive(JsonSchema)]
#[schemars(untagged, rename = "MessageText")]
pub(super) enum Words {
    Text(String),
    Blocks(#[schemars(length(max = body::ELEMENTS))] Vec<TextBlock>),
}

/// Text.
#[derive(JsonSchema)]
#[schemars(rename = "MessageTextBlock")]
pub(super) struct TextBlock {
    #[schemars(extend("const" = "text"))]
    r#type: String,
    text: String,
}

/// Text, or blocks.
#[derive(JsonSchema)]
#[schemars(untagged, rename = "MessageUserContent")]
pub(super) enum UserContent {
    Text(String),
    Blocks(#[schemars(length(min = 1, max = body::ELEMENTS))] Vec<UserBlock>),
}

/// A piece of what the user says, or a tool's result.
#[derive(JsonSchema)]
#[schemars(tag = "type", rename = "MessageUserBlock", rename_all = "snake_case")]
pub(super) enum UserBlock {
    Image {
        source: Source,
    },
    Text {
        text: String,
    },
    ToolResult {
        /// The id of the call.
        tool_use_id: String,
        content: Option<ResultContent>,
        /// Whether the tool failed.
        is_error: Option<bool>,
    },
}

/// What a tool gave back: text, or blocks.
#[derive(JsonSchema)]
#[schemars(untagged, rename = "MessageResultContent")]
pub(super) enum ResultContent {
    Text(String),
    Blocks(#[schemars(length(max = body::ELEMENTS))] Vec<ResultBlock>),
}

/// A piece of what a tool gave back.
#[derive(JsonSchema)]
#[schemars(tag = "type", rename = "MessageResultBlock", rename_all = "snake_case")]
pub(super) enum ResultBlock {
    Image { source: Source },
    Text { text: String },
}

/// An image: sent along, or by its URL.
#[derive(JsonSchema)]
#[schemars(tag = "type", rename = "MessageImageSource", rename_all = "snake_case")]
pub(super) enum Source {
    Base64 {
        #[schemars(regex(pattern = r"^image/[A-Za-z0-9+.-]{1,64}$"))]
        media_type: String,
        data: String,
    },
    Url {
        #[schemars(regex(pattern = r"^(https?://|data:[^,]*,)"))]
        url: String,
    },
}

/// Text, or blocks.
#[derive(JsonSchema)]
#[schemars(untagged, rename = "MessageAssistantContent")]
pub(super) enum AssistantContent {
    Text(String),
    Blocks(#[schemars(length(max = body::ELEMENTS))] Vec<AssistantBlock>),
}

/// A piece of what the model said; its thinking is left out, since the token has it.
#[derive(JsonSchema)]
#[schemars(tag = "type", rename = "MessageAssistantBlock", rename_all = "snake_case")]
pub(super) enum AssistantBlock {
    RedactedThinking,
    Text { text: String },
    Thinking,
    ToolUse { id: String, name: String, input: Map<String, Value> },
}

/// Whether and how much the model is to think, and whether that is shown.
#[derive(JsonSchema)]
#[schemars(untagged, rename = "MessageThinking")]
pub(super) enum Thinking {
    Budget(ThinkingBudget),
    Way(ThinkingWay),
}

/// So many model tokens, fewer than `max_tokens`.
#[derive(JsonSchema)]
#[schemars(inline)]
pub(super) struct ThinkingBudget {
    #[schemars(extend("const" = "enabled"))]
    r#type: String,
    #[schemars(range(min = request::LEAST_BUDGET))]
    budget_tokens: u32,
    #[schemars(extend("enum" = ["omitted", "summarized", null]))]
    display: Option<String>,
}

/// As the model sees fit, or not at all.
#[derive(JsonSchema)]
#[schemars(inline)]
pub(super) struct ThinkingWay {
    #[schemars(extend("enum" = ["adaptive", "disabled"]))]
    r#type: String,
    #[schemars(extend("enum" = ["omitted", "summarized", null]))]
    display: Option<String>,
}

/// What the reply is to be.
#[derive(JsonSchema)]
#[schemars(rename = "MessageOutputConfig")]
pub(super) struct OutputConfig {
    /// How much the model is to think.
    #[schemars(extend("enum" = crate::proto::api::described::nullable(&request::EFFORTS)))]
    effort: Option<String>,
    format: Option<Format>,
}

/// The form of the reply.
#[derive(JsonSchema)]
#[schemars(rename = "MessageFormat")]
pub(super) struct Format {
    #[schemars(extend("const" = "json_schema"))]
    r#type: String,
    schema: Map<String, Value>,
}

/// Whether the model may, must or must not call, or what.
#[derive(JsonSchema)]
#[schemars(tag = "type", rename = "MessageToolChoice", rename_all = "snake_case")]
pub(super) enum Choice {
    Any { disable_parallel_tool_use: Option<bool> },
    Auto { disable_parallel_tool_use: Option<bool> },
    None { disable_parallel_tool_use: Option<bool> },
    Tool { name: String, disable_parallel_tool_use: Option<bool> },
}
