//! The shapes of what is read by hand, and what the API's description says of the native paths.
//!
//! The reader takes all members of all shapes at once and then looks which are there; here is one type for each shape.
#![expect(dead_code, reason = "only their shape is used")]

use schemars::JsonSchema;
use serde_json::{Value, json};

use super::{ELEMENTS, RawHistoryRequest, RawToolName, RawTurn, answer, revocation};
use crate::proto::{
    api::described::{ApiDescription, Schemas, refer},
    chat::{Output, Part},
};

/// Text, or parts and results of tools.
#[derive(JsonSchema)]
#[schemars(untagged, rename = "TurnInput")]
pub(super) enum Input {
    /// Text.
    Text(String),
    /// Parts and results.
    Elements(#[schemars(length(max = ELEMENTS))] Vec<Element>),
}

/// A part of what the user says, or a tool's result.
#[derive(JsonSchema)]
#[schemars(untagged, rename = "TurnInputElement")]
pub(super) enum Element {
    /// A part.
    Part(Part),
    /// A result.
    Result(ToolResult),
}

/// What a tool gave back.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct ToolResult {
    /// The kind.
    #[schemars(extend("const" = "result"))]
    t: String,
    /// The id of the call.
    id: String,
    /// The result.
    out: Output,
    /// Whether the tool failed.
    #[schemars(default)]
    error: bool,
}

/// Whether the model may, must or must not call; or which tool it must.
#[derive(JsonSchema)]
#[schemars(untagged, rename = "ToolChoice")]
pub(super) enum Choice {
    /// In a word.
    Word(ChoiceWord),
    /// This one.
    Tool(RawToolName),
}

/// Whether the model may, must or must not call.
#[derive(JsonSchema)]
#[schemars(inline, rename_all = "snake_case")]
pub(super) enum ChoiceWord {
    Auto,
    None,
    Required,
}

/// The name of a user: up to 256 bytes without control characters.
#[derive(JsonSchema)]
#[schemars(inline)]
pub(super) struct UserId(
    #[schemars(length(min = 1, max = 256), regex(pattern = r"^[^\u0000-\u001f\u007f-\u009f]*$"))] String,
);

/// `POST /v1/turns`.
pub(super) fn turn(schemas: &mut Schemas) -> ApiDescription {
    let partial = schemas.written::<answer::PartialBody<'_>>();
    let error = json!({
        "description": "A turn that failed once its answer had begun: the problem, and what had flowed.",
        "allOf": [refer("Problem"), { "type": "object", "properties": { "partial": partial } }],
    });
    let answer = schemas.written::<answer::AnswerBody<'_>>();
    let events = [
        ("delta", schemas.written::<answer::TextBody<'_>>()),
        ("tool_call", schemas.written::<answer::CallBody<'_>>()),
        ("done", answer.clone()),
        ("error", schemas.name("TurnError", error)),
    ];
    ApiDescription {
        id: "takeTurn",
        summary: "Take a turn",
        description: "Sends what is new with the conversation's last token, and gets the reply with the next token. Keep \
                      that one: the server keeps nothing. A turn that fails leaves the old token as good as it was.\n\n\
                      With `stream` the reply comes as server-sent events: `delta` and `tool_call` as they are made, then \
                      `done` with the whole answer, or `error` with the problem and, where text had flowed, `partial`. \
                      What is refused before that has a status of its own and no stream. Lines that begin with a colon \
                      are signs of life, every 15 s."
            .to_owned(),
        request: schemas.read::<RawTurn<'_>>(),
        answer,
        event: Some(schemas.events("TurnEvent", &events)),
        error: None,
    }
}

/// `POST /v1/history`: its request and its answer.
pub(crate) fn history(schemas: &mut Schemas) -> (Value, Value) {
    (schemas.read::<RawHistoryRequest>(), schemas.written::<answer::HistoryBody<'_>>())
}

/// `POST /v1/revocations`: its request and its answer.
pub(crate) fn revocations(schemas: &mut Schemas) -> (Value, Value) {
    (schemas.read::<revocation::shapes::Request>(), schemas.written::<revocation::RevocationBody<'_>>())
}
