//! The operator's ceilings on what a turn may ask of a model: the length of the reply and the
//! effort of its reasoning.

use super::options::{EFFORTS, ModelOptions, Reasoning, Thinking};

/// The most that a turn may ask of a model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ceilings {
    /// The most model tokens of a reply. It also bounds a turn that asks for no limit.
    pub max_output_tokens: Option<u32>,
    /// The highest effort: one of [`EFFORTS`].
    pub reasoning_effort: Option<&'static str>,
}

impl Ceilings {
    /// Lowers what is above a ceiling. Returns the names of the options that were lowered, for the
    /// client.
    pub(in crate::proto) fn lower(&self, options: &mut ModelOptions) -> Vec<String> {
        let mut lowered = Vec::new();
        let asked = options.max_output_tokens;
        if let Some(most) = self.max_output_tokens {
            options.max_output_tokens = Some(asked.map_or(most, |asked| asked.min(most)));
            if asked.is_some_and(|asked| asked > most) {
                lowered.push("max_output_tokens".to_owned());
            }
        }
        let mut reasoning = options.reasoning.clone();
        if let Some(most) = self.reasoning_effort {
            lower_effort(&mut reasoning, most);
        }
        fit_budget(&mut reasoning, options.max_output_tokens.filter(|_| self.max_output_tokens.is_some()));
        let is_lowered = reasoning != options.reasoning;
        reasoning.effort_most = self.reasoning_effort;
        options.reasoning = reasoning;
        if is_lowered {
            lowered.push("reasoning_effort".to_owned());
        }
        lowered
    }
}

/// Lowers an effort, a budget or adaptive thinking to the effort `most`.
fn lower_effort(reasoning: &mut Reasoning, most: &'static str) {
    if reasoning.effort.is_some_and(|effort| rank(effort) > rank(most)) {
        reasoning.effort = Some(most);
    }
    match reasoning.thinking {
        Some(Thinking::Adaptive | Thinking::Budget(_)) if rank(most) < rank("low") => {
            reasoning.thinking = Some(Thinking::Disabled);
        }
        Some(Thinking::Budget(budget)) => {
            let most = if rank(most) < rank("high") { Reasoning::budget_of(most) } else { None };
            reasoning.thinking = Some(Thinking::Budget(most.map_or(budget, |most| budget.min(most))));
        }
        // The model would decide, and may decide on a high effort.
        Some(Thinking::Adaptive) if reasoning.effort.is_none() && rank(most) < rank("high") => {
            reasoning.effort = Some(most);
        }
        Some(Thinking::Adaptive | Thinking::Disabled) | None => {}
    }
}

/// Lowers a budget to what a reply of at most `tokens` has room for. A service refuses a budget
/// that is not below the limit on the reply, and one that is too small.
fn fit_budget(reasoning: &mut Reasoning, tokens: Option<u32>) {
    if let (Some(Thinking::Budget(budget)), Some(tokens)) = (reasoning.thinking, tokens)
        && budget >= tokens
    {
        let room = tokens.saturating_sub(1);
        reasoning.thinking = Some(if room < BUDGET_MIN { Thinking::Disabled } else { Thinking::Budget(room) });
    }
}

/// The place of an effort among [`EFFORTS`].
fn rank(effort: &str) -> usize {
    EFFORTS.iter().position(|known| *known == effort).unwrap_or(EFFORTS.len())
}

/// The smallest budget that Anthropic accepts.
const BUDGET_MIN: u32 = 1_024;

#[cfg(test)]
mod tests {
    use super::*;

    /// The options after the ceilings, and the names of what was lowered.
    fn lowered(most: Option<u32>, effort: Option<&'static str>, options: ModelOptions) -> (ModelOptions, String) {
        let mut options = options;
        let ceilings = Ceilings { max_output_tokens: most, reasoning_effort: effort };
        let names = ceilings.lower(&mut options).join(" ");
        (options, names)
    }

    fn tokens(most: Option<u32>, asked: Option<u32>) -> (Option<u32>, String) {
        let (options, names) =
            lowered(most, None, ModelOptions { max_output_tokens: asked, ..ModelOptions::default() });
        (options.max_output_tokens, names)
    }

    #[test]
    fn the_length_of_a_reply_is_bounded_with_and_without_a_request() {
        assert_eq!(tokens(None, None), (None, String::new()));
        assert_eq!(tokens(None, Some(9)), (Some(9), String::new()));
        assert_eq!(tokens(Some(100), None), (Some(100), String::new()));
        assert_eq!(tokens(Some(100), Some(99)), (Some(99), String::new()));
        assert_eq!(tokens(Some(100), Some(100)), (Some(100), String::new()));
        assert_eq!(tokens(Some(100), Some(101)), (Some(100), "max_output_tokens".to_owned()));
    }

    #[test]
    fn efforts_and_budgets_are_lowered_to_the_same_effort() {
        let case = |most, thinking, effort| {
            let reasoning = Reasoning { thinking, effort, ..Reasoning::default() };
            let (options, names) = lowered(None, Some(most), ModelOptions { reasoning, ..ModelOptions::default() });
            let Reasoning { thinking, effort, .. } = options.reasoning;
            (thinking, effort, !names.is_empty())
        };
        for (at, most) in EFFORTS.into_iter().enumerate() {
            for (other, asked) in EFFORTS.into_iter().enumerate() {
                let expected = if other > at { (Some(most), true) } else { (Some(asked), false) };
                let (_, effort, is_named) = case(most, None, Some(asked));
                assert_eq!((effort, is_named), expected, "{asked} under {most}");
            }
        }
        let budget = |tokens| Some(Thinking::Budget(tokens));
        assert_eq!(case("low", budget(50_000), None), (budget(4_095), None, true));
        assert_eq!(case("medium", budget(50_000), None), (budget(16_383), None, true));
        assert_eq!(case("medium", budget(16_383), None), (budget(16_383), None, false));
        assert_eq!(case("high", budget(50_000), None), (budget(50_000), None, false));
        assert_eq!(case("none", budget(1_024), None), (Some(Thinking::Disabled), None, true));
        assert_eq!(case("minimal", Some(Thinking::Adaptive), None), (Some(Thinking::Disabled), None, true));
        assert_eq!(case("low", Some(Thinking::Adaptive), None), (Some(Thinking::Adaptive), Some("low"), true));
        assert_eq!(case("high", Some(Thinking::Adaptive), None), (Some(Thinking::Adaptive), None, false));
        assert_eq!(case("low", Some(Thinking::Disabled), None), (Some(Thinking::Disabled), None, false));
        assert_eq!(case("low", None, None), (None, None, false));
    }

    #[test]
    fn the_default_effort_of_a_service_is_bounded_as_well() {
        let effort = |most, asked| {
            let reasoning = Reasoning { effort: asked, ..Reasoning::default() };
            let options = ModelOptions { reasoning, ..ModelOptions::default() };
            lowered(None, most, options).0.reasoning.openai_effort()
        };
        assert_eq!(effort(None, None), None);
        assert_eq!(effort(Some("low"), None), Some("low"));
        assert_eq!(effort(Some("none"), None), Some("none"));
        assert_eq!(effort(Some("medium"), None), None, "no service has a higher default in this format");
        assert_eq!(effort(Some("low"), Some("minimal")), Some("minimal"));
    }

    #[test]
    fn a_budget_stays_below_a_lowered_reply() {
        let case = |most, budget| {
            let reasoning = Reasoning { thinking: Some(Thinking::Budget(budget)), ..Reasoning::default() };
            let options = ModelOptions { reasoning, max_output_tokens: Some(50_000), ..ModelOptions::default() };
            let (options, names) = lowered(Some(most), None, options);
            (options.reasoning.thinking, names)
        };
        assert_eq!(case(8_000, 7_999), (Some(Thinking::Budget(7_999)), "max_output_tokens".to_owned()));
        let both = "max_output_tokens reasoning_effort".to_owned();
        assert_eq!(case(8_000, 8_000), (Some(Thinking::Budget(7_999)), both.clone()));
        assert_eq!(case(1_025, 8_000), (Some(Thinking::Budget(1_024)), both.clone()));
        assert_eq!(case(1_024, 8_000), (Some(Thinking::Disabled), both));
    }
}
