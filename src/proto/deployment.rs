//! The settings of a deployment that the core must know, and the models behind its aliases.

use std::fmt;

use zeroize::Zeroizing;

use super::{
    chat::ImageRules,
    error::Error,
    key::KeyRing,
    limits::Limits,
    provider::{Profile, Provider},
    secrets::{KEY_STRETCH_CHARS, PROMPT_STRETCH_CHARS, StretchIndex},
    token::{TokenContext, TokenPolicy},
    turn::{Ceilings, Truncation},
};

/// The settings of a deployment, as far as they matter for turns. They must be equal on all
/// instances.
#[derive(Debug)]
pub struct Deployment {
    /// The keys that sign and verify tokens.
    pub keys: KeyRing,
    /// The content and lifetime of tokens.
    pub policy: TokenPolicy,
    /// The limits on tokens, histories, messages and replies.
    pub limits: Limits,
    /// The models that clients may choose from.
    pub models: Models,
    /// The settings of the APIs.
    pub apis: ApiSettings,
    /// True if a token keeps only a note of each inline image in its last turn.
    pub elides_inline_images: bool,
    /// The addresses of images that new input may have. Items of tokens are not checked.
    pub images: ImageRules,
    /// The keys of the operator at the upstreams. They are cut out of the upstreams' words.
    pub upstream_keys: UpstreamKeys,
}

impl Deployment {
    /// A deployment with the default limits, token policy and API settings.
    #[must_use]
    pub fn new(keys: KeyRing, models: Models) -> Self {
        Self {
            keys,
            policy: TokenPolicy::default(),
            limits: Limits::default(),
            models,
            apis: ApiSettings::default(),
            elides_inline_images: false,
            images: ImageRules::default(),
            upstream_keys: UpstreamKeys::default(),
        }
    }

    /// The settings with which tokens are issued and verified.
    #[must_use]
    pub fn token_context(&self) -> TokenContext<'_> {
        TokenContext { keys: &self.keys, policy: &self.policy, limits: &self.limits }
    }
}

/// The keys of the operator at the upstreams, as they are recognized in the upstreams' words.
#[derive(Default)]
pub struct UpstreamKeys {
    count: usize,
    pub(in crate::proto) stretches: StretchIndex,
}

impl FromIterator<Zeroizing<String>> for UpstreamKeys {
    fn from_iter<I: IntoIterator<Item = Zeroizing<String>>>(keys: I) -> Self {
        let keys: Vec<_> = keys.into_iter().collect();
        let stretches = StretchIndex::new(keys.iter().map(|key| key.as_str()), KEY_STRETCH_CHARS);
        Self { count: keys.len(), stretches }
    }
}

impl fmt::Debug for UpstreamKeys {
    /// Shows only their number.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} keys", self.count)
    }
}

/// The settings of the APIs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ApiSettings {
    /// True if a Responses stream is live unless the request says otherwise. The first events of a
    /// live stream have a temporary id that is not a token.
    pub live_responses: bool,
}

/// The models that clients may choose from. There is at least one.
pub struct Models {
    models: Vec<Model>,
    /// The stretches of all system prompts. They are cut out of the upstreams' words.
    pub(in crate::proto) prompts: StretchIndex,
}

impl Models {
    /// These models. The first one is the default. A model with the alias `*` is used for every
    /// alias that no other model has.
    ///
    /// Returns `None` if `models` is empty.
    #[must_use]
    pub fn new(models: Vec<Model>) -> Option<Self> {
        let prompts = models.iter().filter_map(|model| model.system_prompt.as_deref());
        let prompts = StretchIndex::new(prompts, PROMPT_STRETCH_CHARS);
        (!models.is_empty()).then_some(Self { models, prompts })
    }

    /// The models, in order.
    #[must_use]
    pub fn as_slice(&self) -> &[Model] {
        &self.models
    }

    /// The model for an alias, and the alias. Without an alias, the first model.
    ///
    /// # Errors
    /// [`Error::ModelUnknown`], also for an empty alias, and for one over 256 bytes.
    pub fn find<'a>(&'a self, alias: Option<&'a str>) -> Result<(&'a Model, &'a str), Error> {
        let model = match alias {
            None => self.models.first(),
            Some(alias) => {
                let exact = self.models.iter().find(|model| model.alias == alias && alias != CATCH_ALL);
                exact.or_else(|| self.models.iter().find(|model| model.alias == CATCH_ALL))
            }
        };
        let fits = |alias: &str| (1..=MAX_ALIAS_BYTES).contains(&alias.len());
        let model = model.filter(|_| alias.is_none_or(fits)).ok_or_else(|| {
            let known = self.models.iter().map(|model| model.alias.clone()).collect();
            Error::ModelUnknown { alias: alias.unwrap_or_default().chars().take(64).collect(), known }
        })?;
        Ok((model, alias.unwrap_or(&model.alias)))
    }
}

impl fmt::Debug for Models {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.models).finish()
    }
}

/// A model that clients may choose, with its targets.
#[derive(Clone)]
pub struct Model {
    /// The clients' name for the model.
    pub alias: String,
    /// The target that is called first.
    pub target: Target,
    /// The targets that are called if the first one fails, in this order.
    pub fallbacks: Vec<Target>,
    /// The operator's system prompt. It is applied in every turn and is not part of the token.
    pub system_prompt: Option<String>,
    /// True if clients may bring items of the model, as if the model had made them. They become
    /// part of the history, and the token has the claim `asserted`. If false, such a token is
    /// refused as well.
    pub accepts_client_history: bool,
    /// The handling of a client's system prompt if the operator has set one.
    pub client_system: ClientSystem,
    /// True if callers see the words of upstreams about their requests.
    pub shows_upstream_words: bool,
    /// The limit on a reply's model tokens if the request sets none.
    pub max_output_tokens: Option<u32>,
    /// The most that a turn may ask of the model.
    pub ceilings: Ceilings,
    /// The handling of a conversation that is too long, if the request does not say.
    pub truncation: Truncation,
}

impl Model {
    /// A model with one target and the default settings.
    #[must_use]
    pub fn new(alias: &str, target: Target) -> Self {
        Self {
            alias: alias.to_owned(),
            target,
            fallbacks: Vec::new(),
            system_prompt: None,
            accepts_client_history: false,
            client_system: ClientSystem::default(),
            shows_upstream_words: true,
            max_output_tokens: None,
            ceilings: Ceilings::default(),
            truncation: Truncation::default(),
        }
    }

    /// All targets, in the order in which they are called.
    pub fn targets(&self) -> impl Iterator<Item = &Target> {
        std::iter::once(&self.target).chain(&self.fallbacks)
    }
}

impl fmt::Debug for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} → {:?}", self.alias, self.target)?;
        self.fallbacks.iter().try_for_each(|target| write!(f, ", else {target:?}"))
    }
}

/// The handling of a client's system prompt for a model that has the operator's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClientSystem {
    /// The operator's prompt comes first, then an empty line, then the client's.
    Append,
    /// The turn is refused.
    #[default]
    Refuse,
}

/// A model at one upstream.
#[derive(Clone)]
pub struct Target {
    /// The name of the upstream.
    pub upstream: String,
    /// The wire format of the upstream.
    pub provider: &'static dyn Provider,
    /// The id under which reasoning of this upstream is kept. Only reasoning with the same id is
    /// sent to it ([`ModelCall::provider_id`]).
    ///
    /// [`ModelCall::provider_id`]: crate::proto::provider::ModelCall::provider_id
    pub provider_id: String,
    /// The profile of the service.
    pub profile: Profile,
    /// True to ask for prompt caching, if the wire format has a word for it.
    pub prompt_cache: bool,
    /// The upstream's name for the model.
    pub name: String,
}

impl Target {
    /// The model `name` at the official service of `provider`.
    #[must_use]
    pub fn new(upstream: &str, provider: &'static dyn Provider, name: &str) -> Self {
        Self {
            upstream: upstream.to_owned(),
            provider,
            provider_id: provider.name().to_owned(),
            profile: Profile::of_base_url(provider.default_base_url()),
            prompt_cache: true,
            name: name.to_owned(),
        }
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} at {}", self.provider.name(), self.name, self.upstream)
    }
}

/// The alias that is used for every alias that no other model has.
const CATCH_ALL: &str = "*";
/// The longest alias, in bytes.
const MAX_ALIAS_BYTES: usize = 256;
