//! What a turn is measured against: the deployment, the models behind its aliases, and who asks.

use super::{
    error::Error,
    key::KeyRing,
    limits::Limits,
    provider::Provider,
    token::{TokenContext, TokenPolicy},
    turn::Truncation,
};

/// What a deployment is, as far as turns are concerned; equal on all instances.
#[derive(Debug)]
pub struct Deployment {
    /// The keys of tokens.
    pub keys: KeyRing,
    /// The terms of tokens.
    pub policy: TokenPolicy,
    /// The bounds.
    pub limits: Limits,
    /// The models that clients may choose from.
    pub models: Models,
    /// How the doors behave where there is a choice.
    pub apis: ApiSettings,
    /// Whether clients may speak for the model: assistant turns that they bring are then taken as they are.
    pub accepts_client_history: bool,
    /// Whether a token keeps only a note of the inline images of its last turn.
    pub elides_inline_images: bool,
}

impl Deployment {
    /// The terms under which tokens are issued and verified.
    #[must_use]
    pub fn token_context(&self) -> TokenContext<'_> {
        TokenContext { keys: &self.keys, policy: &self.policy, limits: &self.limits }
    }
}

/// What an operator may set about the doors.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ApiSettings {
    /// Whether a Responses stream is live where the request does not say: its first events then carry an id that is no
    /// token.
    pub live_responses: bool,
}

/// The aliases that clients may choose from, each with what stands behind it.
#[derive(Debug)]
pub struct Models(Vec<Model>);

impl Models {
    /// These models; the first is the default, an alias `*` catches what no other has.
    ///
    /// `None` for no model at all.
    #[must_use]
    pub fn new(models: Vec<Model>) -> Option<Self> {
        (!models.is_empty()).then_some(Self(models))
    }

    /// The models, in order.
    #[must_use]
    pub fn as_slice(&self) -> &[Model] {
        &self.0
    }

    /// The model that an alias stands for, and the alias; the first model if none is named.
    ///
    /// # Errors
    /// [`Error::ModelUnknown`].
    pub fn find<'a>(&'a self, alias: Option<&'a str>) -> Result<(&'a Model, &'a str), Error> {
        let model = match alias {
            None => self.0.first(),
            Some(alias) => {
                let exact = self.0.iter().find(|model| model.alias == alias && alias != CATCH_ALL);
                exact.or_else(|| self.0.iter().find(|model| model.alias == CATCH_ALL))
            }
        };
        let model = model.filter(|_| alias.is_none_or(|alias| alias.len() <= ALIAS_BYTES)).ok_or_else(|| {
            let known = self.0.iter().map(|model| model.alias.clone()).collect();
            Error::ModelUnknown { alias: alias.unwrap_or_default().chars().take(64).collect(), known }
        })?;
        Ok((model, alias.unwrap_or(&model.alias)))
    }
}

/// What stands behind an alias.
#[derive(Clone)]
pub struct Model {
    /// What clients call it.
    pub alias: String,
    /// Where it is asked first.
    pub target: Target,
    /// Where it is asked when that fails, in this order.
    pub fallbacks: Vec<Target>,
    /// The system prompt, applied anew each turn.
    pub system_prompt: Option<String>,
    /// The bound on a reply's model tokens where the caller sets none.
    pub max_output_tokens: Option<u32>,
    /// What to do about a conversation that has outgrown its limits, where the caller does not say.
    pub truncation: Truncation,
}

impl Model {
    /// Every target, in the order of preference.
    pub fn targets(&self) -> impl Iterator<Item = &Target> {
        std::iter::once(&self.target).chain(&self.fallbacks)
    }
}

impl std::fmt::Debug for Model {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} → {:?}", self.alias, self.target)?;
        self.fallbacks.iter().try_for_each(|target| write!(f, ", else {target:?}"))
    }
}

/// A model at one upstream.
#[derive(Clone)]
pub struct Target {
    /// The name of the upstream.
    pub upstream: String,
    /// How that upstream speaks.
    pub provider: &'static dyn Provider,
    /// Whose reasoning its replies hold; only that is sent to it ([`ModelCall::provider_id`]).
    ///
    /// [`ModelCall::provider_id`]: crate::proto::provider::ModelCall::provider
    pub provider_id: String,
    /// Whether to ask for the prompt to be cached, where the provider wants to be asked.
    pub prompt_cache: bool,
    /// What that upstream calls the model.
    pub name: String,
}

impl std::fmt::Debug for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {} at {}", self.provider.name(), self.name, self.upstream)
    }
}

/// The alias that catches what no other has.
const CATCH_ALL: &str = "*";
/// The longest alias, in bytes.
const ALIAS_BYTES: usize = 256;
