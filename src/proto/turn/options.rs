//! What a caller may ask of the model in addition to the input.

use serde_json::{Number, value::RawValue};

/// What a caller may ask of the model, beside the input.
///
/// A dialect leaves out the hints that its format has no word for ([`Self::seed`], [`Self::reasoning`], parallel calls
/// where allowed), and refuses what it cannot honour and would change the answer.
#[derive(Clone, Debug, Default)]
pub struct ModelOptions {
    /// The most model tokens to write.
    pub max_output_tokens: Option<u32>,
    /// Sampling temperature, 0 to 2, as written by the caller.
    pub temperature: Option<Number>,
    /// The share of the probability mass to sample from, 0 to 1, as written by the caller.
    pub top_p: Option<Number>,
    /// Texts that end the reply where they would come; none empty.
    pub stop: Vec<String>,
    /// A hint towards repeatable sampling.
    pub seed: Option<i64>,
    /// The form of the reply's text.
    pub format: ReplyFormat,
    /// A hint on how much to reason.
    pub reasoning: Reasoning,
    /// Whether several calls may come in one reply.
    pub parallel_calls: Option<bool>,
    /// The tools that the model may call.
    pub tools: Vec<Tool>,
    /// Whether it may, must or must not.
    pub tool_choice: Option<ToolChoice>,
}

/// The form of a reply's text.
#[derive(Clone, Debug, Default)]
pub enum ReplyFormat {
    /// Any JSON object.
    Json,
    /// JSON of this shape.
    Schema {
        /// 1–64 of `[A-Za-z0-9_-]`.
        name: String,
        /// What it is for, for the model.
        description: Option<String>,
        /// The JSON Schema, an object, as the caller wrote it.
        schema: Box<RawValue>,
        /// Whether it must be kept to the letter.
        strict: Option<bool>,
    },
    /// As the model likes.
    #[default]
    Text,
}

/// How much a model is to reason.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reasoning {
    /// Whether, and how far: as Anthropic has it.
    pub thinking: Option<Thinking>,
    /// `none`, `minimal`, `low`, `medium`, `high`, `xhigh` or `max`: as OpenAI and Anthropic have it.
    pub effort: Option<&'static str>,
    /// `auto`, `concise` or `detailed`: which summary of it to give.
    pub summary: Option<&'static str>,
}

impl Reasoning {
    /// The effort in OpenAI's words: as asked for, or what comes close to a budget. Thinking as the model sees fit is what
    /// those models do anyway, and not all of them can be told not to think.
    pub(in crate::proto) fn openai_effort(&self) -> Option<&'static str> {
        self.effort.or(match self.thinking {
            Some(Thinking::Budget(0..4_096)) => Some("low"),
            Some(Thinking::Budget(4_096..16_384)) => Some("medium"),
            Some(Thinking::Budget(_)) => Some("high"),
            Some(Thinking::Adaptive | Thinking::Disabled) | None => None,
        })
    }
}

/// Whether a model is to reason, and how far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Thinking {
    /// As it sees fit.
    Adaptive,
    /// With at most so many model tokens.
    Budget(u32),
    /// Not at all.
    Disabled,
}

/// A tool that the model may call.
#[derive(Clone, Debug)]
pub struct Tool {
    /// 1–64 of `[A-Za-z0-9_-]`.
    pub name: String,
    /// What it does, for the model.
    pub description: Option<String>,
    /// The JSON Schema of its arguments, an object, as the caller wrote it.
    pub parameters: Option<Box<RawValue>>,
    /// Whether arguments must keep to the schema's letter.
    pub strict: Option<bool>,
}

/// Whether the model may, must or must not call a tool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToolChoice {
    /// As it sees fit.
    Auto,
    /// No tool.
    None,
    /// At least one.
    Required,
    /// This one.
    Tool(String),
}
