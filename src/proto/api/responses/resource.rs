//! The objects of the Responses API: a response with every member that the specification requires,
//! and its items.

use std::fmt;

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, MapAccess, Visitor},
};
use serde_json::{Number, value::RawValue};

use crate::proto::{
    api::conversation::ConversationBody,
    turn::{Tool, Usage},
};

/// The prefix of response ids. Some clients check it before they send an id back.
pub(super) const ID_PREFIX: &str = "resp_";

/// A response: complete, or its state in an event.
#[derive(Serialize)]
pub(super) struct ResponseBody<'a> {
    /// [`ID_PREFIX`] followed by the next token, or by the plain id of a response without one.
    pub(super) id: &'a str,
    pub(super) object: &'static str,
    pub(super) created_at: u64,
    pub(super) completed_at: Option<u64>,
    pub(super) status: Status,
    pub(super) background: bool,
    pub(super) error: Option<ErrorBody<'a>>,
    pub(super) incomplete_details: Option<IncompleteBody>,
    pub(super) model: &'a str,
    pub(super) output: &'a [OutputItem],
    /// Always `null`: a response shows its token only once.
    pub(super) previous_response_id: (),
    #[serde(flatten)]
    pub(super) repeated: &'a RepeatedMembers,
    pub(super) presence_penalty: f64,
    pub(super) frequency_penalty: f64,
    pub(super) top_logprobs: u32,
    pub(super) service_tier: &'static str,
    pub(super) usage: Option<UsageBody>,
    /// The state of the conversation. Present once the reply is complete.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) holdall: Option<ConversationBody>,
}

/// The status of a response, or of an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Status {
    Completed,
    Failed,
    InProgress,
    Incomplete,
}

/// The reason why a response failed.
#[derive(Serialize)]
pub(super) struct ErrorBody<'a> {
    pub(super) code: &'a str,
    pub(super) message: &'a str,
}

/// The reason why a response is incomplete.
#[derive(Serialize)]
pub(super) struct IncompleteBody {
    pub(super) reason: &'static str,
}

/// The members of a request that its answer repeats. Absent ones have their defaults.
#[derive(Serialize)]
pub(super) struct RepeatedMembers {
    pub(super) instructions: Option<String>,
    pub(super) max_output_tokens: Option<u32>,
    pub(super) max_tool_calls: Option<u32>,
    pub(super) metadata: Metadata,
    pub(super) parallel_tool_calls: bool,
    pub(super) prompt_cache_key: Option<String>,
    pub(super) reasoning: ReasoningBody,
    pub(super) safety_identifier: Option<String>,
    pub(super) store: bool,
    /// Never `None`.
    pub(super) temperature: Option<Number>,
    pub(super) text: TextBody,
    pub(super) tool_choice: ChoiceBody,
    pub(super) tools: Vec<ToolBody>,
    /// Never `None`.
    pub(super) top_p: Option<Number>,
    pub(super) truncation: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) user: Option<String>,
}

/// The metadata of a client: at most 16 pairs of a key of up to 64 characters and a value of up to
/// 512, as OpenAI limits it.
#[derive(Default)]
pub(super) struct Metadata(Vec<(String, String)>);

impl Metadata {
    /// The value of a key.
    pub(super) fn value(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(own, _)| own == key).map(|(_, value)| value.as_str())
    }
}

impl<'de> Deserialize<'de> for Metadata {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct MetadataVisitor;

        impl<'de> Visitor<'de> for MetadataVisitor {
            type Value = Metadata;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of texts")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Metadata, A::Error> {
                let mut metadata = Metadata::default();
                while let Some((key, value)) = map.next_entry::<String, String>()? {
                    let fits = key.chars().count() <= 64 && value.chars().count() <= 512;
                    if !fits || metadata.0.len() == 16 || metadata.value(&key).is_some() {
                        return Err(de::Error::custom(
                            "it has at most 16 keys, each once, of at most 64 characters, with values of at most 512",
                        ));
                    }
                    metadata.0.push((key, value));
                }
                Ok(metadata)
            }
        }

        deserializer.deserialize_map(MetadataVisitor)
    }
}

impl Serialize for Metadata {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(key, value)| (key, value)))
    }
}

#[derive(Default, Serialize)]
pub(super) struct ReasoningBody {
    pub(super) effort: Option<&'static str>,
    pub(super) summary: Option<&'static str>,
}

#[derive(Serialize)]
pub(super) struct TextBody {
    pub(super) format: FormatBody,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) verbosity: Option<&'static str>,
}

/// The format of the reply, as requested.
#[derive(Serialize)]
#[serde(tag = "type")]
pub(super) enum FormatBody {
    #[serde(rename = "json_object")]
    Json,
    #[serde(rename = "json_schema")]
    Schema {
        name: String,
        description: Option<String>,
        /// Always `null`, as the specification requires for responses.
        schema: (),
        strict: bool,
    },
    #[serde(rename = "text")]
    Text,
}

impl FormatBody {
    pub(super) fn schema(name: String, description: Option<String>, strict: Option<bool>) -> Self {
        Self::Schema { name, description, schema: (), strict: strict.unwrap_or_default() }
    }
}

/// The choice of tools, as requested.
#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum ChoiceBody {
    Allowed { r#type: &'static str, mode: &'static str, tools: Vec<NameBody> },
    Function(NameBody),
    Mode(&'static str),
}

/// A function or a custom tool, by its name.
#[derive(Serialize)]
pub(super) struct NameBody {
    r#type: &'static str,
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<String>,
}

impl NameBody {
    pub(super) fn new(r#type: &'static str, name: String, namespace: Option<String>) -> Self {
        Self { r#type, name, namespace }
    }
}

/// A tool, as in the request.
#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum ToolBody {
    /// A function, with every member that the specification requires.
    Function {
        r#type: &'static str,
        name: String,
        description: Option<String>,
        parameters: Option<Box<RawValue>>,
        strict: Option<bool>,
    },
    /// A custom tool or a namespace, as received.
    Received(Box<RawValue>),
}

impl From<&Tool> for ToolBody {
    fn from(Tool { name, description, parameters, strict }: &Tool) -> Self {
        Self::Function {
            r#type: "function",
            name: name.clone(),
            description: description.clone(),
            parameters: parameters.clone(),
            strict: *strict,
        }
    }
}

/// One item of a reply.
#[derive(Clone, Serialize)]
#[serde(tag = "type")]
pub(super) enum OutputItem {
    #[serde(rename = "function_call")]
    Call {
        id: String,
        call_id: String,
        name: String,
        /// The namespace of the tool, if it has one.
        #[serde(skip_serializing_if = "Option::is_none")]
        namespace: Option<String>,
        arguments: String,
        status: Status,
    },
    #[serde(rename = "custom_tool_call")]
    CustomCall {
        id: String,
        call_id: String,
        name: String,
        /// The namespace of the tool, if it has one.
        #[serde(skip_serializing_if = "Option::is_none")]
        namespace: Option<String>,
        input: String,
        status: Status,
    },
    #[serde(rename = "message")]
    Message { id: String, role: &'static str, status: Status, content: Vec<PartBody> },
    #[serde(rename = "reasoning")]
    Reasoning {
        id: String,
        summary: Vec<PartBody>,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        content: Vec<PartBody>,
        #[serde(skip_serializing_if = "Option::is_none")]
        encrypted_content: Option<String>,
    },
}

impl OutputItem {
    /// A message of this text.
    pub(super) fn message(id: String, status: Status, text: &str) -> Self {
        Self::Message { id, role: "assistant", status, content: vec![PartBody::output(text)] }
    }

    /// The item at its start: in progress, and without content.
    pub(super) fn announced(&self) -> Self {
        let status = Status::InProgress;
        match self {
            Self::Call { id, call_id, name, namespace, .. } => Self::Call {
                id: id.clone(),
                call_id: call_id.clone(),
                name: name.clone(),
                namespace: namespace.clone(),
                arguments: String::new(),
                status,
            },
            Self::CustomCall { id, call_id, name, namespace, .. } => Self::CustomCall {
                id: id.clone(),
                call_id: call_id.clone(),
                name: name.clone(),
                namespace: namespace.clone(),
                input: String::new(),
                status,
            },
            Self::Message { id, role, .. } => Self::Message { id: id.clone(), role, status, content: Vec::new() },
            Self::Reasoning { id, .. } => {
                Self::Reasoning { id: id.clone(), summary: Vec::new(), content: Vec::new(), encrypted_content: None }
            }
        }
    }

    pub(super) fn id(&self) -> &str {
        match self {
            Self::Call { id, .. }
            | Self::CustomCall { id, .. }
            | Self::Message { id, .. }
            | Self::Reasoning { id, .. } => id,
        }
    }
}

/// A part of an item.
#[derive(Clone, Serialize)]
#[serde(tag = "type")]
pub(super) enum PartBody {
    #[serde(rename = "output_text")]
    Output { text: String, annotations: [(); 0], logprobs: [(); 0] },
    #[serde(rename = "reasoning_text")]
    Reasoning { text: String },
    #[serde(rename = "summary_text")]
    Summary { text: String },
}

impl PartBody {
    pub(super) fn output(text: &str) -> Self {
        Self::Output { text: text.to_owned(), annotations: [], logprobs: [] }
    }

    pub(super) fn text(&self) -> &str {
        match self {
            Self::Output { text, .. } | Self::Reasoning { text } | Self::Summary { text } => text,
        }
    }

    /// The part at its start: without text.
    pub(super) fn announced(&self) -> Self {
        match self {
            Self::Output { .. } => Self::output(""),
            Self::Reasoning { .. } => Self::Reasoning { text: String::new() },
            Self::Summary { .. } => Self::Summary { text: String::new() },
        }
    }
}

/// The model tokens that the turn used.
#[derive(Serialize)]
pub(super) struct UsageBody {
    input_tokens: u64,
    input_tokens_details: InputDetails,
    output_tokens: u64,
    output_tokens_details: OutputDetails,
    total_tokens: u64,
}

#[derive(Serialize)]
struct InputDetails {
    cached_tokens: u64,
    cache_write_tokens: u64,
}

#[derive(Serialize)]
struct OutputDetails {
    reasoning_tokens: u64,
}

impl From<Usage> for UsageBody {
    fn from(usage: Usage) -> Self {
        let Usage { input_tokens, output_tokens, cached_tokens, cache_written_tokens, reasoning_tokens, .. } = usage;
        Self {
            input_tokens,
            input_tokens_details: InputDetails { cached_tokens, cache_write_tokens: cache_written_tokens },
            output_tokens,
            output_tokens_details: OutputDetails { reasoning_tokens },
            total_tokens: input_tokens.saturating_add(output_tokens),
        }
    }
}
