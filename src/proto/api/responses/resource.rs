//! The objects of the Responses API as they are written: a response with every member that the specification requires,
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

/// A response, whole or as it stands in an event.
#[derive(Serialize)]
pub(super) struct ResponseBody<'a> {
    /// `resp_` and the conversation's new last token: the next `previous_response_id`.
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
    /// Always null: a token would be told a second time.
    pub(super) previous_response_id: (),
    #[serde(flatten)]
    pub(super) repeated: &'a Repeated,
    pub(super) presence_penalty: f64,
    pub(super) frequency_penalty: f64,
    pub(super) top_logprobs: u32,
    pub(super) service_tier: &'static str,
    pub(super) usage: Option<UsageBody>,
    /// What every door tells of a conversation, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) holdall: Option<ConversationBody>,
}

/// Where a response stands, or an item of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Status {
    Completed,
    Failed,
    InProgress,
    Incomplete,
}

/// Why a response failed.
#[derive(Serialize)]
pub(super) struct ErrorBody<'a> {
    pub(super) code: &'a str,
    pub(super) message: &'a str,
}

/// Why a response ended before its end.
#[derive(Serialize)]
pub(super) struct IncompleteBody {
    pub(super) reason: &'static str,
}

/// What an answer repeats of its request, defaults where the request was silent.
#[derive(Serialize)]
pub(super) struct Repeated {
    pub(super) instructions: Option<String>,
    pub(super) max_output_tokens: Option<u32>,
    pub(super) max_tool_calls: Option<u32>,
    pub(super) metadata: Metadata,
    pub(super) parallel_tool_calls: bool,
    pub(super) prompt_cache_key: Option<String>,
    pub(super) reasoning: ReasoningBody,
    pub(super) safety_identifier: Option<String>,
    pub(super) store: bool,
    /// A number always.
    pub(super) temperature: Option<Number>,
    pub(super) text: TextBody,
    pub(super) tool_choice: ChoiceBody,
    pub(super) tools: Vec<ToolBody>,
    /// A number always.
    pub(super) top_p: Option<Number>,
    pub(super) truncation: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) user: Option<String>,
}

/// Pairs of text that the client keeps with a response: at most 16, as OpenAI has it, of 64 and 512 characters.
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
                f.write_str("an object of texts as `metadata`")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Metadata, A::Error> {
                let mut metadata = Metadata::default();
                while let Some((key, value)) = map.next_entry::<String, String>()? {
                    let fits = key.chars().count() <= 64 && value.chars().count() <= 512;
                    if !fits || metadata.0.len() == 16 || metadata.value(&key).is_some() {
                        return Err(de::Error::custom(
                            "`metadata` has at most 16 keys, each once, of at most 64 characters, with values of at most 512",
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

/// The form of the reply, as it was asked for.
#[derive(Serialize)]
#[serde(tag = "type")]
pub(super) enum FormatBody {
    #[serde(rename = "json_object")]
    Json,
    #[serde(rename = "json_schema")]
    Schema {
        name: String,
        description: Option<String>,
        /// Null, as the specification has it of answers.
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

/// Whether the model might, must or must not call, as it was asked for.
#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum ChoiceBody {
    Allowed { r#type: &'static str, mode: &'static str, tools: Vec<NameBody> },
    Function(NameBody),
    Word(&'static str),
}

/// A function by its name.
#[derive(Serialize)]
pub(super) struct NameBody {
    r#type: &'static str,
    name: String,
}

impl NameBody {
    pub(super) fn new(name: String) -> Self {
        Self { r#type: "function", name }
    }
}

/// A tool, as it was described.
#[derive(Serialize)]
pub(super) struct ToolBody {
    r#type: &'static str,
    name: String,
    description: Option<String>,
    parameters: Option<Box<RawValue>>,
    strict: Option<bool>,
}

impl From<Tool> for ToolBody {
    fn from(Tool { name, description, parameters, strict }: Tool) -> Self {
        Self { r#type: "function", name, description, parameters, strict }
    }
}

/// One item of a reply.
#[derive(Clone, Serialize)]
#[serde(tag = "type")]
pub(super) enum OutputItem {
    #[serde(rename = "function_call")]
    Call { id: String, call_id: String, name: String, arguments: String, status: Status },
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

    /// The item as it is announced: its name alone, and nothing of what it says.
    pub(super) fn announced(&self) -> Self {
        let status = Status::InProgress;
        match self {
            Self::Call { id, call_id, name, .. } => Self::Call {
                id: id.clone(),
                call_id: call_id.clone(),
                name: name.clone(),
                arguments: String::new(),
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
            Self::Call { id, .. } | Self::Message { id, .. } | Self::Reasoning { id, .. } => id,
        }
    }
}

/// A piece of what an item says.
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

    /// The part before any of its text.
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
