//! The options for the model: length, sampling, format, reasoning and tools.

use serde::Serialize;
use serde_json::{Number, value::RawValue};

/// The options for the model.
///
/// A provider format may have no word for an option. It leaves out hints: [`Self::seed`],
/// [`Self::reasoning`], and permission for parallel calls. It refuses an option that would change
/// the answer.
#[derive(Clone, Debug, Default, Serialize)]
pub struct ModelOptions {
    /// The limit on the reply's model tokens.
    pub max_output_tokens: Option<u32>,
    /// The sampling temperature, 0 to 2, as the caller wrote it.
    pub temperature: Option<Number>,
    /// The share of the probability mass to sample from, 0 to 1, as the caller wrote it.
    pub top_p: Option<Number>,
    /// Stop sequences: the reply ends before the first of them. None is empty.
    pub stop: Vec<String>,
    /// A hint for repeatable sampling.
    pub seed: Option<i64>,
    /// The format of the reply's text.
    pub format: ReplyFormat,
    /// A hint for the amount of reasoning.
    pub reasoning: Reasoning,
    /// True if one reply may have several calls. None leaves it to the provider.
    pub parallel_calls: Option<bool>,
    /// The tools that the model may call.
    pub tools: Vec<Tool>,
    /// The choice among the tools. None leaves it to the provider.
    pub tool_choice: Option<ToolChoice>,
}

/// The format of a reply's text.
#[derive(Clone, Debug, Default, Serialize)]
pub enum ReplyFormat {
    /// Any JSON object.
    Json,
    /// JSON that matches a schema.
    Schema {
        /// The name of the schema: 1 to 64 characters of `[A-Za-z0-9_-]`.
        name: String,
        /// The purpose of the schema, for the model.
        description: Option<String>,
        /// The JSON Schema, an object, as the caller wrote it.
        schema: Box<RawValue>,
        /// True if the reply must match the schema exactly.
        strict: Option<bool>,
    },
    /// Any text.
    #[default]
    Text,
}

/// The amount of reasoning.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Reasoning {
    /// The mode and the budget, in Anthropic's terms.
    pub thinking: Option<Thinking>,
    /// The effort, in the terms of OpenAI and Anthropic: `none`, `minimal`, `low`, `medium`,
    /// `high`, `xhigh`, `max` or `ultra`.
    pub effort: Option<&'static str>,
    /// The kind of summary of the reasoning: `auto`, `concise` or `detailed`.
    pub summary: Option<&'static str>,
    /// The highest effort that the operator allows. It matters where a service has a default effort
    /// of its own.
    pub effort_most: Option<&'static str>,
}

/// The levels of [`Reasoning::effort`], lowest first.
pub const EFFORTS: [&str; 8] = ["none", "minimal", "low", "medium", "high", "xhigh", "max", "ultra"];

impl Reasoning {
    /// The effort in OpenAI's terms: the requested effort, or the nearest one to a budget.
    ///
    /// Adaptive thinking is the default of OpenAI's models, and not all of them can switch thinking
    /// off, so neither is written.
    pub(in crate::proto) fn openai_effort(&self) -> Option<&'static str> {
        let of_thinking = match self.thinking {
            Some(Thinking::Budget(0..LOW_BUDGET)) => Some("low"),
            Some(Thinking::Budget(LOW_BUDGET..MEDIUM_BUDGET)) => Some("medium"),
            Some(Thinking::Budget(_)) => Some("high"),
            Some(Thinking::Adaptive | Thinking::Disabled) | None => None,
        };
        // OpenAI's default is `medium`.
        let below_default = self.effort_most.filter(|most| ["none", "minimal", "low"].contains(most));
        self.effort.or(of_thinking).or(below_default)
    }

    /// The largest budget that counts as this effort; `None` if it has no bound.
    pub(super) fn budget_of(effort: &str) -> Option<u32> {
        match effort {
            "low" => Some(LOW_BUDGET - 1),
            "medium" => Some(MEDIUM_BUDGET - 1),
            _ => None,
        }
    }
}

/// Budgets below this one count as the effort `low`.
const LOW_BUDGET: u32 = 4_096;
/// Budgets below this one count as the effort `medium`.
const MEDIUM_BUDGET: u32 = 16_384;

/// The mode of reasoning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Thinking {
    /// The model decides.
    Adaptive,
    /// At most this many model tokens.
    Budget(u32),
    /// No reasoning.
    Disabled,
}

/// A tool that the model may call.
#[derive(Clone, Debug, Serialize)]
pub struct Tool {
    /// The name: 1 to 64 characters of `[A-Za-z0-9_-]`.
    pub name: String,
    /// The purpose of the tool, for the model.
    pub description: Option<String>,
    /// The JSON Schema of its arguments, an object, as the caller wrote it.
    pub parameters: Option<Box<RawValue>>,
    /// True if the arguments must match the schema exactly.
    pub strict: Option<bool>,
}

/// The choice among the tools.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum ToolChoice {
    /// The model decides.
    Auto,
    /// The model must not call a tool.
    None,
    /// The model must call at least one tool.
    Required,
    /// The model must call this tool.
    Tool(String),
}
